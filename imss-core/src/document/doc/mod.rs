//! Word 6.0 to 2003 documents ([MS-DOC]): text with its fields, notes, comments and text boxes.
//!
//! In: the streams of an OLE file. Out: paragraphs in stored order, hidden and deleted ones told
//! apart, links and commands of fields, and the template. Documents inside (`ObjectPool`) are read
//! in the same way.
//!
//! What lies beyond a stream is passed over; a document whose text cannot be found is said.
//! Encrypted ones are opened with [`office_crypt`](super::office_crypt) or said to be locked.

mod fib;
mod field;
mod format;
mod text;

use std::borrow::Cow;

use self::fib::{Fib, Region};
use self::text::Writer;
use super::active::{Active, ActiveKind};
use super::office_crypt::{Key, Locked, Opened, default_password, locked};
use super::ole::base;
use super::{Extractor, Link, LinkKind, Piece, TextKind};
use crate::archive::le::{length, u16_at, u32_at};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// Octets that a key decrypts before the next number is needed.
const BLOCK: usize = 512;
/// Octets at the start of the main stream that are never encrypted.
const CLEAR: usize = 68;

/// The `doc` extractor.
#[derive(Debug)]
pub(super) struct Doc;

impl Extractor for Doc {
    fn name(&self) -> &'static str {
        "doc"
    }

    fn recognises(&self, _content: &[u8], _detected: &FileType, members: &[Member]) -> bool {
        members.iter().any(is_main)
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut result = Ok(());
        for main in members.iter().filter(|member| is_main(member)) {
            match document(main, source, members, budget, out) {
                Ok(()) => {}
                Err(error @ UnpackError::Limit(_)) => return Err(error),
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

fn is_main(member: &Member) -> bool {
    base(member).eq_ignore_ascii_case("WordDocument")
}

/// The stream of that name beside `member`.
fn sibling<'a>(members: &'a [Member], member: &Member, name: &str) -> &'a [u8] {
    let path = member.names.first().map_or("", String::as_str);
    let folder = path.len().saturating_sub(base(member).len());
    let folder = path.get(..folder).unwrap_or_default();
    let is_it = |other: &&Member| {
        let own = other.names.first().and_then(|own| own.strip_prefix(folder));
        own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    members.iter().find(is_it).map_or(&[], |member| &member.content)
}

fn document(
    main: &Member,
    source: &Source<'_>,
    members: &[Member],
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let malformed = |detail| UnpackError::Malformed { offset: 0, detail };
    let flags = u16_at(&main.content, 10).ok_or(malformed("no header"))?;
    let name = if flags & 0x200 != 0 { "1Table" } else { "0Table" };
    let mut table = sibling(members, main, name);
    if table.is_empty() {
        // The flag is wrong in some files; there is usually one table only.
        let other = if flags & 0x200 != 0 { "0Table" } else { "1Table" };
        table = sibling(members, main, other);
    }
    let (mut main_stream, mut table) = (Cow::Borrowed(&main.content[..]), Cow::Borrowed(table));
    if flags & 0x100 != 0 {
        let header_octets = length(u32_at(&main_stream, 14).unwrap_or_default().into());
        let header = table.get(..header_octets.min(table.len())).unwrap_or_default();
        let key = if flags & 0x8000 != 0 { None } else { Locked::read(header) };
        let opened = key.map(|key| key.open(source.passwords, budget)).transpose()?;
        let Some(Opened::With(key, is_default)) = opened else {
            budget.charge_entity()?;
            out(locked(source.names, main.claimed_size, "no password fits"));
            return Ok(());
        };
        if is_default {
            out(default_password());
        }
        main_stream = decrypted(&key, &main_stream, CLEAR, budget)?;
        table = decrypted(&key, &table, 0, budget)?;
    }
    budget.charge_work(main_stream.len() as u64)?;
    let fib = Fib::read(&main_stream, &table).ok_or(malformed("not a Word document"))?;
    let table = if fib.is_old { main_stream.as_ref() } else { table.as_ref() };
    template(&fib, table, out);
    let marks = format::hidden(&fib, &main_stream, table, budget)?;
    let mut writer = Writer::new(&fib, &main_stream, marks, out);
    writer.write(budget)?;
    authors(&fib, table, out);
    if fib.regions.iter().any(|(_, count)| *count > 0) && fib.pieces.is_empty() {
        return Err(malformed("no text where it should be"));
    }
    Ok(())
}

fn decrypted(
    key: &Key,
    stream: &[u8],
    clear: usize,
    budget: &mut Budget<'_>,
) -> Result<Cow<'static, [u8]>, UnpackError> {
    budget.charge_bytes(stream.len() as u64)?;
    budget.charge_work(stream.len() as u64 * 8)?;
    let mut plain = stream.to_vec();
    key.stream(&mut plain, BLOCK);
    for (octet, own) in plain.iter_mut().zip(stream).take(clear) {
        *octet = *own;
    }
    Ok(Cow::Owned(plain))
}

/// The template that is attached, the second of the associated strings ([MS-DOC] 2.9.270).
fn template(fib: &Fib, table: &[u8], out: &mut dyn FnMut(Piece)) {
    let strings = fib.strings.clone().and_then(|range| table.get(range)).unwrap_or_default();
    let mut at = 6;
    for place in 0..2 {
        let Some(letters) = u16_at(strings, at).map(usize::from) else { return };
        let text = strings.get(at + 2..(at + 2 + letters * 2).min(strings.len()));
        let Some(text) = text else { return };
        if place == 1 {
            let units = text.chunks_exact(2).filter_map(|pair| u16_at(pair, 0));
            let target = String::from_utf16_lossy(&units.collect::<Vec<_>>());
            if is_remote(&target) {
                out(Piece::Active(Active::new(ActiveKind::RemoteTemplate, &target)));
                out(Piece::Link(Link { kind: LinkKind::Load, target, label: String::new() }));
            }
        }
        at = at + 2 + letters * 2;
    }
}

/// Who wrote comments ([MS-DOC] 2.9.102) and changed text (2.9.301): strings after their counts.
fn authors(fib: &Fib, table: &[u8], out: &mut dyn FnMut(Piece)) {
    // The list of those who changed text has a header, and starts with somebody unknown.
    let lists = [(&fib.commenters, TextKind::Comment, 0), (&fib.revisers, TextKind::Revision, 6)];
    for (range, kind, mut at) in lists {
        let list = range.clone().and_then(|range| table.get(range)).unwrap_or_default();
        while let Some(letters) = u16_at(list, at).map(usize::from) {
            let name = list.get(at + 2..(at + 2 + letters * 2).min(list.len())).unwrap_or_default();
            let units = name.chunks_exact(2).filter_map(|pair| u16_at(pair, 0));
            let text = String::from_utf16_lossy(&units.collect::<Vec<_>>());
            if !matches!(text.trim(), "" | "Unknown") {
                out(Piece::Text { kind, text });
            }
            at = at + 2 + letters * 2;
        }
    }
}

/// Whether opening `target` leaves the machine.
fn is_remote(target: &str) -> bool {
    let target = target.trim();
    target.contains("://") || target.starts_with("\\\\") || target.starts_with("//")
}

/// How readers meet a region's text.
fn kind(region: Region) -> TextKind {
    match region {
        Region::Shown => TextKind::Shown,
        Region::Comment => TextKind::Comment,
        Region::Hidden => TextKind::Hidden,
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests;
