//! The records of a workbook → text, code and facts ([MS-XLS] 2.4).
//!
//! In: records in order. Out: pieces. The state is what earlier records said: sheets, shared
//! strings, names, hidden rows and columns.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::formula::{self, Formula, Names, cell_name};
use super::links::{Books, hyperlink};
use super::record::{Record, Records};
use super::strings::{Pieces, Shared, Style};
use crate::archive::le::{length, u16_at, u32_at, u64_at};
use crate::archive::{Member, UnpackError};
use crate::document::active::{Active, ActiveKind};
use crate::document::serial::{FirstDay, Formats};
use crate::document::{Link, LinkKind, Piece, TextKind, codepage};
use crate::limits::{Budget, Limit};

/// Octets of one macro sheet's text.
const MAX_CODE: usize = 4 << 20;
/// Octets of one line; the rest of the row goes on the next.
const MAX_LINE: usize = 64 << 10;
/// Sheets, names and hidden rows kept.
const MAX_KEPT: usize = 1 << 17;
/// Ranges of hidden columns of a sheet.
const MAX_COLUMNS: usize = 256;

/// A sheet.
#[derive(Debug, Clone, Default)]
struct Sheet {
    name: String,
    /// 0 shown, 1 hidden, 2 hidden so that no menu shows it.
    state: u8,
    is_macro: bool,
}

