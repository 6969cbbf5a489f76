//! One copy → the orders that make the mail server's message this copy.
//!
//! In: the copy as a rope over the message that the mail server sent, and where that message's
//! fields lie. Out: [`Orders`], or `None` where the mail server cannot be told: it did not grant what
//! is needed, or a change is not one of whole fields and the whole body. Then the copy goes another
//! way; nothing is ever told by half.
//!
//! Orders are right for both ways of counting that mail servers have: insertions come first, from the
//! last to the first, then changes, the same way round, counted with what was inserted.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use imss_core::edit::{Piece, Rope};

use super::codec::{Answer, actions};
use super::session::{Field, Outline};
use crate::hand_back::Kept;
use crate::spool::body::{Body, Content};

/// Octets of new fields that a copy may have; more would not be a header section.
const MAX_NEW_BYTES: usize = 1 << 20;

/// What the mail server is to do, besides going on.
#[derive(Debug)]
pub(super) struct Orders {
    /// Frames.
    pub(super) frames: Vec<u8>,
    /// The new body, if it has another one.
    pub(super) body: Option<Content>,
}

/// The orders for `kept`, a copy of the message in `body`.
pub(super) fn express(kept: &Kept<'_>, outline: &Outline, body: &Body) -> Option<Orders> {
    let mut frames = Vec::new();
    recipients(kept, outline, &mut frames)?;
    if let Some(reason) = kept.hold {
        grants(outline, actions::QUARANTINE)?;
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let reason = if reason.is_empty() { "held" } else { &reason };
        Answer::Quarantine(reason.as_bytes()).write_to(&mut frames);
    }
    if kept.copy.rope == Rope::original(body.len()) {
        return Some(Orders { frames, body: None });
    }
    let fields = outline.fields.as_ref()?;
    let read = |range: Range<u64>| body.read(range);
    let change = Change::between(fields, outline.header_bytes, &kept.copy.rope, &read).ok()??;
    change.write_fields(fields, outline, &mut frames)?;
    let is_same = change.body == rest_of(body.len(), outline.header_bytes);
    if is_same {
        return Some(Orders { frames, body: None });
    }
    grants(outline, actions::CHANGE_BODY)?;
    let content = Content { body: body.clone(), rope: change.body };
    // No orders for a body mean the old one: one that is to be empty cannot be told.
    (!content.is_empty()).then_some(Orders { frames, body: Some(content) })
}

fn grants(outline: &Outline, wanted: u32) -> Option<()> {
    (outline.actions & wanted == wanted).then_some(())
}

fn rest_of(length: u64, start: u64) -> Rope {
    let pieces = if start < length { vec![Piece::Original(start..length)] } else { Vec::new() };
    Rope { pieces }
}

fn recipients(kept: &Kept<'_>, outline: &Outline, frames: &mut Vec<u8>) -> Option<()> {
    if !kept.not_for.is_empty() {
        grants(outline, actions::DELETE_RECIPIENTS)?;
    }
    if !kept.also_for.is_empty() {
        grants(outline, actions::ADD_RECIPIENTS)?;
    }
    for path in &kept.also_for {
        Answer::AddRecipient(format!("<{path}>").as_bytes()).write_to(frames);
    }
    for place in &kept.not_for {
        for written in outline.recipients.get(*place)? {
            Answer::DeleteRecipient(written).write_to(frames);
        }
    }
    Some(())
}

/// What differs between a message and a copy of it.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// New fields: the place among the old ones that each stands before, its name and value.
    inserted: Vec<(usize, NewField)>,
    /// Old fields that are gone (`None`) or another.
    changed: Vec<(usize, Option<NewField>)>,
    /// What follows the empty line.
    body: Rope,
}

/// A field as it stands in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewField {
    name: Vec<u8>,
    /// After the colon, with folds as a single LF.
    value: Vec<u8>,
}

impl Change {
    /// `None` if the empty line after the header section is not the old one, if the old fields come in
    /// another order, or if something new is not a field.
    fn between(
        fields: &[Field],
        header_bytes: u64,
        rope: &Rope,
        read: &dyn Fn(Range<u64>) -> io::Result<Bytes>,
    ) -> io::Result<Option<Self>> {
        let mut change =
            Self { inserted: Vec::new(), changed: Vec::new(), body: Rope { pieces: Vec::new() } };
        let mut gap = Gap { next: 0, new: Vec::new() };
        let empty_line = header_bytes.saturating_sub(2);
        for (place, piece) in rope.pieces.iter().enumerate() {
            let range = match piece {
                Piece::Inserted(bytes) => {
                    gap.new.extend_from_slice(bytes);
                    if gap.new.len() > MAX_NEW_BYTES {
                        return Ok(None);
                    }
                    continue;
                }
                Piece::Original(range) => range.clone(),
            };
            // Whole fields in this piece; what is left before and behind them is half of a field.
            let first = fields.partition_point(|field| field.start < range.start);
            let end = fields.partition_point(|field| field.end <= range.end);
            let mut at = range.start;
            if first < end {
                let starts = fields.get(first).map_or(at, |field| field.start);
                gap.new.extend_from_slice(&read(at..starts)?);
                if first < gap.next || !change.close(&mut gap, first, fields) {
                    return Ok(None);
                }
                gap.next = end;
                at = fields.get(end.saturating_sub(1)).map_or(starts, |field| field.end);
            }
            if at <= empty_line && range.end >= header_bytes {
                gap.new.extend_from_slice(&read(at..empty_line)?);
                if !change.close(&mut gap, fields.len(), fields) {
                    return Ok(None);
                }
                let rest = rest_of(range.end, header_bytes).pieces;
                let more = rope.pieces.iter().skip(place.saturating_add(1)).cloned();
                change.body.pieces = rest.into_iter().chain(more).collect();
                return Ok(Some(change));
            }
            if range.end > header_bytes || range.end.saturating_sub(at) > MAX_NEW_BYTES as u64 {
                return Ok(None);
            }
            gap.new.extend_from_slice(&read(at..range.end)?);
        }
        Ok(None)
    }

