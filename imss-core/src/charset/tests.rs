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

#[test]
fn charsets_that_shift() {
    let cases: [(&str, &[u8], &str, &str); 26] = [
        ("half-width kana", b"\x1b$BF|\x1b(IC=D\x1b(B", "iso-2022-jp", "日ﾃｽﾄ"),
        ("half-width kana by SO", b"a\x0eC=D\x0fb", "cp50222", "aﾃｽﾄb"),
        ("half-width kana in eight bits", b"\x1b$BF|\x1b(B\xc3\xbd\xc4", "iso-2022-jp", "日ﾃｽﾄ"),
        ("JIS X 0212", b"\x1b$(D0!0\x22\x1b(B", "iso-2022-jp-1", "丂丄"),
        ("NEC row 13", b"\x1b$B-!-\x22-j\x1b(B", "cp50220", "①②㈱"),
        ("NEC selected IBM rows", b"\x1b$By!y\x22\x1b(B", "iso-2022-jp", "纊褜"),
        ("JIS C 6226", b"\x1b$@F|K\\\x1b(J", "iso-2022-jp", "日本"),
        ("JIS X 0213", b"\x1b$(QF|K\\\x1b(B", "iso-2022-jp-2004", "日本"),
        ("JIS X 0213, first edition", b"\x1b$(OF|K\\\x1b(B", "iso-2022-jp-3", "日本"),
        ("GB 2312", b"\x1b$AVPND\x1b(B", "iso-2022-jp-2", "中文"),
        ("KS X 1001", b"\x1b$(CGQ\x1b(B", "iso-2022-jp-2", "한"),
        ("Latin 1", b"caf\x1b.A\x1bNi", "iso-2022-jp-2", "café"),
        ("Greek", b"\x1b.F\x1bNa", "iso-2022-jp-2", "α"),
        ("the last escape is missing", b"\x1b$BF|K\\\nabc", "iso-2022-jp", "日本\nabc"),
        ("no escape at all", b"a $BF|K\\(B b", "iso-2022-jp", "a $BF|K\\(B b"),
        ("ISO-2022-KR", b"\x1b$)C\x0eGQ1[\x0f!", "iso-2022-kr", "한글!"),
        ("ISO-2022-CN", b"\x1b$)A\x0eVPND\x0f.", "iso-2022-cn", "中文."),
        ("HZ", b"~{VPND<rLe~}", "hz-gb-2312", "中文简体"),
        ("UTF-7", b"+ZeVnLA- +AOkAow-", "utf-7", "日本 é£"),
        ("UTF-7 of IMAP", b"&ZeVnLA-", "utf-7-imap", "日本"),
        ("GB18030, four octets", b"\x952\x826\x819\xee9\xfd\x9b", "gb18030", "𠀀㐀龥"),
        ("Big5-HKSCS", b"\x9d\xee\x9d\xef", "big5-hkscs", "㗎嘅"),
        ("UTF-32", b"\0\0e\xe5\0\0g,", "utf-32", "日本"),
        ("UTF-32 in the other order", b"\xe5e\0\0,g\0\0", "utf-32", "日本"),
        ("UTF-32 with mark", b"\xff\xfe\0\0\xe5e\0\0,g\0\0", "us-ascii", "日本"),
        ("UTF-16 without mark", b"0B0D0F0H", "utf-16", "あいうえ"),
    ];
    let cases = cases.map(|(name, octets, declared, text)| {
        // Hiragana a, i, u, e in UTF-16, most significant octet first.
        let octets =
            if name.starts_with("UTF-16") { b"\x30\x42\x30\x44\x30\x46\x30\x48" } else { octets };
        (name, octets, declared, text)
    });
    for (name, octets, declared, text) in cases {
        assert_eq!(decode(octets, Some(declared)).text, text, "{name}");
    }
}

