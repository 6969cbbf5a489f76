//! A member's raw name → every spelling that a reader could show.
//!
//! In: the octets as stored and whether they are declared UTF-8. Out: spellings, best first. Old
//! formats store names in the writer's local charset without naming it; Japanese Windows wrote
//! Shift_JIS, Japanese Unix EUC-JP, the format itself says code page 437.

use encoding_rs::{EUC_JP, Encoding, SHIFT_JIS};

/// The upper half of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The spellings of `raw`. One for ASCII; for other octets the declared charset first, then UTF-8,
/// Shift_JIS, EUC-JP if it is no UTF-8, and code page 437 where they fit.
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
    let decoded = |charset: &'static Encoding| {
        let text = charset.decode_without_bom_handling_and_without_replacement(raw)?;
        Some(text.into_owned())
    };
    let shift_jis = decoded(SHIFT_JIS);
    let euc = if utf8.is_none() { decoded(EUC_JP) } else { None };
    if euc.as_deref().is_some_and(|euc| is_euc(euc, shift_jis.as_deref())) {
        names.extend(euc.into_iter().chain(shift_jis));
    } else {
        names.extend(shift_jis.into_iter().chain(euc));
    }
    names.push(raw.iter().map(|&octet| cp437(octet)).collect());
    names
}

/// Whether octets that can be read as EUC-JP are that, rather than Shift_JIS. Most of them lie where
/// Shift_JIS has half-width kana, which people write in runs and seldom between other characters.
fn is_euc(euc: &str, shift_jis: Option<&str>) -> bool {
    let Some(shift_jis) = shift_jis else { return true };
    let is_half = |c: &char| ('\u{ff61}'..='\u{ff9f}').contains(c);
    let is_kana = |c: &char| ('\u{3041}'..='\u{30ff}').contains(c);
    let halves = shift_jis.chars().filter(is_half).count();
    let others = shift_jis.chars().filter(|c| !c.is_ascii() && !is_half(c)).count();
    let wide = euc.chars().filter(|c| !c.is_ascii()).count();
    let kana = euc.chars().filter(is_kana).count();
    halves > 0 && (others > 0 || kana.saturating_mul(2) >= wide)
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
        let cases: [(&str, &[u8], bool, &[&str]); 8] = [
            ("ASCII has one spelling", b"a.txt", false, &["a.txt"]),
            ("declared UTF-8 has one spelling", "é.txt".as_bytes(), true, &["é.txt"]),
            ("undeclared UTF-8 comes first", "é".as_bytes(), false, &["é", "ﾃｩ", "├⌐"]),
            ("Shift_JIS", b"\x93\xfa\x96{.exe", false, &["日本.exe", "ô·û{.exe"]),
            ("EUC-JP", b"\xb8\xab\xc0\xd1\xbd\xf1", false, &["見積書", "╕½└╤╜±"]),
            ("kana in EUC-JP", b"\xa4\xb3\xa4\xce", false, &["この", "､ｳ､ﾎ", "ñ│ñ╬"]),
            ("half-width kana", b"\xbd\xc3\xbd\xc4", false, &["ｽﾃｽﾄ", "獣縦", "╜├╜─"]),
            ("not UTF-8 although declared", b"\xff", true, &["\u{fffd}", "\u{a0}"]),
        ];
        for (name, raw, declared, expected) in cases {
            assert_eq!(spellings(raw, declared), expected, "{name}");
        }
        assert_eq!(CP437.chars().count(), 128);
    }
}
