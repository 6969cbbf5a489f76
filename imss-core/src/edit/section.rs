//! One header section, as lines that can be kept, dropped and put in.
//!
//! In: a part of a message. Out: the pieces of its edited header section. Fields that no edit names
//! stay the same range of the original, and so do lines that are no fields.

use std::ops::Range;

use bytes::Bytes;

use super::encode;
use super::{EditError, Piece, subject};
use crate::message::{LineEnd, Message, Part};

/// A header section being edited.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) message: &'a Message,
    pub(super) lines: Vec<Line>,
    pub(super) line_end: &'static str,
}

/// One field, or octets between fields that are none.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// `None` for octets that are no field.
    pub(super) name: Option<String>,
    pub(super) pieces: Vec<Piece>,
}

impl<'a> Section<'a> {
    /// The section of `part`, unchanged.
    pub(super) fn of(message: &'a Message, part: &Part) -> Self {
        let header = part.header_range();
        let mut lines = Vec::new();
        let mut at = header.start;
        for field in message.fields_of(part) {
            let range = field.range();
            if at < range.start {
                lines.push(Line { name: None, pieces: vec![original(at..range.start)] });
            }
            let name = Some(message.field_name(field).to_owned());
            at = range.end;
            lines.push(Line { name, pieces: vec![original(range)] });
        }
        if at < header.end {
            lines.push(Line { name: None, pieces: vec![original(at..header.end)] });
        }
        let line_end = match message.line_end() {
            LineEnd::CrLf => "\r\n",
            LineEnd::Lf => "\n",
        };
        Self { message, lines, line_end }
    }

    /// Puts a field before all others.
    pub(super) fn prepend(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        let line = self.line(name, value)?;
        // An mbox line, if that is the first, stays the first.
        let first = self.lines.iter().position(|line| line.name.is_some()).unwrap_or(0);
        self.lines.insert(first, line);
        Ok(())
    }

    /// Adds a field at the end.
    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        let line = self.line(name, value)?;
        self.end_last_line();
        self.lines.push(line);
        Ok(())
    }

    /// Removes every field of that name.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), EditError> {
        encode::check_name(name)?;
        self.lines.retain(|line| !line.is(name));
        Ok(())
    }

    /// Replaces the first field of that name and removes the others; adds it if absent.
    pub(super) fn replace(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        let Some(first) = self.lines.iter().position(|line| line.is(name)) else {
            return self.add(name, value);
        };
        let new = self.line(name, value)?;
        self.lines.retain({
            let mut index = 0_usize;
            move |line| {
                let keep = index <= first || !line.is(name);
                index = index.saturating_add(1);
                keep
            }
        });
        if let Some(line) = self.lines.get_mut(first) {
            *line = new;
        }
        Ok(())
    }

    /// Puts `tag` before every subject; adds a subject if there is none.
    pub(super) fn tag_subject(&mut self, tag: &str) -> Result<(), EditError> {
        let tag = encode::one_line(tag);
        if tag.is_empty() {
            return Ok(());
        }
        if !self.lines.iter().any(|line| line.is("Subject")) {
            return self.add("Subject", &tag);
        }
        let (raw, line_end) = (self.message.raw(), self.line_end);
        for line in self.lines.iter_mut().filter(|line| line.is("Subject")) {
            let octets = line.octets(raw);
            if let Some((at, inserted)) = subject::tag(&octets, &tag, line_end) {
                line.insert(at, inserted.into());
            }
        }
        Ok(())
    }

    /// Replaces every `Content-*` field by `fields`, which end in line ends.
    pub(super) fn replace_content(&mut self, fields: Vec<(&'static str, Vec<u8>)>) {
        let is_content = |line: &Line| {
            let name = line.name.as_deref().unwrap_or_default();
            name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"))
        };
        let at = self.lines.iter().position(is_content);
        if at.is_none() {
            self.end_last_line();
        }
        self.lines.retain(|line| !is_content(line));
        let at = at.unwrap_or(self.lines.len());
        let lines = fields.into_iter().map(|(name, octets)| Line {
            name: Some(name.to_owned()),
            pieces: vec![Piece::Inserted(octets.into())],
        });
        self.lines.splice(at..at, lines);
    }

    /// Replaces the first field of that name and removes the others; adds it if absent. `octets` end
    /// in a line end.
    pub(super) fn set(&mut self, name: &'static str, octets: &[u8]) {
        let at = self.lines.iter().position(|line| line.is(name));
        self.drop_all(name);
        if at.is_none() {
            self.end_last_line();
        }
        let pieces = vec![Piece::Inserted(Bytes::copy_from_slice(octets))];
        let at = at.unwrap_or(self.lines.len()).min(self.lines.len());
        self.lines.insert(at, Line { name: Some(name.to_owned()), pieces });
    }

    /// Removes every field of that name.
    pub(super) fn drop_all(&mut self, name: &str) {
        self.lines.retain(|line| !line.is(name));
    }

    /// Adds a field if there is none of that name.
    pub(super) fn require(&mut self, name: &'static str, value: &str) {
        if !self.lines.iter().any(|line| line.is(name)) {
            self.end_last_line();
            let octets = encode::field(name, value, self.line_end);
            let pieces = vec![Piece::Inserted(octets.into())];
            self.lines.push(Line { name: Some(name.to_owned()), pieces });
        }
    }

    /// The section as it is now.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.lines.iter().flat_map(|line| line.pieces.iter().cloned())
    }

    /// The octets of each field, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = Vec<u8>> {
        let fields = self.lines.iter().filter(|line| line.name.is_some());
        fields.map(|line| line.octets(self.message.raw()))
    }

    fn line(&self, name: &str, value: &str) -> Result<Line, EditError> {
        encode::check_name(name)?;
        let octets = encode::field(name, value, self.line_end);
        Ok(Line { name: Some(name.to_owned()), pieces: vec![Piece::Inserted(octets.into())] })
    }

    /// A message may end inside its header section, without a line end.
    fn end_last_line(&mut self) {
        let raw = self.message.raw();
        if let Some(line) = self.lines.last_mut().filter(|line| !line.octets(raw).ends_with(b"\n"))
        {
            let line_end = self.line_end.as_bytes();
            line.pieces.push(Piece::Inserted(Bytes::from_static(line_end)));
        }
    }
}

impl Line {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    fn octets(&self, raw: &[u8]) -> Vec<u8> {
        super::Rope { pieces: self.pieces.clone() }.to_bytes(raw)
    }

    /// Puts octets in at `at`, counted from the start of the line.
    fn insert(&mut self, at: usize, octets: Bytes) {
        let mut before = 0_u64;
        let at = at as u64;
        let mut out = Vec::new();
        let mut octets = Some(octets);
        for piece in self.pieces.drain(..) {
            let length = piece.len();
            let split = at.saturating_sub(before);
            before = before.saturating_add(length);
            if split >= length || octets.is_none() {
                out.push(piece);
                continue;
            }
            let (left, right) = piece.split(split);
            out.extend([left, Piece::Inserted(octets.take().unwrap_or_default()), right]);
        }
        out.extend(octets.map(Piece::Inserted));
        out.retain(|piece| piece.len() > 0);
        self.pieces = out;
    }
}

/// A range of the original as a piece.
pub(super) fn original(range: Range<usize>) -> Piece {
    Piece::Original(range.start as u64..range.end as u64)
}
