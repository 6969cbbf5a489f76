//! A font dictionary (ISO 32000-2 §9.5 to §9.10) → the text and the width of character codes.
//!
//! In: the dictionary. Out: a [`Font`]. Texts come from the font's own map to Unicode, else from
//! its encoding and glyph names, else from its character collection. Glyphs are not looked at.
//!
//! What cannot be told is no text: [`Font::is_blind`] says that a font gives none at all.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_8, WINDOWS_1252};
use hayro_cmap::{BfString, CMap as Collection, CidFamily};

use memchr::memmem;

use super::cmap::{CMap, code};
use super::object::{Dict, Value};
use super::{Reader, bidi, text_string};
use crate::limits::Limit;

/// Steps of reading one width.
const WIDTH: u64 = 10;

/// Adobe's glyph names and their characters.
static GLYPHS: LazyLock<HashMap<&'static str, char>> = LazyLock::new(|| {
    let lines = include_str!("glyphs.txt").lines();
    let glyph = |line: &'static str| {
        let (name, code) = line.split_once(' ')?;
        Some((name, char::from_u32(u32::from_str_radix(code, 16).ok()?)?))
    };
    lines.filter_map(glyph).collect()
});

/// How codes become text.
#[derive(Debug)]
pub(super) struct Font {
    texts: Texts,
    widths: Widths,
    /// Written from top to bottom.
    pub(super) vertical: bool,
}

#[derive(Debug)]
enum Texts {
    /// One octet each.
    Simple(Vec<String>),
    /// Two octets each: the font's map, then its collection's.
    Wide(CMap, Option<Box<Collection>>),
    /// A legacy charset.
    Charset(&'static Encoding),
    /// Rows and cells of JIS X 0208.
    Jis,
    /// UTF-16.
    Utf16,
    /// UTF-32.
    Utf32,
}

#[derive(Debug)]
enum Widths {
    /// Of the codes from the first on, and of the others.
    Simple(u32, Vec<f64>, f64),
    /// Ranges of codes, and the others.
    Wide(Vec<(u32, u32, f64)>, f64),
    /// None given: one of the fonts that every reader has.
    Guessed,
}

impl Font {
    /// Reads a font.
    pub(super) fn read(reader: &mut Reader<'_, '_>, dict: &Dict) -> Result<Self, Limit> {
        let store = reader.store;
        let mut map = CMap::default();
        if let Some(Value::Ref(number)) = dict.get(b"ToUnicode")
            && let Some(place) = store.place(*number)
        {
            let decoded = reader.decode(place)?;
            reader.budget.charge_work((decoded.bytes.len() as u64).saturating_mul(4))?;
            map = CMap::read(&decoded.bytes);
            if map.is_cut {
                reader.budget.left_out("texts of a font past 100,000, or longer than 512 octets");
            }
        }
        let descendants = store.get(dict, b"DescendantFonts");
        let descendant = match descendants {
            Value::Array(list) => list.first().and_then(|font| store.resolve(font).dict()),
            single => single.dict(),
        };
        if let Some(descendant) = descendant {
            return Self::wide(reader, dict, descendant, map);
        }
        reader.budget.charge_work(20_000)?;
        let texts = Texts::Simple(simple(reader, dict, &map)?);
        Ok(Self { texts, widths: simple_widths(reader, dict)?, vertical: false })
    }

