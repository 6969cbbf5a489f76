use super::super::pieces::{Found, extract, le32};
use super::*;

fn read(content: &[u8]) -> Found {
    extract(&Rtf, content, &[])
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn counted(text: &[u8]) -> Vec<u8> {
    [&le32(text.len() + 1)[..], text, &[0]].concat()
}

fn object(class: &str, content: &[u8]) -> Vec<u8> {
    let size = le32(content.len());
    let none = [0; 8];
    [&[1, 5, 0, 0, 2, 0, 0, 0][..], &counted(class.as_bytes()), &none, &size, content].concat()
}

fn package() -> Vec<u8> {
    let head = b"\x02\0run.cmd\0C:\\run.cmd\0\0\0\x03\0";
    [head, &counted(b"C:\\t\\run.cmd")[..], &[4, 0, 0, 0], b"calc"].concat()
}

#[test]
fn text_is_read_by_kind_and_page() {
    let cases: [(&str, &[u8], &[&str]); 19] = [
        ("paragraphs", b"{\\rtf1\\ansi one\\par two\\par}", &["Shown:one", "Shown:two"]),
        ("the document's page", b"{\\rtf1\\ansicpg1250 \\'f8}", &["Shown:ř"]),
        ("a font's page", b"{\\rtf1\\ansicpg1252{\\fonttbl{\\f0\\fcharset0 A;}{\\f1\\fcharset128 M;}}\\f1 \\'93\\'fa\\'96{}\\f0\\'e9}", &["Shown:日\u{fffd}é"]),
        ("two octets a letter", b"{\\rtf1{\\fonttbl{\\f1\\fcharset128 M;}}\\f1\\'93\\'fa\\'96\\{}", &["Shown:日本"]),
        ("Japanese without a charset", b"{\\rtf1\\ansicpg932{\\fonttbl{\\f0\\fcharset0 A;}}\\f0 \\'83\\\\}", &["Shown:ソ"]),
        ("Korean and Chinese", b"{\\rtf1{\\fonttbl{\\f1\\fcharset129 M;}{\\f2\\fcharset134 S;}{\\f3\\fcharset136 B;}}\\f1\\'c7\\'d1\\f2\\'d6\\'d0\\f3\\'a4\\'a4}", &["Shown:한中中"]),
        ("Unicode with its fallback", b"{\\rtf1\\uc1\\u26085?\\uc2\\u26412 \\'96\\'7b!\\uc0\\u-10179\\u-8704x}", &["Shown:日本!\u{1f600}x"]),
        ("hidden", b"{\\rtf1 Pay{\\v secret}pal\\par}", &["Shown:Paypal", "Hidden:secret"]),
        ("deleted", b"{\\rtf1 a{\\deleted b}c}", &["Shown:ac", "Revision:b"]),
        ("a comment", b"{\\rtf1 a{\\*\\annotation note}b}", &["Comment:note", "Shown:ab"]),
        ("who wrote a comment", b"{\\rtf1 a{\\*\\atnid A}{\\*\\atnauthor Ann}\\chatn{\\*\\annotation note}b}", &["Comment:Ann", "Comment:note", "Shown:ab"]),
        ("who changed", b"{\\rtf1{\\*\\revtbl {Unknown;}{Ann;}{\\u26085?;}}a}", &["Revision:Ann", "Revision:日", "Shown:a"]),
        ("a reading", b"{\\rtf1 a{\\field{\\*\\fldinst EQ \\\\o\\\\ad(\\\\s\\\\up 9(x),b)}{\\fldrslt}}c}", &["Formula:EQ \\o\\ad(\\s\\up 9(x),b)", "Shown:abc"]),
        ("header and footnote", b"{\\rtf1{\\header top}a{\\footnote low}b}", &["Shown:top", "Shown:low", "Shown:ab"]),
        ("tables of the writer", b"{\\rtf1{\\stylesheet{\\s1 Normal;}}{\\colortbl;\\red0;}{\\*\\unknown x}a}", &["Shown:a"]),
        ("the better of two", b"{\\rtf1{\\upr{a?}{\\*\\ud{a\\u26085?}}}b}", &["Shown:a日b"]),
        ("a head that is cut", b"{\\rt a}", &["Shown:a"]),
        ("a star in the middle", b"{\\rtf1{\\b\\*\\cs7 a}}", &["Shown:a"]),
        ("a word inside hex", b"{\\rtf1 a\\'e4b}", &["Shown:aäb"]),
    ];
    for (name, content, expected) in cases {
        let found = read(content);
        assert_eq!(found.texts(), expected, "{name}");
        assert_eq!(found.result, Ok(()), "{name}");
    }
}

#[test]
fn fields_and_properties() {
    let found = read(
        b"{\\rtf1{\\info{\\title T}{\\author A}{\\operator O}}{\\*\\userprops{\\propname Key}\\proptype30\
        {\\staticval v}}{\\field{\\*\\fldinst {HYPERLINK \"http://a/\"}}{\\fldrslt {here}}}}",
    );
    assert_eq!(found.properties(), ["title=T", "author=A", "last-author=O", "key=v"]);
    assert_eq!(found.links(), ["Click:http://a/:here"]);
    assert_eq!(found.texts(), ["Formula:HYPERLINK \"http://a/\"", "Shown:here"]);
    assert!(found.active().is_empty());
}

#[test]
fn what_acts_and_its_benign_twin() {
    let cases: [(&str, &[u8], &[&str]); 10] = [
        ("DDE", b"{\\rtf1{\\field{\\*\\fldinst DDEAUTO cmd \"/c calc\"}{\\fldrslt x}}}", &["Dde:cmd /c calc"]),
        ("spelled DDE", b"{\\rtf1{\\field{\\*\\fldinst {\\field{\\*\\fldinst QUOTE 68 68 69}{\\fldrslt}} cmd x}{\\fldrslt}}}", &["Dde:cmd x"]),
        ("text about it", b"{\\rtf1 DDEAUTO cmd x}", &[]),
        ("a remote template", b"{\\rtf1{\\*\\template http://a/t.dot}x}", &["RemoteTemplate:http://a/t.dot"]),
        ("a template of its own", b"{\\rtf1{\\*\\template C:\\\\t\\\\Normal.dot}x}", &[]),
        ("a remote picture", b"{\\rtf1{\\field{\\*\\fldinst INCLUDEPICTURE \"http://a/p\"}{\\fldrslt}}}", &["RemoteContent:http://a/p"]),
        ("another head", b"{\\rtx x}", &["Obfuscation:starts with {\\\\rtx x}"]),
        ("a linked object", b"{\\rtf1{\\object\\objautlink{\\*\\objclass Excel.Sheet}}}", &["OleLink:Excel.Sheet"]),
        ("a control", b"{\\rtf1{\\object\\objocx{\\*\\objclass MSComctlLib.ListViewCtrl.2}}}", &["ExploitedClass:MSComctlLib.ListViewCtrl.2", "ActiveX:MSComctlLib.ListViewCtrl.2"]),
        ("an old exploit", b"{\\rtf1{\\shp{\\*\\shpinst{\\sp{\\sn pFragments}{\\sv 1;2;3}}}}}", &["ExploitedClass:shape property pFragments"]),
    ];
    for (name, content, expected) in cases {
        assert_eq!(read(content).active(), expected, "{name}");
    }
}

#[test]
fn objects_are_found_however_they_are_hidden() {
    let data = hex(&object("Package", &package()));
    let (a, b) = data.split_at(60);
    let odd = format!("{{\\rtf1{{\\object{{\\*\\objdata {a}{{\\*\\x 4141}}{b}}}}}}}");
    let lines =
        data.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>();
    let blanks = data.chars().map(|digit| format!("{digit} \t")).collect::<String>();
    let words = "Obfuscation:control words or groups between the digits of an object";
    let space = "Obfuscation:white space between the digits of an object";
    let bin = object("Package", &package());
    let binary = [
        b"{\\rtf1{\\object{\\*\\objdata \\bin",
        bin.len().to_string().as_bytes(),
        b" ",
        &bin,
        b"}}}",
    ]
    .concat();
    let cases: [(&str, Vec<u8>, Option<&str>); 8] = [
        (
            "honest",
            format!("{{\\rtf1{{\\object{{\\*\\objdata {}}}}}}}", lines.join("\r\n")).into(),
            None,
        ),
        ("a skipped group", odd.into(), Some(words)),
        (
            "a control word",
            format!("{{\\rtf1{{\\object\\objdata {a}\\foo12 {b}}}}}").into(),
            Some(words),
        ),
        (
            "a group of its own",
            format!("{{\\rtf1{{\\object{{\\*\\objdata {a}{{{b}}}}}}}}}").into(),
            Some(words),
        ),
        (
            "octets between",
            format!("{{\\rtf1{{\\object{{\\*\\objdata {a}\\'41{b}}}}}}}").into(),
            Some(words),
        ),
        (
            "white space",
            format!("{{\\rtf1{{\\object{{\\*\\objdata {blanks}}}}}}}").into(),
            Some(space),
        ),
        ("binary", binary, None),
        ("no end", format!("{{\\rtf1{{\\object{{\\*\\objdata {data}").into(), None),
    ];
    for (name, content, trick) in cases {
        let found = read(&content);
        let mut active = vec!["OlePackage:run.cmd"];
        active.splice(0..0, trick);
        assert_eq!(found.active(), active, "{name}");
        assert_eq!(found.embedded(), ["run.cmd|C:\\run.cmd|C:\\t\\run.cmd:calc"], "{name}");
    }
}

#[test]
fn objects_say_what_they_are() {
    let compound = [super::super::ole1::COMPOUND, &[0; 600]].concat();
    let rtf = |octets: &[u8], words: &str| {
        format!("{{\\rtf1{{\\object{words}{{\\*\\objdata {}}}}}}}", hex(octets)).into_bytes()
    };
    let cases: [(&str, Vec<u8>, &[&str], usize); 5] = [
        ("a document", rtf(&object("Word.Document.8", &compound), ""), &[], 1),
        (
            "an equation",
            rtf(&object("eQuation.3", b"\x1c\0\0\0"), "\\objupdate"),
            &["ExploitedClass:eQuation.3", "AutoRun:objupdate eQuation.3"],
            1,
        ),
        (
            "a broken header",
            rtf(&[&[0xff; 40], &compound[..]].concat(), ""),
            &["Obfuscation:an object with a broken header"],
            1,
        ),
        ("a length that lies", rtf(&[&object("Package", b"")[..], &compound].concat(), ""), &[], 1),
        ("nothing", rtf(b"", ""), &[], 0),
    ];
    for (name, content, active, embedded) in cases {
        let found = read(&content);
        assert_eq!(found.active(), active, "{name}");
        assert_eq!(found.embedded().len(), embedded, "{name}");
    }
}

#[test]
fn pictures_and_what_is_appended() {
    let picture =
        |size| format!("{{\\rtf1{{\\pict\\pngblip {}}}}}", hex(&vec![65; size])).into_bytes();
    assert_eq!(read(&picture(300)).embedded(), [format!("picture1.png:{}", "A".repeat(300))]);
    assert!(read(&picture(9)).embedded().is_empty(), "an ornament");
    let appended = [b"{\\rtf1 a}\0\0", &[b'M'; 100][..]].concat();
    let found = read(&appended);
    assert_eq!(found.anomalies(), [AnomalyKind::TrailingData]);
    assert_eq!(found.embedded().len(), 1);
    assert!(read(b"{\\rtf1 a}\r\n\0").anomalies().is_empty(), "padding");
}

#[test]
fn many_pieces_are_bounded() {
    let lines = [b"{\\rtf1 ", &b"a\\par "[..].repeat(30_000)[..], b"{\\footnote b}c}"].concat();
    let found = read(&lines);
    assert_eq!(found.result, Ok(()));
    assert!(found.pieces.len() < 10_010);
    let text: String = found.texts().concat();
    assert_eq!(text.matches('a').count(), 30_000);
    assert!(text.ends_with("b\nc"));
    let titles = [b"{\\rtf1 ", &b"{\\title a}"[..].repeat(200_001)[..], b"}"].concat();
    let found = read(&titles);
    assert_eq!(found.pieces.len(), MAX_PIECES);
    assert_eq!(found.result, Err(UnpackError::Limit(Limit::Text)));
}

#[test]
fn hostile_nesting_ends() {
    let deep = [b"{\\rtf1 a", &[b'{'; 100_000][..], b"b"].concat();
    let found = read(&deep);
    assert_eq!(found.texts(), ["Shown:ab"]);
    assert!(found.result.is_err(), "the groups do not end");
    assert!(read(b"{\\rtf1 a}}}}}{\\b c}").texts().len() < 3);
}
