use super::*;
use crate::document::ActiveKind::{
    ActiveX, AutoRun, Dde, Launch, Obfuscation, OleLink, OlePackage, RemoteContent, RemoteTemplate,
    Xlm,
};
use crate::document::LinkKind;
use crate::document::harness::{Found, extract, member, package};
use crate::limits::Limits;

const TYPES: (&str, &str) = ("[Content_Types].xml", "<Types/>");
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// What acts: its kind and detail.
type Acts<'a> = &'a [(ActiveKind, &'a str)];

/// A `.rels` part: id, type, target, mode.
fn rels(list: &[(&str, &str, &str, &str)]) -> String {
    let one = |(id, kind, target, mode): &(&str, &str, &str, &str)| {
        format!(
            "<Relationship Id=\"{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\" \
             TargetMode=\"{mode}\"/>"
        )
    };
    format!("<Relationships>{}</Relationships>", list.iter().map(one).collect::<String>())
}

/// A Word document with this body.
fn word(body: &str) -> Found {
    let document = format!("<w:document><w:body>{body}</w:body></w:document>");
    package(&Ooxml, &[TYPES, ("word/document.xml", &document)])
}

/// A paragraph of runs.
fn paragraph(runs: &str) -> Found {
    word(&format!("<w:p>{runs}</w:p>"))
}

#[test]
fn how_text_is_met() {
    let red = "<w:r><w:rPr><w:color w:val='FF0000'/></w:rPr><w:t>a</w:t></w:r>";
    let cases = [
        ("plain", "<w:r><w:t>a</w:t></w:r>", TextKind::Shown),
        ("coloured", red, TextKind::Shown),
        ("hidden", "<w:r><w:rPr><w:vanish/></w:rPr><w:t>a</w:t></w:r>", TextKind::Hidden),
        (
            "hidden switched off",
            "<w:r><w:rPr><w:vanish w:val='0'/></w:rPr><w:t>a</w:t></w:r>",
            TextKind::Shown,
        ),
        (
            "white",
            "<w:r><w:rPr><w:color w:val='FFFFFF'/></w:rPr><w:t>a</w:t></w:r>",
            TextKind::Hidden,
        ),
        (
            "white on blue",
            "<w:r><w:rPr><w:color w:val='FFFFFF'/><w:shd w:val='clear' w:fill='0000FF'/></w:rPr>\
             <w:t>a</w:t></w:r>",
            TextKind::Shown,
        ),
        ("deleted", "<w:del><w:r><w:delText>a</w:delText></w:r></w:del>", TextKind::Revision),
        ("moved away", "<w:moveFrom><w:r><w:t>a</w:t></w:r></w:moveFrom>", TextKind::Revision),
        ("inserted", "<w:ins><w:r><w:t>a</w:t></w:r></w:ins>", TextKind::Shown),
        ("another prefix", "<x:r><x:t>a</x:t></x:r>", TextKind::Shown),
    ];
    for (name, runs, kind) in cases {
        let found = paragraph(runs);
        assert_eq!(found.text(kind), "a", "{name}");
        assert_eq!(found.pieces.len(), 1, "{name}");
    }
}

#[test]
fn readings_do_not_break_words() {
    let ruby = "<w:r><w:t>前</w:t></w:r><w:r><w:ruby><w:rubyPr><w:lid w:val='ja-JP'/></w:rubyPr><w:rt>\
        <w:r><w:t>かんじ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢字</w:t></w:r></w:rubyBase>\
        </w:ruby></w:r><w:r><w:t>後</w:t></w:r>";
    assert_eq!(paragraph(ruby).text(TextKind::Shown), "前漢字後");
    let field = "<w:r><w:t>前</w:t></w:r><w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText> \
        EQ \\o\\ad(\\s\\up 9(かんじ),漢字)</w:instrText></w:r><w:r><w:fldChar w:fldCharType='end'/>\
        </w:r><w:r><w:t>後</w:t></w:r>";
    assert_eq!(paragraph(field).text(TextKind::Shown), "前漢字後");
}

#[test]
fn authors_are_told_once() {
    let change = "<w:ins w:author='Ann'><w:r><w:t>a</w:t></w:r></w:ins>\
        <w:del w:author='Ann'><w:r><w:delText>b</w:delText></w:r></w:del>\
        <w:moveFrom w:author='Bob'><w:r><w:t>c</w:t></w:r></w:moveFrom><w:r><w:t>d</w:t></w:r>";
    let found = paragraph(change);
    assert_eq!(found.text(TextKind::Revision), "Ann\nBob\nbc");
    assert_eq!(found.text(TextKind::Shown), "ad");
    let cases = [
        (
            "Word",
            "<w:comments><w:comment w:author='Ann'><w:p><w:r><w:t>a</w:t></w:r></w:p></w:comment>\
             </w:comments>",
            "Ann\na",
        ),
        (
            "Excel",
            "<comments><authors><author>Ann</author></authors><commentList><comment ref='A1' \
             authorId='0'><text><r><t>a</t></r></text></comment></commentList></comments>",
            "Ann\na",
        ),
        ("PowerPoint", "<p:cmAuthorLst><p:cmAuthor name='Ann'/></p:cmAuthorLst>", "Ann"),
    ];
    for (name, part, expected) in cases {
        let found = package(&Ooxml, &[TYPES, ("a/comments.xml", part)]);
        assert_eq!(found.text(TextKind::Comment), expected, "{name}");
    }
}

#[test]
fn words_are_joined_over_runs_and_lines_end_with_paragraphs() {
    let found = word(
        "<w:p><w:r><w:t>Pay</w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>x</w:t></w:r>\
         <w:r><w:t>Pal</w:t><w:tab/><w:t>b</w:t></w:r></w:p><w:p><w:r><w:t>c</w:t></w:r></w:p>",
    );
    assert_eq!(found.text(TextKind::Shown), "PayPal\tb\nc");
}

#[test]
fn alternatives_are_read_once() {
    let choice = |requires: &str| {
        let text = format!(
            "<mc:AlternateContent><mc:Choice Requires='{requires}'><w:r><w:t>a</w:t></w:r></mc:Choice>\
             <mc:Fallback><w:r><w:t>b</w:t></w:r></mc:Fallback></mc:AlternateContent>"
        );
        paragraph(&text).text(TextKind::Shown)
    };
    assert_eq!(choice("wps"), "a");
    // What nobody knows is not shown, so the other form is what readers see.
    assert_eq!(choice("zzz"), "ab");
}

fn complex(instruction: &str) -> String {
    format!(
        "<w:r><w:fldChar w:fldCharType='begin'/></w:r>{instruction}\
         <w:r><w:fldChar w:fldCharType='separate'/></w:r><w:r><w:t>shown</w:t></w:r>\
         <w:r><w:fldChar w:fldCharType='end'/></w:r>"
    )
}

fn instruction(text: &str) -> String {
    format!("<w:r><w:instrText>{text}</w:instrText></w:r>")
}

#[test]
fn fields() {
    let quote = complex(&format!(
        "{}{}{}",
        instruction("DDE"),
        instruction("AUTO "),
        complex(&instruction("QUOTE 99 109 100"))
    ));
    let cases: [(&str, String, Acts<'_>); 8] = [
        (
            "split over runs",
            complex(&[instruction("DD"), instruction("EAUTO c:\\a &quot;/k&quot;")].concat()),
            &[(Dde, "c:\\\\a \\\"/k\\\"")],
        ),
        ("spelled in numbers", quote, &[(Dde, "cmd")]),
        ("in text", complex("<w:r><w:t>DDE cmd</w:t></w:r>"), &[(Dde, "cmd")]),
        ("simple", "<w:fldSimple w:instr='DDE cmd x'/>".to_owned(), &[(Dde, "cmd x")]),
        (
            "a picture",
            complex(&instruction("INCLUDEPICTURE \"http://a.example/b.png\" \\d")),
            &[(RemoteContent, "INCLUDEPICTURE http://a.example/b.png")],
        ),
        (
            "an object",
            complex(&instruction("LINK Excel.Sheet.8 \"http://a.example/b.xls\" A1")),
            &[(OleLink, "LINK http://a.example/b.xls")],
        ),
        ("a page number", complex(&instruction("PAGE")), &[]),
        ("contents", complex(&instruction("TOC \\o \"1-3\" DDE")), &[]),
    ];
    for (name, runs, expected) in cases {
        assert_eq!(paragraph(&runs).active(), expected, "{name}");
    }
    let found = paragraph(&complex(&instruction("HYPERLINK \"http://a.example/\"")));
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "shown")]);
    assert_eq!(found.text(TextKind::Shown), "shown");
}

