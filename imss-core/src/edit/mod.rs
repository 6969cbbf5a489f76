//! Edits to a message: a list of changes, applied to the bytes, with proof that nothing else changed.
//!
//! The result is a [`Rope`]: pieces of the original and inserted bytes in order. The original is
//! written to disk once; each outgoing copy is only its rope.
//!
//! In: a message, its entities, edits in order. Out: a rope that was proven, or an [`EditError`]. No
//! value, tag or notice can add a field or a part of its own.

mod body;
mod change;
pub mod clean;
mod encode;
pub mod legal;
mod page;
mod proof;
mod section;
mod subject;
mod transfer;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::body::{Signed, Unstamped, stampable};
use self::change::Change;
use self::section::{Section, original};
use crate::entity::{Entities, Origin};
use crate::ids::EntityId;
use crate::message::{Message, Part, PartKind};

/// One change to a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Edit {
    /// Puts a field before all others (trace fields).
    PrependField {
        /// Field name.
        name: String,
        /// Unencoded value; folded and encoded as needed.
        value: String,
    },
    /// Adds a field at the end of the header section.
    AddField {
        /// Field name.
        name: String,
        /// Unencoded value; folded and encoded as needed.
        value: String,
    },
    /// Removes every field of that name.
    RemoveField {
        /// Field name.
        name: String,
    },
    /// Replaces the value of the first field of that name and removes the others; adds it if absent.
    ReplaceField {
        /// Field name.
        name: String,
        /// Unencoded value; folded and encoded as needed.
        value: String,
    },
    /// Puts text before the subject, in the subject's charset, unless it is there already.
    TagSubject {
        /// Such as `[bulk]`.
        tag: String,
    },
    /// Replaces a MIME part by a text notice. For an archive member, its outermost attachment goes.
    ReplacePart {
        /// The attachment, or something inside it.
        entity: EntityId,
        /// What the reader sees in its place.
        notice: String,
        /// The stated reason, for the proof.
        reason: String,
    },
    /// Gives an attachment other octets. Its type, names and disposition stay; it is encoded as
    /// base64, and a digest of the old octets goes.
    ReplaceContent {
        /// The attachment: a MIME part that holds one file.
        entity: EntityId,
        /// What it holds from now on.
        content: Bytes,
        /// The stated reason, for the proof.
        reason: String,
    },
    /// Puts a stamp into the message's text: into each alternative, in its own charset and encoding.
    /// A message without text of its own stays as it is; see [`stampable`].
    StampBody {
        /// For plain text.
        text: String,
        /// For pages, as markup; without, `text` with its line breaks.
        html: Option<String>,
        /// Where in the text.
        position: Position,
        /// Whether what is signed may change too.
        signed: Signed,
    },
}

/// Where a stamp goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Before the text.
    Top,
    /// After the text.
    #[default]
    Bottom,
}

/// A message as pieces, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rope {
    /// The pieces; none is empty.
    pub pieces: Vec<Piece>,
}

/// One piece of a rope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// A range of the original.
    Original(Range<u64>),
    /// New bytes.
    Inserted(Bytes),
}

impl Rope {
    /// The original, whole.
    #[must_use]
    pub fn original(length: u64) -> Self {
        let pieces = if length == 0 { Vec::new() } else { vec![Piece::Original(0..length)] };
        Self { pieces }
    }

    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(Piece::len).fold(0, u64::saturating_add)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The bytes, for messages that fit in memory. Ranges beyond `original` are left out.
    #[must_use]
    pub fn to_bytes(&self, original: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Inserted(bytes) => out.extend_from_slice(bytes),
                Piece::Original(range) => {
                    let range =
                        usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                    out.extend_from_slice(
                        range.and_then(|(from, to)| original.get(from..to)).unwrap_or_default(),
                    );
                }
            }
        }
        out
    }
}

impl Rope {
    /// The same without these ranges of the original, which are in order and do not overlap.
    #[must_use]
    pub fn without(&self, ranges: &[Range<u64>]) -> Self {
        let mut rope = Self::default();
        for piece in &self.pieces {
            let Piece::Original(whole) = piece else {
                rope.push(piece.clone());
                continue;
            };
            let mut at = whole.start;
            let overlaps = |cut: &&Range<u64>| cut.start < whole.end && cut.end > whole.start;
            for cut in ranges.iter().filter(overlaps) {
                rope.push(Piece::Original(at..cut.start.max(at)));
                at = at.max(cut.end);
            }
            rope.push(Piece::Original(at.min(whole.end)..whole.end));
        }
        rope
    }

