//! A message inside a record.

use std::ops::Range;

use bytes::Bytes;
use imss_core::edit::{Piece, Rope};
use imss_core::envelope::{
    BodyType, DsnReturn, ForwardPath, MailParameters, Notify, RcptParameters, Recipient,
    ReversePath, Syntax,
};
use imss_core::ids::QueueId;

use super::super::body::Body;
use super::super::codec::{Decoder, Encoder};
use super::super::{Accepted, CopyRecord, Destination, Summary};

/// A message as a record has it: an [`Accepted`] whose body is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its queue ID.
    pub id: QueueId,
    /// When it came in, in milliseconds since 1970.
    pub received_unix_millis: u64,
    /// See [`Accepted::record`].
    pub record: Bytes,
    /// Its copies.
    pub copies: Vec<CopyRecord>,
    /// Where its body lies.
    pub body: StoredBody,
}

/// Where a body lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredBody {
    /// In the record.
    Inline(Range<usize>),
    /// In `bodies/ID`.
    File {
        /// Octets.
        length: u64,
    },
}

impl StoredBody {
    /// Octets.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(range) => u64::try_from(range.len()).unwrap_or(u64::MAX),
            Self::File { length } => *length,
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// About how many octets the message takes, so that encoding allocates once.
pub(super) fn size_hint(message: &Accepted) -> usize {
    let body = if let Body::Memory(bytes) = &message.body { bytes.len() } else { 0 };
    body.saturating_add(message.record.len()).saturating_add(1024)
}

pub(super) fn encode(out: &mut Encoder, message: &Accepted) {
    out.0.extend_from_slice(&message.id.to_bytes());
    out.number(message.received_unix_millis);
    out.bytes(&message.record);
    out.count(message.copies.len());
    for copy in &message.copies {
        encode_copy(out, copy);
    }
    match &message.body {
        Body::Memory(bytes) => {
            out.byte(0);
            out.bytes(bytes);
        }
        Body::File { length, .. } => {
            out.byte(1);
            out.number(*length);
        }
    }
}

/// `end` is where the decoder's bytes end, counted from the start of the segment.
pub(super) fn decode(decoder: &mut Decoder<'_>, end: usize) -> Option<StoredMessage> {
    let id = decoder.array().map(QueueId::from_bytes)?;
    let received_unix_millis = decoder.number()?;
    let record = Bytes::copy_from_slice(decoder.bytes()?);
    let copies = decoder.list(decode_copy)?;
    let body = match decoder.byte()? {
        0 => {
            let length = decoder.bytes()?.len();
            let after = end.checked_sub(decoder.left())?;
            StoredBody::Inline(after.checked_sub(length)?..after)
        }
        1 => StoredBody::File { length: decoder.number()? },
        _ => return None,
    };
    Some(StoredMessage { id, received_unix_millis, record, copies, body })
}

fn encode_copy(out: &mut Encoder, copy: &CopyRecord) {
    out.shown(&copy.reverse_path);
    encode_mail_parameters(out, &copy.parameters);
    out.count(copy.recipients.len());
    for recipient in &copy.recipients {
        out.shown(&recipient.path);
        let notify = recipient.parameters.notify;
        out.byte(notify.map_or(8, |notify| {
            u8::from(notify.success) | u8::from(notify.failure) << 1 | u8::from(notify.delay) << 2
        }));
        out.option(recipient.parameters.orcpt.as_deref());
    }
    out.count(copy.rope.pieces.len());
    for piece in &copy.rope.pieces {
        match piece {
            Piece::Original(range) => {
                out.byte(0);
                out.number(range.start);
                out.number(range.end);
            }
            Piece::Inserted(bytes) => {
                out.byte(1);
                out.bytes(bytes);
            }
        }
    }
    let (kind, text) = match &copy.destination {
        Destination::NextHop => (0, None),
        Destination::Via(next_hop) => (1, Some(next_hop.to_string())),
        Destination::Quarantine { area } => (2, Some(area.clone())),
        Destination::Archive { area } => (3, Some(area.clone())),
        Destination::Hold { reason } => (4, Some(reason.clone())),
    };
    out.byte(kind);
    out.text(text.as_deref().unwrap_or_default());
    out.text(&copy.summary.subject);
    out.text(&copy.summary.verdict);
    out.option(copy.summary.rule.as_deref());
    out.count(copy.summary.reasons.len());
    for reason in &copy.summary.reasons {
        out.text(reason);
    }
}

fn decode_copy(decoder: &mut Decoder<'_>) -> Option<CopyRecord> {
    Some(CopyRecord {
        reverse_path: ReversePath::parse(decoder.text()?, Syntax::LAX).ok()?,
        parameters: decode_mail_parameters(decoder)?,
        recipients: decoder.list(decode_recipient)?,
        rope: Rope { pieces: decoder.list(decode_piece)? },
        destination: decode_destination(decoder)?,
        summary: Summary {
            subject: decoder.string()?,
            verdict: decoder.string()?,
            rule: decoder.option()?,
            reasons: decoder.list(Decoder::string)?,
        },
    })
}

fn encode_mail_parameters(out: &mut Encoder, parameters: &MailParameters) {
    out.flag(parameters.size.is_some());
    out.number(parameters.size.unwrap_or(0));
    out.byte(match parameters.body {
        None => 0,
        Some(BodyType::SevenBit) => 1,
        Some(BodyType::EightBitMime) => 2,
        Some(BodyType::BinaryMime) => 3,
    });
    out.flag(parameters.smtputf8);
    out.byte(match parameters.ret {
        None => 0,
        Some(DsnReturn::Full) => 1,
        Some(DsnReturn::Headers) => 2,
    });
    out.option(parameters.envid.as_deref());
}

fn decode_mail_parameters(decoder: &mut Decoder<'_>) -> Option<MailParameters> {
    let has_size = decoder.flag()?;
    let size = decoder.number()?;
    Some(MailParameters {
        size: has_size.then_some(size),
        body: match decoder.byte()? {
            0 => None,
            1 => Some(BodyType::SevenBit),
            2 => Some(BodyType::EightBitMime),
            3 => Some(BodyType::BinaryMime),
            _ => return None,
        },
        smtputf8: decoder.flag()?,
        ret: match decoder.byte()? {
            0 => None,
            1 => Some(DsnReturn::Full),
            2 => Some(DsnReturn::Headers),
            _ => return None,
        },
        envid: decoder.option()?,
    })
}

fn decode_recipient(decoder: &mut Decoder<'_>) -> Option<Recipient> {
    let path = ForwardPath::parse(decoder.text()?, Syntax::LAX).ok()?;
    let notify = match decoder.byte()? {
        8 => None,
        bits if bits < 8 => {
            Some(Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 })
        }
        _ => return None,
    };
    Some(Recipient { path, parameters: RcptParameters { notify, orcpt: decoder.option()? } })
}

fn decode_piece(decoder: &mut Decoder<'_>) -> Option<Piece> {
    match decoder.byte()? {
        0 => {
            let start = decoder.number()?;
            Some(Piece::Original(start..decoder.number()?))
        }
        1 => decoder.bytes().map(|bytes| Piece::Inserted(Bytes::copy_from_slice(bytes))),
        _ => None,
    }
}

fn decode_destination(decoder: &mut Decoder<'_>) -> Option<Destination> {
    let kind = decoder.byte()?;
    let text = decoder.text()?;
    Some(match kind {
        0 => Destination::NextHop,
        1 => Destination::Via(text.parse().ok()?),
        2 => Destination::Quarantine { area: text.to_owned() },
        3 => Destination::Archive { area: text.to_owned() },
        4 => Destination::Hold { reason: text.to_owned() },
        _ => return None,
    })
}
