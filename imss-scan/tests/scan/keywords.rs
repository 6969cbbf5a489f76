use std::sync::Arc;

use imss_core::finding::{FindingKind, GapReason};
use imss_core::limits::{Limit, Limits};
use imss_core::plan::{KeywordEntry, KeywordList, KeywordQuery, Place, Query};
use imss_core::verdict::Score;
use imss_scan::{Mistake, Scanner, Settings};

use crate::mail::{Mail, base64, plan, zip};

fn text(text: &str, points: i32) -> KeywordEntry {
    KeywordEntry::Text { text: text.to_owned(), score: Score::points(points), max_count: 1 }
}

fn regex(pattern: &str) -> KeywordEntry {
    KeywordEntry::Regex { pattern: pattern.to_owned(), score: Score::points(1), max_count: 1 }
}

fn query(places: &[Place], threshold: i32, entries: Vec<KeywordEntry>) -> Query {
    let list = KeywordList {
        name: "confidential".to_owned(),
        threshold: Score::points(threshold),
        entries,
    };
    Query::Keywords(KeywordQuery { list: Arc::new(list), places: places.iter().copied().collect() })
}

const ALL: [Place; 4] = [Place::Subject, Place::Header, Place::Body, Place::Attachments];

#[test]
fn every_charset_and_width_matches() {
    let mail = |charset: &str, octets: &[u8]| {
        let raw = format!(
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            base64(octets)
        );
        Mail::new(raw)
    };
    let utf16: Vec<u8> = "\u{FEFF}社外秘".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases = [
        ("UTF-8", mail("utf-8", "これは社外秘です".as_bytes()), "社外秘"),
        ("spaced out", mail("utf-8", "社 外\u{3000}秘".as_bytes()), "社外秘"),
        ("over a line end", mail("utf-8", "社外\r\n秘".as_bytes()), "社外秘"),
        ("ISO-2022-JP", mail("iso-2022-jp", b"\x1b$B<R30Hk\x1b(B"), "社外秘"),
        ("Shift_JIS", mail("shift_jis", b"\x8e\xd0\x8aO\x94\xe9"), "社外秘"),
        ("EUC-JP", mail("euc-jp", b"\xbc\xd2\xb3\xb0\xc8\xeb"), "社外秘"),
        ("UTF-16", mail("utf-16", &utf16), "社外秘"),
        ("full width", mail("utf-8", "ＣＯＮＦＩＤＥＮＴＩＡＬ".as_bytes()), "confidential"),
        ("half-width kana", mail("utf-8", "ﾊﾟｽﾜｰﾄﾞ".as_bytes()), "パスワード"),
        ("zero-width characters", mail("utf-8", "con\u{200B}fidential".as_bytes()), "confidential"),
    ];
    for (name, mail, word) in cases {
        let scan = mail.ask(query(&[Place::Body], 1, vec![text(word, 1)]));
        assert_eq!(scan.findings.found.len(), 1, "{name}: {scan:?}");
    }
}

#[test]
fn places_are_told_apart() {
    let subject = "=?utf-8?B?56S+5aSW56eY?=";
    let raw = |body: &str, attachment: &str| {
        format!(
            "Subject: {subject}\r\nX-Note: falcon\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n--b\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Disposition: attachment; filename=a.txt\r\n\r\n{attachment}\r\n--b--\r\n"
        )
    };
    let mail = Mail::new(raw("in the body", "in the attachment"));
    let cases = [
        ("the subject", Place::Subject, "社外秘", true),
        ("the header has the subject", Place::Header, "社外秘", true),
        ("a field", Place::Header, "falcon", true),
        ("the name of a field", Place::Header, "x-note: falcon", true),
        ("two fields are no phrase", Place::Header, "falcon mime", false),
        ("another field is not the subject", Place::Subject, "falcon", false),
        ("the body", Place::Body, "in the body", true),
        ("the body is no attachment", Place::Attachments, "in the body", false),
        ("the attachment", Place::Attachments, "in the attachment", true),
        ("the attachment is not the body", Place::Body, "in the attachment", false),
    ];
    for (name, place, word, expected) in cases {
        let scan = mail.ask(query(&[place], 1, vec![text(word, 1)]));
        assert_eq!(!scan.findings.found.is_empty(), expected, "{name}: {scan:?}");
    }
}

