//! What `imss scan` holds in memory at most while it reads a bomb, as the system counts it, and that
//! it names the limit that ended the work.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::{lines, write};

/// Octets that reading a message may cost, besides twice its own size.
const MOST: u64 = 256 << 20;
/// The same for a message of some kilobytes, in a program with all debug checks.
const MOST_OF_SMALL: u64 = 128 << 20;

/// Text is searched, so that it is read and folded.
const POLICY: &str = r#"
[keywords.words]
entries = ["confidential"]
[[rule]]
name = "Words"
when = { keywords = "words" }
then = ["deliver"]
"#;

#[test]
fn bombs_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let bombs: [(&str, Vec<u8>, u64, &str); 5] = [
        ("layers.zip", layers(), MOST_OF_SMALL, "total-bytes limit"),
        ("cells.xlsx", cells(), MOST, "text limit"),
        ("contacts.vcf", contacts(), MOST, "text limit"),
        ("files.ics", files(), MOST, "entities limit"),
        ("script.html", script(), MOST, "text limit"),
    ];
    write(folder.path(), "words.toml", POLICY);
    for (name, bomb, most, limit) in bombs {
        write(folder.path(), name, &bomb);
        let most = most + 2 * u64::try_from(bomb.len()).unwrap();
        let (peak, gaps) = scan(folder.path(), name);
        assert!(peak < most, "{name}: {peak} of {most} octets");
        assert!(gaps.contains(limit), "{name}: {gaps}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
}

/// Sixteen archives in each archive, five times over, around files of zeros.
fn layers() -> Vec<u8> {
    // Just past the octets from which on the ratio counts.
    let mut content = vec![0; 25 << 20];
    for layer in 0..6 {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
        deflated.write_all(&content).unwrap();
        let packed = deflated.finish().unwrap();
        let kind = if layer == 0 { "dll" } else { "zip" };
        content = zip((0..16).map(|place| (format!("{place}.{kind}"), packed.as_slice())), 8);
    }
    content
}

/// A workbook with a row for each of many cells, a bit more text than is kept.
fn cells() -> Vec<u8> {
    let office = "http://schemas.openxmlformats.org";
    let types = format!(
        "<Types xmlns=\"{office}/package/2006/content-types\"><Override PartName=\"/xl/workbook.xml\" \
         ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/></Types>"
    );
    let related = |kind: &str, target: &str| {
        format!(
            "<Relationships xmlns=\"{office}/package/2006/relationships\"><Relationship Id=\"r1\" \
             Type=\"{office}/officeDocument/2006/relationships/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    let book = format!(
        "<workbook xmlns=\"{office}/spreadsheetml/2006/main\" \
         xmlns:r=\"{office}/officeDocument/2006/relationships\"><sheets>\
         <sheet name=\"s\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
    );
    let mut sheet =
        format!("<worksheet xmlns=\"{office}/spreadsheetml/2006/main\"><sheetData>").into_bytes();
    let long = "cell ".repeat(30);
    for row in 1..120_000 {
        write!(
            sheet,
            "<row r=\"{row}\"><c r=\"A{row}\" t=\"str\"><f>A{row}+1</f><v>{long}</v></c></row>"
        )
        .unwrap();
    }
    sheet.extend_from_slice(b"</sheetData></worksheet>");
    let main = related("officeDocument", "xl/workbook.xml");
    let sheets = related("worksheet", "worksheets/s.xml");
    let parts = [
        ("[Content_Types].xml", types.as_bytes()),
        ("_rels/.rels", main.as_bytes()),
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", sheets.as_bytes()),
        ("xl/worksheets/s.xml", sheet.as_slice()),
    ];
    zip(parts.into_iter().map(|(name, content)| (name.to_owned(), content)), 0)
}

fn contacts() -> Vec<u8> {
    "BEGIN:VCARD\r\nFN:a\r\nURL:http://e.example\r\nEND:VCARD\r\n".repeat(340_000).into_bytes()
}

fn files() -> Vec<u8> {
    let file = "ATTACH;ENCODING=BASE64;VALUE=BINARY:aGVsbG8gd29ybGQ=\r\n".repeat(60_000);
    format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{file}END:VEVENT\r\nEND:VCALENDAR\r\n").into_bytes()
}

/// A page with a file of 13 MiB in base64.
fn script() -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut page = b"<html><script>var a=\"".to_vec();
    let mut state = 1_u32;
    for _ in 0..17 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        page.push(letters[usize::try_from(state >> 26).unwrap()]);
    }
    page.extend_from_slice(b"\";eval(atob(a))</script>");
    page
}

/// A zip archive of entries packed by `method` (APPNOTE 4.3.6). Checksums are left out.
fn zip<'a>(entries: impl Iterator<Item = (String, &'a [u8])>, method: u8) -> Vec<u8> {
    let octets = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let short = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
    let (mut archive, mut directory, mut count) = (Vec::new(), Vec::new(), 0_usize);
    for (name, packed) in entries {
        count += 1;
        let start = octets(archive.len());
        let sizes = [octets(packed.len()), octets(packed.len())].concat();
        let common =
            [&[20, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &sizes, &short(name.len())];
        let common = common.concat();
        archive.extend([&b"PK\x03\x04"[..], &common, &[0; 2], name.as_bytes(), packed].concat());
        directory.extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 12], &start].concat());
        directory.extend_from_slice(name.as_bytes());
    }
    let end = [
        &b"PK\x05\x06\0\0\0\0"[..],
        &short(count),
        &short(count),
        &octets(directory.len()),
        &octets(archive.len()),
        &[0; 2],
    ];
    let end = end.concat();
    archive.extend(directory);
    archive.extend(end);
    archive
}

/// Scans a file: the most memory that the program held, in octets, and what its gaps say.
fn scan(folder: &Path, file: &str) -> (u64, String) {
    let report = folder.join("report");
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("imss"))
        .args(["scan", "--policy", "words.toml", "--jsonl", file])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&report).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        // The mark only grows, so the last look counts.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.trim().strip_suffix(" kB"));
        peak = mark.and_then(|mark| mark.parse::<u64>().ok()).map_or(peak, |mark| mark << 10);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let reports = lines(&fs::read_to_string(report).unwrap());
    assert_eq!(reports.len(), 1, "{file}");
    (peak, reports[0]["gaps"].to_string())
}
