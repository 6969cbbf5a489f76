//! Builds the tree of parts in one forward pass (RFC 2046 §5.1).
//!
//! In: a raw message and the [`Reader`] whose choices to follow. Out: a [`Message`]. A stack holds
//! the open multiparts; each line that starts with two hyphens is compared with their boundaries,
//! innermost first, so work is linear in the length times the bounded depth.
//!
//! A missing close-delimiter ends parts at the next outer delimiter or at the end; a boundary that
//! never occurs leaves a part without children. Both are recorded.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::header::{Field, Line, Section, read_section, trim_end};
use super::parameters::{self, Described};
use super::part::{Part, PartKind, TransferEncoding};
use super::{Defects, Message};
use crate::ambiguity::Reader;
use crate::anomaly::AnomalyKind;
use crate::limits::{Limit, Limits};

/// Deeper trees are cut whatever the limits say: each level costs a comparison per delimiter line.
const MAX_DEPTH: usize = 100;

/// How far into a multipart without boundary a delimiter is looked for.
const GUESS_BYTES: usize = 64 << 10;

/// Reads `raw` as `reader` would.
pub(super) fn read(raw: Bytes, limits: &Limits, reader: Reader) -> Message {
    let mut builder = Builder {
        raw: &raw,
        limits,
        reader,
        parts: Vec::new(),
        fields: Vec::new(),
        defects: Defects::default(),
        open: Vec::new(),
        leaf: None,
    };
    builder.run();
    let Builder { parts, fields, defects, .. } = builder;
    Message { raw, parts, fields, defects }
}

struct Builder<'a> {
    raw: &'a [u8],
    limits: &'a Limits,
    reader: Reader,
    parts: Vec<Part>,
    fields: Vec<Field>,
    defects: Defects,
    open: Vec<Open>,
    leaf: Option<usize>,
}

/// A multipart or attached message whose end was not seen yet.
struct Open {
    part: usize,
    /// Empty for an attached message: nothing delimits it but what is around it.
    boundary: Vec<u8>,
    children: usize,
    closed: bool,
}

/// A delimiter line of an open multipart.
struct Delimiter {
    /// Start of the line.
    at: usize,
    /// Start of the next one.
    next: usize,
    level: usize,
    closes: bool,
}

