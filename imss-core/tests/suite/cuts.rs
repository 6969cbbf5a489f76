//! Readers have bounds of their own, which no limit of the configuration names: each cut is a gap
//! that says what was left out.

use imss_core::entity::Entities;
use imss_core::finding::GapReason;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::Message;

use crate::bombs::{TYPES, attached, body, docx, office, pdf, zip};

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
    let silent = rows.iter().filter_map(|(name, make, said)| {
        let gaps = gaps(&make());
        (!gaps.iter().any(|gap| gap.contains(said))).then(|| format!("{name}: {said} in {gaps:?}"))
    });
    let silent: Vec<String> = silent.collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn what_fits_is_no_cut() {
    let rows: [Fitting; 6] = [
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
