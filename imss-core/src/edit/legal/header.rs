//! A header field without octets above 127, for servers that do not know SMTPUTF8 (RFC 6531 §3.2).
//!
//! In: a field. Out: the same field with text as encoded words (RFC 2047 §5), in display names and
//! comments too, and with parameters as RFC 2231 §4 has them. `None` where no encoding says the same: in
//! addresses, identifiers and signatures, and where the octets are not UTF-8 (a guessed charset could
//! not be taken back). Work is linear.

use encoding_rs::UTF_8;
use memchr::memchr;

use crate::edit::encode::{self, COLUMNS, encoded_words};
use crate::message::encoded_word::decode_value;

/// Octets of one piece of a parameter.
const PIECE: usize = 60;

/// What a field's value is made of.
enum Grammar {
    Text,
    Addresses,
    Parameters,
    /// What has no place for text.
    Closed,
}

/// Fields without text, besides those about ARC.
const CLOSED: [&str; 12] = [
    "received",
    "return-path",
    "message-id",
    "in-reply-to",
    "references",
    "date",
    "mime-version",
    "content-transfer-encoding",
    "content-id",
    "content-md5",
    "dkim-signature",
    "authentication-results",
];

/// `field` in ASCII.
pub(super) fn ascii(name: &str, field: &[u8], line_end: &str) -> Option<Vec<u8>> {
    let at = memchr(b':', field)?.checked_add(1)?;
    let value = field.get(at..)?;
    let text = match grammar(name) {
        Grammar::Text => {
            std::str::from_utf8(value).ok()?;
            return Some(encode::field(name, &decode_value(value), line_end));
        }
        Grammar::Addresses => addresses(&unfolded(value)?)?,
        Grammar::Parameters => parameters(&unfolded(value)?)?,
        Grammar::Closed => return None,
    };
    Some(folded(name, &text, line_end))
}

fn grammar(name: &str) -> Grammar {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("resent-").unwrap_or(&name) {
        "" => Grammar::Closed,
        "from" | "sender" | "to" | "cc" | "bcc" | "reply-to" => Grammar::Addresses,
        "content-type" | "content-disposition" => Grammar::Parameters,
        other if CLOSED.contains(&other) || other.starts_with("arc-") => Grammar::Closed,
        _ => Grammar::Text,
    }
}

/// A value in one line; `None` unless it is UTF-8.
fn unfolded(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let plain = text.trim().chars().filter(|c| !matches!(c, '\r' | '\n'));
    Some(plain.map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// A list of addresses with its names encoded; `None` if an address itself is not ASCII.
fn addresses(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '<' => rest.find('>').map_or(rest.len(), |end| end.saturating_add(1)),
            '(' => comment_end(rest),
            ',' | ':' | ';' | '>' | ')' => 1,
            _ => phrase_end(rest),
        };
        let (token, after) = rest.split_at_checked(length.max(1))?;
        if token.is_ascii() {
            out.push_str(token);
        } else if first == '(' {
            let inner = token.strip_prefix('(').unwrap_or(token);
            out.push('(');
            out.push_str(&words(inner.strip_suffix(')').unwrap_or(inner)));
            out.push(')');
        } else if first != '<' && after.starts_with(['<', ':']) {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&words(&unquoted(token)));
            out.push(' ');
        } else {
            return None;
        }
        rest = after;
    }
    Some(out)
}

/// Where the words end that begin `text`.
fn phrase_end(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' | ',' | ':' | ';' | '(' | '>' | ')' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where the comment ends that begins `text`.
fn comment_end(text: &str) -> usize {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth = depth.saturating_add(1),
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.saturating_add(1);
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Quoted strings as what they mean.
fn unquoted(text: &str) -> String {
    let (mut out, mut escaped) = (String::with_capacity(text.len()), false);
    for c in text.trim().chars() {
        match c {
            _ if escaped => {
                escaped = false;
                out.push(c);
            }
            '\\' => escaped = true,
            '"' => {}
            _ => out.push(c),
        }
    }
    out
}

/// Text as encoded words, with what was encoded before.
fn words(text: &str) -> String {
    let text = encode::one_line(&decode_value(text.as_bytes()));
    encoded_words(&text, UTF_8, 0).join(" ")
}

/// A value with parameters, those that are not ASCII in the extended form.
fn parameters(text: &str) -> Option<String> {
    let mut out = Vec::new();
    for (place, segment) in segments(text).into_iter().enumerate() {
        if segment.is_ascii() {
            out.push(segment.trim().to_owned());
            continue;
        }
        let (name, value) = segment.split_once('=').filter(|_| place > 0)?;
        let name = name.trim();
        if name.is_empty() || !name.is_ascii() || name.contains('*') {
            return None;
        }
        match pieces(&unquoted(value)).as_slice() {
            [whole] => out.push(format!("{name}*=utf-8''{whole}")),
            several => out.extend(several.iter().enumerate().map(|(number, piece)| {
                let charset = if number == 0 { "utf-8''" } else { "" };
                format!("{name}*{number}*={charset}{piece}")
            })),
        }
    }
    Some(out.join("; "))
}

/// A value with all but harmless octets escaped, in pieces that fit on a line.
fn pieces(value: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in value.chars() {
        let mut octets = [0; 4];
        let octets = c.encode_utf8(&mut octets).bytes();
        let escaped: String = octets.map(escape).collect();
        match pieces.last_mut() {
            Some(last) if last.len().saturating_add(escaped.len()) <= PIECE => {
                last.push_str(&escaped);
            }
            _ => pieces.push(escaped),
        }
    }
    pieces
}

fn escape(octet: u8) -> String {
    if octet.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&octet) {
        char::from(octet).to_string()
    } else {
        format!("%{octet:02X}")
    }
}

/// Cuts at semicolons outside quoted strings.
fn segments(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_end = move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => return true,
            _ => {}
        }
        false
    };
    text.split(is_end).collect()
}

