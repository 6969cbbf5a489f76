//! A member's raw name → every spelling that a reader could show.
//!
//! In: the octets as stored and whether they are declared UTF-8. Out: spellings, best first. Old
//! formats store names in the writer's local charset without naming it; Japanese Windows wrote
//! Shift_JIS, the format itself says code page 437.

use encoding_rs::SHIFT_JIS;

/// The upper half of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The spellings of `raw`. One for ASCII; for other octets the declared charset first, then UTF-8,
/// Shift_JIS and code page 437 where they fit.
pub(super) fn spellings(raw: &[u8], declared_utf8: bool) -> Vec<String> {
    let utf8 = std::str::from_utf8(raw).ok();
    match utf8 {
        Some(text) if declared_utf8 || text.is_ascii() => return vec![text.to_owned()],
        _ => {}
    }
    let mut names: Vec<String> = utf8.map(str::to_owned).into_iter().collect();
    if declared_utf8 {
        names.push(String::from_utf8_lossy(raw).into_owned());
    }
    let japanese = SHIFT_JIS.decode_without_bom_handling_and_without_replacement(raw);
    names.extend(japanese.map(std::borrow::Cow::into_owned));
    names.push(raw.iter().map(|&octet| cp437(octet)).collect());
    names
}

/// Adds `more` to `names`, each spelling once.
pub(super) fn add(names: &mut Vec<String>, more: Vec<String>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

fn cp437(octet: u8) -> char {
    if octet.is_ascii() {
        return char::from(octet);
    }
    CP437.chars().nth(usize::from(octet & 0x7f)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled() {
        let cases: [(&str, &[u8], bool, &[&str]); 5] = [
            ("ASCII has one spelling", b"a.txt", false, &["a.txt"]),
            ("declared UTF-8 has one spelling", "é.txt".as_bytes(), true, &["é.txt"]),
            ("undeclared UTF-8 comes first", "é".as_bytes(), false, &["é", "ﾃｩ", "├⌐"]),
            ("Shift_JIS", b"\x93\xfa\x96{.exe", false, &["日本.exe", "ô·û{.exe"]),
            ("not UTF-8 although declared", b"\xff", true, &["\u{fffd}", "\u{a0}"]),
        ];
        for (name, raw, declared, expected) in cases {
            assert_eq!(spellings(raw, declared), expected, "{name}");
        }
        assert_eq!(CP437.chars().count(), 128);
    }
}
