//! Binary workbooks ([MS-XLSB] 2.1.4): records with a type and a length.
//!
//! In: a binary part. Out: what [`super::workbook`] and [`super::sheet`] give for XML: sheets,
//! strings, rows, names, links. Of formulas only the text constants are read. A record that is cut
//! is malformed; unknown ones are passed over.

use super::rels::Relations;
use super::row::Row;
use super::sheet::MAX_CODE;
use super::workbook::{Sheet, Strings, defined_name, state_property};
use crate::archive::UnpackError;
use crate::archive::le::{u16_at, u32_at};
use crate::document::serial::{FirstDay, Formats};
use crate::document::sink::Sink;
use crate::document::{ActiveKind, TextKind, formula};
use crate::limits::Limit;

/// What a record costs besides its octets.
const STEPS: u64 = 16;

/// Sheets of one workbook.
const MAX_SHEETS: usize = 10_000;

/// Records of a part.
struct Records<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    fn new(content: &'a [u8]) -> Self {
        Self { content, at: 0 }
    }

    /// The next record ([MS-XLSB] 2.1.4): type, data.
    fn next(&mut self, sink: &mut Sink<'_, '_>) -> Result<Option<(u32, &'a [u8])>, UnpackError> {
        if self.at >= self.content.len() {
            return Ok(None);
        }
        let start = self.at;
        let record = self.record();
        if record.is_none() {
            let offset = u64::try_from(start).unwrap_or(u64::MAX);
            self.at = self.content.len();
            return Err(UnpackError::Malformed { offset, detail: "a record is cut" });
        }
        let read = u64::try_from(self.at.saturating_sub(start)).unwrap_or(u64::MAX);
        sink.budget.charge_work(read.saturating_add(STEPS))?;
        Ok(record)
    }

    fn record(&mut self) -> Option<(u32, &'a [u8])> {
        let kind = self.number(2)?;
        let length = usize::try_from(self.number(4)?).ok()?;
        let data = self.content.get(self.at..self.at.checked_add(length)?)?;
        self.at = self.at.checked_add(length)?;
        // A type of two octets keeps the bit that says so ([MS-XLSB] 2.3).
        Some((kind, data))
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self, octets: u32) -> Option<u32> {
        let mut number = 0_u32;
        for index in 0..octets {
            let octet = *self.content.get(self.at)?;
            self.at = self.at.checked_add(1)?;
            number |= u32::from(octet & 0x7f) << index.saturating_mul(7);
            if octet & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }
}

/// A string with its count of characters before it, and where it ends.
fn string(data: &[u8], at: usize) -> Option<(String, usize)> {
    let count = u32_at(data, at)?;
    let start = at.checked_add(4)?;
    if count == u32::MAX {
        return Some((String::new(), start));
    }
    let end = start.checked_add(usize::try_from(count).ok()?.checked_mul(2)?)?;
    let text = encoding_rs::UTF_16LE.decode_without_bom_handling(data.get(start..end)?).0;
    Some((text.into_owned(), end))
}

/// Reads the list of sheets and the names (`workbook.bin`).
pub(super) fn workbook(
    content: &[u8],
    first_day: &mut FirstDay,
    sink: &mut Sink<'_, '_>,
) -> Result<Vec<Sheet>, UnpackError> {
    let mut records = Records::new(content);
    let mut sheets = Vec::new();
    while let Some((kind, data)) = records.next(sink)? {
        match kind {
            // BrtWbProp.
            153 if data.first().is_some_and(|flags| flags & 1 != 0) => {
                *first_day = FirstDay::In1904;
            }
            // BrtBundleSh: state, number, relationship, name.
            156 if sheets.len() >= MAX_SHEETS => {
                sink.budget.left_out("names of sheets past 10,000");
            }
            156 => {
                let state = u32_at(data, 0).unwrap_or(0);
                let Some((id, end)) = string(data, 8) else { continue };
                let Some((name, _)) = string(data, end) else { continue };
                let word = match state {
                    1 => "hidden",
                    2 => "veryhidden",
                    _ => "",
                };
                state_property(&name, word, sink);
                sheets.push(Sheet { name, hidden: !word.is_empty(), id });
            }
            // BrtName: flags, key, sheet, name.
            39 => {
                if let Some((name, end)) = string(data, 9) {
                    defined_name(&name, &constants(data, end), sink);
                }
            }
            _ => {}
        }
    }
    Ok(sheets)
}