#[test]
fn relationships() {
    let cases: [(&str, &str, &str, Acts<'_>, LinkKind); 6] = [
        ("a link", "hyperlink", "http://a.example/", &[], LinkKind::Click),
        (
            "a template",
            "attachedTemplate",
            "http://a.example/t.dotm",
            &[(RemoteTemplate, "http://a.example/t.dotm")],
            LinkKind::Load,
        ),
        (
            "an object",
            "oleObject",
            "mhtml:http://a.example/x",
            &[(OleLink, "linked object mhtml:http://a.example/x")],
            LinkKind::Load,
        ),
        (
            "a frame",
            "frame",
            "\\\\host\\a.htm",
            &[(RemoteContent, "frame \\\\\\\\host\\\\a.htm")],
            LinkKind::Load,
        ),
        (
            "a picture",
            "image",
            "http://a.example/a.png",
            &[(RemoteContent, "image http://a.example/a.png")],
            LinkKind::Load,
        ),
        (
            "a subdocument",
            "subDocument",
            "b.docx",
            &[(RemoteContent, "subdocument b.docx")],
            LinkKind::Load,
        ),
    ];
    for (name, kind, target, active, link) in cases {
        let part = rels(&[("r1", kind, target, "External")]);
        let parts = [TYPES, ("word/_rels/document.xml.rels", part.as_str())];
        let found = package(&Ooxml, &parts);
        assert_eq!(found.active(), active, "{name}");
        assert_eq!(found.links(), [(link, target, "")], "{name}");
        let inside = rels(&[("r1", kind, "media/image1.png", "Internal")]);
        let found = package(&Ooxml, &[TYPES, ("word/_rels/document.xml.rels", &inside)]);
        assert_eq!(found.pieces, [], "{name}, inside");
    }
    let own = rels(&[("r1", "attachedTemplate", "file:///C:\\Users\\a\\Normal.dotm", "External")]);
    let found = package(&Ooxml, &[TYPES, ("word/_rels/settings.xml.rels", &own)]);
    assert_eq!(found.active(), []);
}

#[test]
fn links_have_their_labels() {
    let part = rels(&[("r1", "hyperlink", "http://a.example/", "External")]);
    let document = "<w:document><w:p><w:hyperlink r:id='r1'><w:r><w:t>my </w:t></w:r>\
        <w:r><w:t>bank</w:t></w:r></w:hyperlink></w:p></w:document>";
    let parts =
        [TYPES, ("word/document.xml", document), ("word/_rels/document.xml.rels", part.as_str())];
    let found = package(&Ooxml, &parts);
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "my bank")]);
    assert_eq!(found.text(TextKind::Shown), "my bank");
}

