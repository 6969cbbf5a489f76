//! The proof that an edited message is the original, except for what was to change.
//!
//! In: the plan and the rope made from it. Out: nothing, or [`EditError::Unproven`]. The result is
//! read again: its fields must be the planned ones, octet for octet and in order; its parts the
//! original ones, with each part that goes, and what is inside it, replaced by one text part, and each
//! part with new content decoding to exactly that content, under its old type and names.
//!
//! If no part changes, the body is one range of the original, and only the header section is
//! assembled and read. Otherwise the message is assembled once. Any doubt is a failure: the caller
//! still has the original.

use std::ops::Range;

use bytes::Bytes;

use super::{Change, EditError, Piece, Plan, Rope, change};
use crate::limits::Limits;
use crate::message::{Message, Part, PartKind, transfer};

/// Checks `rope` against `plan`.
pub(super) fn check(plan: &Plan<'_>, rope: &Rope) -> Result<(), EditError> {
    in_order(plan, rope)?;
    if plan.changes.is_empty() {
        return header_only(plan, rope);
    }
    if !plan.message.cuts().is_empty() {
        return failed("the original was not read to its end");
    }
    let edited = rope.to_bytes(plan.message.raw());
    require(edited.len() as u64 == rope.len(), "its length is not the sum of its pieces")?;
    let edited = Message::parse(edited.into(), &unbounded());
    fields(plan, &edited)?;
    parts(plan, &edited)
}

/// Pieces of the original are in order, and only what may go is left out: lines of the message's
/// header section, and parts that are replaced.
fn in_order(plan: &Plan<'_>, rope: &Rope) -> Result<(), EditError> {
    let message = plan.message;
    let parts = plan.changes.keys().filter_map(|&place| message.parts().get(place));
    let mut may_go: Vec<Range<u64>> =
        parts.map(|part| part.range().start as u64..part.range().end as u64).collect();
    let header = message.header_range();
    may_go.push(header.start as u64..header.end as u64);
    let omitted = |gap: Range<u64>| {
        gap.is_empty()
            || may_go.iter().any(|range| range.start <= gap.start && gap.end <= range.end)
    };
    let mut end = 0;
    for piece in &rope.pieces {
        if let Piece::Original(range) = piece {
            require(end <= range.start && range.start < range.end, "pieces out of order")?;
            require(omitted(end..range.start), "octets are missing")?;
            end = range.end;
        }
    }
    let length = message.raw().len() as u64;
    require(end <= length && omitted(end..length), "octets are missing at the end")
}

/// The header section is as planned, and the body is the original's.
fn header_only(plan: &Plan<'_>, rope: &Rope) -> Result<(), EditError> {
    let message = plan.message;
    let (start, end) = (message.body_start() as u64, message.raw().len() as u64);
    let mut head = rope.clone();
    let has_body = start < end;
    if has_body {
        let Some(Piece::Original(last)) = head.pieces.pop() else {
            return failed("the body is not the original's");
        };
        require(last.start <= start && last.end == end, "the body is not the original's")?;
        if last.start < start {
            head.push(Piece::Original(last.start..start));
        }
        // The body's first line tells a reader where the header section ends, if nothing else does.
        let line = first_line(message.raw(), message.body_start());
        head.push(Piece::Original(start..line as u64));
    }
    let edited = Message::parse(head.to_bytes(message.raw()).into(), &unbounded());
    fields(plan, &edited)?;
    let body = head.len().saturating_sub(first_line_length(message));
    require(edited.body_start() as u64 == body, "the body starts elsewhere")?;
    same_content_fields(message, &edited)
}

/// Whether the fields that decide about the structure are untouched.
fn same_content_fields(message: &Message, edited: &Message) -> Result<(), EditError> {
    let content = |message: &Message| -> Vec<Bytes> {
        let fields = message.header_fields().iter();
        let decides = |name: &str| {
            let is_content = name.get(..8).is_some_and(|at| at.eq_ignore_ascii_case("content-"));
            is_content || name.eq_ignore_ascii_case("mime-version")
        };
        fields
            .filter(|field| decides(message.field_name(field)))
            .map(|field| message.part(field.range()))
            .collect()
    };
    let same = content(message) == content(edited);
    require(same, "a field that describes the content changed")
}