impl Builder<'_> {
    fn run(&mut self) {
        if memchr::memchr(0, self.raw.get(..self.raw.len().min(4096)).unwrap_or_default()).is_some()
        {
            self.defects.add(AnomalyKind::Nul, 0, b"");
        }
        let mut at = self.read_entity(0, None);
        if !self.open.is_empty() && memmem::find(self.raw, b"\r--").is_some() {
            self.defects.add(AnomalyKind::BareLineEnd, 0, b"CR before hyphens");
        }
        while let Some(delimiter) = self.next_delimiter(at) {
            self.close(delimiter.level, delimiter.at);
            at = delimiter.next;
            let Some(open) = self.open.get_mut(delimiter.level) else { break };
            if delimiter.closes {
                open.closed = true;
                continue;
            }
            if open.closed {
                open.closed = false;
                self.defects.add(
                    AnomalyKind::ContentOutsideParts,
                    delimiter.at,
                    b"part after the last",
                );
            }
            if self.parts.len() >= self.limits.max_entities {
                self.defects.cut(Limit::Entities, delimiter.at);
                break;
            }
            let parent = open.part;
            open.children = open.children.saturating_add(1);
            at = self.read_entity(at, Some(parent));
        }
        self.close_all();
    }

    /// Reads a header section and, for an attached message in plain sight, the ones inside.
    /// Returns where to look for the next delimiter.
    fn read_entity(&mut self, start: usize, parent: Option<usize>) -> usize {
        let (mut start, mut parent) = (start, parent);
        loop {
            let section = self.read_header(start);
            let index = self.push_part(start, parent, &section);
            let body = section.body;
            let Some(part) = self.parts.get_mut(index) else { return body };
            let boundary = match part.kind {
                PartKind::Leaf => None,
                PartKind::Message => Some(Vec::new()),
                PartKind::Multipart => Some(part.boundary.clone().unwrap_or_default()),
            };
            let Some(boundary) = boundary.filter(|_| !section.cut_by_delimiter) else {
                part.kind = PartKind::Leaf;
                self.leaf = Some(index);
                return body;
            };
            if self.open.len() >= self.limits.max_layers.min(MAX_DEPTH) {
                part.kind = PartKind::Leaf;
                self.leaf = Some(index);
                self.defects.cut(Limit::Layers, start);
                return body;
            }
            let nested = part.kind == PartKind::Message;
            if !nested && self.open.iter().any(|open| open.boundary == boundary) {
                self.defects.add(AnomalyKind::PrefixBoundary, start, &boundary);
            }
            self.leaf = None;
            self.open.push(Open {
                part: index,
                boundary,
                children: usize::from(nested),
                closed: nested,
            });
            if !nested {
                return body;
            }
            if self.parts.len() >= self.limits.max_entities {
                self.defects.cut(Limit::Entities, body);
                return body;
            }
            (start, parent) = (body, Some(index));
        }
    }

    fn read_header(&mut self, start: usize) -> Section {
        let Self { raw, limits, reader, fields, defects, open, .. } = self;
        let ends = |line: &[u8]| matching(open, line, *reader).is_some();
        read_section(raw, start, fields, *reader, limits, defects, ends)
    }

    fn push_part(&mut self, start: usize, parent: Option<usize>, section: &Section) -> usize {
        let fields = self.fields.get(section.fields.clone()).unwrap_or_default();
        let described = parameters::describe(self.raw, fields, self.reader, &mut self.defects);
        let in_digest = parent
            .and_then(|parent| self.parts.get(parent))
            .is_some_and(|parent| parent.declared.as_deref() == Some("multipart/digest"));
        let mut part = Part {
            number: String::new(),
            parent,
            kind: PartKind::Leaf,
            header: start..section.end,
            body: section.body..self.raw.len(),
            fields: section.fields.clone(),
            declared: described.media_type.clone(),
            charset: described.charset.clone(),
            boundary: described.boundary.clone(),
            encoding: described.encoding,
            disposition: described.disposition,
            names: described.names.clone(),
            in_digest,
            closed: false,
        };
        part.kind = self.kind_of(&mut part, &described, section);
        part.number = self.number(&part);
        self.parts.push(part);
        self.parts.len().saturating_sub(1)
    }

    fn kind_of(&mut self, part: &mut Part, described: &Described, section: &Section) -> PartKind {
        if part.media_type().starts_with("multipart/") {
            if part.encoding != TransferEncoding::Identity {
                self.defects.add(AnomalyKind::EncodedContainer, section.body, b"multipart");
                if self.reader == Reader::EncodedContainerIsContent {
                    return PartKind::Leaf;
                }
            }
            if part.boundary.is_none() || self.reader == Reader::GuessBoundary {
                part.boundary = self.guess_boundary(section.body).or(described.boundary.clone());
            }
            if part.boundary.is_some() {
                return PartKind::Multipart;
            }
            self.defects.add(AnomalyKind::MissingBoundary, section.body, b"");
            return PartKind::Leaf;
        }
        let message =
            matches!(part.media_type(), "message/rfc822" | "message/global" | "message/news");
        let fields_follow = Line::at(self.raw, section.body).looks_like_field();
        let in_plain_sight = part.encoding == TransferEncoding::Identity || fields_follow;
        let encoded = part.encoding != TransferEncoding::Identity;
        if encoded && !message && fields_follow && part.media_type().starts_with("message/") {
            // Encodings are forbidden there, and what can be read is not encoded.
            self.defects.add(AnomalyKind::EncodedContainer, section.body, b"message");
            if self.reader != Reader::EncodedContainerIsContent {
                part.encoding = TransferEncoding::Identity;
            }
        }
        if message && fields_follow && part.encoding != TransferEncoding::Identity {
            self.defects.add(AnomalyKind::EncodedContainer, section.body, b"message");
            if self.reader == Reader::EncodedContainerIsContent {
                return PartKind::Leaf;
            }
        }
        if message && in_plain_sight { PartKind::Message } else { PartKind::Leaf }
    }

    /// The first line with two hyphens before a field is a delimiter to readers that search for one.
    fn guess_boundary(&mut self, body: usize) -> Option<Vec<u8>> {
        let text = self.raw.get(body..self.raw.len().min(body.saturating_add(GUESS_BYTES)))?;
        let next = || memmem::find(text, b"\n--").map(|at| at + 1);
        let Some(first) = text.starts_with(b"--").then_some(0).or_else(next) else {
            if text.len() == GUESS_BYTES {
                self.defects.cut(Limit::Facts, body);
            }
            return None;
        };
        let line = Line::at(text, first);
        let boundary = trim_end(line.text.get(2..)?);
        let known = self.open.iter().any(|open| open.boundary == boundary);
        let usable = !boundary.is_empty() && !known && Line::at(text, line.next).looks_like_field();
        usable.then(|| boundary.to_vec())
    }

    fn number(&self, part: &Part) -> String {
        let top = if part.kind == PartKind::Multipart { "0" } else { "1" };
        let Some(parent) = part.parent.and_then(|parent| self.parts.get(parent)) else {
            return top.to_owned();
        };
        if parent.kind == PartKind::Message {
            return format!("{}.{top}", parent.number);
        }
        let place = self.open.last().map_or(1, |open| open.children);
        match parent.number.strip_suffix('0').filter(|base| base.is_empty() || base.ends_with('.'))
        {
            Some(base) => format!("{base}{place}"),
            None => format!("{}.{place}", parent.number),
        }
    }

    /// The next delimiter at or after `from`, which is the start of a line.
    fn next_delimiter(&mut self, from: usize) -> Option<Delimiter> {
        if self.open.iter().all(|open| open.boundary.is_empty()) {
            return None;
        }
        let finder = memmem::Finder::new(b"\n--");
        let mut at = from;
        loop {
            let rest = self.raw.get(at..)?;
            if !rest.starts_with(b"--") {
                at = at.checked_add(finder.find(rest)?)?.checked_add(1)?;
            }
            let line = Line::at(self.raw, at);
            match matching(&self.open, line.text, self.reader) {
                Some(Match { level, kind: MatchKind::Prefix, .. })
                    if self.reader != Reader::PrefixBoundaries =>
                {
                    let seen = self.open.get(level).map(|open| open.boundary.clone());
                    self.defects.add(AnomalyKind::PrefixBoundary, at, &seen.unwrap_or_default());
                }
                Some(Match { level, kind }) => {
                    let closes = kind == MatchKind::Close;
                    return Some(Delimiter { at, next: line.next, level, closes });
                }
                None => {}
            }
            at = line.next;
        }
    }

    /// Ends everything inside the multipart at `level` before the delimiter line at `at`.
    fn close(&mut self, level: usize, at: usize) {
        let before = self.raw.get(..at).unwrap_or_default();
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let mut end = before.strip_suffix(b"\r").unwrap_or(before).len();
        // A part without a body shares its last line end with the delimiter; what is around it
        // reaches as far as it does.
        let around = self.open.get(level.saturating_add(1)..).unwrap_or_default();
        let inner = self.leaf.take().or_else(|| around.last().map(|open| open.part));
        if let Some(part) = inner.and_then(|inner| self.parts.get_mut(inner)) {
            end = end.max(part.body.start);
            part.body.end = end;
        }
        for open in self.open.drain(level.saturating_add(1)..) {
            if let Some(part) = self.parts.get_mut(open.part) {
                part.body.end = end;
                finish(part, &open, &mut self.defects);
            }
        }
    }

    fn close_all(&mut self) {
        for open in self.open.drain(..) {
            if let Some(part) = self.parts.get_mut(open.part) {
                finish(part, &open, &mut self.defects);
            }
        }
    }
}

