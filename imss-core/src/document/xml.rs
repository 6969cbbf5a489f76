//! Reads XML (XML 1.0, fifth edition) for document formats: one pass, borrowed, without namespaces.
//!
//! In: octets in any encoding, and the message's [`Budget`]. Out: [`Token`]s. Names are compared by
//! their local part, since prefixes are free to choose.
//!
//! A document type is ignored, so nothing expands beyond the five predefined entities and character
//! references. What is not well-formed is read on where possible and told by [`Xml::finish`].

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE};
use quick_xml::errors::{Error, IllFormedError};
use quick_xml::events::{BytesEnd, BytesStart, Event};
use quick_xml::reader::Reader;

use crate::archive::UnpackError;
use crate::charset;
use crate::limits::{Budget, Limit};

/// Elements inside each other. Real documents stay below 100.
const MAX_DEPTH: usize = 1_000;
/// What an event costs besides its octets.
const STEPS: u64 = 16;

/// A reader over decoded text.
pub(crate) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    read: u64,
    defect: Option<(u64, &'static str)>,
    ended: bool,
}

/// What a reader sees.
pub(crate) enum Token<'a> {
    /// An element begins. Every one ends, also `<a/>`.
    Start(Tag<'a>),
    /// An element ends.
    End(End<'a>),
    /// Text, or a piece of it: entities and CDATA sections are pieces of their own.
    Text(Cow<'a, str>),
}

/// A start tag.
pub(crate) struct Tag<'a>(BytesStart<'a>);

/// An end tag.
pub(crate) struct End<'a>(BytesEnd<'a>);

impl<'a> Xml<'a> {
    /// A reader at the start of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self { reader, depth: 0, read: 0, defect: None, ended: false }
    }

    /// The next token; `None` at the end, or where reading on makes no sense.
    pub(crate) fn token(&mut self, budget: &mut Budget<'_>) -> Result<Option<Token<'a>>, Limit> {
        while !self.ended {
            let event = self.reader.read_event();
            let position = self.reader.buffer_position();
            budget.charge_work(position.saturating_sub(self.read).saturating_add(STEPS))?;
            self.read = position;
            match event {
                Ok(Event::Start(tag)) => {
                    self.depth = self.depth.saturating_add(1);
                    if self.depth > MAX_DEPTH {
                        self.malformed("elements nested too deep");
                        self.ended = true;
                        break;
                    }
                    return Ok(Some(Token::Start(Tag(tag))));
                }
                Ok(Event::End(tag)) => return Ok(Some(self.end(tag))),
                Ok(Event::Text(text)) => return Ok(Some(Token::Text(text.into_inner()))),
                Ok(Event::CData(text)) => return Ok(Some(Token::Text(text.into_inner()))),
                Ok(Event::GeneralRef(name)) => {
                    return Ok(Some(Token::Text(resolve(&name.into_inner()))));
                }
                Ok(Event::Eof) => self.end_of_text(),
                Ok(_) => {}
                Err(error) => {
                    if let Some(end) = self.recover(error) {
                        return Ok(Some(end));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Octets of the text read so far.
    pub(crate) fn position(&self) -> usize {
        usize::try_from(self.read).unwrap_or(usize::MAX)
    }

    /// Elements that are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// What was wrong, if anything was.
    pub(crate) fn finish(&self) -> Result<(), UnpackError> {
        match self.defect {
            Some((offset, detail)) => Err(UnpackError::Malformed { offset, detail }),
            None => Ok(()),
        }
    }

    fn end(&mut self, tag: BytesEnd<'a>) -> Token<'a> {
        self.depth = self.depth.saturating_sub(1);
        Token::End(End(tag))
    }

    fn end_of_text(&mut self) {
        self.ended = true;
        if self.depth > 0 {
            self.malformed("XML ends inside an element");
        }
    }

    /// After a wrong end tag the element that was open ends; other mistakes of form are passed over.
    fn recover(&mut self, error: Error) -> Option<Token<'a>> {
        self.malformed("XML is not well-formed");
        match error {
            Error::IllFormed(IllFormedError::MismatchedEndTag { expected, .. }) => {
                Some(self.end(BytesEnd::new(expected)))
            }
            Error::IllFormed(_) => None,
            _ => {
                self.ended = true;
                None
            }
        }
    }

    fn malformed(&mut self, detail: &'static str) {
        self.defect.get_or_insert((self.read, detail));
    }
}

impl Tag<'_> {
    /// Its name without a prefix.
    pub(crate) fn local(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// Its prefix; empty if it has none.
    pub(crate) fn prefix(&self) -> &str {
        self.0.name().prefix().map_or("", |prefix| prefix.into_inner())
    }

    /// The value of the first attribute with this local name.
    pub(crate) fn attr(&self, local: &str) -> Option<Cow<'_, str>> {
        self.find(|name, _| name == local)
    }

    /// The value of the first attribute with a prefix and this local name: `r:id`, not `id`.
    pub(crate) fn prefixed(&self, local: &str) -> Option<Cow<'_, str>> {
        self.find(|name, has_prefix| has_prefix && name == local)
    }

    /// Whether the attribute says yes (`1`, `true`, `on`).
    pub(crate) fn is(&self, local: &str) -> bool {
        self.attr(local).is_some_and(|value| matches!(value.as_ref(), "1" | "true" | "on" | "t"))
    }

    /// Whether the attribute says no.
    pub(crate) fn is_not(&self, local: &str) -> bool {
        self.attr(local).is_some_and(|value| matches!(value.as_ref(), "0" | "false" | "off" | "f"))
    }

    fn find(&self, wanted: impl Fn(&str, bool) -> bool) -> Option<Cow<'_, str>> {
        let mut attributes = self.0.attributes();
        attributes.with_checks(false);
        for attribute in attributes.flatten() {
            let name = attribute.key.into_inner();
            let (prefix, local) = name.split_once(':').unwrap_or(("", name));
            if wanted(local, !prefix.is_empty()) {
                return Some(unescape(attribute.value));
            }
        }
        None
    }
}

impl End<'_> {
    /// Its name without a prefix.
    pub(crate) fn local(&self) -> &str {
        self.0.local_name().into_inner()
    }
}

/// Octets → text, by byte order mark, the look of the first octets, or the XML declaration
/// (XML 1.0, appendix F). Text that had to be converted is charged.
pub(crate) fn decode<'a>(
    content: &'a [u8],
    budget: &mut Budget<'_>,
) -> Result<Cow<'a, str>, Limit> {
    budget.charge_work(u64::try_from(content.len() / 8).unwrap_or(u64::MAX))?;
    let text = match content {
        [0xff, 0xfe, rest @ ..] => UTF_16LE.decode_without_bom_handling(rest).0,
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0,
        [b'<', 0, ..] => UTF_16LE.decode_without_bom_handling(content).0,
        [0, b'<', ..] => UTF_16BE.decode_without_bom_handling(content).0,
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => match declared(content) {
            Some(label) => Cow::Owned(charset::decode(content, Some(label)).text),
            None => match simdutf8::basic::from_utf8(content) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(content),
            },
        },
    };
    if let Cow::Owned(owned) = &text {
        budget.charge_bytes(u64::try_from(owned.len()).unwrap_or(u64::MAX))?;
    }
    Ok(text)
}

