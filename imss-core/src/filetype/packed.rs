//! Streams whose header is no magic number: lzma (the lzma-file-format of XZ Utils) and zlib (RFC 1950).
//!
//! In: octets. Out: an id of `types.txt`, or `None`. Any number may look like such a header, so its
//! fields must be plausible and what follows must decode: some hundred octets of lzma, the first 64 KiB
//! of zlib. Hardly any other content comes as far as a decoder.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::{Decompress, FlushDecompress, Status};

use super::container::WINDOW;
use crate::archive::le::{u32_at, u64_at};

/// Octets of an lzma header.
const LZMA_HEADER: usize = 13;
/// Octets of input that are looked at, and of output that show that lzma decodes.
const LZMA_PROBE: usize = 256;
/// Sizes above are none (XZ Utils take it so too): 256 GiB.
const MAX_SIZE: u64 = 1 << 38;
/// A dictionary that is large enough for the probe.
const DICTIONARY: u32 = 4 << 10;
/// Octets that zlib must give without an error, unless it ends before.
const ZLIB_PROBE: usize = 32 << 10;
/// Octets of a zlib stream that is cut: fewer may decode by chance.
const CUT: u64 = 32;

/// The id of `content` as a stream without a magic number.
pub(super) fn detect(content: &[u8]) -> Option<&'static str> {
    if is_lzma(content) {
        return Some("lzma");
    }
    is_zlib(content).then_some("zlib")
}

/// An lzma header before octets that decode.
fn is_lzma(content: &[u8]) -> bool {
    is_lzma_header(content).unwrap_or(false) && decodes_as_lzma(content).unwrap_or(false)
}

/// Properties (`(pb * 5 + lp) * 9 + lc`), dictionary, size; then the coder's first octet, which is
/// zero, and its first number, which is not for any file that it makes smaller.
fn is_lzma_header(content: &[u8]) -> Option<bool> {
    let (&properties, dictionary) = (content.first()?, u32_at(content, 1)?);
    let size = u64_at(content, 5)?;
    let coder = content.get(LZMA_HEADER..)?.get(..5)?;
    let probe = content.get(LZMA_HEADER..).unwrap_or_default();
    let probe = probe.get(..LZMA_PROBE.min(probe.len()))?;
    let zeros = probe.iter().filter(|&&octet| octet == 0).count();
    let (lc, lp) = (properties % 9, properties / 9 % 5);
    Some(
        properties < 225
            && lc.saturating_add(lp) <= 4
            && is_dictionary(dictionary)
            && (size == u64::MAX || (1..MAX_SIZE).contains(&size))
            && coder.first() == Some(&0)
            && coder.iter().any(|&octet| octet != 0)
            // What a coder writes is as even as noise.
            && zeros.saturating_mul(3) <= probe.len().saturating_add(9),
    )
}

/// 2^n or 2^n + 2^(n-1), from 4 KiB on, as every writer has it, or the largest number.
fn is_dictionary(size: u32) -> bool {
    size == u32::MAX
        || size >= DICTIONARY
            && (size.is_power_of_two() || size.is_multiple_of(3) && (size / 3).is_power_of_two())
}

fn decodes_as_lzma(content: &[u8]) -> Option<bool> {
    let (&properties, size) = (content.first()?, u64_at(content, 5)?);
    let packed = content.get(LZMA_HEADER..)?;
    let read = catch_unwind(AssertUnwindSafe(|| {
        let open = lzma_rust2::LzmaReader::new_with_props;
        let mut reader = open(packed, size, properties, DICTIONARY, None).ok()?;
        let mut room = [0; LZMA_PROBE];
        let mut filled = 0_usize;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest).ok()? {
                0 => break,
                read => filled = filled.saturating_add(read),
            }
        }
        Some(filled)
    }));
    Some(read.ok()?? > 0)
}

