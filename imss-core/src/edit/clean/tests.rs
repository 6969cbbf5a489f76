//! Cleaned documents, read again: what was removed is not there any more, the rest is as it was.

use std::io::{Cursor, Read, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::*;
use crate::filetype;
use crate::limits::Limits;

fn run(content: &[u8]) -> Result<Cleaned, CleanError> {
    let limits = Limits::default();
    let content = Bytes::copy_from_slice(content);
    let result = clean(&content, &filetype::detect(&content), &mut Budget::new(&limits));
    if let Ok(cleaned) = &result {
        let again = &cleaned.content;
        let second = clean(again, &filetype::detect(again), &mut Budget::new(&limits));
        let removed = second.as_ref().map(|second| &second.removed);
        assert!(
            second == Err(CleanError::NothingToRemove),
            "{:?}, then {removed:?}",
            cleaned.removed
        );
    }
    result
}

fn pack(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for (place, (name, content)) in members.iter().enumerate() {
        let methods = [CompressionMethod::Stored, CompressionMethod::Deflated];
        let options = SimpleFileOptions::default().compression_method(methods[place % 2]);
        out.start_file(*name, options).unwrap();
        out.write_all(content).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn unpack(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    (0..archive.len())
        .map(|place| {
            let mut member = archive.by_index(place).unwrap();
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            let name = member.name().unwrap().into_owned();
            (name, String::from_utf8_lossy(&content).into_owned())
        })
        .collect()
}

const TYPES: &[u8] = b"<Types><Default Extension=\"xml\" ContentType=\"application/xml\"/>\
    <Override PartName=\"/word/document.xml\" ContentType=\"d\"/>\
    <Override PartName=\"/word/vbaProject.bin\" ContentType=\"v\"/></Types>";
const RELATIONS: &[u8] = b"<Relationships>\
    <Relationship Id=\"r1\" Type=\"http://x/vbaProject\" Target=\"vbaProject.bin\"/>\
    <Relationship Id=\"r2\" Type=\"http://x/oleObject\" Target=\"embeddings/oleObject1.bin\"/>\
    <Relationship Id=\"r3\" Type=\"http://x/hyperlink\" Target=\"http://a.example\" TargetMode=\"External\"/>\
    <Relationship Id=\"r4\" Type=\"http://x/styles\" Target=\"styles.xml\"/></Relationships>";
const DOCUMENT: &[u8] = b"<w:document xmlns:w=\"w\" xmlns:r=\"r\"><w:object><v:shape/>\
    <o:OLEObject r:id=\"r2\"></o:OLEObject></w:object><w:hyperlink r:id=\"r3\"/>\
    <w:fldChar w:fldCharType=\"begin\"/><w:instrText> DDE</w:instrText><w:instrText>AUTO c:\\x</w:instrText>\
    <w:fldChar w:fldCharType=\"separate\"/><w:t>shown</w:t><w:fldChar w:fldCharType=\"end\"/>\
    <w:fldChar w:fldCharType=\"begin\"/><w:instrText>PAGE</w:instrText><w:fldChar w:fldCharType=\"end\"/></w:document>";
const SETTINGS: &[u8] =
    b"<Relationships><Relationship Id=\"r1\" Type=\"http://x/attachedTemplate\" \
    Target=\"http://evil.example/t.dotm\" TargetMode=\"External\"/></Relationships>";

#[test]
fn office_packages() {
    let package = pack(&[
        ("[Content_Types].xml", TYPES),
        ("word/document.xml", DOCUMENT),
        ("word/_rels/document.xml.rels", RELATIONS),
        ("word/vbaProject.bin", b"vba"),
        ("word/_rels/vbaProject.bin.rels", b"<Relationships/>"),
        ("word/embeddings/oleObject1.bin", b"ole"),
        (
            "word/settings.xml",
            b"<w:settings><w:attachedTemplate r:id=\"r1\"/><w:zoom/></w:settings>",
        ),
        ("word/_rels/settings.xml.rels", SETTINGS),
        ("word/styles.xml", b"<w:styles/>"),
    ]);
    let cleaned = run(&package).unwrap();
    let text = |wanted: &str| {
        let members = unpack(&cleaned.content);
        members.into_iter().find(|(name, _)| name == wanted).map(|(_, text)| text)
    };
    let expected = [
        "VBA project word/vbaProject.bin",
        "embedded object word/embeddings/oleObject1.bin",
        "link to http://evil.example/t.dotm loaded when opened",
        "DDE in word/document.xml",
    ];
    assert_eq!(cleaned.removed, expected);
    assert_eq!(text("word/vbaProject.bin"), None);
    assert_eq!(text("word/_rels/vbaProject.bin.rels"), None);
    let document = String::from_utf8_lossy(DOCUMENT)
        .replace("<o:OLEObject r:id=\"r2\"></o:OLEObject>", "")
        .replace("<w:instrText> DDE</w:instrText>", "<w:instrText></w:instrText>")
        .replace("AUTO c:\\x", "");
    assert_eq!(text("word/document.xml"), Some(document));
    assert_eq!(text("word/settings.xml").unwrap(), "<w:settings><w:zoom/></w:settings>");
    assert!(!text("[Content_Types].xml").unwrap().contains("vbaProject"));
    assert!(text("word/_rels/document.xml.rels").unwrap().contains("hyperlink"));
    let benign = pack(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", b"<w:document><w:fldChar w:fldCharType=\"begin\"/><w:instrText>PAGE</w:instrText></w:document>"),
    ]);
    assert_eq!(run(&benign), Err(CleanError::NothingToRemove));
    let broken = pack(&[
        ("[Content_Types].xml", TYPES),
        ("word/vbaProject.bin", b"v"),
        ("word/document.xml", b"<w:a><w:instrText>"),
    ]);
    assert_eq!(run(&broken), Err(CleanError::Malformed("a part is not well-formed")));
}

#[test]
fn workbooks_with_old_macros() {
    let book = b"<workbook xmlns:r=\"r\"><sheets><sheet name=\"a\" r:id=\"r1\"/><sheet name=\"m\" r:id=\"r2\"/></sheets>\
        <definedNames><definedName name=\"_xlnm.Auto_Open\">m!$A$1</definedName></definedNames></workbook>";
    let relations = b"<Relationships><Relationship Id=\"r1\" Type=\"x/worksheet\" Target=\"/xl/worksheets/sheet1.xml\"/>\
        <Relationship Id=\"r2\" Type=\"x/xlMacrosheet\" Target=\"macrosheets/sheet1.xml\"/></Relationships>";
    let sheet = b"<worksheet><c><f>cmd|'/c calc'!A0</f><v>1</v></c><c><f>SUM(A1:A2)&amp;\"a|b!\"</f></c></worksheet>";
    let package = pack(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", relations),
        ("xl/worksheets/sheet1.xml", sheet),
        ("xl/macrosheets/sheet1.xml", b"<m/>"),
    ]);
    let cleaned = run(&package).unwrap();
    let members = unpack(&cleaned.content);
    assert_eq!(
        members[1].1,
        "<workbook xmlns:r=\"r\"><sheets><sheet name=\"a\" r:id=\"r1\"/></sheets></workbook>"
    );
    assert!(members[3].1.contains("<f></f><v>1</v>") && members[3].1.contains("SUM"));
    assert_eq!(
        cleaned.removed,
        ["Excel 4 macros xl/macrosheets/sheet1.xml", "DDE in xl/worksheets/sheet1.xml"]
    );
}

fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (path, content) in streams {
        let folder = std::path::Path::new(path).parent().unwrap();
        file.create_storage_all(folder).unwrap();
        file.create_stream(path).unwrap().write_all(content).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

fn stream(file: &[u8], path: &str) -> Option<Vec<u8>> {
    let mut file = cfb::CompoundFile::open(Cursor::new(file)).unwrap();
    let mut out = Vec::new();
    file.open_stream(path).ok()?.read_to_end(&mut out).unwrap();
    Some(out)
}

#[test]
fn office_97_files() {
    let mut text = vec![0; 600];
    text.extend_from_slice(b"a\x13DDEAUTO c:\\x\x14shown\x15 \x13PAGE\x14");
    let word = compound(&[
        ("/WordDocument", &text),
        ("/Macros/VBA/dir", b"dir"),
        ("/Macros/VBA/_VBA_PROJECT", b"p"),
        ("/Macros/PROJECT", b"p"),
        ("/ObjectPool/_1/\u{1}Ole10Native", b"packed"),
        ("/Data", b"data"),
    ]);
    let cleaned = run(&word).unwrap();
    assert_eq!(cleaned.removed.len(), 3, "{:?}", cleaned.removed);
    assert_eq!(stream(&cleaned.content, "/Macros/PROJECT"), None);
    assert_eq!(stream(&cleaned.content, "/Data").unwrap(), b"data");
    assert_eq!(stream(&cleaned.content, "/ObjectPool/_1/\u{1}Ole10Native").unwrap(), b"");
    let document = stream(&cleaned.content, "/WordDocument").unwrap();
    assert!(document.ends_with(b"a\x13            \x14shown\x15 \x13PAGE\x14"));
    let benign = compound(&[("/WordDocument", &text[..600]), ("/Data", b"data")]);
    assert_eq!(run(&benign), Err(CleanError::NothingToRemove));
}

#[test]
fn excel_4_macros() {
    let record = |id: u16, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap();
        [&id.to_le_bytes()[..], &length.to_le_bytes(), body].concat()
    };
    let formula = [&[0; 22][..], b"\x42\x01\x6e\x00\x17"].concat();
    let book = |kind: u8| {
        let globals = record(0x809, &[0, 6, 5, 0]);
        let sheet = record(0x809, &[0, 6, kind, 0]);
        [globals, record(10, b""), sheet, record(6, &formula), record(10, b"")].concat()
    };
    let cleaned = run(&compound(&[("/Workbook", &book(0x40))])).unwrap();
    assert_eq!(cleaned.removed, ["Excel 4 macros: 1 formulas"]);
    let found = stream(&cleaned.content, "/Workbook").unwrap();
    assert!(found.windows(5).any(|octets| octets == b"\x1e\x00\x00\x15\x15"));
    assert_eq!(run(&compound(&[("/Workbook", &book(0x10))])), Err(CleanError::NothingToRemove));
    let locked = [record(0x809, &[0, 6, 5, 0]), record(0x2f, b"x")].concat();
    assert_eq!(run(&compound(&[("/Workbook", &locked)])), Err(CleanError::Encrypted));
}

