//! Records survive their bytes, and no bytes break the reader.

use imss_relay::outbound::NextHop;
use imss_relay::spool::record::{
    Change, Decoded, Place, SEGMENT_HEADER_BYTES, Tail, decode, encode, segment_header, set_marker,
};
use imss_relay::spool::{Accepted, Destination};
use proptest::prelude::*;

use crate::support::{copy, id, message, plain};

const MARKER: [u8; 8] = *b"\x91marker\x07";

fn messages() -> Vec<Accepted> {
    let mut rich =
        copy(&["a@example.com", "Postmaster", "\"b c\"@[192.0.2.1]"], Destination::NextHop);
    rich.parameters.envid = Some("QQ+2B314159".to_owned());
    rich.parameters.smtputf8 = true;
    rich.summary.rule = Some("keep".to_owned());
    rich.summary.reasons = vec!["one".to_owned(), "two".to_owned()];
    let via = Destination::Via("smtp://mail.example:26".parse().expect("a next hop"));
    let quarantine = Destination::Quarantine { area: "virus".to_owned() };
    vec![
        plain(1, b"Subject: one\r\n\r\nbody\r\n"),
        message(2, b"", vec![rich, copy(&["c@example.com"], via)]),
        message(3, &[0xFF; 300], vec![copy(&["d@example.com"], quarantine)]),
    ]
}

fn changes() -> Vec<Change> {
    let place = Place { id: id(2), copy: 1, recipient: 0 };
    vec![
        Change::Done(place),
        Change::Deferred {
            place,
            attempts: 3,
            next_unix_millis: u64::MAX,
            delay_told: true,
            last: "451 later".to_owned(),
        },
        Change::Held { id: id(1), copy: 0, reason: "a reason".to_owned() },
        Change::Released { id: id(1), copy: 0, at_unix_millis: 0 },
        Change::Released { id: id(1), copy: 0, at_unix_millis: 1_795_391_999_999 },
        Change::Routed { id: id(1), copy: 0, next_hop: Some(NextHop::Mx) },
        Change::Routed { id: id(1), copy: 0, next_hop: None },
        Change::Deleted(id(3)),
    ]
}

/// One record per message, then one with all changes.
fn segment() -> Vec<u8> {
    let mut segment = segment_header(7, MARKER).to_vec();
    let mut put = |messages: &[Accepted], changes: &[Change]| {
        let mut record = encode(messages, changes).expect("small enough");
        set_marker(&mut record, MARKER);
        segment.extend_from_slice(&record);
    };
    messages().iter().for_each(|message| put(std::slice::from_ref(message), &[]));
    put(&[], &changes());
    segment
}

#[test]
fn what_is_encoded_is_decoded() {
    let segment = segment();
    let decoded = decode(&segment);
    assert_eq!((decoded.number, decoded.tail), (Some(7), Tail::Clean));
    assert!(decoded.damage.is_empty());
    assert_eq!(decoded.records.len(), 4);
    for (located, message) in decoded.records.iter().zip(messages()) {
        let stored = &located.record.messages[0];
        assert_eq!((stored.id, &stored.copies), (message.id, &message.copies));
        assert_eq!(stored.record, message.record);
        assert_eq!(stored.body.len(), message.body.len());
        let imss_relay::spool::record::StoredBody::Inline(range) = &stored.body else {
            panic!("the body lies in the record");
        };
        assert_eq!(segment[range.clone()], crate::support::bytes_of(&message));
    }
    assert_eq!(decoded.records[3].record.changes, changes());
}

