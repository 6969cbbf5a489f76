//! Puts stamps (a disclaimer, a warning) into the text of a message.
//!
//! In: a message and stamps. Out: new content for its body parts. The main text is stamped, in each of
//! its alternatives: the first text of a multipart/mixed, the root of a multipart/related. Attachments
//! and attached messages stay as they are, and so does what is encrypted or, unless asked, signed.
//!
//! A part keeps its charset, its transfer encoding and format=flowed (RFC 3676) if they can carry the
//! stamp. Text in another charset than its letters becomes UTF-8; pages get character references.
//! US-ASCII and undeclared charsets stay if the stamp is ASCII too. The octets of the text itself do
//! not change unless the charset does. Text in a charset nobody knows gets ASCII stamps only.

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{Position, encode, page, transfer};
use crate::charset;
use crate::message::{Disposition, Message, Part, PartKind, TransferEncoding};
use crate::message::{parameters::Value, transfer as decode};
use crate::protection::{self, Protection};

/// Octets of a line at most (RFC 5322 §2.1.1).
const LONGEST: usize = 998;

/// Whether signed text may be changed, which breaks its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signed {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is changed like any other.
    Edit,
}

/// Why a message cannot be stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unstamped {
    /// Its text is signed.
    #[error("its text is signed")]
    Signed,
    /// Its text is encrypted.
    #[error("its text is encrypted")]
    Encrypted,
    /// It has no text.
    #[error("it has no text")]
    NoText,
}

/// How many parts of `message` a stamp goes into.
///
/// # Errors
///
/// [`Unstamped`] if there is none.
pub fn stampable(message: &Message, signed: Signed) -> Result<usize, Unstamped> {
    let mut found = Vec::new();
    Walk::new(message, signed).visit(0, &mut found)?;
    Ok(found.len())
}

/// A stamp.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) text: &'a str,
    pub(super) html: Option<&'a str>,
    pub(super) position: Position,
    pub(super) signed: Signed,
}

/// The body parts with all stamps in them, by their places.
pub(super) fn stamped(
    message: &Message,
    stamps: &[Stamp<'_>],
    line_end: &'static str,
) -> Vec<(usize, Change)> {
    let mut texts: std::collections::BTreeMap<usize, Body<'_>> = std::collections::BTreeMap::new();
    for stamp in stamps {
        let mut found = Vec::new();
        if Walk::new(message, stamp.signed).visit(0, &mut found).is_err() {
            continue;
        }
        for place in found {
            let Some(part) = message.parts().get(place) else { continue };
            let body = texts.entry(place).or_insert_with(|| Body::of(message, part, line_end));
            body.stamp(stamp);
        }
    }
    texts.into_iter().filter_map(|(place, body)| Some((place, body.finish()?))).collect()
}

/// The way to the main text.
struct Walk<'a> {
    message: &'a Message,
    children: Vec<Vec<usize>>,
    signed: Signed,
}

impl<'a> Walk<'a> {
    fn new(message: &'a Message, signed: Signed) -> Self {
        let mut children = vec![Vec::new(); message.parts().len()];
        for (place, part) in message.parts().iter().enumerate() {
            if let Some(list) = part.parent().and_then(|parent| children.get_mut(parent)) {
                list.push(place);
            }
        }
        Self { message, children, signed }
    }

