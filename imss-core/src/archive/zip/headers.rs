//! The zip headers (APPNOTE 4.3): end of central directory, central entry, local entry.
//!
//! In: the archive's octets and an offset. Out: the header's values, or `None` if there is none.
//! Values are claims; nothing is checked against content here.

use std::ops::Range;

use crate::archive::le::{len16_at, length, u16_at, u32_at, u64_at};

/// Signatures, as they lie in the archive.
pub(super) const LOCAL: &[u8] = b"PK\x03\x04";
pub(super) const CENTRAL: &[u8] = b"PK\x01\x02";
pub(super) const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";

/// A value that is in the zip64 extra field.
const IN_ZIP64: u32 = u32::MAX;

/// One end-of-central-directory record and the directory it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    /// The central entries.
    pub(super) entries: Range<usize>,
    /// The record (with its zip64 relatives) and the comment after it.
    pub(super) record: Range<usize>,
    /// What to add to the offsets inside: octets put before the archive.
    pub(super) base: usize,
}

/// How one entry is stored, by one of its two headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// The time of day, as MS-DOS writes it.
    pub(super) time: u16,
    /// From the extra field of WinZip's encryption.
    pub(super) aes: Option<Aes>,
}

/// How an entry is encrypted with AES (WinZip, "AES Encryption Information").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aes {
    /// 1 for 128, 2 for 192, 3 for 256 bits.
    pub(super) strength: u8,
    /// The method below the encryption.
    pub(super) method: u16,
}

impl Storage {
    /// Bit 0: encrypted; bit 13: even the directory is masked.
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & 0x2001 != 0 || self.method == 99
    }

    /// Bit 3: sizes follow the data.
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & 8 != 0
    }

    /// Bit 11: the name is UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        self.flags & 0x800 != 0
    }
}

/// A header of an entry, central or local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) storage: Storage,
    pub(super) name: &'a [u8],
    /// From the Info-ZIP Unicode Path extra field.
    pub(super) unicode_name: Option<&'a str>,
    /// Where the local header is (central), or where the header is (local).
    pub(super) local: u64,
    /// The first octet after the header.
    pub(super) end: usize,
}

/// The directories that the record at `at` leads to: none if it is not one, two if its size and its
/// offset lead to different ones.
pub(super) fn directories(content: &[u8], at: usize) -> Vec<Directory> {
    find_directories(content, at).unwrap_or_default()
}

fn find_directories(content: &[u8], at: usize) -> Option<Vec<Directory>> {
    if !has(content, at, END) {
        return None;
    }
    let comment = len16_at(content, at.checked_add(20)?)?;
    let record_end = at.checked_add(22)?.checked_add(comment)?.min(content.len());
    let mut count = u64::from(u16_at(content, at.checked_add(10)?)?);
    let mut size = u64::from(u32_at(content, at.checked_add(12)?)?);
    let mut offset = u64::from(u32_at(content, at.checked_add(16)?)?);
    let mut end = at;
    if let Some(end64) = zip64_end(content, at) {
        count = u64_at(content, end64.checked_add(32)?)?;
        size = u64_at(content, end64.checked_add(40)?)?;
        offset = u64_at(content, end64.checked_add(48)?)?;
        end = end64;
    }
    let (size, offset) = (length(size), length(offset));
    let mut found = Vec::new();
    let starts = [end.checked_sub(size), Some(offset)];
    for start in starts.into_iter().flatten() {
        let holds = has(content, start, CENTRAL) && start < end || count == 0 && size == 0;
        let directory = Directory {
            entries: start.min(end)..end,
            record: end..record_end,
            base: start.saturating_sub(offset),
        };
        if holds && found.iter().all(|known: &Directory| known.entries != directory.entries) {
            found.push(directory);
        }
        if count == 0 && size == 0 {
            break;
        }
    }
    Some(found)
}

fn zip64_end(content: &[u8], end: usize) -> Option<usize> {
    let locator = end.checked_sub(20).filter(|&at| has(content, at, LOCATOR64))?;
    let declared = length(u64_at(content, locator.checked_add(8)?)?);
    let usual = locator.checked_sub(56);
    [usual, Some(declared)]
        .into_iter()
        .flatten()
        .find(|&at| at < locator && has(content, at, END64))
}