#[test]
fn pages() {
    let head = "<!DOCTYPE html><html><head><title>t</title></head><body>";
    let cases = [
        ("script", "<p>a</p><script>x()</script>b", "<p>a</p>b"),
        ("handler", "<p class=\"c\" onclick=\"x()\">a</p>", "<p class=\"c\">a</p>"),
        ("frame", "<iframe src=x>f</iframe>a", "a"),
        ("script link", "<a href=\" java&#115;cript:x()\">a</a>", "<a>a</a>"),
        ("data link", "<a href='data:text/html,x'>a</a>", "<a>a</a>"),
        ("refresh", "<meta http-equiv=Refresh content='0;url=x'>a", "a"),
        ("object", "<object data=x>shown</object>", "shown"),
        ("conditional comment", "<!--[if IE]><script>x</script><![endif]-->a", "a"),
        (
            "password",
            "<form action=x><input type=password name=p></form>",
            "<form action=x><input type=\"text\" name=p disabled=\"disabled\"></form>",
        ),
    ];
    for (name, page, expected) in cases {
        let cleaned = run(format!("{head}{page}</body></html>").as_bytes()).expect(name);
        let found = String::from_utf8_lossy(&cleaned.content).into_owned();
        assert_eq!(found, format!("{head}{expected}</body></html>"), "{name}");
    }
    let benign = format!(
        "{head}<p style='color:red'>日本 <a href='http://a.example'>a</a><img src='data:image/png;base64,AA'></body></html>"
    );
    assert_eq!(run(benign.as_bytes()), Err(CleanError::NothingToRemove));
}

#[test]
fn rich_text() {
    let cases = [
        (
            "an object",
            "{\\rtf1 a{\\object\\objemb{\\*\\objclass Package}{\\*\\objdata 0105}{\\result {\\pict x}}}b}",
            "{\\rtf1 a{\\result {\\pict x}}b}",
        ),
        ("data alone", "{\\rtf1 a{\\*\\objdata 01{05}}b}", "{\\rtf1 ab}"),
        ("template", "{\\rtf1{\\*\\template http://x}b}", "{\\rtf1b}"),
        (
            "DDE",
            "{\\rtf1{\\field{\\*\\fldinst {\\'44DEAUTO} c:\\\\x}{\\fldrslt r}}}",
            "{\\rtf1{\\field{\\fldrslt r}}}",
        ),
        ("never closed", "{\\rtf1 a{\\object{\\*\\objdata 01", "{\\rtf1 a"),
        ("binary", "{\\rtf1\\bin3 }}}{\\object x}b}", "{\\rtf1\\bin3 }}}b}"),
    ];
    for (name, document, expected) in cases {
        let cleaned = run(document.as_bytes()).expect(name);
        assert_eq!(String::from_utf8_lossy(&cleaned.content), expected, "{name}");
    }
    let benign = "{\\rtf1 a{\\field{\\*\\fldinst HYPERLINK \"http://x\"}{\\fldrslt r}}}";
    assert_eq!(run(benign.as_bytes()), Err(CleanError::NothingToRemove));
}