#[test]
fn objects_and_projects() {
    let package_object =
        paragraph("<w:object><o:OLEObject Type='Embed' ProgID='Package'/></w:object>");
    assert_eq!(package_object.active(), [(OlePackage, "Package")]);
    let sheet = paragraph("<w:object><o:OLEObject ProgID='Excel.Sheet.12'/></w:object>");
    assert_eq!(sheet.active(), []);
    let control = package(&Ooxml, &[TYPES, ("word/activeX/a.xml", "<ax:ocx ax:classid='{1}'/>")]);
    assert_eq!(control.active(), [(ActiveX, "{1}")]);
    for (target, expected) in [("vbaProject.bin", 0), ("media/image1.png", 1)] {
        let part = rels(&[("r1", "vbaProject", target, "Internal")]);
        let found = package(&Ooxml, &[TYPES, ("word/_rels/document.xml.rels", &part)]);
        let hidden = found.active().iter().filter(|(kind, _)| *kind == Obfuscation).count();
        assert_eq!(hidden, expected, "{target}");
    }
}

/// A workbook of one sheet with this state and content, and these shared strings.
fn book(state: &str, sheet: &str, strings: &str) -> Found {
    let workbook = format!(
        "<workbook><sheets><sheet name='S' sheetId='1' state='{state}' r:id='r1'/></sheets>\
         </workbook>"
    );
    let part = rels(&[("r1", "worksheet", "worksheets/sheet1.xml", "Internal")]);
    let parts = [
        TYPES,
        ("xl/workbook.xml", workbook.as_str()),
        ("xl/_rels/workbook.xml.rels", part.as_str()),
        ("xl/worksheets/sheet1.xml", sheet),
        ("xl/sharedStrings.xml", strings),
    ];
    package(&Ooxml, &parts)
}