#[test]
fn points_add_up_over_the_message() {
    let archive = zip(&[("in.txt", b"merger plans")]);
    let mail = Mail::with_attachments("The merger is confidential.", &[("a.zip", &archive)]);
    let entry = |text: &str, points, max_count| KeywordEntry::Text {
        text: text.to_owned(),
        score: Score::points(points),
        max_count,
    };
    let cases = [
        ("below the threshold", 9, vec![entry("merger", 4, 2)], 0),
        ("both occurrences", 8, vec![entry("merger", 4, 2)], 2),
        ("one counts", 8, vec![entry("merger", 4, 1)], 0),
        ("two words of one text", 9, vec![entry("merger", 4, 1), entry("confidential", 5, 1)], 1),
        ("points taken off", 1, vec![entry("merger", 4, 1), entry("confidential", -4, 1)], 0),
    ];
    for (name, threshold, entries, findings) in cases {
        let scan = mail.ask(query(&ALL, threshold, entries));
        assert_eq!(scan.findings.found.len(), findings, "{name}: {scan:?}");
        assert!(scan.findings.found.iter().all(|finding| finding.kind == FindingKind::Keywords));
    }
}

fn found(body: &str, entry: KeywordEntry) -> bool {
    let mail = Mail::with_attachments(body, &[]);
    let scan = mail.ask(query(&[Place::Body], 1, vec![entry]));
    assert!(scan.findings.gaps.is_empty(), "{scan:?}");
    !scan.findings.found.is_empty()
}

#[test]
fn words_are_whole_where_scripts_have_spaces() {
    let cases = [
        ("alone", "secret", "secret", true),
        ("between blanks", "a secret here", "secret", true),
        ("between signs", "(secret)!", "secret", true),
        ("in another word", "secretary", "secret", false),
        ("at the end of another", "topsecret", "secret", false),
        ("beside a digit", "secret7", "secret", false),
        ("beside an accented letter", "ésecret", "secret", false),
        ("first inside, then whole", "secretary secret", "secret", true),
        ("a phrase over a line end", "top\r\n  secret", "top secret", true),
        ("beside Japanese", "このsecretは", "secret", true),
        ("Japanese in Japanese", "これは極秘資料です", "極秘", true),
        ("katakana in katakana", "カタカナパスワード", "パスワード", true),
        ("Hangul with a particle", "기밀을", "기밀", true),
        ("Thai", "นี่คือความลับของเรา", "ความลับ", true),
        ("Cyrillic in Cyrillic", "секретарь", "секрет", false),
        ("Cyrillic", "это секрет!", "секрет", true),
        ("a sign at the edge", "price $100", "$100", true),
        ("letters around a sign", "US$100", "$100", true),
    ];
    for (name, body, word, expected) in cases {
        assert_eq!(found(body, text(word, 1)), expected, "{name}");
    }
}

#[test]
fn near_words() {
    let near = |within, words: &[&str]| KeywordEntry::Near {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        within,
        score: Score::points(1),
    };
    let cases = [
        ("exactly as far", "merger and acquisition", 22, true),
        ("one too far", "merger and acquisition", 21, false),
        ("in the other order", "acquisition, merger", 19, true),
        ("the nearest pair counts", "merger x x x x x x merger acquisition", 18, true),
        ("one is missing", "merger merger merger", 100, false),
        ("one is part of a word", "mergers acquisition", 100, false),
        ("characters, not octets", "merger ああああ acquisition", 23, true),
        ("characters, one too many", "merger あああああ acquisition", 23, false),
    ];
    for (name, body, within, expected) in cases {
        assert_eq!(found(body, near(within, &["merger", "acquisition"])), expected, "{name}");
    }
    assert!(found("c x b x a", near(9, &["a", "b", "c"])), "three words");
}

