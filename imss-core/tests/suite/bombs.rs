//! Bombs: small messages that ask for far more time, memory or entities than they are worth.
//!
//! Each row makes one and names the gap that says what was left unread. What is counted is never
//! time, which would differ between machines, but entities and octets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use imss_core::entity::Entities;
use imss_core::finding::GapReason;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::Message;

const HEAD: &str = "From: a@example.net\r\nSubject: x\r\nMIME-Version: 1.0\r\n";

/// A bomb, and the bound that ends it; `None` if it can be read to its end.
type Row = (&'static str, fn() -> Vec<u8>, Option<Limit>);

#[test]
fn structure_is_bounded() {
    let rows: [Row; 9] = [
        ("messages in messages", nested_messages, Some(Limit::Layers)),
        ("multiparts in multiparts", nested_multiparts, Some(Limit::Layers)),
        ("header fields", || message(&"X: y\r\n".repeat(100_000), ""), Some(Limit::Header)),
        ("one header field", || field(&"a".repeat(4 << 20)), Some(Limit::Header)),
        ("one folded header field", || field(&"a\r\n ".repeat(1 << 20)), Some(Limit::Header)),
        ("encoded words", || field(&"=?utf-8?q?a?=\r\n ".repeat(100_000)), Some(Limit::Header)),
        ("encoded words without end", || field(&"=?a?q? ".repeat(100_000)), None),
        ("parts", parts, Some(Limit::Entities)),
        ("pieces of a parameter", pieces, Some(Limit::Facts)),
    ];
    check(&rows, &Limits::default());
}

#[test]
fn text_is_bounded() {
    let rows: [Row; 6] = [
        ("shifts that lost their escape", || body("text/plain", &"$B".repeat(1 << 20)), None),
        ("escapes", || body("text/plain; charset=iso-2022-jp", &"\x1b$B".repeat(1 << 19)), None),
        (
            "marks that combine",
            || body("text/plain; charset=utf-8", &"\u{301}".repeat(1 << 18)),
            None,
        ),
        ("files in text", uuencoded, Some(Limit::Entities)),
        ("links with content", data_uris, Some(Limit::Entities)),
        ("long text", || body("text/plain", &"a b\r\n".repeat(4 << 20)), Some(Limit::Text)),
    ];
    check(&rows, &Limits::default());
}

#[test]
fn archives_are_bounded() {
    let rows: [Row; 10] = [
        ("zeros", || attached(&gzip(&vec![0; 64 << 20])), Some(Limit::Ratio)),
        ("zeros twice", || attached(&gzip(&gzip(&vec![0; 64 << 20]))), Some(Limit::Ratio)),
        (
            "zip in zip",
            || attached(&nested(200, |inner| zip(&[("a.zip", inner)]))),
            Some(Limit::Layers),
        ),
        ("gzip in gzip", || attached(&nested(200, gzip)), Some(Limit::Layers)),
        ("layers of sixteen", sixteen, Some(Limit::Entities)),
        ("names", names, Some(Limit::Entities)),
        ("entries that overlap", overlapping, None),
        ("headers of a tape", || attached(&tape(b'0', b"").repeat(12_000)), Some(Limit::Entities)),
        ("zeros in zlib", || attached(&zlib(&vec![0; 64 << 20])), Some(Limit::Ratio)),
        ("holes", || attached(&tape(b'S', b"00120000000").repeat(100)), Some(Limit::TotalBytes)),
    ];
    check(&rows, &Limits::default());
}

#[test]
fn documents_are_bounded() {
    let rows: [Row; 9] = [
        ("one string in many cells", strings, None),
        ("pages that are their own parents", page_loop, None),
        ("forms that draw forms", forms, None),
        ("filters on filters", filters, None),
        ("groups", || attached(format!("{{\\rtf1{}", "{".repeat(1 << 18)).as_bytes()), None),
        ("arrays", || attached(&pdf(&["[".repeat(1 << 18)])), None),
        ("elements", || attached(&docx("<w:p>".repeat(1 << 17))), None),
        ("entities of a DTD", laughs, None),
        ("tags", || body("text/html", &"<div>".repeat(1 << 18)), None),
    ];
    // What work costs is a matter of the clock: a tenth of the usual bound says the same.
    check(&rows, &Limits { max_work: 40_000_000, ..Limits::default() });
}

/// Reads each bomb and looks for the gap; and holds what came out against the bounds.
fn check(rows: &[Row], limits: &Limits) {
    for (name, make, bound) in rows {
        let raw = Bytes::from(make());
        let message = Message::parse(raw.clone(), limits);
        let entities = Entities::extract(&message, limits, &StopFlag::new());
        let gaps = entities.gaps();
        if let Some(bound) = bound {
            let said = gaps.iter().any(|gap| gap.reason == GapReason::Limit(*bound));
            assert!(said, "{name}: {bound} in {gaps:?}");
        }
        assert!(!gaps.iter().any(|gap| gap.reason == GapReason::Crash), "{name}: {gaps:?}");
        assert!(entities.len() <= limits.max_entities, "{name}: {} entities", entities.len());
        let octets = kept(&entities);
        let most = 2 * raw.len() + (64 << 20).max(16 * raw.len());
        assert!(octets <= most, "{name}: {octets} octets of {}", raw.len());
        // Text is made on demand, and engines do ask for it.
        for entity in &entities {
            let text = entity.text().map_or(0, |text| text.plain.len());
            assert!(text <= 2 * limits.max_text_bytes + 1, "{name}: {text} octets of text");
        }
    }
}

/// Octets of all contents; those that share memory count once.
fn kept(entities: &Entities) -> usize {
    let mut starts: HashMap<usize, usize> = HashMap::new();
    for entity in entities {
        let most = starts.entry(entity.content.as_ptr().addr()).or_default();
        *most = entity.content.len().max(*most);
    }
    starts.values().sum()
}

fn message(fields: &str, body: &str) -> Vec<u8> {
    format!("{HEAD}{fields}\r\n{body}").into_bytes()
}

fn field(value: &str) -> Vec<u8> {
    message(&format!("X-Long: {value}\r\n"), "x\r\n")
}

pub(crate) fn body(media_type: &str, text: &str) -> Vec<u8> {
    message(&format!("Content-Type: {media_type}\r\n"), text)
}

pub(crate) fn attached(content: &[u8]) -> Vec<u8> {
    let encoded = base64_simd::STANDARD.encode_to_string(content);
    let fields = "Content-Type: application/octet-stream; name=a.bin\r\n\
                  Content-Transfer-Encoding: base64\r\n";
    message(fields, &encoded)
}

fn nested_messages() -> Vec<u8> {
    "Content-Type: message/rfc822\r\n\r\n".repeat(10_000).into_bytes()
}

fn nested_multiparts() -> Vec<u8> {
    let level =
        |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    (0..10_000).map(level).collect::<String>().into_bytes()
}

fn parts() -> Vec<u8> {
    body("multipart/mixed; boundary=b", &"--b\r\n\r\nx\r\n".repeat(100_000))
}

fn pieces() -> Vec<u8> {
    let pieces: String = (0..50_000).map(|n| format!(";\r\n name*{n}=b")).collect();
    body(&format!("text/plain{pieces}"), "x")
}

fn uuencoded() -> Vec<u8> {
    body("text/plain", &"begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n".repeat(20_000))
}

fn data_uris() -> Vec<u8> {
    let image = "<img src=\"data:image/png;base64,aGVsbG8gd29ybGQ=\">";
    body("text/html", &image.repeat(20_000))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn nested(times: usize, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..times).fold(b"hello".to_vec(), |inner, _| wrap(&inner))
}

/// An entry of a zip archive: its packed octets, and what they give.
struct Entry {
    name: String,
    packed: Vec<u8>,
    size: usize,
}

impl Entry {
    fn new(name: &str, content: &[u8]) -> Self {
        Self { name: name.to_owned(), packed: deflate(content), size: content.len() }
    }

    fn header(&self, signature: &[u8], middle: &[u8]) -> Vec<u8> {
        let four = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let name = u16::try_from(self.name.len()).expect("small").to_le_bytes();
        let fixed: [&[u8]; 8] = [
            signature,
            &[20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0],
            &[0; 4],
            &four(self.packed.len()),
            &four(self.size),
            &name,
            &[0, 0],
            middle,
        ];
        [&fixed.concat(), self.name.as_bytes()].concat()
    }

    fn listed(&self, offset: usize) -> Vec<u8> {
        let offset = u32::try_from(offset).expect("small").to_le_bytes();
        self.header(b"PK\x01\x02\x14\x00", &[&[0; 10][..], &offset].concat())
    }
}

fn finished(mut archive: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let four = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
    let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    let start = four(archive.len());
    archive.extend_from_slice(directory);
    let end: [&[u8]; 6] =
        [b"PK\x05\x06\0\0\0\0", &count, &count, &four(directory.len()), &start, &[0, 0]];
    archive.extend(end.concat());
    archive
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<Entry> = files.iter().map(|(name, file)| Entry::new(name, file)).collect();
    packed(&entries)
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(entry.listed(archive.len()));
        archive.extend(entry.header(b"PK\x03\x04", &[]));
        archive.extend_from_slice(&entry.packed);
    }
    finished(archive, &directory, entries.len())
}

