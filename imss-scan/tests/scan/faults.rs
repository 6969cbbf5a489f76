use std::sync::Arc;

use imss_core::finding::{Finding, FindingKind, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::Limit;
use imss_core::plan::{Query, ScanPlan, Selection};
use imss_core::verdict::Score;
use imss_scan::{Answers, Engine, Input, Outcome, OutcomeWord, Questions, Scan, Scanner, Settings};

use crate::mail::Mail;

/// An engine that does what it is told.
struct Faulty {
    ask: fn(),
    answer: fn() -> Outcome,
}

impl Engine for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn version(&self) -> String {
        "0".to_owned()
    }

    fn wants(&self, _wanted: &Selection) -> bool {
        true
    }

    fn collect(&self, _input: &Input<'_>, _questions: &mut Questions) {
        (self.ask)();
    }

    fn scan(&self, _input: &Input<'_>, _answers: &Answers) -> Outcome {
        (self.answer)()
    }
}

fn scan_with(ask: fn(), answer: fn() -> Outcome) -> Scan {
    let plan = Arc::new(ScanPlan::new());
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let scanner = scanner.with_engine(Box::new(Faulty { ask, answer }));
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    assert!(mail.questions(&scanner, &plan).is_empty());
    mail.scan(&scanner, &plan, &Answers::new())
}

fn finding(entity: EntityId) -> Finding {
    Finding {
        kind: FindingKind::Suspicious,
        name: "x".to_owned(),
        engine: "faulty".into(),
        entity,
        detail: String::new(),
        score: Score::ZERO,
        query: None,
        evidence: None,
    }
}

/// Name, what it does when asked, what it answers; the gap and the findings that come of it.
type Case = (&'static str, fn(), fn() -> Outcome, GapReason, usize);

#[test]
fn a_faulty_engine_is_never_clean() {
    let nothing = || {};
    let cases: [Case; 6] = [
        ("a panic", nothing, || panic!("engine"), GapReason::Crash, 0),
        ("a panic while asking", || panic!("ask"), || Outcome::Clean, GapReason::Crash, 0),
        ("found nothing", nothing, || Outcome::Found(Vec::new()), GapReason::Engine, 0),
        (
            "unknown without a gap",
            nothing,
            || Outcome::Unknown { gaps: Vec::new(), findings: Vec::new() },
            GapReason::Engine,
            0,
        ),
        (
            "unknown without a gap, with a finding",
            nothing,
            || Outcome::Unknown { gaps: Vec::new(), findings: vec![finding(EntityId::MESSAGE)] },
            GapReason::Engine,
            1,
        ),
        (
            "an entity that does not exist",
            nothing,
            || Outcome::Found(vec![finding(EntityId(99))]),
            GapReason::Engine,
            1,
        ),
    ];
    for (name, ask, answer, reason, findings) in cases {
        let scan = scan_with(ask, answer);
        let [Gap { reason: given, entity: EntityId::MESSAGE, .. }] = scan.findings.gaps[..] else {
            panic!("{name}: {scan:?}")
        };
        assert_eq!(given, reason, "{name}");
        assert_eq!(scan.findings.found.len(), findings, "{name}");
        assert_eq!(scan.engines[0].outcome, OutcomeWord::Unknown, "{name}");
        assert!(scan.findings.found.iter().all(|found| found.entity == EntityId::MESSAGE));
    }
}

#[test]
fn an_honest_engine_is_believed() {
    let scan = scan_with(|| {}, || Outcome::Clean);
    assert!(scan.findings.is_clean());
    assert_eq!(scan.engines[0].outcome, OutcomeWord::Clean);
    let scan = scan_with(|| {}, || Outcome::Found(vec![finding(EntityId::MESSAGE)]));
    assert_eq!((scan.findings.found.len(), scan.findings.gaps.len()), (1, 0));
    assert_eq!(scan.engines[0].outcome, OutcomeWord::Found);
}

#[test]
fn no_time_is_not_clean() {
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    mail.stop.stop();
    let scan = mail.ask(Query::Malware);
    let timed_out =
        |gap: &Gap| gap.reason == GapReason::Limit(Limit::Time) && gap.engine == "eicar";
    assert!(scan.findings.gaps.iter().any(timed_out), "{scan:?}");
}

#[test]
fn engines_that_nobody_asks_do_not_run() {
    let plan = Arc::new(ScanPlan::new());
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    assert_eq!(mail.scan(&scanner, &plan, &Answers::new()).engines, []);
}
