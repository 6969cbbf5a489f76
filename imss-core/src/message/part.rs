//! One part of a message's structure: where it is, and what its fields say about it.

use std::ops::Range;

/// A node of the MIME tree. Part 0 is the message's own content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub(crate) number: String,
    pub(crate) parent: Option<usize>,
    pub(crate) kind: PartKind,
    pub(crate) header: Range<usize>,
    pub(crate) body: Range<usize>,
    pub(crate) fields: Range<usize>,
    pub(crate) declared: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) boundary: Option<Vec<u8>>,
    pub(crate) encoding: TransferEncoding,
    pub(crate) disposition: Option<Disposition>,
    pub(crate) names: Vec<String>,
    pub(crate) in_digest: bool,
    pub(crate) closed: bool,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// Other parts, between delimiters.
    Multipart,
    /// A message in plain sight: its only child is that message's own content.
    Message,
    /// Content, transfer-encoded or not. An attached message that is encoded is one of these.
    Leaf,
}

/// `Content-Transfer-Encoding` (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TransferEncoding {
    /// `7bit`, `8bit`, `binary`, none, or one nobody knows: the octets are the content.
    #[default]
    Identity,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `x-uuencode` and its other names.
    Uuencode,
    /// `x-yenc`.
    Yenc,
}

/// The first word of `Content-Disposition` (RFC 2183).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// `inline`.
    Inline,
    /// `attachment`, and any word that nobody knows (RFC 2183 §2.8).
    Attachment,
}

impl Part {
    /// Its number as in IMAP (RFC 9051 §6.4.5.1), such as `1.2`. The multipart at the top of a
    /// message, which IMAP does not number, is `0`, and `2.0` in the message attached as part 2.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The place in [`Message::parts`](super::Message::parts) of what it is in.
    #[must_use]
    pub fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> PartKind {
        self.kind
    }

    /// Header section and body, without the line end that belongs to the next delimiter.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.header.start..self.body.end
    }

    /// The header section's lines, without the empty line after them.
    #[must_use]
    pub fn header_range(&self) -> Range<usize> {
        self.header.clone()
    }

    /// The body as received, without the line end that belongs to the next delimiter.
    #[must_use]
    pub fn body_range(&self) -> Range<usize> {
        self.body.clone()
    }

    /// The media type a reader assumes, in lower case: the declared one, or the default
    /// (RFC 2045 §5.2, RFC 2046 §5.1.5).
    #[must_use]
    pub fn media_type(&self) -> &str {
        let default = if self.in_digest { "message/rfc822" } else { "text/plain" };
        self.declared.as_deref().unwrap_or(default)
    }

    /// The declared media type, in lower case.
    #[must_use]
    pub fn declared(&self) -> Option<&str> {
        self.declared.as_deref()
    }

    /// The declared charset, as spelled.
    #[must_use]
    pub fn charset(&self) -> Option<&str> {
        self.charset.as_deref()
    }

    /// The delimiter's text, without the two hyphens before it.
    #[must_use]
    pub fn boundary(&self) -> Option<&[u8]> {
        self.boundary.as_deref()
    }

    /// How the body is encoded.
    #[must_use]
    pub fn encoding(&self) -> TransferEncoding {
        self.encoding
    }

    /// Whether it asks to be shown or saved.
    #[must_use]
    pub fn disposition(&self) -> Option<Disposition> {
        self.disposition
    }

    /// Every spelling of its file name that a reader could show, best first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl TransferEncoding {
    /// The word for it in header fields.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
            Self::Uuencode => "x-uuencode",
            Self::Yenc => "x-yenc",
        }
    }

    /// The encoding that `value` names, comments and stray punctuation left out; `None` if nobody
    /// knows it.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let mut depth = 0_usize;
        let mut word = Vec::with_capacity(16);
        for byte in value.iter().map(u8::to_ascii_lowercase) {
            match byte {
                b'(' => depth = depth.saturating_add(1),
                b')' => depth = depth.saturating_sub(1),
                b';' if depth == 0 => break,
                b'a'..=b'z' | b'0'..=b'9' | b'-' if depth == 0 => word.push(byte),
                _ => {}
            }
        }
        match word.as_slice() {
            b"base64" | b"x-base64" | b"base-64" | b"base64url" => Some(Self::Base64),
            b"quoted-printable" | b"quotedprintable" | b"x-quoted-printable" | b"x-qp" => {
                Some(Self::QuotedPrintable)
            }
            b"x-uuencode" | b"uuencode" | b"x-uue" | b"uue" | b"x-uuencoded" | b"uuencoded"
            | b"x-uu" => Some(Self::Uuencode),
            b"x-yenc" | b"yenc" => Some(Self::Yenc),
            b"" | b"7bit" | b"8bit" | b"binary" | b"7-bit" | b"8-bit" | b"none" | b"identity" => {
                Some(Self::Identity)
            }
            _ => None,
        }
    }
}
