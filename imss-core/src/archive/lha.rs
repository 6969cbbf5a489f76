//! LHA archives (LZH): levels 0 to 3, also in a program that unpacks itself.
//!
//! In: octets with a header at the start, or anywhere in a program. Out: a member for each file, with
//! its name as octets of the writer's charset (Shift_JIS, as a rule) or from the UTF-16 header; for a
//! symbolic link a member without content, its target behind its name. Checksums are not judged.

use std::io::{Error, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use delharc::LhaHeader;
use delharc::decode::{Decoder, DecoderAny};

use super::drain::{Drained, drain};
use super::le::length;
use super::names::{add, spellings};
use super::sfx::{self, Start};
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::recycle;

/// Octets decoded at once. What a cut archive held in the last of them is lost.
const PIECE: usize = 4 << 10;

/// The LHA format.
pub(super) struct Lha;

impl Unpacker for Lha {
    fn name(&self) -> &'static str {
        "lha"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        start(content).is_some()
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let Some(mut at) = Start::place(start(content), budget) else { return Ok(()) };
        let mut chunk = Vec::new();
        loop {
            budget.check_stop()?;
            let rest = content.get(at..).unwrap_or_default();
            let (header, data) = match header(rest) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(error) => return Err(refused(error, at)),
            };
            at = at.saturating_add(data);
            let end = at.saturating_add(length(header.compressed_size)).min(content.len());
            let packed = content.get(at..end).unwrap_or_default();
            let is_cut = (packed.len() as u64) < header.compressed_size;
            if let Some(member) = member(&header, packed, is_cut, budget, &mut chunk)? {
                let limit = member.missing.as_ref().and_then(Missing::final_limit);
                out(Unpacked::Member(member));
                if let Some(limit) = limit {
                    return Err(limit.into());
                }
            }
            if is_cut {
                return Err(UnpackError::Malformed { offset: at as u64, detail: "ends early" });
            }
            at = end;
        }
    }
}

fn refused(error: GapReason, at: usize) -> UnpackError {
    match error {
        GapReason::Crash => UnpackError::Crashed,
        _ => UnpackError::Malformed { offset: at as u64, detail: "header" },
    }
}

/// Where the first header is.
fn start(content: &[u8]) -> Option<Start> {
    if is_header(content) {
        return Some(Start::At(0));
    }
    sfx::search(
        content,
        (b"-l", 2),
        is_header,
        |rest| matches!(header(rest), Ok(Some((header, _))) if fits(&header, rest)),
    )
}

fn fits(header: &LhaHeader, rest: &[u8]) -> bool {
    header.compressed_size <= rest.len() as u64
}

/// Whether `content` starts as a header does: a method between minus signs, and a known level.
fn is_header(content: &[u8]) -> bool {
    let method = matches!(
        content.get(2..7),
        Some([b'-', b'l', b'h' | b'z', _, b'-'] | [b'-', b'p', b'm', _, b'-'])
    );
    method && content.get(20).is_some_and(|&level| level <= 3)
}

/// The header at the start of `content`, and its size; `None` at the end of the archive.
fn header(content: &[u8]) -> Result<Option<(LhaHeader, usize)>, GapReason> {
    // Archivers end with a zero; what follows a header that is none is padding.
    if content.first().is_none_or(|&octet| octet == 0) && !is_header(content) {
        return Ok(None);
    }
    let mut rest = content;
    let read = catch_unwind(AssertUnwindSafe(|| LhaHeader::read(&mut rest)));
    let size = content.len().saturating_sub(rest.len());
    match read {
        Ok(Ok(header)) => Ok(header.map(|header| (header, size))),
        Ok(Err(_)) => Err(GapReason::Malformed),
        Err(_) => Err(GapReason::Crash),
    }
}

fn member(
    header: &LhaHeader,
    packed: &[u8],
    is_cut: bool,
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Result<Option<Member>, UnpackError> {
    let (names, target) = names(header);
    let claimed_size = header.original_size;
    if header.is_directory() {
        let Some(target) = target else { return Ok(None) };
        budget.charge_entity()?;
        let names = names.into_iter().chain(target).collect();
        return Ok(Some(Member { names, claimed_size: 0, content: Bytes::new(), missing: None }));
    }
    budget.charge_entity()?;
    let open = || File::open(header, packed);
    let Drained { bytes, mut missing } = drain(open, packed.len() as u64, budget, chunk);
    if is_cut && missing.is_none() {
        missing = Some(Missing::new(GapReason::Malformed, "ends early"));
    }
    Ok(Some(Member { names, claimed_size, content: recycle::bytes(bytes), missing }))
}

/// Decodes one file.
struct File<'a> {
    decoder: DecoderAny<&'a [u8]>,
    left: u64,
}

impl<'a> File<'a> {
    fn open(header: &LhaHeader, packed: &'a [u8]) -> std::io::Result<Self> {
        let unsupported = || {
            let method = String::from_utf8_lossy(&header.compression).into_owned();
            Error::new(ErrorKind::Unsupported, format!("method {method}"))
        };
        let method = header.compression_method().map_err(|_| unsupported())?;
        let decoder = DecoderAny::new_from_compression(method, packed);
        if !decoder.is_supported() {
            return Err(unsupported());
        }
        Ok(Self { decoder, left: header.original_size })
    }
}

impl Read for File<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let count = room.len().min(PIECE).min(length(self.left));
        let room = room.get_mut(..count).unwrap_or_default();
        if !room.is_empty() {
            self.decoder.fill_buffer(room).map_err(Error::from)?;
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Every spelling of the name, and the target of a symbolic link (`NAME|TARGET`).
fn names(header: &LhaHeader) -> (Vec<String>, Option<Vec<String>>) {
    let mut own = header.filename.to_vec();
    let mut folder = Vec::new();
    let (mut wide, mut wide_folder) = (None, String::new());
    for extra in header.iter_extra() {
        match extra {
            [0x01, name @ ..] => own = name.to_vec(),
            [0x02, path @ ..] => folder = path.to_vec(),
            [0x44, name @ ..] => wide = Some(utf16(name)),
            [0x45, path @ ..] => wide_folder = utf16(path),
            _ => {}
        }
    }
    if let Some(end) = own.iter().position(|&octet| octet == 0) {
        own.truncate(end);
    }
    let raw: Vec<u8> = folder.into_iter().chain(own).collect();
    let raw: Vec<u8> = raw.iter().map(|&octet| if octet == 0xff { b'/' } else { octet }).collect();
    let mut parts = raw.splitn(2, |&octet| octet == b'|');
    let mut names: Vec<String> = wide.map(|name| wide_folder + &name).into_iter().collect();
    add(&mut names, spellings(parts.next().unwrap_or_default(), false));
    names.retain(|name| !name.is_empty());
    let target = parts.next().map(|target| spellings(target, false));
    (names, target)
}

/// A name of the UTF-16 headers; U+FFFF separates folders.
fn utf16(octets: &[u8]) -> String {
    let units = octets.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    let units: Vec<u16> = units.map(|unit| if unit == u16::MAX { 0x2f } else { unit }).collect();
    String::from_utf16_lossy(&units)
}
