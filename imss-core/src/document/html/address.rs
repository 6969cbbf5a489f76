//! Addresses in pages (URL standard §4.4, as far as it matters here; RFC 2397).
//!
//! In: an address as written, and the page's base. Out: where it leads, and what a `data:` address
//! carries. Blanks, tabs and line ends inside are what browsers leave out.

use std::borrow::Cow;

use super::references::{self, Place};
use crate::document::sink;

/// Longest head of a `data:` address.
const MAX_HEAD: usize = 256;

/// An attribute's value as the address that a browser takes: references decoded, control characters
/// left out.
pub(super) fn clean(value: &str) -> Cow<'_, str> {
    let decoded = references::decode(value, Place::Attribute);
    let is_edge = |c: char| c <= ' ';
    let is_dropped = |octet: u8| matches!(octet, b'\t' | b'\n' | b'\r' | 0);
    match decoded {
        Cow::Borrowed(text) => {
            let text = text.trim_matches(is_edge);
            if text.bytes().any(is_dropped) {
                Cow::Owned(text.replace(['\t', '\n', '\r', '\0'], ""))
            } else {
                Cow::Borrowed(text)
            }
        }
        Cow::Owned(text) => {
            Cow::Owned(text.trim_matches(is_edge).replace(['\t', '\n', '\r', '\0'], ""))
        }
    }
}

/// The scheme in lower case.
pub(super) fn scheme(address: &str) -> Option<String> {
    let (scheme, _) = address.split_once(':')?;
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme = scheme.len() <= 32
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(usable);
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// What runs if the address is followed: the script after `javascript:` or `vbscript:`.
pub(super) fn script(address: &str) -> Option<String> {
    let scheme = scheme(address)?;
    if !matches!(scheme.as_str(), "javascript" | "vbscript" | "livescript" | "mocha") {
        return None;
    }
    let code = address.get(scheme.len().saturating_add(1)..)?;
    Some(String::from_utf8_lossy(&percent(code)).into_owned())
}

/// Where `address` leads from a page at `base`; as written if that is not known.
pub(super) fn resolve<'a>(base: &str, address: &'a str) -> Cow<'a, str> {
    let Some(own) = scheme(base) else { return Cow::Borrowed(address) };
    if scheme(address).is_some() || address.is_empty() || address.starts_with('#') {
        return Cow::Borrowed(address);
    }
    let base = base.split(['?', '#']).next().unwrap_or_default();
    let slashed = |text: &str| text.starts_with("//") || text.starts_with("\\\\");
    if slashed(address) {
        return Cow::Owned(format!("{own}:{address}"));
    }
    let path_start = base.find("://").map_or(base.len(), |at| at.saturating_add(3));
    let authority_end = base
        .get(path_start..)
        .and_then(|rest| rest.find('/'))
        .map_or(base.len(), |at| path_start.saturating_add(at));
    let kept = if address.starts_with(['/', '\\']) {
        base.get(..authority_end).unwrap_or_default()
    } else if address.starts_with('?') {
        base
    } else {
        let folder = base.rfind('/').filter(|at| *at >= authority_end);
        let folder = folder.and_then(|at| base.get(..=at));
        return match folder {
            Some(folder) => Cow::Owned(format!("{folder}{address}")),
            None => Cow::Owned(format!("{base}/{address}")),
        };
    };
    Cow::Owned(format!("{kept}{address}"))
}

/// What a `data:` address carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Data {
    /// In lower case, without parameters; empty if none is given.
    pub(super) media_type: String,
    pub(super) content: Vec<u8>,
}

impl Data {
    /// Reads a cleaned address.
    pub(super) fn read(address: &str) -> Option<Self> {
        if !is_data(address) {
            return None;
        }
        let rest = address.get(5..)?;
        let comma = rest.bytes().take(MAX_HEAD).position(|octet| octet == b',')?;
        let head = rest.get(..comma)?.to_ascii_lowercase();
        let body = percent(rest.get(comma.saturating_add(1)..)?);
        let mut words = head.split(';').map(str::trim);
        let media_type = words.next().unwrap_or_default().to_owned();
        let content = if words.any(|word| word == "base64") {
            sink::base64_url(&String::from_utf8_lossy(&body))?
        } else {
            body
        };
        Some(Self { media_type, content })
    }
}

/// Whether an address carries its content.
pub(super) fn is_data(address: &str) -> bool {
    address.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"))
}

/// Undoes percent signs.
pub(super) fn percent(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let digit =
        |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let mut octet = *first;
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            octet = high << 4 | low;
            rest = after;
        }
        out.push(octet);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_browsers_take() {
        let cases = [
            ("a tab in the scheme", "java\tscript:alert(1)", "javascript:alert(1)"),
            ("references", " &#106;ava&Tab;script&colon;x ", "javascript:x"),
            ("parameters", "http://a.example/?a=1&copy=2&amp;b", "http://a.example/?a=1&copy=2&b"),
        ];
        for (name, written, expected) in cases {
            assert_eq!(clean(written), expected, "{name}");
        }
    }

    #[test]
    fn resolved() {
        let base = "https://a.example/x/y.html?q";
        let cases = [
            ("z.html", "https://a.example/x/z.html"),
            ("/z", "https://a.example/z"),
            ("//b.example/z", "https://b.example/z"),
            ("?r", "https://a.example/x/y.html?r"),
            ("mailto:a@b.example", "mailto:a@b.example"),
            ("#top", "#top"),
        ];
        for (address, expected) in cases {
            assert_eq!(resolve(base, address), expected, "{address}");
        }
        assert_eq!(resolve("https://a.example", "z"), "https://a.example/z");
        assert_eq!(resolve("", "z"), "z");
    }

    #[test]
    fn data() {
        let cases = [
            ("data:application/zip;base64,UEsDBA==", Some(("application/zip", "PK\x03\x04"))),
            ("DATA:text/html;charset=utf-8,%3Cb%3E", Some(("text/html", "<b>"))),
            ("data:,x", Some(("", "x"))),
            ("data:nothing", None),
            ("http://x.example/", None),
        ];
        for (address, expected) in cases {
            let found = Data::read(address);
            let found = found.as_ref().map(|data| {
                (data.media_type.as_str(), std::str::from_utf8(&data.content).unwrap())
            });
            assert_eq!(found, expected, "{address}");
        }
    }
}
