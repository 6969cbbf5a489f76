//! ZOO archives (the format's `zoo.h`).
//!
//! In: octets with the magic number in their header. Out: a member for each file, deleted ones too: they
//! are there. Checksums are not judged.

use std::io::{Error, ErrorKind, Read};

use bytes::Bytes;
use delharc::CompressionMethod;
use delharc::decode::{Decoder, DecoderAny};

use super::drain::{Drained, drain};
use super::le::{length, u32_at};
use super::lzw::{Lzw, Variant};
use super::names::spellings;
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::recycle;

const MAGIC: &[u8] = b"\xdc\xa7\xc4\xfd";
const LZW: Variant = Variant { max_bits: 13, clears: true, groups: false, end: Some(257) };
/// Octets decoded at once.
const PIECE: usize = 4 << 10;

/// The ZOO format.
pub(super) struct Zoo;

impl Unpacker for Zoo {
    fn name(&self) -> &'static str {
        "zoo"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.get(20..24) == Some(MAGIC)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let malformed = |at: usize| UnpackError::Malformed { offset: at as u64, detail: "entry" };
        let field = |at: usize| u32_at(content, at).map(|value| length(value.into()));
        let mut at = field(24).ok_or_else(|| malformed(24))?;
        let mut chunk = Vec::new();
        loop {
            let entry = content.get(at..).filter(|entry| entry.starts_with(MAGIC));
            let entry = entry.ok_or_else(|| malformed(at))?;
            let next =
                u32_at(entry, 6).map(|next| length(next.into())).ok_or_else(|| malformed(at))?;
            if next == 0 {
                return Ok(());
            }
            let member =
                member(content, entry, budget, &mut chunk)?.ok_or_else(|| malformed(at))?;
            let limit = member.missing.as_ref().and_then(Missing::final_limit);
            out(Unpacked::Member(member));
            if let Some(limit) = limit {
                return Err(limit.into());
            }
            // Entries follow each other, so that this ends.
            if next <= at {
                return Err(malformed(at));
            }
            at = next;
        }
    }
}

fn member(
    content: &[u8],
    entry: &[u8],
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Result<Option<Member>, UnpackError> {
    let fields = (u32_at(entry, 10), u32_at(entry, 20), u32_at(entry, 24), entry.get(5));
    let (Some(offset), Some(size), Some(packed), Some(&method)) = fields else { return Ok(None) };
    budget.charge_entity()?;
    let start = length(offset.into()).min(content.len());
    let end = start.saturating_add(length(packed.into()));
    let octets = content.get(start..end.min(content.len())).unwrap_or_default();
    let open = || match method {
        0 => Ok(Method::Stored(octets)),
        1 => Ok(Method::Lzw(Box::new(Lzw::new(octets, LZW)))),
        2 => {
            let decoder = DecoderAny::new_from_compression(CompressionMethod::Lh5, octets);
            Ok(Method::Lh5(Box::new(decoder), size.into()))
        }
        other => Err(Error::new(ErrorKind::Unsupported, format!("method {other}"))),
    };
    let Drained { bytes, mut missing } = drain(open, octets.len() as u64, budget, chunk);
    if missing.is_none() && (bytes.len() as u64) < u64::from(size) {
        missing = Some(Missing::new(GapReason::Malformed, "ends early"));
    }
    let (names, claimed_size) = (names(entry), size.into());
    Ok(Some(Member { names, claimed_size, content: recycle::bytes(bytes), missing }))
}

/// The long name with its folder, and the short one.
fn names(entry: &[u8]) -> Vec<String> {
    let until_zero = |field: &[u8]| -> Vec<u8> {
        field.iter().copied().take_while(|&octet| octet != 0).collect()
    };
    let short = until_zero(entry.get(38..51).unwrap_or_default());
    // Entries of the second kind have a variable part: two lengths, and what they count.
    let is_long = entry.get(4) == Some(&2);
    let count = |at: usize| entry.get(at).copied().map_or(0, usize::from);
    let (name_size, folder_size) = if is_long { (count(56), count(57)) } else { (0, 0) };
    let name_end = 58_usize.saturating_add(name_size);
    let long = until_zero(entry.get(58..name_end).unwrap_or_default());
    let folder_end = name_end.saturating_add(folder_size);
    let folder = until_zero(entry.get(name_end..folder_end).unwrap_or_default());
    let name = if long.is_empty() { short } else { long };
    let path = if folder.is_empty() { name } else { [folder.as_slice(), b"/", &name].concat() };
    spellings(&path, false)
}

enum Method<'a> {
    Stored(&'a [u8]),
    Lzw(Box<Lzw<'a>>),
    /// A decoder, and how many octets it still gives.
    Lh5(Box<DecoderAny<&'a [u8]>>, u64),
}

impl Read for Method<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stored(rest) => rest.read(room),
            Self::Lzw(decoder) => decoder.read(room),
            Self::Lh5(decoder, left) => {
                let count = room.len().min(PIECE).min(length(*left));
                let room = room.get_mut(..count).unwrap_or_default();
                if !room.is_empty() {
                    decoder.fill_buffer(room).map_err(Error::from)?;
                }
                *left = left.saturating_sub(count as u64);
                Ok(count)
            }
        }
    }
}
