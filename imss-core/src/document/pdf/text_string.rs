//! Text strings (ISO 32000-2 §7.9.2.2) → text. What no encoding explains is read as
//! PDFDocEncoding, which has a character for nearly every octet.

use encoding_rs::{SHIFT_JIS, UTF_16BE, UTF_16LE};

/// PDFDocEncoding from 0x80 to 0xa0.
const UPPER: &str = "•†‡…—–ƒ⁄‹›−‰„“”‘’‚™ﬁﬂŁŒŠŸŽıłœšž\u{fffd}€";

/// The text of a string.
pub(super) fn text(raw: &[u8]) -> String {
    match raw {
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0.into_owned(),
        [0xff, 0xfe, rest @ ..] => UTF_16LE.decode_without_bom_handling(rest).0.into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        // Many writers put UTF-8 without its mark; other octets are hardly ever valid by chance.
        _ => match std::str::from_utf8(raw) {
            Ok(text) if !raw.is_ascii() => text.to_owned(),
            _ => raw.iter().map(|&octet| character(octet)).collect(),
        },
    }
}

/// Every spelling of a name: writers also put UTF-8 and Shift_JIS where they must not.
pub(super) fn spellings(raw: &[u8]) -> Vec<String> {
    let mut names = vec![text(raw)];
    if !raw.is_ascii() && !raw.starts_with(b"\xfe\xff") && !raw.starts_with(b"\xff\xfe") {
        let plain = Some(raw.iter().map(|&octet| character(octet)).collect());
        let japanese = SHIFT_JIS.decode_without_bom_handling_and_without_replacement(raw);
        for name in plain.into_iter().chain(japanese.map(std::borrow::Cow::into_owned)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn character(octet: u8) -> char {
    match octet {
        0x80..=0xa0 => UPPER.chars().nth(usize::from(octet & 0x7f)).unwrap_or('\u{fffd}'),
        0x18..=0x1f => "˘ˇˆ˙˝˛˚˜".chars().nth(usize::from(octet & 7)).unwrap_or('\u{fffd}'),
        _ => char::from(octet),
    }
}
