//! Everything that content validly is: its main type, and others that a program would open it as.
//!
//! In: octets. Out: an [`Identified`]: types with a confidence. Looked at: the start, the
//! last 64 KiB, the places where disc images and disk images have their marks, and what follows the
//! end of a picture. A zip archive counts where its directory fits, not where one is merely stored
//! inside, as in a tar archive or a mail.

use memchr::memmem;

use super::container::{self, WINDOW};
use super::known::known;
use super::{FileType, MESSAGE, TypeGroup, by_start, detect};
use crate::archive;
use crate::archive::le::{len16_at, u32_at};

/// What a detection rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Confidence {
    /// Nothing: text or data that nobody knows.
    Fallback,
    /// Words and their frequency, as in scripts and tables.
    Heuristic,
    /// Octets at their place.
    Signature,
    /// Octets at their place, and a structure that fits: names inside, a checksum, an offset.
    Structure,
}

/// What content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The main type, as [`detect`] gives it.
    pub main: FileType,
    /// What that rests on.
    pub confidence: Confidence,
    /// What else it validly is. A program with an archive at its end has that type here.
    pub also: Vec<FileType>,
}

impl Identified {
    /// What a message itself is, whatever its first octets look like.
    pub(crate) fn message() -> Self {
        Self { main: MESSAGE, confidence: Confidence::Structure, also: Vec::new() }
    }

    /// Whether the types deceive: an installer that carries its archive is no surprise, a
    /// picture that is a script is.
    #[must_use]
    pub fn is_polyglot(&self) -> bool {
        let unpacks_itself = self.main.group == TypeGroup::Executable;
        self.also.iter().any(|also| {
            !(unpacks_itself && (also.group == TypeGroup::Archive || is_zip_based(also)))
        })
    }
}

/// Every type that `content` validly has, the main one first.
#[must_use]
pub fn all(content: &[u8]) -> Vec<FileType> {
    let Identified { main, also, .. } = identify(content);
    [vec![main], also].concat()
}

/// Identifies `content`. Never fails.
#[must_use]
pub fn identify(content: &[u8]) -> Identified {
    let main = detect(content);
    let mut also: Vec<FileType> = Vec::new();
    let found = [
        start_under_pdf(content, &main),
        pdf(content, &main),
        zip_at_end(content, &main),
        disc(content, &main),
        tar(content, &main),
        active_picture(content, &main),
        script_under_magic(content),
    ];
    for file_type in found.into_iter().flatten().chain(after_picture(content, &main)) {
        if file_type != main && !also.contains(&file_type) {
            also.push(file_type);
        }
    }
    Identified { confidence: confidence(&main), main, also }
}

fn confidence(main: &FileType) -> Confidence {
    use TypeGroup as G;
    match main.extension {
        "bin" | "txt" => Confidence::Fallback,
        "pe" | "exe" | "dll" | "tar" | "cpio" | "p7m" | "p7s" => Confidence::Structure,
        _ if is_zip_based(main) => Confidence::Structure,
        "url" | "desktop" | "reg" | "rdp" | "ica" | "rtf" | "vbe" | "ics" | "vcf" | "svg" => {
            Confidence::Signature
        }
        _ if matches!(main.group, G::Script | G::Text | G::Html | G::Message) => {
            Confidence::Heuristic
        }
        _ => Confidence::Signature,
    }
}

/// Types whose files are zip archives.
pub(crate) fn is_zip_based(file_type: &FileType) -> bool {
    const ZIPS: &[&str] = &[
        "zip", "jar", "apk", "xpi", "crx", "msix", "docx", "docm", "xlsx", "xlsm", "xlsb", "pptx",
        "pptm", "vsdx", "xps", "odt", "ott", "odm", "oth", "ods", "ots", "odp", "otp", "odg",
        "otg", "odc", "odi", "odb", "odf", "epub", "pages",
    ];
    ZIPS.contains(&file_type.extension)
        && file_type.media_type != "application/x-ms-office-encrypted"
}

