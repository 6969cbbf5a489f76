use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

fn made(raw: &[u8], wire: Wire) -> Legal {
    let limits = Limits::default();
    legal(&Message::parse(Bytes::copy_from_slice(raw), &limits), wire)
}

fn text(legal: &Legal) -> String {
    String::from_utf8_lossy(&legal.octets).into_owned()
}

#[test]
fn what_is_legal_stays() {
    let raw = "Subject: a\r\n\r\n".to_owned() + &"x".repeat(MAX_LINE) + "\r\né\r\n";
    assert_eq!(text(&made(raw.as_bytes(), Wire::EightBit)), raw);
}

#[test]
fn bodies_are_encoded_anew() {
    let long = "long ".repeat(400);
    let typed = |kind: &str, body: &str| {
        format!("MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n{body}\r\n")
    };
    let in_base64 = base64_simd::STANDARD.encode_to_string(&long);
    let cases = [
        ("text", typed("text/plain", &long), Wire::EightBit, "quoted-printable"),
        (
            "no type at all",
            format!("Subject: a\r\n\r\n{long}\r\n"),
            Wire::EightBit,
            "quoted-printable",
        ),
        ("octets", typed("application/x-a", &long), Wire::EightBit, "base64"),
        ("Japanese", typed("text/plain; charset=utf-8", "日本語です"), Wire::SevenBit, "base64"),
        ("French", typed("text/plain; charset=utf-8", "Voilà"), Wire::SevenBit, "quoted-printable"),
        (
            "base64 in one line",
            typed("text/plain\r\nContent-Transfer-Encoding: base64", &in_base64),
            Wire::EightBit,
            "base64",
        ),
    ];
    for (name, raw, wire, encoding) in cases {
        let legal = made(raw.as_bytes(), wire);
        let after = Message::parse(legal.octets.clone().into(), &Limits::default());
        let part = after.parts().first().expect(name);
        assert_eq!(part.encoding().as_str(), encoding, "{name}: {}", text(&legal));
        assert!(!has_long_line(&legal.octets), "{name}");
        let decode = |octets: &[u8]| match encoding {
            "base64" => crate::message::transfer::base64(octets).0,
            _ => crate::message::transfer::quoted_printable(octets).0,
        };
        let before = Message::parse(raw.clone().into_bytes().into(), &Limits::default());
        let body = before.part(before.parts()[0].body_range());
        let body = if raw.contains(&in_base64) { long.clone().into() } else { body };
        assert_eq!(decode(&after.part(part.body_range())), body, "{name}");
        assert!(wire == Wire::EightBit || legal.octets.is_ascii(), "{name}");
    }
}

#[test]
fn only_the_part_that_must_changes() {
    let long = "x".repeat(2_000);
    let raw = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfine\r\n\
         --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{long}\r\n--b--\r\n"
    );
    let legal = made(raw.as_bytes(), Wire::EightBit);
    let after = text(&legal);
    assert!(after.contains("--b\r\n\r\nfine\r\n--b\r\n"), "{after}");
    assert!(!after.contains("8bit"), "{after}");
    let label = "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx";
    assert!(after.contains(label), "{after}");
    assert!(after.ends_with("\r\n--b--\r\n"));
}

#[test]
fn signed_parts_are_reported_and_left() {
    let long = "x".repeat(2_000);
    let raw = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{long}\r\n\
         --b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
    );
    let legal = made(raw.as_bytes(), Wire::EightBit);
    assert!(legal.signed_is_not);
    assert_eq!(text(&legal), raw);
}