/// Notes what was missing in a container that ends here.
fn finish(part: &mut Part, open: &Open, defects: &mut Defects) {
    part.closed = open.closed;
    if open.children == 0 {
        part.kind = PartKind::Leaf;
        defects.add(AnomalyKind::MissingBoundary, part.body.start, &open.boundary);
    } else if !open.closed {
        defects.add(AnomalyKind::MissingCloseDelimiter, part.body.end, &open.boundary);
    }
}

struct Match {
    level: usize,
    kind: MatchKind,
}

#[derive(PartialEq, Eq)]
enum MatchKind {
    Delimiter,
    Close,
    /// Starts with a boundary and goes on with something else.
    Prefix,
}

/// Which open multipart a line that starts with two hyphens delimits. A whole match on any level
/// wins over a line that only starts with a boundary: inner boundaries often extend outer ones.
fn matching(open: &[Open], line: &[u8], reader: Reader) -> Option<Match> {
    let text = trim_end(line.get(2..)?);
    let mut prefix = None;
    let mut whole = None;
    for (level, open) in open.iter().enumerate().rev().filter(|(_, open)| !open.boundary.is_empty())
    {
        let kind = match text.strip_prefix(open.boundary.as_slice()) {
            Some(b"") => MatchKind::Delimiter,
            Some(b"--") => MatchKind::Close,
            Some(rest) => {
                let kind =
                    if rest.starts_with(b"--") { MatchKind::Close } else { MatchKind::Prefix };
                prefix = prefix.or(Some(Match { level, kind }));
                continue;
            }
            None => continue,
        };
        if whole.is_none() || reader == Reader::OuterBoundaryFirst {
            whole = Some(Match { level, kind });
        }
    }
    whole.or(prefix)
}

