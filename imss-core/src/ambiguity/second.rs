//! mail-parser as a second reader: which contents it finds, as ranges of the raw message.
//!
//! In: a raw message. Out: its leaves, to be decoded by us and held against ours; `None` if it
//! crashed or was not asked. Only asked when a message has defects: on well-formed mail both agree.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::{Encoding, Message, MessageParser, MimeHeaders, PartType};
use memchr::memchr_iter;

use crate::anomaly::AnomalyKind;
use crate::message::{Defects, TransferEncoding};

/// A content as another reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) body: Range<usize>,
    pub(crate) encoding: TransferEncoding,
    pub(crate) declared: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) names: Vec<String>,
}

impl Leaf {
    /// Whether it only shows the message's own octets as text, as a reader does who gives up on its
    /// structure. That hides nothing from anybody who scans them.
    pub(crate) fn is_plain_view(&self) -> bool {
        self.encoding == TransferEncoding::Identity
            && self.declared.is_none()
            && self.names.is_empty()
    }
}

/// Messages with more type declarations are not shown to mail-parser: it nests attached messages
/// without bound, and freeing them takes stack for each.
const MAX_TYPES: usize = 500;

/// Whether its opinion could differ, given what was wrong.
pub(crate) fn is_worth_asking(defects: &Defects) -> bool {
    [
        AnomalyKind::ConflictingContentType,
        AnomalyKind::ConflictingEncoding,
        AnomalyKind::ConflictingParameter,
        AnomalyKind::PrefixBoundary,
        AnomalyKind::MissingBoundary,
        AnomalyKind::MalformedHeaderLine,
        AnomalyKind::EncodedContainer,
    ]
    .into_iter()
    .any(|kind| defects.has(kind))
}

/// The leaves mail-parser finds, attached messages in plain sight opened.
pub(crate) fn leaves(raw: &[u8]) -> Option<Vec<Leaf>> {
    let is_type = |at: &usize| {
        let word = raw.get(*at..at.saturating_add(5)).unwrap_or_default();
        word.eq_ignore_ascii_case(b"-type")
    };
    if memchr_iter(b'-', raw).filter(is_type).nth(MAX_TYPES).is_some() {
        return None;
    }
    let read = || {
        let mut leaves = Vec::new();
        if let Some(message) = MessageParser::new().with_mime_headers().parse(raw) {
            collect(&message, &mut leaves);
        }
        leaves
    };
    // A defect of the foreign parser costs its opinion only.
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn collect(message: &Message<'_>, leaves: &mut Vec<Leaf>) {
    for part in &message.parts {
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) if part.encoding == Encoding::None => collect(inner, leaves),
            _ => {
                let place = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
                let media_type = part.content_type().map(|kind| match kind.subtype() {
                    Some(minor) => format!("{}/{minor}", kind.ctype()).to_ascii_lowercase(),
                    None => kind.ctype().to_ascii_lowercase(),
                });
                let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
                leaves.push(Leaf {
                    body: place(part.offset_body)..place(part.offset_end),
                    encoding: match part.encoding {
                        Encoding::Base64 => TransferEncoding::Base64,
                        Encoding::QuotedPrintable => TransferEncoding::QuotedPrintable,
                        Encoding::None => TransferEncoding::Identity,
                    },
                    declared: media_type,
                    charset: charset.map(str::to_owned),
                    names: part.attachment_name().map(str::to_owned).into_iter().collect(),
                });
            }
        }
    }
}