fn names() -> Vec<u8> {
    let entry = |n: usize| Entry { name: format!("{n}.txt"), packed: vec![3, 0], size: 0 };
    attached(&packed(&(0..60_000).map(entry).collect::<Vec<_>>()))
}

/// Five layers of sixteen archives each around a large file.
fn sixteen() -> Vec<u8> {
    let layer = |inner: &[u8]| {
        let entry = |n: usize| Entry::new(&format!("{n}.zip"), inner);
        packed(&(0..16).map(entry).collect::<Vec<_>>())
    };
    attached(&nested(5, layer))
}

/// Every entry of the directory is the same one.
fn overlapping() -> Vec<u8> {
    let octets: Vec<u8> = (0..4096_u32).flat_map(|n| [n.to_le_bytes()[0]; 256]).collect();
    let entry = Entry::new("a", &octets);
    let mut archive = entry.header(b"PK\x03\x04", &[]);
    archive.extend_from_slice(&entry.packed);
    let directory = entry.listed(0).repeat(5_000);
    attached(&finished(archive, &directory, 5_000))
}

/// The header of an empty file in a tar archive; of `kind` S, it is a hole of `hole` octets.
fn tape(kind: u8, hole: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[0] = b'x';
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[483..483 + hole.len()].copy_from_slice(hole);
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|octet| u32::from(*octet)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub(crate) fn pdf(objects: &[String]) -> Vec<u8> {
    let numbered = (1..).zip(objects).map(|(n, object)| format!("{n} 0 obj\n{object}\nendobj\n"));
    format!("%PDF-1.4\n{}trailer<</Root 1 0 R>>\n", numbered.collect::<String>()).into_bytes()
}

fn page_loop() -> Vec<u8> {
    attached(&pdf(&[
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[2 0 R 3 0 R 2 0 R]/Count 999999999>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R 2 0 R]/Parent 3 0 R>>".to_owned(),
    ]))
}

