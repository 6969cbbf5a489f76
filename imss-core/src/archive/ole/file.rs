//! The structure of a compound file: header, allocation tables, directory ([MS-CFB] 2.2 to 2.6).
//!
//! In: its octets. Out: directory entries with their paths, and the octets of a stream, shared with
//! the file where its sectors follow each other.
//!
//! Nothing here is trusted: a chain is followed for no more sectors than the file has, an entry is
//! visited once, and what lies beyond the end is missing.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::super::UnpackError;
use super::super::le::{length, u16_at, u32_at, u64_at};
use super::ClassId;
use crate::limits::Budget;

/// The largest regular sector number; above are marks such as the end of a chain.
const MAX_SECTOR: u32 = 0xffff_fffa;
/// "No entry" in the directory tree.
const NO_ENTRY: u32 = 0xffff_ffff;
/// Streams smaller than this are in the mini stream. The header repeats the number, and the system
/// library refuses any other.
const MINI_CUTOFF: u64 = 4096;
/// Octets of a mini sector.
const MINI_SHIFT: u32 = 6;
/// Octets of a directory entry.
const ENTRY: usize = 128;
/// Longest path that is built: deep trees would cost memory in the square of their depth.
const MAX_PATH: usize = 1024;
/// Octets of all paths of a file.
const MAX_PATHS: usize = 16 << 20;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not used.
    Free,
    /// A folder; the root is one without a name.
    Storage,
    /// Octets.
    Stream,
}

/// A directory entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its path, joined with `/`.
    pub(crate) path: String,
    /// The class of a storage, or zeros.
    pub(crate) class: ClassId,
    /// Claimed octets.
    pub(crate) size: u64,
    /// No tree reaches it.
    pub(crate) is_orphan: bool,
    start: u32,
    left: u32,
    right: u32,
    child: u32,
}

/// A compound file.
#[derive(Debug)]
pub(crate) struct CompoundFile {
    content: Bytes,
    shift: u32,
    /// Sector numbers of the allocation table.
    fat: Vec<u32>,
    mini_fat: Bytes,
    mini_stream: Bytes,
    entries: Vec<Entry>,
    /// Octets of paths that may still be built.
    path_room: usize,
}

impl CompoundFile {
    /// Reads tables and directory.
    ///
    /// # Errors
    ///
    /// The header is cut short, there is no directory, or a limit of the message.
    pub(crate) fn open(content: &Bytes, budget: &mut Budget<'_>) -> Result<Self, UnpackError> {
        let malformed = |offset, detail| UnpackError::Malformed { offset, detail };
        let field = |at| u32_at(content, at).ok_or(malformed(0, "no header"));
        let is_large = u16_at(content, 26) == Some(4);
        let shift = match u16_at(content, 30) {
            Some(shift @ 7..=16) => u32::from(shift),
            _ if is_large => 12,
            _ => 9,
        };
        let (directory, mini_fat, difat) = (field(48)?, field(60)?, field(68)?);
        let mut file = Self {
            content: content.clone(),
            shift,
            fat: Vec::new(),
            mini_fat: Bytes::new(),
            mini_stream: Bytes::new(),
            entries: Vec::new(),
            path_room: MAX_PATHS,
        };
        budget.charge_work(u64::from(file.sectors()))?;
        file.read_fat(difat);
        let listing = file.whole_chain(directory);
        let listing = file.join(&listing);
        if listing.len() < ENTRY {
            return Err(malformed(48, "no directory"));
        }
        budget.charge_work(listing.len() as u64)?;
        file.entries = listing.chunks_exact(ENTRY).map(|raw| entry(raw, is_large)).collect();
        file.name_entries();
        let mini_fat = file.whole_chain(mini_fat);
        file.mini_fat = file.join(&mini_fat);
        // The root's size is often wrong; its chain says how much there is.
        let start = file.entries.first().map_or(NO_ENTRY, |root| root.start);
        let mini_stream = file.whole_chain(start);
        file.mini_stream = file.join(&mini_stream);
        Ok(file)
    }

    /// The directory, in stored order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The octets of a stream, as many as there are, charged to `budget`.
    ///
    /// # Errors
    ///
    /// A limit of the message.
    pub(crate) fn stream(
        &self,
        entry: &Entry,
        budget: &mut Budget<'_>,
    ) -> Result<Bytes, UnpackError> {
        let wanted = length(entry.size);
        let is_mini = entry.size < MINI_CUTOFF;
        let shift = if is_mini { MINI_SHIFT } else { self.shift };
        let sectors = wanted.div_ceil(1 << shift);
        budget.charge_work(sectors.min(self.content.len()) as u64)?;
        let ranges = if is_mini {
            self.mini_chain(entry.start, sectors)
        } else {
            self.chain(entry.start, sectors)
        };
        let held: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        budget.charge_bytes(held.min(wanted) as u64)?;
        let from = if is_mini { &self.mini_stream } else { &self.content };
        let mut octets = join(from, &ranges);
        octets.truncate(wanted);
        Ok(octets)
    }

