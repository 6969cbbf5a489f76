//! The filter's log: one record for every decision, with fixed field names.
//!
//! In: what was decided. Out: a line of `log/filter-DAY.jsonl` and a count in the metrics. Text of
//! clients stands in JSON strings, escaped; content of mail never.

use std::net::IpAddr;

use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};

use super::settings::Part;
use crate::ids::unix_millis;
use crate::observe::DailyLines;

/// The first word in the names of the log's files.
pub const FILTER: &str = "filter";

/// One decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, as RFC 3339 (UTC).
    pub time: String,
    /// The part of the filter.
    pub part: String,
    /// What in it decided: a list's entry, a rule, a zone, a sign.
    pub rule: String,
    /// `rejected`, `deferred`, `passed`, `blocked`, `alert`, `recovered`, `added`, `removed`,
    /// `expired`, `released`, `switched`.
    pub action: String,
    /// Whether it was only looked at: the part is in shadow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Where in the session: `connect`, `mail`, `rcpt`, `message`; empty outside of one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// The client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Its name in EHLO.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub helo: String,
    /// The reverse-path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_path: Option<String>,
    /// The forward-path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// What the client reads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply: String,
    /// Why, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it ends, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who gave the command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

impl Record {
    /// A record of what `part` did.
    #[must_use]
    pub fn new(part: Part, rule: impl Into<String>, action: &str) -> Self {
        Self {
            part: part.as_str().to_owned(),
            rule: rule.into(),
            action: action.to_owned(),
            ..Self::default()
        }
    }

    /// Writes the record, and counts it.
    pub fn write(mut self, log: Option<&DailyLines>) {
        let now = unix_millis();
        self.time = time(now);
        let shadow = if self.shadow { "true" } else { "false" };
        counter!(
            "imss_filter_decisions_total",
            "part" => self.part.clone(), "action" => self.action.clone(), "shadow" => shadow
        )
        .increment(1);
        let Some(log) = log else { return };
        match serde_json::to_vec(&self) {
            Ok(line) => log.append(now, line),
            Err(error) => tracing::error!(%error, "filter record not written"),
        }
    }
}

/// A time as RFC 3339.
#[must_use]
pub fn time_of(secs: u32) -> String {
    time(u64::from(secs).saturating_mul(1_000))
}

fn time(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}
