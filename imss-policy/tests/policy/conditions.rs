//! Every condition: when it holds, when not, and when that cannot be told.

use imss_core::finding::{FindingKind, GapReason};
use imss_policy::Outcome;

use super::support::Case;

const OBJECTS: &str = "internal = [\"example.com\"]\n[keywords.words]\nentries = [\"x\"]\n\
                       [dns-lists.zen]\nzone = \"zen.example\"\ncodes = { \"127.0.0.2\" = 5 }\n\
                       [unknown]\nencrypted = \"deliver\"\nengine = \"deliver\"\n";

/// A policy whose only rule deletes when `when` holds.
fn asks(when: &str) -> Case {
    Case::new(&format!("{OBJECTS}[[rule]]\nname = \"R\"\nwhen = {when}\nthen = [\"delete\"]\n"))
}

fn outcome(case: &Case) -> Outcome {
    case.decide().recipients[0].trail.last().expect("one rule was looked at").outcome
}

#[test]
fn conditions_hold_when_something_was_found() {
    let cases = [
        ("malware", asks("{ malware = \"any\" }").found(FindingKind::Malware, 0, "a.exe"), true),
        (
            "another class",
            asks("{ malware = \"mass-mailer\" }").found(FindingKind::Malware, 0, "a.exe"),
            false,
        ),
        (
            "a class",
            asks("{ malware = [\"mass-mailer\"] }").found(FindingKind::MassMailer, 0, "a.exe"),
            true,
        ),
        (
            "any malware is no grayware",
            asks("{ malware = \"any\" }").found(FindingKind::Adware, 0, "a.exe"),
            false,
        ),
        (
            "any malware may be packed",
            asks("{ malware = \"any\" }").found(FindingKind::Packed, 0, "a.exe"),
            true,
        ),
        (
            "grayware of any class",
            asks("{ malware = \"grayware\" }").found(FindingKind::Dialler, 0, "a.exe"),
            true,
        ),
        (
            "grayware is no malware",
            asks("{ malware = \"grayware\" }").found(FindingKind::Malware, 0, "a.exe"),
            false,
        ),
        (
            "one class of grayware among others",
            asks("{ malware = [\"virus\", \"joke\"] }").found(FindingKind::Joke, 0, "a.exe"),
            true,
        ),
        (
            "another class of grayware",
            asks("{ malware = [\"virus\", \"joke\"] }").found(FindingKind::Spyware, 0, "a.exe"),
            false,
        ),
        (
            "a verdict from a packed program",
            asks("{ verdict = \"suspicious\" }").found(FindingKind::Packed, 0, "a.exe"),
            true,
        ),
        (
            "enough points",
            asks("{ score = { at-least = 5 } }").found(FindingKind::Spam, 5, ""),
            true,
        ),
        (
            "too few points",
            asks("{ score = { at-least = 5.01 } }").found(FindingKind::Spam, 5, ""),
            false,
        ),
        (
            "a verdict from points",
            asks("{ verdict = \"spam\" }").found(FindingKind::Spam, 5, ""),
            true,
        ),
        (
            "a verdict from a finding",
            asks("{ verdict = [\"phish\", \"infected\"] }").found(FindingKind::Phish, 0, ""),
            true,
        ),
        ("clean", asks("{ verdict = \"clean\" }"), true),
        ("keywords", asks("{ keywords = \"words\" }").answer("keywords", ""), true),
        ("no keywords", asks("{ keywords = \"words\", in = [\"header\"] }"), false),
        (
            "an attachment",
            asks("{ attachment = { name = \"*.exe\" } }").answer("attachment", "a.exe"),
            true,
        ),
        (
            "many attachments",
            asks("{ attachments = { more-than = 1 } }").answer("attachments", ""),
            true,
        ),
        (
            "a large message",
            asks("{ size = { larger-than = \"1 kB\" } }").answer("size larger-than 1000", ""),
            true,
        ),
        ("a blank subject", asks("{ subject = \"blank\" }").answer("subject blank", ""), true),
        (
            "a field",
            asks("{ field = { name = \"X-A\", matches = '^b$' } }").answer("field X-A", ""),
            true,
        ),
        (
            "many recipients",
            asks("{ recipients = { more-than = 1 } }").answer("recipients", ""),
            true,
        ),
        (
            "recipients outside",
            asks("{ recipients = { more-than = 1, outside = true } }")
                .mail("a@example.com", &["b@x.example", "c@x.example"]),
            true,
        ),
        (
            "recipients inside",
            asks("{ recipients = { more-than = 1, outside = true } }")
                .mail("a@example.com", &["b@x.example", "c@example.com"]),
            false,
        ),
        ("a DNS list", asks("{ dns-list = \"zen\" }").answer("dns-list", ""), true),
        ("the client", asks("{ client = \"192.0.2.0/24\" }"), true),
        ("another client", asks("{ client = [\"192.0.2.8\", \"2001:db8::/32\"] }"), false),
        (
            "a reason",
            asks("{ unknown = \"unsupported\" }").gap(GapReason::Unsupported, "entity", "a.exe"),
            true,
        ),
        (
            "another reason",
            asks("{ unknown = [\"lookup\"] }").gap(GapReason::Unsupported, "entity", "a.exe"),
            false,
        ),
        (
            "two keys must both hold",
            asks("{ score = { at-least = 5 }, client = \"192.0.2.7\" }"),
            false,
        ),
        (
            "any of two",
            asks("{ any = [{ score = { at-least = 5 } }, { client = \"192.0.2.7\" }] }"),
            true,
        ),
        ("not", asks("{ not = { malware = \"any\" } }"), true),
        (
            "nested",
            asks(
                "{ all = [{ not = { any = [{ subject = \"blank\" }] } }, { verdict = \"clean\" }] }",
            ),
            true,
        ),
    ];
    for (name, case, expected) in &cases {
        let matched = outcome(case) == Outcome::Matched;
        assert_eq!(matched, *expected, "{name}");
        assert_eq!(case.actions()[0] == "delete", *expected, "{name}");
    }
}

