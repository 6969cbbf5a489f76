use super::super::pieces::{Found, extract, le16, le32};
use super::*;

/// A container of literals only (MS-OVBA §2.4.1).
fn compress(text: &str) -> Vec<u8> {
    let mut out = vec![1];
    for chunk in text.as_bytes().chunks(3000) {
        let tokens: Vec<u8> =
            chunk.chunks(8).flat_map(|eight| [&[0][..], eight].concat()).collect();
        let header = 0xb000 | u16::try_from(tokens.len() - 1).unwrap();
        out.extend(header.to_le_bytes());
        out.extend(tokens);
    }
    out
}

fn record(id: u16, data: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &le32(data.len()), data].concat()
}

struct Project {
    members: Vec<Member>,
    dir: Vec<u8>,
    project: String,
}

impl Project {
    fn new() -> Self {
        let version = [&[9, 0, 4, 0, 0, 0][..], &[1, 0, 0, 0, 2, 0]].concat();
        let dir = [record(3, &932_u16.to_le_bytes()), record(4, b"VBAProject"), version].concat();
        Self { members: Vec::new(), dir, project: String::new() }
    }

    fn module(mut self, kind: &str, name: &str, compiled: &[u8], source: Option<&str>) -> Self {
        let offset = le32(compiled.len());
        self.dir.extend(record(0x19, name.as_bytes()));
        self.dir.extend(record(0x1a, name.as_bytes()));
        self.dir.extend(record(0x31, &offset));
        self.dir.extend(record(if kind == "Module" { 0x21 } else { 0x22 }, b""));
        self.dir.extend(record(0x2b, b""));
        self.project += &format!("{kind}={name}/&H00000000\r\n");
        let text =
            source.map(|source| compress(&format!("Attribute VB_Name = \"{name}\"\r\n{source}")));
        let stream = [compiled, &text.unwrap_or_default()].concat();
        self.with(&format!("Macros/VBA/{name}"), stream)
    }

    fn with(mut self, path: &str, content: Vec<u8>) -> Self {
        self.members.push(member(path, content));
        self
    }

    fn read(mut self) -> Found {
        self.dir.extend(record(0x10, b""));
        let dir = compress(&String::from_utf8_lossy(&self.dir));
        let dir = if self.dir.is_ascii() { dir } else { literal(&self.dir) };
        self.members.push(member("Macros/VBA/dir", dir));
        self.members.push(member("Macros/PROJECT", self.project.into_bytes()));
        extract(&Vba, OLE, &self.members)
    }
}

const OLE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

fn literal(octets: &[u8]) -> Vec<u8> {
    let tokens: Vec<u8> = octets.chunks(8).flat_map(|eight| [&[0][..], eight].concat()).collect();
    [&[1][..], &(0xb000 | u16::try_from(tokens.len() - 1).unwrap()).to_le_bytes(), &tokens].concat()
}

fn member(path: &str, content: Vec<u8>) -> Member {
    Member { names: vec![path.to_owned()], claimed_size: 0, content: content.into(), missing: None }
}

fn with_literal(text: &str) -> Vec<u8> {
    [&[0; 20][..], &[0xb9, 0, le16(text.len())[0], 0], text.as_bytes(), &[0; 20]].concat()
}

#[test]
fn modules_are_code_and_say_what_runs() {
    let found = Project::new()
        .module("Document", "ThisDocument", &[0; 40], Some("Sub Document_Open()\r\nEnd Sub\r\n"))
        .module(
            "Module",
            "Module1",
            &[0; 40],
            Some("' 日本\r\nFunction Sum(a)\r\nEnd Function\r\n"),
        )
        .read();
    assert_eq!(found.code(), ["ThisDocument.cls", "Module1.bas"]);
    assert_eq!(found.active(), ["AutoRun:Document_Open", "Vba:ThisDocument, Module1"]);
    assert_eq!(found.result, Ok(()));
}

