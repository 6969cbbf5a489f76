//! Octets → text: by declared charset, by guess, and folded for search.
//!
//! In: octets and what was declared. Out: UTF-8, always something. A charset that nobody knows, or
//! that cannot be right, is replaced by a guess; what still cannot be decoded becomes U+FFFD and is
//! reported. Charsets are those of the Encoding Standard, plus UTF-7, UTF-32, HZ and all kinds of
//! ISO-2022, which browsers dropped and mail still has. Where a label lies, both readings are given.

mod fold;
mod guess;
mod iso2022;
mod legacy;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use legacy::Order;

pub(crate) use fold::is_invisible;
pub use fold::{fold, fold_within};

/// How much of a text is looked at to tell whether its charset fits.
const SAMPLE_BYTES: usize = 64 << 10;

/// An entity's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As UTF-8, markup removed; after it, what another reader would make of the octets if there is
    /// doubt about the charset ([`alternative`]).
    pub plain: String,
    /// [`fold`]ed for search.
    pub folded: String,
    /// The charset it was decoded with, such as `ISO-2022-JP`.
    pub charset: &'static str,
    /// Whether the charset was guessed.
    pub guessed: bool,
    /// Whether it was cut at [`Limits::max_text_bytes`](crate::limits::Limits::max_text_bytes), or
    /// grew too much by folding.
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
    if let Some((order, mark)) = legacy::utf32_mark(octets) {
        return legacy::utf32(octets.get(mark..).unwrap_or_default(), order);
    }
    if let Some((encoding, mark)) = Encoding::for_bom(octets) {
        return run(encoding, octets.get(mark..).unwrap_or_default(), false);
    }
    let charset = declared.and_then(find);
    if octets.is_ascii()
        && memchr::memchr2(0x1B, 0x0E, octets).is_none()
        && charset.is_none_or(Charset::extends_ascii)
    {
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
        // Eight bits and no shift at all: the label is wrong.
        Some(Charset::Standard(encoding))
            if encoding == ISO_2022_JP
                && !octets.is_ascii()
                && memchr::memchr2(0x1B, 0x0E, octets).is_none() =>
        {
            run(guess::guess(octets), octets, true)
        }
        Some(charset) => read(charset, octets),
        None => run(guess::guess(octets), octets, true),
    }
}

/// What another reader would make of `octets` that [`decode`] reads as `first`: by the declared
/// charset where that was not believed, by a guess where it was and should not have been, or by the
/// escapes of UTF-7, HZ and ISO-2022-JP where nothing declared them. `None` if there is no doubt.
#[must_use]
pub fn alternative(octets: &[u8], declared: Option<&str>, first: &Decoded) -> Option<String> {
    let other = if octets.is_ascii() {
        let shifted = memchr::memchr2(0x1B, 0x0E, octets).is_some();
        if legacy::looks_like_utf7(octets) && first.charset != "UTF-7" {
            legacy::utf7(octets)
        } else if legacy::looks_like_hz(octets) && first.charset != "HZ-GB-2312" {
            legacy::hz(octets)
        } else if shifted && !first.charset.starts_with("ISO-2022") {
            iso2022::decode(octets, "ISO-2022-JP")
        } else {
            iso2022::decode(&iso2022::restored(octets)?, "ISO-2022-JP")
        }
    } else {
        if first.charset == UTF_8.name() && !first.malformed {
            return None;
        }
        let known = declared.filter(|_| !is_ascii_label(declared)).and_then(find);
        let guess = guess::guess(octets);
        let believed = Encoding::for_label(first.charset.as_bytes());
        let narrow = believed.is_some_and(Encoding::is_single_byte);
        match known {
            Some(known) if first.guessed => read(known, octets),
            _ if guess.name() == first.charset => return None,
            _ if first.malformed || (narrow && !guess.is_single_byte()) => run(guess, octets, true),
            _ => return None,
        }
    };
    (other.text != first.text).then_some(other.text)
}

