//! What a workbook points to outside: hyperlinks, other workbooks, DDE ([MS-XLS] 2.4.140, 2.4.271,
//! 2.4.105, 2.4.106).
//!
//! In: records. Out: links, commands, and the names that formulas use. Paths are stored encoded;
//! what cannot be decoded is shown as it is.

use super::formula::Names;
use super::strings::Style;
use crate::archive::le::{length, u16_at, u32_at};
use crate::document::active::{Active, ActiveKind};
use crate::document::ole_object::{Moniker, monikers};
use crate::document::{Link, LinkKind, Piece, codepage};

/// Longest label or target, in units. The start of a target says where it leads.
const MAX_LABEL: usize = 4096;

/// What tables of links say before the sheets.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Target of the book that names are read for.
    current: Option<(String, String)>,
    /// The books, as formulas show them.
    books: Vec<String>,
}

impl Books {
    /// A book, a DDE conversation or a linked object.
    pub(super) fn book(&mut self, body: &[u8], out: &mut dyn FnMut(Piece)) {
        let style = Style { is_new: true, page: 1252 };
        self.current = None;
        let marker = u16_at(body, 2).unwrap_or_default();
        if matches!(marker, 0x0401 | 0x3a01) {
            self.books.push(String::new());
            return;
        }
        let (encoded, _) = style.long(body.get(2..).unwrap_or_default());
        self.target(&encoded, out);
    }

    /// The same in Excel 5, where each sheet has a record of its own.
    pub(super) fn old_sheet(
        &mut self,
        body: &[u8],
        style: Style,
        names: &mut Names,
        out: &mut dyn FnMut(Piece),
    ) {
        let count = body.first().copied().map_or(0, usize::from);
        let (encoded, _) = style.counted(body.get(1..).unwrap_or_default(), count);
        let name = encoded.trim_start_matches(['\u{3}', '\u{2}']).to_owned();
        self.current = None;
        if encoded.starts_with('\u{1}') || name.contains('\u{3}') {
            self.target(&encoded, out);
        }
        names.sheets.push(shown(&name));
    }

    fn target(&mut self, encoded: &str, out: &mut dyn FnMut(Piece)) {
        if let Some((program, topic)) =
            encoded.split_once('\u{3}').filter(|_| !encoded.starts_with('\u{1}'))
        {
            self.current = Some((program.to_owned(), topic.to_owned()));
            self.books.push(format!("{program}|'{topic}'"));
            return;
        }
        let target = path(encoded);
        self.books.push(format!("[{target}]"));
        if !target.is_empty() && !target.starts_with('\u{2}') {
            out(Piece::Link(Link { kind: LinkKind::Load, target, label: String::new() }));
        }
    }

    /// A name in the last book: what a DDE conversation asks for.
    pub(super) fn name(
        &mut self,
        body: &[u8],
        style: Style,
        names: &mut Names,
        out: &mut dyn FnMut(Piece),
    ) {
        let (name, _) = style.short(body.get(6..).unwrap_or_default());
        if let Some((program, topic)) = &self.current {
            let command = format!("{program}|{topic}!{name}");
            // Bit 4 tells a linked object from a conversation.
            let is_object = u16_at(body, 0).is_some_and(|flags| flags & 0x10 != 0);
            let kind = if is_object { ActiveKind::OleLink } else { ActiveKind::Dde };
            out(Piece::Active(Active::new(kind, command)));
        }
        names.external.push(name);
    }

    /// Which sheets formulas mean.
    pub(super) fn sheets(&self, body: &[u8], own: &[String], names: &mut Names) {
        let count = u16_at(body, 0).map_or(0, usize::from);
        for place in 0..count {
            let at = 2 + place * 6;
            let (Some(book), Some(sheet)) = (u16_at(body, at), u16_at(body, at + 2)) else { break };
            let book = self.books.get(usize::from(book)).map_or("", String::as_str);
            let name = if book.is_empty() {
                own.get(usize::from(sheet)).map_or("", String::as_str)
            } else {
                book
            };
            names.sheets.push(name.to_owned());
        }
    }
}

/// A name without control characters.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// A path as people write it ([MS-XLS] 2.5.277).
fn path(encoded: &str) -> String {
    let Some(rest) = encoded.strip_prefix('\u{1}') else { return encoded.to_owned() };
    let mut path = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1}' => match letters.next() {
                Some('@') => path.push_str("\\\\"),
                Some(volume) => path.extend([volume, ':', '\\']),
                None => {}
            },
            '\u{2}' | '\u{3}' => path.push('\\'),
            '\u{4}' => path.push_str("..\\"),
            // A name that is stored as it is, after its length.
            '\u{5}' => {
                letters.next();
            }
            c if c.is_control() => {}
            c => path.push(c),
        }
    }
    path
}

/// A hyperlink of a cell ([MS-OSHARED] 2.3.7.1): what its monikers point to, wherever one stands in
/// another, or the text that stands for one. Tells whether there were more than are read.
pub(super) fn hyperlink(body: &[u8], out: &mut dyn FnMut(Piece)) -> bool {
    let flags = u32_at(body, 28).unwrap_or_default();
    let has = |wanted: u32| flags & wanted == wanted;
    let (label, at) = if has(0x10) { counted(body, 32) } else { (String::new(), 32) };
    let (_, at) = if has(0x80) { counted(body, at) } else { (String::new(), at) };
    let link = |target| Piece::Link(Link { kind: LinkKind::Click, target, label: label.clone() });
    let saved_as_text = if has(0x101) { counted(body, at).0 } else { String::new() };
    if !saved_as_text.is_empty() {
        out(link(saved_as_text));
    }
    let (found, is_cut) = monikers(body);
    for moniker in found {
        out(match moniker {
            Moniker::Url(target) | Moniker::File(target) => link(target),
            Moniker::Code(class) => Piece::Active(Active::new(ActiveKind::OleLink, class)),
        });
    }
    is_cut
}

/// A text after the number of its units ([MS-OSHARED] 2.3.7.9), and what is behind it.
fn counted(body: &[u8], at: usize) -> (String, usize) {
    let units = u32_at(body, at).map_or(0, |units| length(units.into()));
    let start = at.saturating_add(4).min(body.len());
    let end = start.saturating_add(units.saturating_mul(2)).min(body.len());
    let shown = end.min(start.saturating_add(MAX_LABEL.saturating_mul(2)));
    let text = codepage::decode(body.get(start..shown).unwrap_or_default(), 1200);
    (text.trim_end_matches('\0').to_owned(), end)
}
