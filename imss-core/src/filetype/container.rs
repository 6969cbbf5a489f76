//! Types that are told apart by what is inside: zip and OLE based documents, programs, CMS.
//!
//! In: content whose first octets are known. Out: its type. Reads names near the start and the end,
//! never whole directories; names can lie, so these types are hints for policy and scanning, and
//! the members of a zip are extracted whatever it is called here.

use memchr::memmem;

use super::FileType;
use super::known::known;
use crate::archive::le::{len16_at, u16_at, u32_at};

/// Octets looked at from both ends.
pub(super) const WINDOW: usize = 64 << 10;

/// Programs with a DOS header; `None` if the letters `MZ` start something else.
pub(super) fn program(content: &[u8]) -> Option<FileType> {
    let header = u32_at(content, 60).and_then(|at| usize::try_from(at).ok());
    let header = header.and_then(|at| content.get(at..));
    if let Some(header) = header.filter(|header| header.starts_with(b"PE\0\0")) {
        let is_library = u16_at(header, 22).is_some_and(|flags| flags & 0x2000 != 0);
        return Some(known(if is_library { "dll" } else { "exe" }));
    }
    let head = content.get(..64.min(content.len())).unwrap_or_default();
    let is_text = head.iter().all(|octet| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e));
    (!is_text).then(|| known("dos"))
}

/// `CAFEBABE`: Java counts versions from 45, Mach-O counts a few architectures.
pub(super) fn cafe_babe(content: &[u8]) -> FileType {
    let count = content.get(4..8).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
    let count = count.map_or(0, u32::from_be_bytes);
    known(if count < 40 { "macho" } else { "class" })
}

/// What a zip archive is used for, by the names inside.
pub(super) fn zip(content: &[u8]) -> FileType {
    let names = zip_names(content);
    let has = |prefix: &[u8]| names.iter().any(|name| name.starts_with(prefix));
    let ends = |suffix: &[u8]| names.iter().any(|name| name.ends_with(suffix));
    if let Some(kind) = open_document(content) {
        return kind;
    }
    let macros = ends(b"vbaProject.bin");
    let id = if has(b"[Content_Types].xml") || has(b"_rels/") {
        match () {
            () if has(b"word/") && macros => "docm",
            () if has(b"word/") => "docx",
            () if has(b"xl/workbook.bin") => "xlsb",
            () if has(b"xl/") && macros => "xlsm",
            () if has(b"xl/") => "xlsx",
            () if has(b"ppt/") && macros => "pptm",
            () if has(b"ppt/") => "pptx",
            () if has(b"visio/") => "vsdx",
            () if has(b"FixedDocSeq") || ends(b".fdseq") || has(b"FixedDocumentSequence") => "xps",
            () if has(b"AppxManifest.xml") || has(b"AppxMetadata/") => "msix",
            () => "zip",
        }
    } else if has(b"AndroidManifest.xml") {
        "apk"
    } else if has(b"META-INF/MANIFEST.MF") {
        "jar"
    } else if has(b"install.rdf") || has(b"META-INF/mozilla.rsa") {
        "xpi"
    } else if has(b"META-INF/manifest.xml") && has(b"content.xml") {
        "odf"
    } else if has(b"Index/Document.iwa") || has(b"index.apxl") || has(b"buildVersionHistory") {
        "iwork"
    } else {
        "zip"
    };
    known(id)
}

/// OpenDocument and EPUB name themselves in a first, stored member `mimetype`.
fn open_document(content: &[u8]) -> Option<FileType> {
    let name = content.get(30..)?.strip_prefix(b"mimetype")?;
    let extra = len16_at(content, 28)?;
    let media = name.get(extra..)?;
    let epub = media.starts_with(b"application/epub+zip").then_some("epub");
    let family = media.strip_prefix(b"application/vnd.oasis.opendocument".as_slice());
    let find = |family: &[u8]| FAMILIES.iter().find(|(name, _)| family.starts_with(name));
    epub.or_else(|| find(family?).map(|(_, id)| *id)).map(known)
}