    /// Sectors in the file, the last one perhaps cut short.
    fn sectors(&self) -> u32 {
        u32::try_from(self.content.len() >> self.shift).unwrap_or(u32::MAX)
    }

    /// Collects the sectors of the allocation table: 109 are named in the header, the others in a
    /// chain of sectors.
    fn read_fat(&mut self, mut difat: u32) {
        let per_sector = (1_usize << self.shift) / 4;
        let most = usize::try_from(self.sectors()).unwrap_or(usize::MAX) / per_sector + 1;
        let header = (76..512).step_by(4).filter_map(|at| u32_at(&self.content, at));
        self.fat = header.take_while(|sector| *sector <= MAX_SECTOR).take(most).collect();
        let mut left = most;
        while difat <= MAX_SECTOR && left > 0 && self.fat.len() < most {
            left = left.saturating_sub(1);
            let Some(range) = self.sector(difat) else { break };
            let octets = self.content.slice(range);
            let last = per_sector.saturating_sub(1).saturating_mul(4);
            let named = (0..last).step_by(4).filter_map(|at| u32_at(&octets, at));
            self.fat.extend(named.filter(|sector| *sector <= MAX_SECTOR));
            difat = u32_at(&octets, last).unwrap_or(NO_ENTRY);
        }
        self.fat.truncate(most);
    }

    /// Where a sector lies, cut at the end of the file.
    fn sector(&self, number: u32) -> Option<Range<usize>> {
        let number = usize::try_from(number).ok()?.checked_add(1)?;
        let start = number.checked_mul(1 << self.shift)?;
        let end = start.checked_add(1 << self.shift)?.min(self.content.len());
        (start < end).then_some(start..end)
    }

    /// What follows `sector` in its chain.
    fn next(&self, sector: u32) -> u32 {
        let sector = usize::try_from(sector).unwrap_or(usize::MAX);
        let (table, place) = (sector >> (self.shift - 2), sector & ((1 << (self.shift - 2)) - 1));
        let table = self.fat.get(table).and_then(|number| self.sector(*number));
        let field = table.and_then(|range| u32_at(self.content.get(range)?, place * 4));
        field.unwrap_or(NO_ENTRY)
    }

    /// The octets of up to `most` sectors from `start` on; neighbours are one range.
    fn chain(&self, start: u32, most: usize) -> Vec<Range<usize>> {
        let bound = usize::try_from(self.sectors()).unwrap_or(usize::MAX).saturating_add(1);
        follow(start, most.min(bound), |at| self.sector(at), |at| self.next(at))
    }

    /// The octets of a chain whose length nothing tells; a loop ends where it begins.
    fn whole_chain(&self, start: u32) -> Vec<Range<usize>> {
        let sectors = usize::try_from(self.sectors()).unwrap_or(usize::MAX).saturating_add(1);
        let mut seen = vec![false; sectors];
        let next = |at: u32| {
            let next = self.next(at);
            let flag = usize::try_from(next).ok().and_then(|next| seen.get_mut(next));
            let is_new = flag.is_some_and(|flag| !std::mem::replace(flag, true));
            if is_new && next != start { next } else { NO_ENTRY }
        };
        follow(start, sectors, |at| self.sector(at), next)
    }

    fn mini_chain(&self, start: u32, most: usize) -> Vec<Range<usize>> {
        let sector = |number: u32| {
            let start = usize::try_from(number).ok()?.checked_mul(1 << MINI_SHIFT)?;
            let end = start.checked_add(1 << MINI_SHIFT)?.min(self.mini_stream.len());
            (start < end).then_some(start..end)
        };
        let next = |number: u32| {
            let at = usize::try_from(number).ok().and_then(|number| number.checked_mul(4));
            at.and_then(|at| u32_at(&self.mini_fat, at)).unwrap_or(NO_ENTRY)
        };
        let bound = (self.mini_stream.len() >> MINI_SHIFT).saturating_add(1);
        follow(start, most.min(bound), sector, next)
    }

    fn join(&self, ranges: &[Range<usize>]) -> Bytes {
        join(&self.content, ranges)
    }

