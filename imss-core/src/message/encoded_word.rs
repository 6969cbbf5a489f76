//! Header values → text: unfolding, encoded words (RFC 2047), raw 8-bit.
//!
//! In: a raw value. Out: text. Adjacent encoded words of one charset are decoded together, because
//! senders split characters and ISO-2022-JP shifts between them. What looks like an encoded word
//! but is none stays as it is. Work is linear in the value's length.

use memchr::memmem;

use super::transfer;
use crate::charset;

/// Unfolds and decodes a value, without white space around it.
pub(crate) fn decode_value(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for piece in pieces(raw) {
        match piece {
            Piece::Plain(octets) => push_unfolded(&mut text, octets),
            Piece::Encoded { charset, octets } => {
                text.push_str(&charset::decode(&octets, Some(&charset)).text);
            }
        }
    }
    // A line end inside an encoded word must not become one in a field.
    text.trim().replace(['\r', '\n'], " ")
}

/// Puts adjacent encoded words of one charset together as one word in UTF-8, so that readers that
/// decode word by word get whole characters. Everything else stays as it is.
pub(crate) fn join_words(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for piece in pieces(raw) {
        match piece {
            Piece::Plain(octets) => match std::str::from_utf8(octets) {
                Ok(_) => out.extend_from_slice(octets),
                Err(_) => out.extend_from_slice(charset::decode(octets, None).text.as_bytes()),
            },
            Piece::Encoded { charset, octets } => {
                let text = charset::decode(&octets, Some(&charset)).text;
                out.extend_from_slice(b"=?utf-8?B?");
                out.extend(base64_simd::STANDARD.encode_to_string(text.as_bytes()).as_bytes());
                out.extend_from_slice(b"?=");
            }
        }
    }
    out
}

enum Piece<'a> {
    Plain(&'a [u8]),
    Encoded { charset: String, octets: Vec<u8> },
}

/// Splits a value into plain stretches and runs of encoded words.
fn pieces(raw: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let finder = memmem::Finder::new(b"=?");
    // No word ends after it, so no search for an end is in vain.
    let last = memmem::rfind(raw, b"?=").map_or(0, |last| last.saturating_add(2));
    let words = raw.get(..last).unwrap_or_default();
    let (mut plain_from, mut at) = (0, 0);
    while let Some(found) = words.get(at..).and_then(|rest| finder.find(rest)) {
        let start = at.saturating_add(found);
        let Some(word) = Word::read(words.get(start..).unwrap_or_default()) else {
            at = start.saturating_add(2);
            continue;
        };
        let between = raw.get(plain_from..start).unwrap_or_default();
        let adjacent = between.iter().all(u8::is_ascii_whitespace);
        match pieces.last_mut() {
            Some(Piece::Encoded { charset, octets }) if adjacent => {
                if charset.eq_ignore_ascii_case(&word.charset) {
                    octets.extend_from_slice(&word.octets);
                } else {
                    pieces.push(Piece::Encoded { charset: word.charset, octets: word.octets });
                }
            }
            _ => {
                if !between.is_empty() {
                    pieces.push(Piece::Plain(between));
                }
                pieces.push(Piece::Encoded { charset: word.charset, octets: word.octets });
            }
        }
        at = start.saturating_add(word.length);
        plain_from = at;
    }
    let rest = raw.get(plain_from..).unwrap_or_default();
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    pieces
}

struct Word {
    charset: String,
    octets: Vec<u8>,
    length: usize,
}

impl Word {
    /// Reads `=?charset?encoding?text?=` at the start of `raw`.
    fn read(raw: &[u8]) -> Option<Self> {
        let rest = raw.get(2..)?;
        let name = rest.get(..rest.iter().take(64).position(|byte| *byte == b'?')?)?;
        let usable = |byte: &u8| byte.is_ascii_graphic() && *byte != b'=';
        if name.is_empty() || !name.iter().all(usable) {
            return None;
        }
        // A language may follow the charset (RFC 2231 §5).
        let charset = charset::latin1(name.split(|byte| *byte == b'*').next()?);
        let body = rest.get(name.len() + 3..)?;
        let base64 = match rest.get(name.len() + 1..name.len() + 3)? {
            [b'B' | b'b', b'?'] => true,
            [b'Q' | b'q', b'?'] => false,
            _ => return None,
        };
        let end = if base64 {
            memchr::memchr(b'?', body).filter(|at| body.get(at + 1) == Some(&b'='))?
        } else {
            memmem::find(body, b"?=")?
        };
        let text = body.get(..end)?;
        let octets = if base64 {
            transfer::base64(text).0
        } else {
            let spaced: Vec<u8> =
                text.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
            transfer::quoted_printable(&spaced).0
        };
        Some(Self { charset, octets, length: name.len() + 5 + end + 2 })
    }
}

/// Appends plain octets: line ends go, a tab that folds becomes a space (RFC 5322 §2.2.3).
fn push_unfolded(text: &mut String, octets: &[u8]) {
    let mut unfolded = Vec::with_capacity(octets.len());
    let mut folded = false;
    for byte in octets {
        match byte {
            b'\r' => {}
            b'\n' => folded = true,
            b'\t' if folded => unfolded.push(b' '),
            _ => {
                folded = false;
                unfolded.push(*byte);
            }
        }
    }
    text.push_str(&charset::decode(&unfolded, None).text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let cases: [(&str, &[u8], &str); 16] = [
            ("plain", b" Hello ", "Hello"),
            ("folded", b" Hello\r\n\tWorld", "Hello World"),
            ("UTF-8, Q", b"=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"),
            ("UTF-8, B", b"=?UTF-8?b?44GC?=", "あ"),
            ("text around", b"Re: =?utf-8?q?=E3=81=82?= ok", "Re: あ ok"),
            ("blanks between words go", b"=?utf-8?q?a?= \r\n =?utf-8?q?b?=", "ab"),
            ("a character split between words", b"=?utf-8?B?44E=?= =?utf-8?B?gg==?=", "あ"),
            ("ISO-2022-JP", b"=?ISO-2022-JP?B?GyRCRnxLXDhsGyhC?=", "日本語"),
            (
                "an ISO-2022-JP shift split between words",
                b"=?ISO-2022-JP?B?GyRCRnxL?=\n =?ISO-2022-JP?B?XDhsGyhC?=",
                "日本語",
            ),
            ("raw ISO-2022-JP", b" \x1b$BF|K\\8l\x1b(B", "日本語"),
            (
                "raw Shift_JIS",
                b" \x93\xfa\x96\x7b\x8c\xea\x82\xcc\x83\x81\x81\x5b\x83\x8b",
                "日本語のメール",
            ),
            (
                "raw EUC-JP",
                b" \xc6\xfc\xcb\xdc\xb8\xec\xa4\xce\xa5\xe1\xa1\xbc\xa5\xeb",
                "日本語のメール",
            ),
            ("language", b"=?us-ascii*en?Q?a?=", "a"),
            ("never closed", b"=?utf-8?q?a", "=?utf-8?q?a"),
            ("no encoding", b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("line end inside", b"=?utf-8?q?a=0D=0Ab?=", "a  b"),
        ];
        for (name, raw, expected) in cases {
            assert_eq!(decode_value(raw), expected, "{name}");
        }
    }

    #[test]
    fn words_are_joined_for_readers_that_cannot() {
        let joined = join_words(b"=?utf-8?B?44E=?= =?utf-8?B?gg==?= <a@example.org>");
        assert_eq!(joined, b"=?utf-8?B?44GC?= <a@example.org>");
    }
}
