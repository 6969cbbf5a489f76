//! Findings → decisions with the built-in policy, routing included; in messages a second.

mod common;

use divan::counter::ItemsCount;
use imss_core::verdict::Verdict;
use imss_policy::Facts;
use imss_scan::{Answers, Input};

fn main() {
    divan::main();
}

#[divan::bench(args = common::SHAPES)]
fn decide(bencher: divan::Bencher<'_, '_>, shape: &str) {
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
    let findings = scanner.scan(&input, &Answers::default()).findings;
    let facts =
        Facts { envelope: &opened.envelope, message: &opened.message, entities: &opened.entities };
    let decide = || policy.decide(&policy.routes(&opened.envelope), &facts, &findings);
    let decisions = decide();
    assert_eq!((decisions.verdict, decisions.recipients.len()), (Verdict::Clean, 1), "{shape}");
    bencher.counter(ItemsCount::new(1_u32)).bench(|| divan::black_box(decide()));
}
