use std::io::Write;

use super::*;
use crate::document::harness::{Found, single};
use crate::document::{ActiveKind, LinkKind};

fn read(text: &str) -> Found {
    single(&Flat, text.as_bytes())
}

#[test]
fn flat_packages() {
    let text = "<pkg:package xmlns:pkg='http://schemas.microsoft.com/office/2006/xmlPackage'>\
        <pkg:part pkg:name='/word/_rels/document.xml.rels'><pkg:xmlData><Relationships>\
        <Relationship Id='r1' Type='http://x/attachedTemplate' Target='http://a.example/t.dotm' \
        TargetMode='External'/></Relationships></pkg:xmlData></pkg:part>\
        <pkg:part pkg:name='/word/document.xml'><pkg:xmlData><w:document><w:p><w:r><w:t>hello</w:t>\
        </w:r></w:p></w:document></pkg:xmlData></pkg:part>\
        <pkg:part pkg:name='/word/vbaProject.bin'><pkg:binaryData>aGVs\nbG8=</pkg:binaryData>\
        </pkg:part></pkg:package>";
    let found = read(text);
    assert_eq!(found.text(TextKind::Shown), "hello");
    assert_eq!(found.active(), [(ActiveKind::RemoteTemplate, "http://a.example/t.dotm")]);
    assert_eq!(found.inside(), ["word/vbaProject.bin:hello"]);
    assert_eq!(found.result, Ok(()));
    let found = read(text.split("</w:p>").next().unwrap());
    assert_eq!(found.text(TextKind::Shown), "hello", "cut");
    assert!(found.result.is_err());
}

/// An ActiveMime file around `inner`.
fn active_mime(inner: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(inner).unwrap();
    [b"ActiveMime\0\0\x01\xf0\x04\0\0\0".as_slice(), &[0xff; 32], &encoder.finish().unwrap()]
        .concat()
}

#[test]
fn word_2003() {
    let mso = base64_simd::STANDARD.encode_to_string(active_mime(b"an OLE file"));
    let text = format!(
        "<?xml version='1.0'?><w:wordDocument \
         xmlns:w='http://schemas.microsoft.com/office/word/2003/wordml'><o:DocumentProperties>\
         <o:Author>A</o:Author></o:DocumentProperties><w:binData w:name='editdata.mso'>{mso}\
         </w:binData><w:binData w:name='wordml://1.gif'>aGk=</w:binData><w:body><w:p>\
         <w:r><w:t>text</w:t></w:r><w:hlink w:dest='http://a.example/'><w:r><w:t>label</w:t></w:r>\
         </w:hlink><w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText>DDEAUTO cmd\
         </w:instrText></w:r><w:r><w:fldChar w:fldCharType='end'/></w:r></w:p></w:body>\
         </w:wordDocument>"
    );
    let found = read(&text);
    assert_eq!(found.text(TextKind::Shown), "textlabel");
    assert_eq!(found.active(), [(ActiveKind::Dde, "cmd")]);
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "label")]);
    assert_eq!(found.properties(), ["author=A"]);
    assert_eq!(found.inside(), ["editdata.mso:an OLE file", "1.gif:hi"]);
}

#[test]
fn active_mime_alone() {
    let whole = active_mime(&[b'x'; 5_000]);
    let found = single(&Flat, &whole);
    assert_eq!(found.inside().first().map(String::len), Some(5_000 + "editdata.mso:".len()));
    assert_eq!(found.result, Ok(()));
    assert!(single(&Flat, &whole[..whole.len() - 8]).result.is_err(), "cut");
    assert!(single(&Flat, b"ActiveMime").result.is_err(), "nothing inside");
}

#[test]
fn excel_2003() {
    let book = |path: &str, state: &str| {
        format!(
            "<Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'><ExcelWorkbook><SupBook>\
             <Path>{path}</Path></SupBook></ExcelWorkbook><Worksheet ss:Name='S'><Table><Row>\
             <Cell ss:HRef='http://a.example/'><Data>a</Data><Comment><Data>note</Data></Comment></Cell>\
             <Cell ss:Formula='=1+1'><Data>2</Data></Cell></Row></Table><WorksheetOptions>\
             <Visible>{state}</Visible></WorksheetOptions></Worksheet></Workbook>"
        )
    };
    let found = read(&book("C:\\b.xls", "SheetVisible"));
    assert_eq!(found.text(TextKind::Shown), "S\na\t2");
    assert_eq!(found.text(TextKind::Comment), "note");
    assert_eq!(found.text(TextKind::Formula), "1+1");
    assert_eq!(found.active(), []);
    let late = format!("<!--{}-->{}", "x".repeat(100_000), book("", "SheetVisible"));
    assert_eq!(read(&late).text(TextKind::Shown), "S\na\t2", "behind a long comment");
    let found = read(&book("cmd|/c calc", "SheetHidden"));
    assert_eq!(found.text(TextKind::Hidden), "S\na\t2");
    assert_eq!(found.active(), [(ActiveKind::Dde, "cmd|/c calc")]);
}
