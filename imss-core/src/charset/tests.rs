use super::*;

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn octets_become_text() {
    let utf16 = "あいう".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let marked = [b"\xFF\xFE".as_slice(), &utf16].concat();
    let jis = b"\x1b$BF|K\\8l\x1b(B";
    let sjis = b"\x93\xfa\x96\x7b\x8c\xea\x82\xcc\x83\x81\x81\x5b\x83\x8b\x82\xc5\x82\xb7";
    let cases: [(&str, &[u8], Option<&str>, &str, &str, bool); 19] = [
        ("ASCII", b"abc", None, "abc", "US-ASCII", true),
        ("declared ASCII", b"abc", Some("us-ascii"), "abc", "windows-1252", false),
        ("UTF-8", "あ".as_bytes(), Some("UTF-8"), "あ", "UTF-8", false),
        ("undeclared UTF-8", "あ".as_bytes(), None, "あ", "UTF-8", true),
        ("ISO-2022-JP", jis, Some("ISO-2022-JP"), "日本語", "ISO-2022-JP", false),
        ("undeclared ISO-2022-JP", jis, None, "日本語", "ISO-2022-JP", true),
        ("ISO-2022-JP said to be ASCII", jis, Some("us-ascii"), "日本語", "ISO-2022-JP", true),
        ("ISO-2022-JP said to be UTF-8", jis, Some("utf-8"), "日本語", "ISO-2022-JP", true),
        ("Shift_JIS by alias", sjis, Some("MS932"), "日本語のメールです", "Shift_JIS", false),
        ("undeclared Shift_JIS", sjis, None, "日本語のメールです", "Shift_JIS", true),
        (
            "Shift_JIS said to be UTF-8",
            sjis,
            Some("utf-8"),
            "日本語のメールです",
            "Shift_JIS",
            true,
        ),
        ("unknown name", sjis, Some("x-nobody"), "日本語のメールです", "Shift_JIS", true),
        ("row 13 of ISO-2022-JP", b"\x1b$B-!\x1b(B", Some("cp50220"), "①", "ISO-2022-JP", false),
        ("UTF-16 with mark", &marked, Some("us-ascii"), "あいう", "UTF-16LE", false),
        ("UTF-16 declared", &utf16, Some("utf-16le"), "あいう", "UTF-16LE", false),
        ("UTF-7", b"+ADw-b+AD4 1+-1", Some("utf-7"), "<b> 1+1", "UTF-7", false),
        ("HZ", b"a ~{VPND~} b~~", Some("hz-gb-2312"), "a 中文 b~", "HZ-GB-2312", false),
        (
            "ISO-2022-KR",
            b"\x1b$)C\x0eGQ1[\x0f!",
            Some("iso-2022-kr"),
            "한글!",
            "ISO-2022-KR",
            false,
        ),
        ("Latin 1", b"caf\xe9", Some("iso-8859-1"), "café", "windows-1252", false),
    ];
    for (name, octets, declared, text, charset, guessed) in cases {
        let decoded = decode(octets, declared);
        assert_eq!((decoded.text.as_str(), decoded.charset), (text, charset), "{name}");
        assert_eq!(decoded.guessed, guessed, "{name}");
    }
}

#[test]
fn undecodable_octets_are_reported() {
    assert!(decode(b"\x1b$B\xff\xff", Some("iso-2022-jp")).malformed);
    assert!(!decode(b"plain", Some("iso-2022-jp")).malformed);
}

#[test]
fn folding() {
    let cases = [
        ("case", "Hello WORLD", "hello world"),
        ("white space", "  a\r\n\t b  ", "a b"),
        ("full width", "ＡＢＣ１２３", "abc123"),
        ("half-width kana", "ﾊﾞｲｱｸﾞﾗ", "バイアグラ"),
        ("no spaces between Japanese letters", "出 会 い\n系", "出会い系"),
        ("ideographic space", "出会い　系", "出会い系"),
        ("spaces between words of two scripts", "無料 free 無料", "無料 free 無料"),
        ("Hangul keeps spaces", "한글 한글", "한글 한글"),
        ("Cyrillic look-alikes", "ВІАGRА раураl", "biagra paypal"),
        ("zero width", "v\u{200B}i\u{00AD}a\u{2060}gra", "viagra"),
        ("direction marks", "a\u{202E}b", "ab"),
        ("mathematical letters", "𝐅𝐑𝐄𝐄", "free"),
        ("composed and decomposed", "cafe\u{301}", "café"),
        ("ligature", "ﬁne", "fine"),
        ("typographic quotes and dashes", "don’t—stop", "don't-stop"),
        ("empty", "", ""),
    ];
    for (name, text, expected) in cases {
        assert_eq!(fold(text), expected, "{name}");
        assert_eq!(fold(&fold(text)), fold(text), "{name}, twice");
    }
}
