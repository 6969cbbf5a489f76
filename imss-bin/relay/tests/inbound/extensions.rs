//! The parameters of extensions, rule by rule: DSN (RFC 3461), SMTPUTF8 (RFC 6531), CHUNKING
//! (RFC 3030), SIZE (RFC 1870), 8BITMIME (RFC 6152).

use imss_core::envelope::{BodyType, DsnReturn, Notify};
use imss_relay::inbound::Settings;

use super::support::{Outcome, settings, talk};

const STRANGER: &str = "192.0.2.1";

fn say(lines: &[&str]) -> Outcome {
    let input: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    // All in one piece, as no client sends it: what follows DATA must not count as sent too early.
    let settings = Settings { close_on_early_data: false, ..settings() };
    talk(&settings, STRANGER, input.as_bytes(), &[])
}

/// The code of the reply to `line` after EHLO, and after `MAIL FROM:<>` if it is `RCPT`.
fn code(line: &str) -> String {
    let before: &[&str] =
        if line.starts_with("RCPT") { &["EHLO x", "MAIL FROM:<>"] } else { &["EHLO x"] };
    let outcome = say(&[before, &[line]].concat());
    (*outcome.codes().last().unwrap()).to_owned()
}

#[test]
fn dsn_of_the_message() {
    let longest = format!("MAIL FROM:<> ENVID={}", "e".repeat(100));
    let too_long = format!("MAIL FROM:<> ENVID={}", "e".repeat(101));
    let cases = [
        ("§4.3 FULL", "MAIL FROM:<> RET=FULL", "250"),
        ("§4.3 HDRS, any case", "MAIL FROM:<> ret=hdrs", "250"),
        ("§4.3 nothing else", "MAIL FROM:<> RET=BODY", "501"),
        ("§4.3 a value is needed", "MAIL FROM:<> RET", "501"),
        ("§4.3 once", "MAIL FROM:<> RET=FULL RET=HDRS", "501"),
        ("§4.4 xtext", "MAIL FROM:<> ENVID=QQ314159+2B", "250"),
        ("§4.4 lower-case hexadecimal", "MAIL FROM:<> ENVID=a+2b", "501"),
        ("§4.4 cut xtext", "MAIL FROM:<> ENVID=a+2", "501"),
        ("§4.4 empty", "MAIL FROM:<> ENVID=", "501"),
        ("§4.4 once", "MAIL FROM:<> ENVID=a ENVID=b", "501"),
        ("§4.4 the longest", &longest, "250"),
        ("§4.4 too long", &too_long, "501"),
        ("§4.4 not ASCII", "MAIL FROM:<> SMTPUTF8 ENVID=ü", "501"),
        ("of a recipient", "MAIL FROM:<> NOTIFY=NEVER", "555"),
    ];
    for (name, line, expected) in cases {
        assert_eq!(code(line), expected, "{name}");
    }
}

#[test]
fn dsn_of_the_recipient() {
    let rcpt = |parameters: &str| format!("RCPT TO:<a@ours.example> {parameters}");
    let longest = format!("ORCPT=rfc822;{}", "o".repeat(500 - 7));
    let too_long = format!("ORCPT=rfc822;{}", "o".repeat(501 - 7));
    let cases = [
        ("§4.1 never", "NOTIFY=NEVER", "250"),
        ("§4.1 all, any case", "notify=success,Failure,DELAY", "250"),
        ("§4.1 never is alone", "NOTIFY=NEVER,SUCCESS", "501"),
        ("§4.1 nothing else", "NOTIFY=SOMETIMES", "501"),
        ("§4.1 no empty element", "NOTIFY=SUCCESS,,DELAY", "501"),
        ("§4.1 empty", "NOTIFY=", "501"),
        ("§4.1 once", "NOTIFY=DELAY NOTIFY=NEVER", "501"),
        ("§4.2 address type and xtext", "ORCPT=rfc822;a+2Bb@example.com", "250"),
        ("§4.2 any address type", "ORCPT=x400;/c=jp/", "250"),
        ("§4.2 no type", "ORCPT=a@example.com", "501"),
        ("§4.2 empty type", "ORCPT=;a@example.com", "501"),
        ("§4.2 empty address", "ORCPT=rfc822;", "501"),
        ("§4.2 cut xtext", "ORCPT=rfc822;a+", "501"),
        ("§4.2 the longest", &longest, "250"),
        ("§4.2 too long", &too_long, "501"),
        ("§4.2 once", "ORCPT=rfc822;a@b ORCPT=rfc822;c@d", "501"),
        ("RFC 6533 §3 needs SMTPUTF8", "ORCPT=utf-8;ü@example.com", "501"),
        ("RFC 6533 §3 escapes do not", "ORCPT=utf-8;\\x{FC}@example.com", "250"),
        ("of the message", "RET=FULL", "555"),
    ];
    for (name, parameters, expected) in cases {
        assert_eq!(code(&rcpt(parameters)), expected, "{name}");
    }
}

