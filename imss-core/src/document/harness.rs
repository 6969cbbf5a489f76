//! What the tests of all extractors share.

use bytes::Bytes;

use super::{Active, ActiveKind, Extractor, LinkKind, Piece, TextKind};
use crate::archive::{Member, Passwords, Source, UnpackError};
use crate::filetype;
use crate::limits::{Budget, Limits};

/// Everything one extractor reported.
pub(crate) struct Found {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) result: Result<(), UnpackError>,
}

impl Found {
    /// The text of one kind, a piece a line.
    pub(crate) fn text(&self, wanted: TextKind) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text { kind, text } if *kind == wanted => Some(text.clone()),
            _ => None,
        };
        self.pieces.iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }

    /// What acts.
    pub(crate) fn active(&self) -> Vec<(ActiveKind, &str)> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Active(Active { kind, detail }) => Some((*kind, detail.as_str())),
                _ => None,
            })
            .collect()
    }

    /// What is pointed to: for what, target, label.
    pub(crate) fn links(&self) -> Vec<(LinkKind, &str, &str)> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Link(link) => Some((link.kind, link.target.as_str(), link.label.as_str())),
                _ => None,
            })
            .collect()
    }

    /// `NAME=VALUE` of each property.
    pub(crate) fn properties(&self) -> Vec<String> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Property { name, value } => Some(format!("{name}={value}")),
                _ => None,
            })
            .collect()
    }

    /// `NAME:CONTENT` of files and code inside.
    pub(crate) fn inside(&self) -> Vec<String> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Embedded(member) | Piece::Code(member) => {
                    let name = member.names.first().map_or("", String::as_str);
                    Some(format!("{name}:{}", String::from_utf8_lossy(&member.content)))
                }
                _ => None,
            })
            .collect()
    }
}

/// A member with this name and content.
pub(crate) fn member(name: &str, content: &[u8]) -> Member {
    Member {
        names: vec![name.to_owned()],
        claimed_size: content.len() as u64,
        content: Bytes::copy_from_slice(content),
        missing: None,
    }
}

/// Reads a package of these parts.
pub(crate) fn package(extractor: &dyn Extractor, parts: &[(&str, &str)]) -> Found {
    let members: Vec<Member> =
        parts.iter().map(|(name, content)| member(name, content.as_bytes())).collect();
    extract(extractor, b"", &members, &Limits::small())
}

/// Reads `content`.
pub(crate) fn single(extractor: &dyn Extractor, content: &[u8]) -> Found {
    extract(extractor, content, &[], &Limits::small())
}

/// Reads `content` with what unpackers found in it.
pub(crate) fn extract(
    extractor: &dyn Extractor,
    content: &[u8],
    members: &[Member],
    limits: &Limits,
) -> Found {
    let mut pieces = Vec::new();
    let mut budget = Budget::new(limits);
    let content = Bytes::copy_from_slice(content);
    let detected = filetype::detect(&content);
    assert!(extractor.recognises(&content, &detected, members), "not recognised");
    let passwords = Passwords::none();
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    let result = extractor.extract(&source, members, &mut budget, &mut |piece| pieces.push(piece));
    Found { pieces, result }
}