#[test]
fn a_segment_cut_anywhere_keeps_what_is_whole() {
    let segment = segment();
    let whole = decode(&segment);
    for length in 0..segment.len() {
        let cut = decode(&segment[..length]);
        let kept = whole.records.iter().filter(|located| located.range.end <= length).count();
        assert_eq!(cut.records, whole.records[..kept], "cut at {length}");
        assert!(cut.damage.is_empty(), "cut at {length}");
        let end = cut.records.last().map_or(SEGMENT_HEADER_BYTES, |located| located.range.end);
        let tail = match length {
            0 => Tail::Clean,
            _ if length < SEGMENT_HEADER_BYTES => Tail::Torn(0),
            _ if length == end => Tail::Clean,
            _ => Tail::Torn(end),
        };
        assert_eq!(cut.tail, tail, "cut at {length}");
    }
}

#[test]
fn one_wrong_byte_costs_one_record() {
    let segment = segment();
    let whole = decode(&segment);
    for at in 0..segment.len() {
        let mut bytes = segment.clone();
        bytes[at] ^= 0x20;
        let decoded = decode(&bytes);
        let intact = whole.records.iter().filter(|located| !located.range.contains(&at));
        if at < SEGMENT_HEADER_BYTES {
            // The header is made up for by the first record.
            assert_eq!(decoded.records, whole.records, "byte {at}");
            continue;
        }
        assert!(intact.eq(&decoded.records), "byte {at}");
        assert!(!decoded.damage.is_empty() || decoded.tail != Tail::Clean, "byte {at} is told");
    }
}

#[test]
fn a_record_in_a_body_is_a_body() {
    // A client cannot know the marker, so it writes one of its own.
    let mut inner = encode(&[], &[Change::Deleted(id(1))]).expect("small enough");
    set_marker(&mut inner, *b"guessed!");
    let mut bytes = segment_header(7, MARKER).to_vec();
    for message in [plain(1, b"first"), plain(2, &inner), plain(3, b"third")] {
        let mut record = encode(&[message], &[]).expect("small enough");
        set_marker(&mut record, MARKER);
        bytes.extend_from_slice(&record);
    }
    let second = decode(&bytes).records[1].range.clone();
    bytes[second.start + 9] ^= 1;
    let decoded = decode(&bytes);
    assert_eq!(decoded.records.len(), 2, "the damaged one is lost, nothing is gained");
    assert!(decoded.records.iter().all(|located| located.record.changes.is_empty()));
    assert_eq!(decoded.damage, [second]);
}

#[test]
fn more_recipients_than_a_place_can_count_are_refused() {
    let many = vec!["user@example.com"; 60_001];
    let message = message(1, b"", vec![copy(&many, Destination::NextHop)]);
    assert!(encode(&[message], &[]).is_err());
}

/// Records and gaps lie inside the input, in order, without overlap.
fn check(decoded: &Decoded, length: usize) {
    let mut at = 0;
    let mut ranges: Vec<_> = decoded.records.iter().map(|one| one.range.clone()).collect();
    ranges.extend(decoded.damage.iter().cloned());
    ranges.sort_by_key(|range| range.start);
    for range in ranges {
        assert!(at <= range.start && range.start < range.end && range.end <= length);
        at = range.end;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        check(&decode(&bytes), bytes.len());
        let mut behind_header = segment_header(1, MARKER).to_vec();
        behind_header.extend_from_slice(&bytes);
        check(&decode(&behind_header), behind_header.len());
    }

    #[test]
    fn the_part_before_the_damage_is_kept(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = segment();
        let whole = decode(&bytes);
        let cut = cut.index(bytes.len() - SEGMENT_HEADER_BYTES) + SEGMENT_HEADER_BYTES;
        let mut first = cut;
        for (at, byte) in edits {
            let at = at.index(bytes.len() - SEGMENT_HEADER_BYTES) + SEGMENT_HEADER_BYTES;
            if bytes[at] != byte {
                bytes[at] = byte;
                first = first.min(at);
            }
        }
        bytes.truncate(cut);
        let decoded = decode(&bytes);
        check(&decoded, bytes.len());
        let kept = whole.records.iter().filter(|located| located.range.end <= first).count();
        prop_assert!(decoded.records.starts_with(&whole.records[..kept]));
    }
}
