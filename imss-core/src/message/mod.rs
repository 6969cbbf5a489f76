//! Raw bytes → [`Message`]: an index of byte ranges into the original. Nothing is copied.
//!
//! In: any octets. Out: the header section, and the tree of parts with what their fields say.
//! Attached messages in plain sight are part of the tree; encoded ones are opened by
//! [`Entities`](crate::entity::Entities). Header values (dates, addresses) are read with
//! mail-parser; structure, parameters and encoded words are ours.
//!
//! Bad input never fails: each defect is an [`Anomaly`], each bound that was reached a [`Cut`].
//! Work is linear in the message's length times, at worst, the bounded nesting depth.

mod address;
pub(crate) mod encoded_word;
pub(crate) mod header;
mod outline;
pub(crate) mod parameters;
mod part;
mod structure;
pub(crate) mod transfer;
pub(crate) mod uuencode;

use std::ops::Range;

use bytes::Bytes;

pub use address::Address;
pub use header::Field;
pub use outline::{Outline, OutlinePart};
pub use part::{Disposition, Part, PartKind, TransferEncoding};
pub(crate) use structure::{Outside, outside_parts};

use crate::ambiguity::Reader;
use crate::anomaly::{Anomaly, AnomalyKind};
use crate::ids::EntityId;
use crate::limits::{Limit, Limits};

/// One message as received: its bytes and where things are in them.
#[derive(Debug, Clone)]
pub struct Message {
    raw: Bytes,
    parts: Vec<Part>,
    fields: Vec<Field>,
    defects: Defects,
}

/// A bound that ended the reading of a message's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Which bound.
    pub limit: Limit,
    /// Where it was reached, in octets from the start of the message.
    pub offset: usize,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineEnd {
    /// CR LF, as on the wire.
    CrLf,
    /// LF alone, as in files.
    Lf,
}

impl Message {
    /// Reads any byte string as a message (RFC 5322, RFC 2045). Never fails.
    #[must_use]
    pub fn parse(raw: Bytes, limits: &Limits) -> Self {
        Self::parse_as(raw, limits, Reader::default())
    }

    /// Reads it as `reader` would.
    pub(crate) fn parse_as(raw: Bytes, limits: &Limits, reader: Reader) -> Self {
        structure::read(raw, limits, reader)
    }

    /// The bytes as received.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// What is wrong with its structure, in the order seen. Offsets count from the start of the
    /// message.
    #[must_use]
    pub fn anomalies(&self) -> &[Anomaly] {
        &self.defects.anomalies
    }

    /// The bounds that were reached. What lies behind them was not split into parts.
    #[must_use]
    pub fn cuts(&self) -> &[Cut] {
        &self.defects.cuts
    }

