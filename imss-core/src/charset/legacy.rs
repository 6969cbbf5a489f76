//! Charsets that the Encoding Standard dropped and mail still has: UTF-7 (RFC 2152), HZ (RFC 1843),
//! UTF-16 without a mark (RFC 2781 §4.3), UTF-32.
//!
//! In: octets. Out: text; what means nothing becomes U+FFFD or stays as it is. All are linear.

use encoding_rs::{GBK, UTF_16BE, UTF_16LE};

use super::Decoded;
use super::guess;
use crate::message::transfer;

/// Decodes UTF-7.
pub(super) fn utf7(octets: &[u8]) -> Decoded {
    utf7_with(octets, b'+', "UTF-7")
}

/// Decodes the UTF-7 of IMAP mailbox names: `&` shifts, and `,` stands for `/`.
pub(super) fn imap_utf7(octets: &[u8]) -> Decoded {
    utf7_with(octets, b'&', "UTF-7-IMAP")
}

fn utf7_with(octets: &[u8], shift: u8, name: &'static str) -> Decoded {
    let mut text = String::with_capacity(octets.len());
    let mut malformed = false;
    let mut rest = octets;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != shift {
            malformed |= !byte.is_ascii();
            text.push(if byte.is_ascii() {
                char::from(*byte)
            } else {
                char::REPLACEMENT_CHARACTER
            });
            continue;
        }
        let (coded, tail) = split_coded(rest, shift);
        if coded.is_empty() {
            text.push(char::from(shift));
        } else {
            for unit in char::decode_utf16(units(coded)) {
                malformed |= unit.is_err();
                text.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        rest = tail.strip_prefix(b"-").unwrap_or(tail);
    }
    Decoded { text, charset: name, guessed: false, malformed }
}

fn split_coded(rest: &[u8], shift: u8) -> (&[u8], &[u8]) {
    let is_base64 = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'+' | b'/')
            || (shift == b'&' && *byte == b',')
    };
    let length = rest.iter().take_while(|byte| is_base64(byte)).count();
    rest.split_at_checked(length).unwrap_or((rest, &[]))
}

fn units(coded: &[u8]) -> Vec<u16> {
    let coded: Vec<u8> =
        coded.iter().map(|byte| if *byte == b',' { b'/' } else { *byte }).collect();
    let octets = transfer::base64(&coded).0;
    let unit = |pair: &[u8]| pair.iter().fold(0_u16, |unit, byte| unit << 8 | u16::from(*byte));
    octets.chunks_exact(2).map(unit).collect()
}

/// Whether ASCII text has stretches that only make sense as UTF-7: whole units of UTF-16, with
/// letters that need it or with what markup is made of.
pub(super) fn looks_like_utf7(octets: &[u8]) -> bool {
    let sample = octets.get(..octets.len().min(super::SAMPLE_BYTES)).unwrap_or_default();
    let mut found = 0_usize;
    let mut at = 0;
    while let Some(next) = sample.get(at..).and_then(|rest| memchr::memchr(b'+', rest)) {
        at = at.saturating_add(next).saturating_add(1);
        let (coded, tail) = split_coded(sample.get(at..).unwrap_or_default(), b'+');
        at = at.saturating_add(coded.len());
        let whole = coded.len() >= 3 && matches!(coded.len() % 8, 0 | 3 | 6);
        if !whole || coded.len() > 512 || tail.first().is_none_or(u8::is_ascii_alphanumeric) {
            continue;
        }
        let text: Result<String, _> = char::decode_utf16(units(coded)).collect();
        let needs_it = |c: char| !c.is_ascii() && c.is_alphabetic() || matches!(c, '<' | '>');
        if text.is_ok_and(|text| {
            text.chars().all(|c| needs_it(c) || c.is_ascii_graphic()) && text.contains(needs_it)
        }) {
            found = found.saturating_add(coded.len() / 3);
        }
    }
    found >= 2
}

