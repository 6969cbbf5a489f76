//! What the tests of extractors of OLE files share.

use super::{Active, Extractor, LinkKind, Piece, TextKind};
use crate::archive::{Member, Passwords, Source, UnpackError, Unpacked, unpackers};
use crate::filetype;
use crate::limits::{Budget, Limits};

/// Everything one extractor reported.
#[derive(Default)]
pub(super) struct Found {
    pub(super) texts: Vec<(TextKind, String)>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) links: Vec<(LinkKind, String, String)>,
    pub(super) active: Vec<Active>,
    pub(super) embedded: Vec<Member>,
    pub(super) code: Vec<Member>,
    pub(super) error: Option<UnpackError>,
}

impl Found {
    /// The texts of one kind, a line each.
    pub(super) fn text(&self, kind: TextKind) -> String {
        let texts = self.texts.iter().filter(|(own, _)| *own == kind);
        texts.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Unpacks `content` and gives its members to `extractor`.
pub(super) fn extract(extractor: &dyn Extractor, content: Vec<u8>) -> Found {
    extract_with(extractor, content, &Passwords::none())
}

/// The same, trying `passwords`.
pub(super) fn extract_with(
    extractor: &dyn Extractor,
    content: Vec<u8>,
    passwords: &Passwords,
) -> Found {
    let limits = Limits::default();
    let mut budget = Budget::new(&limits);
    let content = bytes::Bytes::from(content);
    let detected = filetype::detect(&content);
    let source = Source { content: &content, detected: &detected, names: &[], passwords };
    let mut members = Vec::new();
    for unpacker in unpackers().iter().filter(|own| own.recognises(&content, &detected)) {
        let mut keep = |unpacked| {
            if let Unpacked::Member(member) = unpacked {
                members.push(member);
            }
        };
        unpacker.unpack(&source, &mut budget, &mut keep).unwrap();
    }
    assert!(extractor.recognises(&content, &detected, &members), "not recognised");
    let mut found = Found::default();
    let mut pieces = Vec::new();
    let result = extractor.extract(&source, &members, &mut budget, &mut |piece| pieces.push(piece));
    found.error = result.err();
    for piece in pieces {
        match piece {
            Piece::Text { kind, text } => found.texts.push((kind, text)),
            Piece::Property { name, value } => found.properties.push((name, value)),
            Piece::Link(link) => found.links.push((link.kind, link.target, link.label)),
            Piece::Active(active) => found.active.push(active),
            Piece::Embedded(member) => found.embedded.push(member),
            Piece::Code(member) => found.code.push(member),
            Piece::Anomaly { .. } => {}
        }
    }
    found
}
