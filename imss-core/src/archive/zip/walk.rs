//! What no directory of the archive lists: entries that only a local header shows, and octets that
//! belong to nothing.
//!
//! In: the octets that are accounted for. Out: members, and one anomaly for each kind of surplus.
//! Readers that stream (or repair) an archive see these entries, others do not.

use std::ops::Range;

use memchr::memmem;

use super::Run;
use super::entry_names;
use super::headers::{self, CENTRAL, Header, LOCAL};
use crate::anomaly::AnomalyKind;
use crate::archive::UnpackError;
use crate::archive::le::length;

/// Octets between entries that are their business: data descriptors, signatures, alignment.
const SLACK: usize = 32;
/// Smallest surplus that is handed over as content.
const SURPLUS: usize = 64;

impl Run<'_, '_, '_> {
    /// Entries that only local headers show.
    pub(super) fn unlisted(&mut self) -> Result<(), UnpackError> {
        let listed = !self.covered.is_empty();
        for gap in self.gaps() {
            let mut at = gap.start;
            while let Some(found) = self.next_local(at..gap.end) {
                self.budget.check_stop()?;
                let content = self.content;
                let header = headers::local(content, found).filter(headers::is_plausible);
                let Some(header) = header else {
                    at = found.saturating_add(LOCAL.len());
                    continue;
                };
                if listed {
                    let kind = AnomalyKind::ContradictoryArchive;
                    self.anomaly(kind, found, "an entry that no directory lists");
                }
                at = self.unlisted_entry(&header, gap.end)?;
                self.covered.push(found..at);
            }
        }
        Ok(())
    }

    /// Hands over one entry; tells where to look for the next.
    fn unlisted_entry(&mut self, header: &Header<'_>, gap: usize) -> Result<usize, UnpackError> {
        let storage = &header.storage;
        let names = entry_names(header);
        let unsized_data = storage.has_descriptor() && storage.packed == 0;
        let end = if !unsized_data {
            header.end.saturating_add(length(storage.packed))
        } else if storage.method == 8 && !storage.is_encrypted() {
            gap
        } else {
            self.next_signature(header.end..gap)
        };
        let end = end.clamp(header.end, self.content.len().max(header.end));
        let claimed = end.saturating_sub(header.end) as u64;
        let packed = self.slice(header.end, claimed);
        let used = self.decoded(names, storage, &packed)?;
        if unsized_data {
            return Ok(header.end.saturating_add(used).max(header.end));
        }
        // A size that leads nowhere hides what follows; then look right behind the header.
        let honest = end == self.content.len() || headers::has(self.content, end, b"PK");
        Ok(if honest && end <= gap { end } else { header.end })
    }

    /// Octets that belong to nothing: an anomaly, and a member if they are worth looking at.
    pub(super) fn leftovers(&mut self) -> Result<(), UnpackError> {
        if self.problem.is_some() || self.is_embedded {
            return Ok(());
        }
        for gap in self.gaps() {
            let octets = self.content.slice(gap.clone());
            if octets.len() <= SLACK || octets.iter().all(|&octet| octet == 0) {
                continue;
            }
            let place = if gap.start == 0 {
                "octets before the first entry"
            } else if gap.end == self.content.len() {
                "octets after the archive"
            } else {
                "octets between entries"
            };
            self.anomaly(AnomalyKind::TrailingData, gap.start, place);
            if octets.len() >= SURPLUS {
                self.budget.charge_bytes(octets.len() as u64)?;
                self.member(Vec::new(), octets.len() as u64, octets, None)?;
            }
        }
        Ok(())
    }

    /// What is not covered, in order.
    fn gaps(&mut self) -> Vec<Range<usize>> {
        self.covered.sort_by_key(|range| range.start);
        let mut gaps = Vec::new();
        let mut end = 0;
        for range in &self.covered {
            if range.start > end {
                gaps.push(end..range.start);
            }
            end = end.max(range.end);
        }
        if end < self.content.len() {
            gaps.push(end..self.content.len());
        }
        gaps
    }

    fn next_local(&self, range: Range<usize>) -> Option<usize> {
        let start = range.start;
        let found = memmem::find(self.content.get(range)?, LOCAL)?;
        start.checked_add(found)
    }

    fn next_signature(&self, range: Range<usize>) -> usize {
        let (start, end) = (range.start, range.end);
        let gap = self.content.get(range).unwrap_or_default();
        let signatures: [&[u8]; 3] = [LOCAL, CENTRAL, b"PK\x07\x08"];
        let first = signatures.iter().filter_map(|signature| memmem::find(gap, signature)).min();
        first.map_or(end, |at| start.saturating_add(at))
    }
}
