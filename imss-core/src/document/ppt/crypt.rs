//! An encrypted presentation → one that can be read ([MS-PPT] 2.3.7, [MS-OFFCRYPTO] 2.3.5).
//!
//! In: the main stream. Out: the same stream with each object of its directory decrypted with a key
//! of its own. An edit or a directory that makes no sense ends the search.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::header;
use crate::archive::le::{length, u32_at};
use crate::archive::{Source, UnpackError};
use crate::document::Piece;
use crate::document::office_crypt::{Locked, Opened, default_password, locked};
use crate::limits::Budget;

/// Edits followed backwards.
const MAX_EDITS: usize = 1000;
/// Objects of all directories.
const MAX_OBJECTS: usize = 1 << 16;

/// The stream as it can be read; `None` if no password fits, which is said.
pub(super) fn opened<'a>(
    stream: &'a [u8],
    source: &Source<'_>,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<Option<Cow<'a, [u8]>>, UnpackError> {
    budget.charge_work(stream.len() as u64 / 4)?;
    let Some(edit) = last_edit(stream) else { return Ok(Some(Cow::Borrowed(stream))) };
    let (objects, session, is_cut) = objects(stream, edit);
    if is_cut || objects.len() >= MAX_OBJECTS {
        budget.left_out("objects past 65,536, or edits before the last 1,000");
    }
    let Some(session) = session else { return Ok(Some(Cow::Borrowed(stream))) };
    let info = objects.get(&session).and_then(|at| stream.get(at.checked_add(8)?..));
    let opened = info.and_then(Locked::read).map(|own| own.open(source.passwords, budget));
    let Some(Opened::With(key, is_default)) = opened.transpose()? else {
        budget.charge_entity()?;
        out(locked(source.names, stream.len() as u64, "no password fits"));
        return Ok(None);
    };
    if is_default {
        out(default_password());
    }
    budget.charge_bytes(stream.len() as u64)?;
    let mut plain = stream.to_vec();
    let mut places: Vec<(usize, u32)> = objects.iter().map(|(id, at)| (*at, *id)).collect();
    places.sort_unstable();
    places.dedup_by_key(|(at, _)| *at);
    let ends = places.iter().skip(1).map(|(at, _)| *at).chain([stream.len()]);
    for ((at, id), end) in places.iter().zip(ends) {
        // The session, edits and directories are never encrypted.
        let kind = header(stream, *at).map(|header| header.id);
        if *id == session || matches!(kind, Some(0x2f14 | 0x0ff5 | 0x1772)) {
            continue;
        }
        budget.charge_work((end.saturating_sub(*at) as u64).saturating_mul(8))?;
        let mut start = [0; 8];
        let Some(first) = stream.get(*at..at.saturating_add(8)) else { continue };
        start.copy_from_slice(first);
        key.apply(*id, &mut start);
        let octets = header(&start, 0).map_or(0, |header| header.octets);
        let end = at.saturating_add(8).saturating_add(octets).min(end);
        if let Some(object) = plain.get_mut(*at..end) {
            key.apply(*id, object);
        }
    }
    Ok(Some(Cow::Owned(plain)))
}

/// Where the last edit lies: the last atom that looks like one, from the end.
fn last_edit(stream: &[u8]) -> Option<usize> {
    let mark = b"\0\0\xf5\x0f";
    memchr::memmem::rfind_iter(stream, mark)
        .find(|at| header(stream, *at).is_some_and(|header| matches!(header.octets, 0x1c | 0x20)))
}

/// Objects by number, newest first, the number of the encryption session, and whether there were
/// more edits than are read.
fn objects(stream: &[u8], last: usize) -> (BTreeMap<u32, usize>, Option<u32>, bool) {
    let mut objects = BTreeMap::new();
    let mut session = None;
    let mut edit = last;
    for _ in 0..MAX_EDITS {
        let Some(header) = header(stream, edit).filter(|header| header.id == 0x0ff5) else {
            return (objects, session, false);
        };
        let field = |at: usize| u32_at(stream, edit.saturating_add(8).saturating_add(at));
        if header.octets >= 0x20 && session.is_none() {
            session = field(28);
        }
        if let Some(directory) = field(12) {
            read_directory(stream, length(directory.into()), &mut objects);
        }
        match field(8).map(|before| length(before.into())) {
            Some(before) if before != 0 && before < edit => edit = before,
            _ => return (objects, session, false),
        }
    }
    (objects, session, true)
}

/// Runs of numbers, each with the places of its objects.
fn read_directory(stream: &[u8], at: usize, objects: &mut BTreeMap<u32, usize>) {
    let Some(header) = header(stream, at).filter(|header| header.id == 0x1772) else { return };
    let mut at = at.saturating_add(8);
    let end = at.saturating_add(header.octets).min(stream.len());
    while at < end && objects.len() < MAX_OBJECTS {
        let Some(run) = u32_at(stream, at) else { return };
        at = at.saturating_add(4);
        for place in 0..run >> 20 {
            let Some(offset) = u32_at(stream, at).filter(|_| at < end) else { return };
            let id = (run & 0xf_ffff).saturating_add(place);
            objects.entry(id).or_insert(length(offset.into()));
            at = at.saturating_add(4);
        }
    }
}
