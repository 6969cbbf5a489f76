//! Sheets (ECMA-376 part 1, 18.3): cells in order, a row a line.
//!
//! In: one sheet part, the shared strings and the styles. Out: rows of shown and of hidden cells,
//! formulas, links, and the code of macro sheets ([MS-XLSX] 2.1.14). One string in a million cells
//! costs its length each time, and no more text than the limit is ever kept.

use super::flow::object_class;
use super::rels::Relations;
use super::row::{Row, column_of};
use super::styles::Styles;
use super::workbook::Strings;
use crate::document::sink::Sink;
use crate::document::xml::{Tag, Token, Xml};
use crate::document::{ActiveKind, TextKind, formula};
use crate::limits::Limit;

/// Ranges of hidden columns.
const MAX_RANGES: usize = 1_000;
/// Octets of code kept for one macro sheet.
pub(super) const MAX_CODE: usize = 4 << 20;

/// What a sheet needs from its workbook.
pub(super) struct Context<'a> {
    pub(super) strings: &'a Strings,
    pub(super) styles: &'a Styles,
    pub(super) relations: &'a mut Relations,
    /// Its name.
    pub(super) name: &'a str,
    pub(super) hidden: bool,
    pub(super) is_macro: bool,
}

/// Reads one sheet.
pub(super) fn read(text: &str, context: Context<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let kind = if context.hidden { TextKind::Hidden } else { TextKind::Shown };
    sink.text(kind, context.name);
    let row = Row::new(context.hidden);
    let mut sheet = Sheet {
        context,
        row,
        cell: Cell::default(),
        hidden_columns: Vec::new(),
        reading: Reading::Nothing,
        readings: 0,
        next_column: 0,
        code: String::new(),
    };
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => sheet.start(&tag, sink),
            Token::Text(text) => sheet.text(&text),
            Token::End(end) => sheet.end(end.local(), sink)?,
        }
    }
    sheet.row.emit(sink);
    if sheet.context.is_macro {
        sink.active(ActiveKind::Xlm, sheet.context.name);
        if !sheet.code.is_empty() {
            sink.code(&format!("{}.xlm", sheet.context.name), sheet.code)?;
        }
    }
    sink.note(xml.finish())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Value,
    Formula,
    Inline,
    /// Headers and footers of the printed page.
    Page,
}

#[derive(Default)]
struct Cell {
    place: String,
    kind: String,
    style: usize,
    column: usize,
    value: String,
    formula: String,
    inline: String,
}

struct Sheet<'a> {
    context: Context<'a>,
    row: Row,
    cell: Cell,
    hidden_columns: Vec<(usize, usize)>,
    reading: Reading,
    readings: usize,
    next_column: usize,
    code: String,
}