/// The central entry at `at`.
pub(super) fn central(content: &[u8], at: usize) -> Option<Header<'_>> {
    let head = content.get(at..)?.get(..46).filter(|head| head.starts_with(CENTRAL))?;
    let name_start = at.checked_add(46)?;
    let name_end = name_start.checked_add(len16_at(head, 28)?)?;
    let extra_end = name_end.checked_add(len16_at(head, 30)?)?;
    let end = extra_end.checked_add(len16_at(head, 32)?)?;
    let name = content.get(name_start..name_end)?;
    let extra = content.get(name_end..extra_end.min(content.len())).unwrap_or_default();
    let (size, packed) = (u32_at(head, 24)?, u32_at(head, 20)?);
    let local = u32_at(head, 42)?;
    let [size, packed, local] = zip64_values(extra, [size, packed, local]);
    let storage = Storage {
        flags: u16_at(head, 8)?,
        method: u16_at(head, 10)?,
        crc: u32_at(head, 16)?,
        packed,
        size,
        time: u16_at(head, 12)?,
        aes: aes(extra),
    };
    Some(Header { storage, name, unicode_name: unicode_name(extra), local, end })
}

/// The local entry at `at`.
pub(super) fn local(content: &[u8], at: usize) -> Option<Header<'_>> {
    let head = content.get(at..)?.get(..30).filter(|head| head.starts_with(LOCAL))?;
    let name_start = at.checked_add(30)?;
    let name_end = name_start.checked_add(len16_at(head, 26)?)?;
    let end = name_end.checked_add(len16_at(head, 28)?)?;
    let name = content.get(name_start..name_end)?;
    let extra = content.get(name_end..end.min(content.len())).unwrap_or_default();
    let [size, packed, _] = zip64_values(extra, [u32_at(head, 22)?, u32_at(head, 18)?, 0]);
    let storage = Storage {
        flags: u16_at(head, 6)?,
        method: u16_at(head, 8)?,
        crc: u32_at(head, 14)?,
        packed,
        size,
        time: u16_at(head, 10)?,
        aes: aes(extra),
    };
    Some(Header { storage, name, unicode_name: unicode_name(extra), local: at as u64, end })
}

/// Whether a local header that no directory lists looks like one, and not like chance octets.
pub(super) fn is_plausible(header: &Header<'_>) -> bool {
    let known = matches!(header.storage.method, 0..=20 | 93..=99);
    known && !header.name.is_empty() && header.name.iter().all(|&octet| octet >= 0x20)
}

/// Whether `signature` is at `at`.
pub(super) fn has(content: &[u8], at: usize, signature: &[u8]) -> bool {
    content.get(at..).is_some_and(|rest| rest.starts_with(signature))
}

/// Replaces each value that says so by the next one of the zip64 extra field (APPNOTE 4.5.3).
fn zip64_values(extra: &[u8], values: [u32; 3]) -> [u64; 3] {
    let field = extra_field(extra, 0x0001).unwrap_or_default();
    let mut at = 0_usize;
    values.map(|value| {
        if value != IN_ZIP64 {
            return u64::from(value);
        }
        let wide = u64_at(field, at).unwrap_or_else(|| u64::from(value));
        at = at.saturating_add(8);
        wide
    })
}

fn aes(extra: &[u8]) -> Option<Aes> {
    let field = extra_field(extra, 0x9901)?;
    Some(Aes { strength: *field.get(4)?, method: u16_at(field, 5)? })
}

fn unicode_name(extra: &[u8]) -> Option<&str> {
    let field = extra_field(extra, 0x7075)?;
    std::str::from_utf8(field.get(5..)?).ok().filter(|name| !name.is_empty())
}

fn extra_field(mut extra: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (id, size) = (u16_at(extra, 0)?, len16_at(extra, 2)?);
        let rest = extra.get(4..)?;
        let data = rest.get(..size.min(rest.len()))?;
        if id == wanted {
            return Some(data);
        }
        extra = rest.get(size..)?;
    }
}
