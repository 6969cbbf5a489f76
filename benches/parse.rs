//! Bytes → `Message`, without and with the content of every part, in bytes a second.

mod common;

use divan::counter::BytesCount;
use imss_core::limits::Limits;
use imss_core::message::Message;

fn main() {
    divan::main();
}

#[divan::bench(args = common::SHAPES)]
fn parse(bencher: divan::Bencher<'_, '_>, shape: &str) {
    let (raw, limits) = (bytes::Bytes::from(common::message(shape)), Limits::default());
    let message = Message::parse(raw.clone(), &limits);
    assert_eq!(message.subject(), "会議のお知らせ", "{shape}");
    bencher
        .counter(BytesCount::new(raw.len()))
        .bench(|| Message::parse(divan::black_box(raw.clone()), &limits));
}

#[divan::bench(args = common::SHAPES)]
fn parse_and_decode(bencher: divan::Bencher<'_, '_>, shape: &str) {
    let (raw, limits) = (bytes::Bytes::from(common::message(shape)), Limits::default());
    let run = || {
        let message = Message::parse(divan::black_box(raw.clone()), &limits);
        message
            .parts()
            .iter()
            .map(|part| divan::black_box(message.content(part)).len())
            .sum::<usize>()
    };
    assert!(run() > raw.len() / 3, "{shape}");
    bencher.counter(BytesCount::new(raw.len())).bench(run);
}
