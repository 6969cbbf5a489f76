//! Defects seen while reading: data for policy, never errors.

use serde::{Deserialize, Serialize};

use crate::ids::EntityId;

/// One defect, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What is wrong.
    pub kind: AnomalyKind,
    /// The entity it was seen in.
    pub entity: EntityId,
    /// Octets from the start of that entity's raw bytes.
    pub offset: u64,
    /// What was seen, for people; escaped, at most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The kinds of defects. [`AnomalyKind::is_ambiguous`] tells those apart that change what another
/// reader would see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AnomalyKind {
    /// A line end that is CR or LF alone (RFC 5322 §2.3).
    BareLineEnd,
    /// A NUL octet.
    Nul,
    /// An octet above 127 in a header field without SMTPUTF8.
    RawHeaderOctets,
    /// A line of the header section that is neither a field nor a continuation.
    MalformedHeaderLine,
    /// The header section has no empty line after it.
    MissingHeaderEnd,
    /// A field that must occur once occurs again (RFC 5322 §3.6) with the same meaning.
    DuplicateField,
    /// `Content-Type` occurs again, or cannot be parsed, so readers choose differently.
    ConflictingContentType,
    /// `Content-Transfer-Encoding` occurs again with another value, or is unknown.
    ConflictingEncoding,
    /// A multipart without a usable `boundary` parameter.
    MissingBoundary,
    /// A parameter that occurs again with another value.
    ConflictingParameter,
    /// The close-delimiter is missing (RFC 2046 §5.1.1).
    MissingCloseDelimiter,
    /// A boundary that is a prefix of another open one.
    PrefixBoundary,
    /// Content outside the parts that could be an entity by itself.
    ContentOutsideParts,
    /// A transfer encoding on a multipart or message (RFC 2045 §6.4 forbids it).
    EncodedContainer,
    /// Octets that do not belong to the transfer encoding.
    MalformedEncoding,
    /// Text that its declared charset cannot decode.
    UndecodableText,
    /// No charset, or one nobody knows: it was guessed.
    UnknownCharset,
    /// `message/partial`: a piece of a message (RFC 2046 §5.2.2).
    PartialMessage,
    /// `message/external-body`: the content is elsewhere (RFC 2046 §5.2.3).
    ExternalBody,
    /// The name says one type, the content another.
    TypeMismatch,
    /// A name with a hidden or doubled extension, or direction-changing characters.
    DeceptiveName,
    /// An archive's two directories disagree.
    ContradictoryArchive,
    /// Octets before, between or after what the format describes.
    TrailingData,
    /// Content that is validly of several types, so that what opens it decides what it is.
    Polyglot,
    /// Another parser reads other content than we do.
    ReaderDifference,
}

impl AnomalyKind {
    /// Whether two mail readers would show different content because of it.
    #[must_use]
    pub fn is_ambiguous(self) -> bool {
        matches!(
            self,
            Self::ConflictingContentType
                | Self::ConflictingEncoding
                | Self::ConflictingParameter
                | Self::PrefixBoundary
                | Self::EncodedContainer
                | Self::ContradictoryArchive
                | Self::ReaderDifference
        )
    }
}
