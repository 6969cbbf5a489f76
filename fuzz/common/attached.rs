//! An archive, sent as an attachment and unpacked.

use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

/// Unpacks `content` and checks what comes out of it.
pub fn check(name: &str, media_type: &str, content: &[u8]) {
    let limits = Limits::small();
    let mut raw = format!(
        "Content-Type: {media_type}; name={name}\r\n\
         Content-Disposition: attachment; filename={name}\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n"
    )
    .into_bytes();
    raw.extend_from_slice(content);
    let message = Message::parse(raw.into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let total: u64 = entities.iter().map(|entity| entity.content.len() as u64).sum();
    assert!(total <= limits.max_total_bytes + 4 * content.len() as u64 + 4_096, "{total} octets");
    assert!(entities.len() <= limits.max_entities + 1);
    for gap in entities.gaps() {
        assert!(entities.get(gap.entity).is_some(), "a gap in nothing");
    }
    // The same bytes give the same tree.
    let again = Entities::extract(&message, &limits, &StopFlag::new());
    let digests = |entities: &Entities| entities.iter().map(|e| *e.sha256()).collect::<Vec<_>>();
    assert_eq!(digests(&entities), digests(&again));
}
