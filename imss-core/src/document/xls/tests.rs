use super::*;
use crate::archive::Passwords;
use crate::archive::ole::build::compound;
use crate::document::active::ActiveKind;
use crate::document::testing::{extract, extract_with};
use crate::document::{LinkKind, TextKind};

fn record(id: u16, body: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &(body.len() as u16).to_le_bytes(), body].concat()
}

fn begin(kind: u8) -> Vec<u8> {
    record(0x809, &[0, 6, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// A workbook of one sheet: its state, its type, its records, and records before it.
fn workbook(state: u8, kind: u8, globals: &[Vec<u8>], sheet: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = begin(5);
    let bound = stream.len();
    stream.extend(record(0x85, &[0, 0, 0, 0, state, kind, 2, 0, b'S', b'1']));
    stream.extend(globals.concat());
    stream.extend(record(0x0a, &[]));
    let offset = stream.len() as u32;
    stream[bound + 4..bound + 8].copy_from_slice(&offset.to_le_bytes());
    stream.extend(begin(if kind == 1 { 0x40 } else { 0x10 }));
    stream.extend(sheet.concat());
    stream.extend(record(0x0a, &[]));
    stream.resize(stream.len().max(4096), 0);
    compound(&[("Workbook", &stream)], &[])
}

fn label(row: u8, text: &str) -> Vec<u8> {
    let head = [row, 0, 0, 0, 0, 0, text.len() as u8, 0, 0];
    record(0x204, &[&head[..], text.as_bytes()].concat())
}

fn formula(tokens: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 20];
    body.extend((tokens.len() as u16).to_le_bytes());
    body.extend(tokens);
    record(0x06, &body)
}

#[test]
fn cells_are_read() {
    // Two strings; the second breaks between records and changes its width there.
    let sst = record(0xfc, b"\x02\0\0\0\x02\0\0\0\x01\0\0a\x04\0\x00bc");
    let rest = record(0x3c, b"\x01\x42\x30d\0");
    let index = |at: u8| record(0xfd, &[at, 0, 0, 0, 0, 0, at, 0, 0, 0]);
    let sheet = [index(0), index(1), record(0x27e, &[1, 0, 1, 0, 0, 0, 0x2a, 0, 0, 0])];
    let found = extract(&Xls, workbook(0, 0, &[sst, rest], &sheet));
    let expected = format!("S1\na\nbcあd\t{}", f64::from_bits(0x28_0000_0000));
    assert!(found.text(TextKind::Shown).starts_with("S1\na\nbcあd\t"), "{expected}");
}

#[test]
fn dates_are_shown() {
    let format = |number: u8, code: &str| {
        let head = [number, 0, code.len() as u8, 0, 0];
        record(0x41e, &[&head[..], code.as_bytes()].concat())
    };
    let cell = |number: u8| record(0xe0, &[0, 0, number, 0, 0, 0]);
    let styles = [format(164, "yyyy/m/d"), cell(0), cell(14), cell(164)];
    let packed = (43363_u32 << 2 | 2).to_le_bytes();
    let one =
        |place: u8, style: u8| record(0x27e, &[&[place, 0, 0, 0, style, 0][..], &packed].concat());
    let many =
        record(0xbd, &[&[3, 0, 0, 0, 1, 0][..], &packed, &[0, 0], &packed, &[1, 0]].concat());
    let real = [&[4, 0, 0, 0, 2, 0][..], &29221.5_f64.to_le_bytes()].concat();
    let sheet = [one(0, 0), one(1, 1), one(2, 2), many, record(0x203, &real)];
    let found = extract(&Xls, workbook(0, 0, &styles, &sheet));
    let expected = "S1\n43363\n2018-09-20\n2018-09-20\n2018-09-20\t43363\n1980-01-01 12:00:00";
    assert_eq!(found.text(TextKind::Shown), expected);
    let mac = [&[record(0x22, &[1, 0])], &styles[..]].concat();
    let found = extract(&Xls, workbook(0, 0, &mac, &[one(0, 1)]));
    assert_eq!(found.text(TextKind::Shown), "S1\n2022-09-21");
}

#[test]
fn texts_about_cells_are_comments() {
    let texts = b"\x05\0\0title\x01\0\0\0\x02\0\x01\x42\x30d\0\x05\0\0wrong\0\0\0\0";
    let validation = record(0x1be, &[&[0; 4][..], texts].concat());
    let author = record(0x1c, b"\0\0\0\0\0\0\x01\0\x03\0\0Bob\0");
    let found = extract(&Xls, workbook(0, 0, &[], &[validation, author]));
    assert_eq!(found.text(TextKind::Comment), "title\nあd\nwrong\nBob");
}

#[test]
fn hidden_cells_are_told_apart() {
    let row = record(0x208, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0]);
    let sheet = [row, label(0, "seen"), label(1, "secret")];
    let found = extract(&Xls, workbook(0, 0, &[], &sheet));
    assert_eq!(found.text(TextKind::Shown), "S1\nseen");
    assert_eq!(found.text(TextKind::Hidden), "secret");
    let found = extract(&Xls, workbook(2, 0, &[], &sheet));
    assert_eq!(found.text(TextKind::Hidden), "S1\nseen\nsecret");
}

#[test]
fn macros_are_written_out() {
    // Auto_Open, built in; EXEC("calc").
    let name = record(
        0x18,
        &[&[0x20, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0x3a, 0, 0, 0, 0, 0, 0]]
            .concat(),
    );
    let sheet = [formula(b"\x17\x04\0calc\x42\x01\x6e\0")];
    let found = extract(&Xls, workbook(2, 1, &[name], &sheet));
    assert!(found.code[0].content.starts_with(b"A1: =EXEC(\"calc\")\n"));
    let facts: Vec<_> = found.active.iter().map(|fact| (fact.kind, fact.detail.as_str())).collect();
    let expected =
        [(ActiveKind::Xlm, "S1 (very hidden)"), (ActiveKind::AutoRun, "Auto_Open = SHEET0!A1")];
    assert_eq!(facts, expected);
}

#[test]
fn conversations_and_links_are_found() {
    let book = record(0x1ae, b"\0\0\x07\0\0cmd\x03/c!");
    let name = record(0x23, b"\0\0\0\0\0\0\x02\0A0");
    let other = record(0x1ae, b"\x01\0\x0a\0\0\x01\x01@s\x03a\x03b.x");
    let target = formula(b"\x17\x08\0http://a\x42\x01\x67\x01");
    let found = extract(&Xls, workbook(0, 0, &[book, name, other], &[target]));
    let facts: Vec<_> = found.active.iter().map(|fact| (fact.kind, fact.detail.as_str())).collect();
    assert_eq!(facts, [(ActiveKind::Dde, "cmd|/c!!A0")]);
    let links: Vec<_> = found.links.iter().map(|link| (link.0, link.1.as_str())).collect();
    assert_eq!(links, [(LinkKind::Load, "\\\\s\\a\\b.x"), (LinkKind::Click, "http://a")]);
}

#[test]
fn hyperlinks_of_cells_are_read() {
    let text = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&(units.len() as u32 / 2).to_le_bytes()[..], &units].concat()
    };
    let link = |flags: u32, rest: &[u8]| {
        record(0x1b8, &[&[0; 24][..], &[2, 0, 0, 0], &flags.to_le_bytes(), rest].concat())
    };
    let url = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    let script = b"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc";
    let address: Vec<u8> = "http://a".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let moniker = [&url[..], &(address.len() as u32).to_le_bytes(), &address].concat();
    let sheet = [
        link(0x11, &[text("here\0"), moniker].concat()),
        link(0x191, &[text("there\0"), text("_top\0"), text("http://b\0")].concat()),
        link(0x1, script),
    ];
    let found = extract(&Xls, workbook(0, 0, &[], &sheet));
    let links: Vec<_> = found.links.iter().map(|link| (link.1.as_str(), link.2.as_str())).collect();
    assert_eq!(links, [("http://a", "here"), ("http://b", "there")]);
    let facts: Vec<_> = found.active.iter().map(|fact| (fact.kind, fact.detail.as_str())).collect();
    assert_eq!(facts, [(ActiveKind::OleLink, "script moniker")]);
}

#[test]
fn a_locked_workbook_is_said() {
    // XOR with the password "pass": the verifier depends on it alone.
    let pass = record(0x2f, &[0, 0, 0x12, 0x34, 0x56, 0x78]);
    let found = extract_with(&Xls, workbook(0, 0, &[pass], &[]), &Passwords::configured(["pass"]));
    assert!(found.embedded[0].is_encrypted());
    assert!(found.texts.is_empty());
}