/// A document of which readers accept octets before its header: what those octets are.
fn start_under_pdf(content: &[u8], main: &FileType) -> Option<FileType> {
    if main.extension != "pdf" {
        return None;
    }
    let at = pdf_place(content)?;
    let before = content.get(..at)?.trim_ascii();
    if before.len() < 4 || before == b"\xef\xbb\xbf" {
        return None;
    }
    // Only the octets before: a document itself may look like anything.
    let found = by_start(before)?;
    // Pictures of a Mac carry the document they were made of in a comment.
    let vague = matches!(
        found.extension,
        "bin" | "txt" | "csv" | "eml" | "ps" | "json" | "xml" | "emf" | "wmf"
    );
    (!vague).then_some(found)
}

/// A document behind the start of something else.
fn pdf(content: &[u8], main: &FileType) -> Option<FileType> {
    // Archives, mail and documents that hold a PDF are none.
    let holds = matches!(main.group, TypeGroup::Archive | TypeGroup::Message | TypeGroup::Document)
        || is_zip_based(main);
    let at = pdf_place(content).filter(|_| !holds)?;
    let head = content.get(at..WINDOW.min(content.len()))?;
    let is_version = matches!(head.get(5..8), Some([b'1' | b'2', b'.', b'0'..=b'9']));
    let has_objects = memmem::find(head, b" obj").is_some();
    let tail = content.get(content.len().saturating_sub(WINDOW)..)?;
    let ends = memmem::find(tail, b"startxref").is_some() || memmem::find(tail, b"%%EOF").is_some();
    (is_version && has_objects && ends).then(|| known("pdf"))
}

fn pdf_place(content: &[u8]) -> Option<usize> {
    memmem::find(content.get(..1_024.min(content.len()))?, b"%PDF-")
}

/// A zip archive whose end record ends the content, and whose directory is where that says.
fn zip_at_end(content: &[u8], main: &FileType) -> Option<FileType> {
    if is_zip_based(main) || content.starts_with(b"PK") {
        return None;
    }
    let from = content.len().saturating_sub(WINDOW.saturating_add(22));
    let tail = content.get(from..)?;
    let at = memmem::rfind(tail, b"PK\x05\x06")?;
    let record = tail.get(at..)?;
    let comment = len16_at(record, 20)?;
    let rest = record.get(22_usize.checked_add(comment)?..)?;
    // A picture or page never holds a whole archive by chance, whatever follows it.
    let strict = !matches!(main.group, TypeGroup::Image | TypeGroup::Audio | TypeGroup::Video);
    if strict && rest.iter().any(|octet| !matches!(octet, 0 | b' ' | b'\r' | b'\n')) {
        return None;
    }
    // A container pads its last member, an OLE file its last stream.
    let is_container = matches!(main.group, TypeGroup::Archive | TypeGroup::Message)
        || content.starts_with(b"\xd0\xcf\x11\xe0");
    if is_container && !rest.is_empty() {
        return None;
    }
    let size = usize::try_from(u32_at(record, 12)?).ok()?;
    let directory = from.checked_add(at)?.checked_sub(size)?;
    content.get(directory..)?.starts_with(b"PK\x01\x02").then(|| container::zip(content))
}

/// A disc image whose first sectors, which the format leaves free, are something else.
fn disc(content: &[u8], main: &FileType) -> Option<FileType> {
    let mark = content.get(32_769..32_774)?;
    let found = match mark {
        b"CD001" => known("iso"),
        b"BEA01" | b"NSR02" | b"NSR03" => known("udf"),
        _ => return None,
    };
    // Boot records and partition tables belong there.
    let start = by_start(content.get(..WINDOW.min(content.len()).min(32_768))?);
    let boots = start.is_none_or(|start| matches!(start.extension, "img" | "bin" | "dmg" | "exe"));
    if matches!(main.extension, "iso" | "udf") {
        return if boots { None } else { start };
    }
    Some(found)
}

/// A tar archive whose first name is the magic number of something else.
fn tar(content: &[u8], main: &FileType) -> Option<FileType> {
    (main.extension != "tar" && archive::is_tar(content)).then(|| known("tar"))
}