#[test]
fn archives() {
    let page = b"<html><body><script>x()</script>a</body></html>";
    let program = [b"MZ".as_slice(), &[0; 200]].concat();
    let inner = pack(&[("p.html", page), ("a.txt", b"text")]);
    let archive = pack(&[("b.txt", b"text"), ("a.exe", &program), ("日本.zip", &inner)]);
    let cleaned = run(&archive).unwrap();
    assert_eq!(cleaned.removed.len(), 2, "{:?}", cleaned.removed);
    let members = unpack(&cleaned.content);
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b.txt", "日本.zip"]);
    let limits = Limits::default();
    let bad = |member: &[u8]| member == b"text";
    let content = Bytes::from(archive.clone());
    let without = without_members(&content, &mut Budget::new(&limits), &bad).unwrap();
    assert_eq!(without.removed, ["member b.txt", "日本.zip: member a.txt"]);
    let nothing = without_members(&content, &mut Budget::new(&limits), &|_| false);
    assert_eq!(nothing, Err(CleanError::NothingToRemove));
    assert_eq!(run(&pack(&[("b.txt", b"text")])), Err(CleanError::NothingToRemove));
}

#[test]
fn broken_content_is_an_error() {
    let limits = Limits::small();
    let types = ["docx", "doc", "xls", "zip", "html", "rtf"];
    let samples: [&[u8]; 3] = [b"", b"PK\x03\x04", b"{\\rtf1{\\object"];
    for (extension, sample) in types.iter().flat_map(|one| samples.map(|sample| (one, sample))) {
        let detected = FileType { extension, ..filetype::detect(b"<html>") };
        let _ = clean(&Bytes::copy_from_slice(sample), &detected, &mut Budget::new(&limits));
    }
    let picture = filetype::detect(b"\x89PNG\r\n\x1a\n");
    let result = clean(&Bytes::new(), &picture, &mut Budget::new(&limits));
    assert!(matches!(result, Err(CleanError::Unsupported(_))));
}

#[test]
fn opendocument_packages() {
    let package = pack(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        (
            "META-INF/manifest.xml",
            b"<m:manifest xmlns:m=\"m\"><m:file-entry m:full-path=\"/\"/>\
              <m:file-entry m:full-path=\"content.xml\"/><m:file-entry m:full-path=\"Object 1\"/>\
              <m:file-entry m:full-path=\"Basic/\"/><m:file-entry m:full-path=\"Basic/a.xml\"/></m:manifest>",
        ),
        (
            "content.xml",
            b"<o:document-content xmlns:o=\"o\" xmlns:t=\"t\" xmlns:x=\"x\"><o:scripts><o:script/></o:scripts>\
              <t:p>shown</t:p><d:frame><d:object-ole x:href=\"./Pictures/a.bin\"/><d:image x:href=\"Pictures/b.png\"/>\
              <d:image x:href=\"http://a.example/b.png\"/></d:frame>\
              <t:section><t:section-source x:href=\"http://a.example/b.odt\"/><t:p>kept</t:p></t:section>\
              <t:a x:href=\"https://a.example/\">link</t:a>\
              <t:a x:href=\"vnd.sun.star.script:a\">run</t:a></o:document-content>",
        ),
        ("Basic/a.xml", b"<module>Sub Main</module>"),
        ("Object 1", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1ole"),
        ("Pictures/a.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1ole"),
        ("Pictures/b.png", b"png"),
        ("Object 2/Object 3/Basic/x.xml", b"<module/>"),
        ("Object 2/content.xml", b"<o:c xmlns:o=\"o\"><o:event-listeners><o:e/></o:event-listeners></o:c>"),
    ]);
    let cleaned = run(&package).unwrap();
    let members = unpack(&cleaned.content);
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let kept = [
        "mimetype",
        "META-INF/manifest.xml",
        "content.xml",
        "Pictures/b.png",
        "Object 2/content.xml",
    ];
    assert_eq!(names, kept);
    assert_eq!(
        members[1].1,
        "<m:manifest xmlns:m=\"m\"><m:file-entry m:full-path=\"/\"/>\
         <m:file-entry m:full-path=\"content.xml\"/></m:manifest>"
    );
    assert_eq!(
        members[2].1,
        "<o:document-content xmlns:o=\"o\" xmlns:t=\"t\" xmlns:x=\"x\">\
         <t:p>shown</t:p><d:frame><d:image x:href=\"Pictures/b.png\"/></d:frame>\
         <t:section><t:p>kept</t:p></t:section>\
         <t:a x:href=\"https://a.example/\">link</t:a></o:document-content>"
    );
    assert_eq!(cleaned.removed.len(), 10, "{:?}", cleaned.removed);
    let harmless =
        pack(&[("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", b"<a/>")]);
    assert_eq!(run(&harmless), Err(CleanError::NothingToRemove));
}
