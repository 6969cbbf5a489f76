//! `Entities` → findings with the built-in policy's plan, in bytes a second. Texts are decoded and
//! folded in the first run only, as for one message with several engines.

mod common;

use divan::counter::BytesCount;
use imss_scan::{Answers, Input};

fn main() {
    divan::main();
}

#[divan::bench(args = common::SHAPES)]
fn scan(bencher: divan::Bencher<'_, '_>, shape: &str) {
    let opened = common::open(shape);
    let (policy, scanner) = common::builtin();
    let routes = policy.routes(&opened.envelope);
    let input = Input {
        envelope: &opened.envelope,
        message: &opened.message,
        entities: &opened.entities,
        wanted: routes.selection(),
        stop: &opened.stop,
    };
    let answers = Answers::default();
    let first = scanner.scan(&input, &answers);
    assert!(first.findings.found.iter().all(|finding| finding.name != "EICAR"), "{shape}");
    assert_eq!(scanner.scan(&input, &answers).findings, first.findings, "{shape}");
    bencher
        .counter(BytesCount::new(opened.message.raw().len()))
        .bench(|| scanner.scan(divan::black_box(&input), &answers));
}
