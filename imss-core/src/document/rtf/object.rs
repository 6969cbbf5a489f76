//! The data of an object in rich text (`\objdata`): hexadecimal digits, however they are hidden.
//!
//! In: what lies in the group, digit by digit. Out: the octets, in each way that a reader could put
//! the digits together, until one is an object.

use super::super::ole1;
use super::lex::nibble;

/// A digit written as it should be.
const PLAIN: u8 = 0;
/// A digit of `\'hh`, which Word does not count.
const QUOTED: u8 = 0x10;
/// A digit in a group that other readers skip.
const NESTED: u8 = 0x20;

/// Digits as they were met.
#[derive(Debug, Default)]
pub(super) struct Digits {
    digits: Vec<u8>,
    blanks: usize,
    tricks: usize,
}

impl Digits {
    /// Text in the group. `is_nested` if the group is one that readers skip.
    pub(super) fn text(&mut self, text: &[u8], is_nested: bool) {
        let mark = if is_nested { NESTED } else { PLAIN };
        for octet in text {
            if octet.is_ascii_hexdigit() {
                self.digits.push(nibble(*octet) | mark);
            } else {
                self.blanks = self.blanks.saturating_add(1);
            }
        }
    }

    /// `\'hh` in the group.
    pub(super) fn quoted(&mut self, octet: u8) {
        self.digits.extend([octet >> 4 | QUOTED, octet & 0xf | QUOTED]);
        self.trick();
    }

    /// Octets of `\bin` in the group.
    pub(super) fn binary(&mut self, octets: &[u8]) {
        self.digits.extend(octets.iter().flat_map(|octet| [octet >> 4, octet & 0xf]));
    }

    /// A control word or group between digits.
    pub(super) fn trick(&mut self) {
        self.tricks = self.tricks.saturating_add(usize::from(!self.digits.is_empty()));
    }

    /// A line end between digits.
    pub(super) fn line_end(&mut self) {
        self.blanks = self.blanks.saturating_add(1);
    }

    /// How the digits are hidden, if they are.
    pub(super) fn disguise(&self) -> Option<&'static str> {
        if self.digits.len() < 8 {
            None
        } else if self.tricks > 0 {
            Some("control words or groups between the digits of an object")
        } else if self.blanks > self.digits.len() / 8 {
            Some("white space between the digits of an object")
        } else {
            None
        }
    }

    /// The octets: the first reading that is an object, or the plain one.
    pub(super) fn octets(&self) -> Vec<u8> {
        let plain = self.reading(|mark| mark == PLAIN, false);
        if is_object(&plain) {
            return plain;
        }
        let attempt = |number| match number {
            0 => self.reading(|mark| mark == PLAIN, true),
            1 => self.reading(|mark| mark != NESTED, false),
            2 => self.reading(|mark| mark != QUOTED, false),
            3 => self.reading(|_| true, false),
            _ => self.odd(),
        };
        (0..5).map(attempt).find(|octets| is_object(octets)).unwrap_or(plain)
    }

    /// The digits that `is_wanted`; at a quoted octet the half octet before it is dropped if
    /// `drops`.
    fn reading(&self, is_wanted: impl Fn(u8) -> bool, drops: bool) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.digits.len() / 2);
        let mut high = None;
        for digit in &self.digits {
            let mark = digit & 0xf0;
            if drops && mark == QUOTED {
                high = None;
            }
            if is_wanted(mark) {
                match high.take() {
                    Some(high) => octets.push(high << 4 | digit & 0xf),
                    None => high = Some(digit & 0xf),
                }
            }
        }
        octets
    }

    /// Without the first digit: an odd one before the data shifts all others.
    fn odd(&self) -> Vec<u8> {
        let digits: Vec<u8> = self.digits.iter().skip(1).map(|digit| digit & 0xf).collect();
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit))
            .collect()
    }
}

fn is_object(octets: &[u8]) -> bool {
    ole1::object(octets).is_some() || memchr::memmem::find(octets, ole1::COMPOUND).is_some()
}
