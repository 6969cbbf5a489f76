//! Streams that wrap one content: bzip2, xz, lzma, lzip, zlib, zstd, lz4, snappy, brotli,
//! compress (`.Z`).
//!
//! In: octets with the format's magic number; brotli has none and is told by its name. Out: one
//! member without a name: what the concatenated streams expand to. Dictionaries over 64 to 80 MiB are
//! refused: memory must not follow a claim.

use std::io::{Error, ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::ZlibDecoder;

use super::drain::{Drained, Pace, drain, drain_at};
use super::le::{length, u32_at};
use super::lzw::{Lzw, Variant};
use super::snappy::{self, Snappy};
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::{FileType, TypeGroup};
use crate::limits::Budget;
use crate::recycle;

/// Largest dictionary, in KiB, and as a power of two in octets.
const MAX_DICTIONARY_KIB: u32 = 80 << 10;
const MAX_WINDOW_LOG: u32 = 26;

/// A format of one compressed stream.
pub(super) enum Stream {
    Bzip2,
    Xz,
    Lzma,
    Lzip,
    Zlib,
    Zstd,
    Lz4,
    Snappy,
    Brotli,
    Compress,
}

impl Unpacker for Stream {
    fn name(&self) -> &'static str {
        match self {
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lzip => "lzip",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Brotli => "brotli",
            Self::Compress => "compress",
        }
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        match self {
            Self::Bzip2 => {
                content.starts_with(b"BZh") && content.get(4..10) == Some(b"1AY&SY".as_slice())
            }
            Self::Xz => content.starts_with(b"\xfd7zXZ\0"),
            Self::Lzma => detected.media_type == "application/x-lzma",
            Self::Lzip => content.starts_with(b"LZIP\x01"),
            Self::Zlib => detected.media_type == "application/zlib",
            Self::Zstd => content.starts_with(b"\x28\xb5\x2f\xfd"),
            Self::Lz4 => LZ4.iter().any(|magic| content.starts_with(magic)),
            Self::Snappy => content.starts_with(snappy::MAGIC),
            Self::Brotli => detected.group == TypeGroup::Other && !content.is_empty(),
            Self::Compress => content.starts_with(b"\x1f\x9d"),
        }
    }

    fn fits_names(&self, names: &[String]) -> bool {
        let is_brotli = |name: &String| name.to_ascii_lowercase().ends_with(".br");
        !matches!(self, Self::Brotli) || names.iter().any(is_brotli)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        budget.charge_entity()?;
        let size = content.len() as u64;
        let room = &mut Vec::new();
        let drained = match self {
            Self::Bzip2 => {
                let open = || Ok(bzip2::read::MultiBzDecoder::new(&**content));
                drain_at(Pace::Sorts, open, size, budget, room)
            }
            Self::Xz => drain_at(Pace::Bits, || Ok(xz(content)), size, budget, room),
            Self::Lzma => drain_at(Pace::Bits, || lzma(content), size, budget, room),
            Self::Lzip => drain_at(Pace::Bits, || lzip(content), size, budget, room),
            Self::Zlib => drain(|| Ok(ZlibDecoder::new(&**content)), size, budget, room),
            Self::Zstd => drain(|| zstd(content), size, budget, room),
            Self::Lz4 => drain(|| Ok(Lz4::new(content)), size, budget, room),
            Self::Snappy => drain(|| Ok(Snappy::new(content)), size, budget, room),
            Self::Brotli => drain(|| Ok(brotli(content)), size, budget, room),
            Self::Compress => drain(|| compress(content), size, budget, room),
        };
        hand_over(Vec::new(), drained, out)
    }
}

/// Hands over the one content of a stream.
pub(super) fn hand_over(
    names: Vec<String>,
    drained: Drained,
    out: &mut dyn FnMut(Unpacked),
) -> Result<(), UnpackError> {
    let Drained { bytes, missing } = drained;
    let limit = missing.as_ref().and_then(Missing::final_limit);
    let claimed_size = bytes.len() as u64;
    out(Unpacked::Member(Member { names, claimed_size, content: recycle::bytes(bytes), missing }));
    limit.map_or(Ok(()), |limit| Err(limit.into()))
}

/// Decodes concatenated xz streams.
pub(super) fn xz(packed: &[u8]) -> impl Read {
    lzma_rust2::XzReader::new_mem_limit(packed, true, MAX_DICTIONARY_KIB)
}

/// Decodes concatenated zstd frames.
pub(super) fn zstd(packed: &[u8]) -> std::io::Result<impl Read> {
    let mut decoder = ::zstd::Decoder::with_buffer(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// Decodes one LZMA stream.
pub(super) fn lzma(packed: &[u8]) -> std::io::Result<impl Read> {
    lzma_rust2::LzmaReader::new_mem_limit(packed, MAX_DICTIONARY_KIB, None)
}

/// Decodes concatenated lzip members, all of which name their dictionary (its manual, "File format").
fn lzip(packed: &[u8]) -> std::io::Result<impl Read> {
    for at in memchr::memmem::find_iter(packed, b"LZIP\x01") {
        let octet = at.checked_add(5).and_then(|at| packed.get(at)).copied().unwrap_or(0);
        let base = 1_u64.checked_shl(u32::from(octet & 0x1f)).unwrap_or(u64::MAX);
        let cut = (base / 16).saturating_mul(u64::from(octet >> 5));
        if base.saturating_sub(cut) > u64::from(MAX_DICTIONARY_KIB) << 10 {
            return Err(Error::new(ErrorKind::Unsupported, "dictionary over 80 MiB"));
        }
    }
    Ok(lzma_rust2::LzipReader::new(packed))
}

fn brotli(packed: &[u8]) -> impl Read {
    brotli_decompressor::Decompressor::new(packed, 4 << 10)
}

/// Decodes what compress(1) writes: after the magic number an octet with the longest code's bits.
fn compress(packed: &[u8]) -> std::io::Result<impl Read> {
    let flags = packed.get(2).copied().unwrap_or(0);
    let max_bits = u32::from(flags & 0x1f);
    if !(9..=16).contains(&max_bits) {
        return Err(Error::new(ErrorKind::InvalidData, "length of codes"));
    }
    let variant = Variant { max_bits, clears: flags & 0x80 != 0, groups: true, end: None };
    Ok(Lzw::new(packed.get(3..).unwrap_or_default(), variant))
}

/// The magic numbers of frames, and of the legacy format.
const LZ4: [&[u8]; 2] = [b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"];

/// Decodes concatenated LZ4 frames, and skips those that hold none (LZ4 frame format).
struct Lz4<'a> {
    rest: &'a [u8],
    frame: Option<lz4_flex::frame::FrameDecoder<&'a [u8]>>,
}

impl<'a> Lz4<'a> {
    fn new(packed: &'a [u8]) -> Self {
        Self { rest: packed, frame: None }
    }

    fn skipped(rest: &'a [u8]) -> Option<&'a [u8]> {
        let magic = u32_at(rest, 0)?;
        (magic & 0xffff_fff0 == 0x184d_2a50).then_some(())?;
        rest.get(8_usize.checked_add(length(u32_at(rest, 4)?.into()))?..)
    }
}

impl Read for Lz4<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(room)?;
                if read > 0 {
                    return Ok(read);
                }
                self.rest = frame.get_ref();
                self.frame = None;
            }
            if let Some(rest) = Self::skipped(self.rest) {
                self.rest = rest;
            } else if LZ4.iter().any(|magic| self.rest.starts_with(magic)) {
                self.frame = Some(lz4_flex::frame::FrameDecoder::new(self.rest));
            } else {
                return Ok(0);
            }
        }
    }
}
