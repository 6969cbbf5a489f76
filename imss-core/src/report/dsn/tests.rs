use super::*;
use crate::envelope::Syntax;

const DATE: &str = "Sun, 22 Nov 2026 22:04:05 +0900 (JST)";
const ORIGINAL: &[u8] = b"From: a@example.net\r\nSubject: hello\r\n\r\nbody\r\n";

fn recipient(text: &str) -> ForwardPath {
    ForwardPath::parse(text, Syntax::LAX).expect(text)
}

fn report<'a>(recipient: &'a ForwardPath, kind: Kind<'a>) -> Report<'a> {
    Report {
        recipient,
        orcpt: Some("rfc822;u+2Bx@example.com"),
        kind,
        status: match kind {
            Kind::Failed => (5, 1, 1),
            Kind::Expired => (4, 4, 7),
            Kind::Delayed { .. } => (4, 4, 1),
            Kind::Delivered | Kind::Relayed | Kind::Expanded => (2, 0, 0),
        },
        remote: Some("mx.example.com[192.0.2.1]:25"),
        reply: "550 5.1.1 no such user: the mailbox you asked for is not known here, sorry about it",
        reply_is_smtp: true,
    }
}

fn dsn<'a>(to: &'a ReversePath, recipients: &'a [Report<'a>], language: Language) -> Dsn<'a> {
    Dsn {
        hostname: "gw.example.jp",
        author: "MAILER-DAEMON@gw.example.jp",
        to,
        queue_id: "0123456789ABCDEF",
        unique: "FEDCBA9876543210",
        date: DATE,
        arrival_date: "Sun, 22 Nov 2026 22:00:00 +0900 (JST)",
        envid: Some("QQ+2B1"),
        ret: None,
        language,
        charset: Charset::Utf8,
        template: None,
        recipients,
        original: ORIGINAL,
        original_is_whole: true,
        max_returned_bytes: DEFAULT_RETURNED_BYTES,
    }
}

fn sender() -> ReversePath {
    ReversePath::parse("a@example.net", Syntax::default()).expect("a path")
}

#[test]
fn golden_files() {
    let (plain, utf8) = (recipient("u@example.com"), recipient("あ@example.com"));
    let until = Some("Fri, 27 Nov 2026 22:00:00 +0900 (JST)");
    let delayed = Kind::Delayed { will_retry_until: until };
    let cases = [
        ("failed-en", vec![report(&plain, Kind::Failed)], Language::English),
        ("failed-ja", vec![report(&plain, Kind::Failed)], Language::Japanese),
        ("failed-both", vec![report(&plain, Kind::Failed)], Language::Both),
        ("expired-en", vec![report(&plain, Kind::Expired)], Language::English),
        ("delayed-en", vec![report(&plain, delayed)], Language::English),
        ("delivered-en", vec![report(&plain, Kind::Delivered)], Language::English),
        ("relayed-en", vec![report(&plain, Kind::Relayed)], Language::English),
        ("utf8-en", vec![report(&utf8, Kind::Failed)], Language::English),
        ("mixed-en", vec![report(&plain, Kind::Failed), report(&utf8, delayed)], Language::English),
    ];
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dsn");
    for (name, recipients, language) in cases {
        let built = build(&dsn(&sender(), &recipients, language)).expect(name);
        assert_well_formed(name, &built);
        let path = dir.join(format!("{name}.eml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&dir).expect("a folder");
            std::fs::write(&path, &built).expect("written");
        }
        let golden = std::fs::read(&path).expect(name);
        assert_eq!(String::from_utf8_lossy(&built), String::from_utf8_lossy(&golden), "{name}");
    }
}

fn assert_well_formed(name: &str, built: &[u8]) {
    let text = String::from_utf8(built.to_vec()).expect(name);
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{name}: only CRLF");
    assert!(text.split("\r\n").all(|line| line.len() <= 998), "{name}: long line");
    assert!(text.is_ascii(), "{name}: ASCII suffices");
    assert!(!text.contains("<>"), "{name}: no empty path");
    assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"), "{name}");
}

#[test]
fn nobody_is_told() {
    let plain = recipient("u@example.com");
    let reports = [report(&plain, Kind::Failed)];
    assert_eq!(build(&dsn(&ReversePath::Null, &reports, Language::English)), None);
    assert_eq!(build(&dsn(&sender(), &[], Language::English)), None);
}

#[test]
fn what_comes_back() {
    let plain = recipient("u@example.com");
    let whole = "Content-Type: message/rfc822";
    let headers = "Content-Type: text/rfc822-headers";
    type Row<'a> = (&'a str, Kind<'a>, Option<DsnReturn>, bool, usize, &'a str);
    let cases: [Row<'_>; 7] = [
        ("failure, small", Kind::Failed, None, true, 1_000, whole),
        ("failure, RET=FULL", Kind::Failed, Some(DsnReturn::Full), true, 1_000, whole),
        ("failure, RET=HDRS", Kind::Failed, Some(DsnReturn::Headers), true, 1_000, headers),
        ("too large", Kind::Failed, Some(DsnReturn::Full), true, 43, headers),
        ("not at hand", Kind::Failed, Some(DsnReturn::Full), false, 1_000, headers),
        ("success", Kind::Delivered, Some(DsnReturn::Full), true, 1_000, headers),
        ("delay", Kind::Delayed { will_retry_until: None }, None, true, 1_000, headers),
    ];
    for (name, kind, ret, original_is_whole, max_returned_bytes, expected) in cases {
        let (sender, reports) = (sender(), [report(&plain, kind)]);
        let dsn = dsn(&sender, &reports, Language::English);
        let dsn = Dsn { ret, original_is_whole, max_returned_bytes, ..dsn };
        let text = String::from_utf8(build(&dsn).expect(name)).expect(name);
        assert!(text.contains(expected), "{name}: {text}");
        assert_eq!(text.contains("\r\nbody\r\n"), expected == whole, "{name}");
    }
}

