//! LZX chunks (MS-PATCH, "LZX DELTA compression format"; MS-CAB), with the translation of calls.
//!
//! In: the chunks of one stream, in order. Out: what each expands to, or an error; the decoder may panic,
//! and whoever reads the stream catches that.
//!
//! Programs are packed with the targets of their calls made absolute. The decoder of the crate undoes
//! that wrongly for a target of zero, so it is given the stream as if that had not been done: without
//! the first bit, which says so, and the 32 bits after it, the size that targets are counted in.

use std::io::{Error, ErrorKind};

use lzxd::{Lzxd, WindowSize};

/// The opcode of a call, before four octets of its target.
const CALL: u8 = 0xe8;
/// Octets at the end of a chunk that are never translated.
const END: usize = 10;
/// Octets of a stream after which nothing is translated.
const TRANSLATED: u64 = 1 << 30;

/// Decodes the chunks of one stream.
pub(super) struct Lzx {
    decoder: Lzxd,
    /// What targets are counted in, if there are any.
    translation: Option<i32>,
    is_first: bool,
    /// Octets that came out.
    position: u64,
}

impl Lzx {
    pub(super) fn new(window: WindowSize) -> Self {
        Self { decoder: Lzxd::new(window), translation: None, is_first: true, position: 0 }
    }

    /// Decodes the next chunk to `size` octets, which replace those in `room`.
    pub(super) fn chunk(
        &mut self,
        chunk: &[u8],
        size: usize,
        room: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let mut start = Vec::new();
        if std::mem::take(&mut self.is_first)
            && let Some((translation, plain)) = without_translation(chunk)
        {
            (self.translation, start) = (Some(translation), plain);
        }
        let chunk = if start.is_empty() { chunk } else { &start };
        let output = self.decoder.decompress_next(chunk, size).map_err(broken)?;
        room.clear();
        room.extend_from_slice(output);
        if let Some(translation) = self.translation.filter(|_| self.position < TRANSLATED) {
            translate(room, self.position, translation);
        }
        self.position = self.position.saturating_add(size as u64);
        Ok(())
    }
}

fn broken(error: lzxd::DecompressError) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

/// The size of the translation, if there is one, and the first chunk without that. Bits are
/// counted from the highest of words of two octets, the lower first.
fn without_translation(chunk: &[u8]) -> Option<(i32, Vec<u8>)> {
    let word = |at: usize| crate::archive::le::u16_at(chunk, at).map(u64::from);
    let bits = word(0)? << 32 | word(2)? << 16 | word(4)?;
    if bits >> 47 == 0 {
        return None;
    }
    let size = u32::try_from(bits >> 15 & 0xffff_ffff).ok()?;
    let mut plain = chunk.get(4..)?.to_vec();
    *plain.get_mut(1)? &= 0x7f;
    Some((size.cast_signed(), plain))
}

/// Makes the targets of calls relative again. `position`: octets of the stream before `chunk`.
fn translate(chunk: &mut [u8], position: u64, size: i32) {
    let last = chunk.len().saturating_sub(END);
    let mut at = 0_usize;
    while let Some(found) = chunk.get(at..last).and_then(|rest| memchr::memchr(CALL, rest)) {
        at = at.saturating_add(found);
        let Ok(here) = i32::try_from(position.saturating_add(at as u64)) else { return };
        let target = at.saturating_add(1)..at.saturating_add(5);
        let Some(octets) = chunk.get_mut(target) else { return };
        let absolute = <[u8; 4]>::try_from(&*octets).map_or(0, i32::from_le_bytes);
        if absolute >= here.saturating_neg() && absolute < size {
            let relative = if absolute >= 0 {
                absolute.wrapping_sub(here)
            } else {
                absolute.wrapping_add(size)
            };
            octets.copy_from_slice(&relative.to_le_bytes());
        }
        at = at.saturating_add(5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_translated() {
        let cases: [(&str, u64, [u8; 4], [u8; 4]); 6] = [
            ("a target of zero at the start", 0, [0; 4], [0; 4]),
            ("a target of zero", 16, [0; 4], [0xf0, 0xff, 0xff, 0xff]),
            ("another target", 16, [0x20, 0, 0, 0], [0x10, 0, 0, 0]),
            ("before the start", 16, [0xff, 0xff, 0xff, 0xff], [0xff, 0x0f, 0, 0]),
            ("far before the start", 16, [0xef, 0xff, 0xff, 0xff], [0xef, 0xff, 0xff, 0xff]),
            ("behind the end", 16, [0, 0x10, 0, 0], [0, 0x10, 0, 0]),
        ];
        for (name, position, packed, expected) in cases {
            let mut chunk = [&[CALL], &packed[..], &[0; END]].concat();
            translate(&mut chunk, position, 0x1000);
            assert_eq!(chunk[1..5], expected, "{name}");
        }
        let mut end = [[CALL; 1].as_slice(), &[0, 1, 0, 0], &[0; 5]].concat();
        let before = end.clone();
        translate(&mut end, 0, 0x1000);
        assert_eq!(end, before, "the end of a chunk stays");
    }

    #[test]
    fn the_size_is_cut_out() {
        let chunk = [0x5b, 0x80, 0x80, 0x8d, 0x00, 0x30, 0xe0, 0x01];
        let expected = (12_000_000, vec![0x00, 0x30, 0xe0, 0x01]);
        assert_eq!(without_translation(&chunk), Some(expected));
        assert_eq!(without_translation(&[0, 0, 0, 0, 0, 0]), None);
    }
}
