//! Parsed formulas → text ([MS-XLS] 2.2.2.1, 2.5.198).
//!
//! In: the tokens of a formula. Out: what a user would see in the cell's edit line. A token that is
//! not known ends the reading; what was made so far is shown with a mark. Text is bounded, since
//! tokens can repeat what others made.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::strings::Style;
use crate::archive::le::{u16_at, u64_at};

/// Longest text of one formula, in octets. Excel allows 8,192 letters.
const MAX_TEXT: usize = 32 << 10;
/// Values on the stack at a time, and of those that no operator joined, how many are kept.
const MAX_STACK: usize = 1_024;
const MAX_APART: usize = 16;
/// Octets made while reading one formula.
const MAX_MADE: usize = 1 << 20;

/// What the names and references of a workbook mean.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Defined names, from 1.
    pub(super) defined: Vec<String>,
    /// Sheets by their place in the table of external sheets.
    pub(super) sheets: Vec<String>,
    /// Names that workbooks and add-ins outside define, in order.
    pub(super) external: Vec<String>,
}

/// What a formula says.
#[derive(Debug, Default)]
pub(super) struct Formula {
    /// As a user sees it, without the equals sign.
    pub(super) text: String,
    /// It holds a text constant or a name from outside.
    pub(super) is_telling: bool,
    /// Octets of text that were made on the way: what reading it cost.
    pub(super) made: usize,
    /// It goes on past what is read of it.
    pub(super) is_cut: bool,
    /// It calls `HYPERLINK` with this target.
    pub(super) target: Option<String>,
}

/// Reads tokens.
pub(super) fn read(tokens: &[u8], style: Style, names: &Names) -> Formula {
    let mut reader =
        Reader { tokens, at: 0, style, names, stack: Vec::new(), found: Formula::default() };
    let is_whole = reader.run();
    let mut text = reader.stack.pop().unwrap_or_default();
    reader.found.is_cut |= reader.stack.len() > MAX_APART;
    for rest in reader.stack.iter().rev().take(MAX_APART) {
        text = format!("{rest} {text}");
    }
    if !is_whole {
        text.push_str(" …");
    }
    reader.found.text = text;
    reader.found
}

struct Reader<'a> {
    tokens: &'a [u8],
    at: usize,
    style: Style,
    names: &'a Names,
    stack: Vec<String>,
    found: Formula,
}