#[test]
fn what_was_not_looked_at_is_neither_true_nor_false() {
    let encrypted = |case: Case| case.gap(GapReason::Encrypted, "entity", "a.exe");
    let down = |case: Case| case.gap(GapReason::Engine, "clamd", "");
    let dns = |case: Case| case.gap(GapReason::Engine, "dns-lists", "");
    let inside = "{ attachment = { name = \"*.exe\", inside = \"archive\" } }";
    let cases = [
        (
            "malware in what is encrypted",
            encrypted(asks("{ malware = \"any\" }")),
            Outcome::Unknown,
        ),
        (
            "and so its contrary",
            encrypted(asks("{ not = { malware = \"any\" } }")),
            Outcome::Unknown,
        ),
        (
            "found elsewhere is found",
            encrypted(asks("{ malware = \"any\" }")).found(FindingKind::Malware, 0, "b.txt"),
            Outcome::Matched,
        ),
        ("names inside", encrypted(asks(inside)), Outcome::Unknown),
        (
            "names outside are known",
            encrypted(asks("{ attachment = { name = \"*.exe\" } }")),
            Outcome::NotMatched,
        ),
        ("an engine that is down", down(asks("{ malware = \"any\" }")), Outcome::Unknown),
        ("says nothing about words", down(asks("{ keywords = \"words\" }")), Outcome::NotMatched),
        ("a DNS list that is away", dns(asks("{ dns-list = \"zen\" }")), Outcome::Unknown),
        ("says nothing about malware", dns(asks("{ malware = \"any\" }")), Outcome::NotMatched),
        (
            "any: the known part settles it",
            dns(asks("{ any = [{ dns-list = \"zen\" }, { client = \"192.0.2.7\" }] }")),
            Outcome::Matched,
        ),
        (
            "all: the known part settles it",
            dns(asks("{ all = [{ dns-list = \"zen\" }, { client = \"192.0.2.8\" }] }")),
            Outcome::NotMatched,
        ),
        (
            "all: the open part leaves it open",
            dns(asks("{ all = [{ dns-list = \"zen\" }, { client = \"192.0.2.7\" }] }")),
            Outcome::Unknown,
        ),
    ];
    for (name, case, expected) in &cases {
        assert_eq!(outcome(case), *expected, "{name}");
        assert_eq!(
            case.decide().recipients[0].action.as_str() == "delete",
            *expected == Outcome::Matched,
            "{name}"
        );
    }
}

#[test]
fn authentication() {
    let cases = [
        ("{ spf = \"fail\" }", "spf fail"),
        ("{ dkim = [\"fail\", \"permerror\"] }", "dkim fail, permerror"),
        ("{ dmarc = \"fail\" }", "dmarc fail"),
        ("{ dmarc-policy = [\"quarantine\", \"reject\"] }", "dmarc-policy quarantine, reject"),
        ("{ arc = \"pass\" }", "arc pass"),
        ("{ aligned = [\"spf\", \"dkim\"] }", "aligned spf, dkim"),
        ("{ dkim-signed-by = [\"*.example.net\"] }", "dkim-signed-by *.example.net"),
        ("{ dkim-missing-for = \"bank.example\" }", "dkim-missing-for bank.example"),
        ("{ dkim-partial = true }", "dkim-partial"),
        ("{ dkim-seen = { more-than = 500 } }", "dkim-seen more-than 500"),
    ];
    for (when, question) in cases {
        assert_eq!(outcome(&asks(when).answer(question, "")), Outcome::Matched, "{when}");
        assert_eq!(outcome(&asks(when)), Outcome::NotMatched, "{when}");
        let unanswered = asks(when).gap(GapReason::Engine, "authentication", "");
        assert_eq!(outcome(&unanswered), Outcome::Unknown, "{when}: nobody knows");
        let elsewhere = asks(when).gap(GapReason::Engine, "dns-lists", "");
        assert_eq!(outcome(&elsewhere), Outcome::NotMatched, "{when}: a gap elsewhere");
    }
    let malware = asks("{ malware = \"any\" }").gap(GapReason::Engine, "authentication", "");
    assert_eq!(outcome(&malware), Outcome::NotMatched, "authentication says nothing of malware");
}
