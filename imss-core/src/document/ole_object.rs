//! What OLE objects are made of: class identifiers, packed files, monikers ([MS-OLEDS], [MS-OSHARED]).
//!
//! In: a class identifier, or the octets of one of an object's streams. Out: what they name. The
//! readers of OLE files, RTF and OOXML share this. Octets that mean nothing give nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::active::{Active, ActiveKind};
use crate::archive::le::{length, u16_at, u32_at};
use crate::charset;

/// Longest name or target read, in octets.
const MAX_NAME: usize = 4096;
/// Monikers read from one stream.
pub(crate) const MAX_MONIKERS: usize = 1000;

/// A class known by its identifier or program name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    /// What an object of it does, if that is worth a fact.
    pub(crate) kind: Option<ActiveKind>,
    /// Its program name, such as `Equation.3`.
    pub(crate) name: &'static str,
}

impl Class {
    /// The fact that an object of this class is there.
    pub(crate) fn active(self) -> Option<Active> {
        self.kind.map(|kind| Active::new(kind, self.name))
    }
}

/// The class of an identifier as stored in files.
pub(crate) fn class(id: &[u8; 16]) -> Option<Class> {
    CLASSES.get(id).copied()
}

/// The class of a program name, in any case; versions after the first are the same class.
pub(crate) fn class_named(name: &str) -> Option<Class> {
    let name = name.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_ascii_lowercase();
    BY_NAME.get(name.as_str()).copied()
}

/// A file packed as an OLE object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Its names: label, source path, the path that the command opens; each once, best first.
    pub(crate) names: Vec<String>,
    /// The path that a click opens.
    pub(crate) command: String,
    /// The file; shared with the stream.
    pub(crate) content: Bytes,
    /// Octets claimed.
    pub(crate) claimed_size: u64,
}

/// Reads a stream `\x01Ole10Native`, or the native data of an OLE 1 object of class `Package`
/// ([MS-OLEDS] 2.3.6).
pub(crate) fn native(stream: &Bytes) -> Option<Packed> {
    // RTF objects hold the structure without the length before it.
    let with_length =
        u16_at(stream, 4).is_some_and(|kind| kind <= 3) && u16_at(stream, 0) != Some(2);
    packed(stream, if with_length { 4 } else { 0 })
        .or_else(|| packed(stream, if with_length { 0 } else { 4 }))
}

fn packed(stream: &Bytes, start: usize) -> Option<Packed> {
    if u16_at(stream, start)? != 2 {
        return None;
    }
    let (label, at) = ansi(stream, start.checked_add(2)?)?;
    let (source, at) = ansi(stream, at)?;
    // Two numbers: 0, then 3 for a file and 1 for a link to one.
    let is_file = u16_at(stream, at.checked_add(2)?)? == 3;
    let at = at.checked_add(4)?;
    let command_octets = length(u32_at(stream, at)?.into());
    let at = at.checked_add(4)?;
    let command = stream.get(at..at.checked_add(command_octets)?)?;
    let command = text(until_nul(command));
    let at = at.checked_add(command_octets)?;
    let (claimed, content, end) = if is_file {
        let claimed = u32_at(stream, at)?;
        let from = at.checked_add(4)?;
        let end = from.saturating_add(length(claimed.into())).min(stream.len());
        (claimed, stream.slice(from..end), end)
    } else {
        (0, Bytes::new(), at)
    };
    let mut names = Vec::new();
    let mut wide = wide_names(stream, end);
    // Stored are command, label, source; the command's name is a temporary one.
    let middle = wide.len().min(1);
    wide.rotate_left(middle);
    for name in wide.into_iter().chain([label, source, command.clone()]) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    Some(Packed { names, command, content, claimed_size: claimed.into() })
}

/// The Unicode forms of command, label and source that newer programs write after the file.
fn wide_names(stream: &[u8], mut at: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..3 {
        let Some(units) = u32_at(stream, at).map(|units| length(units.into())) else { break };
        let start = at.saturating_add(4);
        let end = start.saturating_add(units.saturating_mul(2));
        let Some(octets) = stream.get(start..end).filter(|_| units <= MAX_NAME) else { break };
        names.push(wide(octets));
        at = end;
    }
    names
}

/// A moniker: what a link points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moniker {
    /// An address.
    Url(String),
    /// A path.
    File(String),
    /// Code: a scriptlet, or a class that makes one.
    Code(&'static str),
}

