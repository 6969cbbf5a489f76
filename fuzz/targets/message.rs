#![no_main]
//! Every part lies inside the input and inside its parent, and a trace field before the message
//! changes nothing else.

use imss_core::edit::{Edit, Piece, Rope, apply};
use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = Limits::small();
    let message = Message::parse(raw.to_vec().into(), &limits);
    for part in message.parts() {
        assert!(raw.get(part.range()).is_some(), "a part outside the message");
        let parent = part.parent().and_then(|parent| message.parts().get(parent));
        if let Some(parent) = parent {
            let (inner, outer) = (part.range(), parent.range());
            assert!(outer.start <= inner.start && inner.end <= outer.end, "outside its parent");
        }
    }
    // Only what the limits let through is known well enough to be compared.
    if !message.cuts().is_empty() {
        return;
    }
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let edit = Edit::PrependField {
        name: "Received".to_owned(),
        value: "by fuzz.example; Sun, 22 Nov 2026 10:00:00 +0900".to_owned(),
    };
    let rope = match apply(&message, &entities, &[edit]) {
        Ok(rope) => rope,
        Err(error) => {
            let is_sound = !raw.is_empty() && message.anomalies().is_empty();
            assert!(!is_sound, "a sound message gets no trace field: {error}");
            return;
        }
    };
    let kept = rope.pieces.iter().filter(|piece| matches!(piece, Piece::Original(_))).cloned();
    let kept = Rope { pieces: kept.collect() };
    assert_eq!(kept.to_bytes(raw), raw, "the original is not whole");
    let stamped = rope.to_bytes(raw);
    let again = Message::parse(stamped.into(), &limits);
    if again.cuts().is_empty() && message.anomalies().is_empty() {
        assert_eq!(message.outline(), again.outline());
    }
});