/// A zlib header without a dictionary, before octets that decode. Nearly every writer has a window of
/// 32 KiB and one of four levels; another header only counts with a whole stream and its checksum.
fn is_zlib(content: &[u8]) -> bool {
    let &[method, flags, ..] = content else { return false };
    let is_checked = u16::from_be_bytes([method, flags]).is_multiple_of(31);
    if method & 0x8f != 8 || flags & 0x20 != 0 || !is_checked {
        return false;
    }
    let head = content.get(..WINDOW.min(content.len())).unwrap_or_default();
    let mut room = vec![0; ZLIB_PROBE];
    let mut decoder = Decompress::new(true);
    match decoder.decompress(head, &mut room, FlushDecompress::None) {
        Ok(Status::StreamEnd) => true,
        Ok(_) if method != 0x78 => false,
        Ok(_) if decoder.total_out() == ZLIB_PROBE as u64 => true,
        // The whole input was read, and more is missing.
        Ok(_) => decoder.total_out() >= CUT && decoder.total_in() == head.len() as u64,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::filetype;

    /// "lzma lzma lzma and more of it, all lower case letters\n", as xz packs it: without the header, and
    /// with other properties.
    const PLAIN: &[u8] = b"\x006\x1e\x89\xdd}M\x87\xee\x03\xb6\x1f\x9c\xb3\x0a\x1a\x22\x09\xe7\xfdD\xc8{+\xe3Do\xe5!\x8d\x1f\x81\xba&\xee%UW<\xfdY\x7f\x7f\xdb>a\x00\xf0%b\xff\x9a3 \x00";
    const OTHER: &[u8] = b"?\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x006\x1e\x8a\x13s\xaa\x8d\xcc\xa7\x1eFU\x8e\xbe\xbb\x04\x7fta\xabn\xdd\x1d-\xa3/\x17\x8bQ\xe43\xc7``\xbd\xa2g6\x09\x01{\x87\xc5\xa0\x8bR\xe4\xd72v\xff\xd8y\xf0\x00";

    fn lzma(dictionary: u32, size: u64) -> Vec<u8> {
        [&[0x5d], &dictionary.to_le_bytes()[..], &size.to_le_bytes(), PLAIN].concat()
    }

    fn zlib(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn noise() -> impl Iterator<Item = u8> {
        let mut state = 1_u64;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Some(state.to_be_bytes()[0])
        })
    }

    #[test]
    fn streams_are_told_by_what_they_decode_to() {
        const UNKNOWN: u64 = u64::MAX;
        let text = b"zlib zlib zlib and more of it\n".repeat(9);
        let noise: Vec<u8> = noise().take(90_000).collect();
        let cut = zlib(&noise, 6)[..70_000].to_vec();
        let small = [b"H\x89", &zlib(&text, 6)[2..]].concat();
        let mut wrong = zlib(&text, 6);
        wrong[9] ^= 0x55;
        let cases = [
            ("lzma, 64 MiB", lzma(64 << 20, UNKNOWN), "lzma"),
            ("lzma, 24 MiB", lzma(24 << 20, UNKNOWN), "lzma"),
            ("lzma, 4 KiB", lzma(4 << 10, UNKNOWN), "lzma"),
            ("lzma, 12 KiB", lzma(12 << 10, UNKNOWN), "lzma"),
            ("lzma, the largest dictionary", lzma(u32::MAX, UNKNOWN), "lzma"),
            ("lzma of a known size", lzma(4 << 10, 54), "lzma"),
            ("lzma with other properties", OTHER.to_vec(), "lzma"),
            ("lzma with a dictionary that nobody writes", lzma(0x0001_2345, 54), "bin"),
            ("lzma of a terabyte", lzma(4 << 10, 1 << 40), "bin"),
            ("zeros behind an lzma header", [&lzma(4 << 10, 99)[..13], &[0; 99]].concat(), "bin"),
            ("zlib, stored", zlib(&text, 0), "zlib"),
            ("zlib, fast", zlib(&text, 1), "zlib"),
            ("zlib", zlib(&text, 6), "zlib"),
            ("zlib, best", zlib(&text, 9), "zlib"),
            ("zlib with a small window", small, "zlib"),
            ("zlib that is cut", cut, "zlib"),
            ("zlib with an error", wrong, "bin"),
            ("a sum", b"x^2 + y^2 = z^2\n".to_vec(), "txt"),
        ];
        for (name, content, expected) in cases {
            assert_eq!(filetype::detect(&content).extension, expected, "{name}");
        }
    }

    #[test]
    fn noise_is_no_stream() {
        let mut noise = noise();
        let heads: [&[u8]; 4] = [b"", b"\x5d\0\x10", b"\0\0\0", b"x\x9c"];
        for head in heads.iter().cycle().take(8_000) {
            let content: Vec<u8> = head.iter().copied().chain(noise.by_ref().take(200)).collect();
            assert_eq!(detect(&content), None, "{content:02x?}");
        }
    }
}
