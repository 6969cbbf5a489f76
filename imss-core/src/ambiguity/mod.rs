//! What another mail reader would see in the same octets.
//!
//! A [`Reader`] is one way to resolve what the standards leave open or senders get wrong. Ours is
//! the default; [`entity`](crate::entity) reads a message again with each one that a recorded
//! defect makes plausible, and keeps what it finds beyond ours.

pub(crate) mod second;

use crate::anomaly::AnomalyKind;
use crate::message::Defects;

/// One way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reader {
    /// First field, first parameter, innermost boundary, whole-line delimiters.
    #[default]
    Ours,
    /// The last `Content-Type` counts.
    LastContentType,
    /// The last `Content-Transfer-Encoding` counts.
    LastEncoding,
    /// No transfer encoding counts.
    NoEncoding,
    /// An unknown transfer encoding is base64.
    AnyEncodingIsBase64,
    /// The last of equal parameters counts.
    LastParameter,
    /// Quotes, backslashes and spaces in parameters are read the other way.
    OtherSpelling,
    /// With equal boundaries the outer multipart's counts.
    OuterBoundaryFirst,
    /// A line that starts with a boundary is a delimiter, whatever follows.
    PrefixBoundaries,
    /// A line of blanks ends the header section.
    BlankLineEndsHeader,
    /// A malformed line ends a header section where we skip it, and the other way round.
    InvertsMalformedLines,
    /// Only an empty line ends a header section; malformed lines are skipped.
    SkipsMalformedLines,
    /// The first line that looks like a delimiter is one, whatever was declared.
    GuessBoundary,
    /// CR alone ends a line.
    BareCr,
    /// NUL octets are not there.
    WithoutNul,
    /// A multipart with a transfer encoding is content like any other.
    EncodedContainerIsContent,
    /// Whatever declares a boundary is a multipart.
    BoundaryMakesMultipart,
}

impl Reader {
    /// The name in [`Origin::Reading`](crate::entity::Origin::Reading).
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::LastContentType => "last content type",
            Self::LastEncoding => "last transfer encoding",
            Self::NoEncoding => "no transfer encoding",
            Self::AnyEncodingIsBase64 => "unknown transfer encoding as base64",
            Self::LastParameter => "last parameter",
            Self::OtherSpelling => "other spelling of parameters",
            Self::OuterBoundaryFirst => "outer boundary first",
            Self::PrefixBoundaries => "boundary as prefix",
            Self::BlankLineEndsHeader => "blank line ends header",
            Self::InvertsMalformedLines => "malformed header line",
            Self::SkipsMalformedLines => "malformed lines skipped",
            Self::GuessBoundary => "guessed boundary",
            Self::BareCr => "bare CR as line end",
            Self::WithoutNul => "without NUL",
            Self::EncodedContainerIsContent => "encoded multipart as content",
            Self::BoundaryMakesMultipart => "boundary makes multipart",
        }
    }

    /// The octets as it sees them, if that is not as they are.
    pub(crate) fn rewritten(self, raw: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::BareCr => {
                let mut out = Vec::with_capacity(raw.len());
                let mut rest = raw;
                while let Some(at) = memchr::memchr(b'\r', rest) {
                    let (line, tail) = rest.split_at_checked(at)?;
                    out.extend_from_slice(line);
                    out.push(b'\n');
                    rest = tail.get(1..)?;
                    rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                }
                out.extend_from_slice(rest);
                Some(out)
            }
            Self::WithoutNul => Some(raw.iter().copied().filter(|byte| *byte != 0).collect()),
            _ => None,
        }
    }

    /// The readers that could see something else, given what was wrong.
    pub(crate) fn plausible(defects: &Defects) -> Vec<Self> {
        let causes = [
            (AnomalyKind::ConflictingContentType, Self::LastContentType),
            (AnomalyKind::ConflictingEncoding, Self::LastEncoding),
            (AnomalyKind::ConflictingEncoding, Self::NoEncoding),
            (AnomalyKind::ConflictingEncoding, Self::AnyEncodingIsBase64),
            (AnomalyKind::ConflictingParameter, Self::LastParameter),
            (AnomalyKind::ConflictingParameter, Self::OtherSpelling),
            (AnomalyKind::MissingBoundary, Self::OtherSpelling),
            (AnomalyKind::MissingBoundary, Self::GuessBoundary),
            (AnomalyKind::PrefixBoundary, Self::OuterBoundaryFirst),
            (AnomalyKind::PrefixBoundary, Self::PrefixBoundaries),
            (AnomalyKind::MalformedHeaderLine, Self::BlankLineEndsHeader),
            (AnomalyKind::MalformedHeaderLine, Self::InvertsMalformedLines),
            (AnomalyKind::MalformedHeaderLine, Self::SkipsMalformedLines),
            (AnomalyKind::BareLineEnd, Self::BareCr),
            (AnomalyKind::Nul, Self::WithoutNul),
            (AnomalyKind::EncodedContainer, Self::EncodedContainerIsContent),
            (AnomalyKind::EncodedContainer, Self::NoEncoding),
            (AnomalyKind::ConflictingContentType, Self::BoundaryMakesMultipart),
        ];
        let mut readers: Vec<Self> = Vec::new();
        for (cause, reader) in causes {
            if defects.has(cause) && !readers.contains(&reader) {
                readers.push(reader);
            }
        }
        readers
    }
}
