//! Readers have bounds of their own, which no limit of the configuration names: each cut is a gap
//! that says what was left out.

use imss_core::entity::Entities;
use imss_core::finding::GapReason;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::Message;

use crate::bombs::{TYPES, attached, body, docx, office, pdf, zip};
use crate::made;

/// Content with a bit too much of something, and a word of what the gap says.
type Row = (&'static str, fn() -> Vec<u8>, &'static str);

/// Content with just as much as is read.
type Fitting = (&'static str, fn() -> Vec<u8>);

#[test]
fn every_cut_is_a_gap() {
    let rows: [Row; 20] = [
        ("links", || page(&links("a href=http://a.example/", 10_001)), "of a page"),
        ("forms", || page(&"<form action=http://a.example/>".repeat(10_001)), "of a page"),
        ("scripts", || page(&"<b onclick=a()>".repeat(10_001)), "of a page"),
        ("attributes", || page(&format!("<b{}>", " x=y".repeat(1_001))), "of a page"),
        ("known attributes", || page(&format!("<b{}>", " src=y".repeat(65))), "of a page"),
        ("selectors", || page(&sheet(&"b.x,".repeat(300))), "of a page"),
        ("pages", || page(&"<iframe srcdoc=x></iframe>".repeat(10_001)), "of a page"),
        ("encoded literals", || script(&"atob('YQ==');".repeat(1_001)), "literals"),
        ("redirects", || script(&"location='/';".repeat(10_001)), "redirects"),
        ("encoded commands", || program(&command().repeat(101)), "commands"),
        ("links of a text", || attached(rtf(10_001).as_bytes()), "links"),
        ("an instruction", || attached(long_field().as_bytes()), "64 KiB"),
        (
            "calls",
            || table(&format!("={}", "HYPERLINK(\"http://a.example/\")&".repeat(65))),
            "calls",
        ),
        ("fields in fields", || attached(&docx(begin().repeat(65))), "inside 64"),
        ("links in links", || attached(&text_document(17)), "inside 16"),
        ("relationships", || attached(&related(20_001)), "relationships"),
        ("links of a meeting", || attached(meeting(1_001).as_bytes()), "description"),
        ("graphics states", || attached(&drawn(&"q ".repeat(257))), "states"),
        ("marks", || attached(&drawn(&"/a <</MCID 0>> BDC ".repeat(257))), "marks"),
        ("values", || attached(&pdf(&[catalog(), chosen(1_001)])), "values"),
    ];
    assert_eq!(silent(&rows), [""; 0]);
    assert_eq!(silent(&more_cuts()), [""; 0]);
}

/// Bounds of archives and of the formats of programs.
fn more_cuts() -> [Row; 24] {
    [
        ("LHA in a program", || program_of(&made::lha_decoy(), 65), "64 places"),
        ("ARJ in a program", || program_of(&made::arj_decoy(), 65), "64 places"),
        ("CAB in a program", || program_of(&made::cab_decoy(), 65), "64 places"),
        ("ends of a program", || program_of(b"PK\x05\x06", 1_001), "ends of directories"),
        ("entries of a cpio archive", || attached(&made::cpio(10_001)), "10,000 places"),
        ("a header of a tar archive", || attached(&made::tar((1 << 20) + 1)), "past 1 MiB"),
        ("names of a notebook", || attached(&made::notebook(1_001)), "names of files"),
        ("hyperlinks of a cell", || attached(&made::hyperlinks(1_001)), "one hyperlink"),
        ("a formula of a cell", || attached(&made::formula(140)), "a formula past"),
        ("a property of an OLE file", || attached(&made::title(70_000)), "properties past"),
        ("a text of an item", || attached(&made::item((16 << 20) + 2)), "past 16 MiB"),
        ("a property", || attached(&titled(70_000)), "a property past"),
        ("fonts", || attached(fonts(65_537).as_bytes()), "fonts past"),
        ("groups", || attached(format!("{{\\rtf1{}", "{".repeat(4_100)).as_bytes()), "groups"),
        ("an instruction of a field", || attached(&docx(instruction(70_000))), "past 64 KiB"),
        ("pieces of a parameter", || parameters(257, "name*"), "pieces of a parameter"),
        ("names", || parameters(33, "name"), "names of a part"),
        ("a multipart without a boundary", || multipart(64 << 10), "without a boundary"),
        ("parameters of a meeting", || attached(line(65).as_bytes()), "parameters of a line"),
        ("parameters of a contact", || attached(contact(65).as_bytes()), "parameters of a line"),
        ("an encoding of a contact", || attached(encoded(500).as_bytes()), "behind 500 octets"),
        ("texts of a font", || attached(&mapped(100_001)), "texts of a font"),
        ("nodes above a page", || attached(&deep(51)), "more than 50 nodes"),
        ("a literal", || script(&format!("unescape('{}')", "%41".repeat(90_000))), "past 256 KiB"),
    ]
}

/// The rows whose gap is missing.
fn silent(rows: &[Row]) -> Vec<String> {
    let silent = rows.iter().filter_map(|(name, make, said)| {
        let gaps = gaps(&make());
        (!gaps.iter().any(|gap| gap.contains(said))).then(|| format!("{name}: {said} in {gaps:?}"))
    });
    silent.collect()
}

#[test]
fn what_fits_is_no_cut() {
    let rows: [Fitting; 16] = [
        ("LHA in a program", || program_of(&made::lha_decoy(), 64)),
        ("CAB in a program", || program_of(&made::cab_decoy(), 64)),
        ("what can be no archive", || program_of(b"Rar!\x1a\x07\xff-lh5-", 5_000)),
        ("entries of a cpio archive", || attached(&made::cpio(9_000))),
        ("hyperlinks of a cell", || attached(&made::hyperlinks(1_000))),
        ("fonts", || attached(fonts(65_536).as_bytes())),
        ("pieces of a parameter", || parameters(256, "name*")),
        ("parameters of a meeting", || attached(line(64).as_bytes())),
        ("a long line of a contact", || attached(contact(40).as_bytes())),
        ("nodes above a page", || attached(&deep(40))),
        ("links", || page(&links("a href=http://a.example/", 9_000))),
        ("attributes", || page(&format!("<b{}>", " x=y".repeat(1_000)))),
        ("selectors", || page(&sheet(&format!("{}b.x", "b.x,".repeat(200))))),
        ("encoded literals", || script(&"atob('YQ==');".repeat(1_000))),
        ("fields in fields", || attached(&docx(begin().repeat(64)))),
        ("graphics states", || attached(&drawn(&"q ".repeat(256)))),
    ];
    for (name, make) in rows {
        assert_eq!(gaps(&make()), [""; 0], "{name}");
    }
}

/// What the gaps of readers' own bounds say.
fn gaps(raw: &[u8]) -> Vec<String> {
    let limits = Limits::default();
    let message = Message::parse(raw.to_vec().into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let own = entities.gaps().iter().filter(|gap| gap.reason == GapReason::Limit(Limit::Facts));
    own.map(|gap| gap.detail.clone()).collect()
}

fn program_of(decoy: &[u8], count: usize) -> Vec<u8> {
    attached(&[b"MZ".to_vec(), vec![1; 62], decoy.repeat(count)].concat())
}

fn titled(octets: usize) -> Vec<u8> {
    let spaces = "xmlns:cp=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\" \
                  xmlns:dc=\"http://purl.org/dc/elements/1.1/\"";
    let title = "t".repeat(octets);
    let core =
        format!("<cp:coreProperties {spaces}><dc:title>{title}</dc:title></cp:coreProperties>");
    let main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    let text = format!("<w:document xmlns:w=\"{main}\"><w:body/></w:document>");
    office("word/document.xml", &text, &[("docProps/core.xml", &core)])
}

fn fonts(count: usize) -> String {
    let fonts: String = (0..count).map(|n| format!("{{\\f{n}\\fcharset0 a;}}")).collect();
    format!("{{\\rtf1{{\\fonttbl{fonts}}}x}}")
}

fn instruction(octets: usize) -> String {
    let words = "word ".repeat(octets / 5);
    let end = "<w:r><w:fldChar w:fldCharType=\"end\"/></w:r>";
    format!("{}<w:r><w:instrText>{words}</w:instrText></w:r>{end}", begin())
}

/// Parameters of one name: its pieces if that ends with an asterisk.
fn parameters(count: usize, name: &str) -> Vec<u8> {
    let number = |n: usize| if name.ends_with('*') { n.to_string() } else { String::new() };
    let all = (0..count).map(|n| format!(";\r\n {name}{}=b{n}", number(n)));
    body(&format!("text/plain{}", all.collect::<String>()), "x")
}

fn multipart(before: usize) -> Vec<u8> {
    let part = "--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b--\r\n";
    body("multipart/mixed", &format!("{}\r\n{part}", "x".repeat(before)))
}

fn given(count: usize) -> String {
    (0..count).map(|n| format!(";X-{n}=y")).collect()
}

fn line(count: usize) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nSUMMARY{}:x\r\nEND:VCALENDAR\r\n", given(count))
}

fn contact(count: usize) -> String {
    format!("BEGIN:VCARD\r\nVERSION:2.1\r\nNOTE{}:x\r\nEND:VCARD\r\n", given(count))
}

fn encoded(octets: usize) -> String {
    let long = "y".repeat(octets);
    format!(
        "BEGIN:VCARD\r\nVERSION:2.1\r\nNOTE;X={long};ENCODING=QUOTED-PRINTABLE:=41\r\nEND:VCARD\r\n"
    )
}

/// A page whose font has a text for each of many codes.
fn mapped(count: usize) -> Vec<u8> {
    let texts: String = (0..count).map(|n| format!("<{:04X}><0041>", n % 65_536)).collect();
    let stream =
        |content: &str| format!("<</Length {}>>stream\n{content}\nendstream", content.len());
    pdf(&[
        catalog(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>".to_owned(),
        stream("BT /F 12 Tf (a) Tj ET"),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>".to_owned(),
        stream(&format!("1 beginbfchar {texts} endbfchar")),
    ])
}

/// A page inside so many nodes.
fn deep(count: usize) -> Vec<u8> {
    let node = |n: usize| {
        let parent = if n == 2 { String::new() } else { format!("/Parent {} 0 R", n - 1) };
        format!("<</Type/Pages/Kids[{} 0 R]/Count 1{parent}>>", n + 1)
    };
    let page = format!("<</Type/Page/Parent {} 0 R/MediaBox[0 0 99 99]>>", count + 1);
    let nodes = (2..count + 2).map(node);
    pdf(&[catalog()].into_iter().chain(nodes).chain([page]).collect::<Vec<_>>())
}

fn page(html: &str) -> Vec<u8> {
    body("text/html", html)
}

fn links(element: &str, count: usize) -> String {
    (0..count).map(|n| format!("<{element}{n}>x</a>")).collect()
}

fn sheet(selectors: &str) -> String {
    format!("<style>{selectors}{{display:none}}</style>")
}

fn script(source: &str) -> Vec<u8> {
    page(&format!("<script>{source}</script>"))
}

fn program(source: &str) -> Vec<u8> {
    body("text/plain; name=a.ps1", source)
}

fn command() -> String {
    let units: Vec<u8> = "Write-Output 'hello'".encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!("powershell -enc {}\r\n", base64_simd::STANDARD.encode_to_string(units))
}

fn rtf(count: usize) -> String {
    let field = |n: usize| {
        format!("{{\\field{{\\*\\fldinst HYPERLINK \"http://a.example/{n}\"}}{{\\fldrslt x}}}}")
    };
    format!("{{\\rtf1 {}}}", (0..count).map(field).collect::<String>())
}

fn long_field() -> String {
    let words = "word ".repeat(20_000);
    format!("{{\\rtf1 {{\\field{{\\*\\fldinst {words}{{\\b DDE}}}}{{\\fldrslt x}}}}}}")
}

fn table(cell: &str) -> Vec<u8> {
    body("text/csv; name=a.csv", &format!("{cell}\"\"\r\n"))
}

fn begin() -> String {
    "<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r>".to_owned()
}

fn text_document(depth: usize) -> Vec<u8> {
    let spaces = "xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" \
                  xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\" \
                  xmlns:xlink=\"http://www.w3.org/1999/xlink\"";
    let (open, close) = ("<text:a xlink:href=\"http://a.example/\">", "</text:a>");
    let content = format!(
        "<office:document-content {spaces}><office:body><office:text><text:p>{}x{}</text:p>\
         </office:text></office:body></office:document-content>",
        open.repeat(depth),
        close.repeat(depth)
    );
    let kind = b"application/vnd.oasis.opendocument.text";
    zip(&[("mimetype", kind), ("content.xml", content.as_bytes())])
}

fn related(count: usize) -> Vec<u8> {
    let one = |n: usize| {
        format!("<Relationship Id=\"r{n}\" Type=\"{TYPES}/image\" Target=\"media/{n}.png\"/>")
    };
    let relations = format!(
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
         {}</Relationships>",
        (0..count).map(one).collect::<String>()
    );
    let main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    let text = format!("<w:document xmlns:w=\"{main}\"><w:body/></w:document>");
    office("word/document.xml", &text, &[("word/_rels/document.xml.rels", &relations)])
}

fn meeting(count: usize) -> String {
    let links = "<a href=http://a.example/>x</a>".repeat(count);
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDESCRIPTION:{links}\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

fn catalog() -> String {
    "<</Type/Catalog/Pages 2 0 R>>".to_owned()
}

fn drawn(operators: &str) -> Vec<u8> {
    let length = operators.len();
    pdf(&[
        catalog(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Contents 4 0 R>>".to_owned(),
        format!("<</Length {length}>>stream\n{operators}\nendstream"),
    ])
}

fn chosen(count: usize) -> String {
    format!("<</FT/Ch/T(a)/V[{}]>>", "(x)".repeat(count))
}

#[test]
fn a_long_text_before_the_parts_is_no_notice() {
    let file = "begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n";
    let text = format!("{}{file}--b\r\n\r\nx\r\n--b--\r\n", "word\r\n".repeat(12_000));
    let limits = Limits::default();
    let message = Message::parse(body("multipart/mixed; boundary=b", &text).into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    assert!(entities.iter().any(|entity| entity.names == ["a.txt"]));
}

#[test]
fn folding_all_texts_stays_inside_the_work() {
    let marks = "a\u{301}\u{302}".repeat(200_000);
    let rows =
        [("marks that combine", marks.as_str(), true), ("ASCII", &"ab cd ".repeat(30_000), false)];
    let limits = Limits { max_work: 16_000_000, ..Limits::default() };
    for (name, text, is_cut) in rows {
        let part = format!("--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n");
        let raw = body("multipart/mixed; boundary=b", &part.repeat(3));
        let message = Message::parse(raw.into(), &limits);
        let entities = Entities::extract(&message, &limits, &StopFlag::new());
        let texts: Vec<_> = entities.iter().filter_map(|entity| entity.text()).collect();
        let octets: usize = texts.iter().map(|text| text.plain.len()).sum();
        assert_eq!(texts.iter().any(|text| text.truncated), is_cut, "{name}");
        assert!(is_cut || octets >= 3 * text.len(), "{name}: {octets}");
        assert!(octets * if is_cut { 12 } else { 2 } <= 17_000_000, "{name}: {octets}");
        assert!(!texts[0].plain.is_empty(), "{name}: the first text is searched");
    }
}
