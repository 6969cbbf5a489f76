use mail_auth::report::tlsrpt::{PolicyType, ResultType, TlsReport};
use serde_json::Value;

use super::aggregate::{Reporter, add_up, json};
use super::{MAX_LINE, MAX_POLICIES, MAX_ROWS, PREFIX, TlsCounts};
use crate::ids::unix_millis;
use crate::observe::lines::DailyLines;
use crate::outbound::tls::seen::{
    PolicyKind, SeenFailure, SeenPolicy, SeenSession, TlsObserver, Trouble, TroubleKind,
};

fn failure(host: &str, kind: TroubleKind) -> SeenFailure {
    SeenFailure {
        trouble: Trouble { kind, reason: "why".to_owned() },
        host: host.to_owned(),
        helo: None,
        ip: Some([192, 0, 2, 1].into()),
        own_ip: None,
    }
}

fn line(domain: &str, policy: &SeenPolicy, failure: Option<SeenFailure>) -> String {
    let seen = SeenSession { domain: domain.to_owned(), policy: policy.clone(), failure };
    serde_json::to_string(&seen).unwrap()
}

fn sts() -> SeenPolicy {
    SeenPolicy {
        kind: PolicyKind::Sts,
        lines: vec!["version: STSv1".to_owned()],
        hosts: vec!["mx.a.example".to_owned()],
    }
}

fn by() -> Reporter<'static> {
    Reporter { organisation: "Ours", from: "t@o.example", host: "g", begin: 86_400, end: 172_799 }
}

#[test]
fn a_day_becomes_a_report_per_domain() {
    let (none, expired) = (SeenPolicy::none(), TroubleKind::CertificateExpired);
    let lines = [
        line("a.example", &sts(), None),
        line("a.example", &sts(), Some(failure("mx1", expired))),
        line("a.example", &sts(), Some(failure("mx1", expired))),
        line("a.example", &sts(), Some(failure("mx2", TroubleKind::StarttlsNotSupported))),
        line("a.example", &none, None),
        line("b.example", &none, None),
        line("../x", &none, None),
        "torn {".to_owned(),
    ];
    let (days, skipped) = add_up(lines.join("\n").as_bytes()).unwrap();
    assert_eq!((days.len(), skipped), (2, 2));
    let octets = json(&days["a.example"].report("a.example", &by())).unwrap();
    let read = TlsReport::parse_json(&octets).unwrap();
    assert_eq!(read.organization_name.as_deref(), Some("Ours"));
    let sums: Vec<_> = read
        .policies
        .iter()
        .map(|one| (one.policy.policy_type, one.summary.total_success, one.summary.total_failure))
        .collect();
    assert_eq!(sums, [(PolicyType::Sts, 1, 3), (PolicyType::NoPolicyFound, 1, 0)]);
    let details: Vec<_> = read.policies[0]
        .failure_details
        .iter()
        .map(|one| {
            (one.result_type, one.receiving_mx_hostname.as_deref(), one.failed_session_count)
        })
        .collect();
    assert_eq!(
        details,
        [
            (ResultType::StartTlsNotSupported, Some("mx2"), 1),
            (ResultType::CertificateExpired, Some("mx1"), 2),
        ]
    );
    let plain: Value = serde_json::from_slice(&octets).unwrap();
    assert_eq!(plain["date-range"]["start-datetime"], "1970-01-02T00:00:00Z");
    assert_eq!(plain["policies"][0]["policy"]["mx-host"][0], "mx.a.example");
    assert_eq!(plain["policies"][0]["failure-details"][0]["receiving-ip"], "192.0.2.1");
    assert!(!String::from_utf8(octets).unwrap().contains("null"));
}

#[test]
fn result_types_have_the_names_of_the_standard() {
    let cases = [
        (TroubleKind::StarttlsNotSupported, "starttls-not-supported"),
        (TroubleKind::CertificateHostMismatch, "certificate-host-mismatch"),
        (TroubleKind::CertificateExpired, "certificate-expired"),
        (TroubleKind::CertificateNotTrusted, "certificate-not-trusted"),
        (TroubleKind::ValidationFailure, "validation-failure"),
        (TroubleKind::TlsaInvalid, "tlsa-invalid"),
        (TroubleKind::DnssecInvalid, "dnssec-invalid"),
        (TroubleKind::DaneRequired, "dane-required"),
        (TroubleKind::StsPolicyFetchError, "sts-policy-fetch-error"),
        (TroubleKind::StsPolicyInvalid, "sts-policy-invalid"),
        (TroubleKind::StsWebpkiInvalid, "sts-webpki-invalid"),
    ];
    for (kind, name) in cases {
        let text = line("a.example", &SeenPolicy::none(), Some(failure("mx", kind)));
        let (days, _) = add_up(text.as_bytes()).unwrap();
        let octets = json(&days["a.example"].report("a.example", &by())).unwrap();
        let plain: Value = serde_json::from_slice(&octets).unwrap();
        assert_eq!(plain["policies"][0]["failure-details"][0]["result-type"], name);
    }
}

#[test]
fn a_day_is_bounded() {
    let host = |n: usize| failure(&format!("mx{n}"), TroubleKind::ValidationFailure);
    let rows = (0..MAX_ROWS + 5).map(|n| line("a.example", &sts(), Some(host(n))));
    let others = (0..MAX_POLICIES + 5).map(|n| {
        let policy = SeenPolicy { lines: vec![format!("p{n}")], ..SeenPolicy::none() };
        line("b.example", &policy, None)
    });
    let lines: Vec<String> = rows.chain(others).collect();
    let (days, skipped) = add_up(lines.join("\n").as_bytes()).unwrap();
    assert_eq!(skipped, 5);
    let report = days["a.example"].report("a.example", &by());
    assert_eq!(report.policies[0].failure_details.len(), MAX_ROWS);
    let sum = usize::try_from(report.policies[0].summary.total_failure).unwrap();
    assert_eq!(sum, MAX_ROWS + 5, "the sum knows them all");
}

#[test]
fn long_sessions_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let counts = TlsCounts::open(folder.path()).unwrap();
    for octets in [MAX_LINE, 1] {
        let policy = SeenPolicy { lines: vec!["x".repeat(octets)], ..SeenPolicy::none() };
        let domain = "a.example".to_owned();
        counts.session(SeenSession { domain, policy, failure: None });
    }
    counts.sync();
    let file = DailyLines::file_of(folder.path(), PREFIX, unix_millis());
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1);
}