    /// Adds the text parts below `place`. Nesting is bounded where the message was read.
    fn visit(&self, place: usize, found: &mut Vec<usize>) -> Result<(), Unstamped> {
        let part = self.message.parts().get(place).ok_or(Unstamped::NoText)?;
        let children = self.children.get(place).map(Vec::as_slice).unwrap_or_default();
        match (part.kind(), part.media_type()) {
            (PartKind::Message, _) => Err(Unstamped::NoText),
            (PartKind::Leaf, _) => self.leaf(place, part, found),
            (_, "multipart/encrypted") => Err(Unstamped::Encrypted),
            (_, "multipart/signed") if self.signed == Signed::Keep => Err(Unstamped::Signed),
            (_, "multipart/alternative") => {
                let mut result = Err(Unstamped::NoText);
                for &child in children {
                    match self.visit(child, found) {
                        Err(Unstamped::NoText) => {}
                        Ok(()) if result == Err(Unstamped::NoText) => result = Ok(()),
                        Ok(()) => {}
                        Err(why) => result = Err(why),
                    }
                }
                result
            }
            _ => {
                let mut results = children.iter().map(|&child| self.visit(child, found));
                let first = results.find(|result| *result != Err(Unstamped::NoText));
                first.unwrap_or(Err(Unstamped::NoText))
            }
        }
    }

    fn leaf(&self, place: usize, part: &Part, found: &mut Vec<usize>) -> Result<(), Unstamped> {
        let content = || decode::decode(&self.message.part(part.body_range()), part.encoding());
        let is_text = matches!(part.media_type(), "text/plain" | "text/html");
        if !is_text && !part.media_type().ends_with("pkcs7-mime") {
            return Err(Unstamped::NoText);
        }
        match protection::of(part.declared(), &content().content, true) {
            Some(Protection::Signed | Protection::OpaqueSigned | Protection::Compressed) => {
                return Err(Unstamped::Signed);
            }
            Some(Protection::ClearSigned) if self.signed == Signed::Keep => {
                return Err(Unstamped::Signed);
            }
            Some(Protection::Encrypted) => return Err(Unstamped::Encrypted),
            Some(Protection::ClearSigned) | None => {}
        }
        let shown = part.disposition() != Some(Disposition::Attachment)
            && (place == 0 || part.names().is_empty())
            && part.encoding() != TransferEncoding::Uuencode;
        if !is_text || !shown {
            return Err(Unstamped::NoText);
        }
        found.push(place);
        Ok(())
    }
}

/// One text being stamped.
struct Body<'a> {
    message: &'a Message,
    part: &'a Part,
    line_end: &'static str,
    content: Vec<u8>,
    /// The charset that stamps are written in; `None` if it is not known.
    charset: Option<&'static Encoding>,
    /// Whether that charset has to be declared, because it was not.
    declares: bool,
    is_page: bool,
    is_flowed: bool,
    is_changed: bool,
}

impl<'a> Body<'a> {
    fn of(message: &'a Message, part: &'a Part, line_end: &'static str) -> Self {
        let body = message.part(part.body_range());
        let content = decode::decode(&body, part.encoding()).content.to_vec();
        let label = part.charset().filter(|label| !charset::is_ascii_label(Some(label)));
        // Without a label, what the text is written in tells; ASCII may become anything.
        let charset = match label {
            Some(label) => charset::standard(label),
            None if content.is_ascii() && !content.contains(&0x1b) => Some(WINDOWS_1252),
            None => charset::standard(charset::decode(&content, None).charset),
        };
        let flowed = |value: Vec<u8>| value.eq_ignore_ascii_case(b"flowed");
        let is_flowed = content_type(message, part)
            .and_then(|raw| Value::parse(raw).get("format", crate::ambiguity::Reader::default()))
            .is_some_and(flowed);
        Self {
            message,
            part,
            line_end,
            charset,
            content,
            declares: false,
            is_page: part.media_type() == "text/html",
            is_flowed,
            is_changed: false,
        }
    }

    fn stamp(&mut self, stamp: &Stamp<'_>) {
        if self.is_page {
            self.stamp_page(stamp);
        } else {
            self.stamp_text(stamp);
        }
    }

    /// Characters that the charset lacks become references, so a page keeps its charset.
    fn stamp_page(&mut self, stamp: &Stamp<'_>) {
        let html = match stamp.html {
            Some(html) => html.replace("\r\n", "\n").replace(['\r', '\n'], self.line_end),
            None => markup(stamp.text, self.line_end),
        };
        let charset = self.charset.filter(|_| self.part.charset().is_some());
        let octets = charset.and_then(|charset| self.encoded(&html, charset));
        let octets = octets.map_or_else(|| references(&html), |(octets, _)| octets);
        let is_shifted = self.charset == Some(ISO_2022_JP);
        let at = if is_shifted {
            page::place(&page::masked(&self.content), stamp.position)
        } else {
            page::place(&self.content, stamp.position)
        };
        self.content.splice(at..at, octets);
        self.is_changed = true;
    }