    fn wide(
        reader: &mut Reader<'_, '_>,
        dict: &Dict,
        descendant: &Dict,
        map: CMap,
    ) -> Result<Self, Limit> {
        let store = reader.store;
        let encoding = store.get(dict, b"Encoding").name().unwrap_or(b"Identity-H");
        let texts = match charset(encoding) {
            _ if encoding.starts_with(b"Uni") => match () {
                () if memmem::find(encoding, b"UTF8").is_some() => Texts::Charset(UTF_8),
                () if memmem::find(encoding, b"UTF32").is_some() => Texts::Utf32,
                () => Texts::Utf16,
            },
            _ if matches!(encoding, b"H" | b"V") => Texts::Jis,
            Some(charset) => Texts::Charset(charset),
            None => {
                let collection = map.is_empty().then(|| collection(reader, descendant)).flatten();
                Texts::Wide(map, collection.map(Box::new))
            }
        };
        let widths = wide_widths(reader, descendant)?;
        Ok(Self { texts, widths, vertical: encoding.ends_with(b"-V") || encoding == b"V" })
    }

    /// Whether no code of it can be told.
    pub(super) fn is_blind(&self) -> bool {
        matches!(&self.texts, Texts::Wide(map, None) if map.is_empty())
    }

    /// Whether its widths are guesses.
    pub(super) fn is_guessed(&self) -> bool {
        matches!(self.widths, Widths::Guessed)
    }

    /// The text of a string, its width in units of the font size, its codes, and its codes of one
    /// octet that are spaces.
    pub(super) fn show(&self, string: &[u8]) -> Shown {
        let mut shown = Shown::default();
        match &self.texts {
            Texts::Simple(table) => {
                for &octet in string {
                    let text = table.get(usize::from(octet)).map_or("", String::as_str);
                    shown.push(text);
                    shown.width += self.width(u32::from(octet), text);
                    shown.codes += 1.0;
                    shown.spaces += if octet == b' ' { 1.0 } else { 0.0 };
                }
            }
            Texts::Wide(map, collection) => {
                for pair in string.chunks(2) {
                    let code = code(pair);
                    let text = map.get(code).or_else(|| collected(collection.as_deref()?, code));
                    shown.push(text.as_deref().unwrap_or_default());
                    shown.width += self.width(code, "");
                    shown.codes += 1.0;
                }
            }
            Texts::Charset(charset) => {
                shown.text = charset.decode_without_bom_handling(string).0.into_owned();
                shown.measure();
            }
            Texts::Jis => {
                let high: Vec<u8> = string.iter().map(|octet| octet | 0x80).collect();
                shown.text = EUC_JP.decode_without_bom_handling(&high).0.into_owned();
                shown.measure();
            }
            Texts::Utf16 => {
                let units = string.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
                shown.text = String::from_utf16_lossy(&units.collect::<Vec<_>>());
                shown.measure();
            }
            Texts::Utf32 => {
                let codes = string.as_chunks::<4>().0.iter().map(|code| u32::from_be_bytes(*code));
                let character = |code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                shown.text = codes.map(character).collect();
                shown.measure();
            }
        }
        shown
    }

    fn width(&self, code: u32, text: &str) -> f64 {
        match &self.widths {
            Widths::Simple(first, list, other) => {
                let place = code.checked_sub(*first).and_then(|place| usize::try_from(place).ok());
                place.and_then(|place| list.get(place)).copied().unwrap_or(*other)
            }
            Widths::Wide(ranges, other) => {
                let after = ranges.partition_point(|&(first, _, _)| first <= code);
                let range = after.checked_sub(1).and_then(|place| ranges.get(place));
                range.filter(|range| code <= range.1).map_or(*other, |range| range.2)
            }
            Widths::Guessed => guessed(text),
        }
    }
}

/// What a string shows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) width: f64,
    pub(super) codes: f64,
    pub(super) spaces: f64,
}

impl Shown {
    /// The text of one glyph as it stands on the page: a ligature of Arabic letters is read from its
    /// right end.
    fn push(&mut self, text: &str) {
        if bidi::is_any_right_to_left(text) {
            self.text.extend(text.chars().rev());
        } else {
            self.text.push_str(text);
        }
    }

    /// The width of East Asian text: half for ASCII, full for the others.
    fn measure(&mut self) {
        for character in self.text.chars() {
            self.width += if character.is_ascii() { 0.5 } else { 1.0 };
            self.codes += 1.0;
        }
    }
}

