//! A day's lines → one report per domain (RFC 9990 §3), on mail-auth.

use std::collections::BTreeMap;
use std::io::BufRead;

use imss_core::authentication::{AuthResult, DmarcPolicy, DmarcRecord};
use mail_auth::report::{
    ActionDisposition, Alignment, DKIMAuthResult, Discovery, Disposition, DkimResult, DmarcResult,
    PolicyOverride, PolicyOverrideReason, Record, Report, SPFAuthResult, SPFDomainScope, SpfResult,
};

use super::{Line, MAX_DOMAINS, MAX_ROWS, Seen};

/// Octets of a line at most; longer ones are not ours.
const MAX_LINE: usize = 64 << 10;

/// What was seen of one domain on one day.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// The record as it was seen last.
    pub(crate) record: DmarcRecord,
    rows: BTreeMap<Seen, u32>,
    /// Messages beyond the bound of rows.
    pub(crate) left_out: u64,
}

/// Who reports, and when.
pub(crate) struct Reporter<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) from: &'a str,
    /// The day, from its first second to its last.
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// Adds up the lines of a day, by domain. Lines that are no lines of ours are counted and skipped.
pub(crate) fn add_up(lines: impl BufRead) -> std::io::Result<(BTreeMap<String, Day>, u64)> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut skipped = 0_u64;
    for line in lines.split(b'\n') {
        let line = line?;
        let parsed = (line.len() <= MAX_LINE).then(|| serde_json::from_slice::<Line>(&line).ok());
        let Some(Line { seen, record }) = parsed.flatten() else {
            skipped = skipped.saturating_add(1);
            continue;
        };
        if days.len() >= MAX_DOMAINS && !days.contains_key(&seen.domain) {
            skipped = skipped.saturating_add(1);
            continue;
        }
        let day = days.entry(seen.domain.clone()).or_default();
        day.record = record;
        if day.rows.len() >= MAX_ROWS && !day.rows.contains_key(&seen) {
            day.left_out = day.left_out.saturating_add(1);
            continue;
        }
        let count = day.rows.entry(seen).or_default();
        *count = count.saturating_add(1);
    }
    Ok((days, skipped))
}

impl Day {
    /// The report on `domain`.
    pub(crate) fn report(&self, domain: &str, by: &Reporter<'_>) -> Report {
        let alignment = |strict: bool| if strict { Alignment::Strict } else { Alignment::Relaxed };
        let policy = |policy: DmarcPolicy| match policy {
            DmarcPolicy::None => Disposition::None,
            DmarcPolicy::Quarantine => Disposition::Quarantine,
            DmarcPolicy::Reject => Disposition::Reject,
        };
        let mut report = Report::new()
            .with_version(1.0)
            .with_org_name(by.organisation)
            .with_email(by.from)
            .with_report_id(format!("{}.{}.{domain}", by.begin, by.end))
            .with_date_range_begin(by.begin)
            .with_date_range_end(by.end)
            .with_generator(concat!("imss ", env!("CARGO_PKG_VERSION")))
            .with_domain(domain)
            .with_adkim(alignment(self.record.strict_dkim))
            .with_aspf(alignment(self.record.strict_spf))
            .with_p(policy(self.record.p))
            .with_sp(policy(self.record.sp))
            .with_np(policy(self.record.np))
            .with_testing(self.record.testing)
            .with_discovery_method(Discovery::Treewalk);
        if self.left_out > 0 {
            report = report.with_error(format!("{} messages are left out", self.left_out));
        }
        for (seen, count) in &self.rows {
            report.add_record(record(seen, *count));
        }
        report
    }
}

fn record(seen: &Seen, count: u32) -> Record {
    let result = |pass: bool| if pass { DmarcResult::Pass } else { DmarcResult::Fail };
    let passed = seen.spf_aligned || seen.dkim_aligned;
    let disposition = match seen.disposition {
        DmarcPolicy::None if passed => ActionDisposition::Pass,
        DmarcPolicy::None => ActionDisposition::None,
        DmarcPolicy::Quarantine => ActionDisposition::Quarantine,
        DmarcPolicy::Reject => ActionDisposition::Reject,
    };
    let scope = if seen.spf_is_helo { SPFDomainScope::Helo } else { SPFDomainScope::MailFrom };
    let mut record = Record::new()
        .with_source_ip(seen.ip)
        .with_count(count)
        .with_action_disposition(disposition)
        .with_dmarc_dkim_result(result(seen.dkim_aligned))
        .with_dmarc_spf_result(result(seen.spf_aligned))
        .with_envelope_from(seen.envelope_from.as_str())
        .with_header_from(seen.author.as_str())
        .with_spf_auth_result(
            SPFAuthResult::new()
                .with_domain(seen.spf_domain.as_str())
                .with_scope(scope)
                .with_result(spf(seen.spf)),
        );
    if seen.overridden {
        let reason = PolicyOverrideReason::new(PolicyOverride::LocalPolicy);
        record = record.with_policy_override_reason(reason);
    }
    for (domain, selector, result) in &seen.dkim {
        record = record.with_dkim_auth_result(
            DKIMAuthResult::new()
                .with_domain(domain.as_str())
                .with_selector(selector.as_str())
                .with_result(dkim(*result)),
        );
    }
    record
}

fn spf(result: AuthResult) -> SpfResult {
    match result {
        AuthResult::Pass => SpfResult::Pass,
        AuthResult::Fail => SpfResult::Fail,
        AuthResult::SoftFail => SpfResult::SoftFail,
        AuthResult::Neutral => SpfResult::Neutral,
        AuthResult::TempError => SpfResult::TempError,
        AuthResult::PermError | AuthResult::Policy => SpfResult::PermError,
        AuthResult::None => SpfResult::None,
    }
}

fn dkim(result: AuthResult) -> DkimResult {
    match result {
        AuthResult::Pass => DkimResult::Pass,
        AuthResult::Fail | AuthResult::SoftFail => DkimResult::Fail,
        AuthResult::Neutral => DkimResult::Neutral,
        AuthResult::Policy => DkimResult::Policy,
        AuthResult::TempError => DkimResult::TempError,
        AuthResult::PermError => DkimResult::PermError,
        AuthResult::None => DkimResult::None,
    }
}