/// A picture or sound with markup or code that is run by who opens it as a page.
fn active_picture(content: &[u8], main: &FileType) -> Option<FileType> {
    if !matches!(main.group, TypeGroup::Image | TypeGroup::Audio | TypeGroup::Video) {
        return None;
    }
    let head = content.get(..WINDOW.min(content.len()))?;
    let tail = content.get(content.len().saturating_sub(WINDOW).max(head.len())..)?;
    let has = |needle: &[u8]| [head, tail].iter().any(|window| contains(window, needle));
    if has(b"<hta:application") {
        return Some(known("hta"));
    }
    if has(b"<?php ") || has(b"<?php\n") || has(b"<?php\r") {
        return Some(known("php"));
    }
    (has(b"<script>") || has(b"<script ") || has(b"<script\n")).then(|| known("html"))
}

/// Whether `needle`, which starts with `<` and is in lower case, occurs in any case.
fn contains(window: &[u8], needle: &[u8]) -> bool {
    memchr::memchr_iter(b'<', window).any(|at| {
        let end = at.saturating_add(needle.len());
        window.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(needle))
    })
}

/// A magic number of letters that a script uses as a variable: `GIF89a=1;` or `GIF89a/*…*/=1;`.
fn script_under_magic(content: &[u8]) -> Option<FileType> {
    let magics: [&[u8]; 6] = [b"GIF89a", b"GIF87a", b"BM", b"RIFF", b"\xff\xd8\xff\xe0", b"MZ"];
    let magic = magics.iter().find(|magic| content.starts_with(magic))?;
    let rest = content.get(magic.len()..WINDOW.min(content.len()))?;
    let code = if let Some(code) = rest.strip_prefix(b"=") {
        code
    } else {
        let comment = rest.strip_prefix(b"/*")?;
        let end = memmem::find(comment, b"*/")?.checked_add(2)?;
        comment.get(end..)?.trim_ascii_start()
    };
    let line = code.get(..code.len().min(64))?;
    let is_code = matches!(
        line.trim_ascii_start().first(),
        Some(b'=' | b';' | b'\'' | b'"' | b'(' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
    );
    let is_text = line.iter().take(8).all(|&octet| octet.is_ascii_graphic() || octet == b' ');
    (is_code && is_text && line.len() >= 4).then(|| known("js"))
}

/// What stands behind the end of a picture.
fn after_picture(content: &[u8], main: &FileType) -> Option<FileType> {
    let end = match main.extension {
        "png" => memmem::find(content, b"IEND\xaeB`\x82")?.checked_add(8)?,
        "gif" => gif_end(content)?,
        // A preview inside ends with the same mark, so the last one counts.
        "jpg" => memmem::rfind(content, b"\xff\xd9")?.checked_add(2)?,
        _ => return None,
    };
    let rest = content.get(end..).filter(|rest| rest.len() >= 16)?;
    let found = by_start(rest).filter(|found| {
        matches!(
            found.group,
            TypeGroup::Archive | TypeGroup::Executable | TypeGroup::Script | TypeGroup::Document
        )
    })?;
    // Archives that are found in the middle of anything, not what a few letters suggest.
    (found.extension != "bin" && confidence(&found) >= Confidence::Signature).then_some(found)
}

/// Where a GIF ends: after its trailer block (GIF89a §27).
fn gif_end(content: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 != 0 { 3_usize << ((flags & 7) + 1) } else { 0 };
    let mut at = 13_usize.checked_add(table(*content.get(10)?))?;
    loop {
        match content.get(at)? {
            0x3b => return at.checked_add(1),
            0x21 => at = sub_blocks(content, at.checked_add(2)?)?,
            0x2c => {
                let flags = *content.get(at.checked_add(9)?)?;
                let data = at.checked_add(11)?.checked_add(table(flags))?;
                at = sub_blocks(content, data)?;
            }
            _ => return None,
        }
    }
}

fn sub_blocks(content: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*content.get(at)?);
        at = at.checked_add(1)?.checked_add(length)?;
        if length == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
