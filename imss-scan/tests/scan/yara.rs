use std::sync::Arc;

use imss_core::finding::FindingKind;
use imss_core::plan::Query;
use imss_core::verdict::Score;
use imss_scan::malware::yara::YaraRules;
use imss_scan::{Answers, Scanner, Settings};

use crate::mail::{Mail, plan, zip};

const RULES: &str = r#"
rule Example_Dropper { meta: description = "drops" strings: $a = "drop me" condition: $a }
rule Adware_Example { strings: $a = "show me" condition: $a }
rule Mailer { meta: class = "mass-mailer" name = "Example.Mailer" strings: $a = { 6D 61 69 6C 20 6D 65 } condition: $a }
rule Offer { meta: class = "spam" score = 3 strings: $a = "buy me" condition: $a }
private rule Hidden { condition: true }
"#;

#[test]
fn rules_find_what_is_inside() {
    let rules = Arc::new(YaraRules::compile("ours", &[("ours.yar", RULES)]).unwrap());
    let plan = plan([Query::Malware]);
    let settings = Settings { yara: vec![rules], ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    type Case<'a> = (&'a str, &'a [u8], &'a [(&'a str, FindingKind, i32)]);
    let cases: [Case<'_>; 5] = [
        ("by its name", b"- drop me -", &[("Example_Dropper", FindingKind::Malware, 0)]),
        ("a class in its name", b"show me", &[("Adware_Example", FindingKind::Adware, 0)]),
        ("a class of its own", b"mail me", &[("Example.Mailer", FindingKind::MassMailer, 0)]),
        ("points", b"buy me", &[("Offer", FindingKind::Spam, 3)]),
        ("nothing", b"drop it", &[]),
    ];
    for (name, content, expected) in cases {
        let archive = zip(&[("a.bin", content)]);
        let mail = Mail::with_attachments("", &[("a.zip", &archive)]);
        let scan = mail.scan(&scanner, &plan, &Answers::new());
        let inner = scan.findings.found.iter().filter(|found| {
            mail.entities.get(found.entity).is_some_and(|entity| entity.name() == "a.bin")
        });
        let found: Vec<_> = inner.map(|found| (&*found.name, found.kind, found.score)).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, kind, points)| (*name, *kind, Score::points(*points)))
            .collect();
        assert_eq!(found, expected, "{name}: {scan:?}");
    }
}

#[test]
fn time_that_is_up_is_a_gap() {
    let rules = Arc::new(YaraRules::compile("ours", &[("ours.yar", RULES)]).unwrap());
    let plan = plan([Query::Malware]);
    let settings = Settings { yara: vec![rules], ..Settings::default() };
    let scanner = Scanner::new(Arc::clone(&plan), settings).unwrap();
    let mail = Mail::with_attachments("drop me", &[]);
    mail.stop.stop();
    assert!(!mail.scan(&scanner, &plan, &Answers::new()).findings.is_clean());
}
