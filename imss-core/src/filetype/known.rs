//! The tables of known types and signatures, and the search in them.
//!
//! In: `types.txt` and `signatures.txt`, read once. A line that cannot be read is left out; a test
//! asserts that there is none.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use super::{FileType, TypeGroup};

static TYPES: LazyLock<HashMap<&'static str, FileType>> =
    LazyLock::new(|| lines(include_str!("types.txt")).filter_map(file_type).collect());

static SIGNATURES: LazyLock<Vec<Signature>> =
    LazyLock::new(|| lines(include_str!("signatures.txt")).filter_map(signature).collect());

/// What nobody knows.
pub(super) const BINARY: FileType = FileType {
    name: "Binary data",
    media_type: "application/octet-stream",
    extension: "bin",
    group: TypeGroup::Other,
};

/// Octets at the start in which a signature without a place may lie.
const ANYWHERE: usize = 1_024;

/// Octets that a type has at a place.
struct Signature {
    of: FileType,
    parts: Vec<(Place, Vec<u8>)>,
}

enum Place {
    Start(usize),
    End(usize),
    Anywhere,
}

/// The type with that id in `types.txt`.
pub(super) fn known(id: &str) -> FileType {
    TYPES.get(id).copied().unwrap_or(BINARY)
}

/// The type of the first signature that matches.
pub(super) fn by_signature(content: &[u8]) -> Option<FileType> {
    SIGNATURES.iter().find(|signature| signature.matches(content)).map(|signature| signature.of)
}

/// Lines that say something.
pub(super) fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// The group of that name.
pub(super) fn group(name: &str) -> Option<TypeGroup> {
    let name: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
    TypeGroup::deserialize(name).ok()
}

impl Signature {
    fn matches(&self, content: &[u8]) -> bool {
        let part = |(place, octets): &(Place, Vec<u8>)| {
            let rest = match place {
                Place::Start(at) => content.get(*at..),
                Place::End(at) => content.get(content.len().saturating_sub(*at)..),
                Place::Anywhere => {
                    let head = content.get(..ANYWHERE.min(content.len())).unwrap_or_default();
                    return memchr::memmem::find(head, octets).is_some();
                }
            };
            rest.is_some_and(|rest| rest.starts_with(octets))
        };
        self.parts.iter().all(part)
    }
}

fn file_type(line: &'static str) -> Option<(&'static str, FileType)> {
    let mut columns = line.split('|');
    let id = columns.next()?;
    let (name, media_type, extension) = (columns.next()?, columns.next()?, columns.next()?);
    let group = group(columns.next()?)?;
    Some((id, FileType { name, media_type, extension, group }))
}

fn signature(line: &'static str) -> Option<Signature> {
    let mut columns = line.split(' ');
    let of = *TYPES.get(columns.next()?)?;
    let parts: Option<Vec<_>> = columns.map(part).collect();
    Some(Signature { of, parts: parts.filter(|parts| !parts.is_empty())? })
}

fn part(column: &str) -> Option<(Place, Vec<u8>)> {
    let (place, octets) = column.split_once(':')?;
    let place = match place.strip_prefix('-') {
        _ if place == "*" => Place::Anywhere,
        Some(from_end) => Place::End(from_end.parse().ok()?),
        None => Place::Start(place.parse().ok()?),
    };
    let mut pieces = octets.split("\\x");
    let mut out = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        out.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        out.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    Some((place, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        assert_eq!(TYPES.len(), lines(include_str!("types.txt")).count());
        assert_eq!(SIGNATURES.len(), lines(include_str!("signatures.txt")).count());
    }

    /// The least content that has a signature.
    fn sample(signature: &Signature) -> Vec<u8> {
        let mut content = vec![0; 2_048];
        for (place, octets) in &signature.parts {
            let at = match place {
                Place::Start(at) => *at,
                Place::End(at) => 40_000 - at,
                Place::Anywhere => 200,
            };
            content.resize(content.len().max(at + octets.len()), 0);
            content[at..at + octets.len()].copy_from_slice(octets);
        }
        if signature.parts.iter().any(|(place, _)| matches!(place, Place::End(_))) {
            content.resize(40_000, 0);
        }
        content
    }

    #[test]
    fn every_signature_is_reached() {
        let mut reached = std::collections::HashSet::new();
        for (line, signature) in lines(include_str!("signatures.txt")).zip(SIGNATURES.iter()) {
            let found = crate::filetype::detect(&sample(signature));
            assert_eq!(found.name, signature.of.name, "{line}");
            reached.insert(line.split(' ').next());
        }
        assert!(reached.len() >= 200, "{}", reached.len());
    }
}
