#![no_main]
//! The tree is a tree: numbers are places, parents come first, ancestry ends at the message, and
//! the limits hold.

use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = Limits::small();
    let message = Message::parse(raw.to_vec().into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    assert!(entities.len() >= 1 && entities.len() <= limits.max_entities + 1);
    for (place, entity) in entities.iter().enumerate() {
        assert_eq!(entity.id.index(), place);
        match entity.parent {
            None => assert_eq!(place, 0, "only the message has no parent"),
            Some(parent) => assert!(parent < entity.id, "a parent after its child"),
        }
        assert!(entities.ancestry(entity.id).count() <= limits.max_layers * 4 + 4);
        assert!(entity.content.len() as u64 <= limits.max_entity_bytes.max(raw.len() as u64));
        let _ = entity.text();
        assert!(!entities.path(entity.id).chars().any(char::is_control), "unescaped");
    }
    for gap in entities.gaps() {
        assert!(entities.get(gap.entity).is_some(), "a gap in nothing");
    }
});
