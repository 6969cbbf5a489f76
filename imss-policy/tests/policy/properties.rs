//! What holds for every policy and every set of recipients.

use proptest::prelude::*;

use imss_core::finding::{FindingKind, GapReason};

use super::support::Case;

const ACTIONS: [&str; 10] = [
    "\"deliver\"",
    "\"delete\"",
    "\"reject\"",
    "\"defer\"",
    "{ quarantine = \"q\" }",
    "{ redirect = \"z@example.com\" }",
    "{ tag-subject = \"[t]\" }",
    "{ add-field = { \"X-A\" = \"%SCORE%\" } }",
    "{ bcc = \"y@example.com\" }",
    "{ archive = \"s\" }",
];
const CONDITIONS: [&str; 5] = [
    "{ malware = \"any\" }",
    "{ not = { malware = \"any\" } }",
    "{ score = { at-least = 5 } }",
    "{ client = \"192.0.2.7\" }",
    "{ unknown = \"unsupported\" }",
];
const ROUTES: [&str; 4] = [
    "{}",
    "{ direction = \"incoming\" }",
    "{ to = \"u1@example.com\" }",
    "{ except-to = \"u2@example.com\" }",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Equal inputs give equal decisions, and every recipient is in exactly one copy, whose action
    /// is the decided one.
    #[test]
    fn every_recipient_has_one_copy(
        rules in prop::collection::vec((0..4_usize, 0..5_usize, 0..10_usize), 0..6),
        recipients in prop::collection::btree_set(0..5_usize, 1..5),
        malware: bool,
        gap: bool,
    ) {
        let mut source = "internal = [\"example.com\"]\n[quarantine.q]\n[archive.s]\n".to_owned();
        for (number, (route, condition, action)) in rules.iter().enumerate() {
            source.push_str(&format!(
                "[[rule]]\nname = \"{number}\"\nroute = {}\nwhen = {}\nthen = [{}]\n",
                ROUTES[*route], CONDITIONS[*condition], ACTIONS[*action],
            ));
        }
        let to: Vec<String> = recipients.iter().map(|n| format!("u{n}@example.com")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let mut case = Case::new(&source).mail("x@o.example", &to);
        if malware {
            case = case.found(FindingKind::Malware, 5, "a.exe");
        }
        if gap {
            case = case.gap(GapReason::Unsupported, "entity", "b.txt");
        }
        let decisions = case.decide();
        prop_assert_eq!(&decisions, &case.decide());
        prop_assert_eq!(decisions.recipients.len(), to.len());
        let applied = case.apply(&decisions);
        prop_assert_eq!(&applied, &case.apply(&decisions));
        let own = applied.copies.iter().filter(|copy| copy.archive.is_none());
        let mut served: Vec<usize> = Vec::new();
        for copy in own {
            for recipient in &copy.recipients {
                prop_assert_eq!(&copy.action, &decisions.recipients[*recipient].action);
                served.push(*recipient);
            }
        }
        served.sort_unstable();
        prop_assert_eq!(served, (0..to.len()).collect::<Vec<_>>());
    }

    /// Any text is a policy or a list of mistakes in it, never a panic.
    #[test]
    fn any_text_is_read(text in "(\\[\\[?(rule|unknown|quarantine\\.a|addresses)\\]?\\]\n|name|when|then| = |\\{|\\}|\"|'|,|\\[|\\]|\n|[a-z.]{1,6}|社外秘|[0-9]{1,3}){0,40}") {
        let origin = imss_policy::Origin::text("any.toml");
        if let Err(mistakes) = imss_policy::Policy::parse(&text, &origin) {
            prop_assert!(!mistakes.to_string().is_empty());
            prop_assert!(mistakes.iter().all(|mistake| mistake.line > 0 && mistake.column > 0));
        }
    }
}
