//! What administrators see from outside: one log line per disposition, one verdict record per
//! message, counters.
//!
//! In: events of the pipeline and the queue. Out: `log/mail-DAY.jsonl`, `log/records-DAY.jsonl`, and
//! metrics. Content is never logged; addresses and queue IDs are.

use std::io;
use std::path::Path;

use imss_core::envelope::{ForwardPath, ReversePath};
use imss_core::ids::QueueId;
use imss_scan::LookupError;
use jiff::Timestamp;
use metrics::{counter, histogram};
use serde::Serialize;

use crate::ids::unix_millis;
use crate::queue::{Disposition, Event, Observer};
use crate::record::VerdictRecord;

pub(crate) mod lines;

pub use lines::DailyLines;

/// The first word in the names of verdict record files.
pub const RECORDS: &str = "records";
/// The first word in the names of mail log files.
pub const MAIL: &str = "mail";

/// The logs of one gateway.
#[derive(Debug)]
pub struct Logs {
    mail: DailyLines,
    records: DailyLines,
}

/// One line of the mail log.
#[derive(Debug, Serialize)]
struct MailLine<'a> {
    time: String,
    id: QueueId,
    disposition: &'a str,
    recipient: &'a ForwardPath,
    reverse_path: &'a ReversePath,
    size: u64,
    delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<QueueId>,
}

/// A disposition that the pipeline makes itself, without the queue.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce<'a> {
    /// The transaction.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub reverse_path: &'a ReversePath,
    /// Whose copy.
    pub recipient: &'a ForwardPath,
    /// Octets as received.
    pub size: u64,
    /// `rejected`, `deferred`, `discarded`, `delivered`.
    pub disposition: &'a str,
    /// The host that took it, if one did.
    pub host: Option<&'a str>,
    /// Why, or the reply.
    pub reason: &'a str,
}

impl Logs {
    /// Opens the logs in `dir`, which is created if need be.
    ///
    /// # Errors
    ///
    /// The folder cannot be created or a thread not started.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { mail: DailyLines::open(dir, MAIL)?, records: DailyLines::open(dir, RECORDS)? })
    }

    /// Keeps a verdict record.
    pub fn record(&self, record: &VerdictRecord) {
        counter!("imss_verdicts_total", "verdict" => record.decisions.verdict.as_str())
            .increment(1);
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        histogram!("imss_judge_seconds").record(record.elapsed_us as f64 / 1e6);
        count_answers(record);
        match serde_json::to_vec(record) {
            Ok(line) => self.records.append(record.received_unix_millis, line),
            Err(error) => tracing::error!(id = %record.id, %error, "verdict record not written"),
        }
    }

    /// Logs a disposition that never was in the queue.
    pub fn at_once(&self, event: &AtOnce<'_>) {
        self.write(&MailLine {
            time: now(),
            id: event.id,
            disposition: event.disposition,
            recipient: event.recipient,
            reverse_path: event.reverse_path,
            size: event.size,
            delay_ms: unix_millis().saturating_sub(event.id.unix_millis()),
            host: event.host,
            reply: None,
            area: None,
            reason: Some(event.reason.to_owned()).filter(|reason| !reason.is_empty()),
            next: None,
            notice: None,
        });
    }

    /// Returns once every line is in its file.
    pub fn sync(&self) {
        self.mail.sync();
        self.records.sync();
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.mail.lost().saturating_add(self.records.lost())
    }

    fn write(&self, line: &MailLine<'_>) {
        counter!("imss_dispositions_total", "disposition" => line.disposition.to_owned())
            .increment(1);
        match serde_json::to_vec(line) {
            Ok(text) => self.mail.append(unix_millis(), text),
            Err(error) => tracing::error!(id = %line.id, %error, "log line not written"),
        }
    }
}

impl Observer for Logs {
    fn disposition(&self, event: &Event<'_>) {
        let mut line = MailLine {
            time: now(),
            id: event.id,
            disposition: event.disposition.as_str(),
            recipient: event.recipient,
            reverse_path: event.reverse_path,
            size: event.size,
            delay_ms: event.delay_millis,
            host: None,
            reply: None,
            area: None,
            reason: None,
            next: None,
            notice: None,
        };
        match &event.disposition {
            Disposition::Delivered { host, reply } => {
                line.host = Some(host);
                line.reply = Some(reply);
            }
            Disposition::Deferred { failure, next_unix_millis } => {
                line.reason = Some(failure.to_string());
                line.next = Some(time(*next_unix_millis));
            }
            Disposition::Failed { failure, notice, .. } => {
                line.reason = Some(failure.to_string());
                line.notice = *notice;
            }
            Disposition::Quarantined { area } | Disposition::Archived { area } => {
                line.area = Some(area);
            }
            Disposition::Held { reason } => line.reason = Some((*reason).to_owned()),
            Disposition::Deleted => {}
        }
        self.write(&line);
    }

    fn backed_off(&self, destination: &str, seconds: u64) {
        counter!("imss_backoffs_total").increment(1);
        tracing::warn!(destination, seconds, "destination failed; mail for it waits");
    }
}

/// Counts what was asked of others, with what result, and what the engines could not look at.
fn count_answers(record: &VerdictRecord) {
    for (question, answer) in record.answers.iter() {
        let result = answer.map_or_else(LookupError::word, |_| "answered");
        counter!("imss_lookups_total", "lookup" => question.lookup(), "result" => result)
            .increment(1);
        if let Err(error) = answer {
            tracing::warn!(id = %record.id, lookup = question.lookup(), %error, "a lookup failed");
        }
    }
    for gap in &record.findings.gaps {
        counter!("imss_gaps_total", "engine" => gap.engine.clone().into_owned()).increment(1);
    }
}

fn now() -> String {
    time(unix_millis())
}

fn time(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}
