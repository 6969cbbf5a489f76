//! Decompresses VBA containers (MS-OVBA §2.4.1).
//!
//! In: a stream from its signature octet on. Out: what it holds. A chunk that is broken ends the
//! output and is said; nothing is allocated from claimed sizes.

use crate::archive::le::u16_at;
use crate::limits::{Budget, Limit};

/// What every compressed module starts with, behind the signature octet and the chunk's header: a
/// flag octet for eight literals, then those.
pub(super) const MODULE_START: &[u8] = b"\0Attribut\0e VB_Nam";
/// Octets before [`MODULE_START`].
pub(super) const MODULE_HEADER: usize = 3;
const CHUNK: usize = 4096;

/// What a container held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The output.
    pub(super) octets: Vec<u8>,
    /// Whether something could not be read.
    pub(super) broken: bool,
}

/// Decompresses the container that starts `input`. The output is charged.
///
/// # Errors
///
/// The bound that was reached.
pub(super) fn decompress(input: &[u8], budget: &mut Budget<'_>) -> Result<Expanded, Limit> {
    let mut octets = Vec::new();
    let Some((1, mut rest)) = input.split_first().map(|(first, rest)| (*first, rest)) else {
        return Ok(Expanded { octets, broken: true });
    };
    while let Some(header) = u16_at(rest, 0) {
        let size = usize::from(header & 0xfff).saturating_add(3);
        if header >> 12 & 7 != 3 {
            // Old writers pad the stream.
            let broken = rest.iter().any(|octet| *octet != 0);
            return Ok(Expanded { octets, broken });
        }
        let chunk = rest.get(2..size.min(rest.len())).unwrap_or_default();
        let before = octets.len();
        let whole = if header >> 15 == 0 {
            octets.extend_from_slice(chunk.get(..CHUNK.min(chunk.len())).unwrap_or_default());
            true
        } else {
            expand(chunk, &mut octets)
        };
        let added = octets.len().saturating_sub(before) as u64;
        budget.charge_bytes(added)?;
        budget.charge_work(added)?;
        budget.check_ratio(input.len() as u64, octets.len() as u64)?;
        if !whole || size > rest.len() {
            return Ok(Expanded { octets, broken: true });
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(Expanded { broken: !rest.is_empty(), octets })
}

/// Adds one chunk's tokens to `octets`; whether all of them could be read.
fn expand(chunk: &[u8], octets: &mut Vec<u8>) -> bool {
    let start = octets.len();
    let mut at = 0_usize;
    while let Some(flags) = chunk.get(at).copied() {
        at = at.saturating_add(1);
        for bit in 0..8 {
            let written = octets.len().saturating_sub(start);
            let Some(octet) = chunk.get(at).copied() else { return true };
            if written >= CHUNK {
                return false;
            }
            if flags >> bit & 1 == 0 {
                octets.push(octet);
                at = at.saturating_add(1);
                continue;
            }
            let Some(token) = u16_at(chunk, at) else { return false };
            at = at.saturating_add(2);
            let offset_bits = usize::BITS.saturating_sub(written.saturating_sub(1).leading_zeros());
            let length_bits = 16_u32.saturating_sub(offset_bits.max(4));
            let mask = (1_u16 << length_bits.min(12)).wrapping_sub(1);
            let length = usize::from(token & mask).saturating_add(3);
            let distance = usize::from(token >> length_bits).saturating_add(1);
            if distance > written {
                return false;
            }
            for _ in 0..length.min(CHUNK.saturating_sub(written)) {
                let from = octets.len().saturating_sub(distance);
                octets.push(octets.get(from).copied().unwrap_or_default());
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn text(input: &[u8]) -> (String, bool) {
        let limits = Limits::small();
        let found = decompress(input, &mut Budget::new(&limits)).unwrap();
        (String::from_utf8(found.octets).unwrap(), found.broken)
    }

    #[test]
    fn examples_of_the_specification() {
        // MS-OVBA §3.2.1 to §3.2.3.
        let none = b"\x01\x19\xb0\0abcdefgh\0ijklmnop\0qrstuv.";
        assert_eq!(text(none), ("abcdefghijklmnopqrstuv.".to_owned(), false));
        let normal =
            b"\x01\x2f\xb0\0#aaabcde\x82f\0paghij\x018\x08akl\x000mnop\x06q\x02p\x04\x10rstuv\
            \x10wxyz\0<";
        let expected = "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa";
        assert_eq!(text(normal), (expected.to_owned(), false));
        let maximal = b"\x01\x03\xb0\x02a\x45\0";
        assert_eq!(text(maximal), ("a".repeat(73), false));
    }

    #[test]
    fn defects_leave_what_was_read() {
        let cases: [(&str, &[u8], &str, bool); 7] = [
            ("no signature", b"\x02\x19\xb0", "", true),
            ("nothing", b"", "", true),
            ("only the signature", b"\x01", "", false),
            ("a chunk that is cut", b"\x01\x19\xb0\0abcd", "abcd", true),
            ("a chunk without its signature", b"\x01\x04\xb0\0abcd\x19\0x", "abcd", true),
            ("padding is none", b"\x01\x04\xb0\0abcd\0\0\0\0", "abcd", false),
            ("a token before the start", b"\x01\x05\xb0\x02a\xff\xffzz", "a", true),
        ];
        for (name, input, expected, broken) in cases {
            assert_eq!(text(input), (expected.to_owned(), broken), "{name}");
        }
    }
}