/// A whole field, folded where there are spaces.
fn folded(name: &str, text: &str, line_end: &str) -> Vec<u8> {
    let mut out = format!("{name}:");
    let mut column = out.len();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.len().saturating_add(1);
        if column.saturating_add(length) > COLUMNS && !out.ends_with(':') {
            out.push_str(line_end);
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column = column.saturating_add(length);
    }
    out.push_str(line_end);
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let cases = [
            ("text", "Subject: Voilà", Some("Subject: =?UTF-8?B?Vm9pbMOg?=")),
            (
                "a name",
                "From: René <r@x.example>",
                Some("From: =?UTF-8?B?UmVuw6k=?= <r@x.example>"),
            ),
            (
                "a quoted name",
                "To: \"Ä, B\" <a@x.example>, b@y.example",
                Some("To: =?UTF-8?B?w4QsIEI=?= <a@x.example>, b@y.example"),
            ),
            (
                "two words are one text",
                "Cc: \"Ä\" Ö <a@x.example>",
                Some("Cc: =?UTF-8?B?w4Qgw5Y=?= <a@x.example>"),
            ),
            ("a comment", "From: a@x.example (Ä)", Some("From: a@x.example (=?UTF-8?B?w4Q=?=)")),
            ("a group", "To: Ä: a@x.example;", Some("To: =?UTF-8?B?w4Q=?= : a@x.example;")),
            ("a local-part", "From: Ä@x.example", None),
            ("a local-part in brackets", "From: A <Ä@x.example>", None),
            ("a quoted local-part", "From: \"Ä\"@x.example", None),
            (
                "a file name",
                "Content-Disposition: attachment; filename=\"Ä;x.pdf\"; size=1",
                Some("Content-Disposition: attachment; filename*=utf-8''%C3%84%3Bx.pdf; size=1"),
            ),
            ("a media type", "Content-Type: text/Ä", None),
            ("an identifier", "Message-ID: <Ä@x.example>", None),
            ("a trace", "Received: from Ä", None),
        ];
        for (name, field, expected) in cases {
            let (label, _) = field.split_once(':').unwrap();
            let found = ascii(label, format!("{field}\r\n").as_bytes(), "\r\n");
            let found = found.map(|octets| {
                String::from_utf8(octets).unwrap().replace("\r\n ", " ").trim_end().to_owned()
            });
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn no_charset_is_guessed() {
        let japanese = b"Subject: \x93\xfa\x96\x7b\x8c\xea\r\n";
        let mixed = b"Subject: =?iso-8859-1?Q?=E4?= \xe4\r\n";
        for field in [&b"Subject: Voil\xe0\r\n"[..], japanese, mixed, b"From: \xe4 <a@b>\r\n"] {
            let name = if field.starts_with(b"F") { "From" } else { "Subject" };
            assert_eq!(ascii(name, field, "\r\n"), None, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "漢".repeat(100);
        let field = format!("Content-Type: text/plain; name={name}\r\n");
        let octets = ascii("Content-Type", field.as_bytes(), "\r\n").unwrap();
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains(" name*0*=utf-8''%E6%BC%A2%E6"), "{text}");
        assert!(text.contains(" name*1*=%E6%BC%A2"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert_eq!(text.matches("%E6%BC%A2").count(), 100);
    }

    #[test]
    fn what_comes_out_is_ascii() {
        let odd = ["Ä", "(Ä", "\"Ä", "<Ä", "Ä<", "a (Ä(b", "Ä:", ";Ä=Ö", "(\\Ä", "Ä\r\n Ö <a@b>"];
        for value in odd {
            for name in ["From", "Subject", "Content-Type", "X"] {
                let field = format!("{name}: {value}\r\n");
                if let Some(octets) = ascii(name, field.as_bytes(), "\r\n") {
                    assert!(octets.is_ascii() && octets.ends_with(b"\r\n"), "{field}");
                    let text = String::from_utf8(octets).unwrap();
                    let is_one = |line: &str| line.starts_with(name) || line.starts_with(' ');
                    assert!(text.lines().all(is_one), "{text}");
                }
            }
        }
    }
}
