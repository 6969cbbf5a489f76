//! Stamps and cleaning: what is done to a message, and what the trail says about it.

use imss_core::entity::Entities;
use imss_core::finding::FindingKind;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

use super::support::Case;

const HEAD: &str = "[quarantine.area]\n[stamps.note]\ntext = \"%SUBJECT% was checked\"\n\
    html = \"<i>%SUBJECT%</i>\"\nposition = \"top\"\n";

fn case(rules: &str, raw: &str) -> Case {
    let mut case = Case::new(&format!("{rules}\n"));
    let limits = Limits::default();
    case.message = Message::parse(raw.to_owned().into(), &limits);
    case.entities = Entities::extract(&case.message, &limits, &StopFlag::new());
    case
}

fn did(case: &Case) -> String {
    let decisions = case.decide();
    imss_policy::explain::text(&decisions, &case.envelope, &case.findings)
}

const STAMP: &str = "[[rule]]\nname = \"S\"\nthen = [{ stamp = \"note\" }, { otherwise = { tag-subject = \"[s]\" } }]";

#[test]
fn stamps_go_into_text_and_page() {
    let raw = "Subject: a <b>\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<body>hello</body>\r\n--b--\r\n";
    let case = case(&format!("{HEAD}{STAMP}"), raw);
    let text = case.texts(&case.apply(&case.decide())).remove(0);
    assert!(text.contains("\r\n\r\na <b> was checked\r\n\r\nhello\r\n"), "{text}");
    assert!(text.contains("<body><i>a &lt;b&gt;</i>hello</body>"), "{text}");
    assert!(did(&case).contains("stamped the text with \"note\""), "{}", did(&case));
}

const SIGNED: &str = "Subject: s\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\
    Content-Type: text/html; name=a.html\r\nContent-Disposition: attachment\r\n\r\n<html><script>x</script>a</html>\r\n\
    --b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n";

#[test]
fn signed_text_stays_unless_the_policy_says_otherwise() {
    let raw = SIGNED.replace("attachment", "inline").replace("; name=a.html", "");
    let keep = case(&format!("{HEAD}{STAMP}"), &raw);
    let text = keep.texts(&keep.apply(&keep.decide())).remove(0);
    assert_eq!(text, raw.replace("Subject: s", "Subject: [s] s"));
    assert!(did(&keep).contains("did not stamp it: its text is signed"), "{}", did(&keep));
    let edit = case(&format!("signed = \"edit\"\n{HEAD}{STAMP}"), &raw);
    let text = edit.texts(&edit.apply(&edit.decide())).remove(0);
    assert!(text.contains("<html><i>s</i>"), "{text}");
}

fn page(content: &str) -> String {
    format!(
        "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
        Content-Type: text/html; name=a.html\r\nContent-Disposition: attachment\r\n\r\n{content}\r\n--b--\r\n"
    )
}

const CLEAN: &str = "[quarantine.area]\n[[rule]]\nname = \"C\"\nwhen = { malware = \"any\" }\n\
    then = [\"clean\", { otherwise = { quarantine = \"area\" } }]";

#[test]
fn attachments_are_cleaned() {
    let raw = page("<html><script>x()</script><p>a</p></html>");
    let case = case(CLEAN, &raw).found(FindingKind::Malware, 0, "a.html");
    let applied = case.apply(&case.decide());
    assert_eq!(case.actions(), ["deliver"]);
    let text = case.texts(&applied).remove(0);
    assert!(
        text.contains("Content-Transfer-Encoding: base64\r\n\r\nPGh0bWw+PHA+YTwvcD48L2h0bWw+\r\n"),
        "{text}"
    );
    let trail = did(&case);
    assert!(trail.contains("removed element script from a.html"), "{trail}");
}

#[test]
fn what_cannot_be_cleaned_is_otherwise_done() {
    let harmless = case(CLEAN, &page("<html><p>a</p></html>"));
    let harmless = harmless.found(FindingKind::Malware, 0, "a.html");
    assert_eq!(harmless.actions(), ["quarantine"]);
    assert!(did(&harmless).contains("could not clean it: there is nothing to remove"));
    let signed = case(CLEAN, SIGNED).found(FindingKind::Malware, 0, "a.html");
    assert_eq!(signed.actions(), ["quarantine"]);
    assert!(did(&signed).contains("left it: it is signed"), "{}", did(&signed));
    let message = case(CLEAN, &page("")).found(FindingKind::Malware, 0, "");
    assert_eq!(message.actions(), ["quarantine"]);
}

#[test]
fn malware_is_not_kept_for_its_signature() {
    let alone =
        CLEAN.replace("\"clean\", { otherwise = { quarantine = \"area\" } }", "{ clean = true }");
    let case = case(&alone, SIGNED).found(FindingKind::Malware, 0, "a.html");
    let trail = did(&case);
    assert!(
        trail.contains("broke a signature") && trail.contains("removed element script"),
        "{trail}"
    );
}

#[test]
fn mistakes_have_their_place() {
    let cases = [
        ("[[rule]]\nname = \"S\"\nthen = [{ stamp = \"none\" }]", "is not declared in [stamps]"),
        ("signed = \"maybe\"", "unknown word `maybe`"),
        ("[stamps.a]\nposition = \"left\"\ntext = \"x\"", "unknown word `left`"),
        ("[stamps.a]\nhtml = \"x\"", "`text` is missing"),
        ("[[rule]]\nname = \"C\"\nthen = [\"clean\"]", "`clean` has no attachment to act on"),
        (
            "[[rule]]\nname = \"C\"\nwhen = { malware = \"any\" }\nthen = [{ clean = false }]",
            "does nothing",
        ),
        ("[[rule]]\nname = \"S\"\nthen = [\"stamp\"]", "`stamp` needs to be told what"),
        ("[unknown]\nlimit = \"clean\"", "`clean` cannot answer this"),
    ];
    for (source, expected) in cases {
        let mistakes = imss_policy::Policy::parse(source, &imss_policy::Origin::text("p.toml"));
        let shown = mistakes.unwrap_err().to_string();
        assert!(shown.contains(expected), "{source}: {shown}");
    }
}