/// Whether `content` can be XML and holds one of `words`, in octets or in UTF-16. All of it is looked
/// at: a comment before the first element may be as long as it likes.
pub(crate) fn is_xml_with(content: &[u8], words: &[&[u8]]) -> bool {
    let wide = matches!(content, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..]);
    let holds = |word: &&[u8]| {
        let mut word = word.to_vec();
        if wide {
            // Without the outer half of one end it is the same in either order.
            word = word.iter().flat_map(|&octet| [octet, 0]).collect();
            word.pop();
        }
        memchr::memmem::find(content, &word).is_some()
    };
    is_xml(content) && words.iter().any(holds)
}

/// Whether `content` can be XML: the first thing in it is a `<`.
pub(crate) fn is_xml(content: &[u8]) -> bool {
    let content = match content {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] | [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        _ => content,
    };
    content.iter().find(|octet| !matches!(octet, 0 | 9 | 10 | 13 | 32)) == Some(&b'<')
}

/// The local name of the first element, with its prefix apart.
pub(crate) fn root(text: &str, budget: &mut Budget<'_>) -> Result<Option<String>, Limit> {
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(budget)? {
        if let Token::Start(tag) = token {
            return Ok(Some(tag.local().to_owned()));
        }
    }
    Ok(None)
}

/// The charset of the declaration, unless it is UTF-8 or cannot be true.
fn declared(content: &[u8]) -> Option<&str> {
    let head = content.strip_prefix(b"<?xml")?;
    let head = head.get(..memchr::memmem::find(head, b"?>")?)?;
    let at = memchr::memmem::find(head, b"encoding")?;
    let rest = head.get(at..)?;
    let open = rest.iter().position(|octet| matches!(octet, b'"' | b'\''))?;
    let value = rest.get(open.saturating_add(1)..)?;
    let close = value.iter().position(|octet| matches!(octet, b'"' | b'\''))?;
    let label = std::str::from_utf8(value.get(..close)?).ok()?.trim();
    // What says UTF-16 in single octets is read as UTF-8, as every parser must.
    let lower = label.to_ascii_lowercase();
    let useless = lower.starts_with("utf-16") || lower.starts_with("utf16");
    (!useless && !matches!(lower.as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii"))
        .then_some(label)
}

/// One reference, without `&` and `;`. Others than the predefined stay as they are written.
fn resolve(name: &str) -> Cow<'static, str> {
    let predefined = match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        "nbsp" => "\u{a0}",
        _ => "",
    };
    if !predefined.is_empty() {
        return Cow::Borrowed(predefined);
    }
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    });
    match number.map(char::from_u32) {
        Some(Some(character)) => Cow::Owned(character.to_string()),
        Some(None) => Cow::Borrowed("\u{fffd}"),
        None => Cow::Owned(format!("&{name};")),
    }
}

