//! Zip archives (APPNOTE 6.3): what every reader would find in them.
//!
//! In: octets with an end-of-central-directory record near the end, or a local header at the start.
//! Out: the members that any directory lists, then those that only local headers show, then octets
//! that belong to nothing. Where the two headers of an entry disagree, each reading is a member.
//!
//! Encrypted entries are opened if a password proves right; if none does, their names are still read.
//!
//! A missing or broken directory is malformed, and the local headers still give their members.
//! Work is linear in the octets, times the readings of each entry (at most two).

mod crypt;
mod decode;
mod headers;
mod walk;

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use self::decode::Decoder;
use self::headers::{Directory, Header, Storage};
use super::le::length;
use super::names::{add, spellings};
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::filetype::{self, FileType, TypeGroup};
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Octets at the end in which the last record must lie: 22, its longest comment, and some dirt.
const TAIL: usize = 66 << 10;
/// Records looked at, from the last. A real archive has one; members of stored archives have theirs.
const MAX_RECORDS: usize = 1_000;
/// Directory entries that are read for each entity that the message may have. Folders are entries and
/// no entities, and two directories may share their entries.
const ENTRIES_PER_ENTITY: usize = 16;
/// Defects told one by one.
const MAX_ANOMALIES: usize = 16;

/// The zip format.
pub(super) struct Zip;

impl Unpacker for Zip {
    fn name(&self) -> &'static str {
        "zip"
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        let tail = content.len().saturating_sub(TAIL);
        let is_other_archive = detected.media_type == "application/x-tar";
        // The streams of an OLE file may be archives, in sectors of any order: only one that ends
        // the file is its own.
        let is_ole = content.starts_with(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
        let ends = |directory: &Directory| !is_ole || directory.record.end == content.len();
        is_archive(content)
            || detected.media_type == "application/zip"
            || !is_other_archive
                && memchr::memmem::rfind_iter(content.get(tail..).unwrap_or_default(), headers::END)
                    .enumerate()
                    .any(|(number, at)| {
                        // With too many of them it counts as one, and unpacking tells.
                        number >= MAX_RECORDS
                            || headers::directories(content, tail.saturating_add(at))
                                .iter()
                                .any(ends)
                    })
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let budget_left = budget.bytes_left();
        let mut run = Run {
            content,
            budget,
            out,
            covered: Vec::new(),
            decoder: Decoder::new(source.passwords),
            bytes_left: budget_left,
            entries: 0,
            anomalies: 0,
            problem: None,
            is_embedded: is_embedded(content),
        };
        run.all()
    }
}

/// One archive being read.
struct Run<'a, 'b, 'c> {
    content: &'a Bytes,
    budget: &'a mut Budget<'b>,
    out: &'a mut (dyn FnMut(Unpacked) + 'c),
    /// Octets that entries, directories and records account for.
    covered: Vec<Range<usize>>,
    decoder: Decoder<'a>,
    /// Octets that could be produced when the archive was opened.
    bytes_left: u64,
    /// Directory entries read so far.
    entries: usize,
    anomalies: usize,
    problem: Option<UnpackError>,
    /// The archive lies in a document that holds other things too.
    is_embedded: bool,
}

