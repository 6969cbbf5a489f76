//! tar: V7, ustar, pax (POSIX.1-2001) and GNU long names.
//!
//! In: octets that start with a header block. Out: one member per file, sharing the archive's
//! octets; links are members with their target as a further name and no content.
//!
//! A header that is none is skipped block by block, as repairing readers do, and the archive is
//! malformed. Headers after the end mark, or behind another size that the archive claims for the
//! same entry, are read too. Sparse files get their holes back ([`sparse`]); what is stored of them is
//! a member too, unless all holes are at the end.

mod sparse;

use std::collections::HashSet;

use bytes::Bytes;

use self::sparse::Map;
use super::names::{add, spellings};
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker, le};
use crate::anomaly::AnomalyKind;
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Octets of a header, and what contents are padded to.
const BLOCK: usize = 512;
/// Blocks in which the first header that is not damaged must be.
const SEARCHED: usize = 128;
/// Octets of long names and extended headers that are read.
const MAX_EXTENSION: usize = 1 << 20;

/// The tar format.
pub(super) struct Tar;

impl Unpacker for Tar {
    fn name(&self) -> &'static str {
        "tar"
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        // With a damaged first header it is known by a later one.
        has_header(content) || detected.media_type == "application/x-tar"
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let mut run = Run {
            content,
            budget,
            out,
            todo: vec![0],
            seen: HashSet::new(),
            problem: None,
            told: HashSet::new(),
        };
        while let Some(start) = run.todo.pop() {
            run.entries(start)?;
        }
        run.problem.take().map_or(Ok(()), Err)
    }
}

/// Whether the first block is a header.
pub(super) fn has_header(content: &[u8]) -> bool {
    Header::at(content, 0).is_some()
}

/// Whether one of the first blocks is a header with the magic number of newer formats: repairing readers
/// find it behind a damaged one.
pub(super) fn has_later_header(content: &[u8]) -> bool {
    let blocks = content.chunks_exact(BLOCK).take(SEARCHED).enumerate();
    blocks
        .filter(|(_, block)| block.get(257..262) == Some(b"ustar".as_slice()))
        .any(|(number, _)| Header::at(content, number.saturating_mul(BLOCK)).is_some())
}

struct Run<'a, 'b, 'c> {
    content: &'a Bytes,
    budget: &'a mut Budget<'b>,
    out: &'a mut (dyn FnMut(Unpacked) + 'c),
    /// Where another reader would go on.
    todo: Vec<usize>,
    /// Headers already read.
    seen: HashSet<usize>,
    problem: Option<UnpackError>,
    told: HashSet<AnomalyKind>,
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Extension {
    names: Vec<Vec<u8>>,
    targets: Vec<Vec<u8>>,
    size: Option<u64>,
    sparse: Option<Map>,
}

impl Run<'_, '_, '_> {
    /// Reads headers from `at` to the end of the archive.
    fn entries(&mut self, mut at: usize) -> Result<(), UnpackError> {
        let mut extension = Extension::default();
        let mut ended = false;
        while let Some(block) = self.content.get(at..at.saturating_add(BLOCK)) {
            self.budget.check_stop()?;
            if block.iter().all(|&octet| octet == 0) {
                ended = true;
                at = at.saturating_add(BLOCK);
                continue;
            }
            let Some(header) = Header::at(self.content, at) else {
                if !ended {
                    self.malformed(at, "not a tar header");
                } else if self.content.get(at..).is_some_and(|rest| rest.iter().any(|&o| o != 0)) {
                    self.tell(AnomalyKind::TrailingData, at, "octets after the end mark");
                }
                at = at.saturating_add(BLOCK);
                continue;
            };
            if !self.seen.insert(at) {
                return Ok(());
            }
            if ended {
                self.tell(AnomalyKind::TrailingData, at, "entries after the end mark");
                ended = false;
            }
            at = self.entry(&header, at.saturating_add(BLOCK), &mut extension)?;
        }
        if at > self.content.len() && !ended {
            self.malformed(self.content.len(), "ends early");
        }
        Ok(())
    }

    /// Reads one entry whose content starts at `start`; tells where the next header is.
    fn entry(
        &mut self,
        header: &Header<'_>,
        start: usize,
        extension: &mut Extension,
    ) -> Result<usize, UnpackError> {
        if matches!(header.kind, b'x' | b'g' | b'X' | b'L' | b'K' | b'N' | b'V') {
            let data = self.slice(start, header.size);
            if data.len() > MAX_EXTENSION {
                self.budget.left_out("a header of an entry past 1 MiB");
            }
            let data = data.get(..MAX_EXTENSION).unwrap_or(&data);
            extend(extension, header.kind, data, self.budget)?;
            return Ok(next(start, header.size));
        }
        let told = std::mem::take(extension);
        let has_content = !matches!(header.kind, b'1'..=b'6');
        let own = if has_content { header.size } else { 0 };
        let size = if has_content { told.size.unwrap_or(own) } else { own };
        if size != own {
            self.tell(AnomalyKind::ContradictoryArchive, start, "two sizes of an entry");
            self.todo.push(next(start, own));
        }
        let mut names = Vec::new();
        for name in told.names.iter().chain([&header.name]).chain(&told.targets) {
            add(&mut names, spellings(name, false));
        }
        if !header.target.is_empty() {
            add(&mut names, spellings(header.target, false));
        }
        let (mut map, mut data) = (told.sparse, start);
        if header.kind == b'S' {
            let at = start.saturating_sub(BLOCK);
            let (own, behind) = Map::old(self.content, at, self.budget)?;
            (map, data) = (Some(own), behind);
        }
        if !matches!(header.kind, b'5' | b'D') {
            let stored = self.slice(data, size);
            match map {
                Some(map) => self.sparse(names, size, stored, map)?,
                None => self.member(names, size, stored, None)?,
            }
        }
        Ok(next(data, size))
    }

    /// Hands over a file with its holes; and what is stored of it, where that is something else, for
    /// not every reader knows of holes.
    fn sparse(
        &mut self,
        names: Vec<String>,
        stored_size: u64,
        stored: Bytes,
        map: Map,
    ) -> Result<(), UnpackError> {
        let claimed = map.size().unwrap_or(stored_size);
        match map.expand(&stored, self.budget) {
            Ok((file, moved)) => {
                self.member(names.clone(), claimed, file, None)?;
                let other = moved.then(|| self.member(names, stored_size, stored, None));
                other.unwrap_or(Ok(()))
            }
            Err(missing) => self.member(names, claimed, stored, Some(missing)),
        }
    }

    fn member(
        &mut self,
        names: Vec<String>,
        claimed_size: u64,
        content: Bytes,
        missing: Option<Missing>,
    ) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        self.budget.charge_bytes(content.len() as u64)?;
        let size = content.len() as u64;
        let missing = if size > self.budget.limits().max_entity_bytes {
            let limit = Limit::EntityBytes;
            Some(Missing::new(GapReason::Limit(limit), format!("{limit} limit")))
        } else if missing.is_some() {
            missing
        } else if size < claimed_size {
            Some(Missing::new(GapReason::Malformed, "ends early"))
        } else {
            None
        };
        (self.out)(Unpacked::Member(Member { names, claimed_size, content, missing }));
        Ok(())
    }

    fn slice(&self, start: usize, size: u64) -> Bytes {
        let start = start.min(self.content.len());
        let end = start.saturating_add(le::length(size)).min(self.content.len());
        self.content.slice(start..end)
    }

    fn malformed(&mut self, offset: usize, detail: &'static str) {
        let offset = offset as u64;
        self.problem.get_or_insert(UnpackError::Malformed { offset, detail });
    }

    fn tell(&mut self, kind: AnomalyKind, offset: usize, detail: &str) {
        if self.told.insert(kind) {
            let detail = detail.to_owned();
            (self.out)(Unpacked::Anomaly { kind, offset: offset as u64, detail });
        }
    }
}

