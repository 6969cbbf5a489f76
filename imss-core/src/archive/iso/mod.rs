//! Disc images: ISO 9660 (ECMA-119) with Joliet and Rock Ridge names, and UDF (ECMA-167).
//!
//! In: octets with a volume recognition sequence at sector 16. Out: one member per file of any of the
//! volumes, with its spelling in each, sharing the image's octets; files in several extents are
//! joined. Windows mounts UDF before Joliet before ISO 9660, other systems choose differently, so
//! every volume is read.
//!
//! Files are told apart by where they lie. What lies beyond the end is missing; directories that
//! contradict the format end their volume: malformed.

mod iso9660;
mod rockridge;
mod udf;

use std::collections::HashMap;

use bytes::Bytes;

use super::names::add;
use super::share::Share;
use super::{Missing, Source, UnpackError, Unpacked, Unpacker, le};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Octets of a sector.
const SECTOR: usize = 2_048;
/// Names of one place.
const MAX_NAMES: usize = 64;
/// Where the volume descriptors start.
const DESCRIPTORS: usize = 16 * SECTOR;

/// The formats of optical discs.
pub(super) struct Iso;

/// A file of one volume.
struct File {
    /// Spellings of its path.
    names: Vec<String>,
    /// Where its octets lie: start, length. None for a hole, which reads as zeros.
    extents: Vec<(u64, u64)>,
    /// Octets it claims.
    size: u64,
    /// Why the octets are not its content.
    unsupported: Option<&'static str>,
}

/// What the volumes hold, each file once.
struct Files<'a, 'b> {
    content: &'a Bytes,
    budget: &'a mut Budget<'b>,
    list: Vec<File>,
    by_place: HashMap<(u64, u64, u64), usize>,
}

impl Unpacker for Iso {
    fn name(&self) -> &'static str {
        "iso"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        let id = content.get(DESCRIPTORS.saturating_add(1)..).and_then(|rest| rest.get(..5));
        matches!(id, Some(b"CD001" | b"BEA01" | b"NSR02" | b"NSR03")) || udf::has_anchor(content)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let mut files =
            Files { content: source.content, budget, list: Vec::new(), by_place: HashMap::new() };
        let mut problems = Vec::new();
        let has_udf = udf::has_anchor(source.content);
        if has_udf {
            problems.extend(udf::read(&mut files).err());
        }
        match iso9660::read(&mut files) {
            Ok(true) => {}
            Ok(false) if has_udf => {}
            Ok(false) => problems.push(UnpackError::Malformed {
                offset: DESCRIPTORS as u64,
                detail: "no volume that can be read",
            }),
            Err(error) => problems.push(error),
        }
        let list = std::mem::take(&mut files.list);
        let mut share = Share { content: source.content, budget, out };
        for file in list {
            hand_over(&mut share, file)?;
        }
        problems.into_iter().next().map_or(Ok(()), Err)
    }
}

impl Files<'_, '_> {
    /// Adds a file, or another spelling of one that another volume has.
    fn add(&mut self, file: File) -> Result<(), UnpackError> {
        self.budget.charge_work(200)?;
        let place = file.extents.first().copied().unwrap_or_default();
        let key = (place.0, place.1, file.size);
        if file.size > 0
            && let Some(known) = self.by_place.get(&key).and_then(|&at| self.list.get_mut(at))
        {
            // Many names for one place cost memory for nothing.
            if known.names.len() < MAX_NAMES {
                add(&mut known.names, file.names);
            } else {
                self.budget.left_out("names of one file past 64");
            }
            return Ok(());
        }
        if self.list.len() > self.budget.limits().max_entities {
            return Err(Limit::Entities.into());
        }
        self.by_place.insert(key, self.list.len());
        self.list.push(file);
        Ok(())
    }

    /// The octets of extents, at most those of the image.
    fn read(&mut self, extents: &[(u64, u64)], size: u64) -> Result<Bytes, UnpackError> {
        join(self.content, extents, size, self.budget)
    }
}

fn hand_over(share: &mut Share<'_, '_, '_>, file: File) -> Result<(), UnpackError> {
    let content = join(share.content, &file.extents, file.size, share.budget)?;
    if let Some(what) = file.unsupported {
        let missing = Some(Missing::new(GapReason::Unsupported, what));
        return share.partial(file.names, content, file.size, missing);
    }
    share.content(file.names, content, file.size)
}

/// One extent is shared, several are copied.
fn join(
    content: &Bytes,
    extents: &[(u64, u64)],
    size: u64,
    budget: &mut Budget<'_>,
) -> Result<Bytes, UnpackError> {
    let part = |start: u64, length: u64| {
        let start = le::length(start).min(content.len());
        let end = start.saturating_add(le::length(length)).min(content.len());
        content.slice(start..end)
    };
    if let [(start, length)] = extents {
        return Ok(part(*start, (*length).min(size)));
    }
    let mut all = Vec::new();
    for &(start, length) in extents {
        let left = size.saturating_sub(all.len() as u64);
        let piece = part(start, length.min(left));
        budget.charge_work(piece.len() as u64 / 8 + 16)?;
        // The same octets may be claimed again and again.
        if (all.len() as u64).saturating_add(piece.len() as u64) > budget.bytes_left() {
            return Err(Limit::TotalBytes.into());
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests;
