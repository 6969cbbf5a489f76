//! The format of a segment (version 1), and how it is read when bytes of it are gone.
//!
//! ```text
//! segment = "IMSSSEG1" number:u64 marker:[u8; 8] crc:u32 zero:u32  record*
//! record  = marker:[u8; 8] crc:u32 length:u32 version:u32 payload:[u8; length]
//! payload = messages, then changes; a body lies last in its message
//! ```
//!
//! Numbers are little-endian. The CRC-32C of a record covers `length`, `version` and the payload. The
//! marker is drawn at random for each segment, so that nobody can put something into the body of a
//! mail that reads as a record when the bytes before it are damaged.
//!
//! [`decode`] reads any bytes: it stops at nothing but the end, goes on at the next intact record, and
//! tells what it skipped. One record is one transaction: its messages and changes stand together.

use std::ops::Range;

use imss_core::ids::QueueId;

use super::codec::{Decoder, Encoder};
use super::{Accepted, SpoolError};
use crate::outbound::NextHop;

mod message;

pub use message::{StoredBody, StoredMessage};

/// Octets before the first record.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// Octets of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 20;
/// The largest payload.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// The most copies of a message, and the most recipients of a copy: a [`Place`] counts in 16 bits.
pub const MAX_PLACES: usize = 60_000;

const MAGIC: &[u8; 8] = b"IMSSSEG1";
const VERSION: u32 = 1;

/// Tells a segment's records from other bytes.
pub type Marker = [u8; 8];

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// New messages, or ones carried over from an older segment: these replace what was known.
    pub messages: Vec<StoredMessage>,
    /// What became of messages, in order; also of those in the same record.
    pub changes: Vec<Change>,
}

/// One recipient of one copy of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The message.
    pub id: QueueId,
    /// The copy.
    pub copy: u16,
    /// The recipient.
    pub recipient: u16,
}

/// A change to a message in the queue. Unknown messages and places are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The recipient's copy has its disposition.
    Done(Place),
    /// An attempt failed.
    Deferred {
        /// Whose copy.
        place: Place,
        /// Attempts so far.
        attempts: u32,
        /// When it is tried next, in milliseconds since 1970.
        next_unix_millis: u64,
        /// Whether the reverse-path was told that it is late.
        delay_told: bool,
        /// The last reply or error.
        last: String,
    },
    /// The copy waits for its release.
    Held {
        /// The message.
        id: QueueId,
        /// The copy.
        copy: u16,
        /// Why.
        reason: String,
    },
    /// The copy is released.
    Released {
        /// The message.
        id: QueueId,
        /// The copy.
        copy: u16,
        /// When, in milliseconds since 1970: its age counts from here. 0 if it never was held.
        at_unix_millis: u64,
    },
    /// The copy goes to another next hop, or by the routing.
    Routed {
        /// The message.
        id: QueueId,
        /// The copy.
        copy: u16,
        /// Where to.
        next_hop: Option<NextHop>,
    },
    /// The message is gone.
    Deleted(QueueId),
}

impl Change {
    /// The message it is about.
    #[must_use]
    pub fn id(&self) -> QueueId {
        match self {
            Self::Done(place) | Self::Deferred { place, .. } => place.id,
            Self::Held { id, .. }
            | Self::Released { id, .. }
            | Self::Routed { id, .. }
            | Self::Deleted(id) => *id,
        }
    }
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The segment's number, if its header is intact.
    pub number: Option<u64>,
    /// The intact records, in order.
    pub records: Vec<Located>,
    /// Unreadable bytes before the last intact record.
    pub damage: Vec<Range<usize>>,
    /// How it ends.
    pub tail: Tail,
}

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Octets from the start of the segment, headers included.
    pub range: Range<usize>,
    /// The record. Ranges of bodies in it count from the start of the segment too.
    pub record: Record,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With the last record.
    Clean,
    /// With bytes from this offset on that are no record.
    Torn(usize),
}

/// The header of a segment.
#[must_use]
pub fn segment_header(number: u64, marker: Marker) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    let fields =
        MAGIC.iter().copied().chain(number.to_le_bytes()).chain(marker).collect::<Vec<u8>>();
    let crc = crc32c::crc32c(&fields).to_le_bytes();
    for (place, byte) in header.iter_mut().zip(fields.into_iter().chain(crc)) {
        *place = byte;
    }
    header
}

