use super::super::pieces::{Found, extract};
use super::*;

const OLE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

fn read(streams: &[(&str, &[u8])]) -> Found {
    let members: Vec<Member> =
        streams.iter().map(|(path, content)| member(path, content)).collect();
    extract(&Msg, OLE, &members)
}

fn member(path: &str, content: &[u8]) -> Member {
    let content = Bytes::copy_from_slice(content);
    Member { names: vec![path.to_owned()], claimed_size: 0, content, missing: None }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A property stream of the root that says the code page.
fn page(number: u32) -> Vec<u8> {
    let head = [0; 32];
    [&head[..], &[3, 0, 0xfd, 0x3f, 0, 0, 0, 0], &number.to_le_bytes(), &[0; 4]].concat()
}

#[test]
fn an_item_is_read() {
    let found = read(&[
        (PROPERTIES, &page(932)),
        ("__substg1.0_0037001F", &wide("件名")),
        ("__substg1.0_0C1A001E", b"\x93\xfa\x96{"),
        ("__substg1.0_1000001E", b"\x96{\x95\xb6\r\n"),
        ("__substg1.0_10130102", b"<p>body</p>"),
        ("__recip_version1.0_#00000000/__substg1.0_3001001E", b"To"),
        ("__recip_version1.0_#00000000/__substg1.0_39FE001E", b"to@example.com"),
        ("__attach_version1.0_#00000000/__substg1.0_3707001F", &wide("long name.exe")),
        ("__attach_version1.0_#00000000/__substg1.0_3704001E", b"LONGNA~1.EXE"),
        ("__attach_version1.0_#00000000/__substg1.0_37010102", b"MZ"),
    ]);
    let properties = ["subject=件名", "sender=日本", "recipient=To to@example.com"];
    assert_eq!(found.properties(), properties);
    assert!(found.texts().contains(&"Shown:本文\r\n".to_owned()));
    assert_eq!(found.embedded(), ["body.html:<p>body</p>", "long name.exe|LONGNA~1.EXE:MZ"]);
    assert_eq!(found.result, Ok(()));
}

#[test]
fn items_nest() {
    let inner = "__attach_version1.0_#00000000/__substg1.0_3701000D";
    let deeper = format!("{inner}/__attach_version1.0_#00000000");
    let found = read(&[
        ("__substg1.0_0037001E", b"outer"),
        ("__attach_version1.0_#00000000/__substg1.0_3001001E", b"attached"),
        (&format!("{inner}/__substg1.0_0037001E"), b"inner"),
        (&format!("{deeper}/__substg1.0_3707001E"), b"deep.txt"),
        (&format!("{deeper}/__substg1.0_37010102"), b"deep"),
    ]);
    assert_eq!(found.properties(), ["subject=outer", "subject=inner"]);
    assert_eq!(found.embedded(), ["deep.txt:deep"]);
}

#[test]
fn a_reminder_on_another_machine_and_its_benign_twin() {
    let active = |sound: &[u8]| {
        let names = [0x1f, 0x85, 0, 0, 6, 0, 2, 0];
        let streams: [(&str, &[u8]); 3] = [
            ("__substg1.0_0037001E", b"x"),
            ("__substg1.0_8002001E", sound),
            ("__nameid_version1.0/__substg1.0_00030102", &names),
        ];
        read(&streams).active()
    };
    assert_eq!(active(b"\\\\host\\s.wav"), ["RemoteContent:\\\\\\\\host\\\\s.wav"]);
    assert!(active(b"C:\\Windows\\s.wav").is_empty());
}

#[test]
fn compressed_bodies() {
    let rtf = b"{\\rtf1\\fromhtml1{\\*\\htmltag <b>}hi}";
    let whole = [&[0, 0, 0, 0, 0, 0, 0, 0][..], b"MELA", &[0; 4], rtf].concat();
    let found = read(&[("__substg1.0_10090102", &whole)]);
    let text = String::from_utf8_lossy(rtf);
    assert_eq!(found.embedded(), ["body.html:<b>hi".to_owned(), format!("body.rtf:{text}")]);
    let cut = [&[0, 0, 0, 0, 0, 0, 0, 0][..], b"LZFu", &[0; 4], b"\0{\\rt"].concat();
    let found = read(&[("__substg1.0_10090102", &cut)]);
    assert_eq!(found.embedded(), ["body.rtf:{\\rt"]);
    assert!(found.result.is_err());
    assert!(read(&[("WordDocument", b"x")]).pieces.is_empty(), "no item");
}
