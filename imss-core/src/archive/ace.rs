//! ACE archives, also in a program that unpacks itself.
//!
//! In: octets with the signature near the start, or anywhere in a program. Out: a member for each file.
//! The decoder proves its output by a checksum, so a wrong password gives nothing. Sizes are claims,
//! and the decoder makes everything at once: they are checked and charged before.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use unarc_rs::ace::{AceArchive, FileHeader};
use unarc_rs::error::ArchiveError;

use super::passwords::may_try;
use super::sfx::{self, Start};
use super::{Member, Missing, Passwords, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

const SIGNATURE: &[u8] = b"**ACE**";
/// Octets of the main header before its signature.
const BEFORE: usize = 7;

/// The ACE format.
pub(super) struct Ace;

impl Unpacker for Ace {
    fn name(&self) -> &'static str {
        "ace"
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
        let Some(offset) = Start::place(start(source.content), budget) else { return Ok(()) };
        let content = source.content.slice(offset..);
        let malformed = UnpackError::Malformed { offset: offset as u64, detail: "header" };
        let open = || AceArchive::new(Cursor::new(&content));
        let mut archive =
            caught(open).ok_or(UnpackError::Crashed)?.map_err(|_| malformed.clone())?;
        // Each header moves on by at least its own octets, so this ends.
        loop {
            budget.check_stop()?;
            let next = caught(|| archive.get_next_entry()).ok_or(UnpackError::Crashed)?;
            let Some(header) = next.map_err(|_| malformed.clone())? else { return Ok(()) };
            if !header.is_directory() {
                budget.charge_entity()?;
                let (bytes, missing) = read(&mut archive, &header, source, budget);
                let limit = missing.as_ref().and_then(Missing::final_limit);
                let (names, claimed_size) = (vec![header.filename.clone()], header.original_size);
                let content = bytes.into();
                out(Unpacked::Member(Member { names, claimed_size, content, missing }));
                if let Some(limit) = limit {
                    return Err(limit.into());
                }
            }
            // A size that leads beyond the end, or back, ends the archive.
            let size = content.len() as u64;
            let behind = header.data_offset.checked_add(header.packed_size);
            if behind.is_none_or(|behind| behind > size) {
                return Err(malformed);
            }
            caught(|| archive.skip(&header))
                .ok_or(UnpackError::Crashed)?
                .map_err(|_| malformed.clone())?;
        }
    }
}

fn start(content: &[u8]) -> Option<Start> {
    if content.get(BEFORE..)?.starts_with(SIGNATURE) {
        return Some(Start::At(0));
    }
    sfx::search(content, (SIGNATURE, BEFORE), |_| true, |_| true)
}

fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Decodes one file.
fn read(
    archive: &mut AceArchive<Cursor<&Bytes>>,
    header: &FileHeader,
    source: &Source<'_>,
    budget: &mut Budget<'_>,
) -> (Vec<u8>, Option<Missing>) {
    let size = header.original_size;
    let limits = budget.limits();
    let ratio = budget.check_ratio(source.content.len() as u64, size).err();
    let limit = (size > limits.max_entity_bytes).then_some(Limit::EntityBytes).or(ratio);
    let nothing = |reason, detail: &str| (Vec::new(), Some(Missing::new(reason, detail)));
    if let Some(limit) = limit.or_else(|| budget.charge_bytes(size).err()) {
        return nothing(GapReason::Limit(limit), &format!("{limit} limit"));
    }
    if header.is_continued_from_prev() || header.is_continued_to_next() {
        return nothing(GapReason::Malformed, "goes on in another volume");
    }
    if header.is_encrypted() {
        return decrypted(archive, header, source.passwords, budget);
    }
    match caught(|| archive.read(header)) {
        Some(Ok(bytes)) => (bytes, None),
        Some(Err(ArchiveError::UnsupportedMethod { .. })) => {
            nothing(GapReason::Unsupported, "method")
        }
        Some(Err(error)) => {
            let text: String = error.to_string().chars().take(200).collect();
            nothing(GapReason::Malformed, &text.escape_debug().to_string())
        }
        None => nothing(GapReason::Crash, "the decoder crashed"),
    }
}

fn decrypted(
    archive: &mut AceArchive<Cursor<&Bytes>>,
    header: &FileHeader,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> (Vec<u8>, Option<Missing>) {
    let cost = header.packed_size.saturating_mul(8).saturating_add(header.original_size);
    for word in passwords.iter() {
        if !may_try(budget, cost.saturating_add(10_000)) {
            break;
        }
        let run = || archive.read_with_password(header, Some(word.to_owned()));
        if let Some(Ok(bytes)) = caught(run) {
            return (bytes, None);
        }
    }
    (Vec::new(), Some(Missing::new(GapReason::Encrypted, "encrypted")))
}
