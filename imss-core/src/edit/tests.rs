use proptest::prelude::*;

use super::*;
use crate::limits::{Limits, StopFlag};

pub(super) fn read(raw: &[u8]) -> (Message, Entities) {
    let message = Message::parse(Bytes::copy_from_slice(raw), &Limits::default());
    let entities = Entities::extract(&message, &Limits::default(), &StopFlag::new());
    (message, entities)
}

pub(super) fn edited(raw: &str, edits: &[Edit]) -> Result<String, EditError> {
    let (message, entities) = read(raw.as_bytes());
    let rope = apply(&message, &entities, edits)?;
    Ok(String::from_utf8_lossy(&rope.to_bytes(raw.as_bytes())).into_owned())
}

fn prepend(name: &str, value: &str) -> Edit {
    Edit::PrependField { name: name.into(), value: value.into() }
}

fn add(name: &str, value: &str) -> Edit {
    Edit::AddField { name: name.into(), value: value.into() }
}

fn remove(name: &str) -> Edit {
    Edit::RemoveField { name: name.into() }
}

fn set(name: &str, value: &str) -> Edit {
    Edit::ReplaceField { name: name.into(), value: value.into() }
}

fn tag(tag: &str) -> Edit {
    Edit::TagSubject { tag: tag.into() }
}

/// Replaces the part with that number.
fn replace(raw: &str, number: &str, notice: &str) -> Edit {
    let (_, entities) = read(raw.as_bytes());
    let is_it = |entity: &&crate::entity::Entity| {
        entity.origin == crate::entity::Origin::Part(number.into())
    };
    let entity = entities.iter().find(is_it).unwrap().id;
    Edit::ReplacePart { entity, notice: notice.into(), reason: "test".into() }
}

#[test]
fn fields() {
    let simple = "A: 1\r\nB: 2\r\n a\r\nb: 3\r\n\r\nbody\r\n";
    let cases: &[(&str, &str, Vec<Edit>, &str)] = &[
        ("nothing", simple, vec![], simple),
        ("in front", "A: 1\r\n\r\nb", vec![prepend("R", "x")], "R: x\r\nA: 1\r\n\r\nb"),
        (
            "in front twice",
            "A: 1\r\n\r\nb",
            vec![prepend("R", "x"), prepend("S", "y")],
            "S: y\r\nR: x\r\nA: 1\r\n\r\nb",
        ),
        ("at the end", "A: 1\r\n\r\nb", vec![add("R", "x")], "A: 1\r\nR: x\r\n\r\nb"),
        ("LF stays LF", "A: 1\n\nb", vec![add("R", "x")], "A: 1\nR: x\n\nb"),
        ("removed", simple, vec![remove("b")], "A: 1\r\n\r\nbody\r\n"),
        ("replaced", simple, vec![set("b", "x")], "A: 1\r\nb: x\r\n\r\nbody\r\n"),
        ("replaced, absent", "A: 1\r\n\r\n", vec![set("b", "x")], "A: 1\r\nb: x\r\n\r\n"),
        ("added and removed", "A: 1\r\n\r\nb", vec![add("B", "2"), remove("B")], "A: 1\r\n\r\nb"),
        ("without a body", "A: 1", vec![add("B", "2")], "A: 1\r\nB: 2\r\n"),
        ("empty", "", vec![add("B", "2")], "B: 2\r\n"),
        ("body alone", "\r\nbody", vec![prepend("B", "2")], "B: 2\r\n\r\nbody"),
        (
            "an mbox line stays the first",
            "From a@b Mon\nA: 1\n\nb",
            vec![prepend("R", "x")],
            "From a@b Mon\nR: x\nA: 1\n\nb",
        ),
        (
            "no second field",
            "A: 1\r\n\r\nb",
            vec![add("X", "1\r\nBcc: x\r\n\r\nbody")],
            "A: 1\r\nX: 1 Bcc: x body\r\n\r\nb",
        ),
        (
            "subject",
            "Subject: hi\r\n\r\nb",
            vec![tag("[x]"), tag("[x]")],
            "Subject: [x] hi\r\n\r\nb",
        ),
        (
            "every subject",
            "Subject: a\nSubject: b\n\n",
            vec![tag("[x]")],
            "Subject: [x] a\nSubject: [x] b\n\n",
        ),
        ("no subject", "A: 1\r\n\r\nb", vec![tag("[x]")], "A: 1\r\nSubject: [x]\r\n\r\nb"),
    ];
    for (name, raw, edits, expected) in cases {
        assert_eq!(edited(raw, edits).as_deref(), Ok(*expected), "{name}");
    }
}