const STRINGS: &str = "<sst><si><t>one</t></si><si><r><t>ri</t></r><r><t>ch</t></r>\
    <rPh><t>reading</t></rPh></si></sst>";
const SHEET: &str = "<worksheet><cols><col min='3' max='3' hidden='1'/></cols><sheetData>\
    <row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='s'><v>1</v></c><c r='C1'><v>7</v></c></row>\
    <row r='2' hidden='1'><c r='A2' t='inlineStr'><is><t>two</t></is></c></row>\
    <row r='3'><c r='A3' t='str'><f>A1&amp;\"x\"</f><v>onex</v></c></row></sheetData></worksheet>";

#[test]
fn cells() {
    let found = book("visible", SHEET, STRINGS);
    assert_eq!(found.text(TextKind::Shown), "S\none\trich\nonex");
    assert_eq!(found.text(TextKind::Hidden), "7\ntwo");
    assert_eq!(found.text(TextKind::Formula), "A3:=A1&\"x\"");
    assert_eq!(found.active(), []);
    let found = book("veryHidden", SHEET, STRINGS);
    assert_eq!(found.text(TextKind::Shown), "");
    assert_eq!(found.properties(), ["very-hidden-sheet=S"]);
}

#[test]
fn dates() {
    let styles = "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='yyyy&quot;年&quot;m'/></numFmts>\
        <cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164'/></cellXfs></styleSheet>";
    let sheet = "<worksheet><row><c><v>43363</v></c><c s='1'><v>43363</v></c><c s='2' t='n'><v>29221.5</v>\
        </c><c s='1' t='str'><v>1</v></c><c s='1'><v>x</v></c></row></worksheet>";
    let book = |year: &str| format!("<workbook><workbookPr date1904='{year}'/></workbook>");
    for (year, expected) in [
        ("0", "43363\t2018-09-20\t1980-01-01 12:00:00\t1\tx"),
        ("1", "43363\t2022-09-21\t1984-01-02 12:00:00\t1\tx"),
    ] {
        let book = book(year);
        let parts = [
            TYPES,
            ("xl/workbook.xml", book.as_str()),
            ("xl/styles.xml", styles),
            ("xl/worksheets/sheet1.xml", sheet),
        ];
        assert_eq!(package(&Ooxml, &parts).text(TextKind::Hidden), expected, "{year}");
    }
}

#[test]
fn formulas_and_names() {
    let sheet = "<worksheet><row><c><f>cmd|'/c calc'!A0</f></c><c><f>HYPERLINK(\"http://a.example/\",\
        \"x\")</f></c></row></worksheet>";
    let found = book("visible", sheet, STRINGS);
    assert_eq!(found.active(), [(Dde, "cmd|\\'/c calc\\'!A0")]);
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "x")]);
    let names = "<workbook><definedNames><definedName name='_xlnm.Auto_Open1'>M!$A$1</definedName>\
        <definedName name='Total'>S!$A$1</definedName></definedNames></workbook>";
    let found = package(&Ooxml, &[TYPES, ("xl/workbook.xml", names)]);
    assert_eq!(found.active(), [(AutoRun, "_xlnm.Auto_Open1 M!$A$1")]);
}

