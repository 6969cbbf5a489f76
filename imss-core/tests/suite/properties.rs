//! Whatever the octets: no panic, every range inside the input, every parent before its children,
//! and limits hold.

use imss_core::entity::Entities;
use imss_core::ids::EntityId;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::{Message, Part};
use proptest::prelude::*;

/// Pieces that make structure likely.
const PIECES: [&str; 24] = [
    "\n",
    "\r\n",
    "--b",
    "--",
    "--b--",
    " ",
    "\t",
    "\"",
    ";",
    "=",
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: message/rfc822\n",
    "Content-Transfer-Encoding: base64\n",
    "Content-Type: text/html\n",
    "Content-Disposition: attachment; filename*0*=utf-8''%41; filename*1=b.exe\n",
    "Subject: =?iso-2022-jp?B?GyRCRnxL?=\n =?utf-8?q?=E3?=\n",
    "aGVsbG8=\n",
    "begin 644 a\n#0V%T\n`\nend\n",
    "<p>&amp;<script>",
    "\u{1b}$BF|",
    "Content-Transfer-Encoding: quoted-printable\n",
    "=3D=\n",
    "+AGE-",
    "x: y\n",
];

proptest! {
    #[test]
    fn any_octets_give_a_message(raw in prop::collection::vec(any::<u8>(), 0..2000)) {
        check(raw)?;
    }

    #[test]
    fn any_structure_gives_a_message(
        pieces in prop::collection::vec((0..PIECES.len(), any::<Option<u8>>()), 0..200),
    ) {
        let mut raw = Vec::new();
        for (piece, octet) in pieces {
            raw.extend(PIECES[piece].bytes());
            raw.extend(octet.filter(|octet| octet % 8 == 0));
        }
        check(raw)?;
    }
}

fn check(raw: Vec<u8>) -> Result<(), TestCaseError> {
    let limits = Limits::small();
    let length = raw.len();
    let message = Message::parse(raw.into(), &limits);
    prop_assert!(!message.parts().is_empty() && message.parts().len() <= limits.max_entities);
    for part in message.parts() {
        for range in [part.range(), part.header_range(), part.body_range()] {
            prop_assert!(range.start <= range.end && range.end <= length, "{range:?}");
        }
        prop_assert!(is_inside_its_parent(&message, part), "{:?}", part.range());
        for field in message.fields_of(part) {
            prop_assert!(field.range().end <= length);
            prop_assert!(field.value_range().end <= field.range().end);
        }
    }
    let (_, _, _) = (message.subject(), message.addresses("From"), message.outline().to_string());
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    prop_assert!(entities.get(EntityId::MESSAGE).is_some_and(|entity| entity.parent.is_none()));
    prop_assert!(entities.len() <= limits.max_entities);
    for entity in entities.iter().skip(1) {
        prop_assert!(entity.parent.is_some_and(|parent| parent < entity.id));
        prop_assert!(!entities.path(entity.id).contains('\n'));
        let bounded =
            |text: &imss_core::charset::Text| text.plain.len() <= 3 * limits.max_text_bytes;
        prop_assert!(entity.text().is_none_or(bounded));
    }
    Ok(())
}

fn is_inside_its_parent(message: &Message, part: &Part) -> bool {
    let parent = part.parent().and_then(|parent| message.parts().get(parent));
    parent.is_none_or(|parent| {
        let (inner, outer) = (part.range(), parent.range());
        outer.start <= inner.start && inner.end <= outer.end
    })
}

#[test]
fn parts_lie_inside_their_parents() {
    let inner = "--a\nContent-Type: multipart/x; boundary=b\n\n--b\n";
    let cases = [
        ("an empty part before the outer delimiter", "\n--a--\n"),
        ("fields that end at the outer delimiter", "X: y\n--a--\n"),
        ("a message without content", "Content-Type: message/rfc822\n\n\n--a\n\n"),
        ("nothing after the close-delimiter", "\nx\n--b--\n--a--\n"),
        ("nothing at all", ""),
    ];
    for (name, rest) in cases {
        for line_end in ["\n", "\r\n"] {
            let raw = format!("Content-Type: multipart/x; boundary=a\n\n{inner}{rest}");
            let raw = raw.replace('\n', line_end);
            let message = Message::parse(raw.into(), &Limits::small());
            assert!(message.parts().len() >= 2, "{name}");
            for part in message.parts() {
                assert!(is_inside_its_parent(&message, part), "{name}: {}", part.number());
            }
        }
    }
}

#[test]
fn every_limit_is_a_gap() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(20);
    let mixed = "Content-Type: multipart/mixed; boundary=b\n\n";
    let cases: [(&str, Limits, String, Limit); 6] = [
        ("layers", Limits { max_layers: 3, ..Limits::small() }, nested, Limit::Layers),
        (
            "entities",
            Limits { max_entities: 5, ..Limits::small() },
            format!("{mixed}{}", "--b\n\nx\n".repeat(20)),
            Limit::Entities,
        ),
        (
            "header fields",
            Limits { max_header_fields: 5, ..Limits::small() },
            "X: y\n".repeat(20),
            Limit::Header,
        ),
        (
            "total octets",
            Limits { max_total_bytes: 5, ..Limits::small() },
            "\n0123456789".to_owned(),
            Limit::TotalBytes,
        ),
        (
            "text",
            Limits { max_text_bytes: 5, ..Limits::small() },
            "\n0123456789".to_owned(),
            Limit::Text,
        ),
        (
            "message",
            Limits { max_message_bytes: 5, ..Limits::small() },
            "\n0123456789".to_owned(),
            Limit::MessageBytes,
        ),
    ];
    for (name, limits, raw, expected) in cases {
        let message = Message::parse(raw.into(), &limits);
        let entities = Entities::extract(&message, &limits, &StopFlag::new());
        let expected = imss_core::finding::GapReason::Limit(expected);
        assert!(entities.gaps().iter().any(|gap| gap.reason == expected), "{name}");
    }
}

#[test]
fn a_stop_is_a_gap() {
    let stop = StopFlag::new();
    stop.stop();
    let limits = Limits::small();
    let message = Message::parse("Subject: a\n\nb\n".into(), &limits);
    let entities = Entities::extract(&message, &limits, &stop);
    assert_eq!(entities.len(), 1);
    assert!(!entities.gaps().is_empty());
}
