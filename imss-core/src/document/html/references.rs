//! Character references (HTML §13.2.5.72 to .80).
//!
//! In: text that starts with `&`. Out: what it stands for and how long it is, or nothing if it is
//! text. All names of the standard are known; the old ones also count without their semicolon.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memchr;

/// Longest name, with its semicolon.
const MAX_NAME: usize = 32;
/// Longest name that may go without its semicolon.
const MAX_OLD_NAME: usize = 6;

/// Where a reference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In text.
    Text,
    /// In the value of an attribute, where `&copy=1` is no reference.
    Attribute,
}

/// What a reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) first: char,
    /// Some names mean two characters.
    pub(super) second: Option<char>,
    /// Octets of the reference, with `&`.
    pub(super) length: usize,
}

/// Reads the reference at the start of `rest`.
pub(super) fn read(rest: &str, place: Place) -> Option<Reference> {
    let body = rest.strip_prefix('&')?;
    if let Some(number) = body.strip_prefix('#') {
        return numeric(number);
    }
    // Nearly all references in mail.
    if body.starts_with("nbsp;") {
        return Some(Reference { first: '\u{a0}', second: None, length: 6 });
    }
    let alphanumeric = body.bytes().take(MAX_NAME).take_while(u8::is_ascii_alphanumeric).count();
    let known = |name: &str| {
        let (first, second) = *NAMES.get(name)?;
        Some(Reference { first, second, length: name.len().saturating_add(1) })
    };
    let with_end = alphanumeric.saturating_add(1);
    if body.as_bytes().get(alphanumeric) == Some(&b';')
        && let Some(found) = body.get(..with_end).and_then(known)
    {
        return Some(found);
    }
    let longest = alphanumeric.min(MAX_OLD_NAME);
    let found = (2..=longest).rev().find_map(|length| known(body.get(..length)?))?;
    let next = rest.as_bytes().get(found.length);
    let is_text = place == Place::Attribute
        && next.is_some_and(|octet| *octet == b'=' || octet.is_ascii_alphanumeric());
    (!is_text).then_some(found)
}

/// `text` with its references replaced.
pub(super) fn decode(text: &str, place: Place) -> Cow<'_, str> {
    let Some(first) = memchr(b'&', text.as_bytes()) else { return Cow::Borrowed(text) };
    let (start, mut rest) = text.split_at_checked(first).unwrap_or((text, ""));
    let mut plain = String::with_capacity(text.len());
    plain.push_str(start);
    while !rest.is_empty() {
        let length = match read(rest, place) {
            Some(found) => {
                plain.push(found.first);
                plain.extend(found.second);
                found.length
            }
            None => {
                plain.push('&');
                1
            }
        };
        rest = rest.get(length..).unwrap_or_default();
        let next = memchr(b'&', rest.as_bytes()).unwrap_or(rest.len());
        let (before, after) = rest.split_at_checked(next).unwrap_or((rest, ""));
        plain.push_str(before);
        rest = after;
    }
    Cow::Owned(plain)
}

/// `number` follows `&#`.
fn numeric(number: &str) -> Option<Reference> {
    let hex = number.strip_prefix(['x', 'X']);
    let (digits, radix, before) = hex.map_or((number, 10, 2_usize), |digits| (digits, 16, 3));
    let length = digits.bytes().take_while(|octet| char::from(*octet).is_digit(radix)).count();
    let value = digits.get(..length).filter(|digits| !digits.is_empty())?;
    // More digits than fit are no character.
    let code = u32::from_str_radix(value, radix).unwrap_or(u32::MAX);
    let closed = digits.as_bytes().get(length) == Some(&b';');
    let length = before.saturating_add(length).saturating_add(usize::from(closed));
    Some(Reference { first: numbered(code), second: None, length })
}

/// The character of a numeric reference; 128 to 159 mean Windows-1252, as in browsers.
fn numbered(code: u32) -> char {
    match u8::try_from(code) {
        Ok(byte @ 0x80..=0x9F) => {
            let octets = [byte];
            let text = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&octets).0;
            text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Ok(0) => char::REPLACEMENT_CHARACTER,
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

type Names = HashMap<&'static str, (char, Option<char>)>;

/// Character references by name, with the semicolon where it is needed.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let mut characters =
            words.map(|code| u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        let first = characters.next()??;
        Some((name, (first, characters.next().flatten())))
    };
    include_str!("entities.txt").lines().filter_map(entry).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let cases = [
            ("named", "&lt;&eacute;&hearts;", "<é♥", "<é♥"),
            ("names of HTML 5", "&NewLine;&Tab;&colon;&lpar;", "\n\t:(", "\n\t:("),
            ("two characters", "&NotEqualTilde;", "≂̸", "≂̸"),
            ("numbers", "&#x3042;&#12354;&#65", "ああA", "ああA"),
            ("Windows-1252", "&#147;x&#148;", "“x”", "“x”"),
            (
                "no character",
                "&#0;&#xD800;&#99999999999;",
                "\u{fffd}\u{fffd}\u{fffd}",
                "\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("an old name needs no semicolon", "&copy 1&ampx", "© 1&x", "© 1&ampx"),
            ("the longest name counts", "&notit;&notin;", "¬it;∉", "&notit;∉"),
            ("parameters of a URL", "?a=1&copy=2&lt=3", "?a=1©=2<=3", "?a=1&copy=2&lt=3"),
            ("unknown", "&nosuch;&&#;&#x;&", "&nosuch;&&#;&#x;&", "&nosuch;&&#;&#x;&"),
        ];
        for (name, text, in_text, in_attribute) in cases {
            assert_eq!(decode(text, Place::Text), in_text, "{name}");
            assert_eq!(decode(text, Place::Attribute), in_attribute, "{name} in an attribute");
        }
    }

    #[test]
    fn old_names_are_short() {
        let old = NAMES.keys().filter(|name| !name.ends_with(';'));
        assert_eq!(old.map(|name| name.len()).max(), Some(MAX_OLD_NAME));
    }
}