/// Reads the shared strings (`sharedStrings.bin`).
pub(super) fn strings(
    content: &[u8],
    strings: &mut Strings,
    sink: &mut Sink<'_, '_>,
) -> Result<(), UnpackError> {
    let mut records = Records::new(content);
    while let Some((kind, data)) = records.next(sink)? {
        // BrtSSTItem: flags, string.
        if kind == 19 {
            strings.push(&string(data, 1).map_or_else(String::new, |(text, _)| text));
        }
    }
    Ok(())
}

/// Reads the number formats (`styles.bin`).
pub(super) fn styles(
    content: &[u8],
    formats: &mut Formats,
    sink: &mut Sink<'_, '_>,
) -> Result<(), UnpackError> {
    let mut records = Records::new(content);
    let mut in_cells = false;
    while let Some((kind, data)) = records.next(sink)? {
        match kind {
            // BrtFmt: number, code.
            44 => {
                let code = string(data, 2).map_or_else(String::new, |(code, _)| code);
                formats.define(u16_at(data, 0).map_or(u32::MAX, u32::from), &code);
            }
            // BrtBeginCellXFs, BrtEndCellXFs.
            617 => in_cells = true,
            618 => in_cells = false,
            // BrtXF: parent, number format.
            47 if in_cells => formats.add_cell(u16_at(data, 2).map_or(u32::MAX, u32::from)),
            _ => {}
        }
    }
    Ok(())
}

