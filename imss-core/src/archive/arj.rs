//! ARJ archives (UNARJ's technote), also in a program that unpacks itself.
//!
//! In: octets with the main header at the start, or anywhere in a program. Out: a member for each
//! file. Encrypted files are opened if a password gives what the checksum says; what goes on in
//! another volume is malformed.

use std::io::{Error, ErrorKind, Read};

use bytes::Bytes;
use delharc::CompressionMethod;
use delharc::decode::{Decoder, DecoderAny};
use unarc_rs::arj::decode_fastest::decode_fastest;

use super::drain::{Drained, drain};
use super::le::{len16_at, length, u32_at};
use super::names::spellings;
use super::passwords::may_try;
use super::sfx::{self, Start};
use super::{Member, Missing, Passwords, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::recycle;

const MAGIC: &[u8] = b"\x60\xea";
/// The kind of the first header.
const MAIN: u8 = 2;
/// Octets of the longest header.
const MAX_HEADER: usize = 2_600;
/// Extended headers of one file. What follows more of them is no header, which is malformed.
const MAX_EXTENDED: usize = 64;
/// Octets decoded at once.
const PIECE: usize = 4 << 10;

/// The ARJ format.
pub(super) struct Arj;

impl Unpacker for Arj {
    fn name(&self) -> &'static str {
        "arj"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        start(content).is_some()
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let malformed = |at: usize, detail| UnpackError::Malformed { offset: at as u64, detail };
        let Some(mut at) = Start::place(start(content), budget) else { return Ok(()) };
        let mut is_main = true;
        let mut chunk = Vec::new();
        loop {
            budget.check_stop()?;
            let (header, data) =
                Header::read(content, at).ok_or_else(|| malformed(at, "header"))?;
            let Some(header) = header else { return Ok(()) };
            if is_main {
                (is_main, at) = (false, data);
                continue;
            }
            let end = data.saturating_add(length(header.packed.into()));
            let packed = content.get(data..end.min(content.len())).unwrap_or_default();
            // 3 is a folder; 4 and 5 are labels.
            if header.kind < 3 {
                let member = header.member(packed, source.passwords, budget, &mut chunk)?;
                let limit = member.missing.as_ref().and_then(Missing::final_limit);
                out(Unpacked::Member(member));
                if let Some(limit) = limit {
                    return Err(limit.into());
                }
            }
            if end > content.len() {
                return Err(malformed(content.len(), "ends early"));
            }
            at = end;
        }
    }
}

fn start(content: &[u8]) -> Option<Start> {
    let is_main =
        |rest: &[u8]| matches!(Header::read(rest, 0), Some((Some(own), _)) if own.kind == MAIN);
    if content.starts_with(MAGIC) {
        return is_main(content).then_some(Start::At(0));
    }
    // A size that can be, and the kind: what a checksum is worth calculating for.
    let may_be_main = |rest: &[u8]| {
        rest.get(10) == Some(&MAIN) && len16_at(rest, 2).is_some_and(|size| size <= MAX_HEADER)
    };
    sfx::search(content, (MAGIC, 0), may_be_main, is_main)
}