    /// Adds a piece; neighbours in the original become one.
    fn push(&mut self, piece: Piece) {
        if piece.len() == 0 {
            return;
        }
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Original(last)), Piece::Original(range)) if last.end == range.start => {
                last.end = range.end;
            }
            (_, piece) => self.pieces.push(piece),
        }
    }
}

impl Piece {
    /// Octets in all.
    fn len(&self) -> u64 {
        match self {
            Self::Original(range) => range.end.saturating_sub(range.start),
            Self::Inserted(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// The first `at` octets, and the others.
    fn split(self, at: u64) -> (Self, Self) {
        match self {
            Self::Original(range) => {
                let middle = range.start.saturating_add(at).min(range.end);
                (Self::Original(range.start..middle), Self::Original(middle..range.end))
            }
            Self::Inserted(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                (Self::Inserted(bytes.slice(..at)), Self::Inserted(bytes.slice(at..)))
            }
        }
    }
}

/// Why edits could not be applied. The original is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A field name that RFC 5322 §3.6.8 does not allow.
    #[error("{0:?} is not a header field name")]
    FieldName(String),
    /// The entity is not part of this message, or is the message itself.
    #[error("entity {0} cannot be replaced")]
    NoSuchPart(EntityId),
    /// The entity is not one file that is a MIME part: a multipart, an attached message in plain
    /// sight, or something inside a part.
    #[error("entity {0} is not an attachment of its own, so its content cannot be replaced")]
    NotAnAttachment(EntityId),
    /// The result does not hold what it should: a defect of ours, caught before the message leaves.
    #[error("the edited message failed its proof: {0}")]
    Unproven(String),
}

/// Applies `edits` to `message` and proves the result: parts in = parts out + parts replaced, and
/// every part that no edit names is byte-identical.
///
/// # Errors
///
/// See [`EditError`].
pub fn apply(message: &Message, entities: &Entities, edits: &[Edit]) -> Result<Rope, EditError> {
    let Some(root) = message.parts().first() else {
        return Err(EditError::Unproven("a message without content".to_owned()));
    };
    let mut top = Section::of(message, root);
    let mut changes: BTreeMap<usize, Change> = BTreeMap::new();
    let mut stamps = Vec::new();
    for edit in edits {
        match edit {
            Edit::PrependField { name, value } => top.prepend(name, value)?,
            Edit::AddField { name, value } => top.add(name, value)?,
            Edit::RemoveField { name } => top.remove(name)?,
            Edit::ReplaceField { name, value } => top.replace(name, value)?,
            Edit::TagSubject { tag } => top.tag_subject(tag)?,
            Edit::ReplacePart { entity, notice, .. } => {
                let part = replaceable(message, entities, *entity)?;
                if !changes.get(&part).is_some_and(Change::is_notice) {
                    changes.insert(part, Change::notice(message, notice, top.line_end));
                }
            }
            Edit::ReplaceContent { entity, content, .. } => {
                let part = attachment(message, entities, *entity)?;
                let write = || Change::content(content, top.line_end);
                changes.entry(part).or_insert_with(write);
            }
            Edit::StampBody { text, html, position, signed } => {
                stamps.push(body::Stamp {
                    text,
                    html: html.as_deref(),
                    position: *position,
                    signed: *signed,
                });
            }
        }
    }
    for (place, change) in body::stamped(message, &stamps, top.line_end) {
        changes.entry(place).or_insert(change);
    }
    // What is inside a part that goes, goes with it.
    let outer: Vec<usize> = changes.keys().copied().collect();
    changes.retain(|&inner, _| !outer.iter().any(|&at| change::is_inside(message, inner, at)));
    let plan = Plan { message, top, changes };
    let rope = plan.rope();
    proof::check(&plan, &rope)?;
    Ok(rope)
}

/// What will be done to a message.
struct Plan<'a> {
    message: &'a Message,
    /// The message's own header section, edited.
    top: Section<'a>,
    /// By the place of the part that is changed.
    changes: BTreeMap<usize, Change>,
}

impl Plan<'_> {
    fn rope(&self) -> Rope {
        let mut rope = Rope::default();
        let mut at = 0_usize;
        let Some(root) = self.message.parts().first() else { return rope };
        let mut top = self.top.clone();
        if let Some(change) = self.changes.get(&0) {
            change.edit_top(&mut top);
        }
        rope.push(original(at..root.header_range().start));
        self.header(root, top, self.changes.contains_key(&0), &mut rope);
        at = at.max(root.body_range().start);
        for (&place, change) in &self.changes {
            let Some(part) = self.message.parts().get(place) else { continue };
            let body = part.body_range();
            if place == 0 {
                rope.push(Piece::Inserted(change.body.clone()));
                rope.push(self.last_line_end(change));
            } else {
                rope.push(original(at..part.header_range().start));
                self.changed(part, change, &mut rope);
            }
            at = body.end;
        }
        rope.push(original(at..self.message.raw().len()));
        rope
    }