/// Whether the start of `octets`, which are text, means nothing in the declared charset.
pub(crate) fn is_undecodable(octets: &[u8], declared: Option<&str>) -> bool {
    let sample = octets.get(..octets.len().min(SAMPLE_BYTES)).unwrap_or_default();
    if sample.is_ascii() {
        return false;
    }
    match declared.and_then(find) {
        Some(Charset::Standard(encoding)) if encoding == UTF_8 => {
            simdutf8::compat::from_utf8(sample).is_err_and(|error| error.error_len().is_some())
        }
        Some(Charset::Standard(encoding)) => {
            is_ascii_label(declared) || {
                let (text, malformed) = encoding.decode_without_bom_handling(sample);
                // The sample may end inside a character.
                let cut = sample.len() < octets.len() && text.matches('\u{FFFD}').count() < 3;
                malformed && !cut
            }
        }
        Some(charset) => read(charset, sample).malformed,
        None => false,
    }
}

fn read(charset: Charset, octets: &[u8]) -> Decoded {
    match charset {
        Charset::Standard(encoding) if encoding == ISO_2022_JP => {
            iso2022::decode(octets, encoding.name())
        }
        Charset::Standard(encoding) => run(encoding, octets, false),
        Charset::Utf7 => legacy::utf7(octets),
        Charset::ImapUtf7 => legacy::imap_utf7(octets),
        Charset::Hz => legacy::hz(octets),
        Charset::Iso2022(name) => iso2022::decode(octets, name),
        Charset::Utf16 => legacy::utf16(octets),
        Charset::Utf32(order) => legacy::utf32(octets, order),
    }
}

/// Whether anybody knows a charset by that name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// The charset by that name, if text can be written in it.
pub(crate) fn standard(name: &str) -> Option<&'static Encoding> {
    match find(name)? {
        Charset::Standard(encoding) if encoding.output_encoding() == encoding => Some(encoding),
        _ => None,
    }
}

/// One of the names that [`Decoded::charset`] can have, again.
pub(crate) fn name_of(label: &str) -> &'static str {
    let known = find(label).map(Charset::name);
    known.filter(|name| *name == label).unwrap_or("US-ASCII")
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
    /// UTF-7 of IMAP mailbox names (RFC 3501 §5.1.3).
    ImapUtf7,
    Hz,
    Iso2022(&'static str),
    /// UTF-16 of either order.
    Utf16,
    Utf32(Order),
}

impl Charset {
    fn name(self) -> &'static str {
        match self {
            Self::Standard(encoding) => encoding.name(),
            Self::Utf7 => "UTF-7",
            Self::ImapUtf7 => "UTF-7-IMAP",
            Self::Hz => "HZ-GB-2312",
            Self::Iso2022(name) => name,
            Self::Utf16 => "UTF-16",
            Self::Utf32(_) => "UTF-32",
        }
    }

    /// Whether ASCII octets without ESC mean themselves.
    fn extends_ascii(self) -> bool {
        match self {
            Self::Standard(encoding) => encoding != UTF_16LE && encoding != UTF_16BE,
            _ => false,
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
        "utf-7-imap" | "x-imap4-modified-utf7" | "imap-utf-7" | "mutf-7" => {
            return Some(Charset::ImapUtf7);
        }
        "iso-2022-kr" | "csiso2022kr" => return Some(Charset::Iso2022("ISO-2022-KR")),
        "iso-2022-cn" | "iso-2022-cn-ext" | "csiso2022cn" => {
            return Some(Charset::Iso2022("ISO-2022-CN"));
        }
        "utf-16" | "utf16" | "ucs-2" | "iso-10646-ucs-2" | "unicode" | "csunicode" => {
            return Some(Charset::Utf16);
        }
        "utf-32" | "utf32" | "ucs-4" | "iso-10646-ucs-4" | "utf-32be" => {
            return Some(Charset::Utf32(Order::Big));
        }
        "utf-32le" => return Some(Charset::Utf32(Order::Little)),
        _ => {}
    }
    let label = ALIASES.get(lower.as_str()).copied().unwrap_or(&lower);
    // "replacement" would hide the whole text.
    Encoding::for_label_no_replacement(label.as_bytes()).map(Charset::Standard)
}

pub(crate) fn is_ascii_label(declared: Option<&str>) -> bool {
    let name = declared.unwrap_or_default();
    name.to_ascii_lowercase().contains("ascii") || name.to_ascii_lowercase().starts_with("ansi_x3")
}

fn run(encoding: &'static Encoding, octets: &[u8], guessed: bool) -> Decoded {
    if encoding == ISO_2022_JP {
        return Decoded { guessed, ..iso2022::decode(octets, encoding.name()) };
    }
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