#[test]
fn expressions_match_text_as_it_is() {
    let far = format!("{}project  falcon", "lorem ipsum ".repeat(20_000));
    let cases = [
        ("a match", "the Project\t Falcon!", r"project\s+falcon", true),
        ("an assertion holds", "a cat here", r"\bcat\b", true),
        ("an assertion does not hold", "concatenate", r"\bcat\b", false),
        ("the start of the text", "cat", "^cat", true),
        ("not the start of the text", "a cat", "^cat", false),
        ("the start of a line", "a\r\ncat", "(?m)^cat", true),
        ("assertions beside Japanese", "これはcatです", r"(?-u:\b)cat(?-u:\b)", true),
        ("digits", "4111 1111 1111 1111", r"\b(?:\d[ -]?){15}\d\b", true),
        ("far into a long text", &far, r"project\s+falcon\s*$", true),
        ("nowhere in a long text", &far, r"^project\s+falcon", false),
        ("nothing at all", "x", "", true),
    ];
    for (name, body, pattern, expected) in cases {
        assert_eq!(found(body, regex(pattern)), expected, "{name}");
    }
}

#[test]
fn expressions_count_their_matches() {
    let pattern = |max_count| KeywordEntry::Regex {
        pattern: r"\d{4}".to_owned(),
        score: Score::points(1),
        max_count,
    };
    let mail = Mail::with_attachments("1234 5678 9012", &[]);
    for (threshold, max_count, expected) in [(3, 9, 1), (4, 9, 0), (2, 2, 1), (3, 2, 0)] {
        let scan = mail.ask(query(&[Place::Body], threshold, vec![pattern(max_count)]));
        assert_eq!(scan.findings.found.len(), expected, "{threshold} {max_count}: {scan:?}");
    }
}

#[test]
fn the_detail_shows_what_counted() {
    let mail = Mail::with_attachments("社外秘 社外秘", &[]);
    let scan = mail.ask(query(&[Place::Body], 5, vec![text("社外秘", 5)]));
    let [finding] = &scan.findings.found[..] else { panic!("{scan:?}") };
    assert_eq!(finding.detail, "body: 5 of 5 points: \"社外秘\" ×1");
    let evidence = finding.evidence.unwrap();
    assert_eq!((evidence.offset, evidence.length), (0, 9));
}

#[test]
fn text_that_was_cut_is_a_gap() {
    let limits = Limits { max_text_bytes: 100, ..Limits::small() };
    let body = format!("{}confidential", "harmless words ".repeat(100));
    let mail = Mail::with_limits(format!("Subject: x\r\n\r\n{body}"), &limits);
    let scan = mail.ask(query(&[Place::Body], 1, vec![text("confidential", 1)]));
    assert!(scan.findings.found.is_empty());
    let gap = |reason| scan.findings.gaps.iter().any(|gap| gap.reason == reason);
    assert!(gap(GapReason::Limit(Limit::Text)), "{scan:?}");
}

#[test]
fn every_mistake_of_a_plan_is_named() {
    let entries = vec![
        regex("fine"),
        regex("(open"),
        regex(r"\w{1000}{1000}"),
        text(" \u{200B} ", 1),
        KeywordEntry::Near { words: Vec::new(), within: 5, score: Score::points(1) },
    ];
    let plan = plan([query(&[Place::Body], 1, entries)]);
    let Err(error) = Scanner::new(plan, Settings::default()) else { panic!("it has mistakes") };
    let kinds: Vec<_> = error
        .mistakes
        .iter()
        .map(|mistake| match mistake {
            Mistake::Syntax { place, .. } => ("syntax", place.as_str()),
            Mistake::TooLarge { place, .. } => ("too large", place.as_str()),
            Mistake::Blank { place, .. } => ("blank", place.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    let expected = [
        ("syntax", "keywords `confidential`, entry 2"),
        ("too large", "keywords `confidential`, entry 3"),
        ("blank", "keywords `confidential`, entry 4"),
        ("blank", "keywords `confidential`, entry 5"),
    ];
    assert_eq!(kinds, expected, "{error}");
}