/// Each form draws the next one ten times.
fn forms() -> Vec<u8> {
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>".to_owned(),
        "<</Length 5>>stream\n/X Do\nendstream".to_owned(),
    ];
    for number in 6..16 {
        let draws = "BT (hello) Tj ET /X Do ".repeat(10);
        let length = draws.len();
        objects.push(format!(
            "<</Subtype/Form/Resources<</XObject<</X {number} 0 R>>>>/Length {length}>>stream\n{draws}\nendstream"
        ));
    }
    attached(&pdf(&objects))
}

fn filters() -> Vec<u8> {
    let stream = zlib(&zlib(&vec![0; 32 << 20]));
    let mut file = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n\
        2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
        3 0 obj<</Type/Page/Contents 4 0 R>>endobj\n4 0 obj<</Filter[/FlateDecode/FlateDecode]/Length "
        .to_vec();
    file.extend(format!("{}>>stream\n", stream.len()).into_bytes());
    file.extend(stream);
    file.extend(b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n");
    attached(&file)
}

pub(crate) const TYPES: &str =
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

pub(crate) fn docx(content: String) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    office("word/document.xml", &format!("<w:document xmlns:w=\"{main}\"><w:body>{content}"), &[])
}

pub(crate) fn office(main: &str, content: &str, others: &[(&str, &str)]) -> Vec<u8> {
    let start = format!(
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
         <Relationship Id=\"r1\" Type=\"{TYPES}/officeDocument\" Target=\"{main}\"/></Relationships>"
    );
    let types = "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>";
    let mut files: Vec<(&str, &[u8])> = vec![
        ("[Content_Types].xml", types.as_bytes()),
        ("_rels/.rels", start.as_bytes()),
        (main, content.as_bytes()),
    ];
    files.extend(others.iter().map(|(name, text)| (*name, text.as_bytes())));
    zip(&files)
}

/// A million cells that all show one string of 64 KiB.
fn strings() -> Vec<u8> {
    let space = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
    let letters: String =
        (0..64_u32 << 10).filter_map(|n| char::from_u32(97 + n * n % 23)).collect();
    let shared = format!("<sst {space}><si><t>{letters}</t></si></sst>");
    let cells = "<c t=\"s\"><v>0</v></c>".repeat(20_000);
    let sheet = format!("<worksheet {space}><sheetData><row>{cells}</row></sheetData></worksheet>");
    let book = format!(
        "<workbook {space} xmlns:r=\"{TYPES}\"><sheets><sheet name=\"a\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
    );
    let relations = format!(
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
         <Relationship Id=\"r1\" Type=\"{TYPES}/worksheet\" Target=\"worksheets/a.xml\"/>\
         <Relationship Id=\"r2\" Type=\"{TYPES}/sharedStrings\" Target=\"sharedStrings.xml\"/></Relationships>"
    );
    attached(&office(
        "xl/workbook.xml",
        &book,
        &[
            ("xl/_rels/workbook.xml.rels", &relations),
            ("xl/sharedStrings.xml", &shared),
            ("xl/worksheets/a.xml", &sheet),
        ],
    ))
}

/// Each entity is ten of the one before.
fn laughs() -> Vec<u8> {
    let each = |n: usize| format!("<!ENTITY a{} \"{}\">", n + 1, format!("&a{n};").repeat(10));
    let entities: String = (0..20).map(each).collect();
    attached(
        format!("<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a0 \"ha\">{entities}]><l>&a20;</l>")
            .as_bytes(),
    )
}
