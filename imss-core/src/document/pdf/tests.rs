use std::fmt::Write as _;
use std::io::Write as _;

use super::*;
use crate::archive::Passwords;
use crate::filetype;
use crate::limits::Limits;

/// Everything the extractor reported.
struct Found {
    pieces: Vec<Piece>,
    result: Result<(), UnpackError>,
}

impl Found {
    fn texts(&self, wanted: TextKind) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text { kind, text } if *kind == wanted => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("|")
    }

    /// Facts, links, code and files, as `Kind detail`.
    fn facts(&self) -> Vec<String> {
        let fact = |piece: &Piece| match piece {
            Piece::Active(active) => Some(format!("{:?} {}", active.kind, active.detail)),
            Piece::Link(link) => Some(format!("{:?} {} [{}]", link.kind, link.target, link.label)),
            Piece::Code(member) => Some(format!("code {}", lossy(&member.content))),
            Piece::Embedded(member) => {
                Some(format!("file {}={}", member.names.join(","), lossy(&member.content)))
            }
            Piece::Anomaly { kind, .. } => Some(format!("{kind:?}")),
            _ => None,
        };
        self.pieces.iter().filter_map(fact).collect()
    }

    fn has(&self, fact: &str) -> bool {
        self.facts().iter().any(|own| own.starts_with(fact))
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn read(content: impl Into<Vec<u8>>) -> Found {
    read_with(content, &Limits::default(), &[])
}

fn read_with(content: impl Into<Vec<u8>>, limits: &Limits, passwords: &[&str]) -> Found {
    let content = bytes::Bytes::from(content.into());
    let detected = filetype::detect(&content);
    let passwords = Passwords::configured(passwords.iter().copied());
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    let mut pieces = Vec::new();
    let mut budget = Budget::new(limits);
    let result = Pdf.extract(&source, &[], &mut budget, &mut |piece| pieces.push(piece));
    Found { pieces, result }
}

/// A file of one page that draws `content`; `more` are further objects, `catalog` and `page`
/// further entries.
fn file(content: &str, catalog: &str, page: &str, more: &str) -> String {
    format!(
        "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R {catalog}>> endobj\n\
         2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n\
         3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R\
         /Resources<</Font<</F1 5 0 R/F2 6 0 R/F3 7 0 R/F4 10000 0 R/F5 10001 0 R/F6 10002 0 R>>>> {page}>> endobj\n\
         4 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n\
         5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj\n\
         6 0 obj <</Type/Font/Subtype/Type0/Encoding/90ms-RKSJ-V/DescendantFonts[<</DW 1000>>]>> endobj\n\
         7 0 obj <</Type/Font/Subtype/Type0/Encoding/Identity-H/DescendantFonts[<</CIDSystemInfo\
         <</Registry(Adobe)/Ordering(Japan1)>>>>]>> endobj\n\
         10000 0 obj <</Type/Font/Subtype/Type0/Encoding/UniJIS-UCS2-H/DescendantFonts[<</DW 1000>>]>> endobj\n\
         10001 0 obj <</Type/Font/Subtype/Type0/Encoding/UniJIS-UTF32-H/DescendantFonts[<</DW 1000>>]>> endobj\n\
         10002 0 obj <</Type/Font/Subtype/Type0/Encoding/UniJIS-UTF8-H/DescendantFonts[<</DW 1000>>]>> endobj\n\
         {more}\ntrailer <</Root 1 0 R>>\n%%EOF\n",
        content.len()
    )
}

fn action(action: &str) -> String {
    file("", "", &format!("/Annots[<</Subtype/Link/Rect[0 0 9 9]/A {action}>>]"), "")
}

#[test]
fn text_is_in_reading_order() {
    let cases = [
        ("one line", "BT /F1 12 Tf 50 700 Td (Hello) Tj ( world) Tj ET", "Hello world"),
        ("kerning", "BT /F1 12 Tf 50 700 Td [(He) 20 (llo) -400 (you)] TJ ET", "Hello you"),
        (
            "lines",
            "BT /F1 12 Tf 14 TL 50 700 Td (One) Tj T* (Two) Tj (Three) ' ET",
            "One\nTwo\nThree",
        ),
        ("escapes", "BT /F1 12 Tf 50 700 Td (a\\(b\\051\\\nc) Tj <6465> Tj ET", "a(b)cde"),
        ("inline picture", "BI /W 1 ID (x) Tj EI BT /F1 12 Tf 9 9 Td (y) Tj ET", "y"),
        (
            "spread",
            "BT /F1 10 Tf 50 700 Td [(H) -300 (e) -300 (l) -300 (l) -300 (o)] TJ ET",
            "Hello",
        ),
        (
            "words of one letter",
            "BT /F1 10 Tf 50 700 Td [(a) (b) (c) (d) -400 (e)] TJ ET",
            "abcd e",
        ),
        ("pulled together", "BT /F1 10 Tf -4 Tc 50 700 Td [(Hel) -400 (lo)] TJ ET", "Hello"),
        ("vertical Shift_JIS", "BT /F2 12 Tf 50 700 Td <93fa967b> Tj <8cea> Tj ET", "日本語"),
        ("UTF-32", "BT /F5 12 Tf 50 700 Td <000065e500020bb7> Tj ET", "日𠮷"),
        ("UTF-8", "BT /F6 12 Tf 50 700 Td <e697a5616263> Tj ET", "日abc"),
        (
            "a word broken for the line",
            "BT /F1 12 Tf 14 TL 50 700 Td (confiden\\255) Tj T* (tial) Tj ET",
            "confidential",
        ),
        (
            "vertical lines",
            "BT /F2 12 Tf 1 0 0 1 300 700 Tm <93fa967b> Tj 1 0 0 1 280 700 Tm <8cea> Tj ET",
            "日本\n語",
        ),
        (
            "a reading above a word",
            "BT /F4 20 Tf 1 0 0 1 50 700 Tm <524d> Tj /F4 8 Tf 1 0 0 1 70 720 Tm <304b> Tj <3093> Tj \
             1 0 0 1 100 720 Tm <3058> Tj /F4 20 Tf 1 0 0 1 70 700 Tm <6f225b57> Tj <5f8c> Tj \
             1 0 0 1 50 670 Tm <6b21> Tj ET",
            "前漢字後\nかん\nじ\n次",
        ),
        ("character collection", "BT /F3 12 Tf 50 700 Td <034b> Tj ET", "あ"),
        (
            "scattered",
            "BT /F1 10 Tf 1 0 0 1 66 700 Tm (d) Tj 1 0 0 1 50 700 Tm (w) Tj 1 0 0 1 61.6 700 Tm (l) Tj \
             1 0 0 1 57 700 Tm (or) Tj 1 0 0 1 50 720 Tm (H) Tj 1 0 0 1 63 720 Tm (l) Tj \
             1 0 0 1 57.2 720 Tm (e) Tj 1 0 0 1 65.5 720 Tm (lo) Tj ET",
            "Hello\nworld",
        ),
    ];
    for (name, content, expected) in cases {
        let found = read(file(content, "", "", ""));
        let shown = found.texts(TextKind::Shown);
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn hebrew_is_in_reading_order() {
    let cases = [
        (
            "Hebrew",
            "BT /F4 12 Tf 50 700 Td <0031003200200022> Tj <05dd05d505dc05e9> Tj ET",
            "שלום\" 12",
        ),
        (
            "Hebrew words drawn as they are read",
            "BT /F4 12 Tf 200 700 Td <05dd05d505dc05e9> Tj -54 0 Td <05dd05dc05d505e2> Tj ET",
            "שלום עולם",
        ),
        (
            "Hebrew letters drawn as they are read",
            "BT /F4 12 Tf 200 700 Td <05e9> Tj -12 0 Td <05dc> Tj -12 0 Td <05d5> Tj -12 0 Td <05dd> Tj \
             0 -20 Td <05e205d5> Tj ET",
            "שלום\nוע",
        ),
        (
            "Hebrew around words drawn from the left, letter by letter",
            "BT /F4 10 Tf 200 700 Td <05d105d0> Tj -40 0 Td <00610062> Tj -60 0 Td <05d3> Tj \
             10 0 Td <05d2> Tj ET",
            "אב ab גד",
        ),
        (
            "a Hebrew replacement text",
            "BT /F4 12 Tf 50 700 Td /Span <</ActualText<feff05e905dc05d505dd>>> BDC <002a> Tj EMC ET",
            "שלום",
        ),
    ];
    for (name, content, expected) in cases {
        assert_eq!(read(file(content, "", "", "")).texts(TextKind::Shown), expected, "{name}");
    }
}

#[test]
fn form_fields_have_names_and_values() {
    let more = "8 0 obj <</T(person)/Kids[9 0 R]>> endobj 9 0 obj <</FT/Tx/T(birthday)/TU(when born)\
        /V(1980)/Parent 8 0 R>> endobj";
    let found = read(file("", "", "", more));
    assert_eq!(found.texts(TextKind::Shown), "1980");
    assert_eq!(found.texts(TextKind::Comment), "person|birthday|when born");
}

#[test]
fn text_that_nobody_sees_is_hidden() {
    let cases = [
        ("plain", "", "(t) Tj", false),
        ("invisible", "", "3 Tr (t) Tj", true),
        ("white", "", "1 1 1 rg (t) Tj", true),
        ("black after white", "", "1 g 0 g (t) Tj", false),
        ("off the page", "", "900 0 Td (t) Tj", true),
        ("tiny", "", "/F1 0.1 Tf (t) Tj", true),
        ("rotated page", "/Rotate 90", "(t) Tj", false),
    ];
    for (name, page, drawing, hidden) in cases {
        let content = format!("BT /F1 12 Tf 50 700 Td {drawing} ET");
        let found = read(file(&content, "", page, ""));
        let kind = if hidden { TextKind::Hidden } else { TextKind::Shown };
        assert_eq!(found.texts(kind), "t", "{name}");
    }
}

#[test]
fn actions_are_told() {
    let cases = [
        ("script", action("<</S/JavaScript/JS(app.alert\\(1\\))>>"), "code app.alert(1)"),
        (
            "script as stream",
            file(
                "",
                "",
                "",
                "8 0 obj <</S/JavaScript/JS 9 0 R>> endobj 9 0 obj <</Length 3>> stream\nx()\nendstream endobj",
            ),
            "Script x()",
        ),
        ("script in UTF-16", action("<</S/JavaScript/JS<FEFF0061>>>"), "Script a"),
        (
            "open action",
            file("", "/OpenAction<</S/JavaScript/JS(a)>>", "", ""),
            "AutoRun OpenAction JavaScript",
        ),
        (
            "chained open action",
            file("", "/OpenAction<</S/GoTo/Next<</S/Launch/F(a)>>>>", "", ""),
            "AutoRun OpenAction Launch",
        ),
        (
            "page trigger",
            file("", "", "/AA<</O<</S/JavaScript/JS(a)>>>>", ""),
            "AutoRun AA O JavaScript",
        ),
        ("launch", action("<</S/Launch/Win<</F(cmd.exe)/P(/c calc)>>>>"), "Launch cmd.exe /c calc"),
        ("link", action("<</S/URI/URI(https://example.org/a)>>"), "Click https://example.org/a"),
        ("remote file", action("<</S/GoToR/F(\\\\\\\\host\\\\share)>>"), "RemoteContent"),
        (
            "form",
            action("<</S/SubmitForm/F<</FS/URL/F(http://example.org/)>>>>"),
            "Submit http://example.org/",
        ),
        ("media", file("", "", "/Annots[<</Subtype/RichMedia/Rect[0 0 1 1]>>]", ""), "RichMedia"),
        (
            "escaped name",
            action("<</S/#4a#61vaScript/#4aS(a)>>"),
            "Obfuscation the name JavaScript",
        ),
        ("junk behind", file("", "", "", "") + &"x".repeat(100), "TrailingData"),
        ("junk before", "junk junk\n".to_owned() + &file("", "", "", ""), "TrailingData"),
        (
            "padding",
            file("", "", "", &" ".repeat(100_000))
                .replace("endobj\n5", &format!("endobj\n{}5", " ".repeat(70_000))),
            "TrailingData",
        ),
    ];
    for (name, content, expected) in cases {
        let found = read(content);
        assert!(found.has(expected), "{name}: {:?}", found.facts());
    }
}

#[test]
fn harmless_twins_are_not_told() {
    let cases = [
        ("open at a page", file("", "/OpenAction[3 0 R /Fit]", "", "")),
        ("open action inside", file("", "/OpenAction<</S/GoTo/D[3 0 R /Fit]>>", "", "")),
        ("jump inside", action("<</S/GoTo/D[3 0 R /Fit]>>")),
        (
            "field format",
            file("", "", "", "8 0 obj <</FT/Tx/T(a)/AA<</F<</S/Named/N/Print>>>>>> endobj"),
        ),
        ("escaped space", action("<</S/GoTo/My#20Name 1>>")),
        ("line ends behind", file("", "", "", "") + "\r\n\r\n\0\0"),
        ("text about scripts", file("BT /F1 12 Tf 5 5 Td (/S/JavaScript/JS) Tj ET", "", "", "")),
    ];
    for (name, content) in cases {
        let found = read(content);
        assert_eq!(found.facts(), Vec::<String>::new(), "{name}");
        assert_eq!(found.result, Ok(()), "{name}");
    }
}

#[test]
fn a_link_has_the_text_under_it() {
    let page =
        "/Annots[<</Subtype/Link/Rect[45 690 200 715]/A<</S/URI/URI(http://evil.example/)>>>>]";
    let content = "BT /F1 12 Tf 50 700 Td (https://bank.example/) Tj 0 -50 Td (else) Tj ET";
    let found = read(file(content, "", page, ""));
    assert!(found.has("Click http://evil.example/ [https://bank.example/]"), "{:?}", found.facts());
    // Behind many others, and behind operands that nothing takes.
    let others = "<</Subtype/Link/Rect[0 0 1 1]/A<</S/URI/URI(http://a.example/)>>>>".repeat(300);
    let page = page.replace("[<<", &format!("[{others}<<"));
    let content =
        format!("BT /F1 12 Tf 50 700 Td {} (https://bank.example/) Tj ET", "0 ".repeat(99));
    let found = read(file(&content, "", &page, ""));
    assert!(found.has("Click http://evil.example/ [https://bank.example/]"), "{:?}", found.facts());
}

#[test]
fn files_have_all_their_names() {
    let more = "8 0 obj <</Type/Filespec/F(a.txt)/UF<FEFF65E5672C002E006500780065>/EF<</F 9 0 R>>>> endobj\n\
        9 0 obj <</Type/EmbeddedFile/Length 2>> stream\nMZ\nendstream endobj\n\
        10 0 obj <</Type/EmbeddedFile/Length 3>> stream\nabc\nendstream endobj";
    let found = read(file("", "", "", more));
    assert!(found.has("file 日本.exe,a.txt=MZ"), "{:?}", found.facts());
    assert!(found.has("file =abc"), "{:?}", found.facts());
}

#[test]
fn pictures_of_scanners_are_files() {
    let picture = |entries: &str| {
        let more = format!(
            "8 0 obj <</Subtype/Image/Width 64/Height 50/BitsPerComponent 1/Length 4{entries}>> stream\n\
             abcd\nendstream endobj 9 0 obj <</Length 2>> stream\nGG\nendstream endobj"
        );
        let found = read(file("", "", "", &more));
        let pictures = found.pieces.iter().filter_map(|piece| match piece {
            Piece::Embedded(member) => Some(member.content.clone()),
            _ => None,
        });
        pictures.collect::<Vec<_>>().concat()
    };
    let fax = picture("/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 64/BlackIs1 true>>");
    assert!(fax.starts_with(b"II*\0\x08\0\0\0\x0a\0\0\x01\x04\0\x01\0\0\0\x40\0\0\0"), "{fax:?}");
    assert_eq!(fax.get(134..), Some(&b"abcd"[..]));
    // Group 4, and black is not zero.
    assert_eq!((fax[10 + 12 * 3 + 8], fax[10 + 12 * 4 + 8]), (4, 1));
    let plain = picture("/Filter/CCF");
    assert_eq!((plain[10 + 12 * 3 + 8], plain[10 + 12 * 4 + 8]), (3, 0));
    let jbig2 = picture("/Filter/JBIG2Decode/DecodeParms<</JBIG2Globals 9 0 R>>");
    assert_eq!(jbig2, b"\x97JB2\r\n\x1a\n\x03GGabcd");
}

#[test]
fn every_structure_is_read() {
    let plain = file("BT /F1 12 Tf 50 700 Td (text) Tj ET", "", "", "");
    let update = "4 0 obj <</Length 36>> stream\nBT /F1 12 Tf 50 700 Td (new) Tj ET  \nendstream endobj\n%%EOF";
    let packed = b"11 0 <</S/JavaScript/JS(packed())>>";
    let packed = stream_of("/Type/ObjStm/N 1/First 5", packed, "FlateDecode");
    let cases: [(&str, Vec<u8>, &str, &str); 8] = [
        ("whole", plain.clone().into(), "text", ""),
        ("no trailer", plain.split("trailer").next().unwrap().into(), "text", ""),
        ("cut", plain.split("5 0 obj").next().unwrap().replace("/F1 12 Tf ", "").into(), "", ""),
        ("wrong length", plain.replace("/Length 3", "/Length 9").into(), "text", ""),
        ("updated", (plain.clone() + update).into(), "new", ""),
        (
            "unreached object",
            (plain.clone() + "99 0 obj <</S/JavaScript/JS(lost())>> endobj").into(),
            "text",
            "code lost()",
        ),
        (
            "object stream",
            [plain.as_bytes(), b"12 0 obj ", &packed].concat(),
            "text",
            "code packed()",
        ),
        ("object in a stream that a table reaches", reached(), "", "code inner()"),
    ];
    for (name, content, text, fact) in cases {
        let found = read(content);
        assert_eq!(found.texts(TextKind::Shown), text, "{name}");
        assert!(fact.is_empty() || found.has(fact), "{name}: {:?}", found.facts());
    }
    let updated = read(plain + update);
    assert_eq!(updated.texts(TextKind::Revision), "text");
}

/// An object inside the stream of another, which only a cross-reference table reaches.
fn reached() -> Vec<u8> {
    let inner = "5 0 obj <</S/JavaScript/JS(inner())>> endobj";
    let mut pdf = format!("%PDF-1.4\n4 0 obj <</Length {}>> stream\n", inner.len());
    let offset = pdf.len();
    write!(pdf, "{inner}\nendstream endobj\nxref\n5 1\n{offset:010} 00000 n \n").unwrap();
    pdf.push_str("trailer <<>>\nstartxref\n0\n%%EOF");
    pdf.into()
}

fn stream_of(entries: &str, data: &[u8], filter: &str) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(data).unwrap();
    let packed = packed.finish().unwrap();
    let head = format!("<<{entries}/Filter/{filter}/Length {}>> stream\n", packed.len());
    [head.as_bytes(), &packed, b"\nendstream endobj\n"].concat()
}

#[test]
fn filters_are_undone() {
    let cases: [(&str, &[u8], &[&str], &str); 7] = [
        ("hexadecimal", b"61 62 6>", &["ASCIIHexDecode"], "ab`"),
        ("base 85", b"<~87cURD]j7BEbo80~>", &["A85"], "Hello world!"),
        ("runs", b"\x01ab\xfec\x80zz", &["RunLengthDecode"], "abccc"),
        ("LZW", b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01", &["LZWDecode"], "-----A---B"),
        ("chain", b"01 6162 FE63 80>", &["AHx", "RL"], "abccc"),
        ("picture", b"\xff\xd8", &["DCTDecode"], "\u{fffd}\u{fffd}"),
        ("unknown", b"x", &["FooDecode"], "x"),
    ];
    for (name, data, filters, expected) in cases {
        let limits = Limits::small();
        let filters: Vec<_> = filters
            .iter()
            .map(|name| (name.as_bytes().to_vec(), object::Dict::default()))
            .collect();
        let decoded = filter::decode(data.to_vec(), &filters, &mut Budget::new(&limits)).unwrap();
        assert_eq!(lossy(&decoded.bytes), expected, "{name}");
    }
}

#[test]
fn encrypted_files_are_opened_or_told() {
    let cases = [
        ("empty user password", OWNER_EMPTY, &[][..], "Hello World"),
        ("unknown password", OWNER_USER, &[], ""),
        ("known password", OWNER_USER, &["nonsense", "user"], "Hello World"),
    ];
    for (name, content, passwords, expected) in cases {
        let found = read_with(content, &Limits::default(), passwords);
        let text = found.texts(TextKind::Shown);
        assert_eq!(text.trim(), expected, "{name}");
        let locked = found.result == Err(UnpackError::Encrypted("document"));
        assert_eq!(locked, expected.is_empty(), "{name}");
    }
}

const OWNER_EMPTY: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-owner.pdf");
const OWNER_USER: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-user.pdf");

#[test]
fn bombs_end_at_a_limit() {
    let deep = format!("%PDF-1.4\n1 0 obj {}", "[".repeat(200_000));
    let many: String = (0..60_000).fold("%PDF-1.4\n".into(), |mut all: String, number| {
        writeln!(all, "{number} 0 obj 1 endobj").unwrap();
        all
    });
    let zeros = stream_of("/Type/EmbeddedFile", &vec![0; 3 << 20], "FlateDecode");
    let zeros = [b"%PDF-1.4\n1 0 obj ", &zeros[..]].concat();
    let forms: String = (10..22).fold(String::new(), |mut all, number| {
        let next = number + 1;
        let drawing = "/X Do ".repeat(40);
        write!(
            all,
            "{number} 0 obj <</Subtype/Form/Resources<</XObject<</X {next} 0 R>>>>/Length {}>> \
             stream\n{drawing}\nendstream endobj\n",
            drawing.len()
        )
        .unwrap();
        all
    });
    let loops = "%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj 2 0 obj <</Type/Pages/Parent 2 0 R\
        /Kids[2 0 R 3 0 R 3 0 R]>> endobj 3 0 obj <</Type/Page/Parent 3 0 R/Contents 4 0 R>> endobj 4 0 obj 4 0 R endobj";
    let own = "%PDF-1.4\n1 0 obj <</Type/ObjStm/N 1 0 R/First 1 0 R/Length 1 0 R/Filter 1 0 R>> stream\nx\nendstream endobj";
    let cases: [(&str, Vec<u8>, Option<Limit>); 8] = [
        ("deep nesting", deep.into(), None),
        ("many objects", many.into(), Some(Limit::Work)),
        ("compressed zeros", zeros, Some(Limit::EntityBytes)),
        (
            "forms in forms",
            file("/X Do", "", "/Resources<</XObject<</X 10 0 R>>>>", &forms).into(),
            None,
        ),
        ("loops", loops.into(), None),
        ("refers to itself", own.into(), None),
        ("many values", format!("1 0 obj [{}", "1 ".repeat(60_000)).into(), Some(Limit::Work)),
        ("open strings", "1 0 obj (".repeat(20_000).into(), Some(Limit::Work)),
    ];
    for (name, content, limit) in cases {
        let found = read_with(content, &Limits::small(), &[]);
        if let Some(limit) = limit {
            assert_eq!(found.result, Err(UnpackError::Limit(limit)), "{name}");
        }
    }
}

/// What is reported of `content`, what is said to be left out, and how much was charged.
fn account(content: &str, limits: &Limits) -> (Vec<Piece>, Vec<&'static str>, u64) {
    let content = bytes::Bytes::from(content.to_owned());
    let detected = filetype::detect(&content);
    let passwords = Passwords::none();
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    let (mut pieces, mut budget) = (Vec::new(), Budget::new(limits));
    let before = budget.bytes_left();
    let _ = Pdf.extract(&source, &[], &mut budget, &mut |piece| pieces.push(piece));
    let charged = before - budget.bytes_left();
    (pieces, budget.take_left_out(), charged)
}

#[test]
fn one_value_of_many_properties_is_bounded() {
    let keys = |count: usize| {
        (0..count).fold(String::new(), |mut all, number| {
            write!(all, "/K{number} 3 0 R").unwrap();
            all
        })
    };
    let value = "A".repeat(65_000);
    let cut = ["properties and links past 16 MiB"];
    let cases: [(&str, usize, &[&str]); 2] = [("some", 200, &[]), ("many", 9_900, &cut)];
    for (name, count, expected) in cases {
        let content = format!(
            "%PDF-1.5\n3 0 obj({value})endobj\n4 0 obj<<{}>>endobj\ntrailer<</Info 4 0 R>>\n",
            keys(count)
        );
        let (pieces, left_out, charged) = account(&content, &Limits::default());
        let octets: usize = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Property { name, value } => name.len() + value.len(),
                _ => 0,
            })
            .sum();
        assert!((65_000 * 200..=16 << 20).contains(&octets), "{name}: {octets}");
        assert_eq!(left_out, expected, "{name}");
        assert!(charged >= octets as u64, "{name}: {charged}");
        let tight = Limits { max_total_bytes: 1 << 20, ..Limits::default() };
        let result = read_with(content, &tight, &[]).result;
        assert_eq!(result, Err(UnpackError::Limit(Limit::TotalBytes)), "{name}");
    }
}

#[test]
fn versions_of_a_stream_are_read_once() {
    let content = |versions: usize, references: usize| {
        let page = "%PDF-1.5\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]>>endobj";
        let all = "4 0 R ".repeat(references);
        let streams = "4 0 obj<<>>stream\n \nendstream endobj\n".repeat(versions);
        format!(
            "{page} 3 0 obj<</Type/Page/Contents[{all}]>>endobj\n{streams}trailer<</Root 1 0 R>>"
        )
    };
    // Each version is remembered once, and each reference is drawn.
    let replaced = 2_999 * 16;
    let (once, often) = (content(3_000, 1), content(3_000, 300));
    let (_, _, first) = account(&once, &Limits::default());
    let (_, _, second) = account(&often, &Limits::default());
    assert!(first >= replaced, "{first}");
    assert!(second < first + 300 * 16, "{first} {second}");
    let tight = Limits { max_total_bytes: replaced - 1, ..Limits::default() };
    let result = read_with(once, &tight, &[]).result;
    assert_eq!(result, Err(UnpackError::Limit(Limit::TotalBytes)));
    let large = content(1, 2_000).replace("\n \n", &format!("\n{}\n", " ".repeat(40_000)));
    let result = read_with(large, &Limits { max_total_bytes: 1 << 20, ..Limits::default() }, &[]);
    assert_eq!(
        result.result,
        Err(UnpackError::Limit(Limit::TotalBytes)),
        "one stream, drawn often"
    );
}

#[test]
fn damaged_files_do_no_harm() {
    let whole = file(
        "BT /F1 12 Tf 50 700 Td [(a) 9 (b)] TJ ET",
        "/OpenAction<</S/JavaScript/JS(a)>>",
        "",
        "",
    );
    let limits = Limits::small();
    for place in 0..whole.len() {
        let mut damaged = whole.clone().into_bytes();
        damaged[place] = b"<>[]()/%0R"[place % 10];
        let _ = read_with(damaged.clone(), &limits, &[]);
        damaged.truncate(place);
        let _ = read_with(damaged, &limits, &[]);
    }
}
