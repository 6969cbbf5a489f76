//! What goes over the pipes between the gateway and a worker: frames of one octet for the kind, eight
//! for the length (big endian), and the content.

use std::io::{self, Read, Write};

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the worker: limits and passwords, in JSON. Answered by `Ready` once it is confined.
    Terms,
    /// To the worker: a message. Answered by `Entities`.
    Message,
    /// To the worker: end with what you have. Not answered.
    Stop,
    /// From the worker: it is confined; the content says how.
    Ready,
    /// From the worker: entities as [`Entities::to_wire`](imss_core::entity::Entities::to_wire).
    Entities,
    /// From the worker: why it cannot go on, for people.
    Failed,
}

/// Octets before the content.
pub(super) const HEAD_BYTES: usize = 9;

const KINDS: [(u8, Kind); 6] = [
    (b'T', Kind::Terms),
    (b'M', Kind::Message),
    (b'S', Kind::Stop),
    (b'R', Kind::Ready),
    (b'E', Kind::Entities),
    (b'F', Kind::Failed),
];

/// The octets before the content of a frame.
pub(super) fn head(kind: Kind, length: usize) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let letter = KINDS.iter().find(|(_, known)| *known == kind).map_or(0, |(letter, _)| *letter);
    let (first, rest) = head.split_at_mut(1);
    first.fill(letter);
    rest.copy_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    head
}

/// The kind and length that the head of a frame says.
pub(super) fn parse_head(head: [u8; HEAD_BYTES]) -> Option<(Kind, u64)> {
    let [letter, length @ ..] = head;
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == letter)?;
    Some((*kind, u64::from_be_bytes(length)))
}

/// Writes one frame.
pub(super) fn write(out: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    out.write_all(&head(kind, content.len()))?;
    out.write_all(content)?;
    out.flush()
}

/// Reads one frame of at most `most` octets; `None` at the end of the stream.
pub(super) fn read(from: &mut impl Read, most: u64) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (kind, length) = parse_head(head).ok_or(io::ErrorKind::InvalidData)?;
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Grows with what arrives, not with what is claimed.
    let mut content = Vec::with_capacity(usize::try_from(length.min(1 << 20)).unwrap_or_default());
    from.take(length).read_to_end(&mut content)?;
    if content.len() as u64 == length { Ok(Some((kind, content))) } else { Ok(None) }
}
