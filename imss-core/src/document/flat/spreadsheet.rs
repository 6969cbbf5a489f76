//! Excel 2003 XML (XML Spreadsheet Reference): worksheets, rows, cells.
//!
//! In: the decoded file. Out: rows as lines, formulas, links, facts. Whether a sheet is hidden stands
//! after its cells, so a sheet is kept until it ends, within the limit of text.

use crate::document::ooxml::props_of;
use crate::document::sink::Sink;
use crate::document::xml::{Tag, Token, Xml};
use crate::document::{ActiveKind, LinkKind, TextKind, formula};
use crate::limits::Limit;

/// Reads the whole workbook.
pub(super) fn read(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    props_of(text, "DocumentProperties", sink)?;
    let mut book = Book::default();
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => book.start(&tag, sink),
            Token::Text(text) => {
                if book.reading {
                    book.value.push_str(&text);
                }
            }
            Token::End(end) => book.end(end.local(), sink),
        }
    }
    book.end_sheet(sink);
    sink.note(xml.finish())
}

#[derive(Default)]
struct Book {
    name: String,
    lines: Vec<(TextKind, String)>,
    kept: usize,
    row: String,
    row_hidden: bool,
    sheet_hidden: bool,
    in_comment: bool,
    /// Whether the text of this element counts.
    reading: bool,
    value: String,
}

impl Book {
    fn start(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        match tag.local() {
            "Worksheet" | "MacroSheet" => {
                self.end_sheet(sink);
                self.name = tag.attr("Name").unwrap_or_default().into_owned();
                if tag.local() == "MacroSheet" {
                    sink.active(ActiveKind::Xlm, &self.name);
                }
            }
            "Row" => self.row_hidden = tag.is("Hidden"),
            "Cell" => {
                if let Some(formula) = tag.attr("Formula") {
                    let plain = formula.strip_prefix('=').unwrap_or(&formula);
                    self.line(TextKind::Formula, plain.to_owned(), sink);
                    formula::report(plain, sink);
                }
                if let Some(target) = tag.attr("HRef") {
                    sink.link(LinkKind::Click, &target, "");
                }
            }
            "NamedRange" => self.named(tag, sink),
            "Comment" => self.in_comment = true,
            "Data" | "Path" | "Visible" | "Url" | "URLString" => {
                self.value.clear();
                self.reading = true;
            }
            _ => {}
        }
    }

    fn named(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        let name = tag.attr("Name").unwrap_or_default();
        let value = tag.attr("RefersTo").unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("auto_open") || lower.starts_with("auto_close") {
            sink.active(ActiveKind::AutoRun, &format!("{name} {value}"));
        }
        formula::report(&value, sink);
    }

    fn end(&mut self, local: &str, sink: &mut Sink<'_, '_>) {
        match local {
            "Data" if self.in_comment => {
                let comment = std::mem::take(&mut self.value);
                self.line(TextKind::Comment, comment, sink);
            }
            "Data" => {
                if !self.row.is_empty() {
                    self.row.push('\t');
                }
                self.row.push_str(&self.value);
            }
            "Comment" => self.in_comment = false,
            "Row" => {
                let row = std::mem::take(&mut self.row);
                let kind = if self.row_hidden { TextKind::Hidden } else { TextKind::Shown };
                self.line(kind, row, sink);
            }
            // A DDE server and its topic, or another workbook.
            "Path" if self.value.contains('|') => sink.active(ActiveKind::Dde, &self.value),
            "Path" => sink.link(LinkKind::Load, &self.value, ""),
            "Url" | "URLString" => {
                sink.remote(ActiveKind::RemoteContent, "web query", &self.value);
            }
            "Visible" => {
                let state = self.value.trim().to_ascii_lowercase();
                self.sheet_hidden = matches!(state.as_str(), "sheethidden" | "sheetveryhidden");
            }
            "Worksheet" | "MacroSheet" => self.end_sheet(sink),
            _ => return,
        }
        self.reading = false;
    }

    fn line(&mut self, kind: TextKind, text: String, sink: &Sink<'_, '_>) {
        // One line more than fits shows that there was more.
        if self.kept <= sink.budget.limits().max_text_bytes {
            self.kept = self.kept.saturating_add(text.len());
            self.lines.push((kind, text));
        }
    }

    fn end_sheet(&mut self, sink: &mut Sink<'_, '_>) {
        let row = std::mem::take(&mut self.row);
        self.line(TextKind::Shown, row, sink);
        if self.sheet_hidden {
            sink.property("hidden-sheet", &self.name);
        }
        let name = std::mem::take(&mut self.name);
        self.lines.insert(0, (TextKind::Shown, name));
        for (kind, text) in self.lines.drain(..) {
            let covered = self.sheet_hidden && kind == TextKind::Shown;
            sink.text(if covered { TextKind::Hidden } else { kind }, &text);
        }
        self.sheet_hidden = false;
        self.kept = 0;
    }
}