#[test]
fn everything_reaches_the_envelope() {
    let outcome = say(&[
        "EHLO x",
        "MAIL FROM:<ü@b.example> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e1",
        "RCPT TO:<ö@ours.example> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;ä@b.example",
        "RCPT TO:<c@ours.example>",
        "DATA",
        "x\r\n.",
        "MAIL FROM:<>",
        "RCPT TO:<c@ours.example>",
        "DATA",
        "y\r\n.",
    ]);
    let envelope = &outcome.messages[0].0;
    let parameters = &envelope.parameters;
    assert_eq!((parameters.size, parameters.smtputf8), (Some(9), true));
    assert_eq!(parameters.body, Some(BodyType::EightBitMime));
    assert_eq!(parameters.ret, Some(DsnReturn::Headers));
    assert_eq!(parameters.envid.as_deref(), Some("e1"));
    let first = &envelope.recipients[0].parameters;
    assert_eq!(first.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(first.orcpt.as_deref(), Some("utf-8;ä@b.example"));
    assert_eq!(envelope.recipients[1].parameters.notify, None);
    // Nothing of it outlives the message.
    let next = &outcome.messages[1].0;
    assert_eq!(next.parameters, Default::default());
    assert_eq!(next.recipients[0].parameters, Default::default());
}

#[test]
fn utf8_sizes_and_bodies() {
    let cases = [
        ("RFC 6531 §3.4 in the reverse-path", "MAIL FROM:<ü@b.example> SMTPUTF8", "250"),
        ("RFC 6531 §3.4 in its domain", "MAIL FROM:<a@bücher.example> SMTPUTF8", "250"),
        ("RFC 6531 §3.4 only if announced", "MAIL FROM:<ü@b.example>", "550"),
        ("RFC 6531 §3.4 takes no value", "MAIL FROM:<> SMTPUTF8=YES", "501"),
        ("RFC 6531 §3.4 not for a recipient", "RCPT TO:<a@ours.example> SMTPUTF8", "555"),
        ("RFC 6531 §3.4 nor without it", "RCPT TO:<ü@ours.example>", "553"),
        ("RFC 6152 §3 seven", "MAIL FROM:<> BODY=7BIT", "250"),
        ("RFC 6152 §3 eight", "MAIL FROM:<> BODY=8bitmime", "250"),
        ("RFC 6152 §3 no value", "MAIL FROM:<> BODY", "501"),
        ("RFC 3030 §3 binary is not offered", "MAIL FROM:<> BODY=BINARYMIME", "504"),
        ("RFC 1870 §3 nought is unknown", "MAIL FROM:<> SIZE=0", "250"),
        ("RFC 1870 §3 twenty digits", "MAIL FROM:<> SIZE=99999999999999999999", "552"),
        ("RFC 1870 §3 twenty-one", "MAIL FROM:<> SIZE=000000000000000000001", "501"),
        ("RFC 1870 §3 signed", "MAIL FROM:<> SIZE=-1", "501"),
    ];
    for (name, line, expected) in cases {
        assert_eq!(code(line), expected, "{name}");
    }
    let offers = say(&["EHLO x"]).replies;
    for offer in ["SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "PIPELINING"] {
        assert!(offers.contains(offer), "{offer}");
    }
    assert!(!offers.contains("BINARYMIME"));
}

#[test]
fn chunks_keep_their_order() {
    let start = ["EHLO x", "MAIL FROM:<>", "RCPT TO:<a@ours.example>"];
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("§2 one chunk", &["BDAT 3 LAST\r\nx"], &["250"]),
        ("§2 nothing in the last", &["BDAT 3\r\nx", "BDAT 0 LAST"], &["250", "250"]),
        ("§2 no DATA in between", &["BDAT 3\r\nx", "DATA", "BDAT 0 LAST"], &["250", "503", "250"]),
        ("§2 no MAIL in between", &["BDAT 3\r\nx", "MAIL FROM:<>"], &["250", "503"]),
        ("§2 no RCPT in between", &["BDAT 3\r\nx", "RCPT TO:<b@ours.example>"], &["250", "503"]),
        ("§2 RSET ends it", &["BDAT 3\r\nx", "RSET", "MAIL FROM:<>"], &["250", "250", "250"]),
        ("§2 after the last a new one", &["BDAT 3 LAST\r\nx", "MAIL FROM:<>"], &["250", "250"]),
        ("§2 NOOP in between", &["BDAT 3\r\nx", "NOOP", "BDAT 0 LAST"], &["250", "250", "250"]),
    ];
    for (name, lines, expected) in cases {
        let outcome = say(&[&start[..], lines].concat());
        assert_eq!(outcome.codes()[3..], **expected, "{name}");
    }
    let early = say(&["EHLO x", "BDAT 6 LAST\r\nQUIT", "NOOP"]);
    assert_eq!(
        early.codes(),
        ["250", "503", "250"],
        "a chunk that is refused is read all the same"
    );
}