impl Reader<'_> {
    /// Whether all tokens were known.
    fn run(&mut self) -> bool {
        while let Some(token) = self.tokens.get(self.at).copied() {
            self.at += 1;
            // Values, references and arrays of the same kind differ in two bits.
            let kind = if token & 0x60 == 0 { token } else { token & 0x1f | 0x20 };
            let is_known = self.token(kind).is_some();
            let is_full = self.stack.len() > MAX_STACK || self.found.made > MAX_MADE;
            self.found.is_cut |= is_full;
            if is_full || !is_known {
                return false;
            }
        }
        true
    }

    fn token(&mut self, kind: u8) -> Option<()> {
        match kind {
            0x03..=0x11 => self.binary(kind)?,
            0x12 => self.wrap("+", ""),
            0x13 => self.wrap("-", ""),
            0x14 => self.wrap("", "%"),
            0x15 => self.wrap("(", ")"),
            0x16 => self.stack.push(String::new()),
            0x17 => {
                let (text, taken) = self.style.short(self.tokens.get(self.at..)?);
                self.at += taken;
                self.found.is_telling = true;
                self.push(format!("\"{}\"", text.replace('"', "\"\"")));
            }
            0x19 => self.attribute()?,
            0x1c => {
                let code = self.octet()?;
                self.push(error(code).to_owned());
            }
            0x1d => {
                let text = if self.octet()? == 0 { "FALSE" } else { "TRUE" };
                self.push(text.to_owned());
            }
            0x1e => {
                let number = self.number()?;
                self.push(number.to_string());
            }
            0x1f => {
                let bits = u64_at(self.tokens, self.at)?;
                self.at += 8;
                self.push(f64::from_bits(bits).to_string());
            }
            0x21 => {
                let number = self.number()?;
                let count = function(number).and_then(|(count, _)| count).unwrap_or(1);
                self.call(number, count);
            }
            0x22 => {
                let count = usize::from(self.octet()? & 0x7f);
                let number = self.number()?;
                self.call(number, count);
            }
            _ => self.reference(kind)?,
        }
        Some(())
    }

    fn reference(&mut self, kind: u8) -> Option<()> {
        let is_new = self.style.is_new;
        let size = |new: usize, old: usize| if is_new { new } else { old };
        match kind {
            0x01 | 0x02 => {
                self.at += 4;
                self.push(String::new());
            }
            0x20 => {
                self.at += 7;
                self.push("{…}".to_owned());
            }
            0x23 => {
                let index = usize::from(self.number()?);
                self.at += size(2, 12);
                let name = index.checked_sub(1).and_then(|index| self.names.defined.get(index));
                self.push(name.cloned().unwrap_or_else(|| format!("NAME{index}")));
            }
            0x24 | 0x2c => {
                let cell = self.cell(size(4, 3), self.at)?;
                self.at += size(4, 3);
                self.push(cell);
            }
            0x25 | 0x2d => {
                let area = self.area(self.at)?;
                self.at += size(8, 6);
                self.push(area);
            }
            // A value of its own follows these as tokens; the size says where they end.
            0x26..=0x28 => self.at += 6,
            0x29 | 0x2e | 0x2f => self.at += 2,
            0x2a => self.skip(size(4, 3)),
            0x2b => self.skip(size(8, 6)),
            0x39 => self.external()?,
            0x3a | 0x3b => {
                let sheet = self.sheet()?;
                let start = self.at + size(2, 14);
                let (cell, octets) = if kind == 0x3a {
                    (self.cell(size(4, 3), start)?, size(6, 17))
                } else {
                    (self.area(start)?, size(10, 20))
                };
                self.at += octets;
                self.push(format!("{sheet}!{cell}"));
            }
            0x3c => self.skip(size(6, 17)),
            0x3d => self.skip(size(10, 20)),
            _ => return None,
        }
        Some(())
    }

    fn skip(&mut self, octets: usize) {
        self.at += octets;
        self.push("#REF!".to_owned());
    }

    fn external(&mut self) -> Option<()> {
        let (book, index) = if self.style.is_new {
            (u16_at(self.tokens, self.at)?, u16_at(self.tokens, self.at + 2)?)
        } else {
            (u16_at(self.tokens, self.at)?, u16_at(self.tokens, self.at + 10)?)
        };
        self.at += if self.style.is_new { 6 } else { 24 };
        self.found.is_telling = true;
        let index = usize::from(index);
        let sheet = self.names.sheets.get(usize::from(book));
        let name = index.checked_sub(1).and_then(|index| self.names.external.get(index));
        let name = name.cloned().unwrap_or_else(|| format!("NAME{index}"));
        self.push(match sheet.filter(|sheet| !sheet.is_empty()) {
            Some(sheet) => format!("{sheet}!{name}"),
            None => name,
        });
        Some(())
    }

    fn sheet(&self) -> Option<String> {
        let index = u16_at(self.tokens, self.at)?;
        if !self.style.is_new && index >= 0x8000 {
            // A sheet of this workbook, by its place.
            let place = u16_at(self.tokens, self.at + 10)?;
            return Some(format!("SHEET{}", u32::from(place) + 1));
        }
        let name = self.names.sheets.get(usize::from(index));
        Some(name.cloned().unwrap_or_else(|| format!("SHEET{index}")))
    }

    fn attribute(&mut self) -> Option<()> {
        let flags = self.octet()?;
        let count = usize::from(self.number()?);
        if flags & 4 != 0 {
            self.at += (count + 1) * 2;
        }
        if flags & 0x10 != 0 {
            self.wrap("SUM(", ")");
        }
        Some(())
    }

    fn binary(&mut self, kind: u8) -> Option<()> {
        const SIGNS: [&str; 15] =
            ["+", "-", "*", "/", "^", "&", "<", "<=", "=", ">=", ">", "<>", " ", ",", ":"];
        let sign = SIGNS.get(usize::from(kind.checked_sub(3)?))?;
        let right = self.stack.pop().unwrap_or_default();
        let left = self.stack.pop().unwrap_or_default();
        // Text joined from pieces hides words from scanners: join constants at once.
        let joined = (*sign == "&").then(|| {
            let (left, right) = (left.strip_suffix('"')?, right.strip_prefix('"')?);
            (left.starts_with('"') && right.ends_with('"')).then(|| format!("{left}{right}"))
        });
        self.push(joined.flatten().unwrap_or_else(|| format!("{left}{sign}{right}")));
        Some(())
    }

    fn wrap(&mut self, before: &str, after: &str) {
        let inner = self.stack.pop().unwrap_or_default();
        self.push(format!("{before}{inner}{after}"));
    }

    fn call(&mut self, number: u16, count: usize) {
        let first = self.stack.len().saturating_sub(count);
        let mut arguments = self.stack.split_off(first);
        let (_, name) = function(number).unwrap_or((None, ""));
        let name = match number {
            // The function is the first argument.
            255 if !arguments.is_empty() => arguments.remove(0),
            _ if name.is_empty() => format!("FUNCTION{number}"),
            _ => name.to_owned(),
        };
        let constant = match arguments.as_slice() {
            [code] if number == 111 => character(code),
            _ => None,
        };
        if number == 359 {
            self.found.target = arguments.first().map(|target| target.trim_matches('"').to_owned());
        }
        let text = constant.unwrap_or_else(|| format!("{name}({})", arguments.join(",")));
        self.push(text);
    }

    fn push(&mut self, mut text: String) {
        self.found.is_cut |= text.len() > MAX_TEXT;
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        self.found.made = self.found.made.saturating_add(text.len());
        self.stack.push(text);
    }

    fn octet(&mut self) -> Option<u8> {
        let octet = self.tokens.get(self.at).copied()?;
        self.at += 1;
        Some(octet)
    }

    fn number(&mut self) -> Option<u16> {
        let number = u16_at(self.tokens, self.at)?;
        self.at += 2;
        Some(number)
    }

    fn area(&self, at: usize) -> Option<String> {
        let last = u16_at(self.tokens, at + 2)?;
        let (first_column, last_column) = if self.style.is_new {
            (u16_at(self.tokens, at + 4)?, u16_at(self.tokens, at + 6)?)
        } else {
            let octet = |at: usize| self.tokens.get(at).copied().map(u16::from);
            (octet(at + 4)?, octet(at + 5)?)
        };
        let first = cell_name(self.row(u16_at(self.tokens, at)?), first_column);
        Some(format!("{first}:{}", cell_name(self.row(last), last_column)))
    }

    fn cell(&self, octets: usize, at: usize) -> Option<String> {
        let row = self.row(u16_at(self.tokens, at)?);
        let column = match octets {
            4 => u16_at(self.tokens, at + 2)?,
            _ => u16::from(*self.tokens.get(at + 2)?),
        };
        Some(cell_name(row, column))
    }

    fn row(&self, field: u16) -> u16 {
        if self.style.is_new { field } else { field & 0x3fff }
    }
}

