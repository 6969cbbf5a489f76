//! Sparse files of tar archives: the map of their pieces, and the file with its holes (GNU tar manual,
//! "Sparse Formats": old GNU, pax 0.0, 0.1 and 1.0).
//!
//! In: header blocks, records of extension headers, and what is stored. Out: the file that readers
//! write. A hole costs the budget as much as other octets; pieces that are out of order, pass the end,
//! or are not what is stored, are malformed.

use bytes::Bytes;

use super::{BLOCK, Missing, decimal, le, number};
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Octets of a file for which one step of work is charged.
const PER_STEP: u64 = 8;
/// What a block of a map costs, in steps.
const STEPS: u64 = 50;
/// Octets that a number of a map takes while it is kept.
const NUMBER: u64 = 8;
/// Octets of the shortest pair in a map before what is stored: `0\n0\n`.
const PAIR: usize = 4;

/// Where the pieces of a file belong: offsets and lengths.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    /// Octets of the whole file.
    size: Option<u64>,
    /// The map stands before what is stored (pax 1.0).
    is_inside: bool,
}

impl Map {
    /// The map of an old GNU header at `at`, and where what is stored starts.
    ///
    /// # Errors
    ///
    /// When the work for it is more than the budget has.
    pub(super) fn old(
        content: &[u8],
        at: usize,
        budget: &mut Budget<'_>,
    ) -> Result<(Self, usize), Limit> {
        let block = |at: usize| content.get(at..at.saturating_add(BLOCK)).unwrap_or_default();
        let header = block(at);
        let mut map = Self { size: header.get(483..495).and_then(number), ..Self::default() };
        map.fields(header.get(386..482).unwrap_or_default());
        let mut more = header.get(482).is_some_and(|&flag| flag != 0);
        let mut at = at.saturating_add(BLOCK);
        while more {
            budget.charge_work(STEPS)?;
            let next = block(at);
            map.fields(next.get(..504).unwrap_or_default());
            more = next.get(504).is_some_and(|&flag| flag != 0);
            at = at.saturating_add(BLOCK);
        }
        Ok((map, at))
    }

    /// Takes over a record of an extension header, if it is about sparse files.
    ///
    /// # Errors
    ///
    /// When the budget has no room for what it says.
    pub(super) fn record(
        map: &mut Option<Self>,
        key: &[u8],
        value: &[u8],
        budget: &mut Budget<'_>,
    ) -> Result<(), Limit> {
        let Some(key) = key.strip_prefix(b"GNU.sparse.".as_slice()) else { return Ok(()) };
        let map = map.get_or_insert_default();
        match key {
            b"size" | b"realsize" => map.size = decimal(value),
            b"offset" | b"numbytes" => {
                budget.charge_bytes(NUMBER)?;
                let numbers = if key == b"offset" { &mut map.offsets } else { &mut map.lengths };
                numbers.extend(decimal(value));
            }
            b"map" => {
                let numbers = value.split(|&octet| octet == b',').map_while(decimal);
                budget.charge_bytes((numbers.clone().count() as u64).saturating_mul(NUMBER))?;
                // Readers take the last map that is whole, not the sum of all.
                map.offsets.clear();
                map.lengths.clear();
                map.numbers(numbers);
            }
            b"major" => map.is_inside = value == b"1",
            _ => {}
        }
        Ok(())
    }

    /// Octets of the whole file, as far as that is told.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The file that `stored` is the pieces of, and whether holes lie before or between them.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn expand(
        mut self,
        stored: &Bytes,
        budget: &mut Budget<'_>,
    ) -> Result<(Bytes, bool), Missing> {
        let malformed = || Missing::new(GapReason::Malformed, "map of a sparse file");
        let limit = |limit: Limit| Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
        let mut data = &**stored;
        if self.is_inside {
            let (count, start) = count(data).ok_or_else(malformed)?;
            budget.charge_bytes((count as u64).saturating_mul(2 * NUMBER)).map_err(limit)?;
            data = self.inside(data, count, start).ok_or_else(malformed)?;
        }
        let size = self.size.ok_or_else(malformed)?;
        if size > budget.limits().max_entity_bytes {
            return Err(limit(Limit::EntityBytes));
        }
        if size > budget.bytes_left() {
            return Err(limit(Limit::TotalBytes));
        }
        budget.check_ratio(stored.len() as u64, size).map_err(limit)?;
        let pieces = self.pieces(size).ok_or_else(malformed)?;
        let pieced = pieces.iter().fold(0_usize, |sum, (_, length)| sum.saturating_add(*length));
        if pieced != data.len() {
            return Err(malformed());
        }
        budget.charge_work(size / PER_STEP).map_err(limit)?;
        let mut file = vec![0; le::length(size)];
        let (mut filled, mut moved) = (0_usize, false);
        for (offset, length) in pieces {
            let (piece, rest) = data.split_at_checked(length).ok_or_else(malformed)?;
            let end = offset.saturating_add(length);
            file.get_mut(offset..end).ok_or_else(malformed)?.copy_from_slice(piece);
            data = rest;
            moved |= length > 0 && offset != filled;
            filled = filled.saturating_add(length);
        }
        Ok((file.into(), moved))
    }

    /// The pieces, if they are in order and inside `size` octets.
    fn pieces(&self, size: u64) -> Option<Vec<(usize, usize)>> {
        let mut end = 0_u64;
        let mut pieces = Vec::new();
        (self.offsets.len() == self.lengths.len()).then_some(())?;
        for (&offset, &length) in self.offsets.iter().zip(&self.lengths) {
            (offset >= end).then_some(())?;
            end = offset.checked_add(length).filter(|&end| end <= size)?;
            pieces.push((usize::try_from(offset).ok()?, usize::try_from(length).ok()?));
        }
        Some(pieces)
    }

    /// Reads the map before what is stored: from `at` on, `count` pairs, a number a line. Gives what
    /// is behind it.
    fn inside<'a>(&mut self, stored: &'a [u8], count: usize, mut at: usize) -> Option<&'a [u8]> {
        self.offsets.clear();
        self.lengths.clear();
        for _ in 0..count {
            self.offsets.push(line(stored, &mut at)?);
            self.lengths.push(line(stored, &mut at)?);
        }
        stored.get(at.checked_next_multiple_of(BLOCK)?..)
    }

    fn fields(&mut self, fields: &[u8]) {
        let numbers = fields.chunks(12).map_while(number);
        self.numbers(numbers);
    }

    fn numbers(&mut self, mut numbers: impl Iterator<Item = u64>) {
        while let Some((offset, length)) = numbers.next().zip(numbers.next()) {
            self.offsets.push(offset);
            self.lengths.push(length);
        }
    }
}

/// How many pairs a map before what is stored has, and where the first starts; `None` for more than
/// there is room for.
fn count(stored: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    let count = usize::try_from(line(stored, &mut at)?).ok()?;
    (count <= stored.len() / PAIR).then_some((count, at))
}

/// The number in the line at `at`, which is moved behind it.
fn line(stored: &[u8], at: &mut usize) -> Option<u64> {
    let rest = stored.get(*at..)?;
    let end = memchr::memchr(b'\n', rest.get(..rest.len().min(24))?)?;
    *at = at.checked_add(end)?.checked_add(1)?;
    decimal(rest.get(..end)?)
}
