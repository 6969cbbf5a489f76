//! OLE 1 object streams and packages, as rich text and `\x01Ole10Native` streams hold them
//! (MS-OLEDS §2.2 and §2.3.6).
//!
//! In: the octets of an object. Out: its class, its names, where its content lies. Writers of
//! exploits break the header on purpose and Office forgives it: nothing but the class and the length
//! of the content matters here.

use super::codepage::{self, WESTERN};
use super::ole_object::MAX_MONIKERS;
use crate::archive::le::{length, u16_at, u32_at};

/// The magic number of OLE compound files.
pub(crate) const COMPOUND: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
/// The longest name that is believed.
const LONGEST: usize = 4096;

/// An object stream (MS-OLEDS §2.2.4 and §2.2.6).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    /// The class, such as `Package`.
    pub(crate) class: String,
    /// What a linked object points to.
    pub(crate) topic: String,
    /// Whether it is linked.
    pub(crate) is_linked: bool,
    /// Its content.
    pub(crate) content: &'a [u8],
}

/// Reads an object stream; `None` if it is none.
pub(crate) fn object(octets: &[u8]) -> Option<Object<'_>> {
    let format = u32_at(octets, 4)?;
    let (class, at) = counted(octets, 8)?;
    if class.is_empty() || !class.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic()) {
        return None;
    }
    let (topic, at) = counted(octets, at).unwrap_or((String::new(), at));
    let (_, at) = counted(octets, at).unwrap_or((String::new(), at));
    let is_linked = format == 1;
    let size = u32_at(octets, at).map_or(usize::MAX, |size| length(size.into()));
    let start = at.saturating_add(4).min(octets.len());
    let content = octets.get(start..).unwrap_or_default();
    let content = content.get(..size).unwrap_or(content);
    Some(Object { class, topic, is_linked, content })
}

/// A string after its length, its NUL included (MS-OLEDS §2.1.4).
fn counted(octets: &[u8], at: usize) -> Option<(String, usize)> {
    let size = length(u32_at(octets, at)?.into());
    if size > LONGEST {
        return None;
    }
    let start = at.checked_add(4)?;
    let end = start.checked_add(size)?;
    let text = codepage::before_nul(octets.get(start..end)?);
    Some((codepage::decode(text, WESTERN), end))
}

/// A packed file (MS-OLEDS §2.3.6 leaves its layout to the packager).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package<'a> {
    /// Its names, best first: the file name, the label, the path it came from.
    pub(crate) names: Vec<String>,
    /// The file.
    pub(crate) content: &'a [u8],
    /// Whether the file ends where it should.
    pub(crate) is_whole: bool,
}

