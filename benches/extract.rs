//! `Message` → `Entities`: decoding, identifying, hashing, unpacking; in bytes a second.

mod common;

use divan::counter::BytesCount;
use imss_core::entity::Entities;
use imss_core::limits::Limits;

fn main() {
    divan::main();
}

#[divan::bench(args = common::SHAPES)]
fn extract(bencher: divan::Bencher<'_, '_>, shape: &str) {
    let (opened, limits) = (common::open(shape), Limits::default());
    bencher
        .counter(BytesCount::new(opened.message.raw().len()))
        .bench(|| Entities::extract(divan::black_box(&opened.message), &limits, &opened.stop));
}