#[test]
fn refused() {
    let raw = "Content-Type: text/plain\r\n\r\nb";
    let message = Edit::ReplacePart {
        entity: EntityId::MESSAGE,
        notice: String::new(),
        reason: String::new(),
    };
    let cases = [
        ("no name", add("", "x"), EditError::FieldName(String::new())),
        ("two names", add("a: b", "x"), EditError::FieldName("a: b".into())),
        ("the message", message, EditError::NoSuchPart(EntityId::MESSAGE)),
        (
            "what the structure hangs on",
            remove("Content-Type"),
            EditError::Unproven("a field that describes the content changed".into()),
        ),
    ];
    for (name, edit, expected) in cases {
        assert_eq!(edited(raw, &[edit]), Err(expected), "{name}");
    }
}

const MIXED: &str = "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\nhello\r\n\
    --b\r\nContent-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEs=\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\nepilogue";

const NOTICE: &str = "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\
    Content-Disposition: inline\r\n\r\ngone";

#[test]
fn parts_become_notices() {
    let zip = "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEs=";
    let text = format!("--b\r\n{NOTICE}\r\n--b\r\nContent-Type: application");
    let inner = "Content-Type: text/html\r\n\r\n<p>";
    let whole = format!("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n{inner}");
    let cases = [
        ("an attachment", MIXED, "2", MIXED.replace(zip, NOTICE)),
        (
            "a part without fields",
            MIXED,
            "1",
            MIXED.replace("--b\r\n\r\nhello\r\n--b\r\nContent-Type: application", &text),
        ),
        ("an attached message", MIXED, "3", MIXED.replace(&whole, NOTICE)),
        ("the content of an attached message", MIXED, "3.1", MIXED.replace(inner, NOTICE)),
        (
            "the only part",
            "Subject: s\r\nContent-Type: text/html\r\nA: 1\r\n\r\n<p>\r\n",
            "1",
            format!(
                "Subject: s\r\n{}\r\n",
                NOTICE.replace("\r\n\r\n", "\r\nA: 1\r\nMIME-Version: 1.0\r\n\r\n")
            ),
        ),
        (
            "a multipart that is not closed",
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nA: 1\n\ny",
            "2",
            format!(
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n{}\n",
                NOTICE.replace("\r\n", "\n")
            ),
        ),
    ];
    for (name, raw, number, expected) in cases {
        let result = edited(raw, &[replace(raw, number, "gone\n")]);
        assert_eq!(result, Ok(expected), "{name}");
    }
}

#[test]
fn notices_choose_their_charset() {
    let raw = "Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\nb";
    let plain = "Content-Type: text/plain\r\n\r\nb";
    let cases = [
        ("ASCII", raw, "gone", "us-ascii", "gone"),
        ("Japanese in a Japanese message", raw, "削除", "iso-2022-jp", "\u{1b}$B:o=|\u{1b}(B"),
        ("Japanese in another message", plain, "削除", "utf-8", "5YmK6ZmkDQo="),
        ("beyond ISO-2022-JP", raw, "😀", "utf-8", "8J+YgA0K"),
        ("like a delimiter", plain, "--b--", "utf-8", "LS1iLS0NCg=="),
    ];
    for (name, raw, notice, charset, body) in cases {
        let result = edited(raw, &[replace(raw, "1", notice)]).unwrap();
        assert!(result.contains(&format!("charset={charset}\r\n")), "{name}: {result}");
        assert!(result.ends_with(&format!("\r\n\r\n{body}\r\n")), "{name}: {result}");
    }
}

