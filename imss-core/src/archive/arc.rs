//! ARC archives: stored, run lengths, and LZW ("crunched" and "squashed").
//!
//! In: octets that start with an entry whose fields are plausible. Out: a member for each file. The
//! methods of the first versions, and those of other programs, are unsupported. Checksums are not
//! judged: an encrypted file cannot be told from a broken one.

use std::io::{Error, ErrorKind, Read};

use bytes::Bytes;

use super::drain::{Drained, drain};
use super::le::{length, u32_at};
use super::lzw::{Lzw, Variant};
use super::names::spellings;
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::{FileType, TypeGroup};
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::recycle;

/// The octet before each entry.
const MARK: u8 = 0x1a;
/// Octets of a header; the first method has no size of its own.
const HEADER: usize = 29;

/// The ARC format.
pub(super) struct Arc;

impl Unpacker for Arc {
    fn name(&self) -> &'static str {
        "arc"
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        let is_known = detected.media_type == "application/x-arc";
        is_known && Entry::read(content, 0).is_some()
            || detected.group == TypeGroup::Other && is_plausible(content)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let malformed = |at: usize, detail| UnpackError::Malformed { offset: at as u64, detail };
        let mut at = 0;
        let mut chunk = Vec::new();
        loop {
            budget.check_stop()?;
            // The last entry has no method.
            if matches!(content.get(at..).and_then(|rest| rest.get(..2)), Some([MARK, 0])) {
                return Ok(());
            }
            let (entry, start) = Entry::read(content, at).ok_or_else(|| malformed(at, "entry"))?;
            let end = start.saturating_add(entry.packed);
            let packed = content.get(start..end.min(content.len())).unwrap_or_default();
            budget.charge_entity()?;
            let Drained { bytes, mut missing } =
                drain(|| open(entry.method, packed), packed.len() as u64, budget, &mut chunk);
            if missing.is_none() && bytes.len() < entry.size {
                missing = Some(Missing::new(GapReason::Malformed, "ends early"));
            }
            let limit = missing.as_ref().and_then(Missing::final_limit);
            let (names, claimed_size) = (spellings(entry.name, false), entry.size as u64);
            let content_octets = recycle::bytes(bytes);
            out(Unpacked::Member(Member { names, claimed_size, content: content_octets, missing }));
            if let Some(limit) = limit {
                return Err(limit.into());
            }
            if end > content.len() {
                return Err(malformed(content.len(), "ends early"));
            }
            at = end;
        }
    }
}

/// Whether `content` starts with an entry that another one, or the end, follows. One octet is no
/// magic number.
fn is_plausible(content: &[u8]) -> bool {
    let Some((entry, start)) = Entry::read(content, 0) else { return false };
    let end = start.saturating_add(entry.packed);
    entry.name.iter().all(u8::is_ascii_graphic) && content.get(end) == Some(&MARK)
}

struct Entry<'a> {
    method: u8,
    name: &'a [u8],
    packed: usize,
    size: usize,
}

impl<'a> Entry<'a> {
    /// The entry at `at`, and where its content starts.
    fn read(content: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let rest = content.get(at..)?;
        let (&mark, &method) = (rest.first()?, rest.get(1)?);
        (mark == MARK && (1..=30).contains(&method)).then_some(())?;
        let name = rest.get(2..15)?;
        let end = name.iter().position(|&octet| octet == 0)?;
        let packed = length(u32_at(rest, 15)?.into());
        let (size, header) = match method {
            1 => (packed, HEADER.checked_sub(4)?),
            _ => (length(u32_at(rest, 25)?.into()), HEADER),
        };
        let entry = Self { method, name: name.get(..end)?, packed, size };
        (end > 0).then_some((entry, at.checked_add(header)?))
    }
}

fn open(method: u8, packed: &[u8]) -> std::io::Result<Box<dyn Read + '_>> {
    let unix = |max_bits| Variant { max_bits, clears: true, groups: true, end: None };
    Ok(match method {
        1 | 2 => Box::new(packed),
        3 => Box::new(RunLengths::new(packed)),
        // The first octet tells the longest code, which is always 12 bits.
        8 => Box::new(RunLengths::new(Lzw::new(packed.get(1..).unwrap_or_default(), unix(12)))),
        9 => Box::new(Lzw::new(packed, unix(13))),
        other => return Err(Error::new(ErrorKind::Unsupported, format!("method {other}"))),
    })
}

/// Undoes run lengths: an octet, 0x90 and a count; a count of zero is 0x90 itself.
struct RunLengths<R> {
    source: std::io::BufReader<R>,
    last: u8,
    left: u8,
}

impl<R: Read> RunLengths<R> {
    fn new(source: R) -> Self {
        Self { source: std::io::BufReader::new(source), last: 0, left: 0 }
    }

    fn octet(&mut self) -> std::io::Result<Option<u8>> {
        let mut octet = [0];
        Ok((self.source.read(&mut octet)? > 0).then_some(octet[0]))
    }
}

impl<R: Read> Read for RunLengths<R> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0_usize;
        while let Some(place) = room.get_mut(filled) {
            if self.left == 0 {
                let Some(octet) = self.octet()? else { break };
                if octet != 0x90 {
                    (self.last, self.left) = (octet, 1);
                    continue;
                }
                match self.octet()?.unwrap_or(0) {
                    0 => (self.last, self.left) = (0x90, 1),
                    count => self.left = count.saturating_sub(1),
                }
                continue;
            }
            *place = self.last;
            self.left = self.left.saturating_sub(1);
            filled = filled.saturating_add(1);
        }
        Ok(filled)
    }
}