#[test]
fn compiled_code_is_held_against_its_source() {
    let stomped = |compiled: &[u8], source| {
        let found = Project::new().module("Module", "A", compiled, source).read();
        let has = |fact: &String| fact.starts_with("VbaStomped");
        found.active().into_iter().find(has)
    };
    let honest = Some("Sub A()\r\nMsgBox \"Hello there\"\r\nEnd Sub\r\n");
    type Case<'a> = (&'a str, Vec<u8>, Option<&'a str>, Option<&'a str>);
    let table = |lines: u8| [&[7; 40][..], b"\xfe\xca\x01\0", &[lines, 0], &[0xff; 4]].concat();
    let cases: [Case<'_>; 7] = [
        (
            "removed, a line compiled",
            table(1),
            None,
            Some("VbaStomped:A: compiled code without a source"),
        ),
        ("never written", table(0), None, None),
        ("the same", with_literal("Hello there"), honest, None),
        (
            "another",
            with_literal("cmd /c calc"),
            honest,
            Some("VbaStomped:A: the source lacks cmd /c calc"),
        ),
        (
            "removed",
            with_literal("cmd /c calc"),
            None,
            Some("VbaStomped:A: compiled code without a source"),
        ),
        ("no literals", vec![7; 40], honest, None),
        ("nothing compiled", Vec::new(), honest, None),
    ];
    for (name, compiled, source, expected) in cases {
        assert_eq!(stomped(&compiled, source).as_deref(), expected, "{name}");
    }
}

#[test]
fn names_that_no_source_says() {
    let read = |source| {
        Project::new()
            .module("Module", "A", &[7; 40], Some(source))
            .with(
                "Macros/VBA/_VBA_PROJECT",
                b"\xcc\x61\x05\x04Shellab\x10\0\x08\x04AutoOpenab\x10\0".to_vec(),
            )
            .read()
            .active()
    };
    assert_eq!(read("Sub Main()\r\n"), ["Vba:A", "VbaStomped:no source says shell, autoopen"]);
    assert_eq!(read("Sub AutoOpen()\r\nShell \"x\""), ["AutoRun:AutoOpen", "Vba:A"]);
}

#[test]
fn a_module_that_the_editor_does_not_show() {
    let mut project = Project::new().module("Module", "A", &[], Some("Sub A()\r\n")).module(
        "Module",
        "B",
        &[],
        Some("Sub B()\r\n"),
    );
    project.project = "Module=A\r\n".to_owned();
    let hidden = "Obfuscation:B: a module that the editor does not show";
    assert_eq!(project.read().active(), ["Vba:A, B", hidden]);
}

#[test]
fn broken_projects_give_what_there_is() {
    let module = compress("Attribute VB_Name = \"Lost\"\r\nSub AutoOpen()\r\nEnd Sub\r\n");
    let members = [
        member("Macros/VBA/dir", b"\x01broken".to_vec()),
        member("Macros/VBA/Lost", [&[9; 30][..], &module].concat()),
    ];
    let found = extract(&Vba, OLE, &members);
    assert_eq!(found.code(), ["Lost.bas"]);
    assert_eq!(found.active(), ["AutoRun:AutoOpen", "Vba:Lost"]);
    assert!(found.result.is_err());
    let raw = [OLE, &[0; 600], &module].concat();
    assert_eq!(extract(&Vba, &raw, &[]).code(), ["Lost.bas"], "no streams at all");
}

#[test]
fn a_module_that_is_cut_keeps_its_start() {
    let mut project = Project::new();
    project = project.module("Module", "A", &[], Some("Sub AutoOpen()\r\nEnd Sub\r\n"));
    let stream = &mut project.members[0];
    stream.content = stream.content.slice(..stream.content.len() - 8);
    let found = project.read();
    assert_eq!(found.active(), ["AutoRun:AutoOpen", "Vba:A"]);
    assert!(found.result.is_err());
}

#[test]
fn strings_of_forms_are_text() {
    let found = Project::new()
        .module("BaseClass", "UserForm1", &[], Some("Sub Box_MouseMove()\r\n"))
        .with("Macros/UserForm1/o", b"\x00\x02powershell -enc AA\0".to_vec())
        .with("Other/o", b"not of this project".to_vec())
        .read();
    assert_eq!(found.code(), ["UserForm1.frm"]);
    assert_eq!(found.texts(), ["Formula:powershell -enc AA\n"]);
    assert_eq!(found.active(), ["Vba:UserForm1"]);
}

#[test]
fn names_of_code_that_is_gone_say_nothing() {
    let names = b"\x05\x04Shell\x01\x02\x10\0\x08\x80\0\0\xff\x03\x01\0AutoOpen\x02\x05\x10\0";
    for (lines, expected) in [(0, false), (3, true)] {
        let compiled = [&[7; 40][..], b"\xfe\xca\x01\0", &[lines, 0], &[0xff; 4]].concat();
        let found = Project::new()
            .module("Document", "Sheet1", &compiled, Some(""))
            .with("Macros/VBA/_VBA_PROJECT", names.to_vec())
            .read();
        let is_stomped = found.active().iter().any(|fact| fact.starts_with("VbaStomped"));
        assert_eq!(is_stomped, expected, "{lines} lines");
    }
}
