//! Makes a copy legal before it is signed (RFC 6376 §5.3): what is signed is what leaves.
//!
//! In: a copy. Out: its rope with what had to be encoded anew, or nothing to do. Over-long lines are
//! always seen to, and octets above 127 in header fields unless the message came with SMTPUTF8; those in
//! bodies if the settings say so, for servers without 8BITMIME. Mail of others only has its long lines seen
//! to. What stays as it is when it leaves (`long-lines`) stays so here. A copy that is too large does, too,
//! and so do those of a message for which its [`Room`] is spent; should a server need one otherwise, its
//! signature breaks there, with a line in the log. Nothing is lost or refused for it.
//!
//! What is encoded anew lies in the message's record, whose size has an end: the room is for all copies of a
//! message together. Nothing is locked here; how many are encoded at once is the caller's to bound.

use bytes::Bytes;
use imss_core::edit::legal::{Survey, Wire, legal};
use imss_core::edit::{Piece, Rope};
use imss_core::limits::Limits;
use imss_core::message::Message;

use crate::outbound::Recode;
use crate::spool::body::Content;
use crate::spool::record::MAX_PAYLOAD_BYTES;

/// Octets of a copy that is still encoded anew.
pub(super) const MAX_BYTES: u64 = 32 << 20;
/// Octets that are encoded anew for all copies of a message: one of the largest copies fits, whatever
/// its octets become.
const MAX_ROOM_BYTES: u64 = 96 << 20;
/// Octets of a record that are left to envelopes, fields, the verdict's record and notices.
const RESERVE_BYTES: u64 = 64 << 20;

/// What is done before signing.
#[derive(Debug)]
pub(super) struct Lawful {
    seven_bit: bool,
    recode: Recode,
}

/// How much may still be encoded anew for the copies of one message.
#[derive(Debug)]
pub(super) struct Room {
    left: u64,
    /// Whether a copy stayed as it is for want of room.
    pub(super) was_short: bool,
}

impl Room {
    /// For copies that bring these ropes along: what the policy inserted lies in the same record.
    pub(super) fn beside<'a>(ropes: impl Iterator<Item = &'a Rope>) -> Self {
        let inserted = |piece: &Piece| match piece {
            Piece::Original(_) => 0,
            Piece::Inserted(octets) => octets.len(),
        };
        let taken =
            ropes.flat_map(|rope| &rope.pieces).map(inserted).fold(0, usize::saturating_add);
        let left = u64::try_from(MAX_PAYLOAD_BYTES.saturating_sub(taken)).unwrap_or(u64::MAX);
        Self { left: left.saturating_sub(RESERVE_BYTES).min(MAX_ROOM_BYTES), was_short: false }
    }

    /// Whether so many octets fit.
    fn fits(&mut self, octets: u64) -> bool {
        let fits = octets <= self.left;
        self.was_short |= !fits;
        fits
    }
}

impl Lawful {
    /// Encodes all of our mail in seven bits, or only what has to be; `recode` is what is done with
    /// mail that leaves.
    pub(super) fn new(seven_bit: bool, recode: Recode) -> Self {
        Self { seven_bit, recode }
    }

    /// What our mail may have when it is signed; `smtputf8` says whether it came with SMTPUTF8. `None`:
    /// it stays as it is.
    pub(super) fn for_own(&self, smtputf8: bool) -> Option<Wire> {
        match (self.seven_bit, self.recode, smtputf8) {
            (true, ..) => Some(Wire::SevenBit),
            (false, Recode::Never, _) => None,
            (false, _, false) => Some(Wire::AsciiHeader),
            (false, _, true) => Some(Wire::EightBit),
        }
    }

    /// What mail of others may have when it is sealed. `None`: it stays as it is.
    pub(super) fn for_others(&self) -> Option<Wire> {
        (self.recode != Recode::Never).then_some(Wire::EightBit)
    }

    /// The rope of `content` made legal for `wire`; `None` if it is that, if there is no room for it, or if
    /// it is to go back to its sender rather than be changed.
    pub(super) fn rope(
        &self,
        content: Content,
        wire: Wire,
        room: &mut Room,
    ) -> std::io::Result<Option<Rope>> {
        let mut survey = Survey::default();
        for chunk in content.chunks() {
            survey.push(&chunk?);
        }
        // The room bounds the work, too.
        if !needs(survey, wire) || content.len() > MAX_BYTES || !room.fits(content.len()) {
            return Ok(None);
        }
        let mut raw = Vec::new();
        for chunk in content.chunks() {
            raw.extend_from_slice(&chunk?);
        }
        let raw = Bytes::from(raw);
        let legal = legal(&Message::parse(raw.clone(), &Limits::default()), wire);
        if legal.signed_is_not && self.recode == Recode::RefuseSigned {
            return Ok(None);
        }
        let legal = legal.octets;
        let octets = u64::try_from(legal.len()).unwrap_or(u64::MAX);
        if legal == raw || !room.fits(octets) {
            return Ok(None);
        }
        room.left = room.left.saturating_sub(octets.max(content.len()));
        Ok(Some(spliced(&content.rope, &raw, &legal)))
    }
}

/// A message of our own, encoded so that every server takes it.
pub(super) fn own(message: Vec<u8>) -> Bytes {
    let mut survey = Survey::default();
    survey.push(&message);
    let message = Bytes::from(message);
    if needs(survey, Wire::SevenBit) {
        legal(&Message::parse(message, &Limits::default()), Wire::SevenBit).octets.into()
    } else {
        message
    }
}

