//! What takes the place of a part, or of its content.
//!
//! In: a notice, a file, or text with a stamp in it. Out: how the part's header section changes, and
//! its new body. Any text gives a part that cannot be taken for a delimiter.

use bytes::Bytes;

use super::section::Section;
use super::{encode, transfer};
use crate::message::Message;

/// A part's new content.
pub(super) struct Change {
    header: Header,
    /// As encoded, without the line end that belongs to the delimiter.
    pub(super) body: Bytes,
    /// What a reader decodes; `None` for a notice.
    pub(super) content: Option<Bytes>,
}

/// What happens to the `Content-*` fields; each new one ends in a line end.
enum Header {
    /// All others go.
    Replaced(Vec<(&'static str, Vec<u8>)>),
    /// All others stay, except for digests of the old content.
    Set(Vec<(&'static str, Vec<u8>)>),
}

impl Change {
    /// `text` in place of a part: US-ASCII if that suffices, ISO-2022-JP if the message speaks it,
    /// else UTF-8.
    pub(super) fn notice(message: &Message, text: &str, line_end: &str) -> Self {
        let text = encode::lines(text, line_end);
        // A line that looks like a delimiter must not become one.
        let is_plain = text.lines().all(|line| line.len() <= 900 && !line.starts_with("--"));
        let japanese = || {
            let (octets, _, unmappable) = encoding_rs::ISO_2022_JP.encode(&text);
            (!unmappable && speaks_iso_2022_jp(message)).then(|| octets.into_owned())
        };
        let (charset, encoding, body) = if text.is_ascii() && is_plain {
            ("us-ascii", "7bit", text.clone().into_bytes())
        } else if let Some(octets) = Some(()).filter(|()| is_plain).and_then(|()| japanese()) {
            ("iso-2022-jp", "7bit", octets)
        } else {
            ("utf-8", "base64", transfer::base64(text.as_bytes(), line_end))
        };
        let body = body.strip_suffix(line_end.as_bytes()).unwrap_or(&body);
        let field = |name: &'static str, value: &str| (name, encode::field(name, value, line_end));
        let fields = vec![
            field("Content-Type", &format!("text/plain; charset={charset}")),
            field("Content-Transfer-Encoding", encoding),
            field("Content-Disposition", "inline"),
        ];
        let body = Bytes::copy_from_slice(body);
        Self { header: Header::Replaced(fields), body, content: None }
    }

    /// Other octets in an attachment.
    pub(super) fn content(content: &Bytes, line_end: &str) -> Self {
        let body = transfer::base64(content, line_end);
        Self::encoded(content.clone(), Some("base64"), &body, None, line_end)
    }

    /// Other octets, encoded already. `encoding` and `content_type` are new values of these fields.
    pub(super) fn encoded(
        content: Bytes,
        encoding: Option<&str>,
        body: &[u8],
        content_type: Option<Vec<u8>>,
        line_end: &str,
    ) -> Self {
        let name = "Content-Transfer-Encoding";
        let mut fields: Vec<_> =
            content_type.into_iter().map(|octets| ("Content-Type", octets)).collect();
        fields.extend(encoding.map(|word| (name, encode::field(name, word, line_end))));
        let body = Bytes::copy_from_slice(body);
        Self { header: Header::Set(fields), body, content: Some(content) }
    }

    /// Whether the part itself goes.
    pub(super) fn is_notice(&self) -> bool {
        matches!(self.header, Header::Replaced(_))
    }

    /// Whether it describes the content anew, which only MIME readers understand.
    fn describes(&self) -> bool {
        match &self.header {
            Header::Replaced(_) => true,
            Header::Set(fields) => !fields.is_empty(),
        }
    }

    /// Changes the message's own header section.
    pub(super) fn edit_top(&self, section: &mut Section<'_>) {
        self.edit(section);
        if self.describes() {
            section.require("MIME-Version", "1.0");
        }
    }

    /// Changes the part's header section.
    pub(super) fn edit(&self, section: &mut Section<'_>) {
        match &self.header {
            Header::Replaced(fields) => section.replace_content(fields.clone()),
            Header::Set(fields) => {
                for stale in ["Content-MD5", "Content-Length"] {
                    section.drop_all(stale);
                }
                for (name, octets) in fields {
                    section.set(name, octets);
                }
            }
        }
    }
}

/// Whether part `inner` is below part `outer`.
pub(super) fn is_inside(message: &Message, inner: usize, outer: usize) -> bool {
    let parents = std::iter::successors(Some(inner), |&at| message.parts().get(at)?.parent());
    parents.skip(1).any(|parent| parent == outer)
}

fn speaks_iso_2022_jp(message: &Message) -> bool {
    let is_it = |charset: &[u8]| charset.eq_ignore_ascii_case(b"iso-2022-jp");
    let in_parts =
        message.parts().iter().any(|part| part.charset().is_some_and(|c| is_it(c.as_bytes())));
    let in_fields = || {
        let mut values = message.header_fields().iter().map(|field| message.raw_value(field));
        values.any(|value| value.windows(14).any(|at| at.eq_ignore_ascii_case(b"=?iso-2022-jp?")))
    };
    in_parts || in_fields()
}
