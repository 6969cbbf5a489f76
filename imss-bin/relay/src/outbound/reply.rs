//! Replies of a server (RFC 5321 §4.2), bounded and escaped.
//!
//! In: one line after the other. Out: the code, and text that is printable ASCII whatever was sent:
//! any other octet becomes `\xHH`, and text beyond 500 characters is cut.

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a server replied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReply {
    /// The reply code, 200 to 599.
    pub code: u16,
    /// The enhanced status code (RFC 2034), if the text began with one of the code's class.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text without it, lines joined by a space; printable ASCII, bounded.
    pub text: String,
}

impl ServerReply {
    /// Whether it is 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The enhanced status code; without one, the class of the code and zeros.
    #[must_use]
    pub fn enhanced_or_class(&self) -> (u8, u16, u16) {
        self.enhanced.unwrap_or((class(self.code), 0, 0))
    }
}

impl fmt::Display for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// A reply as it came: lines joined by LF, at most [`MAX_RAW_BYTES`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawReply {
    /// 200 to 599.
    pub(super) code: u16,
    text: Vec<u8>,
}

const MAX_RAW_BYTES: usize = 16 << 10;
const MAX_TEXT_CHARS: usize = 500;

impl RawReply {
    pub(super) fn new(code: u16) -> Self {
        Self { code, text: Vec::new() }
    }

    /// Adds a line's text; text beyond the bound is dropped.
    pub(super) fn push(&mut self, text: &[u8]) {
        if !self.text.is_empty() {
            self.text.push(b'\n');
        }
        let room = MAX_RAW_BYTES.saturating_sub(self.text.len());
        self.text.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
    }

    pub(super) fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The lines, for EHLO.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    /// The reply for logs, DSNs and our own client.
    pub(super) fn to_server_reply(&self) -> ServerReply {
        let mut text = String::new();
        let mut enhanced = None;
        for (index, line) in self.lines().enumerate() {
            let (status, rest) = split_enhanced(line, class(self.code));
            if index == 0 {
                enhanced = status;
            } else {
                text.push(' ');
            }
            // Each line repeats the code (RFC 2034 §4); said once is enough.
            push_escaped(
                if status.is_some() && status == enhanced { rest } else { line },
                &mut text,
            );
            if text.len() >= MAX_TEXT_CHARS {
                text.truncate(MAX_TEXT_CHARS);
                text.push_str("...");
                break;
            }
        }
        ServerReply { code: self.code, enhanced, text: text.trim().to_owned() }
    }
}

/// One reply line: its code, whether it is the last, and its text. `None` if it is no reply line.
pub(super) fn parse_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(is_digit))?;
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn class(code: u16) -> u8 {
    u8::try_from(code / 100).unwrap_or(4)
}

/// `5.1.1 no such user` → the status code and the rest; only if its class is `class`.
fn split_enhanced(line: &[u8], class: u8) -> (Option<(u8, u16, u16)>, &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let parse = || {
        let mut numbers = std::str::from_utf8(word).ok()?.split('.').map(|number| {
            let fine = (1..=3).contains(&number.len()) && number.bytes().all(is_digit);
            number.parse::<u16>().ok().filter(|_| fine)
        });
        let status = (numbers.next()??, numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && status.0 == u16::from(class))
            .then_some((class, status.1, status.2))
    };
    match parse() {
        Some(status) => (Some(status), rest.strip_prefix(b" ").unwrap_or(rest)),
        None => (None, line),
    }
}

fn push_escaped(line: &[u8], text: &mut String) {
    for byte in line {
        match byte {
            b' '..=b'~' => text.push(char::from(*byte)),
            b'\t' => text.push(' '),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(text, "\\x{byte:02X}");
            }
        }
        if text.len() >= MAX_TEXT_CHARS {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&[u8]]) -> ServerReply {
        let mut raw = RawReply::new(code);
        lines.iter().for_each(|line| raw.push(line));
        raw.to_server_reply()
    }

    #[test]
    fn lines() {
        type Line<'a> = Option<(u16, bool, &'a [u8])>;
        let cases: [(&str, &[u8], Line<'_>); 9] = [
            ("a last line", b"250 ok", Some((250, true, b"ok"))),
            ("more to come", b"250-SIZE", Some((250, false, b"SIZE"))),
            ("a code alone", b"354", Some((354, true, b""))),
            ("no separator", b"250ok", None),
            ("too short", b"25", None),
            ("class 1", b"150 ok", None),
            ("class 6", b"600 ok", None),
            ("a sign", b"+25 ok", None),
            ("not digits", b"HTTP/1.1 400", None),
        ];
        for (name, line, expected) in cases {
            assert_eq!(parse_line(line), expected, "{name}");
        }
    }

    #[test]
    fn texts() {
        let cases: [(&str, u16, &[&[u8]], &str); 7] = [
            ("plain", 250, &[b"ok"], "250 ok"),
            ("enhanced", 550, &[b"5.1.1 no"], "550 5.1.1 no"),
            ("enhanced on each line", 550, &[b"5.1.1 no", b"5.1.1 such"], "550 5.1.1 no such"),
            ("of another class", 450, &[b"5.1.1 no"], "450 5.1.1 no"),
            ("control characters", 550, &[b"a\x1b[2Jb\0"], "550 a\\x1B[2Jb\\x00"),
            ("not UTF-8", 550, &[b"\x82\xa0"], "550 \\x82\\xA0"),
            ("empty", 250, &[b""], "250"),
        ];
        for (name, code, lines, expected) in cases {
            assert_eq!(reply(code, lines).to_string(), expected, "{name}");
        }
        assert_eq!(reply(450, &[b"5.1.1 no"]).enhanced, None);
        assert_eq!(reply(550, &[b"5.1.1 no"]).enhanced, Some((5, 1, 1)));
    }

    #[test]
    fn long_text_is_cut() {
        let line = vec![b'x'; 4_000];
        assert_eq!(reply(550, &[&line, &line]).text.len(), MAX_TEXT_CHARS + 3);
        assert!(reply(550, &[&vec![0_u8; 4_000]]).text.len() < MAX_TEXT_CHARS + 8);
    }
}