    /// The message's own header section, and the empty line after it.
    fn header(&self, root: &Part, section: Section<'_>, replaced: bool, rope: &mut Rope) {
        let (end, body) = (root.header_range().end, root.body_range().start);
        let changed = section.lines.len() != self.message.header_fields().len() || replaced;
        for piece in section.pieces() {
            rope.push(piece);
        }
        // Without fields and an empty line the body itself would be read as fields.
        let was_bare = end == body && self.message.header_fields().is_empty();
        let needs_line =
            end == body && replaced || was_bare && changed && body < self.message.raw().len();
        if needs_line {
            rope.push(Piece::Inserted(Bytes::from_static(self.top.line_end.as_bytes())));
        }
        rope.push(original(end..body));
    }

    /// A part that is not the message's own content.
    fn changed(&self, part: &Part, change: &Change, rope: &mut Rope) {
        let line_end = || Piece::Inserted(Bytes::from_static(self.top.line_end.as_bytes()));
        for piece in self.section(part, change).pieces() {
            rope.push(piece);
        }
        rope.push(line_end());
        rope.push(Piece::Inserted(change.body.clone()));
        let rest = self.message.raw().get(part.body_range().end..).unwrap_or_default();
        if !rest.starts_with(b"\n") && !rest.starts_with(b"\r\n") {
            rope.push(self.last_line_end(change));
        }
    }

    /// A line end after a body that has none.
    fn last_line_end(&self, change: &Change) -> Piece {
        let line_end = self.top.line_end.as_bytes();
        let is_there = change.body.ends_with(line_end);
        Piece::Inserted(if is_there { Bytes::new() } else { Bytes::from_static(line_end) })
    }

    /// The header section of a part that is changed and not the message's own content.
    fn section(&self, part: &Part, change: &Change) -> Section<'_> {
        let mut section = Section::of(self.message, part);
        let parent = part.parent().and_then(|parent| self.message.parts().get(parent));
        let attached = parent.is_some_and(|parent| parent.kind() == PartKind::Message);
        // The content of an attached message: its other fields stay.
        if change.is_notice() && !attached {
            section.lines.clear();
        }
        change.edit(&mut section);
        section
    }
}

/// The place of the part that goes for `entity`.
fn replaceable(
    message: &Message,
    entities: &Entities,
    entity: EntityId,
) -> Result<usize, EditError> {
    let place = entities.message_part(entity).filter(|_| entity != EntityId::MESSAGE);
    let part = place.and_then(|place| message.parts().get(place).map(|part| (place, part)));
    part.map(|(place, _)| place).ok_or(EditError::NoSuchPart(entity))
}

/// The place of the part that `entity` is: one file.
fn attachment(
    message: &Message,
    entities: &Entities,
    entity: EntityId,
) -> Result<usize, EditError> {
    let place = replaceable(message, entities, entity)?;
    let part = message.parts().get(place).filter(|part| part.kind() == PartKind::Leaf);
    let own = entities.get(entity).map(|entity| &entity.origin);
    match (part, own) {
        (Some(part), Some(Origin::Part(number))) if number == part.number() => Ok(place),
        _ => Err(EditError::NotAnAttachment(entity)),
    }
}

#[cfg(test)]
mod stamp_tests;
#[cfg(test)]
mod tests;