/// The fields of the edited message are the planned ones.
fn fields(plan: &Plan<'_>, edited: &Message) -> Result<(), EditError> {
    let mut planned = plan.top.clone();
    if let Some(change) = plan.changes.get(&0) {
        change.edit_top(&mut planned);
    }
    let mut found = edited.header_fields().iter().map(|field| edited.part(field.range()));
    for field in planned.fields() {
        require(found.next().is_some_and(|found| found == field), "a field is not as planned")?;
    }
    require(found.next().is_none(), "a field too many")
}

/// The parts of the edited message are the original's, or notices.
fn parts(plan: &Plan<'_>, edited: &Message) -> Result<(), EditError> {
    let message = plan.message;
    let goes =
        |place: usize| plan.changes.keys().any(|&outer| change::is_inside(message, place, outer));
    let stay: Vec<usize> = (0..message.parts().len()).filter(|&place| !goes(place)).collect();
    require(stay.len() == edited.parts().len(), "parts were lost or added")?;
    for (&place, new) in stay.iter().zip(edited.parts()) {
        let Some(old) = message.parts().get(place) else { return failed("a part is missing") };
        let parent = new.parent().map(|parent| stay.get(parent).copied());
        require(parent == old.parent().map(Some), "a part moved")?;
        match plan.changes.get(&place) {
            Some(change) => changed(plan, (place, old, change), edited, new)?,
            None => kept(plan, (place, old), edited, new)?,
        }
    }
    Ok(())
}

/// A part that an edit names: its header section and body are the planned ones, and a reader decodes
/// what was to be there.
fn changed(
    plan: &Plan<'_>,
    (place, old, change): (usize, &Part, &Change),
    edited: &Message,
    new: &Part,
) -> Result<(), EditError> {
    let body = edited.part(new.body_range());
    let same = trim_line_end(&body) == trim_line_end(&change.body);
    require(same && new.kind() == PartKind::Leaf, "a changed part is not where it should be")?;
    if place > 0 {
        let mut found = edited.fields_of(new).iter().map(|field| edited.part(field.range()));
        for field in plan.section(old, change).fields() {
            require(found.next().is_some_and(|found| found == field), "a part's field changed")?;
        }
        require(found.next().is_none(), "a part has a field too many")?;
    }
    let Some(content) = &change.content else {
        return require(new.media_type() == "text/plain", "a notice is not text");
    };
    let label = new.media_type() == old.media_type()
        && new.names() == old.names()
        && new.disposition() == old.disposition();
    require(label, "a changed part has another type or name")?;
    let decoded = transfer::decode(&body, new.encoding()).content;
    require(trim_line_end(&decoded) == trim_line_end(content), "a changed part reads differently")
}

/// A part that no edit names: its header section, and its body unless a part inside it goes. Then the
/// octets around that part are known to be there, see [`in_order`].
fn kept(
    plan: &Plan<'_>,
    (place, old): (usize, &Part),
    edited: &Message,
    new: &Part,
) -> Result<(), EditError> {
    let message = plan.message;
    require(old.kind() == new.kind(), "a part became another kind")?;
    let same = |old: Range<usize>, new: Range<usize>| message.part(old) == edited.part(new);
    let holds_change =
        plan.changes.keys().any(|&replaced| change::is_inside(message, replaced, place));
    // The message's own fields were compared with the plan.
    if place > 0 {
        require(same(old.header_range(), new.header_range()), "a part's header section changed")?;
    }
    if !holds_change {
        require(same(old.body_range(), new.body_range()), "a part's body changed")?;
    }
    Ok(())
}

/// The original was read within its limits, so nothing in the edited message needs tighter ones.
fn unbounded() -> Limits {
    Limits {
        max_message_bytes: u64::MAX,
        max_header_fields: usize::MAX,
        max_header_bytes: usize::MAX,
        max_entities: usize::MAX,
        max_layers: 1_000,
        ..Limits::default()
    }
}

fn first_line(raw: &[u8], start: usize) -> usize {
    let rest = raw.get(start..).unwrap_or_default();
    let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end.saturating_add(1));
    start.saturating_add(length)
}

fn first_line_length(message: &Message) -> u64 {
    let start = message.body_start();
    first_line(message.raw(), start).saturating_sub(start) as u64
}

fn trim_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

fn require(holds: bool, otherwise: &str) -> Result<(), EditError> {
    if holds { Ok(()) } else { failed(otherwise) }
}

fn failed(why: &str) -> Result<(), EditError> {
    Err(EditError::Unproven(why.to_owned()))
}