/// Reads records.
pub(super) struct Reader<'a> {
    out: &'a mut dyn FnMut(Piece),
    style: Style,
    /// Sheets by where they start.
    sheets: HashMap<usize, Sheet>,
    sheet_names: Vec<String>,
    /// The sheets that are being read; charts lie inside others.
    open: Vec<Option<Sheet>>,
    shared: Shared,
    names: Names,
    books: Books,
    formats: Formats,
    hidden_rows: HashSet<u16>,
    hidden_columns: Vec<(u16, u16)>,
    row: Option<(u16, TextKind)>,
    line: String,
    /// The cell whose text comes in the next record.
    waiting: Option<(u16, u16)>,
    code: String,
    /// Whether code was left out.
    is_cut: bool,
    /// Whether names of sheets or values, or ranges of hidden columns, were left out.
    leaves_names: bool,
    cuts_formulas: bool,
    object_is_note: bool,
    auto_names: Vec<String>,
    /// Octets that formulas and cells made since the last charge: one shared string may be in every
    /// cell.
    made: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(out: &'a mut dyn FnMut(Piece)) -> Self {
        Self {
            out,
            style: Style { is_new: true, page: 1252 },
            sheets: HashMap::new(),
            sheet_names: Vec::new(),
            open: Vec::new(),
            shared: Shared::default(),
            names: Names::default(),
            books: Books::default(),
            formats: Formats::default(),
            hidden_rows: HashSet::new(),
            hidden_columns: Vec::new(),
            row: None,
            line: String::new(),
            waiting: None,
            code: String::new(),
            is_cut: false,
            leaves_names: false,
            cuts_formulas: false,
            object_is_note: false,
            auto_names: Vec::new(),
            made: 0,
        }
    }

    /// Reads one record, and those that continue it.
    pub(super) fn record(
        &mut self,
        record: &Record<'_>,
        records: &mut Records<'_>,
        budget: &mut Budget<'_>,
    ) -> Result<(), UnpackError> {
        let body = record.body;
        match record.id {
            0x809 | 0x409 | 0x209 | 0x9 => self.begin(record),
            0x0a => self.end(budget)?,
            0x42 => self.style.page = u16_at(body, 0).map_or(codepage::WESTERN, u32::from),
            0x22 if u16_at(body, 0) == Some(1) => self.formats.first_day = FirstDay::In1904,
            0x41e => {
                let code = body.get(2..).unwrap_or_default();
                let code =
                    if self.style.is_new { self.style.long(code) } else { self.style.short(code) };
                self.formats.define(u16_at(body, 0).map_or(u32::MAX, u32::from), &code.0);
            }
            0xe0 => self.formats.add_cell(u16_at(body, 2).map_or(u32::MAX, u32::from)),
            0x85 => self.sheet(body),
            0xfc => {
                let rest = records.continued();
                let octets: usize = rest.iter().map(|body| body.len()).sum();
                budget.charge_work((octets as u64).saturating_mul(4))?;
                self.shared = Shared::read(body, rest);
            }
            0x18 => self.name(body),
            0x1ae => self.books.book(body, self.out),
            0x23 => self.books.name(body, self.style, &mut self.names, self.out),
            0x17 if self.style.is_new => {
                self.books.sheets(body, &self.sheet_names, &mut self.names);
            }
            0x17 => self.books.old_sheet(body, self.style, &mut self.names, self.out),
            0x1b8 => {
                if hyperlink(body, self.out) {
                    budget.left_out("addresses of one hyperlink past 1,000");
                }
            }
            0x5d => self.object_is_note = u16_at(body, 4) == Some(0x19),
            0x1b6 => self.text_box(body, records),
            0x1c if !self.style.is_new => {
                let (text, _) = self.style.long(body.get(4..).unwrap_or_default());
                self.text(TextKind::Comment, text);
            }
            // The author of a comment.
            0x1c => {
                let (author, _) = self.style.long(body.get(8..).unwrap_or_default());
                self.text(TextKind::Comment, author);
            }
            0x1be => self.validation(body),
            0x14 | 0x15 => self.header(body),
            _ => self.cell(record),
        }
        budget.charge_work(std::mem::take(&mut self.made) as u64)?;
        Ok(())
    }

    /// Says what is left.
    pub(super) fn finish(&mut self, budget: &mut Budget<'_>) -> Result<(), UnpackError> {
        while !self.open.is_empty() {
            self.end(budget)?;
        }
        self.flush();
        let has_macros = self.sheets.values().any(|sheet| sheet.is_macro);
        for name in std::mem::take(&mut self.auto_names) {
            if has_macros {
                (self.out)(Piece::Active(Active::new(ActiveKind::AutoRun, name)));
            }
        }
        if self.leaves_names {
            budget.left_out("names past 131,072, or hidden columns past 256 ranges");
        }
        if self.cuts_formulas {
            budget.left_out("the end of a formula past 32 KiB");
        }
        if self.is_cut { Err(Limit::EntityBytes.into()) } else { Ok(()) }
    }

    fn begin(&mut self, record: &Record<'_>) {
        self.flush();
        let (version, kind) = (u16_at(record.body, 0), u16_at(record.body, 2));
        if self.open.is_empty() {
            self.style.is_new = record.id == 0x809 && version == Some(0x600);
        }
        let mut sheet = self.sheets.get(&record.offset).cloned();
        if kind == Some(0x40) {
            // Excel believes the sheet's own header.
            let sheet = sheet.get_or_insert_with(Sheet::default);
            sheet.is_macro = true;
        } else if self.sheets.is_empty() && kind != Some(5) {
            // Before Excel 5 a file is one sheet.
            sheet = Some(Sheet::default());
        }
        if let Some(sheet) = &sheet {
            (self.hidden_rows, self.hidden_columns) = (HashSet::new(), Vec::new());
            let title = if sheet.state == 0 { TextKind::Shown } else { TextKind::Hidden };
            let text = sheet.name.clone();
            if !text.is_empty() {
                (self.out)(Piece::Text { kind: title, text });
            }
        }
        let outer = self.open.last().cloned().flatten();
        self.open.push(sheet.or(outer.filter(|_| kind == Some(0x20))));
    }

    fn end(&mut self, budget: &mut Budget<'_>) -> Result<(), UnpackError> {
        self.flush();
        let Some(Some(sheet)) = self.open.pop() else { return Ok(()) };
        if sheet.is_macro {
            let state = match sheet.state {
                0 => "",
                1 => " (hidden)",
                _ => " (very hidden)",
            };
            let detail = format!("{}{state}", sheet.name);
            (self.out)(Piece::Active(Active::new(ActiveKind::Xlm, detail)));
            let code = std::mem::take(&mut self.code);
            if !code.is_empty() {
                budget.charge_entity()?;
                budget.charge_bytes(code.len() as u64)?;
                let names = vec![format!("{}.xlm", sheet.name)];
                let (claimed_size, content) = (code.len() as u64, Bytes::from(code));
                (self.out)(Piece::Code(Member { names, claimed_size, content, missing: None }));
            }
        }
        Ok(())
    }

    fn sheet(&mut self, body: &[u8]) {
        let (name, _) = self.style.short(body.get(6..).unwrap_or_default());
        let state = body.get(4).copied().unwrap_or_default() & 3;
        let is_macro = body.get(5) == Some(&1);
        let Some(offset) = u32_at(body, 0) else { return };
        if self.sheet_names.len() >= MAX_KEPT {
            self.leaves_names = true;
            return;
        }
        self.sheet_names.push(name.clone());
        self.sheets.insert(length(offset.into()), Sheet { name, state, is_macro });
    }

    fn name(&mut self, body: &[u8]) {
        let count = body.get(3).copied().map_or(0, usize::from);
        let (mut name, taken) = self.style.counted(body.get(14..).unwrap_or_default(), count);
        let flags = u16_at(body, 0).unwrap_or_default();
        if flags & 0x20 != 0 {
            name = built_in(&name);
        }
        let start = 14 + taken;
        let octets = u16_at(body, 4).map_or(0, usize::from);
        let tokens = body.get(start..(start + octets).min(body.len())).unwrap_or_default();
        let found = formula::read(tokens, self.style, &self.names);
        self.made = self.made.saturating_add(found.made);
        self.cuts_formulas |= found.is_cut;
        let lower = name.to_ascii_lowercase();
        // Excel runs every name that starts like this.
        if ["auto_open", "auto_close", "auto_activate", "auto_deactivate"]
            .iter()
            .any(|auto| lower.starts_with(auto))
        {
            self.auto_names.push(format!("{name} = {}", found.text));
        }
        if !found.text.is_empty() {
            (self.out)(Piece::Text {
                kind: TextKind::Formula,
                text: format!("{name} = {}", found.text),
            });
        }
        if self.names.defined.len() < MAX_KEPT {
            self.names.defined.push(name);
        } else {
            self.leaves_names = true;
        }
    }

    fn text_box(&mut self, body: &[u8], records: &mut Records<'_>) {
        let count = u16_at(body, 10).map_or(0, usize::from);
        let rest = records.continued();
        let Some((first, rest)) = rest.split_first().filter(|_| count > 0) else { return };
        let is_wide = first.first().is_some_and(|flags| flags & 1 != 0);
        let mut pieces = Pieces::new(first.get(1..).unwrap_or_default(), rest.to_vec());
        let text = pieces.letters(count, is_wide);
        let kind = if self.object_is_note { TextKind::Comment } else { self.sheet_kind() };
        self.text(kind, text);
    }

    /// What a cell says to those who fill it in: titles and texts ([MS-XLS] 2.4.96).
    fn validation(&mut self, body: &[u8]) {
        let mut rest = body.get(4..).unwrap_or_default();
        for _ in 0..4 {
            let (text, taken) = self.style.long(rest);
            // What is empty is stored as a single NUL.
            self.text(TextKind::Comment, text.replace('\0', ""));
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn header(&mut self, body: &[u8]) {
        let (text, _) =
            if self.style.is_new { self.style.long(body) } else { self.style.short(body) };
        let kind = self.sheet_kind();
        self.text(kind, text);
    }

    fn text(&mut self, kind: TextKind, text: String) {
        if !text.trim().is_empty() {
            (self.out)(Piece::Text { kind, text });
        }
    }

    fn sheet_kind(&self) -> TextKind {
        let sheet = self.open.last().and_then(Option::as_ref);
        if sheet.is_some_and(|sheet| sheet.state != 0) { TextKind::Hidden } else { TextKind::Shown }
    }

    fn cell(&mut self, record: &Record<'_>) {
        let body = record.body;
        let place = || Some((u16_at(body, 0)?, u16_at(body, 2)?));
        let Some((row, column)) = place() else { return };
        match record.id {
            0xfd => {
                let index = u32_at(body, 6).map_or(usize::MAX, |index| length(index.into()));
                let text = self.shared.get(index).unwrap_or_default().to_owned();
                self.value(row, column, &text);
            }
            0x204 | 0xd6 => {
                let (text, _) = self.style.long(body.get(6..).unwrap_or_default());
                self.value(row, column, &text);
            }
            // Excel 2: a shorter place for formats, and a count of one octet.
            0x04 => {
                let (text, _) = self.style.short(body.get(7..).unwrap_or_default());
                self.value(row, column, &text);
            }
            0x03 => {
                let bits = u64_at(body, 7).unwrap_or_default();
                self.value(row, column, &f64::from_bits(bits).to_string());
            }
            0x02 => {
                let number = u16_at(body, 7).unwrap_or_default();
                self.value(row, column, &number.to_string());
            }
            0x27e => {
                let number = u32_at(body, 6).map(packed_number).unwrap_or_default();
                self.number((row, column), u16_at(body, 4), number);
            }
            0xbd => {
                let numbers = body.get(4..).unwrap_or_default().chunks_exact(6);
                for (column, number) in (column..).zip(numbers) {
                    let value = u32_at(number, 2).map(packed_number).unwrap_or_default();
                    self.number((row, column), u16_at(number, 0), value);
                }
            }
            0x203 => {
                let bits = u64_at(body, 6).unwrap_or_default();
                self.number((row, column), u16_at(body, 4), f64::from_bits(bits));
            }
            0x205 => {
                let text = match (body.get(6), body.get(7)) {
                    (Some(code), Some(1)) => formula::error(*code),
                    (Some(0), _) => "FALSE",
                    _ => "TRUE",
                };
                self.value(row, column, text);
            }
            0x06 | 0x206 | 0x406 => self.formula(record.id, (row, column), body),
            0x207 => {
                if let Some((row, column)) = self.waiting.take() {
                    let (text, _) = self.style.long(body);
                    self.value(row, column, &text);
                }
            }
            0x208 if u16_at(body, 12).is_some_and(|flags| flags & 0x20 != 0) => {
                self.hidden_rows.insert(row);
            }
            // Here the two numbers are the first and the last column.
            0x7d if u16_at(body, 8).is_some_and(|flags| flags & 1 != 0) => {
                self.leaves_names |= self.hidden_columns.len() >= MAX_COLUMNS;
                self.hidden_columns.truncate(MAX_COLUMNS.saturating_sub(1));
                self.hidden_columns.push((row, column));
            }
            _ => {}
        }
    }

    fn formula(&mut self, id: u16, (row, column): (u16, u16), body: &[u8]) {
        // Excel 3 and 4 keep no chain of calculation.
        let at = if id == 0x06 { 20 } else { 16 };
        let octets = u16_at(body, at).map_or(0, usize::from);
        let tokens = body.get(at + 2..(at + 2 + octets).min(body.len())).unwrap_or_default();
        let found = formula::read(tokens, self.style, &self.names);
        self.made = self.made.saturating_add(found.made);
        self.cuts_formulas |= found.is_cut;
        if self.is_macro() {
            self.code_line(row, column, &format!("={}", found.text));
        } else {
            self.telling(found);
        }
        // A result that is not a number is marked by its last two octets.
        match (body.get(6), u16_at(body, 12)) {
            (Some(0), Some(0xffff)) => self.waiting = Some((row, column)),
            (Some(1), Some(0xffff)) => {
                let text = if body.get(8) == Some(&0) { "FALSE" } else { "TRUE" };
                self.value(row, column, text);
            }
            (_, Some(0xffff)) => {}
            _ => {
                let bits = u64_at(body, 6).unwrap_or_default();
                self.number((row, column), u16_at(body, 4), f64::from_bits(bits));
            }
        }
    }

    /// Formulas that hold text may hide a link or a command.
    fn telling(&mut self, found: Formula) {
        if let Some(target) = found.target.filter(|target| !target.is_empty()) {
            let link = Link { kind: LinkKind::Click, target, label: String::new() };
            (self.out)(Piece::Link(link));
        }
        if found.is_telling {
            (self.out)(Piece::Text { kind: TextKind::Formula, text: found.text });
        }
    }

    fn is_macro(&self) -> bool {
        self.open.last().and_then(Option::as_ref).is_some_and(|sheet| sheet.is_macro)
    }

    fn code_line(&mut self, row: u16, column: u16, text: &str) {
        if self.code.len() < MAX_CODE {
            self.code.extend([&cell_name(row, column), ": ", text, "\n"]);
        } else {
            self.is_cut = true;
        }
    }

    /// Adds a number as its cell shows it.
    fn number(&mut self, (row, column): (u16, u16), format: Option<u16>, number: f64) {
        let date = format.and_then(|format| self.formats.shown(format.into(), number));
        self.value(row, column, &date.unwrap_or_else(|| number.to_string()));
    }

    /// Adds a cell to its row.
    fn value(&mut self, row: u16, column: u16, text: &str) {
        if text.is_empty() {
            return;
        }
        self.made = self.made.saturating_add(text.len());
        if self.is_macro() {
            self.code_line(row, column, text);
        }
        let in_hidden = |(first, last): &(u16, u16)| (*first..=*last).contains(&column);
        let is_hidden =
            self.hidden_rows.contains(&row) || self.hidden_columns.iter().any(in_hidden);
        let kind = if is_hidden { TextKind::Hidden } else { self.sheet_kind() };
        if self.row != Some((row, kind)) {
            self.flush();
            self.row = Some((row, kind));
        }
        if !self.line.is_empty() {
            self.line.push('\t');
        }
        self.line.push_str(text);
        if self.line.len() > MAX_LINE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.line);
        if let Some((_, kind)) = self.row.take().filter(|_| !text.is_empty()) {
            (self.out)(Piece::Text { kind, text });
        }
    }
}

/// A number in four octets: an integer or the upper half of a real one, perhaps by 100.
fn packed_number(field: u32) -> f64 {
    let number = if field & 2 != 0 {
        f64::from(field.cast_signed() >> 2)
    } else {
        f64::from_bits(u64::from(field & 0xffff_fffc) << 32)
    };
    if field & 1 != 0 { number / 100.0 } else { number }
}

/// Names that the program defines ([MS-XLS] 2.5.66).
fn built_in(name: &str) -> String {
    const NAMES: [&str; 14] = [
        "Consolidate_Area",
        "Auto_Open",
        "Auto_Close",
        "Extract",
        "Database",
        "Criteria",
        "Print_Area",
        "Print_Titles",
        "Recorder",
        "Data_Form",
        "Auto_Activate",
        "Auto_Deactivate",
        "Sheet_Title",
        "_FilterDatabase",
    ];
    let mut letters = name.chars();
    let number = letters.next().map_or(u32::MAX, u32::from);
    let known = usize::try_from(number).ok().and_then(|number| NAMES.get(number));
    known.map_or_else(|| name.to_owned(), |known| format!("{known}{}", letters.as_str()))
}