fn needs(survey: Survey, wire: Wire) -> bool {
    survey.has_long_lines()
        || match wire {
            Wire::EightBit => false,
            Wire::AsciiHeader => survey.has_eight_bit_header(),
            Wire::SevenBit => survey.is_eight_bit(),
        }
}

/// `rope`, whose octets are `before`, as `after`: what both begin and end with stays the same pieces.
fn spliced(rope: &Rope, before: &[u8], after: &[u8]) -> Rope {
    let same = |pair: &(&u8, &u8)| pair.0 == pair.1;
    let start = before.iter().zip(after).take_while(same).count();
    let (old, new) =
        (before.get(start..).unwrap_or_default(), after.get(start..).unwrap_or_default());
    let end = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let mut pieces = cut(rope, 0, start);
    let middle = new.get(..new.len().saturating_sub(end)).unwrap_or_default();
    if !middle.is_empty() {
        pieces.push(Piece::Inserted(Bytes::copy_from_slice(middle)));
    }
    pieces.extend(cut(rope, before.len().saturating_sub(end), before.len()));
    Rope { pieces }
}

/// The pieces of `rope` from one octet to another.
fn cut(rope: &Rope, from: usize, to: usize) -> Vec<Piece> {
    let (mut pieces, mut at) = (Vec::new(), 0_usize);
    for piece in &rope.pieces {
        let length = match piece {
            Piece::Original(range) => {
                usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)
            }
            Piece::Inserted(octets) => octets.len(),
        };
        let (first, last) =
            (from.saturating_sub(at).min(length), to.saturating_sub(at).min(length));
        at = at.saturating_add(length);
        if first >= last {
            continue;
        }
        pieces.push(match piece {
            Piece::Original(range) => {
                let place = |octets: usize| {
                    range.start.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX))
                };
                Piece::Original(place(first)..place(last))
            }
            Piece::Inserted(octets) => Piece::Inserted(octets.slice(first..last)),
        });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::body::Body;

    #[test]
    fn only_what_changed_is_inserted() {
        let original = b"0123456789";
        let rope = Rope {
            pieces: vec![
                Piece::Inserted(Bytes::from_static(b"ab")),
                Piece::Original(2..6),
                Piece::Original(8..10),
            ],
        };
        let before = rope.to_bytes(original);
        assert_eq!(before, b"ab234589");
        for after in ["ab2XX589", "ab234589", "", "X", "ab2345", "Xab234589", "ab234589X", "ab2389"]
        {
            let made = spliced(&rope, &before, after.as_bytes());
            assert_eq!(made.to_bytes(original), after.as_bytes(), "{after}");
        }
        let made = spliced(&rope, &before, b"ab2XX589");
        assert_eq!(made.pieces[1], Piece::Original(2..3));
    }

    #[test]
    fn what_is_made_legal() {
        let long = format!("Subject: x\r\n\r\n{}\r\n", "word ".repeat(500));
        let french = "Subject: x\r\n\r\nVoil\u{e0}\r\n";
        let cases = [
            ("short lines", "Subject: x\r\n\r\nHello.\r\n", false, false),
            ("a long line", long.as_str(), false, true),
            ("eight bits", french, false, false),
            ("eight bits where seven are asked for", french, true, true),
        ];
        for (name, raw, seven_bit, changes) in cases {
            let octets = Bytes::copy_from_slice(raw.as_bytes());
            let rope = Rope::original(raw.len() as u64);
            let content = Content { body: Body::Memory(octets.clone()), rope };
            let lawful = Lawful::new(seven_bit, Recode::PassSigned);
            let mut room = Room::beside(std::iter::empty());
            let made = lawful.rope(content, lawful.for_own(false).unwrap(), &mut room).unwrap();
            assert_eq!(made.is_some(), changes, "{name}");
            if let Some(rope) = made {
                let text = String::from_utf8(rope.to_bytes(&octets)).unwrap();
                assert!(text.lines().all(|line| line.len() <= 998), "{name}: {text}");
                assert!(text.contains("Content-Transfer-Encoding: quoted-printable"), "{name}");
                assert!(text.is_ascii(), "{name}");
            }
        }
    }

    /// What a server without SMTPUTF8 would need is done before the signature covers it.
    #[test]
    fn fields_are_ascii_before_they_are_signed() {
        let raw = "From: René <r@x.example>\r\nSubject: Voilà\r\n\r\nVoilà\r\n";
        for (name, smtputf8, fields) in [
            ("undeclared", false, "From: =?UTF-8?B?UmVuw6k=?= <r@x.example>"),
            ("declared", true, "From: René <r@x.example>"),
        ] {
            let octets = Bytes::from_static(raw.as_bytes());
            let rope = Rope::original(octets.len() as u64);
            let content = Content { body: Body::Memory(octets.clone()), rope: rope.clone() };
            let lawful = Lawful::new(false, Recode::PassSigned);
            let mut room = Room::beside(std::iter::empty());
            let made = lawful.rope(content, lawful.for_own(smtputf8).unwrap(), &mut room).unwrap();
            let text = String::from_utf8(made.unwrap_or(rope).to_bytes(&octets)).unwrap();
            assert!(text.starts_with(fields), "{name}: {text}");
            assert!(text.ends_with("\r\n\r\nVoilà\r\n"), "{name}: {text}");
            let (header, _) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(header.is_ascii(), !smtputf8, "{name}: {text}");
        }
    }
}
