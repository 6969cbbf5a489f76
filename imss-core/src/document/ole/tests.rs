use super::*;
use crate::archive::ole::build::compound;
use crate::document::testing::extract;

fn native() -> Vec<u8> {
    let mut packed = b"\x02\0run.js\0C:\\run.js\0\0\0\x03\0\x04\0\0\0C:\\a\x03\0\0\0x()".to_vec();
    packed.splice(0..0, (packed.len() as u32).to_le_bytes());
    packed
}

#[test]
fn objects_are_found() {
    let mut moniker = b"\x01\0\0\x02\x01\0\0\0\0\0\0\0".to_vec();
    moniker.extend(b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b\x10\0\0\0");
    moniker.extend("http://a".encode_utf16().flat_map(u16::to_le_bytes));
    let equation = *b"\x02\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    let streams: [(&str, &[u8]); 3] = [
        ("ObjectPool/_1/\u{1}Ole10Native", &native()),
        ("ObjectPool/_2/\u{1}Ole", &moniker),
        ("ObjectPool/_3/Equation Native", b"x"),
    ];
    let found = extract(&OleObjects, compound(&streams, &[("ObjectPool/_3", equation)]));
    let facts: Vec<_> = found.active.iter().map(|fact| (fact.kind, fact.detail.as_str())).collect();
    let expected = [
        (ActiveKind::OlePackage, "run.js"),
        (ActiveKind::OleLink, "http://a"),
        (ActiveKind::ExploitedClass, "Equation.3"),
    ];
    assert_eq!(facts, expected);
    assert_eq!(found.links, [(LinkKind::Load, "http://a".to_owned(), String::new())]);
    assert_eq!(found.embedded[0].content, "x()");
}

#[test]
fn properties_are_read() {
    let mut set = vec![0; 24];
    set.extend(1_u32.to_le_bytes());
    set.extend(b"\xe0\x85\x9f\xf2\xf9\x4f\x68\x10\xab\x91\x08\x00\x2b\x27\xb3\xd9\x30\0\0\0");
    let section =
        b"\x40\0\0\0\x02\0\0\0\x01\0\0\0\x18\0\0\0\x02\0\0\0\x20\0\0\0\x02\0\0\0\xa4\x03\0\0";
    set.extend(section);
    set.extend(b"\x1e\0\0\0\x05\0\0\0\x93\xfa\x96{\0");
    let found = extract(&OleObjects, compound(&[("\u{5}SummaryInformation", &set)], &[]));
    assert_eq!(found.properties, [("title".to_owned(), "日本".to_owned())]);
}