/// About as wide as in Helvetica.
fn guessed(text: &str) -> f64 {
    match text.chars().next() {
        Some('i' | 'j' | 'l' | '\'' | '|') => 0.22,
        Some(' ' | 't' | 'f' | 'I' | '.' | ',' | ':' | ';' | '!' | '/' | '[' | ']') => 0.28,
        Some('(' | ')' | 'r' | '-' | '`' | '"' | '*') => 0.34,
        Some('m' | 'M' | '%') => 0.85,
        Some('w' | 'C' | 'D' | 'G' | 'H' | 'N' | 'O' | 'Q' | 'R' | 'U') => 0.73,
        Some('W' | '@') => 0.97,
        Some('A' | 'B' | 'E' | 'K' | 'P' | 'S' | 'V' | 'X' | 'Y' | 'Z' | 'F' | 'T') => 0.65,
        Some('c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | 'J') => 0.5,
        _ => 0.556,
    }
}

/// The texts of the 256 codes of a simple font.
fn simple(reader: &mut Reader<'_, '_>, dict: &Dict, map: &CMap) -> Result<Vec<String>, Limit> {
    let store = reader.store;
    let encoding = store.get(dict, b"Encoding");
    let base = match encoding {
        Value::Dict(dict) => dict.name(b"BaseEncoding"),
        value => value.name(),
    };
    let mut table: Vec<String> = (0..=255_u8).map(|octet| base_text(base, octet)).collect();
    if let Some(differences) =
        encoding.dict().and_then(|dict| store.get(dict, b"Differences").array())
    {
        let mut code = 0_usize;
        reader.budget.charge_work((differences.len() as u64).saturating_mul(WIDTH))?;
        for item in differences {
            match store.resolve(item) {
                Value::Number(_) => code = item.length().unwrap_or(usize::MAX),
                Value::Name(name) => {
                    if let Some(slot) = table.get_mut(code)
                        && let Some(text) = glyph(name)
                    {
                        *slot = text;
                    }
                    code = code.saturating_add(1);
                }
                _ => {}
            }
        }
    }
    for (code, slot) in (0_u32..).zip(&mut table) {
        if let Some(text) = map.get(code) {
            *slot = text;
        }
    }
    Ok(table)
}

fn base_text(base: Option<&[u8]>, octet: u8) -> String {
    if octet < 0x20 {
        return String::new();
    }
    match base {
        Some(b"MacRomanEncoding" | b"MacExpertEncoding") => {
            encoding_rs::MACINTOSH.decode_without_bom_handling(&[octet]).0.into_owned()
        }
        Some(b"PDFDocEncoding") => text_string::text(&[octet]),
        _ => WINDOWS_1252.decode_without_bom_handling(&[octet]).0.into_owned(),
    }
}

/// The text of a glyph name: listed, `uniXXXX`, `uXXXXX`, and what is before a dot.
fn glyph(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.split_once('.').map_or(name, |(name, _)| name);
    if let Some(character) = GLYPHS.get(name) {
        return Some(character.to_string());
    }
    let ligature = match name {
        "f_f" => "ff",
        "f_i" => "fi",
        "f_l" => "fl",
        "f_f_i" => "ffi",
        "f_f_l" => "ffl",
        "T_h" => "Th",
        _ => "",
    };
    if !ligature.is_empty() {
        return Some(ligature.to_owned());
    }
    let digits = name.strip_prefix("uni").or_else(|| name.strip_prefix('u'))?;
    let code = u32::from_str_radix(digits.get(..digits.len().min(6))?, 16).ok()?;
    char::from_u32(code).map(String::from)
}

fn simple_widths(reader: &mut Reader<'_, '_>, dict: &Dict) -> Result<Widths, Limit> {
    let store = reader.store;
    let Some(list) = store.get(dict, b"Widths").array() else { return Ok(Widths::Guessed) };
    reader.budget.charge_work((list.len() as u64).saturating_mul(WIDTH))?;
    // The glyphs of a Type 3 font have a scale of their own (§9.6.4).
    let matrix = store.get(dict, b"FontMatrix").array().and_then(<[Value]>::first);
    let scale = matrix.and_then(Value::number).map_or(0.001, f64::abs);
    let number = |value| store.resolve(value).number().unwrap_or(0.0) * scale;
    let list = list.iter().take(256).map(number).collect();
    let first = store.get(dict, b"FirstChar").integer().unwrap_or(0);
    let descriptor = store.dict(dict, b"FontDescriptor");
    let other = descriptor.and_then(|descriptor| store.get(descriptor, b"MissingWidth").number());
    Ok(Widths::Simple(u32::try_from(first).unwrap_or(0), list, other.unwrap_or(0.0) * scale))
}

/// Widths of the glyphs of a CIDFont (§9.7.4.3): `first [w w w]` and `first last w`.
fn wide_widths(reader: &mut Reader<'_, '_>, dict: &Dict) -> Result<Widths, Limit> {
    let store = reader.store;
    let other = store.get(dict, b"DW").number().unwrap_or(1000.0) / 1000.0;
    let items = store.get(dict, b"W").array().unwrap_or_default();
    reader.budget.charge_work((items.len() as u64).saturating_mul(WIDTH))?;
    let mut ranges = Vec::new();
    let mut items = items.iter().map(|item| store.resolve(item));
    while let (Some(first), Some(second)) = (items.next(), items.next()) {
        let first = u32::try_from(first.integer().unwrap_or(0)).unwrap_or(0);
        match second {
            Value::Array(widths) => {
                reader.budget.charge_work((widths.len() as u64).saturating_mul(WIDTH))?;
                for (code, width) in (first..).zip(widths.iter().take(1 << 16)) {
                    let width = store.resolve(width).number().unwrap_or(0.0) / 1000.0;
                    ranges.push((code, code, width));
                }
            }
            last => {
                let last = u32::try_from(last.integer().unwrap_or(0)).unwrap_or(0);
                let width = items.next().and_then(Value::number).unwrap_or(0.0) / 1000.0;
                ranges.push((first, last, width));
            }
        }
    }
    ranges.sort_by_key(|&(first, _, _)| first);
    Ok(Widths::Wide(ranges, other))
}

/// The charset of a predefined map (§9.7.5.2).
fn charset(encoding: &[u8]) -> Option<&'static Encoding> {
    let name = std::str::from_utf8(encoding).ok()?;
    match name {
        _ if name.contains("RKSJ") => Some(SHIFT_JIS),
        "EUC-H" | "EUC-V" => Some(EUC_JP),
        _ if name.contains("GBK") || name.starts_with("GB") => Some(GBK),
        _ if name.contains("B5") => Some(BIG5),
        _ if name.starts_with("KSC") => Some(EUC_KR),
        _ => None,
    }
}

/// What maps the glyphs of a character collection to Unicode.
fn collection(reader: &Reader<'_, '_>, descendant: &Dict) -> Option<Collection> {
    let store = reader.store;
    let info = store.dict(descendant, b"CIDSystemInfo")?;
    let text = |key: &[u8]| match store.get(info, key) {
        Value::Text(text) => text.to_vec(),
        _ => Vec::new(),
    };
    let family = CidFamily::from_registry_ordering(&text(b"Registry"), &text(b"Ordering"));
    let data = hayro_cmap::load_embedded(family.ucs2_cmap()?)?;
    Collection::parse(data, hayro_cmap::load_embedded)
}

fn collected(collection: &Collection, code: u32) -> Option<String> {
    match collection.lookup_bf_string(code)? {
        BfString::Char(character) => Some(character.into()),
        BfString::String(text) => Some(text),
    }
}
