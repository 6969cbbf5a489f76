//! Styles that hide text: of Word (ECMA-376 part 1, 17.7) and of Excel (18.8); those that show dates.
//!
//! In: a styles part. Out: the names, or numbers, of the styles whose text nobody sees, and the
//! number formats of cells.

use std::collections::HashSet;

use crate::document::serial::Formats;
use crate::document::sink::Sink;
use crate::document::xml::{Tag, Token, Xml};
use crate::limits::Limit;

/// Styles of one document. Excel itself stops at 65,490. Text of any style is read; past them it counts
/// as shown.
const MAX_STYLES: usize = 70_000;

/// The styles of one document.
#[derive(Default)]
pub(crate) struct Styles {
    names: HashSet<String>,
    /// By the number that cells have.
    cells: Vec<bool>,
    /// Number formats.
    pub(super) formats: Formats,
}

impl Styles {
    /// Whether text of the Word style `name` is hidden.
    pub(crate) fn is_hidden(&self, name: &str) -> bool {
        !self.names.is_empty() && self.names.contains(name)
    }

    /// Whether the content of cells with the format `number` is not seen.
    pub(super) fn hides_cell(&self, number: usize) -> bool {
        self.cells.get(number).copied().unwrap_or(false)
    }

    /// Reads the styles of Word.
    pub(crate) fn read_word(&mut self, text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        // Names of elements cannot be written otherwise, and most documents hide nothing: their
        // styles, often longer than the text, need not be read.
        if memchr::memmem::find(text.as_bytes(), b"vanish").is_none() {
            return Ok(());
        }
        let mut xml = Xml::new(text);
        let mut name = String::new();
        while let Some(token) = xml.token(sink.budget)? {
            let Token::Start(tag) = token else { continue };
            match tag.local() {
                "style" => name = tag.attr("styleId").unwrap_or_default().into_owned(),
                "vanish" if !tag.is_not("val") && self.names.len() < MAX_STYLES => {
                    self.names.insert(name.clone());
                }
                _ => {}
            }
        }
        sink.note(xml.finish())
    }

    /// Reads the styles of Excel.
    pub(super) fn read_excel(&mut self, text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let mut book = Book::default();
        let mut xml = Xml::new(text);
        while let Some(token) = xml.token(sink.budget)? {
            match token {
                Token::Start(tag) => book.start(&tag),
                Token::End(end) => {
                    if matches!(end.local(), "fonts" | "fills" | "cellXfs" | "dxfs") {
                        book.section = Section::Other;
                    }
                }
                Token::Text(_) => {}
            }
        }
        self.cells = book.cells;
        self.formats = book.formats;
        sink.note(xml.finish())
    }
}

/// The tables of an Excel style part.
#[derive(Default)]
struct Book {
    section: Section,
    white_fonts: Vec<bool>,
    plain_fills: Vec<bool>,
    blank_formats: HashSet<String>,
    cells: Vec<bool>,
    formats: Formats,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    Other,
    Fonts,
    Fills,
    Cells,
}

impl Book {
    fn start(&mut self, tag: &Tag<'_>) {
        match (self.section, tag.local()) {
            (_, "fonts") => self.section = Section::Fonts,
            (_, "fills") => self.section = Section::Fills,
            (_, "cellXfs") => self.section = Section::Cells,
            (_, "numFmt") => {
                let code = tag.attr("formatCode").unwrap_or_default();
                let number = tag.attr("numFmtId").and_then(|id| id.parse().ok());
                self.formats.define(number.unwrap_or(u32::MAX), &code);
                if code.trim_matches('"') == ";;;" && self.blank_formats.len() < MAX_STYLES {
                    let id = tag.attr("numFmtId").unwrap_or_default();
                    self.blank_formats.insert(id.into_owned());
                }
            }
            (Section::Fonts, "font") if self.white_fonts.len() < MAX_STYLES => {
                self.white_fonts.push(false);
            }
            (Section::Fonts, "color") => {
                if let Some(font) = self.white_fonts.last_mut() {
                    let rgb = tag.attr("rgb").unwrap_or_default();
                    *font = rgb.len() >= 6 && rgb.to_ascii_uppercase().ends_with("FFFFFF")
                        || tag.attr("theme").as_deref() == Some("0") && tag.attr("tint").is_none();
                }
            }
            (Section::Fills, "patternFill") if self.plain_fills.len() < MAX_STYLES => {
                let pattern = tag.attr("patternType").unwrap_or_default();
                self.plain_fills.push(matches!(&*pattern, "" | "none"));
            }
            (Section::Fills, "gradientFill") if self.plain_fills.len() < MAX_STYLES => {
                self.plain_fills.push(false);
            }
            (Section::Cells, "xf") if self.cells.len() < MAX_STYLES => {
                let number = |name| tag.attr(name).and_then(|value| value.parse().ok());
                let white = number("fontId").and_then(|id: usize| self.white_fonts.get(id));
                let plain = number("fillId")
                    .is_none_or(|id: usize| self.plain_fills.get(id).copied().unwrap_or(true));
                let format = tag.attr("numFmtId").unwrap_or_default();
                self.formats.add_cell(format.parse().unwrap_or(u32::MAX));
                let blank = self.blank_formats.contains(&*format);
                self.cells.push(white == Some(&true) && plain || blank);
            }
            _ => {}
        }
    }
}