    fn stamp_text(&mut self, stamp: &Stamp<'_>) {
        let mut text = encode::lines(stamp.text, self.line_end);
        if self.is_flowed {
            text = text.split_inclusive('\n').map(|line| unflowed(line, self.line_end)).collect();
        }
        let undeclared =
            self.part.charset().is_none_or(|label| charset::is_ascii_label(Some(label)));
        let plain = undeclared && self.content.is_ascii() && !self.content.contains(&0x1b);
        let octets = match self.charset {
            _ if text.is_ascii() => Some(text.clone().into_bytes()),
            Some(charset) if !plain => {
                self.encoded(&text, charset).filter(|(_, whole)| *whole).map(|(octets, _)| octets)
            }
            _ => None,
        };
        let octets = match octets {
            Some(octets) => octets,
            None if self.becomes_utf8() => text.into_bytes(),
            None => return,
        };
        self.insert(&octets, stamp.position);
    }

    /// Puts lines in, with an empty line between them and the text.
    fn insert(&mut self, lines: &[u8], position: Position) {
        let line_end = self.line_end.as_bytes();
        match position {
            Position::Top => {
                self.content = [lines, line_end, &self.content].concat();
            }
            Position::Bottom => {
                if ends_shifted(&self.content) && self.charset == Some(ISO_2022_JP) {
                    self.content.extend_from_slice(b"\x1b(B");
                }
                let closed = self.content.is_empty() || self.content.ends_with(b"\n");
                if !closed {
                    self.content.extend_from_slice(line_end);
                }
                self.content.extend_from_slice(line_end);
                // The last line end belongs to the delimiter, if the text left it there.
                let lines =
                    if closed { lines } else { lines.strip_suffix(line_end).unwrap_or(lines) };
                self.content.extend_from_slice(lines);
            }
        }
        self.is_changed = true;
    }

    /// `text` in `charset`, with references for characters it lacks, and whether it has them all.
    fn encoded(&self, text: &str, charset: &'static Encoding) -> Option<(Vec<u8>, bool)> {
        let (octets, used, unmappable) = charset.encode(text);
        let label = self.part.charset().unwrap_or_default().to_ascii_lowercase();
        // ISO 8859-1 proper has control characters where Windows has letters.
        let beyond = matches!(label.as_str(), "iso-8859-1" | "latin1" | "iso8859-1")
            && octets.iter().any(|octet| (0x80..0xa0).contains(octet));
        (!beyond && used == charset).then(|| (octets.into_owned(), !unmappable))
    }

    /// Writes the text again in UTF-8, if it can be read without doubt.
    fn becomes_utf8(&mut self) -> bool {
        let is_known = self.part.charset().is_none_or(charset::is_known);
        let decoded = charset::decode(&self.content, self.part.charset());
        if !is_known || decoded.malformed {
            return false;
        }
        self.content = decoded.text.into_bytes();
        (self.charset, self.declares) = (Some(UTF_8), true);
        true
    }

    /// The part's new content; `None` if nothing could be put in.
    fn finish(self) -> Option<Change> {
        if !self.is_changed {
            return None;
        }
        let line_end = self.line_end;
        let content_type = self.declares.then(|| self.utf8_content_type());
        let (word, body) = match self.part.encoding() {
            TransferEncoding::Base64 => (None, transfer::base64(&self.content, line_end)),
            TransferEncoding::QuotedPrintable => {
                (None, transfer::quoted_printable(&self.content, line_end))
            }
            _ if self.fits_as_it_is() => (None, self.content.clone()),
            _ => {
                let high = self.content.iter().filter(|octet| !octet.is_ascii()).count();
                if high > self.content.len() / 6 {
                    (Some("base64"), transfer::base64(&self.content, line_end))
                } else {
                    (Some("quoted-printable"), transfer::quoted_printable(&self.content, line_end))
                }
            }
        };
        Some(Change::encoded(self.content.into(), word, &body, content_type, line_end))
    }

