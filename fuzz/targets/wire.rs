#![no_main]
//! What a worker hands back is read or refused, and what is read is written the same again.
//!
//! An input that starts with `{` is the head of entities, up to a NUL, and their contents after it.
//! Any other is a message: what is read from it goes over the wire whole.

use bytes::Bytes;
use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use libfuzzer_sys::fuzz_target;

/// What the entities are said to be from.
const MESSAGE: &[u8] = b"Subject: wire\r\nContent-Type: text/html\r\n\r\n<p>Good morning.</p>\r\n";

fuzz_target!(|input: &[u8]| {
    let limits = Limits::small();
    if !input.starts_with(b"{") {
        return over_the_wire(input, &limits);
    }
    let end = input.iter().position(|&octet| octet == 0).unwrap_or(input.len());
    let (head, contents) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let wire = [&(head.len() as u64).to_be_bytes(), head, contents].concat();
    let message = Bytes::from_static(MESSAGE);
    let Ok(entities) = Entities::from_wire(&wire.into(), &message, &limits) else { return };
    assert!(entities.len() <= limits.max_entities + 1);
    for entity in entities.iter() {
        assert!(entities.ancestry(entity.id).count() <= entities.len());
        assert!(!entities.path(entity.id).chars().any(char::is_control), "unescaped");
        let _ = (entity.text(), entity.sha256(), entities.message_part(entity.id));
    }
    again(&entities, &message, &limits);
});

fn over_the_wire(raw: &[u8], limits: &Limits) {
    let message = Message::parse(raw.to_vec().into(), limits);
    let entities = Entities::extract(&message, limits, &StopFlag::new());
    let read = again(&entities, message.raw(), limits);
    assert_eq!(entities.len(), read.len());
    for (entity, read) in entities.iter().zip(read.iter()) {
        assert_eq!((entity.text(), entity.sha256()), (read.text(), read.sha256()));
        assert_eq!((&entity.names, &entity.document), (&read.names, &read.document));
    }
    assert_eq!(entities.gaps(), read.gaps());
    assert_eq!(entities.anomalies(), read.anomalies());
}

/// Writes entities and reads them back.
fn again(entities: &Entities, message: &Bytes, limits: &Limits) -> Entities {
    let wire: Bytes = entities.to_wire(message).expect("entities are written").into();
    let read = Entities::from_wire(&wire, message, limits).expect("own wire is read");
    let second: Bytes = read.to_wire(message).expect("entities are written").into();
    assert_eq!(wire, second, "written otherwise");
    read
}
