//! The text that stands where a part was.
//!
//! In: the notice. Out: the fields and the body of the part that takes the place. Any text gives a
//! part that cannot be taken for a delimiter.

use bytes::Bytes;

use super::encode;
use crate::message::Message;

/// A notice as content of a part.
pub(super) struct Notice {
    pub(super) fields: Vec<(&'static str, Vec<u8>)>,
    /// Without the last line end, which belongs to the delimiter.
    pub(super) body: Bytes,
}

/// Whether part `inner` is below part `outer`.
pub(super) fn is_inside(message: &Message, inner: usize, outer: usize) -> bool {
    let parents = std::iter::successors(Some(inner), |&at| message.parts().get(at)?.parent());
    parents.skip(1).any(|parent| parent == outer)
}

/// Writes `text` as a part: US-ASCII if that suffices, ISO-2022-JP if the message speaks it, else
/// UTF-8.
pub(super) fn write(message: &Message, text: &str, line_end: &str) -> Notice {
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
        ("utf-8", "base64", base64_lines(text.as_bytes(), line_end))
    };
    let body = body.strip_suffix(line_end.as_bytes()).unwrap_or(&body);
    let field = |name: &'static str, value: &str| (name, encode::field(name, value, line_end));
    Notice {
        fields: vec![
            field("Content-Type", &format!("text/plain; charset={charset}")),
            field("Content-Transfer-Encoding", encoding),
            field("Content-Disposition", "inline"),
        ],
        body: Bytes::copy_from_slice(body),
    }
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

fn base64_lines(octets: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = String::new();
    for line in octets.chunks(57) {
        out.push_str(&base64_simd::STANDARD.encode_to_string(line));
        out.push_str(line_end);
    }
    out.into_bytes()
}
