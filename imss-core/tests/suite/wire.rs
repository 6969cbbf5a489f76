//! Entities survive the way through a pipe, and hostile octets in it harm nobody.

use bytes::Bytes;
use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use proptest::prelude::*;

/// A message with parts of every kind: text, an attached message, an archive, a defect.
const MESSAGE: &str = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/html; charset=iso-2022-jp\r\n\r\n<p>\u{1b}$B$\"\u{1b}(B</p>\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbegin 644 a.exe\r\n#86)C\r\n`\r\nend\r\n\
    --b\r\nContent-Type: application/x-tar; name=\"a.gz\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==\r\n--b--\r\n";

fn wire() -> (Entities, Vec<u8>, Bytes) {
    let limits = Limits::default();
    let raw = Bytes::from(MESSAGE);
    let message = Message::parse(raw.clone(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let wire = entities.to_wire(&raw);
    (entities, wire.unwrap_or_default(), raw)
}

#[test]
fn entities_survive() {
    let (entities, wire, raw) = wire();
    let again =
        Entities::from_wire(&wire.into(), &raw, &Limits::default()).expect("our own octets");
    assert_eq!(entities.len(), again.len());
    assert!(entities.len() > 5, "the message holds something");
    for (one, other) in entities.iter().zip(&again) {
        assert_eq!((one.id, one.parent, &one.origin), (other.id, other.parent, &other.origin));
        assert_eq!((one.role, &one.names), (other.role, &other.names));
        assert_eq!((&one.declared, one.detected), (&other.declared, other.detected));
        assert_eq!((one.size, &one.content), (other.size, &other.content));
        assert_eq!((one.encrypted, &one.document), (other.encrypted, &other.document));
        assert_eq!(one.text(), other.text());
        assert_eq!(entities.message_part(one.id), again.message_part(other.id));
        assert_eq!(entities.path(one.id), again.path(other.id));
    }
    assert_eq!((entities.gaps(), entities.anomalies()), (again.gaps(), again.anomalies()));
}

proptest! {
    #[test]
    fn changed_octets_are_refused_or_harmless(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let (_, mut wire, raw) = wire();
        let at = at.index(wire.len());
        wire[at] = octet;
        if let Ok(entities) = Entities::from_wire(&wire.into(), &raw, &Limits::default()) {
            for entity in &entities {
                prop_assert!(entities.ancestry(entity.id).count() <= entities.len());
            }
        }
    }

    #[test]
    fn cut_octets_are_refused(length in any::<prop::sample::Index>()) {
        let (_, wire, raw) = wire();
        let head = u64::from_be_bytes(wire[..8].try_into().expect("eight octets"));
        let cut = length.index(usize::try_from(head).expect("a small head") + 8);
        let cut = Bytes::copy_from_slice(&wire[..cut]);
        prop_assert!(Entities::from_wire(&cut, &raw, &Limits::default()).is_err());
    }
}
