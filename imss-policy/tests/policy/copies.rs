//! Copies and notices: who shares what, and what they say.

use imss_core::envelope::{ForwardPath, Syntax};
use imss_core::finding::FindingKind;
use imss_policy::FinalAction;

use super::support::Case;

const HEAD: &str = "internal = [\"example.com\"]\nadministrator = \"admin@example.com\"\n\
                    [quarantine.area]\n[archive.safe]\n";

fn rules(rules: &str) -> Case {
    Case::new(&format!("{HEAD}{rules}"))
}

fn path(text: &str) -> ForwardPath {
    ForwardPath::parse(text, Syntax::LAX).unwrap()
}

#[test]
fn recipients_are_split_only_where_results_differ() {
    let case = rules(
        "[[rule]]\nname = \"1\"\nroute = { to = \"b@example.com\" }\nthen = [{ tag-subject = \"[b]\" }]\n\
         [[rule]]\nname = \"2\"\nroute = { to = \"c@example.com\" }\nthen = [\"deliver\"]\n\
         [[rule]]\nname = \"3\"\nroute = { to = \"d@example.com\" }\nthen = [{ quarantine = \"area\" }]\n",
    )
    .mail("x@o.example", &["a@example.com", "b@example.com", "c@example.com", "d@example.com"]);
    let applied = case.apply(&case.decide());
    let shared: Vec<&[usize]> =
        applied.copies.iter().map(|copy| copy.recipients.as_slice()).collect();
    assert_eq!(shared, [&[0, 2][..], &[1], &[3]]);
    let texts = case.texts(&applied);
    assert_eq!(texts[0].as_bytes(), &case.message.raw()[..], "an unchanged copy is the original");
    assert!(texts[1].contains("\r\nSubject: [b] hello\r\n"), "{}", texts[1]);
}

#[test]
fn a_bcc_target_receives_one_copy() {
    let bcc = "[[rule]]\nname = \"B\"\nthen = [{ bcc = [\"z@example.com\", \"b@example.com\"] }]\n";
    let split = "[[rule]]\nname = \"T\"\nroute = { to = \"b@example.com\" }\nthen = [{ tag-subject = \"[b]\" }]\n";
    let case =
        rules(&format!("{bcc}{split}")).mail("x@o.example", &["a@example.com", "b@example.com"]);
    let applied = case.apply(&case.decide());
    let extra: Vec<&ForwardPath> =
        applied.copies.iter().flat_map(|copy| &copy.extra_recipients).collect();
    assert_eq!(extra, [&path("z@example.com")], "b@example.com is a recipient already");
}

#[test]
fn a_bcc_of_a_quarantined_message_is_a_copy_of_its_own() {
    let case = rules(
        "[[rule]]\nname = \"B\"\nthen = [{ bcc = \"z@example.com\" }, { quarantine = \"area\" }]\n",
    );
    let applied = case.apply(&case.decide());
    assert_eq!(applied.copies.len(), 2);
    assert_eq!(applied.copies[0].action.as_str(), "quarantine");
    assert!(applied.copies[0].extra_recipients.is_empty());
    assert_eq!(applied.copies[1].action, FinalAction::Deliver);
    assert_eq!(applied.copies[1].extra_recipients, [path("z@example.com")]);
    assert!(applied.copies[1].recipients.is_empty());
}

#[test]
fn the_archive_keeps_the_original_and_every_recipient() {
    let case = rules(
        "[[rule]]\nname = \"A\"\nthen = [{ archive = \"safe\" }]\n\
         [[rule]]\nname = \"T\"\nroute = { to = \"b@example.com\" }\nthen = [\"delete\"]\n",
    )
    .mail("x@o.example", &["a@example.com", "b@example.com"]);
    let applied = case.apply(&case.decide());
    let archived: Vec<_> = applied.copies.iter().filter(|copy| copy.archive.is_some()).collect();
    assert_eq!(archived.len(), 1);
    assert_eq!(archived[0].recipients, [0, 1]);
    assert_eq!(archived[0].rope.to_bytes(case.message.raw()), &case.message.raw()[..]);
}

#[test]
fn redirection_replaces_the_recipient() {
    let case = rules(
        "[[rule]]\nname = \"R\"\nthen = [{ redirect = [\"y@example.com\", \"z@example.com\"] }]\n",
    );
    let applied = case.apply(&case.decide());
    assert_eq!(applied.copies.len(), 1);
    assert_eq!(applied.copies[0].extra_recipients, [path("y@example.com"), path("z@example.com")]);
}

