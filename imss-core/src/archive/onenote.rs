//! OneNote sections (MS-ONESTORE): the files and pictures inside.
//!
//! In: a `.one` or `.onetoc2` file. Out: one member per `FileDataStoreObject` (§2.6.13), with the
//! embedded file name (MS-ONE §2.3.77 writes it as UTF-16 text) whose extension fits the content, else the
//! next one in order.
//!
//! Objects are found by their header, wherever they lie: a file whose index is broken still opens
//! in OneNote, and attackers break it.

use bytes::Bytes;
use memchr::memmem;

use super::share::Share;
use super::{Source, UnpackError, Unpacked, Unpacker, le};
use crate::filetype::{self, FileType};
use crate::finding::GapReason;
use crate::limits::Budget;

/// The header of a `FileDataStoreObject`: {BDE316E7-2665-4511-A4C4-8D4D0B7A9EAC}.
const OBJECT: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";
/// The format of files that come from a server, {638DE92F-A6D4-4BC1-9A36-B3FC2511A5B7} (§2.8.1).
const PACKAGED: &[u8] = b"\x2f\xe9\x8d\x63\xd4\xa6\xc1\x4b\x9a\x36\xb3\xfc\x25\x11\xa5\xb7";
/// Octets before the data.
const HEADER: usize = 36;
/// Names kept, and characters of each: those that Windows allows.
const MAX_NAMES: usize = 1_000;
const MAX_NAME: usize = 255;

/// The OneNote format.
pub(super) struct OneNote;

impl Unpacker for OneNote {
    fn name(&self) -> &'static str {
        "onenote"
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        detected.media_type == "application/onenote"
            || content.starts_with(b"\xe4R\x5c{\x8c\xd8\xa7M\xae\xb1Sx\xd0)\x96\xd3")
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        budget.charge_work(source.content.len() as u64)?;
        let mut names = file_names(source.content);
        if names.len() >= MAX_NAMES {
            budget.left_out("names of files past 1,000");
        }
        let mut share = Share { content: source.content, budget, out };
        let mut at = 0_usize;
        if source.content.get(48..64) == Some(PACKAGED) {
            let size = source.content.len() as u64;
            let what = "OneNote section in the packaging of a server";
            return share.unreadable(Vec::new(), size, GapReason::Unsupported, what);
        }
        let rest = |at: usize| source.content.get(at..).unwrap_or_default();
        while let Some(found) = memmem::find(rest(at), OBJECT) {
            at = at.saturating_add(found);
            let size = le::u64_at(source.content, at.saturating_add(16)).unwrap_or(0);
            let start = at.saturating_add(HEADER) as u64;
            let content = share.slice(start, size);
            let name = take_name(&mut names, &content);
            let length = content.len();
            share.content(name.into_iter().collect(), content, size)?;
            at = at.saturating_add(HEADER).saturating_add(length);
        }
        Ok(())
    }
}

/// The name that fits `content` best, which no other object has.
fn take_name(names: &mut Vec<String>, content: &[u8]) -> Option<String> {
    let detected = filetype::detect(content);
    let extension =
        |name: &String| name.rsplit_once('.').map(|(_, last)| last.to_ascii_lowercase());
    let same = names.iter().position(|name| extension(name).as_deref() == Some(detected.extension));
    let group = || {
        names.iter().position(|name| {
            extension(name).and_then(|last| filetype::group_of_extension(&last))
                == Some(detected.group)
        })
    };
    // A picture without a name has none: it was pasted.
    let is_picture = detected.group == filetype::TypeGroup::Image;
    let first = || (!is_picture && !names.is_empty()).then_some(0);
    let place = same.or_else(group).or_else(first)?;
    Some(names.remove(place))
}

/// Strings of UTF-16 text that end in a known extension, in order, each once.
fn file_names(content: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    // An extension's dot, at either parity.
    for dot in memmem::find_iter(content, b".\0") {
        if names.len() >= MAX_NAMES {
            break;
        }
        let Some(name) = name_around(content, dot) else { continue };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn name_around(content: &[u8], dot: usize) -> Option<String> {
    let unit = |at: usize| {
        let unit = le::u16_at(content, at)?;
        let is_text = !matches!(unit, 0..=31 | 0x7f..=0x9f | 0xfffe..);
        let is_name = !matches!(unit, 0x22 | 0x2a | 0x2f | 0x3a | 0x3c | 0x3e | 0x3f | 0x5c | 0x7c);
        (is_text && is_name).then_some(unit)
    };
    let mut end = dot.checked_add(2)?;
    while unit(end).is_some_and(|unit| unit < 128) && end.saturating_sub(dot) < 40 {
        end = end.checked_add(2)?;
    }
    // The string ends here.
    if le::u16_at(content, end) != Some(0) {
        return None;
    }
    let mut start = dot;
    while start >= 2 && unit(start.saturating_sub(2)).is_some() {
        start = start.saturating_sub(2);
        if dot.saturating_sub(start) > 2 * MAX_NAME {
            return None;
        }
    }
    let units = content.get(start..end)?;
    let name = encoding_rs::UTF_16LE.decode_without_bom_handling(units).0;
    let (stem, extension) = name.rsplit_once('.')?;
    let known = filetype::group_of_extension(extension.trim()).is_some();
    (known && !stem.is_empty()).then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn object(data: &[u8]) -> Vec<u8> {
        [OBJECT, &(data.len() as u64).to_le_bytes(), &[0; 12], data].concat()
    }

    #[test]
    fn files_get_their_names() {
        let text = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            [0, 0].into_iter().chain(units).collect()
        };
        let content = [
            b"\xe4R\x5c{\x8c\xd8\xa7M\xae\xb1Sx\xd0)\x96\xd3".to_vec(),
            vec![0; 8],
            text("picture.png"),
            text("Click here."),
            text("請求書.hta"),
            object(b"<html><HTA:APPLICATION></html>"),
            vec![7; 5],
            object(b"\x89PNG\r\n\x1a\n"),
            object(b"something"),
        ];
        let found = unpack(&OneNote, content.concat(), &Limits::small());
        let names: Vec<_> = found.members.iter().map(|member| member.names.clone()).collect();
        assert_eq!(names, [vec!["請求書.hta"], vec!["picture.png"], vec![]] as [Vec<&str>; 3]);
        let cut = [content[0].clone(), object(b"something")].concat();
        let found = unpack(&OneNote, cut[..cut.len() - 3].to_vec(), &Limits::small());
        assert!(found.members[0].missing.is_some());
    }
}