/// Reads one sheet: `listed` is how the workbook lists it.
pub(super) fn sheet(
    content: &[u8],
    (listed, is_macro): (&Sheet, bool),
    (strings, formats, relations): (&Strings, &Formats, &mut Relations),
    sink: &mut Sink<'_, '_>,
) -> Result<(), UnpackError> {
    let kind = if listed.hidden { TextKind::Hidden } else { TextKind::Shown };
    sink.text(kind, &listed.name);
    let mut row = Row::new(listed.hidden);
    let (mut records, mut code) = (Records::new(content), String::new());
    let result = loop {
        let (kind, data) = match records.next(sink) {
            Ok(Some(record)) => record,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match kind {
            // BrtRowHdr; one bit of its flags says that the row is hidden.
            0 => {
                row.emit(sink);
                row.hidden = data.get(11).is_some_and(|flags| flags & 0x10 != 0);
            }
            1..=11 | 62 => {
                let value = cell(kind, data, (strings, formats));
                row.add(&value.text, row.hidden, sink)?;
                if !value.formula.is_empty() {
                    row.formula("", &value.formula, sink)?;
                    formula::report(&value.formula, sink);
                }
                if is_macro && code.len() < MAX_CODE {
                    code.extend([value.text.as_str(), "\t", &value.formula, "\n"]);
                } else if is_macro {
                    sink.left_out(Limit::EntityBytes);
                }
            }
            494 => hyperlink(data, relations, sink),
            _ => {}
        }
    };
    row.emit(sink);
    if is_macro {
        sink.active(ActiveKind::Xlm, &listed.name);
        if !code.trim().is_empty() {
            sink.code(&format!("{}.xlm", listed.name), code)?;
        }
    }
    result
}

/// BrtHLink: range, relationship, place, tip, shown text.
fn hyperlink(data: &[u8], relations: &mut Relations, sink: &mut Sink<'_, '_>) {
    let Some((id, end)) = string(data, 16) else { return };
    let shown = string(data, end)
        .and_then(|(_, end)| string(data, end))
        .and_then(|(_, end)| string(data, end));
    relations.link(&id, &shown.map_or_else(String::new, |(text, _)| text), sink);
}

/// A link to another workbook or a DDE server (`externalLink.bin`).
pub(super) fn external_link(content: &[u8], sink: &mut Sink<'_, '_>) -> Result<(), UnpackError> {
    let mut records = Records::new(content);
    while let Some((kind, data)) = records.next(sink)? {
        // BrtBeginSupBook: 1 is DDE, 2 is OLE; then two strings.
        if kind != 360 {
            continue;
        }
        let Some((first, end)) = string(data, 2) else { continue };
        let second = string(data, end).map_or_else(String::new, |(text, _)| text);
        match u16_at(data, 0) {
            Some(1) => sink.active(ActiveKind::Dde, &format!("{first}|{second}")),
            Some(2) => sink.active(ActiveKind::OleLink, &format!("{first} {second}")),
            _ => {}
        }
    }
    Ok(())
}

struct Value {
    text: String,
    formula: String,
}

/// A cell ([MS-XLSB] 2.2.1): column and style, then its value, then for some its formula.
fn cell(kind: u32, data: &[u8], (strings, formats): (&Strings, &Formats)) -> Value {
    let style = u32_at(data, 4).and_then(|style| usize::try_from(style & 0xff_ffff).ok());
    let number = |number: f64| {
        let date = style.and_then(|style| formats.shown(style, number));
        date.unwrap_or_else(|| number.to_string())
    };
    let real = |at: usize| {
        let octets = data.get(at..at.saturating_add(8))?;
        Some(number(f64::from_le_bytes(octets.try_into().ok()?)))
    };
    let flag = |at: usize| data.get(at).map(|octet| if *octet == 0 { "FALSE" } else { "TRUE" });
    let (text, end) = match kind {
        2 => (u32_at(data, 8).map(|packed| number(rk(packed))), 12),
        4 | 10 => (flag(8).map(str::to_owned), 9),
        5 | 9 => (real(8), 16),
        6 | 8 => {
            let (text, end) = string(data, 8).unwrap_or_default();
            (Some(text), end)
        }
        7 => {
            let number = u32_at(data, 8).and_then(|number| usize::try_from(number).ok());
            (number.and_then(|number| strings.get(number)).map(str::to_owned), 12)
        }
        62 => (string(data, 9).map(|(text, _)| text), data.len()),
        _ => (None, 9),
    };
    let formula = if matches!(kind, 8..=11) { constants(data, end) } else { String::new() };
    Value { text: text.unwrap_or_default(), formula }
}

/// A number of 30 bits ([MS-XLSB] 2.5.123).
fn rk(packed: u32) -> f64 {
    let value = if packed & 2 != 0 {
        f64::from(packed.cast_signed() >> 2)
    } else {
        f64::from_bits(u64::from(packed & !3) << 32)
    };
    if packed & 1 != 0 { value / 100.0 } else { value }
}

/// The text constants of a formula: `PtgStr`, a count of characters, the characters.
fn constants(data: &[u8], from: usize) -> String {
    let mut found = Vec::new();
    let mut at = from;
    while let Some(step) = data.get(at..).and_then(|rest| memchr::memchr(0x17, rest)) {
        at = at.saturating_add(step).saturating_add(1);
        let count = u16_at(data, at).map_or(0, usize::from);
        let start = at.saturating_add(2);
        let end = start.saturating_add(count.saturating_mul(2));
        let Some(octets) = data.get(start..end).filter(|_| (1..=255).contains(&count)) else {
            continue;
        };
        let text = encoding_rs::UTF_16LE.decode_without_bom_handling(octets).0;
        if !text.chars().any(|character| character.is_control() || character == '\u{fffd}') {
            found.push(format!("\"{text}\""));
            at = end;
        }
    }
    found.join(" ")
}