/// Reads a package: the native data of an object of class `Package`, or an `Ole10Native` stream
/// behind its length.
pub(crate) fn package(octets: &[u8]) -> Option<Package<'_>> {
    if u16_at(octets, 0)? != 2 {
        return None;
    }
    let (label, at) = terminated(octets, 2)?;
    let (path, at) = terminated(octets, at)?;
    let at = at.checked_add(4)?;
    let size = length(u32_at(octets, at)?.into());
    let start = at.checked_add(4)?;
    let end = start.checked_add(size)?;
    let command = codepage::decode(codepage::before_nul(octets.get(start..end)?), WESTERN);
    let size = length(u32_at(octets, end)?.into());
    let start = end.checked_add(4)?;
    let rest = octets.get(start..)?;
    let content = rest.get(..size).unwrap_or(rest);
    let mut names = Vec::new();
    // Three counted UTF-16 strings follow: command, label, path.
    let mut at = start.saturating_add(content.len());
    let mut wide = Vec::new();
    while let Some(size) = u32_at(octets, at).filter(|_| wide.len() < 3) {
        let text = at.checked_add(4).and_then(|from| {
            let end = from.checked_add(length(u64::from(size).saturating_mul(2)))?;
            octets.get(from..end)
        });
        let Some(text) = text else { break };
        at = at.saturating_add(4).saturating_add(text.len());
        wide.push(codepage::until_nul(&codepage::utf16(text)).to_owned());
    }
    wide.reverse();
    for path in wide.into_iter().chain([label, path, command]) {
        let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
        for name in [name, &path] {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    Some(Package { names, content, is_whole: rest.len() >= size })
}

/// A string that ends with a NUL.
fn terminated(octets: &[u8], at: usize) -> Option<(String, usize)> {
    let rest = octets.get(at..)?;
    let end = memchr::memchr(0, rest.get(..LONGEST.min(rest.len()))?)?;
    let text = codepage::decode(rest.get(..end)?, WESTERN);
    Some((text, at.checked_add(end)?.checked_add(1)?))
}

/// Whether objects of this class are known for exploits: the equation editor, the list view and tree
/// view controls, the loader of an unprotected library.
pub(crate) fn is_exploited(class: &str) -> bool {
    let class = class.to_ascii_lowercase();
    let known =
        ["equation", "mscomctllib.", "mscomctl.", "comctllib.", "otkloadr", "shell.explorer"];
    known.iter().any(|start| class.starts_with(start))
}

/// The class identifier of the equation editor, as stored.
const EQUATION: &[u8] = &[2, 0xce, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
/// The class identifier of URL monikers (MS-OSHARED §2.3.7.6), as stored.
const URL_MONIKER: &[u8] =
    &[0xe0, 0xc9, 0xea, 0x79, 0xf9, 0xba, 0xce, 0x11, 0x8c, 0x82, 0, 0xaa, 0, 0x4b, 0xa9, 0x0b];

/// Whether `octets` hold the class identifier of the equation editor.
pub(crate) fn has_equation(octets: &[u8]) -> bool {
    octets.starts_with(COMPOUND) && memchr::memmem::find(octets, EQUATION).is_some()
}

/// The addresses of the URL monikers in `octets`, and whether there were more.
pub(crate) fn monikers(octets: &[u8]) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    for (place, at) in memchr::memmem::find_iter(octets, URL_MONIKER).enumerate() {
        if place >= MAX_MONIKERS {
            return (found, true);
        }
        let start = at.saturating_add(URL_MONIKER.len()).saturating_add(4);
        let rest = octets.get(start..).unwrap_or_default();
        let text = codepage::utf16(rest.get(..LONGEST.min(rest.len())).unwrap_or_default());
        let target = codepage::until_nul(&text);
        if !target.is_empty() {
            found.push(target.to_owned());
        }
    }
    (found, false)
}

#[cfg(test)]
mod tests {
    use super::super::pieces::le32;
    use super::*;

    fn text(text: &[u8]) -> Vec<u8> {
        [&le32(text.len() + 1)[..], text, &[0]].concat()
    }

    #[test]
    fn objects() {
        let make = |version: u32, format: u32, class: &[u8]| {
            let head = [version.to_le_bytes(), format.to_le_bytes()].concat();
            let size = 3_u32.to_le_bytes();
            [&head, &text(class)[..], &text(b"topic"), &text(b"item"), &size, b"abcRest"].concat()
        };
        let cases = [
            ("embedded", make(0x501, 2, b"Package"), Some(("Package", false))),
            (
                "a version nobody knows",
                make(0x4141_4141, 2, b"Equation.3"),
                Some(("Equation.3", false)),
            ),
            ("linked", make(0x501, 1, b"OLE2Link"), Some(("OLE2Link", true))),
            ("no class", make(0x501, 2, b"\x01\x02"), None),
        ];
        for (name, octets, expected) in cases {
            let found = object(&octets);
            let seen = found.as_ref().map(|found| (found.class.as_str(), found.is_linked));
            assert_eq!(seen, expected, "{name}");
            assert!(found.is_none_or(|found| found.content == b"abc"), "{name}");
        }
    }

    #[test]
    fn packages() {
        let size = 4_u32.to_le_bytes();
        let head = [b"\x02\0a.txt\0C:\\x\\a.txt\0\0\0\x03\0", &text(b"C:\\t\\a.txt")[..]].concat();
        let whole = [&head, &size[..], b"data"].concat();
        let found = package(&whole).unwrap();
        assert_eq!(found.names, ["a.txt", "C:\\x\\a.txt", "C:\\t\\a.txt"]);
        assert_eq!((found.content, found.is_whole), (&b"data"[..], true));
        let cut = package(&whole[..whole.len() - 2]).unwrap();
        assert_eq!((cut.content, cut.is_whole), (&b"da"[..], false));
        let wide = b"\x01\0\0\0c\0\x01\0\0\0l\0\x02\0\0\0\xe5\x65,\x67";
        assert_eq!(package(&[&whole[..], wide].concat()).unwrap().names[0], "日本");
        assert_eq!(package(b"\x03\0"), None);
    }

    #[test]
    fn monikers_name_their_target() {
        let url = b"\x20\0\0\0h\0t\0t\0p\0:\0/\0/\0a\0\0\0";
        let found = monikers(&[b"..", URL_MONIKER, &url[..]].concat());
        assert_eq!(found, (vec!["http://a".to_owned()], false));
        assert!(monikers(b"none").0.is_empty());
        assert!(is_exploited("eQuation.2") && !is_exploited("Word.Document.8"));
    }
}
