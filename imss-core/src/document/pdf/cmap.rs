//! Character codes → text, by the maps that a font carries (ISO 32000-2 §9.7.5, §9.10.3).
//!
//! In: a decoded CMap stream. Out: a [`CMap`]. Ranges stay ranges, so a map costs what its octets
//! cost, whatever it claims to span. What is no map gives an empty one.

use super::object::{Lexer, Token};

/// Entries of one map.
const MAX_ENTRIES: usize = 100_000;
/// Octets of the text of one code.
const MAX_TEXT: usize = 512;

/// A map from codes to text.
#[derive(Debug, Default)]
pub(super) struct CMap {
    /// First code, last code, UTF-16 of the first; sorted.
    ranges: Vec<(u32, u32, Vec<u16>)>,
    /// Entries were left out.
    pub(super) is_cut: bool,
}

impl CMap {
    /// Reads a map.
    pub(super) fn read(data: &[u8]) -> Self {
        let mut map = Self::default();
        let mut lexer = Lexer::new(data, 0);
        while let Some(token) = lexer.token() {
            match token {
                Token::Word(b"beginbfchar") => map.characters(&mut lexer),
                Token::Word(b"beginbfrange") => map.ranges(&mut lexer),
                _ => {}
            }
        }
        map.ranges.sort_by_key(|&(first, _, _)| first);
        map
    }

    /// The text of a code.
    pub(super) fn get(&self, code: u32) -> Option<String> {
        let after = self.ranges.partition_point(|&(first, _, _)| first <= code);
        let (first, last, text) = self.ranges.get(after.checked_sub(1)?)?;
        if code > *last {
            return None;
        }
        let mut text = text.clone();
        let offset = u16::try_from(code.checked_sub(*first)?).ok()?;
        if let Some(unit) = text.last_mut() {
            *unit = unit.wrapping_add(offset);
        }
        let text = String::from_utf16_lossy(&text);
        // Maps of broken writers send every code to nothing or to NUL.
        (!text.chars().all(|character| character == '\0')).then_some(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn characters(&mut self, lexer: &mut Lexer<'_>) {
        while let Some(Token::Text(first)) = lexer.token() {
            let Some(Token::Text(text)) = lexer.token() else { return };
            let code = code(&first);
            self.push(code, code, &text);
        }
    }

    fn ranges(&mut self, lexer: &mut Lexer<'_>) {
        while let Some(Token::Text(first)) = lexer.token() {
            let Some(Token::Text(last)) = lexer.token() else { return };
            let (first, last) = (code(&first), code(&last));
            match lexer.token() {
                Some(Token::Text(text)) => self.push(first, last, &text),
                Some(Token::Open) => {
                    let mut code = first;
                    while let Some(Token::Text(text)) = lexer.token() {
                        self.push(code, code, &text);
                        code = code.saturating_add(1);
                    }
                }
                _ => return,
            }
        }
    }

    fn push(&mut self, first: u32, last: u32, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.ranges.len() >= MAX_ENTRIES || text.len() > MAX_TEXT {
            self.is_cut = true;
        } else {
            let units = match text {
                [octet] => vec![u16::from(*octet)],
                _ => text.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect(),
            };
            self.ranges.push((first, last, units));
        }
    }
}

/// A code of up to four octets.
pub(super) fn code(octets: &[u8]) -> u32 {
    octets.iter().take(4).fold(0, |code, &octet| code << 8 | u32::from(octet))
}
