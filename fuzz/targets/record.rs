#![no_main]
//! Any bytes are a segment: records lie inside, in order, and do not overlap; whatever follows an
//! intact segment, its records are read. And any bytes are a payload with a right checksum: what is
//! read from it and written again is the same.

use imss_relay::spool::Accepted;
use imss_relay::spool::body::Body;
use imss_relay::spool::record::{
    Change, Decoded, RECORD_HEADER_BYTES, Record, StoredBody, StoredMessage, decode, encode,
    segment_header, set_marker,
};
use libfuzzer_sys::fuzz_target;

const MARKER: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fuzz_target!(|input: (u8, &[u8])| {
    let (shape, octets) = input;
    let mut segment = Vec::new();
    if shape % 3 > 0 {
        segment.extend_from_slice(&segment_header(7, MARKER));
    }
    if shape % 3 == 2 {
        segment.extend_from_slice(&framed(octets));
        segment.extend_from_slice(&written(&[], &[]));
    } else {
        segment.extend_from_slice(octets);
    }
    let decoded = decode(&segment);
    check(&decoded, &segment);
    if shape % 3 > 0 {
        assert_eq!(decoded.number, Some(7));
    }
    if shape % 3 == 2 {
        let last = decoded.records.last().expect("an intact record lies at the end");
        assert_eq!(last.range.end, segment.len());
    }
    for located in &decoded.records {
        same_when_written_again(&located.record, &segment);
    }
});

fn check(decoded: &Decoded, segment: &[u8]) {
    let mut end = 0;
    for located in &decoded.records {
        assert!(located.range.start >= end && located.range.end <= segment.len());
        assert!(located.range.start < located.range.end);
        end = located.range.end;
    }
    for damage in &decoded.damage {
        assert!(damage.start < damage.end && damage.end <= segment.len());
    }
    // Cutting the end off never changes what came before it.
    if let Some(last) = decoded.records.last() {
        let cut = decode(&segment[..last.range.end]);
        assert_eq!(cut.records, decoded.records);
    }
}

/// Messages whose body is in the segment, and changes, survive being written and read.
fn same_when_written_again(record: &Record, segment: &[u8]) {
    let accepted = |message: &StoredMessage| match &message.body {
        StoredBody::Inline(range) => Some(Accepted {
            id: message.id,
            received_unix_millis: message.received_unix_millis,
            body: Body::Memory(segment[range.clone()].to_vec().into()),
            copies: message.copies.clone(),
            record: message.record.clone(),
        }),
        StoredBody::File { .. } => None,
    };
    let messages: Vec<Accepted> = record.messages.iter().filter_map(accepted).collect();
    let mut again = segment_header(7, MARKER).to_vec();
    again.extend_from_slice(&written(&messages, &record.changes));
    let decoded = decode(&again);
    assert_eq!(decoded.records.len(), 1, "what was written cannot be read");
    let read = &decoded.records[0].record;
    assert_eq!(read.changes, record.changes);
    assert_eq!(read.messages.len(), messages.len());
    for (read, message) in read.messages.iter().zip(&messages) {
        assert_eq!((read.id, &read.record), (message.id, &message.record));
        assert_eq!(read.received_unix_millis, message.received_unix_millis);
        assert_eq!(read.copies, message.copies);
        let StoredBody::Inline(range) = &read.body else { panic!("the body left the record") };
        let Body::Memory(body) = &message.body else { unreachable!("made in memory") };
        assert_eq!(&again[range.clone()], &body[..]);
    }
}

/// A record of these messages and changes.
fn written(messages: &[Accepted], changes: &[Change]) -> Vec<u8> {
    let mut record = encode(messages, changes).expect("no larger than the input");
    set_marker(&mut record, MARKER);
    record
}

/// `payload` as a record whose length and checksum are right.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("less than 4 GiB");
    let mut covered = length.to_le_bytes().to_vec();
    covered.extend_from_slice(&1_u32.to_le_bytes());
    covered.extend_from_slice(payload);
    let mut record = MARKER.to_vec();
    record.extend_from_slice(&crc32c(&covered).to_le_bytes());
    record.extend_from_slice(&covered);
    assert_eq!(record.len(), RECORD_HEADER_BYTES + payload.len());
    record
}

/// CRC-32C, bit by bit: the reader's own code is not taken for granted.
fn crc32c(octets: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !octets.iter().fold(!0, |crc, &octet| (0..8).fold(crc ^ u32::from(octet), |crc, _| bit(crc)))
}
