//! A day's lines → one report per domain (RFC 8460 §4), on mail-auth.

use std::collections::BTreeMap;
use std::io::BufRead;

use mail_auth::report::tlsrpt::{
    DateRange, FailureDetails, Policy, PolicyDetails, PolicyType, ResultType, Summary, TlsReport,
};
use serde_json::Value;

use super::{MAX_DOMAINS, MAX_LINE, MAX_POLICIES, MAX_ROWS};
use crate::outbound::tls::seen::{PolicyKind, SeenFailure, SeenPolicy, SeenSession, TroubleKind};

/// What was seen of one domain on one day.
#[derive(Debug, Default)]
pub(crate) struct Day {
    policies: BTreeMap<SeenPolicy, Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    good: u32,
    failed: u32,
    rows: BTreeMap<SeenFailure, u32>,
}

/// Who reports, and when.
pub(crate) struct Reporter<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) from: &'a str,
    /// Our host name.
    pub(crate) host: &'a str,
    /// The day, from its first second to its last.
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// Adds up the lines of a day, by domain. Lines that are no lines of ours, and sessions beyond a bound,
/// are counted and skipped.
pub(crate) fn add_up(lines: impl BufRead) -> std::io::Result<(BTreeMap<String, Day>, u64)> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut skipped = 0_u64;
    for line in lines.split(b'\n') {
        let line = line?;
        let seen = (line.len() <= MAX_LINE).then(|| serde_json::from_slice(&line).ok()).flatten();
        if !seen.is_some_and(|seen: SeenSession| add(&mut days, seen)) {
            skipped = skipped.saturating_add(1);
        }
    }
    Ok((days, skipped))
}

/// Adds one session; false if there is no room for its kind.
fn add(days: &mut BTreeMap<String, Day>, seen: SeenSession) -> bool {
    // It stands in file names and questions.
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=253).contains(&seen.domain.len())
        || seen.domain.starts_with('.')
        || !seen.domain.chars().all(is_name)
        || (days.len() >= MAX_DOMAINS && !days.contains_key(&seen.domain))
    {
        return false;
    }
    let policies = &mut days.entry(seen.domain).or_default().policies;
    if policies.len() >= MAX_POLICIES && !policies.contains_key(&seen.policy) {
        return false;
    }
    let sessions = policies.entry(seen.policy).or_default();
    let Some(failure) = seen.failure else {
        sessions.good = sessions.good.saturating_add(1);
        return true;
    };
    sessions.failed = sessions.failed.saturating_add(1);
    // Beyond the bound a failure is in the sum, and has no details.
    if sessions.rows.len() < MAX_ROWS || sessions.rows.contains_key(&failure) {
        let count = sessions.rows.entry(failure).or_default();
        *count = count.saturating_add(1);
    }
    true
}

impl Day {
    /// The report on `domain`.
    pub(crate) fn report(&self, domain: &str, by: &Reporter<'_>) -> TlsReport {
        let (begin, end) = (seconds(by.begin), seconds(by.end));
        TlsReport {
            organization_name: Some(by.organisation.to_owned()),
            date_range: DateRange::from_timestamps(begin, end),
            contact_info: Some(by.from.to_owned()),
            report_id: format!("{begin}.{end}.{domain}@{}", by.host),
            policies: self
                .policies
                .iter()
                .map(|(policy, sessions)| policy_of(domain, policy, sessions))
                .collect(),
        }
    }
}

/// The report as JSON. What is not known is not there: the library writes `null`, which is no string.
pub(crate) fn json(report: &TlsReport) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(report)?;
    let policies = value.get_mut("policies").and_then(Value::as_array_mut);
    for policy in policies.into_iter().flatten() {
        if let Some(about) = policy.get_mut("policy").and_then(Value::as_object_mut) {
            about.retain(|_, value| value.as_array().is_none_or(|all| !all.is_empty()));
        }
        let details = policy.get_mut("failure-details").and_then(Value::as_array_mut);
        for detail in details.into_iter().flatten().filter_map(Value::as_object_mut) {
            detail.retain(|_, value| !value.is_null());
        }
        if let Some(policy) = policy.as_object_mut() {
            policy.retain(|_, value| value.as_array().is_none_or(|all| !all.is_empty()));
        }
    }
    serde_json::to_vec(&value)
}

fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}

fn policy_of(domain: &str, policy: &SeenPolicy, sessions: &Sessions) -> Policy {
    Policy {
        policy: PolicyDetails {
            policy_type: match policy.kind {
                PolicyKind::Tlsa => PolicyType::Tlsa,
                PolicyKind::Sts => PolicyType::Sts,
                PolicyKind::NoPolicyFound => PolicyType::NoPolicyFound,
            },
            policy_string: policy.lines.clone(),
            policy_domain: domain.to_owned(),
            mx_host: policy.hosts.clone(),
        },
        summary: Summary { total_success: sessions.good, total_failure: sessions.failed },
        failure_details: sessions.rows.iter().map(|(seen, count)| details(seen, *count)).collect(),
    }
}

fn details(seen: &SeenFailure, count: u32) -> FailureDetails {
    FailureDetails {
        result_type: result_type(seen.trouble.kind),
        sending_mta_ip: seen.own_ip,
        receiving_mx_hostname: Some(seen.host.clone()),
        receiving_mx_helo: seen.helo.clone(),
        receiving_ip: seen.ip,
        failed_session_count: count,
        additional_information: None,
        failure_reason_code: Some(seen.trouble.reason.clone()),
    }
}

fn result_type(kind: TroubleKind) -> ResultType {
    match kind {
        TroubleKind::StarttlsNotSupported => ResultType::StartTlsNotSupported,
        TroubleKind::CertificateHostMismatch => ResultType::CertificateHostMismatch,
        TroubleKind::CertificateExpired => ResultType::CertificateExpired,
        TroubleKind::CertificateNotTrusted => ResultType::CertificateNotTrusted,
        TroubleKind::ValidationFailure => ResultType::ValidationFailure,
        TroubleKind::TlsaInvalid => ResultType::TlsaInvalid,
        TroubleKind::DnssecInvalid => ResultType::DnssecInvalid,
        TroubleKind::DaneRequired => ResultType::DaneRequired,
        TroubleKind::StsPolicyFetchError => ResultType::StsPolicyFetchError,
        TroubleKind::StsPolicyInvalid => ResultType::StsPolicyInvalid,
        TroubleKind::StsWebpkiInvalid => ResultType::StsWebpkiInvalid,
    }
}
