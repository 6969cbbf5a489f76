use imss_core::plan::{MessageQuery, Query};

use crate::mail::Mail;

fn holds(mail: &Mail, query: MessageQuery) -> bool {
    let scan = mail.ask(Query::Message(query));
    assert!(scan.findings.gaps.is_empty(), "{scan:?}");
    !scan.findings.found.is_empty()
}

#[test]
fn facts_about_the_whole() {
    let mail = Mail::with_attachments("text", &[("a.bin", &[1; 100]), ("b.bin", &[1; 100])]);
    let size = u64::try_from(mail.message.raw().len()).unwrap();
    let field = |name: &str, pattern: &str| MessageQuery::Field {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
    };
    let cases = [
        ("its size is not more than itself", MessageQuery::LargerThan(size), false),
        ("its size", MessageQuery::LargerThan(size - 1), true),
        ("two recipients", MessageQuery::RecipientsMoreThan(1), true),
        ("not more than two", MessageQuery::RecipientsMoreThan(2), false),
        ("two attachments", MessageQuery::AttachmentsMoreThan(1), true),
        ("not more than two attachments", MessageQuery::AttachmentsMoreThan(2), false),
        ("their octets", MessageQuery::AttachmentBytesMoreThan(199), true),
        ("not more octets", MessageQuery::AttachmentBytesMoreThan(200), false),
        ("a field in any case", field("SUBJECT", "^a TEST$"), true),
        ("a field that does not match", field("Subject", "other"), false),
        ("a field that is not there", field("X-None", ""), false),
        ("the subject is not blank", MessageQuery::BlankSubject, false),
    ];
    for (name, query, expected) in cases {
        assert_eq!(holds(&mail, query), expected, "{name}");
    }
}

#[test]
fn blank_is_blank() {
    let cases = [
        ("missing", "To: a@example.com\r\n\r\n", true),
        ("empty", "Subject:\r\n\r\n", true),
        ("blanks", "Subject:  \t \r\n\r\n", true),
        ("a folded line end", "Subject: \r\n \r\n\r\n", true),
        ("an encoded blank", "Subject: =?utf-8?Q?=20=E3=80=80?=\r\n\r\n", true),
        ("an invisible character", "Subject: =?utf-8?B?4oCL?=\r\n\r\n", true),
        ("a word", "Subject: x\r\n\r\n", false),
    ];
    for (name, raw, blank) in cases {
        assert_eq!(holds(&Mail::new(raw), MessageQuery::BlankSubject), blank, "{name}");
    }
}
