//! Strings of a workbook ([MS-XLS] 2.5.293, 2.5.294, 2.4.265).
//!
//! In: the octets of a record and of those that continue it. Out: text. A string that breaks
//! between two records says its width again after the break. What is cut short is what there is.

use crate::archive::le::{length, u16_at, u32_at};
use crate::document::codepage;

/// Reads over the bodies of a record and its continuations.
pub(super) struct Pieces<'a> {
    bodies: Vec<&'a [u8]>,
    body: usize,
    at: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(first: &'a [u8], rest: Vec<&'a [u8]>) -> Self {
        let mut bodies = vec![first];
        bodies.extend(rest);
        Self { bodies, body: 0, at: 0 }
    }

    /// What is left of the body that is being read; the next one if nothing is.
    fn left(&mut self) -> &'a [u8] {
        while let Some(body) = self.bodies.get(self.body) {
            match body.get(self.at..).filter(|left| !left.is_empty()) {
                Some(left) => return left,
                None => self.next_body(),
            }
        }
        &[]
    }

    fn next_body(&mut self) {
        self.body += 1;
        self.at = 0;
    }

    fn octet(&mut self) -> Option<u8> {
        let octet = self.left().first().copied()?;
        self.at += 1;
        Some(octet)
    }

    fn number(&mut self, octets: usize) -> Option<u32> {
        let mut number = 0;
        for place in 0..octets {
            number |= u32::from(self.octet()?) << (8 * place);
        }
        Some(number)
    }

    fn skip(&mut self, mut octets: usize) {
        while octets > 0 {
            let left = self.left().len().min(octets);
            if left == 0 {
                return;
            }
            self.at += left;
            octets -= left;
        }
    }

    /// Letters that may break between bodies.
    pub(super) fn letters(&mut self, mut count: usize, mut is_wide: bool) -> String {
        let mut text = String::new();
        while count > 0 {
            let left = self.left();
            let width = if is_wide { 2 } else { 1 };
            let here = (left.len() / width).min(count);
            text.push_str(&letters(left.get(..here * width).unwrap_or_default(), is_wide));
            self.at += here * width;
            count -= here;
            if count > 0 {
                self.next_body();
                let Some(flags) = self.octet() else { break };
                is_wide = flags & 1 != 0;
            }
        }
        text
    }

    /// A string with its formats and phonetic letters, which are passed over.
    fn rich(&mut self) -> Option<String> {
        let count = length(self.number(2)?.into());
        let flags = self.octet()?;
        let runs = if flags & 8 != 0 { self.number(2)? } else { 0 };
        let extra = if flags & 4 != 0 { self.number(4)? } else { 0 };
        let text = self.letters(count, flags & 1 != 0);
        self.skip(length(runs.into()) * 4);
        self.skip(length(extra.into()));
        Some(text)
    }
}

/// The shared strings: octets of all of them in one text, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Shared {
    text: String,
    ends: Vec<usize>,
}

impl Shared {
    /// Reads the table. Its claimed count is not believed.
    pub(super) fn read(first: &[u8], rest: Vec<&[u8]>) -> Self {
        let mut shared = Self::default();
        let claimed = u32_at(first, 4).map_or(0, |count| length(count.into()));
        let mut pieces = Pieces::new(first, rest);
        pieces.skip(8);
        while shared.ends.len() < claimed {
            let Some(text) = pieces.rich() else { break };
            shared.text.push_str(&text);
            shared.ends.push(shared.text.len());
        }
        shared
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.text.get(start.unwrap_or_default()..end)
    }
}

/// Letters of one or two octets each.
fn letters(octets: &[u8], is_wide: bool) -> String {
    if is_wide {
        let units = octets.chunks_exact(2).filter_map(|pair| u16_at(pair, 0));
        String::from_utf16_lossy(&units.collect::<Vec<_>>())
    } else {
        octets.iter().copied().map(char::from).collect()
    }
}

/// How strings of a workbook are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Excel 97 and later.
    pub(super) is_new: bool,
    /// The code page before.
    pub(super) page: u32,
}

impl Style {
    /// A string of `count` letters at the start of `octets`, and the octets it takes.
    pub(super) fn counted(self, octets: &[u8], count: usize) -> (String, usize) {
        if !self.is_new {
            let octets = octets.get(..count.min(octets.len())).unwrap_or_default();
            return (codepage::decode(octets, self.page), octets.len());
        }
        let is_wide = octets.first().is_some_and(|flags| flags & 1 != 0);
        let own = count * if is_wide { 2 } else { 1 };
        let body = octets.get(1..(own + 1).min(octets.len())).unwrap_or_default();
        (letters(body, is_wide), body.len() + 1)
    }

    /// A string after its count of one octet.
    pub(super) fn short(self, octets: &[u8]) -> (String, usize) {
        let count = octets.first().copied().map_or(0, usize::from);
        let (text, taken) = self.counted(octets.get(1..).unwrap_or_default(), count);
        (text, taken + 1)
    }

    /// A string after its count of two octets.
    pub(super) fn long(self, octets: &[u8]) -> (String, usize) {
        let count = u16_at(octets, 0).map_or(0, usize::from);
        let (text, taken) = self.counted(octets.get(2..).unwrap_or_default(), count);
        (text, taken + 2)
    }
}