#[test]
fn hostile_values_stay_inside() {
    let plain = recipient("u@example.com");
    let hostile = "550 x\r\nBcc: v@example.com\r\n\r\n--=_FEDCBA9876543210_dsn--\u{1b}";
    let mut one = report(&plain, Kind::Failed);
    one.reply = hostile;
    one.remote = Some(hostile);
    one.orcpt = Some("rfc822;a+0D+0AX: y");
    let (sender, reports) = (sender(), [one]);
    let mut dsn = dsn(&sender, &reports, Language::English);
    dsn.envid = Some("a+0D+0AX-Evil:+20y");
    dsn.original = b"Subject: \xe3\x81\x82\n--=_FEDCBA9876543210_dsn--\nX: \ry\n\nbody";
    let built = build(&dsn).expect("a notification");
    let text = String::from_utf8(built).expect("UTF-8");
    assert!(!text.contains("\r\nBcc:") && !text.contains("\r\nX-Evil") && !text.contains('\x1b'));
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    assert!(text.contains("boundary=\"=_FEDCBA9876543210_dsn_\""));
    assert_eq!(text.matches("Content-Transfer-Encoding: 8bit").count(), 2);
    assert!(text.ends_with("\r\n--=_FEDCBA9876543210_dsn_--\r\n"));
}

#[test]
fn header_sections() {
    let cases: [(&str, &[u8], usize, &[u8]); 6] = [
        ("CRLF", b"A: b\r\n\r\nc", 100, b"A: b\r\n"),
        ("LF", b"A: b\n\nc", 100, b"A: b\n"),
        ("no body", b"A: b\r\n", 100, b"A: b\r\n"),
        ("no header section", b"\r\nc", 100, b""),
        ("too long", b"A: b\r\nC: d\r\n\r\n", 8, b"A: b\r\n"),
        ("empty", b"", 100, b""),
    ];
    for (name, original, max, expected) in cases {
        assert_eq!(header_section(original, max), expected, "{name}");
    }
}

#[test]
fn japanese_in_seven_bits() {
    let (plain, sender) = (recipient("u@example.com"), sender());
    let reports = [report(&plain, Kind::Failed)];
    let dsn = Dsn { charset: Charset::Iso2022Jp, ..dsn(&sender, &reports, Language::Japanese) };
    let built = build(&dsn).expect("a notification");
    assert!(built.is_ascii());
    let text = String::from_utf8(built.clone()).expect("ASCII");
    assert!(text.contains("Content-Type: text/plain; charset=iso-2022-jp\r\n"), "{text}");
    assert!(text.contains("Subject: =?ISO-2022-JP?B?"), "{text}");
    let (decoded, _, wrong) = encoding_rs::ISO_2022_JP.decode(&built);
    assert!(!wrong && decoded.contains("次の宛先にメールを配送できませんでした"), "{decoded}");
    // What it has no characters for is written in UTF-8.
    let dsn = Dsn { template: Some("😀 %ID%"), ..dsn };
    let text = String::from_utf8(build(&dsn).expect("a notification")).expect("ASCII");
    assert!(text.contains("charset=utf-8"), "{text}");
}

#[test]
fn templates() {
    let (plain, sender) = (recipient("u@example.com"), sender());
    let mut one = report(&plain, Kind::Failed);
    one.reply = "no %HOST% here";
    let reports = [one];
    let base = dsn(&sender, &reports, Language::English);
    let cases = [
        (
            "values",
            "At %HOST%:\n%RECIPIENTS%\nID %ID%, 100%",
            "At gw.example.jp:\r\n  <u@example.com>",
        ),
        ("not twice", "%RECIPIENTS%", "no %HOST% here\r\n"),
        ("no placeholders", "Sorry.", "\r\n\r\nSorry.\r\n\r\n--"),
        ("unknown ones stay", "%WHO% %", "\r\n%WHO% %\r\n"),
    ];
    for (name, template, expected) in cases {
        let dsn = Dsn { template: Some(template), ..base.clone() };
        let text = String::from_utf8(build(&dsn).expect(name)).expect(name);
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{name}");
    }
}

#[test]
fn expanded() {
    let (plain, sender) = (recipient("list@example.com"), sender());
    let reports = [report(&plain, Kind::Expanded)];
    let built = build(&dsn(&sender, &reports, Language::English)).expect("a notification");
    let text = String::from_utf8(built).expect("ASCII");
    assert!(text.contains("\r\nAction: expanded\r\n"), "{text}");
}
