//! What the tests of macros, rich text, mail items and shortcuts share.

use super::{Extractor, Link, Piece};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Passwords, Source, UnpackError};
use crate::filetype;
use crate::limits::{Budget, Limits};

/// A length in four octets.
pub(super) fn le32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_le_bytes()
}

/// A length in two octets.
pub(super) fn le16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_le_bytes()
}

/// Everything one extractor reported.
pub(super) struct Found {
    pub(super) pieces: Vec<Piece>,
    pub(super) result: Result<(), UnpackError>,
}

/// Reads `content`, if the extractor recognises it.
pub(super) fn extract(extractor: &dyn Extractor, content: &[u8], members: &[Member]) -> Found {
    extract_named(extractor, content, members, &[])
}

/// Reads `content` that has `names`.
pub(super) fn extract_named(
    extractor: &dyn Extractor,
    content: &[u8],
    members: &[Member],
    names: &[String],
) -> Found {
    let limits = Limits::default();
    let content = bytes::Bytes::copy_from_slice(content);
    let detected = filetype::detect(&content);
    let passwords = Passwords::none();
    let source = Source { content: &content, detected: &detected, names, passwords: &passwords };
    let mut pieces = Vec::new();
    let mut result = Ok(());
    if extractor.recognises(&content, &detected, members) {
        let mut budget = Budget::new(&limits);
        result = extractor.extract(&source, members, &mut budget, &mut |piece| pieces.push(piece));
    }
    Found { pieces, result }
}

impl Found {
    fn each<T>(&self, pick: impl Fn(&Piece) -> Option<T>) -> Vec<T> {
        self.pieces.iter().filter_map(pick).collect()
    }

    /// `KIND:TEXT` of each text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Text { kind, text } => Some(format!("{kind:?}:{text}")),
            _ => None,
        })
    }

    /// `KIND:DETAIL` of each fact.
    pub(super) fn active(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Active(active) => Some(format!("{:?}:{}", active.kind, active.detail)),
            _ => None,
        })
    }

    /// `KIND:TARGET:LABEL` of each link.
    pub(super) fn links(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Link(Link { kind, target, label }) => Some(format!("{kind:?}:{target}:{label}")),
            _ => None,
        })
    }

    /// `NAME=VALUE` of each property.
    pub(super) fn properties(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Property { name, value } => Some(format!("{name}={value}")),
            _ => None,
        })
    }

    /// The names of each code module.
    pub(super) fn code(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Code(member) => Some(member.names.join("|")),
            _ => None,
        })
    }

    /// `NAMES:CONTENT` of each embedded file.
    pub(super) fn embedded(&self) -> Vec<String> {
        self.each(|piece| match piece {
            Piece::Embedded(member) => {
                let content = String::from_utf8_lossy(&member.content);
                Some(format!("{}:{content}", member.names.join("|")))
            }
            _ => None,
        })
    }

    /// The defects.
    pub(super) fn anomalies(&self) -> Vec<AnomalyKind> {
        self.each(|piece| match piece {
            Piece::Anomaly { kind, .. } => Some(*kind),
            _ => None,
        })
    }
}
