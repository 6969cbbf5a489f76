#![no_main]
//! An edited message proves itself: what is kept is the original in order, and edits of a sound
//! message succeed.
//!
//! Lines before the message that start with `!` are the edits: `!p Name: value` puts a field before
//! all others, `!a` adds one, `!r` replaces one, `!x Name` removes one, `!s tag` tags the subject,
//! `!e 2 notice` replaces an entity.

use imss_core::edit::{Edit, EditError, Piece, apply};
use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let limits = Limits::small();
    let (edits, raw) = split(input);
    // One entity for each number: they are made by the reading of the message alone.
    let message = Message::parse(raw.to_vec().into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let edits: Vec<Edit> = edits.iter().take(8).filter_map(|line| edit(line, &entities)).collect();
    let rope = match apply(&message, &entities, &edits) {
        Ok(rope) => rope,
        Err(EditError::Unproven(why)) => {
            let is_sound = message.anomalies().is_empty() && message.cuts().is_empty();
            assert!(!is_sound || raw.is_empty(), "{edits:?}: {why}");
            return;
        }
        Err(_) => return,
    };
    let mut last = 0;
    for piece in &rope.pieces {
        if let Piece::Original(range) = piece {
            assert!(range.start >= last && range.end > range.start, "{:?}", rope.pieces);
            last = range.end;
        }
    }
    assert!(last <= raw.len() as u64, "beyond the original");
    let edited = rope.to_bytes(raw);
    assert_eq!(edited.len() as u64, rope.len());
    let _ = Message::parse(edited.into(), &limits);
});

/// The edits and the message after them.
fn split(input: &[u8]) -> (Vec<String>, &[u8]) {
    let mut rest = input;
    let mut edits = Vec::new();
    while let Some(after) = rest.strip_prefix(b"!") {
        let end = after.iter().position(|&octet| octet == b'\n').unwrap_or(after.len());
        edits.push(String::from_utf8_lossy(&after[..end]).into_owned());
        rest = after.get(end + 1..).unwrap_or_default();
    }
    (edits, rest)
}

fn edit(line: &str, entities: &Entities) -> Option<Edit> {
    let (kind, rest) = line.split_once(' ')?;
    let (name, value) = rest.split_once(": ").unwrap_or((rest, ""));
    let (name, value) = (name.to_owned(), value.to_owned());
    Some(match kind {
        "p" => Edit::PrependField { name, value },
        "a" => Edit::AddField { name, value },
        "r" => Edit::ReplaceField { name, value },
        "x" => Edit::RemoveField { name },
        "s" => Edit::TagSubject { tag: rest.to_owned() },
        "e" => {
            let (number, notice) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = number.parse::<usize>().ok()?;
            let entity = entities.iter().nth(number)?.id;
            Edit::ReplacePart { entity, notice: notice.to_owned(), reason: "fuzz".to_owned() }
        }
        _ => return None,
    })
}
