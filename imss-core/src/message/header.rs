//! Splits a header section into its fields (RFC 5322 §2.2).
//!
//! In: the octets of a message or part, and what ends it from outside. Out: one [`Field`] of byte
//! ranges per header field, and where the body starts. Nothing is copied or decoded.
//!
//! Any octets give a section: what is neither a field nor a continuation is skipped or ends the
//! section, as a [`Reader`] says, and is recorded. Work is linear in the section's length.

use std::ops::Range;

use memchr::memchr;

use super::Defects;
use crate::ambiguity::Reader;
use crate::anomaly::AnomalyKind;
use crate::limits::{Limit, Limits};

/// One header field: where it is in the raw message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    range: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

impl Field {
    /// The whole field, from its name to the end of its last line, line end included.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The name, without white space before the colon.
    #[must_use]
    pub fn name_range(&self) -> Range<usize> {
        self.name.clone()
    }

    /// What follows the colon, folded as received, without the last line end. What lies behind the
    /// bound of the header section is left out.
    #[must_use]
    pub fn value_range(&self) -> Range<usize> {
        self.value.clone()
    }

    /// Leaves out what of the value lies behind `end`.
    fn bound(&mut self, end: usize, defects: &mut Defects) {
        if self.value.end > end {
            self.value.end = end.max(self.value.start);
            defects.cut(Limit::Header, end);
        }
    }
}

/// A header section as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// The fields that were appended.
    pub(crate) fields: Range<usize>,
    /// Where its lines end, before the empty line.
    pub(crate) end: usize,
    /// Where the body starts. Equal to `end` if no empty line was there.
    pub(crate) body: usize,
    /// A delimiter of an outer multipart ended it: there is no body.
    pub(crate) cut_by_delimiter: bool,
}

/// Reads the section that starts at `start`. `ends_here` says whether a line that begins with two
/// hyphens, given by its range without line end, is a delimiter of an open multipart.
pub(crate) fn read_section(
    raw: &[u8],
    start: usize,
    fields: &mut Vec<Field>,
    reader: Reader,
    limits: &Limits,
    defects: &mut Defects,
    ends_here: impl Fn(&[u8]) -> bool,
) -> Section {
    let first = fields.len();
    let mut at = start;
    let section = |fields: &Vec<Field>, end, body, cut| Section {
        fields: first..fields.len(),
        end,
        body,
        cut_by_delimiter: cut,
    };
    while at < raw.len() {
        let line = Line::at(raw, at);
        if line.text.is_empty() {
            return section(fields, at, line.next, false);
        }
        if memchr(b'\r', line.text).is_some() {
            defects.add(AnomalyKind::BareLineEnd, at, b"CR");
        }
        if memchr(0, line.text).is_some() {
            defects.add(AnomalyKind::Nul, at, b"header");
        }
        if line.text.starts_with(b"--") && ends_here(line.text) {
            defects.add(AnomalyKind::MissingHeaderEnd, at, line.text);
            return section(fields, at, at, true);
        }
        let in_section = fields.len() > first;
        match line.kind() {
            LineKind::Continuation if in_section => {
                if line.text.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                    defects.add(AnomalyKind::MalformedHeaderLine, at, b"line of blanks");
                    if reader == Reader::BlankLineEndsHeader {
                        return section(fields, at, line.next, false);
                    }
                }
                if let Some(field) = fields.last_mut().filter(|field| field.range.end == at) {
                    field.range.end = line.next;
                    field.value.end = at.saturating_add(line.text.len());
                    field.bound(start.saturating_add(limits.max_header_bytes), defects);
                }
            }
            LineKind::Field(colon) => {
                if !line.text.is_ascii() {
                    defects.add(AnomalyKind::RawHeaderOctets, at, line.text);
                }
                let full = fields.len().saturating_sub(first) >= limits.max_header_fields
                    || at.saturating_sub(start) > limits.max_header_bytes;
                if full {
                    defects.cut(Limit::Header, at);
                } else {
                    let mut field = line.field(at, colon);
                    field.bound(start.saturating_add(limits.max_header_bytes), defects);
                    fields.push(field);
                }
            }
            LineKind::Separator if at == start => {}
            _ => {
                defects.add(AnomalyKind::MalformedHeaderLine, at, line.text);
                let island = next_is_field(raw, line.next);
                let ends = !in_section || !island;
                let inverts = reader == Reader::InvertsMalformedLines && (in_section || island);
                if ends != inverts && reader != Reader::SkipsMalformedLines {
                    return section(fields, at, at, false);
                }
            }
        }
        at = line.next;
    }
    if fields.len() > first {
        defects.add(AnomalyKind::MissingHeaderEnd, at, b"");
    }
    section(fields, at, at, false)
}

/// Whether a malformed line is an island among fields: the next line is one, or ends the section.
fn next_is_field(raw: &[u8], at: usize) -> bool {
    let line = Line::at(raw, at);
    at < raw.len() && (line.text.is_empty() || matches!(line.kind(), LineKind::Field(_)))
}

/// One line: its octets without line end, and where the next one starts.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) next: usize,
}

enum LineKind {
    /// Starts with white space.
    Continuation,
    /// A field; the colon's place in the line.
    Field(usize),
    /// The line that separates messages in a mailbox file; some senders leave it in.
    Separator,
    /// Anything else.
    Malformed,
}

impl<'a> Line<'a> {
    /// The line that starts at `at`; LF and CRLF end it. Without one, the rest.
    pub(crate) fn at(raw: &'a [u8], at: usize) -> Self {
        let rest = raw.get(at..).unwrap_or_default();
        let (text, next) = match memchr(b'\n', rest) {
            Some(end) => (rest.get(..end).unwrap_or_default(), at.saturating_add(end + 1)),
            None => (rest, raw.len()),
        };
        Self { text: text.strip_suffix(b"\r").unwrap_or(text), next }
    }

    /// Whether it starts a MIME or other well-formed field.
    pub(crate) fn looks_like_field(&self) -> bool {
        matches!(self.kind(), LineKind::Field(_))
    }

    fn kind(&self) -> LineKind {
        match self.text.first() {
            Some(b' ' | b'\t') => return LineKind::Continuation,
            None => return LineKind::Malformed,
            Some(_) => {}
        }
        if self.text.starts_with(b"From ") || self.text.starts_with(b">From ") {
            return LineKind::Separator;
        }
        let Some(colon) = memchr(b':', self.text) else { return LineKind::Malformed };
        let name = trim_end(self.text.get(..colon).unwrap_or_default());
        // Raw 8-bit letters in names are broken, but every reader takes the line as a field.
        if name.is_empty() || name.iter().any(|byte| *byte <= b' ' || *byte == 127) {
            return LineKind::Malformed;
        }
        LineKind::Field(colon)
    }

    fn field(&self, at: usize, colon: usize) -> Field {
        let name = trim_end(self.text.get(..colon).unwrap_or_default()).len();
        Field {
            range: at..self.next,
            name: at..at.saturating_add(name),
            value: at.saturating_add(colon + 1)..at.saturating_add(self.text.len()),
        }
    }
}

/// `text` without spaces and tabs at its end.
pub(crate) fn trim_end(text: &[u8]) -> &[u8] {
    let end =
        text.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}