/// What follows `application/vnd.oasis.opendocument`; a name before those that it starts with.
const FAMILIES: &[(&[u8], &str)] = &[
    (b".text-template", "ott"),
    (b".text-master", "odm"),
    (b".text-web", "oth"),
    (b".text", "odt"),
    (b".spreadsheet-template", "ots"),
    (b".spreadsheet", "ods"),
    (b".presentation-template", "otp"),
    (b".presentation", "odp"),
    (b".graphics-template", "otg"),
    (b".graphics", "odg"),
    (b".chart", "odc"),
    (b".image", "odi"),
    (b".formula", "odformula"),
    (b".base", "odb"),
    (b".database", "odb"),
    (b"", "odf"),
];

fn zip_names(content: &[u8]) -> Vec<&[u8]> {
    let head = content.get(..WINDOW.min(content.len())).unwrap_or_default();
    let tail = content.get(content.len().saturating_sub(WINDOW)..).unwrap_or_default();
    let local = memmem::find_iter(head, b"PK\x03\x04").filter_map(|at| name(head, at, 26, 30));
    let central = memmem::find_iter(tail, b"PK\x01\x02").filter_map(|at| name(tail, at, 28, 46));
    local.chain(central).take(2_000).collect()
}

fn name(window: &[u8], at: usize, length: usize, start: usize) -> Option<&[u8]> {
    let length = len16_at(window, at.checked_add(length)?)?;
    let start = at.checked_add(start)?;
    window.get(start..start.checked_add(length)?)
}

/// What an OLE compound file holds, by the names in the first sectors of its directory
/// ([MS-CFB] 2.6): those that the root holds count before those of what is embedded.
pub(super) fn ole(content: &[u8]) -> FileType {
    let directory = directory(content);
    // Names are compared without case ([MS-CFB] 2.6.4); what links them is numbers.
    let found = kind_of(&root_names(&directory).to_ascii_lowercase());
    let found = found.or_else(|| kind_of(&directory.to_ascii_lowercase()));
    let found = found.or_else(|| kind_of(&in_a_row(content)?.to_ascii_lowercase()));
    // Windows Installer: its class identifiers, or names in its packing of letters, from U+4840.
    let classes = [b"\x84\x10\x0c\0\0\0\0\0\xc0", b"\x86\x10\x0c\0\0\0\0\0\xc0"];
    let is_installer = classes.iter().any(|class| memmem::find(&directory, *class).is_some())
        || directory.chunks(128).any(|entry| entry.starts_with(b"@H"));
    known(if is_installer { "msi" } else { found.unwrap_or("ole") })
}

/// The kind of document that has one of some names, in lower case.
fn kind_of(names: &[u8]) -> Option<&'static str> {
    let holds = |name: &str| {
        let name = name.to_ascii_lowercase();
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        memmem::find(names, &wide).is_some()
    };
    let streams = [
        ("EncryptedPackage", "encrypted-office"),
        ("__properties_version1.0", "msg"),
        ("__nameid_version1.0", "msg"),
        ("WordDocument", "doc"),
        ("PowerPoint Document", "ppt"),
        ("VisioDocument", "vsd"),
        ("Workbook", "xls"),
        ("Quill", "pub"),
        ("HwpSummaryInformation", "hwp"),
        ("PerfectOffice_MAIN", "wpd"),
        ("NativeContent_MAIN", "wk1"),
        ("StarWriterDocument", "staroffice"),
        ("StarCalcDocument", "staroffice"),
        ("StarDrawDocument", "staroffice"),
        ("StarImpressDocument", "staroffice"),
        ("MatOST", "works"),
        ("JSRV_SegmentInformation", "jtd"),
        ("   Props", "mpp"),
        ("   Pro", "mpp"),
        ("Book\0", "xls"),
    ];
    streams.iter().find(|(name, _)| holds(name)).map(|(_, id)| *id)
}

