//! A message's structure in short, for comparing two messages and for people.

use std::fmt;

use super::Message;
use super::part::{PartKind, TransferEncoding};

/// Equal for messages with the same tree of parts and bodies of the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The parts in the order of [`Message::parts`].
    pub parts: Vec<OutlinePart>,
}

/// What an outline keeps of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinePart {
    /// [`Part::number`](super::Part::number).
    pub number: String,
    /// What it holds.
    pub kind: PartKind,
    /// The media type a reader assumes.
    pub media_type: String,
    /// The declared charset, as spelled.
    pub charset: Option<String>,
    /// How it is encoded.
    pub encoding: TransferEncoding,
    /// Its names.
    pub names: Vec<String>,
    /// Octets of the encoded body.
    pub length: usize,
}

impl Outline {
    pub(super) fn of(message: &Message) -> Self {
        let parts = message.parts().iter().map(|part| OutlinePart {
            number: part.number().to_owned(),
            kind: part.kind(),
            media_type: part.media_type().to_owned(),
            charset: part.charset().map(str::to_owned),
            encoding: part.encoding(),
            names: part.names().to_vec(),
            length: part.body_range().len(),
        });
        Self { parts: parts.collect() }
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            let depth = part.number.matches('.').count();
            write!(f, "{:1$}{2} {3}", "", depth * 2, part.number, part.media_type)?;
            if part.kind == PartKind::Leaf {
                write!(f, " {}", part.encoding.as_str())?;
            }
            if let Some(charset) = &part.charset {
                write!(f, " charset={charset}")?;
            }
            if !part.names.is_empty() {
                write!(f, " names={:?}", part.names)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
