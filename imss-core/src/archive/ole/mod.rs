//! OLE compound files ([MS-CFB]): every stream is a member.
//!
//! In: a compound file. Out: members named by their path inside, joined with `/`: first as stored,
//! control characters included, then a spelling to show (`[5]SummaryInformation`), for Windows
//! Installer files the name that it shows. Streams whose directory entry no tree reaches are
//! members too.
//!
//! Office opens files that the specification forbids: broken chains, sizes that cannot be, a last
//! sector cut short. Everything that can be read is read, and what is missing is said. Chains and
//! trees are bounded by the file's own count of sectors and entries, so loops end.

mod file;
mod path;

use std::collections::HashSet;

use bytes::Bytes;

pub(crate) use self::file::CompoundFile;
use self::file::Kind;
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// The `ole` unpacker.
#[derive(Debug)]
pub(super) struct Ole;

impl Unpacker for Ole {
    fn name(&self) -> &'static str {
        "ole"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        is_compound(content)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let file = CompoundFile::open(source.content, budget)?;
        let mut orphans = 0_usize;
        for entry in file.entries().iter().filter(|entry| entry.kind == Kind::Stream) {
            budget.charge_entity()?;
            orphans = orphans.saturating_add(usize::from(entry.is_orphan));
            let claimed = usize::try_from(entry.size).unwrap_or(usize::MAX);
            let (content, missing) = if entry.size > budget.limits().max_entity_bytes {
                let limit = Limit::EntityBytes;
                let missing = Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
                (Bytes::new(), Some(missing))
            } else {
                let content = file.stream(entry, budget)?;
                let missing = (content.len() < claimed).then(|| {
                    let detail = format!("{} of {claimed} octets", content.len());
                    Missing::new(GapReason::Malformed, detail)
                });
                (content, missing)
            };
            let names = path::spellings(&entry.path);
            let claimed_size = entry.size;
            out(Unpacked::Member(Member { names, claimed_size, content, missing }));
        }
        if orphans > 0 {
            let (kind, detail) = (AnomalyKind::TrailingData, format!("{orphans} orphaned streams"));
            out(Unpacked::Anomaly { kind, offset: 0, detail });
        }
        Ok(())
    }
}

/// Whether `content` starts like a compound file.
pub(crate) fn is_compound(content: &[u8]) -> bool {
    content.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
        || content.starts_with(b"\x0e\x11\xfc\x0d\xd0\xcf\x11\x0e")
}

/// A class identifier as stored.
pub(crate) type ClassId = [u8; 16];

/// The storages of a compound file that name a class: path (empty for the root) and class.
///
/// # Errors
///
/// As for unpacking.
pub(crate) fn classes(
    content: &Bytes,
    budget: &mut Budget<'_>,
) -> Result<Vec<(String, ClassId)>, UnpackError> {
    let file = CompoundFile::open(content, budget)?;
    let mut seen = HashSet::new();
    let storages = file.entries().iter().filter(|entry| entry.kind == Kind::Storage);
    let named = storages.filter(|entry| entry.class != [0; 16]);
    let new = named.filter(|entry| seen.insert((entry.path.clone(), entry.class)));
    Ok(new.map(|entry| (entry.path.clone(), entry.class)).collect())
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
pub(crate) mod build;
#[cfg(test)]
mod tests;