    /// Whether the content can stand in the message without an encoding.
    fn fits_as_it_is(&self) -> bool {
        let old = self.message.part(self.part.body_range());
        let longest = |octets: &[u8]| octets.split(|o| *o == b'\n').map(<[u8]>::len).max();
        let short = longest(&self.content).unwrap_or(0) <= LONGEST.max(longest(&old).unwrap_or(0));
        let boundaries: Vec<&[u8]> =
            self.message.parts().iter().filter_map(Part::boundary).collect();
        let is_delimiter = |line: &[u8]| {
            let rest = line.strip_prefix(b"--");
            rest.is_some_and(|rest| boundaries.iter().any(|boundary| rest.starts_with(boundary)))
        };
        let delimiters =
            |octets: &[u8]| octets.split(|o| *o == b'\n').filter(|line| is_delimiter(line)).count();
        // Seven bits stay seven bits.
        short
            && (self.content.is_ascii() || !old.is_ascii())
            && delimiters(&self.content) <= delimiters(&old)
    }

    /// The part's `Content-Type` with its charset changed to UTF-8.
    fn utf8_content_type(&self) -> Vec<u8> {
        let raw = content_type(self.message, self.part).unwrap_or(b"text/plain");
        let mut value = charset::latin1(raw.trim_ascii());
        if self.part.declared().is_none() {
            value = "text/plain".to_owned();
        }
        let mut kept: Vec<&str> = Vec::new();
        for piece in parameters(&value) {
            let name = piece.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
            if name != "charset" && !name.starts_with("charset*") {
                kept.push(piece.trim());
            }
        }
        kept.retain(|piece| !piece.is_empty());
        encode::field("Content-Type", &format!("{}; charset=utf-8", kept.join("; ")), self.line_end)
    }
}

/// The raw value of the part's first `Content-Type` field.
fn content_type<'m>(message: &'m Message, part: &Part) -> Option<&'m [u8]> {
    let mut fields = message.fields_of(part).iter();
    let field =
        fields.find(|field| message.field_name(field).eq_ignore_ascii_case("content-type"))?;
    Some(message.raw_value(field))
}

/// A field's value between semicolons, those in quotes left out.
fn parameters(value: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let outside = |c: char| {
        let here = c == ';' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        here
    };
    value.split(outside).collect()
}

/// A line of format=flowed text that no reader joins to the next (RFC 3676 §4).
fn unflowed(line: &str, line_end: &str) -> String {
    let text = line.trim_end_matches(['\r', '\n']);
    // "-- " is the one line that may end in a space.
    let text = if text == "-- " { text } else { text.trim_end_matches(' ') };
    let stuffing = if text.starts_with([' ', '>']) || text.starts_with("From ") { " " } else { "" };
    format!("{stuffing}{text}{line_end}")
}

/// Plain text as markup.
fn markup(text: &str, line_end: &str) -> String {
    let text = encode::lines(text, "\n");
    let escaped = text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<p>{}</p>{line_end}", escaped.replace('\n', "<br>"))
}

/// Markup in ASCII.
fn references(html: &str) -> Vec<u8> {
    let mut out = String::with_capacity(html.len());
    for c in html.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("&#{};", u32::from(c)));
        }
    }
    out.into_bytes()
}

/// Whether ISO-2022-JP text ends in another set than ASCII.
fn ends_shifted(content: &[u8]) -> bool {
    let last = memchr::memrchr(0x1b, content).and_then(|at| content.get(at..));
    last.is_some_and(|rest| !rest.starts_with(b"\x1b(B"))
}