/// One record with its header; the marker is still zero, see [`set_marker`]. `messages` must have
/// bodies in memory, or files of their own.
///
/// # Errors
///
/// [`SpoolError::TooLarge`] above [`MAX_PAYLOAD_BYTES`], or above [`MAX_PLACES`] copies of a message
/// or recipients of a copy.
pub fn encode(messages: &[Accepted], changes: &[Change]) -> Result<Vec<u8>, SpoolError> {
    let fits = |message: &Accepted| {
        let mut copies = message.copies.iter();
        message.copies.len() <= MAX_PLACES && copies.all(|copy| copy.recipients.len() <= MAX_PLACES)
    };
    if !messages.iter().all(fits) {
        return Err(SpoolError::TooLarge);
    }
    let mut out = Encoder(vec![0; RECORD_HEADER_BYTES]);
    out.0.reserve(messages.iter().map(message::size_hint).sum::<usize>().saturating_add(64));
    out.count(messages.len());
    for message in messages {
        message::encode(&mut out, message);
    }
    out.count(changes.len());
    for change in changes {
        encode_change(&mut out, change);
    }
    let mut record = out.0;
    let length = record.len().saturating_sub(RECORD_HEADER_BYTES);
    let length = u32::try_from(length).ok().filter(|_| length <= MAX_PAYLOAD_BYTES);
    let length = length.ok_or(SpoolError::TooLarge)?;
    let fields = length.to_le_bytes().into_iter().chain(VERSION.to_le_bytes());
    for (place, byte) in record.iter_mut().skip(12).zip(fields) {
        *place = byte;
    }
    let crc = crc32c::crc32c(record.get(12..).unwrap_or_default()).to_le_bytes();
    for (place, byte) in record.iter_mut().skip(8).zip(crc) {
        *place = byte;
    }
    Ok(record)
}

/// Makes an encoded record one of the segment with this marker.
pub fn set_marker(record: &mut [u8], marker: Marker) {
    for (place, byte) in record.iter_mut().zip(marker) {
        *place = byte;
    }
}

/// Reads a segment, whatever bytes it is.
#[must_use]
pub fn decode(segment: &[u8]) -> Decoded {
    let Some((number, marker)) = read_header(segment) else {
        let tail = if segment.is_empty() { Tail::Clean } else { Tail::Torn(0) };
        return Decoded { number: None, records: Vec::new(), damage: Vec::new(), tail };
    };
    let finder = memchr::memmem::Finder::new(&marker);
    let mut decoded =
        Decoded { number, records: Vec::new(), damage: Vec::new(), tail: Tail::Clean };
    let mut at = SEGMENT_HEADER_BYTES.min(segment.len());
    let mut bad_from = None;
    while at < segment.len() {
        if let Some(located) = read_record(segment, at, marker) {
            if let Some(from) = bad_from.take() {
                decoded.damage.push(from..at);
            }
            at = located.range.end;
            decoded.records.push(located);
            continue;
        }
        bad_from.get_or_insert(at);
        let next = at.saturating_add(1);
        let found = segment.get(next..).and_then(|rest| finder.find(rest));
        at = found.map_or(segment.len(), |offset| next.saturating_add(offset));
    }
    if let Some(from) = bad_from {
        decoded.tail = Tail::Torn(from);
    }
    decoded
}

/// Reads one record that begins at `record[0]`. Ranges in it count from there.
#[must_use]
pub fn decode_one(record: &[u8]) -> Option<Record> {
    let marker = record.first_chunk::<8>()?;
    read_record(record, 0, *marker).map(|located| located.record)
}

/// Number (if known) and marker. With a damaged header, the marker before the first record serves if
/// a record follows it.
fn read_header(segment: &[u8]) -> Option<(Option<u64>, Marker)> {
    let fields = segment.get(..SEGMENT_HEADER_BYTES)?.get(..24)?;
    let stored = Decoder::new(segment.get(24..28)?).array().map(u32::from_le_bytes)?;
    let mut decoder = Decoder::new(fields);
    let magic = decoder.array::<8>()?;
    let number = decoder.array().map(u64::from_le_bytes)?;
    let marker = decoder.array::<8>()?;
    if magic == *MAGIC && crc32c::crc32c(fields) == stored {
        return Some((Some(number), marker));
    }
    let first = segment.get(SEGMENT_HEADER_BYTES..)?.first_chunk::<8>().copied()?;
    read_record(segment, SEGMENT_HEADER_BYTES, first).map(|_| (None, first))
}

