//! Octets → text: by declared charset, by guess, and folded for search.
//!
//! In: octets and what was declared. Out: UTF-8, always something. A charset that nobody knows, or
//! that cannot be right, is replaced by a guess; what still cannot be decoded becomes U+FFFD and is
//! reported. Charsets are those of the Encoding Standard, plus UTF-7, HZ and ISO-2022-KR, which
//! browsers dropped and mail still has.

mod fold;
mod guess;
mod legacy;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

pub use fold::fold;
pub(crate) use fold::is_invisible;

/// An entity's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As UTF-8, markup removed.
    pub plain: String,
    /// [`fold`]ed for search.
    pub folded: String,
    /// The charset it was decoded with, such as `ISO-2022-JP`.
    pub charset: &'static str,
    /// Whether the charset was guessed.
    pub guessed: bool,
    /// Whether it was cut at [`Limits::max_text_bytes`](crate::limits::Limits::max_text_bytes).
    pub truncated: bool,
}

/// Decoded octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// As UTF-8, without a byte order mark.
    pub text: String,
    /// The charset it was decoded with, such as `ISO-2022-JP`.
    pub charset: &'static str,
    /// The declared charset is missing, unknown or wrong, and this one was guessed.
    pub guessed: bool,
    /// Some octets mean nothing in that charset and became U+FFFD.
    pub malformed: bool,
}

/// Decodes `octets` by the `declared` charset, or by a guess if there is none, nobody knows it, or
/// it cannot be right. A byte order mark wins over both.
#[must_use]
pub fn decode(octets: &[u8], declared: Option<&str>) -> Decoded {
    if let Some((encoding, mark)) = Encoding::for_bom(octets) {
        return run(encoding, octets.get(mark..).unwrap_or_default(), false);
    }
    let charset = declared.and_then(find);
    if octets.is_ascii() && !octets.contains(&0x1B) && charset.is_none_or(Charset::extends_ascii) {
        let name = charset.map_or("US-ASCII", Charset::name);
        let text = simdutf8::basic::from_utf8(octets).unwrap_or_default().to_owned();
        return Decoded { text, charset: name, guessed: charset.is_none(), malformed: false };
    }
    match charset {
        Some(Charset::Standard(encoding)) if encoding == UTF_8 => utf8(octets),
        // Declared, or assumed by a sender, for "no special letters": often simply wrong.
        Some(Charset::Standard(encoding))
            if encoding == WINDOWS_1252 && is_ascii_label(declared) =>
        {
            run(guess::guess(octets), octets, true)
        }
        Some(Charset::Standard(encoding))
            if encoding == WINDOWS_1252 && guess::has_japanese_shift(octets) =>
        {
            run(guess::guess(octets), octets, true)
        }
        Some(Charset::Standard(encoding)) => run(encoding, octets, false),
        Some(Charset::Utf7) => legacy::utf7(octets),
        Some(Charset::Hz) => legacy::hz(octets),
        Some(Charset::Iso2022Kr) => legacy::iso_2022_kr(octets),
        None => run(guess::guess(octets), octets, true),
    }
}

/// Whether anybody knows a charset by that name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// Octets as text, each as the letter of the same number: for values that are ASCII by definition.
#[must_use]
pub fn latin1(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Standard(&'static Encoding),
    Utf7,
    Hz,
    Iso2022Kr,
}

impl Charset {
    fn name(self) -> &'static str {
        match self {
            Self::Standard(encoding) => encoding.name(),
            Self::Utf7 => "UTF-7",
            Self::Hz => "HZ-GB-2312",
            Self::Iso2022Kr => "ISO-2022-KR",
        }
    }

    /// Whether ASCII octets without ESC mean themselves.
    fn extends_ascii(self) -> bool {
        match self {
            Self::Standard(encoding) => encoding != UTF_16LE && encoding != UTF_16BE,
            Self::Utf7 | Self::Hz | Self::Iso2022Kr => false,
        }
    }
}

static ALIASES: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("aliases.txt").lines().filter_map(|line| line.split_once(' ')).collect()
});

fn find(name: &str) -> Option<Charset> {
    let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';'));
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "utf-7" | "unicode-1-1-utf-7" | "unicode-2-0-utf-7" | "utf7" => return Some(Charset::Utf7),
        "hz-gb-2312" | "hz" | "hz-gb2312" => return Some(Charset::Hz),
        "iso-2022-kr" | "csiso2022kr" => return Some(Charset::Iso2022Kr),
        _ => {}
    }
    let label = ALIASES.get(lower.as_str()).copied().unwrap_or(&lower);
    // "replacement" would hide the whole text.
    Encoding::for_label_no_replacement(label.as_bytes()).map(Charset::Standard)
}

fn is_ascii_label(declared: Option<&str>) -> bool {
    let name = declared.unwrap_or_default();
    name.to_ascii_lowercase().contains("ascii") || name.to_ascii_lowercase().starts_with("ansi_x3")
}

fn run(encoding: &'static Encoding, octets: &[u8], guessed: bool) -> Decoded {
    let (text, malformed) = encoding.decode_without_bom_handling(octets);
    Decoded { text: text.into_owned(), charset: encoding.name(), guessed, malformed }
}

/// UTF-8, unless so little of it is valid that the label must be wrong.
fn utf8(octets: &[u8]) -> Decoded {
    if guess::has_japanese_shift(octets) && octets.is_ascii() {
        return run(guess::guess(octets), octets, true);
    }
    if let Ok(text) = simdutf8::basic::from_utf8(octets) {
        let text = text.to_owned();
        return Decoded { text, charset: UTF_8.name(), guessed: false, malformed: false };
    }
    let text = String::from_utf8_lossy(octets);
    let bad = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    let special = text.chars().filter(|c| !c.is_ascii()).count();
    if bad.saturating_mul(4) > special {
        let other = guess::guess(octets);
        return Decoded { malformed: true, ..run(other, octets, true) };
    }
    let text = Cow::into_owned(text);
    Decoded { text, charset: UTF_8.name(), guessed: false, malformed: true }
}

#[cfg(test)]
mod tests;
