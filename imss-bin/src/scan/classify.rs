//! The start of a file → message, mbox, or something else.
//!
//! Any byte string could be a message, so the question is what its owner means by it. A file is a
//! message if it starts with header fields and at least one of them is a field of mail, or if its
//! name says so (`.eml`, or inside `cur` or `new` of a Maildir).

use std::path::Path;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// One message.
    Message,
    /// Messages after each other, each after a `From ` line.
    Mbox,
    /// Anything else.
    Other,
}

/// Fields that hardly anything but mail begins with.
const MAIL_FIELDS: [&str; 22] = [
    "received",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "message-id",
    "mime-version",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "in-reply-to",
    "references",
    "dkim-signature",
    "arc-seal",
    "authentication-results",
    "resent-from",
    "x-mailer",
    "x-mozilla-status",
];
/// Fields of mail that other headed text has as well.
const SHARED_FIELDS: [&str; 5] =
    ["date", "content-type", "content-transfer-encoding", "content-disposition", "list-id"];
/// Lines that are looked at.
const MAX_LINES: usize = 400;
/// Lines that are no field and may stand in a header section all the same.
const MAX_BROKEN_LINES: usize = 3;

/// What the file that starts with `head` and lies at `path` is.
pub(crate) fn classify(head: &[u8], path: &Path) -> Class {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.starts_with(b"From ") && is_separator(first) {
        return Class::Mbox;
    }
    if is_mail_header(&mut lines) || (named_as_message(path) && !head.contains(&0)) {
        return Class::Message;
    }
    Class::Other
}

/// Whether a line that starts with `From ` separates messages: it ends in a date with a time of
/// day, which prose that starts with "From" hardly does.
pub(crate) fn is_separator(line: &[u8]) -> bool {
    line.starts_with(b"From ")
        && line.len() < 1_000
        && line.windows(5).any(|five| {
            matches!(five, [a, b, b':', c, d]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit() || **digit == b' '))
        })
}

fn is_mail_header<'a>(lines: &mut impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut mail, mut shared, mut broken) = (0_usize, 0_usize, 0_usize);
    for (number, line) in lines.take(MAX_LINES).enumerate() {
        if line.is_empty() {
            // An empty line at the very start is no header section at all.
            break;
        }
        if number > 0 && (line.starts_with(b" ") || line.starts_with(b"\t")) {
            continue;
        }
        match field_name(line) {
            Some(name) if MAIL_FIELDS.contains(&name.as_str()) => mail = mail.saturating_add(1),
            Some(name) if SHARED_FIELDS.contains(&name.as_str()) => {
                shared = shared.saturating_add(1);
            }
            Some(_) => {}
            // `>From ` is what is left of a separator that somebody escaped.
            None if line.starts_with(b">From ") || line.starts_with(b"From ") => {}
            None if number == 0 => return false,
            None => broken = broken.saturating_add(1),
        }
        if broken > MAX_BROKEN_LINES {
            break;
        }
    }
    mail >= 1 || shared >= 2
}

/// The field name of a header line (RFC 5322 §2.2) in lower case. Blanks before the colon pass
/// (RFC 5322 §4.5).
fn field_name(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let valid = !name.is_empty() && name.len() <= 77 && name.iter().all(u8::is_ascii_graphic);
    valid.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn named_as_message(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::file_name);
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
        || parent.is_some_and(|folder| folder == "cur" || folder == "new")
            && path
                .parent()
                .and_then(Path::parent)
                .is_some_and(|maildir| maildir.join("cur").is_dir() && maildir.join("new").is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_are() {
        let cases: [(&str, &[u8], &str, Class); 16] = [
            (
                "a message",
                b"From: a@example.com\r\nTo: b@example.com\r\n\r\nHi",
                "x",
                Class::Message,
            ),
            ("one field of mail", b"Subject: hello", "x", Class::Message),
            ("a folded first field", b"Received: from a\n\tby b\nX: y\n\n", "x", Class::Message),
            ("a byte order mark", b"\xef\xbb\xbfSubject: x\n\nx", "x", Class::Message),
            ("a broken line", b"Subject: x\nthis is no field\nFrom: a\n\n", "x", Class::Message),
            ("an escaped separator", b">From a\nSubject: x\n\n", "x", Class::Message),
            ("a part alone", b"Content-Type: text/plain\nDate: x\n\nx", "x", Class::Message),
            ("by its name", b"hello", "mail.EML", Class::Message),
            ("a name is not enough", b"MZ\0\0", "mail.eml", Class::Other),
            ("an mbox", b"From a@b Thu Jan  1 00:00:00 1970\nSubject: x\n\n", "x", Class::Mbox),
            ("prose", b"From here on it is downhill.\nSubject matter", "x.txt", Class::Other),
            ("settings", b"key: value\nother: value\n", "x.yaml", Class::Other),
            (
                "a reply of HTTP",
                b"HTTP/1.1 200 OK\nContent-Type: a/b\nDate: x\n",
                "x",
                Class::Other,
            ),
            ("a program", b"MZ\x90\0\x03\0", "x.exe", Class::Other),
            ("an empty line first", b"\nSubject: x\n\nx", "x", Class::Other),
            ("nothing", b"", "x", Class::Other),
        ];
        for (name, head, path, expected) in cases {
            assert_eq!(classify(head, Path::new(path)), expected, "{name}");
        }
    }
}