    /// The parts, parents before children, in the order of their octets. Never empty: the first is
    /// the message's own content.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The octets of a range, such as [`Part::body_range`]; empty if it is not inside the message.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Bytes {
        let inside = range.start <= range.end && range.end <= self.raw.len();
        if inside { self.raw.slice(range) } else { Bytes::new() }
    }

    /// What a part holds, its transfer encoding undone as mail clients do (RFC 2045 §6): always
    /// something. Octets that do not belong to the encoding are left out, or kept as they are. A
    /// multipart holds nothing itself; without an encoding the memory is shared.
    ///
    /// ```
    /// use imss_core::{limits::Limits, message::Message};
    ///
    /// let raw = b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n";
    /// let message = Message::parse(raw.to_vec().into(), &Limits::default());
    /// assert_eq!(message.content(&message.parts()[0]), "Hello");
    /// ```
    #[must_use]
    pub fn content(&self, part: &Part) -> Bytes {
        let body = self.part(part.body_range());
        match part.kind() {
            PartKind::Leaf => transfer::decode(&body, part.encoding()).content,
            PartKind::Message => body,
            PartKind::Multipart => Bytes::new(),
        }
    }

    /// The message's header section: its lines without the empty line after them.
    #[must_use]
    pub fn header_range(&self) -> Range<usize> {
        self.parts.first().map_or(0..0, Part::header_range)
    }

    /// Where the body starts, after the empty line.
    #[must_use]
    pub fn body_start(&self) -> usize {
        self.parts.first().map_or(0, |part| part.body.start)
    }

    /// How its first line ends; CRLF if no line does.
    #[must_use]
    pub fn line_end(&self) -> LineEnd {
        match memchr::memchr(b'\n', &self.raw) {
            Some(0) => LineEnd::Lf,
            Some(end) if self.raw.get(end.saturating_sub(1)) != Some(&b'\r') => LineEnd::Lf,
            _ => LineEnd::CrLf,
        }
    }

    /// Where the message's own header fields are.
    #[must_use]
    pub fn header_fields(&self) -> &[Field] {
        self.parts.first().map(|part| self.fields_of(part)).unwrap_or_default()
    }

    /// Where the header fields of `part` are.
    #[must_use]
    pub fn fields_of(&self, part: &Part) -> &[Field] {
        self.fields.get(part.fields.clone()).unwrap_or_default()
    }

    /// The name of `field`, as spelled.
    #[must_use]
    pub fn field_name(&self, field: &Field) -> &str {
        let name = self.raw.get(field.name_range()).unwrap_or_default();
        // A name with other than ASCII is no name that anybody asks for.
        std::str::from_utf8(name).unwrap_or("")
    }

    /// The value of `field` as received: folded, encoded, with the white space around it.
    #[must_use]
    pub fn raw_value(&self, field: &Field) -> &[u8] {
        self.raw.get(field.value_range()).unwrap_or_default()
    }

    /// The value of `field`, unfolded, encoded words decoded, without white space around it.
    #[must_use]
    pub fn value(&self, field: &Field) -> String {
        encoded_word::decode_value(self.raw_value(field))
    }

    /// The decoded value of the first field called `name` (any case), unfolded, encoded words
    /// decoded; `None` if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.find_field(name).map(|field| self.value(field))
    }

    /// All fields of the message's header section in order: name, decoded value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        self.header_fields().iter().map(|field| (self.field_name(field), self.value(field)))
    }

    /// The decoded subject, without surrounding white space; empty if there is none.
    #[must_use]
    pub fn subject(&self) -> String {
        self.field("Subject").map(|subject| subject.trim().to_owned()).unwrap_or_default()
    }

    /// The mailboxes in all fields called `name`, such as `From`, in order (RFC 5322 §3.4). Groups
    /// are flattened.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Vec<Address> {
        self.header_fields()
            .iter()
            .filter(|field| self.field_name(field).eq_ignore_ascii_case(name))
            .flat_map(|field| address::parse(self.raw_value(field)))
            .collect()
    }

    /// The time in the `Date:` field, in seconds since 1970 (UTC); `None` if it is missing or
    /// nonsense.
    #[must_use]
    pub fn date(&self) -> Option<i64> {
        address::parse_date(self.raw_value(self.find_field("Date")?))
    }

    /// The structure in short: equal for messages with the same parts.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline::of(self)
    }

    /// What was wrong, to find the readers that would see something else.
    pub(crate) fn defects(&self) -> &Defects {
        &self.defects
    }

    fn find_field(&self, name: &str) -> Option<&Field> {
        self.header_fields().iter().find(|field| self.field_name(field).eq_ignore_ascii_case(name))
    }
}

/// What went wrong so far. At most [`Defects::MAX`] anomalies are kept: more say nothing new.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defects {
    anomalies: Vec<Anomaly>,
    cuts: Vec<Cut>,
}

impl Defects {
    const MAX: usize = 100;

    /// Records a defect at `offset`; `seen` is shown escaped.
    pub(crate) fn add(&mut self, kind: AnomalyKind, offset: usize, seen: &[u8]) {
        let repeated =
            self.anomalies.iter().rev().take(8).filter(|known| known.kind == kind).count();
        let room = self.anomalies.len() < Self::MAX && repeated < 8;
        // Kinds decide what else is looked at, so a new one is always kept.
        if room || !self.has(kind) {
            self.anomalies.push(Anomaly {
                kind,
                entity: EntityId::MESSAGE,
                offset: u64::try_from(offset).unwrap_or(u64::MAX),
                detail: escape(seen),
            });
        }
    }

    /// Records a bound, once.
    pub(crate) fn cut(&mut self, limit: Limit, offset: usize) {
        if !self.cuts.iter().any(|cut| cut.limit == limit) {
            self.cuts.push(Cut { limit, offset });
        }
    }

    /// Whether a defect of that kind was seen.
    pub(crate) fn has(&self, kind: AnomalyKind) -> bool {
        self.anomalies.iter().any(|known| known.kind == kind)
    }
}

/// The first octets of `seen`, safe to show: at most 200 characters.
pub(crate) fn escape(seen: &[u8]) -> String {
    let shown = seen.iter().take(80).copied().flat_map(std::ascii::escape_default);
    shown.take(200).map(char::from).collect()
}