    /// Old fields from `gap.next` to `until` are gone, and `gap.new` stands there. Whether that can be
    /// told.
    fn close(&mut self, gap: &mut Gap, until: usize, fields: &[Field]) -> bool {
        let Some(new) = parse(&gap.new) else { return false };
        gap.new.clear();
        let mut next = gap.next;
        for field in new {
            let old = fields.get(next..until).unwrap_or_default();
            // A changed field keeps its name as the mail server has it.
            let same = |old: &Field| old.name == field.name;
            if field.value.iter().all(u8::is_ascii_whitespace) {
                // An order with an empty value would remove a field.
                return false;
            }
            match old.iter().position(same) {
                Some(skipped) => {
                    let place = next.saturating_add(skipped);
                    self.changed.extend((next..place).map(|gone| (gone, None)));
                    self.changed.push((place, Some(field)));
                    next = place.saturating_add(1);
                }
                None => self.inserted.push((next, field)),
            }
        }
        self.changed.extend((next..until).map(|gone| (gone, None)));
        true
    }

    fn write_fields(
        &self,
        fields: &[Field],
        outline: &Outline,
        frames: &mut Vec<u8>,
    ) -> Option<()> {
        if !self.inserted.is_empty() {
            grants(outline, actions::ADD_FIELDS)?;
        }
        if !self.changed.is_empty() {
            grants(outline, actions::CHANGE_FIELDS)?;
        }
        for (place, field) in self.inserted.iter().rev() {
            // The mail server's own trace field stands above all that it has shown us, and counts.
            let index = u32::try_from(place.saturating_add(1)).ok()?;
            let value = field.sent(outline);
            Answer::InsertField { index, name: &field.name, value }.write_to(frames);
        }
        for ((place, field), index) in self.changed.iter().zip(self.counted(fields)).rev() {
            let (name, value) = match field {
                Some(field) => (&field.name, field.sent(outline)),
                None => (&fields.get(*place)?.name, &b""[..]),
            };
            Answer::ChangeField { index, name, value }.write_to(frames);
        }
        Some(())
    }

    /// The place of each changed field among those of its name, with the inserted ones.
    fn counted(&self, fields: &[Field]) -> Vec<u32> {
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut inserted = self.inserted.iter().peekable();
        let mut changed = self.changed.iter().peekable();
        let mut places = Vec::with_capacity(self.changed.len());
        for (place, field) in fields.iter().enumerate() {
            while let Some((_, new)) = inserted.next_if(|(before, _)| *before <= place) {
                let count = seen.entry(new.name.to_ascii_lowercase()).or_default();
                *count = count.saturating_add(1);
            }
            let count = seen.entry(field.name.to_ascii_lowercase()).or_default();
            *count = count.saturating_add(1);
            if changed.next_if(|(which, _)| *which == place).is_some() {
                places.push(*count);
            }
        }
        places
    }
}

/// What stands between two old fields that are kept.
struct Gap {
    /// The first old field that has not been passed.
    next: usize,
    new: Vec<u8>,
}

impl NewField {
    /// The value as it is sent.
    fn sent(&self, outline: &Outline) -> &[u8] {
        if outline.leading_space {
            return &self.value;
        }
        self.value.strip_prefix(b" ").unwrap_or(&self.value)
    }
}

/// Whole fields, or `None` if that is not what it is.
fn parse(text: &[u8]) -> Option<Vec<NewField>> {
    let mut fields: Vec<NewField> = Vec::new();
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n")?;
        if line.contains(&b'\r') || line.contains(&0) {
            return None;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            let value = &mut fields.last_mut()?.value;
            value.push(b'\n');
            value.extend_from_slice(line);
            continue;
        }
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon.saturating_add(1)..)?);
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        fields.push(NewField { name: name.to_vec(), value: value.to_vec() });
    }
    Some(fields)
}

#[cfg(test)]
#[path = "express_tests.rs"]
mod tests;
