//! Pieces of a Word document → paragraphs, fields told apart from text ([MS-DOC] 2.4.1).
//!
//! In: pieces, regions and marks. Out: one piece of text a paragraph and kind. Every character is
//! read once. Fields may nest: what an inner one shows is part of the outer one's instruction.

use super::fib::{Fib, Region, TextPiece};
use super::format::Marks;
use super::{field, kind};
use crate::archive::le::u16_at;
use crate::document::{Piece, TextKind, codepage, ruby};
use crate::limits::{Budget, Limit};

/// Fields open at once; deeper ones are read as text.
const MAX_DEPTH: usize = 64;
/// Octets kept of an instruction, and of the text shown for it.
const MAX_FIELD: usize = 16 << 10;
/// Characters between two looks at the limits.
const CHUNK: usize = 4096;

/// An open field.
#[derive(Default)]
struct Field {
    instruction: String,
    shown: String,
    /// After the separator.
    is_shown: bool,
}

/// Makes paragraphs.
pub(super) struct Writer<'a> {
    fib: &'a Fib,
    main: &'a [u8],
    marks: Marks,
    out: &'a mut dyn FnMut(Piece),
    /// The regions that are not read to their end: kind and characters left.
    regions: Vec<(Region, usize)>,
    fields: Vec<Field>,
    paragraph: String,
    kind: TextKind,
    /// Something of a field was left out.
    is_cut: bool,
    /// The first half of a character of two units.
    surrogate: Option<u16>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        fib: &'a Fib,
        main: &'a [u8],
        marks: Marks,
        out: &'a mut dyn FnMut(Piece),
    ) -> Self {
        let mut regions = fib.regions.clone();
        regions.reverse();
        let (fields, paragraph) = (Vec::new(), String::new());
        let (kind, surrogate, is_cut) = (TextKind::Shown, None, false);
        Self { fib, main, marks, out, regions, fields, paragraph, kind, is_cut, surrogate }
    }

    /// Reads all pieces.
    pub(super) fn write(&mut self, budget: &mut Budget<'_>) -> Result<(), Limit> {
        for piece in &self.fib.pieces {
            self.piece(*piece, budget)?;
        }
        while let Some(field) = self.fields.pop() {
            self.end_field(field);
        }
        self.flush();
        if self.fib.is_cut {
            budget.left_out("pieces of text that overlap, or past 1,048,576");
        }
        if self.is_cut {
            budget.left_out("fields inside 64 fields, or past 16 KiB");
        }
        Ok(())
    }

    fn piece(&mut self, piece: TextPiece, budget: &mut Budget<'_>) -> Result<(), Limit> {
        let end = piece.start.saturating_add(piece.octets());
        let mut mark = self.marks.partition_point(|(range, _)| range.end <= piece.start);
        let mut at = piece.start;
        while at < end {
            budget.charge_work(64)?;
            while self.marks.get(mark).is_some_and(|(range, _)| range.end <= at) {
                mark += 1;
            }
            let (hidden, next) = match self.marks.get(mark) {
                Some((range, kind)) if range.start <= at => (Some(*kind), range.end),
                Some((range, _)) => (None, range.start),
                None => (None, end),
            };
            let width = if piece.is_wide { 2 } else { 1 };
            let stop = next.min(end).min(at.saturating_add(CHUNK * width)).max(at + width);
            let run = self.main.get(at..stop.min(self.main.len())).unwrap_or_default();
            budget.charge_work((run.len() as u64).saturating_mul(4))?;
            self.run(run, piece.is_wide, hidden);
            at = if piece.is_wide { at + (stop - at).next_multiple_of(2) } else { stop };
        }
        Ok(())
    }

    /// Reads a run of one format.
    fn run(&mut self, run: &[u8], is_wide: bool, hidden: Option<TextKind>) {
        if is_wide {
            for unit in run.chunks_exact(2).filter_map(|pair| u16_at(pair, 0)) {
                self.unit(unit, hidden);
            }
        } else if self.fib.is_old && !run.is_ascii() {
            // Letters of two octets count as two characters.
            let text = codepage::decode(run, self.fib.page);
            let missing = run.len().saturating_sub(text.chars().count());
            for letter in text.chars() {
                self.letter(letter, hidden);
            }
            (0..missing).for_each(|_| {
                self.region();
            });
        } else {
            for octet in run {
                self.letter(western(*octet), hidden);
            }
        }
    }

    fn unit(&mut self, unit: u16, hidden: Option<TextKind>) {
        let first = self.surrogate.take();
        if matches!(unit, 0xd800..=0xdbff) {
            self.surrogate = Some(unit);
            return;
        }
        let units = first.into_iter().chain([unit]);
        for letter in char::decode_utf16(units) {
            self.letter(letter.unwrap_or(char::REPLACEMENT_CHARACTER), hidden);
        }
        if first.is_some() && matches!(unit, 0xdc00..=0xdfff) {
            self.region();
        }
    }

    /// The region of the next character, which is counted.
    fn region(&mut self) -> Region {
        while self.regions.last().is_some_and(|(_, left)| *left == 0) {
            self.regions.pop();
        }
        match self.regions.last_mut() {
            Some((region, left)) => {
                *left -= 1;
                *region
            }
            None => Region::Shown,
        }
    }

    fn letter(&mut self, letter: char, hidden: Option<TextKind>) {
        let kind = hidden.unwrap_or(kind(self.region()));
        match letter {
            '\u{13}' if self.fields.len() < MAX_DEPTH => self.fields.push(Field::default()),
            '\u{13}' => self.is_cut = true,
            '\u{14}' => {
                if let Some(field) = self.fields.last_mut() {
                    field.is_shown = true;
                }
            }
            '\u{15}' => {
                if let Some(field) = self.fields.pop() {
                    let base = ruby::base(&field.instruction);
                    self.end_field(field);
                    for letter in base.iter().flat_map(|base| base.chars()) {
                        self.text(letter, kind);
                    }
                }
            }
            '\r' | '\u{7}' | '\u{b}' | '\u{c}' | '\u{e}' => {
                if self.in_instruction() {
                    self.keep(' ');
                } else {
                    self.flush();
                }
            }
            '\t' | '\n' => self.text(' ', kind),
            '\u{1e}' => self.text('-', kind),
            '\0'..='\u{1f}' => {}
            letter => self.text(letter, kind),
        }
    }

    fn in_instruction(&self) -> bool {
        self.fields.iter().any(|field| !field.is_shown)
    }

    /// Keeps a letter of a field: instructions of outer fields hold what inner ones show.
    fn keep(&mut self, letter: char) {
        if let Some(field) = self.fields.last_mut() {
            let text = if field.is_shown { &mut field.shown } else { &mut field.instruction };
            if text.len() < MAX_FIELD {
                text.push(letter);
            } else if !field.is_shown {
                self.is_cut = true;
            }
        }
    }

    fn text(&mut self, letter: char, kind: TextKind) {
        self.keep(letter);
        if self.in_instruction() {
            return;
        }
        if kind != self.kind {
            self.flush();
            self.kind = kind;
        }
        self.paragraph.push(letter);
    }

    fn end_field(&mut self, field: Field) {
        let instruction = field.instruction.trim();
        if !instruction.is_empty() {
            field::read(instruction, &field.shown, self.out);
            let text = instruction.to_owned();
            (self.out)(Piece::Text { kind: TextKind::Formula, text });
        }
        // Text that only an outer field uses: its instruction, or what it shows.
        if let Some(outer) = self.fields.last_mut() {
            let inner = if field.is_shown { &field.shown } else { &field.instruction };
            let text = if outer.is_shown { &mut outer.shown } else { &mut outer.instruction };
            if text.len() < MAX_FIELD {
                text.push_str(inner);
            } else if !outer.is_shown {
                self.is_cut = true;
            }
            if !outer.is_shown {
                // A quoted string built from numbers: `{ QUOTE 67 77 68 }`.
                let numbers = quoted_numbers(&field.instruction);
                let outer = &mut outer.instruction;
                if field.shown.is_empty() && outer.len() < MAX_FIELD {
                    outer.push_str(&numbers);
                } else if field.shown.is_empty() && !numbers.is_empty() {
                    self.is_cut = true;
                }
            }
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.paragraph);
        if !text.trim().is_empty() {
            (self.out)(Piece::Text { kind: self.kind, text });
        }
    }
}

/// What `QUOTE 67 58 …` writes, a known way to hide a command.
fn quoted_numbers(instruction: &str) -> String {
    let mut words = instruction.split_whitespace();
    if !words.next().is_some_and(|name| name.eq_ignore_ascii_case("QUOTE")) {
        return String::new();
    }
    let numbers = words.map_while(|word| word.parse::<u32>().ok());
    numbers.filter_map(char::from_u32).collect()
}

/// Compressed text is Windows-1252 ([MS-DOC] 2.9.73).
fn western(octet: u8) -> char {
    if !(0x80..0xa0).contains(&octet) {
        return char::from(octet);
    }
    let octets = [octet];
    let text = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&octets).0;
    text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
}
