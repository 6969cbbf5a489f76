//! Hangul word processor documents, version 5 (HWP 5.0 format, revision 1.3).
//!
//! In: the streams of an OLE file. Out: paragraphs of its sections, the preview where the sections
//! cannot be read, scripts, and embedded files decompressed.
//!
//! Sections are compressed lists of records. Data that cannot be decompressed gives what came
//! before; documents for distribution are encrypted and said to be so.

use bytes::Bytes;

use super::active::{Active, ActiveKind};
use super::office_crypt::locked;
use super::ole::base;
use super::ppt::inflated;
use super::{Extractor, Link, LinkKind, Piece, TextKind, codepage};
use crate::archive::le::{length, u16_at, u32_at};
use crate::archive::{Member, Missing, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// The `hwp` extractor.
#[derive(Debug)]
pub(super) struct Hwp;

impl Extractor for Hwp {
    fn name(&self) -> &'static str {
        "hwp"
    }

    fn recognises(&self, _content: &[u8], _detected: &FileType, members: &[Member]) -> bool {
        file_header(members).is_some()
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let flags = file_header(members).and_then(|header| u32_at(header, 36)).unwrap_or_default();
        let is_packed = flags & 1 != 0;
        // Bit 1: a password. Bit 2: for distribution, the text is encrypted elsewhere.
        if flags & 6 != 0 {
            budget.charge_entity()?;
            out(locked(source.names, source.content.len() as u64, "a password or distribution"));
        }
        let mut has_text = false;
        for member in members {
            let path = member.names.first().map_or("", String::as_str);
            if path.starts_with("BodyText/") && flags & 6 == 0 {
                let (section, missing) = unpacked(member, is_packed, budget)?;
                has_text |= paragraphs(&section, budget, out)?;
                said(missing, member, budget, out)?;
            } else if path.starts_with("Scripts/") && base(member) != "JScriptVersion" {
                script(member, is_packed, budget, out)?;
            } else if path.starts_with("BinData/") && is_packed {
                binary(member, budget, out)?;
            }
        }
        if !has_text && let Some(preview) = stream(members, "PrvText") {
            let text = codepage::decode(&preview.content, 1200);
            out(Piece::Text { kind: TextKind::Shown, text });
        }
        Ok(())
    }
}

fn stream<'a>(members: &'a [Member], name: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.names.first().is_some_and(|own| own == name))
}

fn file_header(members: &[Member]) -> Option<&[u8]> {
    let header = stream(members, "FileHeader").map(|member| &member.content[..]);
    header.filter(|header| header.starts_with(b"HWP Document File"))
}

/// A stream decompressed; there is no header before the deflated data.
fn unpacked(
    member: &Member,
    is_packed: bool,
    budget: &mut Budget<'_>,
) -> Result<(Bytes, Option<Missing>), UnpackError> {
    if !is_packed {
        return Ok((member.content.clone(), None));
    }
    let packed = &member.content[..];
    let decoder = flate2::read::DeflateDecoder::new(packed);
    let (content, missing) = inflated(decoder, packed.len(), budget)?;
    Ok((content.into(), missing))
}

/// Hands over that part of a section is missing.
fn said(
    missing: Option<Missing>,
    member: &Member,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    if missing.is_some() {
        budget.charge_entity()?;
        let (names, claimed_size) = (member.names.clone(), member.claimed_size);
        out(Piece::Embedded(Member { names, claimed_size, content: Bytes::new(), missing }));
    }
    Ok(())
}