impl Run<'_, '_, '_> {
    fn all(&mut self) -> Result<(), UnpackError> {
        let content = self.content;
        // The last ones count. Searching forwards is many times faster than backwards.
        let mut ends: VecDeque<usize> = VecDeque::new();
        for at in memchr::memmem::find_iter(content, headers::END) {
            if ends.len() >= MAX_RECORDS {
                self.budget.left_out("ends of directories before the last 1,000");
                ends.pop_front();
            }
            ends.push_back(at);
        }
        let mut directories: Vec<Directory> =
            ends.into_iter().rev().flat_map(|at| headers::directories(content, at)).collect();
        if directories.is_empty() {
            self.malformed(content.len(), "no end of central directory");
        } else {
            let main = directories.remove(0);
            self.directory(&main)?;
        }
        for other in directories {
            // An archive stored inside this one is a member, and read as such.
            if self.covered.iter().any(|range| contains(range, &other.record)) {
                continue;
            }
            self.anomaly(
                AnomalyKind::ContradictoryArchive,
                other.record.start,
                "another directory",
            );
            self.directory(&other)?;
        }
        self.unlisted()?;
        self.leftovers()?;
        self.problem.take().map_or(Ok(()), Err)
    }

    /// Every entry of one directory.
    fn directory(&mut self, directory: &Directory) -> Result<(), UnpackError> {
        let content = self.content;
        let mut at = directory.entries.start;
        let mut claimed: Vec<Range<usize>> = Vec::new();
        while at < directory.entries.end {
            self.budget.check_stop()?;
            self.entries = self.entries.saturating_add(1);
            if self.entries / ENTRIES_PER_ENTITY > self.budget.limits().max_entities {
                return Err(Limit::Entities.into());
            }
            let Some(entry) = headers::central(content, at) else {
                self.malformed(at, "not a central entry");
                break;
            };
            claimed.extend(self.listed(&entry, directory.base)?);
            at = entry.end;
        }
        claimed.sort_by_key(|range| range.start);
        let overlap = claimed.iter().zip(claimed.iter().skip(1)).find(|(a, b)| b.start < a.end);
        if let Some((_, second)) = overlap {
            self.anomaly(AnomalyKind::ContradictoryArchive, second.start, "overlapping entries");
        }
        self.covered.extend(claimed);
        self.covered.push(directory.entries.start..directory.record.end);
        Ok(())
    }

    /// One entry of a directory, by its central and its local header.
    fn listed(
        &mut self,
        entry: &Header<'_>,
        base: usize,
    ) -> Result<Option<Range<usize>>, UnpackError> {
        let content = self.content;
        let offset = length(entry.local);
        let places = [offset.checked_add(base), Some(offset)];
        let local = places.into_iter().flatten().find_map(|at| headers::local(content, at));
        let mut names = entry_names(entry);
        let Some(local) = local else {
            let missing = Missing::new(GapReason::Malformed, "no local header");
            self.member(names, entry.storage.size, Bytes::new(), Some(missing))?;
            return Ok(None);
        };
        let at = length(local.local);
        let other_names = entry_names(&local);
        if other_names.first() != names.first() && local.name != entry.name {
            self.anomaly(AnomalyKind::ContradictoryArchive, at, "two names");
        }
        add(&mut names, other_names);
        let packed = self.slice(local.end, entry.storage.packed);
        let end = local.end.saturating_add(packed.len());
        self.decoded(names.clone(), &entry.storage, &packed)?;
        if disagrees(&entry.storage, &local.storage) {
            self.anomaly(AnomalyKind::ContradictoryArchive, at, "two ways to decode an entry");
            let packed = self.slice(local.end, local.storage.packed);
            self.decoded(names, &local.storage, &packed)?;
        }
        Ok(Some(at..end))
    }

    /// Decodes one entry and hands it over; tells how many packed octets it used.
    fn decoded(
        &mut self,
        names: Vec<String>,
        storage: &Storage,
        packed: &Bytes,
    ) -> Result<usize, UnpackError> {
        let mut decoded = self.decoder.decode(storage, packed, self.budget);
        let short = (packed.len() as u64) < storage.packed && decoded.missing.is_none();
        if short {
            decoded.missing = Some(Missing::new(GapReason::Malformed, "ends early"));
        }
        let is_folder = names.iter().any(|name| name.ends_with('/'));
        if !is_folder || !decoded.content.is_empty() || decoded.missing.is_some() {
            self.member(names, storage.size, decoded.content, decoded.missing)?;
        }
        Ok(decoded.used)
    }

    fn member(
        &mut self,
        names: Vec<String>,
        claimed_size: u64,
        content: Bytes,
        missing: Option<Missing>,
    ) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        let limit = missing.as_ref().and_then(Missing::final_limit);
        (self.out)(Unpacked::Member(Member { names, claimed_size, content, missing }));
        // Entries that share their packed octets make a bomb of which no single entry is one.
        let produced = self.bytes_left.saturating_sub(self.budget.bytes_left());
        self.budget.check_ratio(self.content.len() as u64, produced)?;
        limit.map_or(Ok(()), |limit| Err(limit.into()))
    }

    fn anomaly(&mut self, kind: AnomalyKind, offset: usize, detail: &str) {
        if self.anomalies < MAX_ANOMALIES && !self.is_embedded {
            self.anomalies = self.anomalies.saturating_add(1);
            let detail = detail.to_owned();
            (self.out)(Unpacked::Anomaly { kind, offset: offset as u64, detail });
        }
    }

    fn malformed(&mut self, offset: usize, detail: &'static str) {
        let offset = offset as u64;
        self.problem.get_or_insert(UnpackError::Malformed { offset, detail });
    }

    /// `size` octets from `start`, or what there is of them.
    fn slice(&self, start: usize, size: u64) -> Bytes {
        let start = start.min(self.content.len());
        let end = start.saturating_add(length(size)).min(self.content.len());
        self.content.slice(start..end)
    }
}

/// Whether `content` starts as archives do.
fn is_archive(content: &[u8]) -> bool {
    let heads: [&[u8]; 4] =
        [headers::LOCAL, headers::END, b"PK00PK\x03\x04", b"PK\x07\x08PK\x03\x04"];
    heads.iter().any(|head| content.starts_with(head))
}

/// Whether `content` is of a type that keeps archives inside (themes in Word documents, members of
/// other archives): then several of them, and octets around them, say nothing.
fn is_embedded(content: &[u8]) -> bool {
    let group = filetype::by_start(content).map(|known| known.group);
    let holds =
        matches!(group, Some(TypeGroup::Document | TypeGroup::Archive | TypeGroup::Message));
    holds && !is_archive(content)
}

fn entry_names(header: &Header<'_>) -> Vec<String> {
    let mut names: Vec<String> = header.unicode_name.map(str::to_owned).into_iter().collect();
    add(&mut names, spellings(header.name, header.storage.is_utf8()));
    names
}

/// Whether a reader of the local header alone would get other content.
fn disagrees(central: &Storage, local: &Storage) -> bool {
    let other_size = central.packed != local.packed && !local.has_descriptor();
    central.method != local.method || central.is_encrypted() != local.is_encrypted() || other_size
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests;