/// Replaces the references in an attribute's value.
fn unescape(raw: Cow<'_, str>) -> Cow<'_, str> {
    if !raw.contains('&') {
        return raw;
    }
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw.as_ref();
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        match after.split_once(';') {
            Some((name, after)) if name.len() <= 12 => {
                plain.push_str(&resolve(name));
                rest = after;
            }
            _ => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn tokens(content: &[u8]) -> (String, Result<(), UnpackError>) {
        let limits = Limits::small();
        let mut budget = Budget::new(&limits);
        let text = decode(content, &mut budget).unwrap();
        let mut xml = Xml::new(&text);
        let mut seen = String::new();
        while let Some(token) = xml.token(&mut budget).unwrap() {
            match token {
                Token::Start(tag) => seen.extend(["<", tag.local(), ">"]),
                Token::End(end) => seen.extend(["</", end.local(), ">"]),
                Token::Text(text) => seen.push_str(&text),
            }
        }
        (seen, xml.finish())
    }

    #[test]
    fn well_formed() {
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let cases: [(&str, Vec<u8>, &str); 9] = [
            ("prefixes are dropped", b"<w:a><x:b/>t</w:a>".to_vec(), "<a><b></b>t</a>"),
            ("entities", b"<a>&lt;&#65;&#x3042;&amp;</a>".to_vec(), "<a><A\u{3042}&</a>"),
            ("CDATA", b"<a><![CDATA[<b>]]></a>".to_vec(), "<a><b></a>"),
            (
                "entities of a document type are not expanded",
                b"<!DOCTYPE a [<!ENTITY x \"yyyy\">]><a>&x;</a>".to_vec(),
                "<a>&x;</a>",
            ),
            ("an ampersand alone", b"<a>R&D</a>".to_vec(), "<a>R&D</a>"),
            ("UTF-16 without a mark", utf16("<a>\u{65e5}</a>"), "<a>\u{65e5}</a>"),
            (
                "UTF-16 with a mark",
                [vec![0xff, 0xfe], utf16("<a>\u{65e5}</a>")].concat(),
                "<a>\u{65e5}</a>",
            ),
            (
                "Shift_JIS",
                b"<?xml version='1.0' encoding='Shift_JIS'?><a>\x93\xfa</a>".to_vec(),
                "<a>\u{65e5}</a>",
            ),
            (
                "UTF-16 that is none",
                b"<?xml version='1.0' encoding='UTF-16'?><a>b</a>".to_vec(),
                "<a>b</a>",
            ),
        ];
        for (name, content, expected) in cases {
            let (seen, result) = tokens(&content);
            assert_eq!(seen, expected, "{name}");
            assert_eq!(result, Ok(()), "{name}");
        }
    }

    #[test]
    fn vocabularies_are_found_anywhere() {
        let wide = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(order).collect()
        };
        let long = format!("{}<!--{}--><a xmlns='urn:v'/>", " ".repeat(2_000), "x".repeat(1 << 20));
        let cases: [(&str, Vec<u8>, bool); 7] = [
            ("at the start", b"<a xmlns='urn:v'/>".to_vec(), true),
            ("behind a long comment", long.clone().into(), true),
            ("behind a mark", [b"\xef\xbb\xbf", long.as_bytes()].concat(), true),
            ("UTF-16, little end first", wide(&long, u16::to_le_bytes), true),
            ("UTF-16, big end first", wide(&long, u16::to_be_bytes), true),
            ("another", b"<a xmlns='urn:w'/>".to_vec(), false),
            ("no XML", b"a <a xmlns='urn:v'/>".to_vec(), false),
        ];
        for (name, content, expected) in cases {
            assert_eq!(is_xml_with(&content, &[b"urn:x", b"urn:v"]), expected, "{name}");
        }
    }

    #[test]
    fn what_is_broken_is_read_as_far_as_possible() {
        let deep = "<a>".repeat(MAX_DEPTH + 10);
        let cases = [
            ("cut", "<a><b>text", "<a><b>text"),
            ("crossed", "<a><b>x</a>y</b>z", "<a><b>x</b>y</a>z"),
            ("open tag", "<a>x<b", "<a>x"),
            ("too deep", deep.as_str(), &"<a>".repeat(MAX_DEPTH)),
        ];
        for (name, content, expected) in cases {
            let (seen, result) = tokens(content.as_bytes());
            assert_eq!(seen, expected, "{name}");
            assert!(result.is_err(), "{name}");
        }
    }

    #[test]
    fn attributes() {
        let limits = Limits::small();
        let mut budget = Budget::new(&limits);
        let mut xml = Xml::new("<a id='1' r:id='2' t='x&amp;&#x41;&y z'/>");
        let Some(Token::Start(tag)) = xml.token(&mut budget).unwrap() else { panic!("no element") };
        assert_eq!(tag.attr("id").as_deref(), Some("1"));
        assert_eq!(tag.prefixed("id").as_deref(), Some("2"));
        assert_eq!(tag.attr("t").as_deref(), Some("x&A&y z"));
        assert_eq!(tag.attr("u"), None);
    }
}