#[test]
fn lying_labels_give_both_readings() {
    let sjis = b"\x93\xfa\x96\x7b\x8c\xea\x82\xcc\x83\x81\x81\x5b\x83\x8b\x82\xc5\x82\xb7";
    let utf8 = "日本語のメールです".as_bytes();
    let text = "日本語のメールです";
    let cases: [(&str, &[u8], Option<&str>, &str); 12] = [
        ("Shift_JIS said to be ASCII", sjis, Some("us-ascii"), text),
        ("Shift_JIS said to be Latin 1", sjis, Some("iso-8859-1"), text),
        ("Shift_JIS said to be UTF-8", sjis, Some("utf-8"), text),
        ("Shift_JIS said to be ISO-2022-JP", sjis, Some("iso-2022-jp"), text),
        ("UTF-8 said to be Latin 1", utf8, Some("iso-8859-1"), text),
        ("UTF-8 said to be Shift_JIS", utf8, Some("shift_jis"), text),
        ("UTF-8 said to be KOI8-R", utf8, Some("koi8-r"), text),
        ("Latin 1 said to be UTF-8", b"caf\xe9 cr\xe8me", Some("utf-8"), "café crème"),
        ("undeclared UTF-7", b"+ZeVnLIqe-", None, "日本語"),
        ("undeclared HZ", b"~{VPND~}", None, "中文"),
        ("ISO-2022-JP without ESC", b"a $BF|K\\(B b", Some("iso-2022-jp"), "a 日本 b"),
        ("HZ said to be UTF-8", b"~{VPND~}", Some("utf-8"), "中文"),
    ];
    for (name, octets, declared, text) in cases {
        let first = decode(octets, declared);
        let other = alternative(octets, declared, &first);
        let found = first.text == text || other.as_deref() == Some(text);
        assert!(found, "{name}: {:?}, {other:?}", first.text);
    }
    for (name, octets, declared) in [
        ("UTF-8", utf8, Some("utf-8")),
        ("undeclared UTF-8", utf8, None),
        ("Shift_JIS", sjis, Some("shift_jis")),
        ("Latin 1", b"caf\xe9 cr\xe8me", Some("iso-8859-1")),
        ("ASCII", b"1+1=2 +81-3-1234 a ~{ b $B c", None),
    ] {
        let first = decode(octets, declared);
        assert_eq!(alternative(octets, declared, &first), None, "{name}");
    }
}

#[test]
fn undecodable_text_is_noticed() {
    let cases: [(&str, &[u8], Option<&str>, bool); 5] = [
        ("UTF-8", "あ".as_bytes(), Some("utf-8"), false),
        ("no UTF-8", b"\xff", Some("utf-8"), true),
        ("eight bits in ASCII", b"\xe9", Some("us-ascii"), true),
        ("undeclared", b"\xe9", None, false),
        ("Shift_JIS", b"\x82\xa0", Some("shift_jis"), false),
    ];
    for (name, octets, declared, expected) in cases {
        assert_eq!(is_undecodable(octets, declared), expected, "{name}");
    }
}

/// The table gives what normalising everything gives.
#[test]
fn folding_by_table_is_folding() {
    let whole = |text: &str| -> String {
        use unicode_normalization::UnicodeNormalization as _;
        fold(&text.nfkc().collect::<String>())
    };
    let blocks = (0x80..0x3200_u32).chain((0x3200..0x3_0000).step_by(61)).chain(0xF900..0x1_0000);
    for code in blocks {
        let Some(c) = char::from_u32(code) else { continue };
        for text in [
            format!("{c}"),
            format!("a{c}b"),
            format!("か{c}は"),
            format!("{c}\u{3099}"),
            format!("{c}\u{301}{c}"),
        ] {
            assert_eq!(fold(&text), whole(&text), "{code:x}");
        }
    }
    let mixed = "ｶﾞｷﾞ ぱ か\u{3099} 각 한 e\u{301}\u{327} ﬁ ㍿ Ⅷ Ａ\u{301} 漢字かな";
    assert_eq!(fold(mixed), whole(mixed));
}