#[test]
fn macro_sheets_and_sources() {
    let sheet = "<xm:macrosheet><row><c r='A1'><f>EXEC(\"calc\")</f></c></row></xm:macrosheet>";
    let found = package(&Ooxml, &[TYPES, ("xl/macrosheets/sheet1.xml", sheet)]);
    assert_eq!(found.active(), [(Xlm, "")]);
    assert_eq!(found.inside(), [".xlm:A1\t=EXEC(\"calc\")\n"]);
    let link = "<externalLink><ddeLink ddeService='cmd' ddeTopic='/c calc'/></externalLink>";
    let found = package(&Ooxml, &[TYPES, ("xl/externalLinks/externalLink1.xml", link)]);
    assert_eq!(found.active(), [(Dde, "cmd|/c calc")]);
    let book = "<externalLink><externalBook r:id='rId1'/></externalLink>";
    let found = package(&Ooxml, &[TYPES, ("xl/externalLinks/externalLink1.xml", book)]);
    assert_eq!(found.active(), []);
    let query = "<connections><connection name='q'><webPr url='http://a.example/q'/></connection>\
        </connections>";
    let found = package(&Ooxml, &[TYPES, ("xl/connections.xml", query)]);
    assert_eq!(found.links(), [(LinkKind::Load, "http://a.example/q", "")]);
}

#[test]
fn a_bomb_of_shared_strings_stays_within_its_limits() {
    let strings = format!("<sst><si><t>{}</t></si></sst>", "x".repeat(30_000));
    let row = format!("<row>{}</row>", "<c t='s'><v>0</v></c>".repeat(1_000));
    let sheet = format!("<worksheet>{row}</worksheet>");
    let parts = [TYPES, ("xl/sharedStrings.xml", &strings), ("xl/worksheets/s.xml", &sheet)];
    let members: Vec<Member> =
        parts.iter().map(|(name, content)| member(name, content.as_bytes())).collect();
    let limits = Limits::small();
    let found = extract(&Ooxml, b"", &members, &limits);
    assert_eq!(found.result, Err(UnpackError::Limit(Limit::Work)));
    let text: usize = found.text(TextKind::Hidden).len();
    assert!(text <= limits.max_text_bytes + 1_000, "{text}");
}

#[test]
fn slides() {
    let slide = |text: &str, show: &str| {
        format!(
            "<p:sld {show}><p:sp><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>\
             </p:sld>"
        )
    };
    let presentation = "<p:presentation><p:sldIdLst><p:sldId id='256' r:id='r2'/>\
        <p:sldId id='257' r:id='r1'/></p:sldIdLst></p:presentation>";
    let list = rels(&[
        ("r1", "slide", "slides/slide1.xml", "Internal"),
        ("r2", "slide", "/ppt/slides/slide2.xml", "Internal"),
    ]);
    let (first, second) = (slide("b", ""), slide("a", ""));
    let (third, master) = (
        slide("c", "show='0'"),
        "<p:sldMaster><p:sp><p:nvPr><p:ph/></p:nvPr><a:p>\
        <a:t>Click to edit</a:t></a:p></p:sp></p:sldMaster>",
    );
    let parts = [
        TYPES,
        ("ppt/presentation.xml", presentation),
        ("ppt/_rels/presentation.xml.rels", list.as_str()),
        ("ppt/slides/slide1.xml", first.as_str()),
        ("ppt/slides/slide2.xml", second.as_str()),
        ("ppt/slides/slide3.xml", third.as_str()),
        ("ppt/slideMasters/slideMaster1.xml", master),
        ("ppt/notesSlides/notesSlide1.xml", "<p:notes><a:p><a:t>note</a:t></a:p></p:notes>"),
    ];
    let found = package(&Ooxml, &parts);
    assert_eq!(found.text(TextKind::Shown), "a\nb");
    assert_eq!(found.text(TextKind::Hidden), "c");
    assert_eq!(found.text(TextKind::Comment), "note");
}

