//! Windows code page number → text, as Office formats name charsets (MS-UCODEREF §2.2.1).
//!
//! In: octets and a code page number. Out: text, always something: an unknown page is read as
//! Windows-1252, and what a page cannot decode becomes U+FFFD. Linear.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, IBM866, ISO_2022_JP, ISO_8859_2, ISO_8859_3,
    ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_10, ISO_8859_13,
    ISO_8859_14, ISO_8859_15, KOI8_R, KOI8_U, MACINTOSH, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE,
    WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253, WINDOWS_1254,
    WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258, X_MAC_CYRILLIC,
};

/// Windows-1252, the page of whatever says nothing.
pub(crate) const WESTERN: u32 = 1252;

/// The charset of a code page; Windows-1252 for one that nobody knows.
pub(crate) fn encoding(page: u32) -> &'static Encoding {
    match page {
        866 => IBM866,
        874 => WINDOWS_874,
        932 | 10001 => SHIFT_JIS,
        936 | 10008 => GBK,
        949 | 1361 | 10003 | 51949 => EUC_KR,
        950 | 10002 => BIG5,
        1200 => UTF_16LE,
        1201 => UTF_16BE,
        1250 => WINDOWS_1250,
        1251 => WINDOWS_1251,
        1253 => WINDOWS_1253,
        1254 => WINDOWS_1254,
        1255 => WINDOWS_1255,
        1256 => WINDOWS_1256,
        1257 => WINDOWS_1257,
        1258 => WINDOWS_1258,
        10000 | 32768 => MACINTOSH,
        10007 => X_MAC_CYRILLIC,
        20866 => KOI8_R,
        20932 | 51932 => EUC_JP,
        21866 => KOI8_U,
        28592 => ISO_8859_2,
        28593 => ISO_8859_3,
        28594 => ISO_8859_4,
        28595 => ISO_8859_5,
        28596 => ISO_8859_6,
        28597 => ISO_8859_7,
        28598 => ISO_8859_8,
        28600 => ISO_8859_10,
        28603 => ISO_8859_13,
        28604 => ISO_8859_14,
        28605 => ISO_8859_15,
        50220..=50222 => ISO_2022_JP,
        51936 => GBK,
        54936 => GB18030,
        65001 => UTF_8,
        _ => WINDOWS_1252,
    }
}

/// The code page of a Windows language identifier; only the primary language counts.
pub(crate) fn of_language(language: u16) -> u32 {
    match language {
        0x0404 | 0x0c04 | 0x1404 => return 950,
        0x0804 | 0x1004 => return 936,
        0x0c1a | 0x081a => return 1251,
        _ => {}
    }
    match language & 0x3ff {
        0x11 => 932,
        0x12 => 949,
        0x1e => 874,
        0x02 | 0x19 | 0x22 | 0x23 | 0x2f => 1251,
        0x05 | 0x0e | 0x15 | 0x18 | 0x1a | 0x1b | 0x1c | 0x24 => 1250,
        0x08 => 1253,
        0x1f => 1254,
        0x0d => 1255,
        0x01 | 0x20 | 0x29 => 1256,
        0x25..=0x27 => 1257,
        0x2a => 1258,
        _ => 1252,
    }
}

/// `octets` in code page `page`.
pub(crate) fn decode(octets: &[u8], page: u32) -> String {
    encoding(page).decode_without_bom_handling(octets).0.into_owned()
}

/// UTF-16, little-endian; a lone surrogate becomes U+FFFD, half a unit at the end is dropped.
pub(crate) fn utf16(octets: &[u8]) -> String {
    let even = octets.get(..octets.len() & !1).unwrap_or_default();
    UTF_16LE.decode_without_bom_handling(even).0.into_owned()
}

/// The octets up to the first NUL.
pub(crate) fn before_nul(octets: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, octets).unwrap_or(octets.len());
    octets.get(..end).unwrap_or_default()
}

/// The text up to the first NUL.
pub(crate) fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known() {
        let cases: [(&str, &[u8], u32, &str); 7] = [
            ("Japanese", b"\x93\xfa\x96{", 932, "日本"),
            ("Chinese", b"\xd6\xd0\xce\xc4", 936, "中文"),
            ("Taiwanese", b"\xa4\xa4\xa4\xe5", 950, "中文"),
            ("Korean", b"\xc7\xd1\xb1\xdb", 949, "한글"),
            ("Czech", b"\xf8", 1250, "ř"),
            ("a page nobody knows is Western", b"\xe9\x80", 4711, "é€"),
            ("UTF-16", b"a\0\xe5\x65", 1200, "a日"),
        ];
        for (name, octets, page, expected) in cases {
            assert_eq!(decode(octets, page), expected, "{name}");
        }
        assert_eq!(utf16(b"a\0b\0c"), "ab");
    }
}
