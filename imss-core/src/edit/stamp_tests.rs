//! Stamps and new content, in messages as they come.

use super::tests::{edited, read};
use super::*;
use crate::message::transfer;

fn stamp(text: &str, position: Position) -> Edit {
    Edit::StampBody { text: text.into(), html: None, position, signed: Signed::Keep }
}

/// The texts of the edited message's leaf parts, decoded, and its header fields.
fn texts(raw: &[u8], edits: &[Edit]) -> Vec<String> {
    let (message, entities) = read(raw);
    let rope = apply(&message, &entities, edits).unwrap();
    let (again, _) = read(&rope.to_bytes(raw));
    let leaf = |part: &&Part| part.kind() == PartKind::Leaf;
    again
        .parts()
        .iter()
        .filter(leaf)
        .map(|part| {
            let content = transfer::decode(&again.part(part.body_range()), part.encoding()).content;
            crate::charset::decode(&content, part.charset()).text
        })
        .collect()
}

#[test]
fn stamps_speak_the_charset_and_encoding_of_the_text() {
    let japanese = |name: &str| encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
    let charsets = ["ISO-2022-JP", "Shift_JIS", "EUC-JP", "UTF-8", "windows-31j"];
    for charset in charsets {
        let (body, _, _) = japanese(charset).encode("こんにちは\r\n");
        for (encoding, body) in [
            ("8bit", body.to_vec()),
            ("base64", super::transfer::base64(&body, "\r\n")),
            ("quoted-printable", super::transfer::quoted_printable(&body, "\r\n")),
        ] {
            let head = format!(
                "Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let raw = [head.as_bytes(), &body].concat();
            for (position, expected) in [
                (Position::Top, "社外秘\r\n\r\nこんにちは\r\n"),
                (Position::Bottom, "こんにちは\r\n\r\n社外秘\r\n"),
            ] {
                let found = texts(&raw, &[stamp("社外秘", position)]);
                assert_eq!(found[0].trim_end(), expected.trim_end(), "{charset} {encoding}");
                let (message, entities) = read(&raw);
                let rope = apply(&message, &entities, &[stamp("社外秘", position)]).unwrap();
                assert!(rope.to_bytes(&raw).starts_with(head.as_bytes()), "{charset} {encoding}");
            }
        }
    }
}

#[test]
fn charsets_change_only_if_they_must() {
    let cases: [(&str, &str, &str, &str); 7] = [
        (
            "ASCII stays",
            "text/plain; charset=us-ascii",
            "bye",
            "Content-Type: text/plain; charset=us-ascii\r\n\r\nhi\r\n\r\nbye\r\n",
        ),
        (
            "none stays none",
            "text/plain",
            "bye",
            "Content-Type: text/plain\r\n\r\nhi\r\n\r\nbye\r\n",
        ),
        (
            "beyond ASCII",
            "text/plain; charset=us-ascii; format=fixed",
            "終",
            "Content-Type: text/plain; format=fixed; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\naGkNCg0K57WCDQo=\r\n",
        ),
        (
            "Latin",
            "text/plain; charset=iso-8859-15",
            "Many Grüße",
            "quoted-printable\r\nMIME-Version: 1.0\r\n\r\nhi\r\n\r\nMany Gr=FC=DFe\r\n",
        ),
        (
            "beyond Latin",
            "text/plain; charset=iso-8859-1",
            "a euro sign: €",
            "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\nhi\r\n\r\na euro sign: =E2=82=AC\r\n",
        ),
        ("unknown, ASCII", "text/plain; charset=x-none", "bye", "hi\r\n\r\nbye\r\n"),
        ("unknown, beyond", "text/plain; charset=x-none", "終", "charset=x-none\r\n\r\nhi\r\n"),
    ];
    for (name, content_type, text, expected) in cases {
        let raw = format!("Content-Type: {content_type}\r\n\r\nhi\r\n");
        let found = edited(&raw, &[stamp(text, Position::Bottom)]).unwrap();
        let found = if expected.contains("MIME-Version") {
            found
        } else {
            found.replace("MIME-Version: 1.0\r\n", "")
        };
        assert!(found.ends_with(expected), "{name}: {found}");
    }
}

#[test]
fn the_main_text_is_stamped_in_each_alternative() {
    let raw = "Subject: s\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\
        Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\
        Content-Type: text/plain; format=flowed\r\n\r\nhello\r\n--a\r\n\
        Content-Type: text/html; charset=iso-2022-jp\r\n\r\n<body>\u{1b}$B$<$>\u{1b}(B</body>\r\n--a--\r\n--m\r\n\
        Content-Type: text/plain; name=a.txt\r\n\r\nattached\r\n--m\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n--m--\r\n";
    let found = texts(raw.as_bytes(), &[stamp("> 日本😀 & Co. \n-- \nme", Position::Bottom)]);
    assert_eq!(found[0], "hello\r\n\r\n > 日本😀 & Co.\r\n-- \r\nme");
    assert_eq!(found[1], "<body>ぜぞ<p>&gt; 日本&#128512; &amp; Co. <br>-- <br>me</p>\r\n</body>");
    assert_eq!(found[2..], ["attached", "inner"]);
}

#[test]
fn delimiters_and_long_lines_are_encoded() {
    let raw = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b--\r\n";
    let long = "x".repeat(2_000);
    for text in ["--b--", "--bc", long.as_str(), ".\nFrom me"] {
        let found = texts(raw.as_bytes(), &[stamp(text, Position::Top)]);
        assert_eq!(found, [format!("{}\r\n\r\nhello", text.replace('\n', "\r\n"))]);
        let bytes = edited(raw, &[stamp(text, Position::Top)]).unwrap();
        assert!(bytes.lines().all(|line| line.len() <= 998));
    }
}

const SIGNED: &str = "Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n";

#[test]
fn what_is_signed_or_encrypted_stays() {
    let cms = "Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMAMCAQA=\r\n";
    let encrypted = SIGNED.replace("multipart/signed", "multipart/encrypted");
    let clear = "Subject: s\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nhi\r\n";
    let list = format!(
        "Content-Type: multipart/mixed; boundary=l\r\n\r\n--l\r\n{SIGNED}\r\n--l\r\n\r\nfooter\r\n--l--\r\n"
    );
    let picture = "Content-Type: image/png\r\n\r\nx";
    let cases = [
        ("signed parts", SIGNED, Err(Unstamped::Signed), Ok(1)),
        ("encrypted parts", &encrypted, Err(Unstamped::Encrypted), Err(Unstamped::Encrypted)),
        ("enveloped", cms, Err(Unstamped::Encrypted), Err(Unstamped::Encrypted)),
        ("clear-signed", clear, Err(Unstamped::Signed), Ok(1)),
        ("signed, with a footer", &list, Err(Unstamped::Signed), Ok(1)),
        ("a picture", picture, Err(Unstamped::NoText), Err(Unstamped::NoText)),
        ("plain", "A: b\r\n\r\nc", Ok(1), Ok(1)),
    ];
    for (name, raw, keep, edit) in cases {
        let (message, _) = read(raw.as_bytes());
        assert_eq!(stampable(&message, Signed::Keep), keep, "{name}");
        assert_eq!(stampable(&message, Signed::Edit), edit, "{name}");
        let same = edited(raw, &[stamp("x", Position::Top)]).unwrap() == raw;
        assert_eq!(same, keep.is_err(), "{name}");
    }
    let fields = edited(SIGNED, &[Edit::AddField { name: "X".into(), value: "y".into() }]).unwrap();
    assert!(fields.ends_with(&SIGNED[SIGNED.find("--b").unwrap()..]));
}

const ATTACHED: &str = "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n\
    --b\r\nContent-Type: application/zip; name=a.zip\r\nContent-MD5: abc\r\nContent-Disposition: attachment;\r\n filename=a.zip\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\nPK\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html; name=i.html\r\n\r\n<p>\r\n--b--\r\n";

fn give(raw: &str, number: &str, content: &str) -> Edit {
    let (_, entities) = read(raw.as_bytes());
    let found = entities.iter().find(|one| one.origin == Origin::Part(number.into())).unwrap();
    let content = Bytes::copy_from_slice(content.as_bytes());
    Edit::ReplaceContent { entity: found.id, content, reason: "test".into() }
}

#[test]
fn attachments_get_new_content() {
    let zip = "Content-MD5: abc\r\nContent-Disposition: attachment;\r\n filename=a.zip\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\nPK\r\n";
    let new = "Content-Disposition: attachment;\r\n filename=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nbmV3\r\n";
    let root = "Subject: s\r\nContent-Type: text/csv\r\n\r\na,b\r\n";
    let encoding = "Content-Transfer-Encoding: base64\r\n";
    let cases = [
        ("an attachment", ATTACHED, "2", ATTACHED.replace(zip, new)),
        (
            "in an attached message",
            ATTACHED,
            "3.1",
            ATTACHED.replace(
                "i.html\r\n\r\n<p>",
                "i.html\r\nContent-Transfer-Encoding: base64\r\n\r\nbmV3",
            ),
        ),
        (
            "the only part",
            root,
            "1",
            root.replace("\r\n\r\na,b", &format!("\r\n{encoding}MIME-Version: 1.0\r\n\r\nbmV3")),
        ),
        (
            "without fields",
            ATTACHED,
            "1",
            ATTACHED.replace("--b\r\n\r\nhello", &format!("--b\r\n{encoding}\r\nbmV3")),
        ),
    ];
    for (name, raw, number, expected) in cases {
        assert_eq!(edited(raw, &[give(raw, number, "new")]), Ok(expected), "{name}");
    }
    let big: String = (0..5_000_u32).map(|n| char::from_u32(n % 90 + 32).unwrap()).collect();
    assert!(edited(ATTACHED, &[give(ATTACHED, "2", &big)]).is_ok());
    assert!(edited(ATTACHED, &[give(ATTACHED, "2", "")]).is_ok(), "nothing left");
    for number in ["3", "0"] {
        let refused = edited(ATTACHED, &[give(ATTACHED, number, "new")]);
        assert!(matches!(refused, Err(EditError::NotAnAttachment(_))), "{number}: {refused:?}");
    }
}

#[test]
fn a_notice_wins_over_content_and_stamps() {
    let notice = |number: &str| {
        let Edit::ReplaceContent { entity, .. } = give(ATTACHED, number, "") else { panic!() };
        Edit::ReplacePart { entity, notice: "gone".into(), reason: String::new() }
    };
    let found = edited(ATTACHED, &[give(ATTACHED, "2", "new"), notice("2")]).unwrap();
    assert!(found.contains("gone") && !found.contains("bmV3"));
    let found = edited(ATTACHED, &[stamp("stamp", Position::Top), notice("0")]).unwrap();
    assert!(
        found.contains("gone") && !found.contains("stamp") && !found.contains("--b"),
        "{found}"
    );
}

#[test]
fn signed_data_is_looked_into() {
    let inner = b"Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n";
    let octets = [&[4, 0x80 | 1, u8::try_from(inner.len()).unwrap()], &inner[..]].concat();
    let open = |tag: u8, inside: &[u8]| [&[tag, 0x80], inside, &[0, 0]].concat();
    let oid = |last| [&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7], &[last][..]].concat();
    let data = open(0x30, &[oid(1), open(0xa0, &octets)].concat());
    let signed = open(0x30, &[vec![2, 1, 1, 0x31, 0], data].concat());
    let cms = open(0x30, &[oid(2), open(0xa0, &signed)].concat());
    let body = base64_simd::STANDARD.encode_to_string(cms);
    let raw = format!(
        "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    );
    let (_, entities) = read(raw.as_bytes());
    let file = entities.iter().find(|one| one.name() == "a.zip").expect("the signed file");
    assert_eq!(&file.content[..], b"PK\x03\x04");
    let wrapper = entities.iter().find(|one| one.protection().is_some()).unwrap();
    assert_eq!(wrapper.protection(), Some(crate::protection::Protection::OpaqueSigned));
}