#[test]
fn actions() {
    for (action, expected) in [("ppaction://program", 1), ("ppaction://hlinksldjump", 0)] {
        let slide = format!(
            "<p:sld><p:sp><p:cNvPr><a:hlinkClick r:id='r1' action='{action}'/></p:cNvPr></p:sp></p:sld>"
        );
        let part = rels(&[("r1", "hyperlink", "calc.exe", "External")]);
        let parts =
            [TYPES, ("ppt/slides/s.xml", slide.as_str()), ("ppt/slides/_rels/s.xml.rels", &part)];
        let found = package(&Ooxml, &parts);
        let launches = found.active().iter().filter(|(kind, _)| *kind == Launch).count();
        assert_eq!(launches, expected, "{action}");
    }
}

#[test]
fn properties() {
    let core = "<cp:coreProperties><dc:creator>A</dc:creator><dc:title>T &amp; U</dc:title>\
        </cp:coreProperties>";
    let custom =
        "<Properties><property name='Key'><vt:lpwstr>v</vt:lpwstr></property></Properties>";
    let found =
        package(&Ooxml, &[TYPES, ("docProps/core.xml", core), ("docProps/custom.xml", custom)]);
    assert_eq!(found.properties(), ["author=A", "title=T & U", "key=v"]);
}

#[test]
fn a_broken_part_costs_only_its_rest() {
    let parts = [
        TYPES,
        ("word/document.xml", "<w:document><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p"),
        ("word/footer1.xml", "<w:ftr><w:p><w:r><w:t>b</w:t></w:r></w:p></w:ftr>"),
    ];
    let found = package(&Ooxml, &parts);
    assert_eq!(found.text(TextKind::Shown), "a\nb");
    assert!(matches!(found.result, Err(UnpackError::Malformed { .. })), "{:?}", found.result);
}

#[test]
fn names_of_parts() {
    assert_eq!(source_of("xl/_rels/workbook.xml.rels"), "xl/workbook.xml");
    assert_eq!(source_of("_rels/.rels"), "");
    assert_eq!(resolve("xl/workbook.xml", "worksheets/Sheet1.xml"), "xl/worksheets/sheet1.xml");
    assert_eq!(resolve("xl/a/b.xml", "../c.xml"), "xl/c.xml");
    assert_eq!(resolve("xl/a/b.xml", "/d.xml"), "d.xml");
}

/// A package as mail carries it: everything from the zip archive to the document.
#[test]
fn a_whole_file() {
    use std::io::Write;

    use crate::entity::Entities;
    use crate::limits::StopFlag;
    use crate::message::Message;

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let parts = [
        TYPES,
        (
            "word/document.xml",
            "<w:document><w:p><w:r><w:t>\u{898b}\u{7a4d}</w:t></w:r></w:p></w:document>",
        ),
        ("word/afchunk.txt", "inside"),
    ];
    for (name, content) in parts {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    let file = archive.finish().unwrap().into_inner();
    let head = "Content-Type: application/octet-stream; name=a.docx\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n";
    let raw = format!("{head}{}\r\n", base64_simd::STANDARD.encode_to_string(file));
    let limits = Limits::small();
    let message = Message::parse(raw.into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    assert_eq!(entities.gaps(), []);
    let text =
        entities.iter().find_map(|entity| entity.document.as_ref()).map(|d| d.texts.as_str());
    assert_eq!(text, Some("\u{898b}\u{7a4d}\n"));
}

#[test]
fn pages() {
    let glyphs = "<FixedPage><Glyphs UnicodeString='R' OriginY='1'/><Glyphs UnicodeString='ain ' \
        OriginY='1'/><Glyphs UnicodeString='{}{x}' OriginY='1'/><Glyphs UnicodeString='next' \
        OriginY='2'/><Path FixedPage.NavigateUri='http://a.example/'/></FixedPage>";
    let found = package(&Ooxml, &[TYPES, ("Documents/1/Pages/1.fpage", glyphs)]);
    assert_eq!(found.text(TextKind::Shown), "Rain {x}\nnext");
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "")]);
    let visio = "<PageContents><Shape><Text>a <cp/>b</Text></Shape></PageContents>";
    let found = package(&Ooxml, &[TYPES, ("visio/pages/page1.xml", visio)]);
    assert_eq!(found.text(TextKind::Shown), "a b");
}

