//! What a 7z archive's headers claim, before any decoder believes it (7zFormat.txt).
//!
//! In: the archive's octets. Out: the coders that its header is packed with. Only the outer header
//! is read; anything unexpected reads as "no claim", and the decoder reports what is wrong.

use crate::archive::le::{length, u32_at, u64_at};

/// Octets of the signature header.
const START: usize = 32;
/// Most coders in one block that are looked at.
const MAX_CODERS: u64 = 32;

/// One coder: a method and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coder<'a> {
    pub(super) id: &'a [u8],
    pub(super) properties: &'a [u8],
}

/// Whether the signature header at the start of `archive` is one: its checksum is right, or it was
/// never filled in.
pub(super) fn is_start(archive: &[u8]) -> bool {
    let (Some(claimed), Some(fields)) = (u32_at(archive, 8), archive.get(12..START)) else {
        return false;
    };
    if archive.get(6) != Some(&0) {
        return false;
    }
    let mut sum = flate2::Crc::new();
    sum.update(fields);
    sum.sum() == claimed || claimed == 0
}

/// The coders of the packed header; none if it is not packed.
pub(super) fn coders(archive: &[u8]) -> Vec<Coder<'_>> {
    read_coders(archive).unwrap_or_default()
}

fn read_coders(archive: &[u8]) -> Option<Vec<Coder<'_>>> {
    let start = START.checked_add(length(u64_at(archive, 12)?))?;
    let end = start.checked_add(length(u64_at(archive, 20)?))?;
    let mut fields = Fields { rest: archive.get(start..end)? };
    if fields.octet()? != 0x17 {
        return None;
    }
    let mut id = fields.octet()?;
    if id == 0x06 {
        fields.number()?;
        let streams = fields.number()?;
        id = fields.octet()?;
        if id == 0x09 {
            for _ in 0..streams.min(64) {
                fields.number()?;
            }
            id = fields.octet()?;
        }
        if id == 0x0a {
            // All digests are defined, or this is no header of an archiver.
            fields.octet().filter(|&all| all == 1)?;
            fields.take(streams.checked_mul(4)?)?;
            id = fields.octet()?;
        }
        (id == 0).then_some(())?;
        id = fields.octet()?;
    }
    (id == 0x07 && fields.octet()? == 0x0b).then_some(())?;
    (fields.number()? >= 1 && fields.octet()? == 0).then_some(())?;
    let count = fields.number()?.min(MAX_CODERS);
    (0..count).map(|_| fields.coder()).collect()
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take(&mut self, size: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length(size))?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of one to nine octets: the leading ones of the first tell how many follow.
    fn number(&mut self) -> Option<u64> {
        let first = self.octet()?;
        let more = first.leading_ones();
        let mut value = 0_u64;
        for place in 0..more {
            value |= u64::from(self.octet()?) << place.checked_mul(8)?;
        }
        if more < 7 {
            let high = u64::from(first) & (0x7f_u64 >> more);
            value |= high << more.checked_mul(8)?;
        }
        Some(value)
    }

    fn coder(&mut self) -> Option<Coder<'a>> {
        let flags = self.octet()?;
        let id = self.take(u64::from(flags & 0x0f))?;
        if flags & 0x10 != 0 {
            self.number()?;
            self.number()?;
        }
        let size = if flags & 0x20 == 0 { 0 } else { self.number()? };
        Some(Coder { id, properties: self.take(size)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(header: &[u8]) -> Vec<u8> {
        let mut archive = b"7z\xbc\xaf\x27\x1c\0\x04".to_vec();
        let size = header.len() as u64;
        let fields = [&0_u64.to_le_bytes(), size.to_le_bytes().as_slice(), &[0; 4]].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&fields);
        archive.extend(sum.sum().to_le_bytes());
        archive.extend(fields);
        archive.extend(header);
        archive
    }

    #[test]
    fn packed_headers_name_their_coders() {
        let lzma =
            b"\x17\x06\x10\x01\x09\x20\x00\x07\x0b\x01\x00\x01\x23\x03\x01\x01\x05\x5d\0\0\0\x10";
        let wide = b"\x17\x06\x80\x10\x01\x09\x20\x00\x07\x0b\x01\x00\x01\x21\x21\x80\x01\x18";
        type Coders<'a> = &'a [(&'a [u8], &'a [u8])];
        let cases: [(&str, &[u8], Coders<'_>); 4] = [
            ("LZMA", lzma, &[(b"\x03\x01\x01", b"\x5d\0\0\0\x10")]),
            ("sizes of two octets", wide, &[(b"\x21", b"\x18")]),
            ("not packed", b"\x01\x04\x06", &[]),
            ("cut", b"\x17\x06\x10", &[]),
        ];
        for (name, header, expected) in cases {
            let archive = archive(header);
            assert!(is_start(&archive), "{name}");
            let found = coders(&archive);
            let found: Vec<_> = found.iter().map(|coder| (coder.id, coder.properties)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
