use imss_core::authentication::{AuthResult, DmarcPolicy, DmarcRecord};
use mail_auth::report::Report;

use super::aggregate::{Reporter, add_up};
use super::{Line, MAX_ROWS, Seen};

fn seen(domain: &str, last: u8) -> Seen {
    Seen {
        domain: domain.to_owned(),
        author: format!("mail.{domain}"),
        envelope_from: "bounces.example".to_owned(),
        ip: [192, 0, 2, last].into(),
        disposition: DmarcPolicy::Reject,
        overridden: false,
        spf_aligned: false,
        dkim_aligned: false,
        spf_domain: "bounces.example".to_owned(),
        spf: AuthResult::Pass,
        spf_is_helo: false,
        dkim: vec![("other.example".to_owned(), "s".to_owned(), AuthResult::Fail)],
    }
}

fn line(seen: Seen) -> String {
    let record = DmarcRecord {
        p: DmarcPolicy::Reject,
        strict_spf: true,
        rua: vec!["mailto:d@example.com".to_owned()],
        ..DmarcRecord::default()
    };
    serde_json::to_string(&Line { seen, record }).unwrap()
}

#[test]
fn a_day_becomes_a_report_per_domain() {
    let lines = [
        line(seen("a.example", 1)),
        line(seen("a.example", 1)),
        line(seen("a.example", 2)),
        line(seen("b.example", 1)),
        "torn {".to_owned(),
    ];
    let (days, skipped) = add_up(lines.join("\n").as_bytes()).unwrap();
    assert_eq!((days.len(), skipped), (2, 1));
    let by = Reporter { organisation: "Ours", from: "d@ours.example", begin: 86_400, end: 172_799 };
    let xml = days["a.example"].report("a.example", &by).to_xml();
    let read = Report::parse_xml(xml.as_bytes()).unwrap();
    assert_eq!((read.domain(), read.org_name()), ("a.example", "Ours"));
    let counts: Vec<u32> = read.records().iter().map(mail_auth::report::Record::count).collect();
    assert_eq!(counts, [2, 1], "{xml}");
    for expected in [
        "<disposition>reject</disposition>",
        "<aspf>s</aspf>",
        "<header_from>mail.a.example</header_from>",
        "<envelope_from>bounces.example</envelope_from>",
        "<source_ip>192.0.2.1</source_ip>",
    ] {
        assert!(xml.contains(expected), "{expected} in {xml}");
    }
}

#[test]
fn rows_are_bounded() {
    let lines: Vec<String> = (0..MAX_ROWS + 5)
        .map(|number| line(Seen { envelope_from: format!("n{number}"), ..seen("a.example", 1) }))
        .collect();
    let (days, _) = add_up(lines.join("\n").as_bytes()).unwrap();
    assert_eq!(days["a.example"].left_out, 5);
}