/// One record of a binary workbook.
fn record(kind: usize, data: &[u8]) -> Vec<u8> {
    let octet = |number: usize| u8::try_from(number).unwrap();
    let kind = match kind {
        0..128 => vec![octet(kind)],
        _ => vec![octet(kind % 128) | 0x80, octet(kind / 128)],
    };
    [kind, vec![octet(data.len())], data.to_vec()].concat()
}

/// A string of a binary workbook.
fn wide(text: &str) -> Vec<u8> {
    let count = u32::try_from(text.encode_utf16().count()).unwrap();
    let letters = text.encode_utf16().flat_map(u16::to_le_bytes);
    count.to_le_bytes().into_iter().chain(letters).collect()
}

#[test]
fn binary_workbooks() {
    let sheet = [
        record(0, &[0; 17]),
        record(7, &[[0; 8].as_slice(), &[0; 4]].concat()),
        record(5, &[[0; 8].as_slice(), &2.5_f64.to_le_bytes()].concat()),
        record(6, &[[0; 8].as_slice(), &wide("in")].concat()),
        record(0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0]),
        record(2, &[&[0, 0, 0, 0, 1, 0, 0, 0][..], &(7_u32 << 2 | 2).to_le_bytes()].concat()),
        record(2, &[[0; 8].as_slice(), &(7_u32 << 2 | 2).to_le_bytes()].concat()),
    ]
    .concat();
    let book = |state: u8| {
        let data = [vec![state, 0, 0, 0, 1, 0, 0, 0], wide("r1"), wide("S")].concat();
        let name = [vec![0; 9], wide("Auto_Open")].concat();
        [record(156, &data), record(39, &name)].concat()
    };
    let link = |kind: u8| record(360, &[vec![kind, 0], wide("cmd"), wide("/c x")].concat());
    let list = rels(&[("r1", "worksheet", "worksheets/sheet1.bin", "Internal")]);
    let format = |number: u8| record(47, &[0, 0, number, 0]);
    let code = [&[200, 0][..], &wide("d/m/yy")].concat();
    let styles = [record(44, &code), format(14), record(617, &[]), format(0), format(200)].concat();
    let read = |state: u8, kind: u8, cut: usize| {
        let members = [
            member("[Content_Types].xml", b"<Types/>"),
            member("xl/workbook.bin", &book(state)),
            member("xl/_rels/workbook.bin.rels", list.as_bytes()),
            member("xl/sharedStrings.bin", &record(19, &[vec![0], wide("shared")].concat())),
            member("xl/styles.bin", &styles),
            member("xl/worksheets/sheet1.bin", &sheet[..sheet.len() - cut]),
            member("xl/externalLinks/externalLink1.bin", &link(kind)),
        ];
        extract(&Ooxml, b"", &members, &Limits::small())
    };
    let found = read(0, 1, 0);
    assert_eq!(found.text(TextKind::Shown), "S\nshared\t2.5\tin");
    assert_eq!(found.text(TextKind::Hidden), "1900-01-07\t7");
    assert_eq!(found.active(), [(AutoRun, "Auto_Open"), (Dde, "cmd|/c x")]);
    let found = read(2, 0, 1);
    assert_eq!(found.text(TextKind::Hidden), "S\nshared\t2.5\tin\n1900-01-07");
    assert_eq!(found.properties(), ["very-hidden-sheet=S"]);
    assert!(found.result.is_err(), "a cut record");
}
