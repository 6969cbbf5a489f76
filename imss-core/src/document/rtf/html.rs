//! Rich text that wraps HTML, as Outlook stores bodies → that HTML (MS-OXRTFEX §2.1.3).
//!
//! In: rich text. Out: the HTML, or `None` if it wraps none. What `\htmlrtf` encloses is for readers of
//! rich text and left out. Linear; the output is smaller than the input.

use std::collections::HashMap;

use super::MAX_DEPTH;
use super::lex::{Lexer, Token};
use super::state;
use super::text::Pending;
use crate::document::codepage::WESTERN;

/// Octets in which `\fromhtml` must occur.
const HEAD: usize = 1024;

#[derive(Clone, Copy)]
struct Group {
    is_skipped: bool,
    is_tag: bool,
    is_fonts: bool,
    page: Option<u32>,
    fallback: u32,
}

/// The HTML that `rtf` wraps. Fonts past the bound are told where the rest of the text is read.
pub(in crate::document) fn unwrap(rtf: &[u8]) -> Option<String> {
    let head = rtf.get(..rtf.len().min(HEAD))?;
    memchr::memmem::find(head, b"\\fromhtml")?;
    let outer =
        Group { is_skipped: false, is_tag: false, is_fonts: false, page: None, fallback: 1 };
    let mut wrapped = Wrapped {
        groups: vec![outer],
        fonts: HashMap::new(),
        font: 0,
        page: WESTERN,
        is_suppressed: false,
        is_starred: false,
        skip: 0,
        pending: Pending::default(),
        html: String::new(),
    };
    for token in Lexer::new(rtf) {
        wrapped.token(token);
    }
    let rest = wrapped.pending.take();
    wrapped.html.push_str(&rest);
    Some(wrapped.html)
}

struct Wrapped {
    groups: Vec<Group>,
    fonts: HashMap<i32, Option<u32>>,
    font: i32,
    page: u32,
    is_suppressed: bool,
    is_starred: bool,
    skip: u32,
    pending: Pending,
    html: String,
}

impl Wrapped {
    fn token(&mut self, token: Token<'_>) {
        let skips = self.skip > 0;
        match token {
            Token::Open => {
                self.skip = 0;
                if let Some(group) = self.groups.last().copied()
                    && self.groups.len() < MAX_DEPTH
                {
                    self.groups.push(group);
                }
            }
            Token::Close => {
                self.skip = 0;
                if self.groups.len() > 1 {
                    self.groups.pop();
                }
            }
            Token::Text(text) => {
                let count = text.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip = self.skip.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                self.octets(text.get(count..).unwrap_or_default());
            }
            Token::LineEnd | Token::Binary(_) => {}
            _ if skips => self.skip = self.skip.saturating_sub(1),
            Token::Hex(octet) => self.octets(&[octet]),
            Token::Symbol(b'*') => self.is_starred = true,
            Token::Symbol(symbol @ (b'\\' | b'{' | b'}')) => self.octets(&[symbol]),
            Token::Symbol(b'~') => self.shown("&nbsp;"),
            Token::Symbol(_) => {}
            Token::Word(word, parameter) => self.word(word, parameter),
        }
    }

    fn is_shown(&self) -> bool {
        let group = self.groups.last();
        group.is_some_and(|group| !group.is_skipped && (group.is_tag || !self.is_suppressed))
    }

    fn octets(&mut self, octets: &[u8]) {
        if self.is_shown() {
            let page = self.groups.last().and_then(|group| group.page);
            let before = self.pending.octets(octets, page.unwrap_or(self.page));
            self.html.push_str(&before);
        }
    }

    fn shown(&mut self, text: &str) {
        if self.is_shown() {
            let before = self.pending.take();
            self.html.push_str(&before);
            self.html.push_str(text);
        }
    }

    fn word(&mut self, word: &[u8], parameter: Option<i32>) {
        let is_starred = std::mem::take(&mut self.is_starred);
        let number = parameter.unwrap_or_default();
        let Some(group) = self.groups.last_mut() else { return };
        match word {
            b"htmltag" => group.is_tag = true,
            b"fonttbl" => (group.is_fonts, group.is_skipped) = (true, true),
            b"colortbl" | b"stylesheet" | b"info" | b"pntext" => group.is_skipped = true,
            b"htmlrtf" => self.is_suppressed = parameter != Some(0),
            b"ansicpg" => self.page = number.unsigned_abs(),
            b"f" if group.is_fonts => self.font = number,
            b"f" => group.page = self.fonts.get(&number).copied().flatten(),
            b"fcharset" if group.is_fonts && self.fonts.len() < super::MAX_FONTS => {
                self.fonts.insert(self.font, state::page_of_charset(number, self.page));
            }
            b"uc" => group.fallback = number.unsigned_abs().min(64),
            b"u" => {
                self.skip = group.fallback;
                if self.is_shown() {
                    let unit = u16::try_from((number & 0xffff).unsigned_abs()).unwrap_or_default();
                    let text = self.pending.unit(unit);
                    self.html.push_str(&text);
                }
            }
            b"par" | b"line" => self.shown("\r\n"),
            _ if is_starred => group.is_skipped = true,
            _ => {
                if let Some(text) = state::character(word) {
                    self.shown(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_unwrapped() {
        let cases: [(&str, &[u8], Option<&str>); 3] = [
            (
                "tags, text and what is for others",
                b"{\\rtf1\\ansi\\ansicpg932\\fromhtml1 \\deff0{\\fonttbl{\\f0 A;}}{\\*\\htmltag64 <p>}\
                \\htmlrtf \\b bold \\htmlrtf0 \\'93\\'fa\\u26412 ?{\\*\\htmltag84 &amp;}{\\*\\mhtmltag84 x}\\par \\{}",
                Some("<p>日本&amp;\r\n{"),
            ),
            (
                "a font's page",
                b"{\\rtf1\\fromhtml1{\\fonttbl{\\f1\\fcharset204 A;}}{\\htmlrtf\\f1\\htmlrtf0 \\'cf}}",
                Some("П"),
            ),
            ("plain rich text", b"{\\rtf1\\ansi text}", None),
        ];
        for (name, rtf, expected) in cases {
            assert_eq!(unwrap(rtf).as_deref(), expected, "{name}");
        }
    }
}
