//! Text → header field octets: folded (RFC 5322 §2.2.3), as encoded words where needed (RFC 2047).
//!
//! In: a name and a value in any characters. Out: one field with its line end. Line breaks, NUL and
//! other control characters in a value become spaces: no value can start another field.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use super::EditError;

/// Columns of a line (RFC 5322 §2.1.1).
pub(super) const COLUMNS: usize = 78;
/// Characters of an encoded word at most (RFC 2047 §2).
const WORD: usize = 75;
/// Characters that an encoded word gets even beside a long name.
const SHORT_WORD: usize = 40;
/// Octets of a line that no fold can shorten, well under the bound of 998.
const LONGEST: usize = 900;

/// `name` if it can be one.
///
/// # Errors
///
/// [`EditError::FieldName`] for what RFC 5322 §3.6.8 does not allow, or over 76 characters.
pub(super) fn check_name(name: &str) -> Result<(), EditError> {
    let fits = (1..=COLUMNS - 2).contains(&name.len());
    if fits && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':') {
        Ok(())
    } else {
        Err(EditError::FieldName(name.to_owned()))
    }
}

/// A whole field.
pub(super) fn field(name: &str, value: &str, line_end: &str) -> Vec<u8> {
    let mut out = format!("{name}:");
    let mut column = out.len();
    for word in words(&one_line(value), column) {
        for part in pieces(&word) {
            if column.saturating_add(1).saturating_add(part.len()) > COLUMNS && !out.ends_with(':')
                || column.saturating_add(part.len()) > LONGEST
            {
                out.push_str(line_end);
                column = 0;
            }
            out.push(' ');
            out.push_str(part);
            column = column.saturating_add(1).saturating_add(part.len());
        }
    }
    out.push_str(line_end);
    out.into_bytes()
}

/// `text` without line breaks, control characters, and repeated spaces where they were.
pub(super) fn one_line(text: &str) -> String {
    let safe =
        |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let line: String = text.chars().map(safe).collect();
    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The words of a value after `column`; a stretch that ASCII cannot write as encoded words.
fn words(value: &str, column: usize) -> Vec<String> {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    let first = words.iter().position(|word| needs_encoding(word));
    let last = words.iter().rposition(|word| needs_encoding(word));
    let Some((first, last)) = first.zip(last) else {
        return words.into_iter().map(str::to_owned).collect();
    };
    let plain = |words: Option<&[&str]>| -> Vec<String> {
        words.unwrap_or_default().iter().map(|word| (*word).to_owned()).collect()
    };
    let encoded = words.get(first..=last).unwrap_or_default().join(" ");
    let mut out = plain(words.get(..first));
    out.extend(encoded_words(&encoded, UTF_8, column));
    out.extend(plain(words.get(last.saturating_add(1)..)));
    out
}

/// Whether ASCII cannot write `text`, or would write something else.
pub(super) fn needs_encoding(text: &str) -> bool {
    !text.is_ascii() || text.contains("=?")
}

/// `text` as encoded words that fit on a line after `column`, each complete in itself (RFC 2047 §5),
/// in `encoding` if that has all characters, else in UTF-8.
pub(super) fn encoded_words(text: &str, encoding: &'static Encoding, column: usize) -> Vec<String> {
    let longest = COLUMNS.saturating_sub(column.saturating_add(1)).clamp(SHORT_WORD, WORD);
    let (_, encoding, unmappable) = encoding.encode(text);
    let encoding = if unmappable { UTF_8 } else { encoding };
    let overhead = encoding.name().len().saturating_add("=??B??=".len());
    let room = longest.saturating_sub(overhead) / 4 * 3;
    let encode = |piece: &str| -> Vec<u8> { encoding.encode(piece).0.into_owned() };
    let mut pieces: Vec<String> = vec![String::new()];
    for c in text.chars() {
        let Some(last) = pieces.last_mut() else { break };
        last.push(c);
        if encode(last).len() > room {
            last.pop();
            pieces.push(c.to_string());
        }
    }
    let word = |piece: &String| {
        let octets = base64_simd::STANDARD.encode_to_string(encode(piece));
        format!("=?{}?B?{octets}?=", encoding.name())
    };
    pieces.iter().filter(|piece| !piece.is_empty()).map(word).collect()
}

/// Cuts a word that no line could hold.
fn pieces(word: &str) -> Vec<&str> {
    let octets = word.as_bytes().chunks(LONGEST);
    octets.map(|chunk| std::str::from_utf8(chunk).unwrap_or_default()).collect()
}

/// Text of a body with line ends as given, ending in one.
pub(super) fn lines(text: &str, line_end: &str) -> String {
    let unix: Cow<'_, str> = text.replace("\r\n", "\n").replace('\r', "\n").into();
    let safe = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    let line = |line: &str| line.chars().map(safe).collect::<String>();
    let mut out =
        unix.trim_end_matches('\n').split('\n').map(line).collect::<Vec<_>>().join(line_end);
    out.push_str(line_end);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_folded_and_encoded() {
        let cases = [
            ("short", "yes", "X-A: yes\r\n".to_owned()),
            ("empty", "", "X-A:\r\n".to_owned()),
            ("no second field", "a\r\nBcc: b\0c", "X-A: a Bcc: b c\r\n".to_owned()),
            (
                "folded at spaces",
                &"word ".repeat(20),
                format!("X-A:{}\r\n{}\r\n", " word".repeat(14), " word".repeat(6)),
            ),
            ("encoded", "is 日本 ok", "X-A: is =?UTF-8?B?5pel5pys?= ok\r\n".to_owned()),
            (
                "no foreign encoded word",
                "=?x?q?y?=",
                "X-A: =?UTF-8?B?PT94P3E/eT89?=\r\n".to_owned(),
            ),
        ];
        for (name, value, expected) in cases {
            let written = String::from_utf8(field("X-A", value, "\r\n")).unwrap();
            assert_eq!(written, expected, "{name}");
        }
    }

    #[test]
    fn lines_stay_short() {
        let long = format!("{} {}", "日本語".repeat(60), "x".repeat(2_000));
        let written = String::from_utf8(field("X-Long", &long, "\r\n")).unwrap();
        assert!(written.split("\r\n").all(|line| line.len() <= 998));
        let written = String::from_utf8(field("X-Long", &"日本語 ".repeat(60), "\n")).unwrap();
        assert!(written.split('\n').all(|line| line.len() <= COLUMNS));
    }

    #[test]
    fn names() {
        let cases = [("X-A", true), ("", false), ("A B", false), ("A:", false), ("日", false)];
        for (name, is_name) in cases {
            assert_eq!(check_name(name).is_ok(), is_name, "{name:?}");
        }
        assert!(check_name(&"x".repeat(77)).is_err());
    }

    #[test]
    fn words_keep_their_charset() {
        let japanese = encoding_rs::ISO_2022_JP;
        assert_eq!(encoded_words("日本", japanese, 0), ["=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?="]);
        assert_eq!(encoded_words("😀", japanese, 0), ["=?UTF-8?B?8J+YgA==?="]);
        let long = encoded_words(&"日本".repeat(40), japanese, 0);
        assert!(long.len() > 1 && long.iter().all(|word| word.len() <= WORD));
    }
}
