use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imss_core::finding::{Finding, FindingKind, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::{Limit, StopFlag};
use imss_core::plan::{DnsList, Query, ScanPlan, Selection};
use imss_core::verdict::Score;
use imss_scan::runner::RunnerSettings;
use imss_scan::{
    Answer, Answers, Engine, EngineRun, IcapAnswer, Input, LookupError, Outcome, OutcomeWord,
    Question, Questions, RunError, Runner, Scan, Scanner, Settings,
};

use crate::mail::{Mail, plan};

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

/// Every kind of lookup, and every way in which it has no answer.
#[test]
fn a_lookup_without_an_answer_is_never_clean() {
    let list = DnsList {
        name: "list".to_owned(),
        zone: "bl.example".to_owned(),
        codes: vec![(IpAddr::from([127, 0, 0, 2]), Score::points(5))],
    };
    let plan = plan([Query::Malware, Query::DnsList(Arc::new(list))]);
    let settings = Settings { clamd: true, icap: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    let questions = mail.questions(&scanner, &plan);
    let text = || "x".to_owned();
    let faults: [(&str, Option<Result<Answer, LookupError>>); 11] = [
        ("nobody answers", None),
        ("not configured", Some(Err(LookupError::NotConfigured))),
        ("timed out", Some(Err(LookupError::TimedOut))),
        ("unreachable", Some(Err(LookupError::Unreachable(text())))),
        ("refused", Some(Err(LookupError::Refused))),
        ("failed", Some(Err(LookupError::Failed(text())))),
        ("too large", Some(Err(LookupError::TooLarge))),
        ("garbage", Some(Err(LookupError::Garbage(text())))),
        ("overloaded", Some(Err(LookupError::Overloaded))),
        ("an answer to another question", Some(Ok(Answer::Version(text())))),
        ("another answer of that kind", Some(Ok(Answer::Version(String::new())))),
    ];
    type Asks = fn(&Question) -> bool;
    let asked: [(&str, Asks); 3] = [
        ("clamd", |question| matches!(question, Question::Clamd { .. })),
        ("icap", |question| matches!(question, Question::Icap { .. })),
        ("dns-lists", |question| matches!(question, Question::DnsList { .. })),
    ];
    for (engine, is_its) in asked {
        assert!(questions.iter().any(is_its), "{engine}");
        for (name, fault) in &faults {
            let mut answers = Answers::new();
            for question in &questions {
                let good = match question {
                    Question::Clamd { .. } => Answer::Clamd(None),
                    Question::Icap { .. } => Answer::Icap(IcapAnswer::default()),
                    Question::DnsList { .. } => Answer::Addresses(Vec::new()),
                    _ => Answer::Version("1".to_owned()),
                };
                match fault {
                    _ if !is_its(question) => answers.insert(question, Ok(good)),
                    Some(fault) => answers.insert(question, fault.clone()),
                    None => {}
                }
            }
            let scan = mail.scan(&scanner, &plan, &answers);
            assert!(!scan.findings.is_clean(), "{engine}, {name}");
            assert!(scan.findings.found.is_empty(), "{engine}, {name}: {scan:?}");
            let others = scan.findings.gaps.iter().any(|gap| gap.engine != engine);
            assert!(!others, "{engine}, {name}: {scan:?}");
            let unknown = |run: &EngineRun| run.outcome == OutcomeWord::Unknown;
            let runs: Vec<_> =
                scan.engines.iter().filter(|run| unknown(run)).map(|run| &*run.name).collect();
            assert_eq!(runs, [engine], "{name}");
        }
    }
}

/// Every built-in engine, each alone with a stop flag that is set.
#[test]
fn an_engine_that_could_not_run_is_named() {
    let plan = plan([Query::Malware]);
    let settings = Settings { clamd: true, icap: true, ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    mail.stop.stop();
    let scan = mail.scan(&scanner, &plan, &Answers::new());
    assert!(scan.engines.len() > 4, "{scan:?}");
    for run in &scan.engines {
        assert_eq!(run.outcome, OutcomeWord::Unknown, "{}", run.name);
        assert!(scan.findings.gaps.iter().any(|gap| gap.engine == run.name), "{}", run.name);
    }
}

#[test]
fn a_version_that_crashes_is_empty() {
    struct Nameless;
    impl Engine for Nameless {
        fn name(&self) -> &'static str {
            "nameless"
        }
        fn version(&self) -> String {
            panic!("version")
        }
        fn wants(&self, _wanted: &Selection) -> bool {
            true
        }
        fn scan(&self, _input: &Input<'_>, _answers: &Answers) -> Outcome {
            Outcome::Clean
        }
    }
    let plan = Arc::new(ScanPlan::new());
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let scanner = scanner.with_engine(Box::new(Nameless));
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    let scan = mail.scan(&scanner, &plan, &Answers::new());
    assert_eq!(scan.engines[0].version, "");
}

/// An engine that burns time and ignores its flag: the run is given up, and the pool works on.
#[test]
fn an_engine_that_ignores_its_flag_is_given_up() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (sender, results) = std::sync::mpsc::channel();
    let short = Duration::from_millis(20);
    let settings = RunnerSettings { grace: short, ..RunnerSettings::new(1, short) };
    let runner = Runner::with_settings(settings);
    let busy = move |_: &StopFlag| {
        let mut rounds = 0_u64;
        while gate.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            rounds = std::hint::black_box(rounds.wrapping_add(1));
        }
        scan_with(|| {}, || Outcome::Clean).findings.is_clean()
    };
    runner.run(busy, move |result| sender.send(result).unwrap());
    assert_eq!(results.recv().unwrap(), Err(RunError::TimedOut), "and never clean");
    release.send(()).unwrap();
    assert!(results.recv().is_err(), "what it says later is not heard");
}

#[test]
fn engines_that_nobody_asks_do_not_run() {
    let plan = Arc::new(ScanPlan::new());
    let scanner = Scanner::new(Arc::clone(&plan), Settings::default()).unwrap();
    let mail = Mail::new("Subject: x\r\n\r\ntext\r\n");
    assert_eq!(mail.scan(&scanner, &plan, &Answers::new()).engines, []);
}
