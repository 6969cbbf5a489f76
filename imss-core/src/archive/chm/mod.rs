//! Compiled HTML help (ITSF): every file by its name, compressed content through LZX.
//!
//! In: octets that start with `ITSF`. Out: one member per file of the directory. The compressed section
//! is decoded once, and its files share that. The format has no public specification: this follows
//! what its readers agree on.
//!
//! A directory that leads beyond the end is malformed; files of a section that cannot be decoded are
//! missing for that reason.

mod lzx;

use bytes::Bytes;

use self::lzx::Frames;
use super::drain::{Drained, drain};
use super::names::spellings;
use super::share::Share;
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker, le};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Where the parts of the compressed section are.
const CONTENT: &[u8] = b"::DataSpace/Storage/MSCompressed/Content";
const CONTROL: &[u8] = b"::DataSpace/Storage/MSCompressed/ControlData";
const RESETS: &[u8] = b"::DataSpace/Storage/MSCompressed/Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable";

/// The CHM format.
pub(super) struct Chm;

impl Unpacker for Chm {
    fn name(&self) -> &'static str {
        "chm"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.starts_with(b"ITSF")
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let malformed = |detail| UnpackError::Malformed { offset: 0, detail };
        let (start, end) = directory(content).ok_or(malformed("no directory"))?;
        let base = base(content).ok_or(malformed("no content"))?;
        let entries = entries(content, start, end, budget)?;
        let packed = entries.iter().any(|entry| entry.section != 0);
        let section = if packed { Some(section(content, base, &entries, budget)) } else { None };
        let limit = section.as_ref().and_then(|section| section.1.as_ref()?.final_limit());
        let mut share = Share { content, budget, out };
        for entry in &entries {
            if entry.name.ends_with(b"/") || entry.name.starts_with(b"::") {
                continue;
            }
            let name = entry.name.strip_prefix(b"/").unwrap_or(entry.name);
            let names = spellings(name, true);
            match &section {
                Some((data, missing)) if entry.section != 0 => {
                    shared(&mut share, names, entry, data, missing.as_ref())?;
                }
                _ => share.member(names, base.saturating_add(entry.offset), entry.size)?,
            }
        }
        if entries.is_empty() {
            return Err(malformed("an empty directory"));
        }
        limit.map_or(Ok(()), |limit: Limit| Err(limit.into()))
    }
}

/// A file of the directory.
struct Entry<'a> {
    name: &'a [u8],
    section: u64,
    offset: u64,
    size: u64,
}

/// Where the chunks of the directory lie.
fn directory(content: &[u8]) -> Option<(usize, usize)> {
    let start = usize::try_from(le::u64_at(content, 0x48)?).ok()?;
    let length = usize::try_from(le::u64_at(content, 0x50)?).ok()?;
    let end = start.checked_add(length)?.min(content.len());
    content.get(start..end)?.starts_with(b"ITSP").then_some((start, end))
}

/// Where the content of section 0 starts.
fn base(content: &[u8]) -> Option<u64> {
    if le::u32_at(content, 4)? >= 3 {
        return le::u64_at(content, 0x58);
    }
    le::u64_at(content, 0x48)?.checked_add(le::u64_at(content, 0x50)?)
}

/// The entries of all listing chunks.
fn entries<'a>(
    content: &'a [u8],
    start: usize,
    end: usize,
    budget: &mut Budget<'_>,
) -> Result<Vec<Entry<'a>>, UnpackError> {
    let malformed = UnpackError::Malformed { offset: start as u64, detail: "no directory" };
    let sizes = (|| {
        let header = usize::try_from(le::u32_at(content, start.checked_add(8)?)?).ok()?;
        let chunk = usize::try_from(le::u32_at(content, start.checked_add(16)?)?).ok()?;
        Some((start.checked_add(header)?, chunk))
    })();
    let (mut at, size) = sizes.filter(|(_, size)| *size >= 64).ok_or(malformed)?;
    let mut list = Vec::new();
    while at < end {
        let chunk = content.get(at..at.saturating_add(size).min(end)).unwrap_or_default();
        at = at.saturating_add(size);
        budget.charge_work(chunk.len() as u64)?;
        if !chunk.starts_with(b"PMGL") {
            continue;
        }
        let free = le::u32_at(chunk, 4).map_or(0, |free| le::length(u64::from(free)));
        let mut rest = chunk.get(20..chunk.len().saturating_sub(free)).unwrap_or_default();
        while let Some((entry, after)) = entry(rest) {
            if list.len() > budget.limits().max_entities.saturating_add(16) {
                return Err(Limit::Entities.into());
            }
            list.push(entry);
            rest = after;
        }
    }
    Ok(list)
}

fn entry(rest: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (length, rest) = number(rest)?;
    let (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let (section, rest) = number(rest)?;
    let (offset, rest) = number(rest)?;
    let (size, rest) = number(rest)?;
    Some((Entry { name, section, offset, size }, rest))
}

/// Seven bits an octet, the highest first.
fn number(mut rest: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for _ in 0..9 {
        let (&octet, after) = rest.split_first()?;
        value = (value << 7) | u64::from(octet & 0x7f);
        rest = after;
        if octet & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// The decoded section 1, and why it is not everything.
fn section(
    content: &Bytes,
    base: u64,
    entries: &[Entry<'_>],
    budget: &mut Budget<'_>,
) -> (Bytes, Option<Missing>) {
    let part = |name: &[u8]| {
        let entry = entries.iter().find(|entry| entry.name == name && entry.section == 0)?;
        let start = le::length(base.checked_add(entry.offset)?);
        let rest = content.get(start..)?;
        rest.get(..le::length(entry.size).min(rest.len()))
    };
    let packed = part(CONTENT).unwrap_or_default();
    let lzx = part(CONTROL)
        .zip(part(RESETS))
        .and_then(|(control, resets)| Frames::new(packed, control, resets));
    let Some(lzx) = lzx else {
        return (Bytes::new(), Some(Missing::new(GapReason::Malformed, "no compressed section")));
    };
    if let Err(limit) = budget.charge_work(lzx.work()) {
        let missing = Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
        return (Bytes::new(), Some(missing));
    }
    let Drained { bytes, missing } =
        drain(|| Ok(lzx), packed.len() as u64, budget, &mut Vec::new());
    (bytes.into(), missing)
}

/// A file of the section, which was charged as a whole.
fn shared(
    share: &mut Share<'_, '_, '_>,
    names: Vec<String>,
    entry: &Entry<'_>,
    data: &Bytes,
    why: Option<&Missing>,
) -> Result<(), UnpackError> {
    share.budget.charge_entity()?;
    let start = le::length(entry.offset).min(data.len());
    let end = start.saturating_add(le::length(entry.size)).min(data.len());
    let content = data.slice(start..end);
    let short = (content.len() as u64) < entry.size;
    let ends_early = || Missing::new(GapReason::Malformed, "ends early");
    let missing = short.then(|| why.cloned().unwrap_or_else(ends_early));
    let member = Member { names, claimed_size: entry.size, content, missing };
    (share.out)(Unpacked::Member(member));
    Ok(())
}

#[cfg(test)]
mod tests;