/// The names of what the root storage holds: the tree that starts at its child ([MS-CFB] 2.6.4).
fn root_names(directory: &[u8]) -> Vec<u8> {
    let entries: Vec<&[u8]> = directory.chunks_exact(128).collect();
    let entry = |number: Option<u32>| entries.get(usize::try_from(number?).ok()?).copied();
    let mut stack: Vec<&[u8]> =
        entry(Some(0)).and_then(|root| entry(u32_at(root, 76))).into_iter().collect();
    let mut names = Vec::new();
    // A tree that loops ends with as many steps as there are entries.
    for _ in 0..entries.len() {
        let Some(found) = stack.pop() else { break };
        names.extend_from_slice(found.get(..64).unwrap_or_default());
        names.extend([0, 0]);
        stack.extend([68, 72].into_iter().filter_map(|at| entry(u32_at(found, at))));
    }
    names
}

/// The start of the directory, sector by sector ([MS-CFB] 2.3).
fn directory(content: &[u8]) -> Vec<u8> {
    let mut directory = Vec::new();
    let mut next = u32_at(content, 48);
    while let Some(number) = next.filter(|_| directory.len() < WINDOW) {
        let Some(sector) = sector(content, number) else { break };
        directory.extend_from_slice(sector);
        let place = usize::try_from(number).ok();
        let after = place.and_then(|place| {
            let in_one = sector.len() / 4;
            let table = place.checked_div(in_one).filter(|&table| table < 109)?;
            let table = self::sector(content, u32_at(content, 76_usize.checked_add(table * 4)?)?)?;
            u32_at(table, (place % in_one).checked_mul(4)?)
        });
        // Where the table cannot be read, sectors are most often in a row.
        next = after.or(number.checked_add(1)).filter(|&next| next < 0xffff_fffa);
    }
    directory
}

/// One whole sector.
fn sector(content: &[u8], number: u32) -> Option<&[u8]> {
    let shift = u16_at(content, 30).filter(|shift| (7..=20).contains(shift))?;
    let size = 1_usize << shift;
    let start = usize::try_from(number).ok()?.checked_add(1)?.checked_mul(size)?;
    let rest = content.get(start..)?;
    rest.get(..size.min(rest.len())).filter(|sector| !sector.is_empty())
}

/// What follows the first sector of the directory, for files whose tables are damaged.
fn in_a_row(content: &[u8]) -> Option<&[u8]> {
    let first = sector(content, u32_at(content, 48)?)?;
    let start = first.as_ptr().addr().checked_sub(content.as_ptr().addr())?;
    let rest = content.get(start..)?;
    rest.get(..WINDOW.min(rest.len()))
}

/// DER: CMS, time-stamped data, certificates, PKCS #12, by the object identifier or version near the start.
pub(super) fn der(content: &[u8]) -> Option<FileType> {
    let head = content.get(..96.min(content.len()))?;
    if !matches!(head, [0x30, 0x80..=0x84, ..]) {
        return None;
    }
    let cms = memmem::find(head, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07").filter(|&at| at < 20);
    if let Some(at) = cms {
        let is_encrypted = head.get(at.checked_add(10)?) == Some(&3);
        let bare = !is_encrypted && content.len() < WINDOW && is_detached(head, at);
        return Some(known(if bare { "p7s" } else { "p7m" }));
    }
    let stamped = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x1f";
    if memmem::find(head, stamped).is_some_and(|at| at < 20) {
        return Some(known("tsd"));
    }
    let rest = head.get(if head.get(1) == Some(&0x82) { 4 } else { 2 }..)?;
    if rest.starts_with(b"\x02\x01\x03\x30") {
        return Some(known("p12"));
    }
    let inner = rest.get(if rest.get(1) == Some(&0x82) { 4 } else { 3 }..)?;
    inner.starts_with(b"\xa0\x03\x02\x01").then(|| known("cer"))
}

/// Whether signed data carries no content: the inner `data` identifier ends its sequence.
fn is_detached(head: &[u8], at: usize) -> bool {
    let data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let inner = head.get(at.saturating_add(11)..).and_then(|rest| {
        let found = memmem::find(rest, data)?;
        rest.get(found.checked_sub(2)?..)
    });
    matches!(
        inner,
        Some([0x30, 0x0b, ..])
            | Some([0x30, 0x80, 0x06, 0x09, _, _, _, _, _, _, _, _, 1, 0, 0, ..])
    )
}
