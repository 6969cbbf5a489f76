//! Content → type, and the claim of a name or label held against it.
//!
//! In: octets. Out: a [`FileType`], by our own signatures, then by what is inside containers, then
//! by heuristics for text, then by the file-format crate. Any octets give a type; work is bounded by
//! a window at each end.

mod claim;
mod container;
mod foreign;
mod known;
mod languages;
mod packed;
mod several;
mod text;

use serde::{Deserialize, Serialize};

pub use self::claim::{claim, group_of_extension};
use self::container::WINDOW;
use self::known::{BINARY, by_signature, known};
pub(crate) use self::several::is_zip_based;
pub use self::several::{Confidence, Identified, all, identify};
use crate::anomaly::AnomalyKind;
use crate::archive;

/// What content really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType {
    /// A name for people, such as `Zip archive`.
    pub name: &'static str,
    /// The media type, such as `application/zip`.
    pub media_type: &'static str,
    /// The usual extension, without a dot.
    pub extension: &'static str,
    /// What rules ask for.
    pub group: TypeGroup,
}

/// What a message itself is, whatever its first octets look like.
const MESSAGE: FileType = FileType {
    name: "Mail message",
    media_type: "message/rfc822",
    extension: "eml",
    group: TypeGroup::Message,
};

/// What text is that its label calls a page.
pub(crate) const PAGE: FileType = FileType {
    name: "HTML page",
    media_type: "text/html",
    extension: "html",
    group: TypeGroup::Html,
};

/// Groups of types, as rules name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TypeGroup {
    /// Machine code and what runs like it: exe, dll, elf, jar, msi.
    Executable,
    /// Text that an interpreter runs: js, vbs, ps1, bat, hta, sh.
    Script,
    /// What points at something to run: lnk, url, desktop.
    Shortcut,
    /// Containers of files, disk images included.
    Archive,
    /// Office documents, PDF, RTF, OneNote.
    Document,
    /// HTML and XML pages.
    Html,
    /// Plain text and tables of it.
    Text,
    /// Pictures.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Mail messages.
    Message,
    /// Fonts.
    Font,
    /// Signatures, keys, certificates, encrypted messages.
    Crypto,
    /// Anything else.
    Other,
}

/// The type of `content`. Never fails: what nobody knows is text or binary data.
///
/// Reads at most the first 64 KiB and the last 64 KiB.
#[must_use]
pub fn detect(content: &[u8]) -> FileType {
    let at_end = || has_zip_at_its_end(content).then(|| container::zip(content));
    by_start(content).or_else(at_end).unwrap_or(BINARY)
}

/// What the start of `content` says.
pub(crate) fn by_start(content: &[u8]) -> Option<FileType> {
    let head = content.get(..WINDOW.min(content.len())).unwrap_or_default();
    match head {
        [] => return Some(known("empty")),
        [b'M', b'Z', ..] => {
            if let Some(program) = container::program(content) {
                return Some(program);
            }
        }
        [0xca, 0xfe, 0xba, 0xbe, ..] => return Some(container::cafe_babe(head)),
        [b'P', b'K', 3, 4, ..]
        | [b'P', b'K', 5, 6, ..]
        | [b'P', b'K', b'0', b'0', b'P', b'K', ..] => {
            return Some(container::zip(content));
        }
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => {
            return Some(container::ole(content));
        }
        _ => {}
    }
    by_signature(content)
        .or_else(|| container::der(content))
        .or_else(|| archive::is_tar(content).then(|| known("tar")))
        .or_else(|| text::detect(head).map(known))
        .or_else(|| packed::detect(content).map(known))
        .or_else(|| archive::is_damaged_tar(content).then(|| known("tar")))
        .or_else(|| foreign::detect(head))
}

fn has_zip_at_its_end(content: &[u8]) -> bool {
    let tail = content.get(content.len().saturating_sub(WINDOW)..).unwrap_or_default();
    memchr::memmem::find(tail, b"PK\x05\x06").is_some()
        && memchr::memmem::find(tail, b"PK\x01\x02").is_some()
}

/// How a name or label disagrees with content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// [`AnomalyKind::TypeMismatch`] or [`AnomalyKind::DeceptiveName`].
    pub kind: AnomalyKind,
    /// What was seen, for people; escaped, at most 200 characters.
    pub detail: String,
}

#[cfg(test)]
mod tests;
