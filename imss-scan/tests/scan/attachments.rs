use std::collections::BTreeSet;

use imss_core::filetype::TypeGroup;
use imss_core::plan::{AttachmentQuery, Container, Query};

use crate::mail::{Mail, encrypted_zip, multipart, zip};

fn named(patterns: &[&str]) -> AttachmentQuery {
    let name = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    AttachmentQuery { name, ..AttachmentQuery::default() }
}

fn inside(containers: &[Container]) -> BTreeSet<Container> {
    containers.iter().copied().collect()
}

/// The names of the entities that answer a query.
fn matching(mail: &Mail, query: AttachmentQuery) -> Vec<String> {
    let scan = mail.ask(Query::Attachment(query));
    scan.findings.found.iter().map(|finding| finding.name.clone()).collect()
}

#[test]
fn places() {
    use Container::{Archive, EncryptedArchive, Message};
    let opened = zip(&[("in.exe", b"x"), ("deep.zip", &zip(&[("deep.exe", b"x")]))]);
    let closed = encrypted_zip(&[("closed.exe", b"x")]);
    let attached = multipart("text", &[("attached.exe", b"x")]);
    let raw = multipart("text", &[("top.exe", b"x"), ("a.zip", &opened), ("c.zip", &closed)]);
    let mut raw = String::from_utf8(raw).unwrap();
    let end = raw.rfind("--=_b--").unwrap();
    let attached = String::from_utf8(attached).unwrap().replace("=_b", "=_inner");
    raw.truncate(end);
    raw.push_str(&format!(
        "--=_b\r\nContent-Type: message/rfc822\r\n\r\n{attached}\r\n--=_b--\r\n"
    ));
    let mail = Mail::new(raw);
    let cases: [(&str, &[Container], &[&str]); 5] = [
        ("on the message only", &[], &["top.exe"]),
        ("in archives of any depth", &[Archive], &["top.exe", "in.exe", "deep.exe"]),
        ("names in closed archives", &[EncryptedArchive], &["top.exe", "closed.exe"]),
        ("in attached messages", &[Message], &["top.exe", "attached.exe"]),
        (
            "everywhere",
            &[Archive, EncryptedArchive, Message],
            &["top.exe", "in.exe", "deep.exe", "closed.exe", "attached.exe"],
        ),
    ];
    for (name, containers, expected) in cases {
        let query = AttachmentQuery { inside: inside(containers), ..named(&["*.exe"]) };
        let mut found = matching(&mail, query);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn names_and_exceptions() {
    let mail = Mail::with_attachments("t", &[("a.exe", b"x"), ("b.PDF", b"x"), ("c.exe.", b"x")]);
    assert_eq!(matching(&mail, named(&["*.exe"])), ["a.exe", "c.exe."]);
    assert_eq!(matching(&mail, named(&["b.*", "nothing"])), ["b.PDF"]);
    let all_but = AttachmentQuery { except_name: vec!["*.exe".to_owned()], ..named(&[]) };
    assert_eq!(matching(&mail, all_but), ["b.PDF"]);
}

#[test]
fn true_types() {
    let mut program = b"MZ".to_vec();
    program.resize(0x80, 0);
    program[0x3C] = 0x40;
    program.splice(0x40..0x44, *b"PE\0\0");
    let closed = encrypted_zip(&[("closed.exe", b"x")]);
    let mail = Mail::with_attachments(
        "t",
        &[
            ("holiday.jpg", &program),
            ("run.js", b"WScript.Echo(1)"),
            ("notes.txt", b"plain notes"),
            ("c.zip", &closed),
        ],
    );
    let typed = |groups: &[TypeGroup]| AttachmentQuery {
        r#type: groups.to_vec(),
        inside: inside(&[Container::EncryptedArchive]),
        ..AttachmentQuery::default()
    };
    assert_eq!(matching(&mail, typed(&[TypeGroup::Executable])), ["holiday.jpg", "closed.exe"]);
    assert_eq!(matching(&mail, typed(&[TypeGroup::Script])), ["run.js"]);
    assert_eq!(matching(&mail, typed(&[TypeGroup::Archive])), ["c.zip"]);
    let liars = AttachmentQuery { mismatch: Some(true), ..AttachmentQuery::default() };
    assert_eq!(matching(&mail, liars), ["holiday.jpg"]);
}

#[test]
fn content_of_several_types_is_each_of_them() {
    let page = b"<html><body>hello</body></html>\n".to_vec();
    let archive = zip(&[("in.txt", b"x")]);
    let picture = b"GIF89a=1;new ActiveXObject('x');";
    let both = [page.as_slice(), &archive].concat();
    let mail = Mail::with_attachments(
        "t",
        &[("both.htm", &both), ("page.htm", &page), ("picture.gif", picture)],
    );
    let typed = |group: TypeGroup| AttachmentQuery {
        r#type: vec![group],
        inside: inside(&[]),
        ..AttachmentQuery::default()
    };
    assert_eq!(matching(&mail, typed(TypeGroup::Archive)), ["both.htm"]);
    assert_eq!(matching(&mail, typed(TypeGroup::Html)), ["both.htm", "page.htm"]);
    assert_eq!(matching(&mail, typed(TypeGroup::Script)), ["picture.gif"]);
    assert_eq!(matching(&mail, typed(TypeGroup::Image)), ["picture.gif"]);
    let media = AttachmentQuery {
        media_type: vec!["application/zip".to_owned()],
        ..AttachmentQuery::default()
    };
    assert_eq!(matching(&mail, media), ["both.htm"]);
}

#[test]
fn sizes_and_media_types() {
    let mail = Mail::with_attachments("t", &[("a.bin", &[1; 11]), ("b.bin", &[1; 10])]);
    let larger = AttachmentQuery { larger_than: Some(10), ..AttachmentQuery::default() };
    assert_eq!(matching(&mail, larger), ["a.bin"]);
    let media = |media: &str| AttachmentQuery {
        media_type: vec![media.to_owned()],
        ..AttachmentQuery::default()
    };
    assert_eq!(matching(&mail, media("application/*")).len(), 2);
    assert_eq!(matching(&mail, media("Application/Octet-Stream")).len(), 2);
    assert_eq!(matching(&mail, media("image/*")).len(), 0);
}
