//! Every action: what a decision says, what ends the list, what adds up.

use imss_core::finding::FindingKind;
use imss_core::verdict::Verdict;
use imss_policy::explain;

use super::support::Case;

const HEAD: &str = "internal = [\"example.com\"]\nadministrator = \"admin@example.com\"\n\
                    [quarantine.area]\n[archive.safe]\n\
                    [notices.told]\nto = \"administrator\"\nsubject = \"s\"\ntext = \"t\"\n";

fn does(then: &str) -> Case {
    Case::new(&format!("{HEAD}[[rule]]\nname = \"R\"\nthen = {then}\n"))
}

#[test]
fn final_actions() {
    let cases = [
        ("deliver", "[\"deliver\"]", "deliver", "delivered, as the rule \"R\" says"),
        (
            "quarantine",
            "[{ quarantine = \"area\" }]",
            "quarantine",
            "quarantined in \"area\", as the rule \"R\" says",
        ),
        ("delete", "\"delete\"", "delete", "deleted, as the rule \"R\" says"),
        (
            "reject",
            "[\"reject\"]",
            "reject",
            "rejected with 550 \"Message refused by policy\", as the rule \"R\" says",
        ),
        (
            "reject in own words",
            "[{ reject = \"no\" }]",
            "reject",
            "rejected with 550 \"no\", as the rule \"R\" says",
        ),
        (
            "reject for now",
            "[{ reject = { code = 451, text = \"later\" } }]",
            "reject",
            "rejected with 451 \"later\", as the rule \"R\" says",
        ),
        (
            "bounce",
            "[{ bounce = \"no\" }]",
            "bounce",
            "returned to the sender, as the rule \"R\" says",
        ),
        ("defer", "[\"defer\"]", "defer", "deferred, as the rule \"R\" says"),
        (
            "redirect",
            "[{ redirect = \"b@example.com\" }]",
            "redirect",
            "redirected to <b@example.com>, as the rule \"R\" says",
        ),
        (
            "hold",
            "[{ hold = \"ask the boss\" }]",
            "hold",
            "held in the queue: ask the boss, as the rule \"R\" says",
        ),
        (
            "only changes",
            "[{ tag-subject = \"[x]\" }]",
            "deliver",
            "delivered with changes, after all rules were looked at and none stopped it",
        ),
    ];
    for (name, then, action, sentence) in cases {
        let decision = &does(then).decide().recipients[0];
        assert_eq!(decision.action.as_str(), action, "{name}");
        assert_eq!(explain::sentence(decision), sentence, "{name}");
    }
}

#[test]
fn the_first_final_action_ends_the_list_and_changes_add_up() {
    let source = format!(
        "{HEAD}\
         [[rule]]\nname = \"1\"\nthen = [{{ tag-subject = \"[a]\" }}, {{ archive = \"safe\" }}]\n\
         [[rule]]\nname = \"2\"\nwhen = {{ malware = \"any\" }}\nthen = [\"delete\"]\n\
         [[rule]]\nname = \"3\"\nthen = [{{ add-field = {{ \"X-A\" = \"b\" }} }}, {{ quarantine = \"area\" }}]\n\
         [[rule]]\nname = \"4\"\nthen = [{{ tag-subject = \"[never]\" }}]\n"
    );
    let decision = Case::new(&source).decide().recipients.remove(0);
    assert_eq!(decision.action.as_str(), "quarantine");
    assert_eq!(decision.rule.as_deref(), Some("3"));
    assert_eq!((decision.changes.len(), decision.monitors.len()), (2, 1));
    let looked_at: Vec<&str> = decision.trail.iter().map(|step| step.rule.as_ref()).collect();
    assert_eq!(looked_at, ["1", "2", "3"]);
}

#[test]
fn shadow_rules_are_recorded_and_do_nothing() {
    let source = format!("{HEAD}[[rule]]\nname = \"S\"\nstate = \"shadow\"\nthen = [\"delete\"]\n");
    let case = Case::new(&source);
    let decisions = case.decide();
    assert_eq!(case.actions(), ["deliver"]);
    assert_eq!(decisions.verdict, Verdict::Clean);
    let text = explain::text(&decisions, &case.envelope, &case.findings);
    assert!(
        text.contains("rule \"S\" (line 9): matched, in shadow: would have deleted it"),
        "{text}"
    );
}