/// The text records of a section. Tells whether there are any.
fn paragraphs(
    section: &[u8],
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<bool, UnpackError> {
    let (mut at, mut has_text) = (0_usize, false);
    while let Some(header) = u32_at(section, at) {
        let (mut octets, mut start) = (length((header >> 20).into()), at.saturating_add(4));
        if octets == 0xfff {
            octets = length(u32_at(section, start).unwrap_or_default().into());
            start = start.saturating_add(4);
        }
        let end = start.saturating_add(octets).min(section.len());
        let body = section.get(start..end).unwrap_or_default();
        budget.charge_work((body.len() as u64).saturating_mul(4).saturating_add(16))?;
        match header & 0x3ff {
            0x43 => {
                let text = letters(body);
                if !text.trim().is_empty() {
                    has_text = true;
                    out(Piece::Text { kind: TextKind::Shown, text });
                }
            }
            // A control: fields carry their command.
            0x47 if body.get(..4).is_some_and(|id| id == b"klh%") => hyperlink(body, out),
            _ => {}
        }
        at = end.max(start);
    }
    Ok(has_text)
}

/// The letters of a paragraph. Codes below 32 are controls of one or of eight units.
fn letters(body: &[u8]) -> String {
    let mut units = Vec::with_capacity(body.len() / 2);
    let mut at = 0;
    while let Some(unit) = u16_at(body, at) {
        let taken = match unit {
            10 | 13 | 24..=31 | 0 => 2,
            0..=23 => 16,
            _ => 2,
        };
        match unit {
            0 | 13 => {}
            0..=31 => units.push(u16::from(b' ')),
            unit => units.push(unit),
        }
        at += taken;
    }
    String::from_utf16_lossy(&units)
}

/// A hyperlink's command: the target with backslashes before signs, up to a semicolon.
fn hyperlink(body: &[u8], out: &mut dyn FnMut(Piece)) {
    let count = u16_at(body, 9).map_or(0, usize::from);
    let command = body.get(11..(11 + count * 2).min(body.len())).unwrap_or_default();
    let command = codepage::decode(command, 1200);
    let mut target = String::new();
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => target.extend(letters.next()),
            ';' => break,
            letter => target.push(letter),
        }
    }
    if !target.is_empty() {
        out(Piece::Link(Link { kind: LinkKind::Click, target, label: String::new() }));
    }
}

/// A script: lengths and texts of header, source and two more.
fn script(
    member: &Member,
    is_packed: bool,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let (content, missing) = unpacked(member, is_packed, budget)?;
    let (mut at, mut source) = (0_usize, String::new());
    for _ in 0..4 {
        let Some(units) = u32_at(&content, at).map(|units| length(units.into())) else { break };
        let start = at.saturating_add(4);
        let end = start.saturating_add(units.saturating_mul(2)).min(content.len());
        source.push_str(&codepage::decode(content.get(start..end).unwrap_or_default(), 1200));
        at = end;
    }
    if !does_something(&source) {
        return Ok(());
    }
    out(Piece::Active(Active::new(ActiveKind::Script, base(member))));
    budget.charge_entity()?;
    budget.charge_bytes(source.len() as u64)?;
    let names = vec![format!("{}.js", base(member))];
    let (claimed_size, content) = (source.len() as u64, Bytes::from(source));
    out(Piece::Code(Member { names, claimed_size, content, missing }));
    Ok(())
}

/// Whether a script is more than the empty handlers that every document holds.
fn does_something(source: &str) -> bool {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let (globals, handlers) = code.split_once("function").unwrap_or((&code, "(){}"));
    let is_default = |line: &str| line.is_empty() || line.starts_with("varDocument");
    !globals.split(';').all(is_default)
        || !handlers.split("function").all(|handler| handler.ends_with("(){}"))
}

/// An embedded file; some are stored as they are.
fn binary(
    member: &Member,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let (content, missing) = unpacked(member, true, budget)?;
    if content.is_empty() {
        return Ok(());
    }
    budget.charge_entity()?;
    let names = vec![base(member).to_owned()];
    let claimed_size = content.len() as u64;
    out(Piece::Embedded(Member { names, claimed_size, content, missing }));
    Ok(())
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_read() {
        // A wide control of eight units, letters, a line break.
        let mut body = vec![2, 0];
        body.extend([7; 14]);
        body.extend("한글".encode_utf16().flat_map(u16::to_le_bytes));
        body.extend([13, 0]);
        assert_eq!(letters(&body), " 한글");
    }

    #[test]
    fn empty_handlers_do_nothing() {
        let cases = [
            (
                "var Documents = XHwpDocuments;\nfunction OnDocument_New()\n{\n\t//todo :\n}\n",
                false,
            ),
            ("function OnDocument_Open() { run(); }", true),
            ("eval(x)", true),
            ("", false),
        ];
        for (source, expected) in cases {
            assert_eq!(does_something(source), expected, "{source}");
        }
    }

    #[test]
    fn links_are_unescaped() {
        let command = "http\\://a.test;1;0;0;";
        let mut body = b"klh%\0\0\0\0\0".to_vec();
        body.extend((command.len() as u16).to_le_bytes());
        body.extend(command.encode_utf16().flat_map(u16::to_le_bytes));
        let mut targets = Vec::new();
        hyperlink(&body, &mut |piece| {
            if let Piece::Link(link) = piece {
                targets.push(link.target);
            }
        });
        assert_eq!(targets, ["http://a.test"]);
    }
}