/// `CHAR(65)` is a constant.
fn character(code: &str) -> Option<String> {
    let code: f64 = code.parse().ok()?;
    (0.0..256.0).contains(&code).then_some(())?;
    let octets = (0..=255_u8).find(|octet| (f64::from(*octet) - code.trunc()).abs() < 0.5)?;
    let letter = char::from(octets);
    let text = if letter == '"' { "\"\"".to_owned() } else { letter.to_string() };
    Some(format!("\"{text}\""))
}

/// `A1` for row and column 0; the upper bits of a column are flags.
pub(super) fn cell_name(row: u16, column: u16) -> String {
    let mut column = u32::from(column & 0x3fff);
    let mut letters = Vec::new();
    loop {
        letters.push(char::from_u32(u32::from(b'A') + column % 26).unwrap_or('?'));
        column /= 26;
        if column == 0 {
            break;
        }
        column -= 1;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("{letters}{}", u32::from(row) + 1)
}

/// What an error cell shows.
pub(super) fn error(code: u8) -> &'static str {
    match code {
        0 => "#NULL!",
        7 => "#DIV/0!",
        15 => "#VALUE!",
        23 => "#REF!",
        29 => "#NAME?",
        36 => "#NUM!",
        _ => "#N/A",
    }
}

type Function = (Option<usize>, &'static str);

/// The fixed count of a function's arguments, if it has one, and its name.
fn function(number: u16) -> Option<Function> {
    FUNCTIONS.get(&number).copied()
}

static FUNCTIONS: LazyLock<HashMap<u16, Function>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let (number, rest) = line.split_once(' ')?;
        let (count, name) = rest.split_once(' ')?;
        Some((u16::from_str_radix(number, 16).ok()?, (count.parse().ok(), name)))
    };
    include_str!("functions.txt").lines().filter_map(entry).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_written_out() {
        let style = Style { is_new: true, page: 1252 };
        let names = Names { defined: vec!["run".into()], ..Names::default() };
        let cases: [(&str, &[u8], &str); 8] = [
            ("a command", b"\x17\x04\0calc\x42\x01\x6e\0", "EXEC(\"calc\")"),
            ("joined text", b"\x17\x02\0ca\x17\x02\0lc\x08", "\"calc\""),
            ("characters", b"\x1e\x41\0\x41\x6f\0\x1e\x42\0\x41\x6f\0\x08", "\"AB\""),
            ("a reference", b"\x44\x02\0\x1b\xc0\x1e\x05\0\x03", "AB3+5"),
            ("a command equivalent", b"\x1d\x00\x42\x01\x10\x80", "CLOSE(FALSE)"),
            ("a name", b"\x43\x01\0\0\0\x42\x01\x11\x80", "RUN(run)"),
            ("not known", b"\x1e\x01\0\x18\0\0", "1 …"),
            ("an area", b"\x25\0\0\x01\0\0\0\x01\0\x19\x10\0\0", "SUM(A1:B2)"),
        ];
        for (name, tokens, expected) in cases {
            assert_eq!(read(tokens, style, &names).text, expected, "{name}");
        }
    }
}
