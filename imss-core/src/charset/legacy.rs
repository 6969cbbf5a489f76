//! Charsets that the Encoding Standard dropped and mail still has: UTF-7 (RFC 2152), HZ (RFC 1843),
//! ISO-2022-KR (RFC 1557).
//!
//! In: octets. Out: text; what means nothing becomes U+FFFD or stays as it is. All are linear.

use encoding_rs::{EUC_KR, GBK};

use super::Decoded;
use crate::message::transfer;

/// Decodes UTF-7.
pub(super) fn utf7(octets: &[u8]) -> Decoded {
    let mut text = String::with_capacity(octets.len());
    let mut malformed = false;
    let mut rest = octets;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'+' {
            malformed |= !byte.is_ascii();
            text.push(if byte.is_ascii() {
                char::from(*byte)
            } else {
                char::REPLACEMENT_CHARACTER
            });
            continue;
        }
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let length = rest.iter().take_while(|byte| is_base64(byte)).count();
        let (coded, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if coded.is_empty() {
            text.push('+');
        } else {
            let units = transfer::base64(coded).0;
            let units = units
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0_u16, |unit, byte| unit << 8 | u16::from(*byte)));
            for unit in char::decode_utf16(units) {
                malformed |= unit.is_err();
                text.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        rest = tail.strip_prefix(b"-").unwrap_or(tail);
    }
    Decoded { text, charset: "UTF-7", guessed: false, malformed }
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

/// Decodes ISO-2022-KR: KS X 1001 in seven bits between SO and SI.
pub(super) fn iso_2022_kr(octets: &[u8]) -> Decoded {
    let octets = octets.strip_prefix(b"\x1b$)C").unwrap_or(octets);
    let mut plain = Vec::with_capacity(octets.len());
    let mut shifted = false;
    for byte in octets {
        match byte {
            0x0E => shifted = true,
            0x0F => shifted = false,
            byte => plain.push(if shifted && *byte > b' ' { byte | 0x80 } else { *byte }),
        }
    }
    let (text, malformed) = EUC_KR.decode_without_bom_handling(&plain);
    Decoded { text: text.into_owned(), charset: "ISO-2022-KR", guessed: false, malformed }
}