#[test]
fn header_lines_are_folded() {
    let cases = [
        ("at blanks", format!("Subject: {}\r\n\r\nx", "word ".repeat(500))),
        ("without blanks", format!("Subject: {}\r\n\r\nx", "w".repeat(5_000))),
        ("in UTF-8 without blanks", format!("Subject: {}\r\n\r\nx", "日本".repeat(2_000))),
        (
            "a blank only in front",
            format!("Subject:{}{}\r\n\r\nx", " ".repeat(1_200), "w".repeat(9)),
        ),
    ];
    for (name, raw) in cases {
        let legal = made(raw.as_bytes(), Wire::EightBit);
        assert!(!has_long_line(&legal.octets), "{name}");
        let after = String::from_utf8(legal.octets).expect(name);
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeeze(&after), squeeze(&raw), "{name}");
        let (head, _) = after.split_once("\r\n\r\n").expect(name);
        assert!(head.split("\r\n").skip(1).all(|line| line.starts_with(' ')), "{name}");
    }
}

#[test]
fn octets_of_the_header_are_told_apart() {
    let cases = [
        ("neither", "A: b\r\n\r\nc\r\n", false, false),
        ("the header", "A: é\r\nB: c\r\n\r\nc\r\n", true, false),
        ("the header's last line", "A: b\r\nB: é\r\n\r\nc\r\n", true, false),
        ("the body", "A: b\r\n\r\né\r\n", false, true),
        ("a part's header", "A: b\r\n\r\n--x\r\nB: é\r\n\r\nc\r\n", false, true),
        ("both", "A: é\r\n\r\né", true, true),
        ("no body", "A: é", true, false),
        ("no header", "\r\né\r\n", false, true),
        ("bare LF", "A: b\n\né\n", false, true),
    ];
    for (name, raw, header, body) in cases {
        for size in 1..=raw.len() {
            let mut survey = Survey::default();
            raw.as_bytes().chunks(size).for_each(|chunk| survey.push(chunk));
            assert_eq!(survey.has_eight_bit_header(), header, "{name} in pieces of {size}");
            assert_eq!(survey.has_eight_bit_body(), body, "{name} in pieces of {size}");
        }
    }
}

proptest! {
    #[test]
    fn always_legal_and_never_another_message(
        pieces in proptest::collection::vec(
            prop_oneof![
                "[a-zA-Z0-9 =.é-]{0,40}",
                "\r\n(From|Subject|Content-Disposition|Received): [a-z<>(),:;@=\"\\\\é ]{0,40}",
                Just("\r\n".to_owned()),
                Just("\n".to_owned()),
                Just("\r\n\r\n".to_owned()),
                Just("\r\n--b\r\n".to_owned()),
                Just("\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".to_owned()),
                Just("\r\nContent-Transfer-Encoding: base64\r\n".to_owned()),
                Just("z".repeat(1_100)),
                Just("日本語 ".repeat(200)),
            ],
            0..24,
        ),
    ) {
        let raw = format!("Subject: s\r\n{}", pieces.concat());
        let legal = made(raw.as_bytes(), Wire::EightBit);
        prop_assert!(!legal.signed_is_not);
        prop_assert!(!has_long_line(&legal.octets));
        if !has_long_line(raw.as_bytes()) {
            prop_assert_eq!(&legal.octets, raw.as_bytes());
        }
        // Again changes nothing.
        prop_assert_eq!(made(&legal.octets, Wire::EightBit).octets, legal.octets);
        let plain = made(raw.as_bytes(), Wire::AsciiHeader);
        prop_assert!(!has_long_line(&plain.octets));
        let message = Message::parse(Bytes::from(plain.octets.clone()), &Limits::default());
        let is_ascii = |part: &Part| message.part(part.header_range()).is_ascii();
        prop_assert!(plain.header_is_not || message.parts().iter().all(is_ascii));
        prop_assert_eq!(made(&plain.octets, Wire::AsciiHeader).octets, plain.octets);
        let mut survey = Survey::default();
        raw.as_bytes().chunks(7).for_each(|chunk| survey.push(chunk));
        prop_assert!(survey.has_long_lines() || !has_long_line(raw.as_bytes()));
        prop_assert_eq!(survey.is_eight_bit(), !raw.is_ascii());
    }
}
