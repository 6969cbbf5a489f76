//! A tag before a subject, in the subject's own charset.
//!
//! In: a whole `Subject:` field as received, and the tag. Out: where to insert what, or `None` if
//! the tag is there already. The field's own octets are never changed.

use encoding_rs::{Encoding, UTF_8};
use memchr::memchr;

use super::encode::{COLUMNS, encoded_words, needs_encoding};
use crate::message::encoded_word::decode_value;

/// What to insert into `field` to tag it, and where.
pub(super) fn tag(field: &[u8], tag: &str, line_end: &str) -> Option<(usize, Vec<u8>)> {
    let at = memchr(b':', field)?.checked_add(1)?;
    let value = field.get(at..)?;
    if is_tagged(&decode_value(value), tag) {
        return None;
    }
    let blank = value.iter().take_while(|octet| octet.is_ascii_whitespace()).count();
    let text = value.get(blank..).unwrap_or_default();
    let encoded_follows = text.starts_with(b"=?");
    let words = if !needs_encoding(tag) {
        vec![tag.to_owned()]
    } else {
        // White space between encoded words is not shown (RFC 2047 §6.2), so it goes inside.
        let spaced = if encoded_follows { format!("{tag} ") } else { tag.to_owned() };
        encoded_words(&spaced, charset(text).unwrap_or(UTF_8), at)
    };
    let mut inserted = String::new();
    let mut column = at;
    for word in &words {
        if column.saturating_add(word.len()) >= COLUMNS && !inserted.is_empty() {
            inserted.push_str(line_end);
            column = 0;
        }
        inserted.push(' ');
        inserted.push_str(word);
        column = column.saturating_add(word.len()).saturating_add(1);
    }
    // The line that was the first is now longer.
    let line = memchr(b'\n', value).map_or(value.len(), |end| end.saturating_sub(1));
    let is_long = column.saturating_add(line) > COLUMNS;
    if is_long && !text.is_empty() && blank < line {
        inserted.push_str(line_end);
    }
    if blank == 0 && !text.is_empty() {
        inserted.push(' ');
    }
    Some((at, inserted.into_bytes()))
}

/// Whether `subject` starts with `tag`, reply marks and other tags left out.
fn is_tagged(subject: &str, tag: &str) -> bool {
    let tag = tag.to_lowercase();
    let subject = subject.to_lowercase();
    let mut rest = subject.trim_start();
    loop {
        if rest.starts_with(&tag) {
            return true;
        }
        let reply = rest.char_indices().take(8).find(|(_, c)| matches!(c, ':' | '：'));
        let next = match (rest.strip_prefix('['), reply) {
            (Some(inner), _) => inner.split_once(']').map(|(_, rest)| rest),
            (None, Some((at, colon))) => rest.get(at.saturating_add(colon.len_utf8())..),
            (None, None) => None,
        };
        match next {
            Some(next) => rest = next.trim_start(),
            None => return false,
        }
    }
}

/// The charset of the first encoded word.
fn charset(text: &[u8]) -> Option<&'static Encoding> {
    let start = memchr::memmem::find(text, b"=?")?;
    let label = text.get(start.checked_add(2)?..)?;
    let label = label.get(..memchr(b'?', label)?)?;
    let label = label.split(|&octet| octet == b'*').next()?;
    Encoding::for_label(label).map(Encoding::output_encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(field: &str, mark: &str) -> String {
        let (at, inserted) = tag(field.as_bytes(), mark, "\r\n").unwrap_or_default();
        let inserted = String::from_utf8(inserted).unwrap();
        format!("{}{inserted}{}", &field[..at], &field[at..])
    }

    #[test]
    fn tags() {
        let japanese = "Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n";
        let cases = [
            ("plain", "Subject: hi\r\n", "[x]", "Subject: [x] hi\r\n"),
            ("no blank", "Subject:hi\r\n", "[x]", "Subject: [x] hi\r\n"),
            ("empty", "Subject:\r\n", "[x]", "Subject: [x]\r\n"),
            ("folded at once", "Subject:\r\n hi\r\n", "[x]", "Subject: [x]\r\n hi\r\n"),
            ("tagged", "Subject: [x] hi\r\n", "[x]", "Subject: [x] hi\r\n"),
            (
                "tagged in a reply",
                "Subject: Re: [list] [X] hi\r\n",
                "[x]",
                "Subject: Re: [list] [X] hi\r\n",
            ),
            ("tag in the middle", "Subject: hi [x]\r\n", "[x]", "Subject: [x] hi [x]\r\n"),
            (
                "ASCII before Japanese",
                japanese,
                "[x]",
                "Subject: [x] =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n",
            ),
            (
                "Japanese before Japanese",
                japanese,
                "【広告】",
                "Subject: =?ISO-2022-JP?B?GyRCIVo5LTlwIVsbKEIg?=\r\n =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n",
            ),
            ("Japanese before ASCII", "Subject: hi\r\n", "広", "Subject: =?UTF-8?B?5bqD?= hi\r\n"),
            ("raw UTF-8", "Subject: 日本\r\n", "[x]", "Subject: [x] 日本\r\n"),
        ];
        for (name, field, mark, expected) in cases {
            assert_eq!(tagged(field, mark), expected, "{name}");
        }
        let long = format!("Subject: {}\r\n", "x".repeat(66));
        assert_eq!(tagged(&long, "[tag]"), format!("Subject: [tag]\r\n {}\r\n", "x".repeat(66)));
    }
}
