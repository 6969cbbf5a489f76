use super::*;
use crate::archive::ole::build::compound;
use crate::document::testing::extract;

fn record(first: u16, id: u16, body: &[u8]) -> Vec<u8> {
    let octets = (body.len() as u32).to_le_bytes();
    [&first.to_le_bytes()[..], &id.to_le_bytes(), &octets, body].concat()
}

fn container(id: u16, children: &[Vec<u8>]) -> Vec<u8> {
    record(0xf, id, &children.concat())
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn slides_are_read() {
    let text = |text: &str| record(0, 0x0fa0, &wide(text));
    let show = |flags: u8| record(0, 0x03f9, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0, 0, 0, 0, 0]);
    let link = container(0x0fd7, &[record(0x10, 0x0fba, &wide("http://a.test/"))]);
    let stream = [
        container(0x03ee, &[show(0), text("あ\rb")]),
        container(0x03ee, &[show(4), text("secret")]),
        container(0x03f0, &[record(0, 0x0fa8, b"note")]),
        container(0x03f8, &[text("Click to edit")]),
        link,
    ];
    let mut stream = stream.concat();
    stream.resize(5000, 0);
    let found = extract(&Ppt, compound(&[("PowerPoint Document", &stream)], &[]));
    assert_eq!(found.text(TextKind::Shown), "あ\nb");
    assert_eq!(found.text(TextKind::Hidden), "secret");
    assert_eq!(found.text(TextKind::Comment), "note");
    assert_eq!(found.links, [(LinkKind::Click, "http://a.test/".to_owned(), String::new())]);
}

#[test]
fn broken_objects_are_said() {
    let mut stream = record(0x10, 0x1011, b"\x10\0\0\0not zlib");
    stream.resize(5000, 0);
    let found = extract(&Ppt, compound(&[("PowerPoint Document", &stream)], &[]));
    let missing = found.embedded[0].missing.as_ref().unwrap();
    assert_eq!(missing.reason, GapReason::Malformed);
}