#[test]
fn tokens_are_filled_in_and_cannot_inject() {
    let case = rules(
        "[[rule]]\nname = \"R\"\nthen = [{ add-field = { \"X-A\" = \"%SENDER% %RULENAME% %SCORE% %CLIENT_IP% 100% %NOTHING\" } }]\n",
    );
    let text = case.texts(&case.apply(&case.decide())).remove(0);
    let expected = "X-A: <taro@outside.example> R 0 192.0.2.7 100% %NOTHING\r\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn replies_are_filled_in_with_ascii() {
    let case =
        rules("[[rule]]\nname = \"社外\"\nthen = [{ reject = \"%RULENAME%: %CLIENT_IP%\" }]\n");
    let applied = case.apply(&case.decide());
    let FinalAction::Reject { text, .. } = &applied.copies[0].action else { panic!("rejected") };
    assert_eq!(text.as_ref(), "??: 192.0.2.7");
    let mut decisions = case.decide();
    applied.tell(&mut decisions);
    assert_eq!(decisions.recipients[0].action, applied.copies[0].action, "what the client reads");
}

#[test]
fn notices_go_to_whom_they_should() {
    let case = rules(
        "[notices.n]\nto = [\"administrator\", \"recipients\", \"sender\"]\n\
         subject = { en = \"%RULENAME%: %SUBJECT%\", ja = \"通知\" }\n\
         text = { en = \"%FILENAME% for %RECIPIENTS%\", ja = \"削除\" }\n\
         [[rule]]\nname = \"R\"\nwhen = { malware = \"any\" }\nthen = [{ notify = \"n\" }, { quarantine = \"area\" }]\n",
    )
    .found(FindingKind::Malware, 0, "a.exe");
    let incoming = case.mail("x@o.example", &["a@example.com", "b@example.com"]);
    let notices = incoming.apply(&incoming.decide()).notices;
    assert_eq!(notices.len(), 2);
    assert_eq!(notices[0].to, [path("admin@example.com")], "a stranger's address may be forged");
    assert_eq!(notices[1].to, [path("a@example.com"), path("b@example.com")]);
    let header = |index: usize| String::from_utf8(notices[index].message.clone()).unwrap();
    assert!(header(0).contains("Subject: R: hello\r\n"), "{}", header(0));
    assert!(header(1).contains("To: undisclosed-recipients:;\r\n"), "{}", header(1));
    assert!(header(0).contains("From: Mail Security <admin@example.com>\r\n"), "{}", header(0));

    let outgoing = incoming.mail("a@example.com", &["x@o.example"]);
    let notices = outgoing.apply(&outgoing.decide()).notices;
    assert_eq!(notices[0].to, [path("a@example.com"), path("admin@example.com")]);
    let null = outgoing.mail("", &["b@example.com"]);
    assert_eq!(null.apply(&null.decide()).notices[0].to, [path("admin@example.com")]);
}

#[test]
fn ascii_notices_stay_plain() {
    let case = rules(
        "[notices.n]\nto = \"administrator\"\nsubject = \"Removed\"\ntext = \"One.\\nTwo for %RECIPIENTS%.\"\n\
         [[rule]]\nname = \"R\"\nthen = [{ notify = \"n\" }]\n",
    );
    let notice = case.apply(&case.decide()).notices.remove(0);
    let text = String::from_utf8(notice.message).unwrap();
    assert!(text.contains("Content-Type: text/plain; charset=us-ascii\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nOne.\r\nTwo for <hanako@example.com>.\r\n"), "{text}");
}

#[test]
fn changes_that_cannot_be_made_leave_the_original_aside() {
    let case = rules("[[rule]]\nname = \"R\"\nthen = [{ add-field = { \"X-A\" = \"b\" } }]\n");
    let mut decisions = case.decide();
    let change = imss_policy::Change::RemoveField { name: "not a name".into(), rule: "R".into() };
    decisions.recipients[0].changes.push(change);
    let applied = case.apply(&decisions);
    assert!(applied.copies[0].unproven.is_some());
    assert_eq!(applied.copies[0].action, FinalAction::Quarantine { area: "unscannable".into() });
    assert_eq!(applied.copies[0].rope.to_bytes(case.message.raw()), &case.message.raw()[..]);
}