/// Whether ASCII text has stretches in HZ.
pub(super) fn looks_like_hz(octets: &[u8]) -> bool {
    let Some(start) = memchr::memmem::find(octets, b"~{") else { return false };
    let rest = octets.get(start.saturating_add(2)..).unwrap_or_default();
    let Some(end) = memchr::memmem::find(rest, b"~}") else { return false };
    let coded = rest.get(..end).unwrap_or_default();
    let graphic = coded.iter().all(|byte| (0x21..=0x77).contains(byte));
    !coded.is_empty() && coded.len() % 2 == 0 && graphic
}

/// Decodes HZ: GB 2312 in seven bits between `~{` and `~}`.
pub(super) fn hz(octets: &[u8]) -> Decoded {
    let mut plain = Vec::with_capacity(octets.len());
    let mut shifted = false;
    let mut rest = octets;
    loop {
        rest = match rest {
            [b'~', b'{', tail @ ..] => {
                shifted = true;
                tail
            }
            [b'~', b'}', tail @ ..] => {
                shifted = false;
                tail
            }
            [b'~', b'~', tail @ ..] if !shifted => {
                plain.push(b'~');
                tail
            }
            [b'~', b'\n', tail @ ..] if !shifted => tail,
            [byte, tail @ ..] => {
                // A line end ends a forgotten shift (RFC 1843 §2).
                shifted &= *byte != b'\n';
                plain.push(if shifted && *byte > b' ' { byte | 0x80 } else { *byte });
                tail
            }
            [] => break,
        };
    }
    let (text, malformed) = GBK.decode_without_bom_handling(&plain);
    Decoded { text: text.into_owned(), charset: "HZ-GB-2312", guessed: false, malformed }
}

/// Decodes UTF-16 whose order nothing tells: by its zeros, else by what makes more sense.
pub(super) fn utf16(octets: &[u8]) -> Decoded {
    let sample = octets.get(..octets.len().min(4096)).unwrap_or_default();
    let encoding = guess::utf16(sample).unwrap_or_else(|| {
        let plausible = |encoding: &'static encoding_rs::Encoding| {
            let (text, _) = encoding.decode_without_bom_handling(sample);
            let usual = |c: &char| c.is_ascii() || ('\u{3000}'..='\u{30FF}').contains(c);
            text.chars().filter(usual).count()
        };
        if plausible(UTF_16LE) > plausible(UTF_16BE) { UTF_16LE } else { UTF_16BE }
    });
    let (text, malformed) = encoding.decode_without_bom_handling(octets);
    Decoded { text: text.into_owned(), charset: encoding.name(), guessed: false, malformed }
}

/// Which octet of a unit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

/// The order that a byte order mark of UTF-32 says, and its length.
pub(super) fn utf32_mark(octets: &[u8]) -> Option<(Order, usize)> {
    match octets {
        [0xFF, 0xFE, 0, 0, ..] => Some((Order::Little, 4)),
        [0, 0, 0xFE, 0xFF, ..] => Some((Order::Big, 4)),
        _ => None,
    }
}

/// Decodes UTF-32; if `order` makes no sense of the first unit, in the other one.
pub(super) fn utf32(octets: &[u8], order: Order) -> Decoded {
    let read = |order: Order, unit: &[u8]| {
        let unit: [u8; 4] = unit.try_into().ok()?;
        char::from_u32(match order {
            Order::Big => u32::from_be_bytes(unit),
            Order::Little => u32::from_le_bytes(unit),
        })
    };
    let other = if order == Order::Big { Order::Little } else { Order::Big };
    let first = octets.get(..4).unwrap_or_default();
    let turned = read(order, first).is_none() && read(other, first).is_some();
    let order = if turned { other } else { order };
    let mut malformed = !octets.len().is_multiple_of(4);
    let mut text = String::with_capacity(octets.len() / 2);
    for unit in octets.chunks_exact(4) {
        let letter = read(order, unit);
        malformed |= letter.is_none();
        text.push(letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Decoded { text, charset: "UTF-32", guessed: false, malformed }
}
