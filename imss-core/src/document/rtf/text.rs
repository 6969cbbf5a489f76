//! Collects the text of a rich text document: octets by code page, lines by how a reader meets them.
//!
//! In: octets with their code page, UTF-16 units, line ends. Out: a [`Piece`] per line and kind.

use super::super::{Piece, TextKind, codepage};

/// A line that grows past this is handed over before its end.
const LONGEST_LINE: usize = 1 << 20;
/// Lines that are pieces of their own; later ones share pieces of [`SHARED`] octets.
const MAX_LINES: usize = 10_000;
const SHARED: usize = 64 << 10;
const KINDS: [TextKind; 4] =
    [TextKind::Shown, TextKind::Hidden, TextKind::Comment, TextKind::Revision];

/// Octets that are not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    octets: Vec<u8>,
    page: u32,
    high: Option<u16>,
}

impl Pending {
    /// Adds octets of a code page; gives the text that came before in another.
    pub(super) fn octets(&mut self, octets: &[u8], page: u32) -> String {
        let before = if page == self.page { String::new() } else { self.take() };
        self.page = page;
        self.octets.extend_from_slice(octets);
        before
    }

    /// Adds one UTF-16 unit; gives the text so far.
    pub(super) fn unit(&mut self, unit: u16) -> String {
        let mut text = self.octets_so_far();
        match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => self.high = Some(unit),
            (high, _) => {
                let units = high.into_iter().chain([unit]);
                let letters = char::decode_utf16(units);
                text.extend(letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
        }
        text
    }

    /// The text so far.
    pub(super) fn take(&mut self) -> String {
        let text = self.octets_so_far();
        if !text.is_empty() {
            self.high = None;
        }
        text
    }

    fn octets_so_far(&mut self) -> String {
        if self.octets.is_empty() {
            return String::new();
        }
        let text = codepage::decode(&self.octets, self.page);
        self.octets.clear();
        text
    }
}

/// The lines being written, one per kind.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: [String; 4],
    saved: Vec<Option<[String; 4]>>,
    count: usize,
}

impl Lines {
    /// Adds to the line of `kind`.
    pub(super) fn push(&mut self, kind: TextKind, text: &str, out: &mut dyn FnMut(Piece)) {
        let place = KINDS.iter().position(|known| *known == kind).unwrap_or_default();
        if let Some(line) = self.lines.get_mut(place) {
            line.push_str(text);
            if line.len() > LONGEST_LINE {
                self.end(out);
            }
        }
    }

    /// Ends the lines.
    pub(super) fn end(&mut self, out: &mut dyn FnMut(Piece)) {
        for (line, kind) in self.lines.iter_mut().zip(KINDS) {
            if self.count >= MAX_LINES && line.len() < SHARED {
                if !line.is_empty() && !line.ends_with('\n') {
                    line.push('\n');
                }
                continue;
            }
            let text = std::mem::take(line);
            if !text.trim().is_empty() {
                self.count = self.count.saturating_add(1);
                out(Piece::Text { kind, text });
            }
        }
    }

    /// Hands over the lines, however many there were.
    fn finish_at(&mut self, out: &mut dyn FnMut(Piece)) {
        let count = self.count;
        self.finish(out);
        self.count = count.saturating_add(1);
    }

    /// Hands over what is left.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(Piece)) {
        self.count = 0;
        self.end(out);
    }

    /// Starts a text of its own (a footnote) within a line.
    pub(super) fn enter(&mut self) {
        let is_apart = self.count < MAX_LINES;
        self.saved.push(is_apart.then(|| std::mem::take(&mut self.lines)));
    }

    /// Ends what [`Lines::enter`] started.
    pub(super) fn leave(&mut self, out: &mut dyn FnMut(Piece)) {
        match self.saved.pop().flatten() {
            Some(lines) => {
                self.finish_at(out);
                self.lines = lines;
            }
            None => self.end(out),
        }
    }
}
