//! Messages in files of their own: what mail programs open by the file's name, as little as there is.
//!
//! In: an entity. Out: where its message starts. A name says more than the content here: one header
//! field is enough for a mail program that was handed a `.eml`, and everything looks like one field.

use super::Entity;
use crate::filetype::TypeGroup;

/// Names of files that mail programs and browsers open as a message.
const NAMES: [&str; 5] = [".eml", ".emlx", ".mht", ".mhtml", ".nws"];
/// Digits of the length that stands before the message in an `.emlx` file.
const MAX_DIGITS: usize = 20;
/// Longest field name that is looked for.
const MAX_NAME: usize = 998;

/// Where the message in `entity` starts, if its name and its first line say that it is one.
pub(super) fn start(entity: &Entity) -> Option<usize> {
    let is_mail = |name: &String| {
        let name = name.to_ascii_lowercase();
        NAMES.iter().any(|suffix| name.ends_with(suffix))
    };
    entity.names.iter().any(is_mail).then_some(())?;
    let start = behind_length(&entity.content).unwrap_or_default();
    let rest = entity.content.get(start..)?;
    begins_with_field(rest).then_some(start)
}

/// Whether a message is all that `entity` can be. Whoever calls an archive a message, by its label or
/// by a name, has not made it one for readers who go by the content or by another name.
pub(super) fn is_nothing_else(entity: &Entity) -> bool {
    let is_text = matches!(entity.detected.group, TypeGroup::Text);
    (is_text || entity.detected.media_type == "message/rfc822") && entity.also.is_empty()
}

/// Where the line ends that Apple Mail writes before a message: its length, padded with blanks.
fn behind_length(content: &[u8]) -> Option<usize> {
    let digits = content.iter().take(MAX_DIGITS).take_while(|octet| octet.is_ascii_digit()).count();
    let rest = content.get(digits..).filter(|_| digits > 0)?;
    let blanks = rest.iter().take(MAX_DIGITS).take_while(|octet| matches!(octet, b' ' | b'\r'));
    let end = digits.checked_add(blanks.count())?;
    (content.get(end) == Some(&b'\n')).then(|| end.saturating_add(1))
}

/// Whether the first line is a header field (RFC 5322 §2.2), or the line of an mbox before one.
fn begins_with_field(content: &[u8]) -> bool {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if content.starts_with(b"From ") || content.starts_with(b">From ") {
        return true;
    }
    let is_name =
        |octet: &&u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let name = content.iter().take(MAX_NAME).take_while(is_name).count();
    let rest = content.get(name..).filter(|_| name > 0).unwrap_or_default();
    rest.trim_ascii_start().starts_with(b":") && !rest.starts_with(b"\n")
}

#[cfg(test)]
mod tests {
    use crate::entity::{Entities, Role};
    use crate::limits::{Limits, StopFlag};
    use crate::message::Message;

    fn messages(name: &str, content: &str) -> usize {
        let raw = format!(
            "Content-Type: application/octet-stream; name=\"{name}\"\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{content}"
        );
        let message = Message::parse(raw.into_bytes().into(), &Limits::default());
        let entities = Entities::extract(&message, &Limits::default(), &StopFlag::new());
        entities.iter().filter(|entity| entity.role == Role::Message).count() - 1
    }

    #[test]
    fn a_named_message_needs_one_field() {
        let cases = [
            ("one field", "a.eml", "Subject: x\r\n\r\ntext", 1),
            ("a multipart", "a.mht", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\ntext", 1),
            ("blanks before the colon", "a.EML", "Subject : x\n\ntext", 1),
            ("behind its length", "1.emlx", "11        \nSubject: x\n\ntext", 1),
            ("behind an mbox line", "a.eml", ">From x Mon\nSubject: x\n\ntext", 1),
            ("text", "a.eml", "no field here\n\ntext", 0),
            ("a page", "a.mht", "<html><body>a: b</body></html>", 0),
            ("nothing", "a.eml", "", 0),
            ("a length alone", "a.emlx", "12\n", 0),
            ("another name", "a.dat", "Subject: x\r\n\r\ntext", 0),
        ];
        for (what, name, content, expected) in cases {
            assert_eq!(messages(name, content), expected, "{what}");
        }
    }

    #[test]
    fn an_archive_called_a_message_is_opened_too() {
        // "x:" and a zip archive that holds a.txt: all of it one header field.
        let content = "eDpQSwMEFAAAAAAAAAAhAIamEDYFAAAABQAAAAUAAABhLnR4dGhlbGxvUEsBAhQDFAAAAAAAAAAhAIam\r\n\
            EDYFAAAABQAAAAUAAAAAAAAAAAAAAIABAAAAAGEudHh0UEsFBgAAAAABAAEAMwAAACgAAAAAAA==";
        for (declared, one, other) in [
            ("application/octet-stream", "x.eml", "invoice.zip"),
            ("application/zip", "x.eml", "x.eml"),
            ("message/rfc822", "invoice.zip", "invoice.zip"),
        ] {
            let raw = format!(
                "Content-Type: {declared}; name=\"{one}\"\r\nContent-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"{other}\"\r\n\r\n{content}\r\n"
            );
            let message = Message::parse(raw.into_bytes().into(), &Limits::default());
            let entities = Entities::extract(&message, &Limits::default(), &StopFlag::new());
            let member = entities.iter().find(|entity| entity.name() == "a.txt");
            assert!(
                member.is_some_and(|member| &member.content[..] == b"hello"),
                "{declared} {one}"
            );
        }
    }
}