    /// Gives every entry its path: from the root, then from storages that no tree reaches.
    fn name_entries(&mut self) {
        let mut seen = vec![false; self.entries.len()];
        if let Some(first) = seen.first_mut() {
            *first = true;
        }
        if let Some(root) = self.entries.first_mut() {
            root.path = String::new();
            root.kind = Kind::Storage;
        }
        self.name_tree(0, &mut seen, false);
        for index in 1..self.entries.len() {
            let is_new = seen.get(index) == Some(&false);
            let Some(entry) = self.entries.get_mut(index).filter(|_| is_new) else { continue };
            entry.is_orphan = entry.kind == Kind::Stream && entry.size > 0;
            if entry.kind == Kind::Stream && entry.size == 0 {
                entry.kind = Kind::Free;
            }
            if entry.kind == Kind::Storage {
                if let Some(seen) = seen.get_mut(index) {
                    *seen = true;
                }
                self.name_tree(index, &mut seen, true);
            }
        }
    }

    /// Names everything below the storage `top`. Each entry is visited once.
    fn name_tree(&mut self, top: usize, seen: &mut [bool], is_orphan: bool) {
        let Some(storage) = self.entries.get(top) else { return };
        let mut open = vec![(storage.child, top)];
        while let Some((number, holder)) = open.pop() {
            let Some(index) = usize::try_from(number).ok() else { continue };
            let Some(flag) = seen.get_mut(index).filter(|seen| !**seen) else { continue };
            let parent = self.entries.get(holder).map_or(0, |holder| holder.path.len());
            let own = self.entries.get(index).map_or(0, |entry| entry.path.len());
            let whole = parent.saturating_add(own).saturating_add(1);
            // A path too long for the room that is left is cut to its last part.
            let holder_path = (parent > 0 && whole < MAX_PATH && whole <= self.path_room)
                .then(|| self.entries.get(holder).map(|holder| format!("{}/", holder.path)))
                .flatten();
            let Some(entry) = self.entries.get_mut(index) else { continue };
            *flag = true;
            entry.is_orphan = is_orphan && entry.kind == Kind::Stream;
            if let Some(path) = holder_path {
                self.path_room = self.path_room.saturating_sub(whole);
                entry.path.insert_str(0, &path);
            }
            if entry.kind == Kind::Storage && entry.child != NO_ENTRY {
                open.push((entry.child, index));
            }
            let siblings = [entry.right, entry.left].into_iter().filter(|next| *next != NO_ENTRY);
            open.extend(siblings.map(|next| (next, holder)));
        }
    }
}

/// Follows a chain for at most `most` sectors.
fn follow(
    start: u32,
    most: usize,
    sector: impl Fn(u32) -> Option<Range<usize>>,
    mut next: impl FnMut(u32) -> u32,
) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = start;
    for _ in 0..most {
        if at > MAX_SECTOR {
            break;
        }
        let Some(range) = sector(at) else { break };
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
        at = next(at);
    }
    ranges
}

/// The octets of `ranges`; a single one is shared.
fn join(from: &Bytes, ranges: &[Range<usize>]) -> Bytes {
    if let [range] = ranges {
        return from.slice(range.clone());
    }
    let mut all = BytesMut::with_capacity(ranges.iter().map(ExactSizeIterator::len).sum());
    for range in ranges {
        all.extend_from_slice(from.get(range.clone()).unwrap_or_default());
    }
    all.freeze()
}

/// Reads one directory entry ([MS-CFB] 2.6.1).
fn entry(raw: &[u8], is_large: bool) -> Entry {
    let number = |at| u32_at(raw, at).unwrap_or(NO_ENTRY);
    let size = u64_at(raw, 120).unwrap_or_default();
    let octets = usize::from(u16_at(raw, 64).unwrap_or_default()).saturating_sub(2).min(62);
    let units = raw.get(..octets).unwrap_or_default().chunks_exact(2);
    let units: Vec<u16> =
        units.filter_map(|pair| u16_at(pair, 0)).take_while(|c| *c != 0).collect();
    // Deleted entries are of kind 0; of the others, only storages hold no octets.
    let kind = match raw.get(66) {
        Some(0) | None => Kind::Free,
        Some(1 | 5) => Kind::Storage,
        Some(_) => Kind::Stream,
    };
    Entry {
        kind,
        path: String::from_utf16_lossy(&units).replace('/', "\u{2215}"),
        class: raw.get(80..96).and_then(|class| class.try_into().ok()).unwrap_or_default(),
        // The upper half means nothing in files with small sectors ([MS-CFB] 2.6.1).
        size: if is_large { size } else { size & 0xffff_ffff },
        is_orphan: false,
        start: number(116),
        left: number(68),
        right: number(72),
        child: number(76),
    }
}
