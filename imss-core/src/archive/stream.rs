//! Streams that wrap one content: bzip2, xz, lzma, zstd.
//!
//! In: octets with the format's magic number. Out: one member without a name: what the concatenated
//! streams expand to. Dictionaries over 64 MiB are refused: memory must not follow a claim.

use std::io::Read;

use bytes::Bytes;

use super::drain::{Drained, drain};
use super::{Member, Missing, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::limits::Budget;

/// Largest dictionary, in KiB, and as a power of two in octets.
const MAX_DICTIONARY_KIB: u32 = 80 << 10;
const MAX_WINDOW_LOG: u32 = 26;

/// A format of one compressed stream.
pub(super) enum Stream {
    Bzip2,
    Xz,
    Lzma,
    Zstd,
}

impl Unpacker for Stream {
    fn name(&self) -> &'static str {
        match self {
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Zstd => "zstd",
        }
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        match self {
            Self::Bzip2 => {
                content.starts_with(b"BZh") && content.get(4..10) == Some(b"1AY&SY".as_slice())
            }
            Self::Xz => content.starts_with(b"\xfd7zXZ\0"),
            Self::Lzma => detected.media_type == "application/x-lzma",
            Self::Zstd => content.starts_with(b"\x28\xb5\x2f\xfd"),
        }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn unpack(
        &self,
        content: &Bytes,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        budget.charge_entity()?;
        let size = content.len() as u64;
        let room = &mut Vec::new();
        let drained = match self {
            Self::Bzip2 => {
                drain(|| Ok(bzip2::read::MultiBzDecoder::new(&**content)), size, budget, room)
            }
            Self::Xz => drain(|| Ok(xz(content)), size, budget, room),
            Self::Lzma => drain(|| lzma(content), size, budget, room),
            Self::Zstd => drain(|| zstd(content), size, budget, room),
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
    out(Unpacked::Member(Member { names, claimed_size, content: bytes.into(), missing }));
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

fn lzma(packed: &[u8]) -> std::io::Result<impl Read> {
    lzma_rust2::LzmaReader::new_mem_limit(packed, MAX_DICTIONARY_KIB, None)
}