impl Moniker {
    /// What it points to.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Url(target) | Self::File(target) => target,
            Self::Code(class) => class,
        }
    }
}

/// The class identifiers of monikers ([MS-OSHARED] 2.3.7).
const URL: [u8; 16] = *b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
const FILE: [u8; 16] = *b"\x03\x03\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
const SCRIPT: [u8; 16] = *b"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc";
const SOAP: [u8; 16] = *b"\xc7\xb0\xab\xec\x19\x7f\xd2\x11\x97\x8e\x00\x00\xf8\x75\x7e\x2a";

/// The monikers anywhere in `stream`, in order, and whether there were more. Reads the stream once for
/// each kind.
pub(crate) fn monikers(stream: &[u8]) -> (Vec<Moniker>, bool) {
    let mut is_cut = false;
    let mut most = |id: &'static [u8]| {
        let mut places: Vec<usize> =
            memmem::find_iter(stream, id).take(MAX_MONIKERS.saturating_add(1)).collect();
        is_cut |= places.len() > MAX_MONIKERS;
        places.truncate(MAX_MONIKERS);
        places
    };
    let (urls, files) = (most(&URL), most(&FILE));
    let mut found: Vec<(usize, Moniker)> = Vec::new();
    let after = |at: usize| at.saturating_add(16);
    for at in urls {
        let octets = u32_at(stream, after(at)).map_or(0, |octets| length(octets.into()));
        let start = at.saturating_add(20);
        let end = start.saturating_add(octets.min(MAX_NAME)).min(stream.len());
        let url = wide(stream.get(start..end).unwrap_or_default());
        if !url.is_empty() {
            found.push((at, Moniker::Url(url)));
        }
    }
    for at in files {
        let octets =
            u32_at(stream, at.saturating_add(18)).map_or(0, |octets| length(octets.into()));
        let start = at.saturating_add(22);
        let end = start.saturating_add(octets.min(MAX_NAME));
        let path = stream.get(start..end).map(|path| text(until_nul(path)));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            found.push((at, Moniker::File(path)));
        }
    }
    for (id, name) in [(SCRIPT, "script moniker"), (SOAP, "soap moniker")] {
        let places = memmem::find_iter(stream, &id).take(1);
        found.extend(places.map(|at| (at, Moniker::Code(name))));
    }
    found.sort_by_key(|(at, _)| *at);
    (found.into_iter().map(|(_, moniker)| moniker).collect(), is_cut)
}

/// What a stream `\x01CompObj` names: class identifier and program name ([MS-OLEDS] 2.3.8).
pub(crate) fn comp_obj(stream: &[u8]) -> (Option<[u8; 16]>, String) {
    let id = stream.get(12..28).and_then(|id| id.try_into().ok());
    let program = || {
        let user_type = length(u32_at(stream, 28)?.into());
        let at = user_type.checked_add(32)?;
        // A registered clipboard format has a name, others have a number or nothing.
        let format = u32_at(stream, at)?;
        let skipped = match format {
            0 => 0,
            0xffff_ffff | 0xffff_fffe => 4,
            octets => length(octets.into()),
        };
        let at = at.checked_add(4)?.checked_add(skipped)?;
        let octets = length(u32_at(stream, at)?.into()).min(256);
        let at = at.checked_add(4)?;
        stream.get(at..at.checked_add(octets)?).map(|name| text(until_nul(name)))
    };
    (id, program().unwrap_or_default())
}

/// Octets up to the first NUL as text in the writer's charset, which nothing names.
fn ansi(stream: &[u8], at: usize) -> Option<(String, usize)> {
    let rest = stream.get(at..)?;
    let end = memchr(0, rest.get(..rest.len().min(MAX_NAME))?)?;
    Some((text(rest.get(..end)?), at.checked_add(end)?.checked_add(1)?))
}

fn text(octets: &[u8]) -> String {
    charset::decode(octets, None).text
}