/// One header block.
struct Header<'a> {
    kind: u8,
    size: u64,
    name: Vec<u8>,
    target: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at `at`, if the block's checksum says that it is one.
    fn at(content: &'a [u8], at: usize) -> Option<Self> {
        let block = content.get(at..at.checked_add(BLOCK)?)?;
        let stored = number(block.get(148..156)?)?;
        let outside = block.iter().enumerate().filter(|(index, _)| !(148..156).contains(index));
        let blanks = 8 * u64::from(b' ');
        let unsigned = outside.clone().map(|(_, &octet)| u64::from(octet)).sum::<u64>();
        // Some old writers added signed octets.
        let high = outside.filter(|&(_, &octet)| octet > 127).count() as u64;
        let signed = unsigned.checked_add(blanks)?.checked_sub(high.saturating_mul(256));
        if unsigned.checked_add(blanks) != Some(stored) && signed != Some(stored) {
            return None;
        }
        let mut name = text(block.get(..100)?).to_vec();
        let prefix = text(block.get(345..500)?);
        if block.get(257..263)? == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let target = text(block.get(157..257)?);
        let size = number(block.get(124..136)?).unwrap_or(0);
        Some(Self { kind: *block.get(156)?, size, name, target })
    }
}

/// Takes over one extension header (pax `x`, `g`, `X`; GNU `L`, `K`).
fn extend(
    extension: &mut Extension,
    kind: u8,
    data: &[u8],
    budget: &mut Budget<'_>,
) -> Result<(), Limit> {
    match kind {
        b'L' | b'N' => extension.names.push(text(data).to_vec()),
        b'K' => extension.targets.push(text(data).to_vec()),
        b'x' | b'X' | b'g' => {
            for (key, value) in pax_records(data) {
                match key {
                    b"path" | b"GNU.sparse.name" => extension.names.push(value.to_vec()),
                    b"linkpath" => extension.targets.push(value.to_vec()),
                    b"size" => extension.size = decimal(value).or(extension.size),
                    key => Map::record(&mut extension.sparse, key, value, budget)?,
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// `LENGTH KEY=VALUE\n`, repeated.
fn pax_records(mut data: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let space = memchr::memchr(b' ', data)?;
        let length = usize::try_from(decimal(data.get(..space)?)?).ok()?;
        let record = data.get(space.checked_add(1)?..length)?;
        data = data.get(length..)?;
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let equals = memchr::memchr(b'=', record)?;
        Some((record.get(..equals)?, record.get(equals.checked_add(1)?..)?))
    })
}

fn next(start: usize, size: u64) -> usize {
    start.saturating_add(le::length(size).checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX))
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&octet| octet == 0).next().unwrap_or_default()
}

/// Octal digits, or base 256 if the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let low = field.get(field.len().checked_sub(8)?..)?;
        return Some(u64::from_be_bytes(low.try_into().ok()?)).filter(|&n| n < 1 << 62);
    }
    let digits = field.iter().skip_while(|&&octet| octet == b' ');
    let mut digits = digits.take_while(|octet| (b'0'..=b'7').contains(octet)).peekable();
    digits.peek()?;
    Some(digits.fold(0, |sum, &digit| (sum << 3) | u64::from(digit & 7)))
}

fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