/// Text of a multipart that is in none of its parts.
pub(crate) struct Outside {
    /// Where it is.
    pub(crate) range: Range<usize>,
    /// The place of the multipart.
    pub(crate) multipart: usize,
    /// Whether it lies between a close-delimiter and a later delimiter: to readers that go on after the
    /// first it is a part.
    pub(crate) is_between: bool,
}

/// The spans before, between and after the parts of each multipart.
pub(crate) fn outside_parts(message: &Message) -> Vec<Outside> {
    let (raw, parts) = (&message.raw, message.parts());
    let mut inner: Vec<Option<Range<usize>>> = vec![None; parts.len()];
    let mut found = Vec::new();
    for part in parts {
        let Some(multipart) = part.parent else { continue };
        let Some(span) = inner.get_mut(multipart) else { continue };
        let range = part.range();
        if let Some(before) = span {
            let end = line_before(raw, range.start);
            let between = after_delimiter(raw, before.end).min(end)..end;
            found.push(Outside { range: between, multipart, is_between: true });
        }
        let range = span.get_or_insert(range);
        range.end = range.end.max(part.body.end);
    }
    for (multipart, (part, inner)) in parts.iter().zip(inner).enumerate() {
        if part.kind != PartKind::Multipart {
            continue;
        }
        let inner = inner.unwrap_or_else(|| part.body_range());
        let before = part.body.start..inner.start.max(part.body.start);
        let after = after_delimiter(raw, inner.end).min(part.body.end)..part.body.end;
        let is_between = has_delimiter(raw.get(after.clone()).unwrap_or_default(), part);
        found.push(Outside { range: before, multipart, is_between: false });
        found.push(Outside { range: after, multipart, is_between });
    }
    found.retain(|outside| {
        raw.get(outside.range.clone()).is_some_and(|text| !text.trim_ascii().is_empty())
    });
    found
}

/// Whether a delimiter line of `part` is in `text`, not at its start.
fn has_delimiter(text: &[u8], part: &Part) -> bool {
    let boundary = part.boundary.as_deref().unwrap_or_default();
    let line = [b"\n--", boundary].concat();
    !boundary.is_empty() && memmem::find(text, &line).is_some()
}

/// Where the line before the one that starts at `at` starts.
fn line_before(raw: &[u8], at: usize) -> usize {
    let text = raw.get(..at.saturating_sub(1)).unwrap_or_default();
    memchr::memrchr(b'\n', text).map_or(0, |end| end.saturating_add(1))
}

/// Where the line after the delimiter line that ends at or after `at` starts.
fn after_delimiter(raw: &[u8], at: usize) -> usize {
    let delimiter = if raw.get(at..).is_some_and(|rest| rest.starts_with(b"--")) {
        at
    } else {
        Line::at(raw, at).next
    };
    Line::at(raw, delimiter).next
}
