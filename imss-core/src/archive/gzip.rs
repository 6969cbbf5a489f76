//! gzip (RFC 1952): concatenated members, as one content.
//!
//! In: octets with the magic number. Out: one member, with the name of the first header. Checksums
//! are not judged. Octets after the last member (zeros are padding) are an anomaly and a member.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::DeflateDecoder;

use super::drain::drain;
use super::le::len16_at;
use super::names::spellings;
use super::stream::hand_over;
use super::{Member, Source, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::filetype::FileType;
use crate::limits::Budget;

/// The gzip format.
pub(super) struct Gzip;

impl Unpacker for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        header(content).is_some()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let Some(first) = header(content) else {
            return Err(UnpackError::Malformed { offset: 0, detail: "not a gzip header" });
        };
        budget.charge_entity()?;
        let names = first.name.map(|name| spellings(name, false)).unwrap_or_default();
        let mut members = Members { rest: content, current: None };
        let drained = drain(|| Ok(&mut members), content.len() as u64, budget, &mut Vec::new());
        let is_whole = drained.missing.is_none();
        let rest = members.rest.len();
        hand_over(names, drained, out)?;
        if is_whole && rest > 0 {
            trailing(content.slice(content.len().saturating_sub(rest)..), content, budget, out)?;
        }
        Ok(())
    }
}

fn trailing(
    rest: Bytes,
    content: &Bytes,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Unpacked),
) -> Result<(), UnpackError> {
    let size = rest.len() as u64;
    let offset = (content.len() as u64).saturating_sub(size);
    let detail = "octets after the last member".to_owned();
    out(Unpacked::Anomaly { kind: AnomalyKind::TrailingData, offset, detail });
    budget.charge_entity()?;
    budget.charge_bytes(size)?;
    let member = Member { names: Vec::new(), claimed_size: size, content: rest, missing: None };
    out(Unpacked::Member(member));
    Ok(())
}

/// Decodes member after member.
struct Members<'a> {
    /// What follows the current member; without one, what follows the last.
    rest: &'a [u8],
    current: Option<DeflateDecoder<&'a [u8]>>,
}

impl Read for Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.current {
                let read = decoder.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                let after = decoder.get_ref();
                // CRC and size of the member; a reader that was cut here has all of the content.
                let after = after.get(8..).unwrap_or_default();
                let zeros = after.iter().take_while(|&&octet| octet == 0).count();
                self.rest = after.get(zeros..).unwrap_or_default();
                self.current = None;
            }
            let Some(header) = header(self.rest) else { return Ok(0) };
            self.current = Some(DeflateDecoder::new(header.packed));
        }
    }
}

/// A member's header.
struct Header<'a> {
    name: Option<&'a [u8]>,
    packed: &'a [u8],
}

fn header(content: &[u8]) -> Option<Header<'_>> {
    let mut rest = content.strip_prefix(b"\x1f\x8b\x08".as_slice())?;
    let flags = *rest.first()?;
    rest = rest.get(7..)?;
    if flags & 4 != 0 {
        let size = len16_at(rest, 0)?;
        rest = rest.get(size.checked_add(2)?..)?;
    }
    let mut name = None;
    if flags & 8 != 0 {
        let end = memchr::memchr(0, rest)?;
        name = rest.get(..end).filter(|name| !name.is_empty());
        rest = rest.get(end.checked_add(1)?..)?;
    }
    if flags & 16 != 0 {
        let end = memchr::memchr(0, rest)?;
        rest = rest.get(end.checked_add(1)?..)?;
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(Header { name, packed: rest })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;
    use crate::archive::testing::unpack;
    use crate::limits::Limits;

    fn gz(name: &str, content: &[u8]) -> Vec<u8> {
        let mut writer = GzBuilder::new().filename(name).write(Vec::new(), Compression::best());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn streams_expand() {
        let one = gz("a.txt", b"one");
        let two = [one.clone(), gz("b.txt", b"two")].concat();
        let cases = [
            ("a member", one.clone(), vec!["a.txt:one"], 0),
            ("two members are one content", two, vec!["a.txt:onetwo"], 0),
            ("zeros are padding", [one.as_slice(), &[0; 9]].concat(), vec!["a.txt:one"], 0),
            ("trailing octets", [one.as_slice(), b"MZ"].concat(), vec!["a.txt:one", ":MZ"], 1),
            ("a cut trailer", one[..one.len() - 4].to_vec(), vec!["a.txt:one"], 0),
            ("a wrong checksum", [&one[..one.len() - 8], &[1; 8]].concat(), vec!["a.txt:one"], 0),
        ];
        for (name, content, expected, anomalies) in cases {
            let found = unpack(&Gzip, content, &Limits::small());
            assert_eq!(found.result, Ok(()), "{name}");
            assert_eq!(found.texts(), expected, "{name}");
            assert_eq!(found.anomalies.len(), anomalies, "{name}");
        }
    }

    #[test]
    fn a_cut_stream_is_malformed() {
        let whole = gz("a", &(0..=255).cycle().take(9_000).collect::<Vec<u8>>());
        let found = unpack(&Gzip, whole[..whole.len() / 2].to_vec(), &Limits::small());
        let missing = found.members[0].missing.as_ref().unwrap();
        assert_eq!(missing.reason, crate::finding::GapReason::Malformed);
    }

    #[test]
    fn a_bomb_ends_at_the_ratio() {
        let found = unpack(&Gzip, gz("bomb", &vec![0; 25 << 20]), &Limits::default());
        let missing = found.members[0].missing.as_ref().unwrap();
        assert_eq!(missing.detail, "ratio limit");
        assert!(found.members[0].content.len() <= 64 << 10);
    }
}