#[test]
fn one_attachment_that_meets_all_conditions_is_acted_on_alone() {
    let rule = |when: &str| {
        Case::new(&format!(
            "[notices.gone]\ntext = \"gone: %FILENAME%\"\n[[rule]]\nname = \"R\"\nwhen = {when}\n\
             then = [{{ remove-attachment = {{ notice = \"gone\" }} }}]\n"
        ))
    };
    let both =
        "{ all = [{ attachment = { name = \"*.exe\" } }, { attachment = { larger-than = 2 } }] }";
    let either =
        "{ any = [{ attachment = { name = \"*.exe\" } }, { attachment = { larger-than = 2 } }] }";
    let malware = "{ attachment = { name = \"*.exe\" }, malware = \"any\" }";
    let cases: [(&str, Case, &[&str]); 5] = [
        (
            "both conditions by one",
            rule(both)
                .answer("attachment name", "a.exe")
                .answer("attachment larger", "a.exe")
                .answer("attachment larger", "b.txt"),
            &["a.exe"],
        ),
        (
            "each condition by another: no match",
            rule(both).answer("attachment name", "a.exe").answer("attachment larger", "b.txt"),
            &[],
        ),
        (
            "either condition",
            rule(either).answer("attachment name", "a.exe").answer("attachment larger", "b.txt"),
            &["a.exe", "b.txt"],
        ),
        (
            "malware in the same",
            rule(malware)
                .answer("attachment name", "a.exe")
                .found(FindingKind::Malware, 0, "a.exe")
                .found(FindingKind::Malware, 0, "b.txt"),
            &["a.exe"],
        ),
        (
            "malware elsewhere",
            rule(malware).answer("attachment name", "a.exe").found(
                FindingKind::Malware,
                0,
                "b.txt",
            ),
            &["a.exe"],
        ),
    ];
    for (name, case, removed) in cases {
        let applied = case.apply(&case.decide());
        assert_eq!(applied.copies[0].unproven, None, "{name}");
        let text = &case.texts(&applied)[0];
        for file in ["a.exe", "b.txt"] {
            let gone = text.contains(&format!("gone: {file}"));
            assert_eq!(gone, removed.contains(&file), "{name}: {file}\n{text}");
        }
        assert_eq!(text.contains("AAECAwQF"), !removed.contains(&"a.exe"), "{name}");
    }
}

#[test]
fn otherwise_is_done_when_nothing_can_be_removed() {
    let source = format!(
        "{HEAD}[[rule]]\nname = \"R\"\nwhen = {{ malware = \"any\" }}\n\
         then = [\"remove-attachment\", {{ otherwise = {{ quarantine = \"area\" }} }}]\n"
    );
    let case = |entity| Case::new(&source).found(FindingKind::Malware, 0, entity);
    assert_eq!(case("a.exe").actions(), ["deliver"]);
    assert_eq!(case("").actions(), ["quarantine"]);
}

#[test]
fn explanations_name_the_findings_and_never_hide_a_scan() {
    let source = format!(
        "{HEAD}[[rule]]\nname = \"R\"\nwhen = {{ malware = \"any\" }}\nthen = [{{ quarantine = \"area\" }}]\n"
    );
    let case =
        Case::new(&source).found(FindingKind::Malware, 0, "a.exe").found(FindingKind::Spam, 3, "");
    let text = explain::text(&case.decide(), &case.envelope, &case.findings);
    let expected = "verdict infected, score 3, policy ";
    assert!(text.starts_with(expected), "{text}");
    for part in [
        "  3 points: spam: Test (by test, entity 0)\n",
        "<hanako@example.com> (incoming): quarantined in \"area\", as the rule \"R\" says\n",
        "  rule \"R\" (line 9): matched: quarantined it in \"area\"\n",
        "    because of malware: Test (by test, entity ",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn decisions_survive_their_record() {
    let case = does(
        "[{ add-field = { \"X-A\" = \"%SCORE%\" } }, { bcc = \"c@example.com\" }, { notify = \"told\" }, { reject = \"no\" }]",
    );
    let decisions = case.decide();
    let record = serde_json::to_string(&decisions).unwrap();
    assert_eq!(serde_json::from_str::<imss_policy::Decisions>(&record).unwrap(), decisions);
}