fn read_record(segment: &[u8], at: usize, marker: Marker) -> Option<Located> {
    let mut header = Decoder::new(segment.get(at..)?);
    if header.array::<8>()? != marker {
        return None;
    }
    let crc = header.array().map(u32::from_le_bytes)?;
    let covered = segment.get(at.checked_add(12)?..)?;
    let length = usize::try_from(header.array().map(u32::from_le_bytes)?).ok()?;
    let version = header.array().map(u32::from_le_bytes)?;
    let payload = header.take(length)?;
    let covered = covered.get(..length.checked_add(8)?)?;
    if version != VERSION || crc32c::crc32c(covered) != crc {
        return None;
    }
    let start = at.checked_add(RECORD_HEADER_BYTES)?;
    let record = read_payload(payload, start)?;
    Some(Located { range: at..start.checked_add(length)?, record })
}

fn read_payload(payload: &[u8], start: usize) -> Option<Record> {
    let end = start.checked_add(payload.len())?;
    let mut decoder = Decoder::new(payload);
    let messages = decoder.list(|decoder| message::decode(decoder, end))?;
    let changes = decoder.list(decode_change)?;
    decoder.is_empty().then_some(Record { messages, changes })
}

fn encode_change(out: &mut Encoder, change: &Change) {
    match change {
        Change::Done(place) => {
            out.byte(1);
            encode_place(out, *place);
        }
        Change::Deferred { place, attempts, next_unix_millis, delay_told, last } => {
            out.byte(2);
            encode_place(out, *place);
            out.number(*attempts);
            out.number(*next_unix_millis);
            out.flag(*delay_told);
            out.text(last);
        }
        Change::Held { id, copy, reason } => {
            out.byte(3);
            out.0.extend_from_slice(&id.to_bytes());
            out.number(*copy);
            out.text(reason);
        }
        Change::Released { id, copy, at_unix_millis } => {
            // Segments from before a release had a time know it as 4.
            out.byte(if *at_unix_millis == 0 { 4 } else { 7 });
            out.0.extend_from_slice(&id.to_bytes());
            out.number(*copy);
            if *at_unix_millis > 0 {
                out.number(*at_unix_millis);
            }
        }
        Change::Routed { id, copy, next_hop } => {
            out.byte(5);
            out.0.extend_from_slice(&id.to_bytes());
            out.number(*copy);
            out.option(next_hop.as_ref().map(ToString::to_string).as_deref());
        }
        Change::Deleted(id) => {
            out.byte(6);
            out.0.extend_from_slice(&id.to_bytes());
        }
    }
}

fn encode_place(out: &mut Encoder, place: Place) {
    out.0.extend_from_slice(&place.id.to_bytes());
    out.number(place.copy);
    out.number(place.recipient);
}

fn decode_change(decoder: &mut Decoder<'_>) -> Option<Change> {
    let kind = decoder.byte()?;
    let id = decoder.array().map(QueueId::from_bytes)?;
    Some(match kind {
        1 => Change::Done(decode_place(decoder, id)?),
        2 => Change::Deferred {
            place: decode_place(decoder, id)?,
            attempts: decoder.small()?,
            next_unix_millis: decoder.number()?,
            delay_told: decoder.flag()?,
            last: decoder.string()?,
        },
        3 => Change::Held { id, copy: decoder.small()?, reason: decoder.string()? },
        4 => Change::Released { id, copy: decoder.small()?, at_unix_millis: 0 },
        5 => {
            let copy = decoder.small()?;
            let next_hop = match decoder.option()? {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            };
            Change::Routed { id, copy, next_hop }
        }
        6 => Change::Deleted(id),
        7 => Change::Released { id, copy: decoder.small()?, at_unix_millis: decoder.number()? },
        _ => return None,
    })
}

fn decode_place(decoder: &mut Decoder<'_>, id: QueueId) -> Option<Place> {
    Some(Place { id, copy: decoder.small()?, recipient: decoder.small()? })
}
