//! DMARC aggregate reports (RFC 9990): what is counted, a report per domain and day, sent as mail.
//!
//! In: the facts and the fate of every message from outside whose author's domain asks for reports. Out:
//! `DATA-DIR/dmarc/seen-YYYY-MM-DD.jsonl`, one line a message; after the day (UTC) has ended, one mail
//! per domain to the addresses it names and that consent (§4), through our own queue; then the day's file
//! goes. Off unless `[dmarc-reports]` is there.
//!
//! Bounded: a day's file is read line by line, up to `MAX_DOMAINS` domains with `MAX_ROWS` rows each;
//! what is more is left out and said in the log. A crash between sending and removing sends a report
//! twice with the same ID, which receivers drop.

pub(crate) mod aggregate;
pub(crate) mod send;

use std::net::IpAddr;
use std::path::Path;

use imss_core::authentication::{AuthFacts, AuthResult, DmarcPolicy, DmarcRecord};
use imss_core::envelope::Envelope;
use imss_policy::{Decisions, FinalAction};
use serde::{Deserialize, Serialize};

use crate::observe::lines::DailyLines;
use crate::reports::daily::open;

/// Domains that get a report for one day.
pub(crate) const MAX_DOMAINS: usize = 5_000;
/// Rows of one report.
pub(crate) const MAX_ROWS: usize = 2_000;
/// The start of the names of the day's files.
pub(crate) const PREFIX: &str = "seen";

/// Where messages are counted.
pub struct Counts {
    lines: DailyLines,
}

/// One message, as reports need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) domain: String,
    pub(crate) author: String,
    pub(crate) envelope_from: String,
    pub(crate) ip: IpAddr,
    pub(crate) disposition: DmarcPolicy,
    /// Whether our policy did something else than the record asks for.
    pub(crate) overridden: bool,
    pub(crate) spf_aligned: bool,
    pub(crate) dkim_aligned: bool,
    pub(crate) spf_domain: String,
    pub(crate) spf: AuthResult,
    pub(crate) spf_is_helo: bool,
    /// Domain, selector, result.
    pub(crate) dkim: Vec<(String, String, AuthResult)>,
}

/// A line: the message, and the record as it was then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) seen: Seen,
    pub(crate) record: DmarcRecord,
}

impl Counts {
    /// Counts into `dir`, which is created if need be.
    ///
    /// # Errors
    ///
    /// The folder or the writer's thread.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        Ok(Self { lines: open(dir, PREFIX)? })
    }

    /// Counts one message, if its author's domain wants to know.
    pub fn count(
        &self,
        facts: &AuthFacts,
        envelope: &Envelope,
        decisions: &Decisions,
        unix_millis: u64,
    ) {
        let dmarc = &facts.dmarc;
        let Some(record) = dmarc.record.as_ref().filter(|record| !record.rua.is_empty()) else {
            return;
        };
        // Without an answer there is nothing to report.
        if !matches!(dmarc.result, AuthResult::Pass | AuthResult::Fail) {
            return;
        }
        let disposition = disposition(decisions);
        let asked = if dmarc.result == AuthResult::Fail { dmarc.policy } else { DmarcPolicy::None };
        let spf = facts.spf();
        let reverse_path = envelope.reverse_path.mailbox().map(ToString::to_string);
        let envelope_from = reverse_path.as_deref().and_then(imss_core::authentication::domain_of);
        let of_dkim = facts.dkim.iter().filter(|fact| !fact.domain.is_empty());
        let seen = Seen {
            domain: dmarc.record_domain.clone(),
            author: dmarc.domain.clone(),
            envelope_from: envelope_from.unwrap_or_default(),
            ip: envelope.client.ip.to_canonical(),
            disposition,
            overridden: asked != disposition,
            spf_aligned: dmarc.spf_aligned,
            dkim_aligned: dmarc.dkim_aligned,
            spf_domain: spf.domain.clone(),
            spf: spf.result,
            spf_is_helo: facts.mail_from.domain.is_empty(),
            dkim: of_dkim
                .map(|fact| (fact.domain.clone(), fact.selector.clone(), fact.result))
                .collect(),
        };
        match serde_json::to_vec(&Line { seen, record: record.clone() }) {
            Ok(line) => self.lines.append(unix_millis, line),
            Err(error) => tracing::error!(%error, "a message is not counted for DMARC reports"),
        }
    }
}

/// What became of the message for its first recipient, in the words of DMARC.
fn disposition(decisions: &Decisions) -> DmarcPolicy {
    match decisions.recipients.first().map(|decision| &decision.action) {
        Some(FinalAction::Reject { .. } | FinalAction::Bounce { .. }) => DmarcPolicy::Reject,
        Some(FinalAction::Quarantine { .. }) => DmarcPolicy::Quarantine,
        _ => DmarcPolicy::None,
    }
}

#[cfg(test)]
mod tests;
