//! One look-up among a million sources and a hundred thousand list entries; in look-ups a second.

use std::net::{IpAddr, Ipv4Addr};

use divan::counter::ItemsCount;
use imss_scan::reputation::lists::{Entry, ListKind, Lists, Place};
use imss_scan::reputation::source::{Source, SourceKey};
use imss_scan::reputation::subject::Subject;
use imss_scan::reputation::throttle::Allowance;
use imss_scan::reputation::tracker::Tracker;

const NOW: u32 = 1_795_000_000;
const SOURCES: u32 = 1_000_000;

fn main() {
    divan::main();
}

/// The `number`th address: spread over the whole space, each once.
fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761)))
}

#[divan::bench]
fn count_a_connection(bencher: divan::Bencher<'_, '_>) {
    let mut sources = Tracker::<Source>::new(SOURCES as usize);
    let allowed = Allowance {
        window_secs: 3_600,
        max_connections: Some(1_000_000),
        max_messages: None,
        block_secs: 60,
    };
    let mut count = |number: u32| {
        let key = SourceKey::new(address(number), 64);
        sources.update(key.number(), |source| source.throttle.connection(&allowed, NOW).is_ok())
    };
    (0..SOURCES).for_each(|number| assert!(count(number)));
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7_919) % SOURCES;
        divan::black_box(count(number))
    });
    assert_eq!(sources.len(), SOURCES as usize);
}

#[divan::bench]
fn find_in_the_lists(bencher: divan::Bencher<'_, '_>) {
    let mut lists = Lists::default();
    for number in 0..100_000 {
        let bits = [32, 24, 28, 20][number as usize % 4];
        let subject = Subject::network(address(number), bits).expect("a network");
        lists.put(Entry {
            list: ListKind::Blocked,
            subject,
            added_secs: NOW,
            until_secs: None,
            note: "".into(),
            by: "bench".into(),
            is_transient: false,
        });
    }
    assert!(lists.find(address(0), Place::default(), NOW).is_some());
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7_919) % SOURCES;
        divan::black_box(lists.find(address(number), Place::default(), NOW).is_some())
    });
}