#[test]
fn inner_parts_go_with_outer_ones() {
    let edits = [
        replace(MIXED, "3.1", "inner"),
        replace(MIXED, "3", "outer"),
        replace(MIXED, "3", "again"),
    ];
    let result = edited(MIXED, &edits).unwrap();
    assert!(result.contains("outer") && !result.contains("inner") && !result.contains("again"));
}

/// Lines that messages are made of, good and bad.
const LINES: &[&str] = &[
    "Subject: hi",
    "Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=",
    "Subject:",
    " folded",
    "To: a@b",
    "Content-Type: text/plain",
    "Content-Type: multipart/mixed; boundary=b",
    "Content-Type: message/rfc822",
    "Content-Type: multipart/mixed; boundary=\"b c\"",
    "MIME-Version: 1.0",
    "Content-Transfer-Encoding: base64",
    "",
    "",
    "--b",
    "--b",
    "--b--",
    "--b c",
    "--b c--",
    "text",
    "aGVsbG8=",
    "From x y",
    "no field",
    "\u{e9}: x",
    "\0",
];

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let line = proptest::sample::select(LINES);
    let end = proptest::sample::select(["\r\n", "\r\n", "\r\n", "\n", "\r", ""].as_slice());
    proptest::collection::vec((line, end), 0..24)
        .prop_map(|lines| {
            lines.into_iter().map(|(line, end)| format!("{line}{end}")).collect::<String>()
        })
        .prop_map(String::into_bytes)
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let text = "[ -~\\r\\n日é\\x00]{0,100}";
    let name = proptest::sample::select(["X-A", "Subject", "Received", "To"].as_slice());
    let one = prop_oneof![
        (name.clone(), text).prop_map(|(name, value)| prepend(name, &value)),
        (name.clone(), text).prop_map(|(name, value)| add(name, &value)),
        (name.clone(), text).prop_map(|(name, value)| set(name, &value)),
        name.prop_map(remove),
        "[ -~日\\r\\n]{0,30}".prop_map(|text| tag(&text)),
        (0_u32..6, text).prop_map(|(entity, notice)| Edit::ReplacePart {
            entity: EntityId(entity),
            notice,
            reason: String::new(),
        }),
        (0_u32..6, text).prop_map(|(entity, content)| Edit::ReplaceContent {
            entity: EntityId(entity),
            content: content.into(),
            reason: String::new(),
        }),
        (text, any::<bool>(), any::<bool>()).prop_map(|(text, top, keep)| Edit::StampBody {
            html: top.then(|| text.clone()),
            text,
            position: if top { Position::Top } else { Position::Bottom },
            signed: if keep { Signed::Keep } else { Signed::Edit },
        }),
    ];
    proptest::collection::vec(one, 0..4)
}

fn changes_body(edit: &Edit) -> bool {
    matches!(edit, Edit::ReplacePart { .. } | Edit::ReplaceContent { .. } | Edit::StampBody { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Either the edits are refused, or the parts that stay are the original ones.
    #[test]
    fn every_result_is_proven(raw in messages(), edits in edits()) {
        let (message, entities) = read(&raw);
        let Ok(rope) = apply(&message, &entities, &edits) else { return Ok(()) };
        let bytes = rope.to_bytes(&raw);
        prop_assert_eq!(bytes.len() as u64, rope.len());
        if !edits.iter().any(changes_body) {
            let (again, _) = read(&bytes);
            prop_assert_eq!(again.outline(), message.outline());
            let body = |message: &Message| message.raw().slice(message.body_start()..);
            prop_assert_eq!(body(&again), body(&message));
        }
    }

    /// Ordinary messages are not refused.
    #[test]
    fn good_messages_can_be_edited(edits in edits()) {
        let (message, entities) = read(MIXED.as_bytes());
        let replaces =
            |edit: &Edit| matches!(edit, Edit::ReplacePart { .. } | Edit::ReplaceContent { .. });
        let edits: Vec<Edit> = edits.into_iter().filter(|edit| !replaces(edit)).collect();
        prop_assert!(apply(&message, &entities, &edits).is_ok(), "{:?}", apply(&message, &entities, &edits));
    }
}
