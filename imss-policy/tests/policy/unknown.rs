//! What could not be looked at is answered before every rule.

use imss_core::finding::{FindingKind, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::Limit;
use imss_core::verdict::Verdict;
use imss_policy::apply::apply_unread;

use super::support::{Case, stamp};

const RULE: &str = "[[rule]]\nname = \"R\"\nwhen = { malware = \"any\" }\nthen = [\"delete\"]\n";

#[test]
fn every_reason_has_a_safe_answer_without_a_key() {
    let cases = [
        ("limit", GapReason::Limit(Limit::Layers), "entity", "quarantine"),
        ("encrypted", GapReason::Encrypted, "zip", "deliver"),
        ("malformed", GapReason::Malformed, "zip", "quarantine"),
        ("ambiguous", GapReason::Ambiguous, "message", "quarantine"),
        ("unsupported", GapReason::Unsupported, "entity", "deliver"),
        ("engine", GapReason::Engine, "clamd", "defer"),
        ("lookup", GapReason::Engine, "dns-lists", "deliver"),
        ("crash", GapReason::Crash, "eicar", "quarantine"),
    ];
    for (name, reason, engine, action) in cases {
        let case = Case::new(RULE).gap(reason, engine, "a.exe");
        let decisions = case.decide();
        assert_eq!(case.actions(), [action], "{name}");
        assert_eq!(decisions.verdict, Verdict::Unscannable, "{name}");
        let first = &decisions.recipients[0].trail[0];
        assert_eq!(first.rule.as_ref(), format!("[unknown] {name}"), "{name}");
    }
}

#[test]
fn the_policy_answers_before_its_rules() {
    let source = format!(
        "[unknown]\nencrypted = [{{ tag-subject = \"[enc]\" }}, {{ hold = \"look\" }}]\n\
         malformed = \"deliver\"\n{RULE}"
    );
    let encrypted = || Case::new(&source).gap(GapReason::Encrypted, "zip", "a.exe");
    let found = encrypted().found(FindingKind::Malware, 0, "b.txt");
    assert_eq!(found.actions(), ["hold"]);
    assert_eq!(found.decide().verdict, Verdict::Infected);
    let malformed = Case::new(&source).gap(GapReason::Malformed, "zip", "a.exe");
    assert_eq!(malformed.actions(), ["deliver"]);
    let found = malformed.found(FindingKind::Malware, 0, "b.txt");
    assert_eq!(found.actions(), ["delete"], "an answer of deliver does not skip the rules");
}

#[test]
fn a_message_nobody_could_read_is_still_decided_on() {
    let case = Case::new(RULE);
    let routes = case.policy.routes(&case.envelope);
    let gap = Gap {
        reason: GapReason::Crash,
        entity: EntityId::MESSAGE,
        engine: "scan".into(),
        detail: String::new(),
    };
    let decisions = case.policy.decide_unscanned(&routes, &case.envelope, gap);
    let mut stamp = stamp();
    stamp.trace.push(("Received".to_owned(), "by mx.example.com".to_owned()));
    let applied = apply_unread(7, &case.envelope, &decisions, &stamp);
    assert_eq!(applied.copies.len(), 1);
    assert_eq!(applied.copies[0].action.as_str(), "quarantine");
    let bytes = applied.copies[0].rope.to_bytes(b"garbage");
    assert_eq!(bytes, b"Received: by mx.example.com\r\ngarbage");
}