impl Sheet<'_> {
    fn start(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        match tag.local() {
            "row" => {
                self.next_column = 0;
                let flat = tag.attr("ht").and_then(|height| height.parse::<f32>().ok());
                self.row.hidden = tag.is("hidden") || flat.is_some_and(|height| height < 0.5);
            }
            "c" => self.cell(tag),
            "v" => self.reading = Reading::Value,
            "f" => self.reading = Reading::Formula,
            "t" if self.readings == 0 => self.reading = Reading::Inline,
            "rPh" => self.readings = self.readings.saturating_add(1),
            "col" if self.hidden_columns.len() < MAX_RANGES => self.columns(tag),
            "col" => sink.budget.left_out("hidden columns past 1,000 ranges"),
            "hyperlink" => self.hyperlink(tag, sink),
            "oleObject" => object_class(tag, sink),
            "dataValidation" => {
                for name in ["promptTitle", "prompt", "errorTitle", "error"] {
                    sink.text(TextKind::Comment, &tag.attr(name).unwrap_or_default());
                }
            }
            "oddHeader" | "oddFooter" | "evenHeader" | "evenFooter" | "firstHeader"
            | "firstFooter" => {
                self.cell.value.clear();
                self.reading = Reading::Page;
            }
            _ => {}
        }
    }

    fn cell(&mut self, tag: &Tag<'_>) {
        let place = tag.attr("r").unwrap_or_default();
        let column = column_of(&place).unwrap_or(self.next_column);
        self.next_column = column.saturating_add(1);
        let style = tag.attr("s").and_then(|style| style.parse().ok());
        let cell = &mut self.cell;
        cell.place.clear();
        cell.place.push_str(&place);
        cell.kind.clear();
        cell.kind.push_str(&tag.attr("t").unwrap_or_default());
        cell.style = style.unwrap_or(0);
        cell.column = column;
        cell.value.clear();
        cell.formula.clear();
        cell.inline.clear();
    }

    fn columns(&mut self, tag: &Tag<'_>) {
        let number = |name| tag.attr(name).and_then(|value| value.parse::<usize>().ok());
        let narrow = tag.attr("width").and_then(|width| width.parse::<f32>().ok());
        if tag.is("hidden") || narrow.is_some_and(|width| width < 0.05) {
            let (first, last) = (number("min").unwrap_or(1), number("max").unwrap_or(usize::MAX));
            self.hidden_columns.push((first.saturating_sub(1), last.saturating_sub(1)));
        }
    }

    fn hyperlink(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        let id = tag.prefixed("id").unwrap_or_default();
        let label = tag.attr("display").unwrap_or_default();
        self.context.relations.link(&id, &label, sink);
        sink.text(TextKind::Comment, &tag.attr("tooltip").unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        match self.reading {
            Reading::Nothing => {}
            Reading::Value | Reading::Page => self.cell.value.push_str(text),
            Reading::Formula => self.cell.formula.push_str(text),
            Reading::Inline => self.cell.inline.push_str(text),
        }
    }

    fn end(&mut self, local: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        match local {
            "v" | "f" | "t" => self.reading = Reading::Nothing,
            "rPh" => self.readings = self.readings.saturating_sub(1),
            "c" => self.finish_cell(sink)?,
            "row" => self.row.emit(sink),
            _ if self.reading == Reading::Page => {
                self.reading = Reading::Nothing;
                sink.text(TextKind::Shown, &self.cell.value);
            }
            _ => {}
        }
        Ok(())
    }

    /// The date that a cell shows for its number.
    fn date(&self) -> Option<String> {
        let is_number = matches!(self.cell.kind.as_str(), "" | "n");
        let number = self.cell.value.trim().parse().ok().filter(|_| is_number)?;
        self.context.styles.formats.shown(self.cell.style, number)
    }

    fn finish_cell(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let ranges = self.hidden_columns.len();
        sink.budget.charge_work(u64::try_from(ranges).unwrap_or(u64::MAX))?;
        let cell = &self.cell;
        let date = self.date();
        let value = match cell.kind.as_str() {
            "s" => {
                let number = cell.value.trim().parse().ok();
                number.and_then(|number| self.context.strings.get(number)).unwrap_or_default()
            }
            "inlineStr" if !cell.inline.is_empty() => &cell.inline,
            "b" => {
                if cell.value.trim() == "1" {
                    "TRUE"
                } else {
                    "FALSE"
                }
            }
            _ if cell.value.is_empty() => &cell.inline,
            "" | "n" => date.as_deref().unwrap_or(&cell.value),
            _ => &cell.value,
        };
        let hidden = self.row.hidden
            || self.context.styles.hides_cell(cell.style)
            || self
                .hidden_columns
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&cell.column));
        self.row.add(value, hidden, sink)?;
        if !cell.formula.is_empty() {
            self.row.formula(&cell.place, &cell.formula, sink)?;
            formula::report(&cell.formula, sink);
        }
        if self.context.is_macro && self.code.len() >= MAX_CODE {
            sink.left_out(Limit::EntityBytes);
        } else if self.context.is_macro {
            let what = if cell.formula.is_empty() { value } else { cell.formula.as_str() };
            if !what.is_empty() {
                let sign = if cell.formula.is_empty() { "" } else { "=" };
                self.code.extend([cell.place.as_str(), "\t", sign, what, "\n"]);
            }
        }
        Ok(())
    }
}