/// UTF-16 up to the first NUL.
fn wide(octets: &[u8]) -> String {
    let units = octets.chunks_exact(2).filter_map(|pair| u16_at(pair, 0));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

fn until_nul(octets: &[u8]) -> &[u8] {
    octets.split(|octet| *octet == 0).next().unwrap_or_default()
}

static CLASSES: LazyLock<HashMap<[u8; 16], Class>> = LazyLock::new(|| {
    let lines = include_str!("ole_classes.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(class_line).collect()
});

static BY_NAME: LazyLock<HashMap<String, Class>> = LazyLock::new(|| {
    let named = CLASSES.values().map(|class| (class.name.to_ascii_lowercase(), *class));
    let mut names: HashMap<String, Class> = named.collect();
    // Program names without a version mean the newest.
    for (name, of) in [
        ("equation", "equation.3"),
        ("shockwaveflash.shockwaveflash.1", "shockwaveflash.shockwaveflash"),
    ] {
        if let Some(class) = names.get(of).copied() {
            names.insert(name.to_owned(), class);
        }
    }
    names
});

fn class_line(line: &'static str) -> Option<([u8; 16], Class)> {
    let (id, rest) = line.split_once(' ')?;
    let (kind, name) = rest.split_once(' ')?;
    let kind = match kind {
        "package" => Some(ActiveKind::OlePackage),
        "exploited" => Some(ActiveKind::ExploitedClass),
        "control" => Some(ActiveKind::ActiveX),
        "media" => Some(ActiveKind::RichMedia),
        "link" => Some(ActiveKind::OleLink),
        _ => None,
    };
    let digits: Vec<u8> = id.bytes().filter(|octet| *octet != b'-').collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let octets: Vec<u8> = digits.chunks(2).map_while(octet).collect();
    let mut octets: [u8; 16] = octets.try_into().ok()?;
    // The first three fields are numbers, stored little-endian.
    for field in [0..4, 4..6, 6..8] {
        octets.get_mut(field)?.reverse();
    }
    Some((octets, Class { kind, name }))
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests {
    use super::*;

    /// A package as the system writes it.
    fn package(kind: u16, wide: &[&str]) -> Vec<u8> {
        let mut stream = vec![2, 0];
        stream.extend(b"note.txt\0C:\\from\\note.txt\0\0\0");
        stream.extend(kind.to_le_bytes());
        stream.extend(10_u32.to_le_bytes());
        stream.extend(b"C:\\tmp\\n.t");
        stream.extend(5_u32.to_le_bytes());
        stream.extend(b"hello");
        for name in wide {
            stream.extend((name.encode_utf16().count() as u32).to_le_bytes());
            stream.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        }
        stream
    }

    #[test]
    fn packed_files_are_found() {
        let with_length =
            |stream: Vec<u8>| [&(stream.len() as u32).to_le_bytes()[..], &stream].concat();
        let cases = [
            ("stream", with_length(package(3, &[])), "note.txt", "hello"),
            ("no length, as in RTF", package(3, &[]), "note.txt", "hello"),
            (
                "wide names",
                with_length(package(3, &["C:\\x", "注.txt", "D:\\y"])),
                "注.txt",
                "hello",
            ),
            ("a link has no content", with_length(package(1, &[])), "note.txt", ""),
        ];
        for (name, stream, first, content) in cases {
            let packed = native(&Bytes::from(stream)).unwrap();
            assert_eq!(packed.names[0], first, "{name}");
            assert_eq!(packed.content, content, "{name}");
            assert_eq!(packed.command, "C:\\tmp\\n.t", "{name}");
        }
        for end in 0..40 {
            let _ = native(&Bytes::from(package(3, &[])[..end].to_vec()));
        }
        assert_eq!(native(&Bytes::from_static(b"\x1c\0\0\0\x02\0\x9e\xc4")), None);
    }

    #[test]
    fn classes_are_known() {
        let id = *b"\x02\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
        let equation = class(&id).unwrap();
        assert_eq!(
            (equation.kind, equation.name),
            (Some(ActiveKind::ExploitedClass), "Equation.3")
        );
        assert_eq!(class_named("EQUATION.3\0"), Some(equation));
        assert_eq!(class(&[0; 16]), None);
        let rows = include_str!("ole_classes.txt").lines().filter(|line| !line.starts_with('#'));
        assert_eq!(CLASSES.len(), rows.count());
    }

    #[test]
    fn monikers_are_found_anywhere() {
        let mut stream = b"xx".to_vec();
        stream.extend(URL);
        let url: Vec<u8> = "http://a.test/\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        stream.extend((url.len() as u32).to_le_bytes());
        stream.extend(url);
        stream.extend(FILE);
        stream.extend([0, 0, 5, 0, 0, 0]);
        stream.extend(b"C:\\a\0");
        let (found, _) = monikers(&stream);
        assert_eq!(found, [Moniker::Url("http://a.test/".into()), Moniker::File("C:\\a".into())]);
    }
}
