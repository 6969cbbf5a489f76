//! Address lists and dates in header fields, read with mail-parser.
//!
//! In: a raw field value. Out: mailboxes with decoded display names (RFC 5322 §3.4), a time
//! (§3.3). Nonsense gives no mailboxes and no time, never an error.

use std::panic::catch_unwind;

use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};

use super::encoded_word;

/// A mailbox as a reader shows it. Both halves are what the author claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// The decoded display name; empty if there is none.
    pub name: String,
    /// The address as spelled, such as `kim@example.org`; empty if there is none.
    pub address: String,
}

/// The mailboxes of an address list, groups flattened.
pub(super) fn parse(raw: &[u8]) -> Vec<Address> {
    // The parser wants a line end after the value.
    let mut value = encoded_word::join_words(raw);
    value.extend_from_slice(b"\r\n");
    // A defect of the foreign parser costs this field only.
    catch_unwind(|| mailboxes(&value)).unwrap_or_default()
}

fn mailboxes(value: &[u8]) -> Vec<Address> {
    let HeaderValue::Address(list) = MessageStream::new(value).parse_address() else {
        return Vec::new();
    };
    list.iter()
        .map(|address| Address {
            name: address.name().unwrap_or_default().trim().to_owned(),
            address: address.address().unwrap_or_default().trim().to_owned(),
        })
        .collect()
}

/// A date-time as seconds since 1970 (UTC).
pub(super) fn parse_date(raw: &[u8]) -> Option<i64> {
    let value: Vec<u8> =
        raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let date = DateTime::parse_rfc822(std::str::from_utf8(&value).ok()?.trim())?;
    date.is_valid().then(|| date.to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn address_lists() {
        let cases: [(&str, &[u8], &[(&str, &str)]); 6] = [
            ("bare", b" a@example.org", &[("", "a@example.org")]),
            ("named", b"Kim <a@example.org>", &[("Kim", "a@example.org")]),
            ("quoted comma", b"\"Lee, Kim\" <a@example.org>", &[("Lee, Kim", "a@example.org")]),
            (
                "Japanese split between words",
                b"=?ISO-2022-JP?B?GyRCRnxL?=\r\n =?ISO-2022-JP?B?XDhsGyhC?= <a@example.jp>",
                &[("日本語", "a@example.jp")],
            ),
            (
                "group",
                b"Team: a@example.org, b@example.org;",
                &[("", "a@example.org"), ("", "b@example.org")],
            ),
            ("nothing", b"", &[]),
        ];
        for (name, raw, expected) in cases {
            let found = parse(raw);
            let found: Vec<_> =
                found.iter().map(|one| (one.name.as_str(), one.address.as_str())).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn dates() {
        let cases: [(&str, &[u8], Option<i64>); 4] = [
            ("zone", b" Thu, 01 Jan 1970 09:00:00 +0900", Some(0)),
            ("folded", b" Thu, 01 Jan\r\n 1970 00:00:01 GMT", Some(1)),
            ("nonsense", b"yesterday", None),
            ("empty", b"", None),
        ];
        for (name, raw, expected) in cases {
            assert_eq!(parse_date(raw), expected, "{name}");
        }
    }
}
