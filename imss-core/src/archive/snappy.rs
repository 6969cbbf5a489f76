//! Snappy in its framing format (`framing_format.txt`): chunks → content.
//!
//! In: octets with the stream identifier. Out: a reader of the content. Checksums are not judged. A
//! chunk holds at most 64 KiB, whatever it claims; a reserved chunk that may not be skipped is
//! unsupported.

use std::io::{Error, ErrorKind, Read};

use super::le::len16_at;

/// What every stream starts with.
pub(super) const MAGIC: &[u8] = b"\xff\x06\0\0sNaPpY";
/// Octets that one chunk may hold.
const MAX_CHUNK: usize = 64 << 10;

/// Decodes a stream.
pub(super) struct Snappy<'a> {
    rest: &'a [u8],
    chunk: Vec<u8>,
    read: usize,
}

impl<'a> Snappy<'a> {
    /// A decoder of `packed`.
    pub(super) fn new(packed: &'a [u8]) -> Self {
        Self { rest: packed, chunk: Vec::new(), read: 0 }
    }

    fn next_chunk(&mut self) -> std::io::Result<()> {
        let cut = || Error::new(ErrorKind::UnexpectedEof, "chunk ends early");
        let (&kind, rest) = self.rest.split_first().ok_or_else(cut)?;
        let high = rest.get(2).copied().map(usize::from).ok_or_else(cut)?;
        let size = len16_at(rest, 0).ok_or_else(cut)? | high << 16;
        let data = rest.get(3..).and_then(|rest| rest.split_at_checked(size));
        let (data, rest) = data.ok_or_else(cut)?;
        self.rest = rest;
        self.chunk.clear();
        self.read = 0;
        match kind {
            0 => block(data.get(4..).ok_or_else(cut)?, &mut self.chunk)
                .ok_or_else(|| Error::new(ErrorKind::InvalidData, "block")),
            1 => {
                self.chunk.extend_from_slice(data.get(4..).ok_or_else(cut)?);
                Ok(())
            }
            0x80..=0xff => Ok(()),
            _ => Err(Error::new(ErrorKind::Unsupported, "reserved chunk")),
        }
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        while self.read >= self.chunk.len() {
            if self.rest.is_empty() {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let mut rest = self.chunk.get(self.read..).unwrap_or_default();
        let count = rest.read(room)?;
        self.read = self.read.saturating_add(count);
        Ok(count)
    }
}

/// Decodes one block (`format_description.txt`).
fn block(mut packed: &[u8], output: &mut Vec<u8>) -> Option<()> {
    let size = varint(&mut packed).filter(|&size| size <= MAX_CHUNK)?;
    while let Some((&tag, rest)) = packed.split_first() {
        packed = rest;
        let high = usize::from(tag >> 2);
        if tag & 3 == 0 {
            let count = match high {
                60..=63 => number(&mut packed, high.checked_sub(59)?)?,
                short => short,
            };
            let (literal, rest) = packed.split_at_checked(count.checked_add(1)?)?;
            output.extend_from_slice(literal);
            packed = rest;
        } else {
            let (count, offset) = match tag & 3 {
                1 => {
                    let low = number(&mut packed, 1)?;
                    ((high & 7).checked_add(4)?, (usize::from(tag >> 5) << 8) | low)
                }
                2 => (high.checked_add(1)?, number(&mut packed, 2)?),
                _ => (high.checked_add(1)?, number(&mut packed, 4)?),
            };
            let mut from = output.len().checked_sub(offset).filter(|_| offset > 0)?;
            for _ in 0..count {
                output.push(*output.get(from)?);
                from = from.checked_add(1)?;
            }
        }
        (output.len() <= size).then_some(())?;
    }
    (output.len() == size).then_some(())
}

fn number(packed: &mut &[u8], octets: usize) -> Option<usize> {
    let (field, rest) = packed.split_at_checked(octets)?;
    *packed = rest;
    Some(field.iter().rev().fold(0, |value, &octet| (value << 8) | usize::from(octet)))
}

fn varint(packed: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for place in 0..5_u32 {
        let octet = number(packed, 1)?;
        value |= (octet & 0x7f) << place.checked_mul(7)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_decode() {
        type Case<'a> = (&'a str, &'a [u8], Option<&'a [u8]>);
        let cases: [Case<'_>; 6] = [
            ("a literal", b"\x03\x08abc", Some(b"abc")),
            ("a literal without octets", b"\x06\x00a\x05\x01\x00", None),
            ("a copy that overlaps", b"\x05\x00a\x01\x01", Some(b"aaaaa")),
            ("a copy from before the start", b"\x05\x00a\x01\x02", None),
            ("more than it claims", b"\x01\x08abc", None),
            ("a claim beyond reason", b"\xff\xff\xff\xff\x07\x00a", None),
        ];
        for (name, packed, expected) in cases {
            let mut output = Vec::new();
            let done = block(packed, &mut output);
            assert_eq!(done.map(|()| output.as_slice()), expected, "{name}");
        }
    }
}