struct Header<'a> {
    flags: u8,
    method: u8,
    kind: u8,
    modifier: u8,
    packed: u32,
    size: u32,
    sum: u32,
    name: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at `at` and what is behind it; without a header at the end of the archive.
    fn read(content: &'a [u8], at: usize) -> Option<(Option<Self>, usize)> {
        content.get(at..)?.starts_with(MAGIC).then_some(())?;
        let start = at.checked_add(4)?;
        let size = len16_at(content, at.checked_add(2)?)?;
        if size == 0 {
            return Some((None, start));
        }
        (size <= MAX_HEADER).then_some(())?;
        let end = start.checked_add(size)?;
        let octets = content.get(start..end)?;
        let mut sum = flate2::Crc::new();
        sum.update(octets);
        (sum.sum() == u32_at(content, end)?).then_some(())?;
        let mut data = end.checked_add(4)?;
        for _ in 0..MAX_EXTENDED {
            let more = len16_at(content, data)?;
            data = data.checked_add(2)?;
            if more == 0 {
                break;
            }
            data = data.checked_add(more)?.checked_add(4)?;
        }
        let name = octets.get(usize::from(*octets.first()?)..)?;
        let name_end = name.iter().position(|&octet| octet == 0).unwrap_or(name.len());
        let header = Self {
            flags: *octets.get(4)?,
            method: *octets.get(5)?,
            kind: *octets.get(6)?,
            modifier: *octets.get(7)?,
            packed: u32_at(octets, 12)?,
            size: u32_at(octets, 16)?,
            sum: u32_at(octets, 20)?,
            name: name.get(..name_end)?,
        };
        Some((Some(header), data))
    }

    fn member(
        &self,
        packed: &[u8],
        passwords: &Passwords,
        budget: &mut Budget<'_>,
        chunk: &mut Vec<u8>,
    ) -> Result<Member, UnpackError> {
        budget.charge_entity()?;
        let Drained { bytes, mut missing } = if self.flags & 1 == 0 {
            self.decode(packed, budget, chunk)
        } else {
            self.decrypt(packed, passwords, budget, chunk)
        };
        let goes_on = self.flags & 0x0c != 0;
        if missing.is_none() && (goes_on || packed.len() < length(self.packed.into())) {
            let detail = if goes_on { "goes on in another volume" } else { "ends early" };
            missing = Some(Missing::new(GapReason::Malformed, detail));
        }
        let names = spellings(self.name, false);
        Ok(Member {
            names,
            claimed_size: self.size.into(),
            content: recycle::bytes(bytes),
            missing,
        })
    }

    fn decode(&self, packed: &[u8], budget: &mut Budget<'_>, chunk: &mut Vec<u8>) -> Drained {
        let most = budget.limits().max_entity_bytes.min(budget.bytes_left());
        let open = || match self.method {
            0 => Ok(File::Whole(packed.to_vec(), 0)),
            1..=3 => {
                let decoder = DecoderAny::new_from_compression(CompressionMethod::Lh6, packed);
                Ok(File::Packed(Box::new(decoder), self.size.into()))
            }
            // This one decodes everything at once. Nine bits give at most 258 octets.
            4 if u64::from(self.size) <= most.min((packed.len() as u64).saturating_mul(256)) => {
                let whole = decode_fastest(packed, length(self.size.into()));
                Ok(File::Whole(whole.map_err(Error::other)?, 0))
            }
            4 => Err(Error::new(ErrorKind::InvalidData, "a size that cannot be")),
            other => Err(Error::new(ErrorKind::Unsupported, format!("method {other}"))),
        };
        drain(open, packed.len() as u64, budget, chunk)
    }

    /// Tries passwords (the archiver's own "garble").
    fn decrypt(
        &self,
        packed: &[u8],
        passwords: &Passwords,
        budget: &mut Budget<'_>,
        chunk: &mut Vec<u8>,
    ) -> Drained {
        for word in passwords.iter() {
            let cost = (packed.len() as u64).saturating_mul(8).saturating_add(u64::from(self.size));
            if !may_try(budget, cost.saturating_add(1_000)) {
                break;
            }
            let key = word.bytes().map(|octet| octet.wrapping_add(self.modifier)).cycle();
            let plain: Vec<u8> = packed.iter().zip(key).map(|(octet, key)| octet ^ key).collect();
            let drained = self.decode(&plain, budget, chunk);
            let mut sum = flate2::Crc::new();
            sum.update(&drained.bytes);
            if drained.missing.is_none() && sum.sum() == self.sum {
                return drained;
            }
        }
        Drained::nothing(GapReason::Encrypted, "encrypted")
    }
}

/// Reads one file.
enum File<'a> {
    /// Decoded octets, and how many were read.
    Whole(Vec<u8>, usize),
    /// A decoder, and how many octets it still gives.
    Packed(Box<DecoderAny<&'a [u8]>>, u64),
}

impl Read for File<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Whole(octets, read) => {
                let rest = octets.get(*read..).unwrap_or_default();
                let count = rest.len().min(room.len());
                room.iter_mut().zip(rest).for_each(|(place, &octet)| *place = octet);
                *read = read.saturating_add(count);
                Ok(count)
            }
            Self::Packed(decoder, left) => {
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
