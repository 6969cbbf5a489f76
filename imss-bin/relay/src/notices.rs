//! Delivery status notifications of this gateway: reports of the queue → messages for it.
//!
//! In: a [`Report`]. Out: a message with a queue ID of its own and a null reverse-path, or `None`
//! where nobody may be told, or where one address was told too often: whoever forges senders must not
//! make us flood them. A body that cannot be read is left out of the notification.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::envelope::{ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath};
use imss_core::report::dsn::{self, Charset, DEFAULT_RETURNED_BYTES, Dsn, Kind, Language};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use crate::border::Border;
use crate::ids::{QueueIds, unix_millis};
use crate::outbound::Attempt;
use crate::queue::{Cause, Notifier, Report, Reported};
use crate::spool::body::{Body, Content};
use crate::spool::{Accepted, CopyRecord, Destination, Summary};

/// How notifications are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeSettings {
    /// In which language.
    pub language: Language,
    /// How text that is not ASCII is written.
    pub charset: Charset,
    /// The text for failures, if not ours.
    pub failed: Option<Arc<str>>,
    /// The text for delays, if not ours.
    pub delayed: Option<Arc<str>>,
    /// The text for successes, if not ours.
    pub delivered: Option<Arc<str>>,
    /// Notifications to one address in an hour.
    pub per_hour: u32,
}

impl Default for NoticeSettings {
    fn default() -> Self {
        Self {
            language: Language::Both,
            charset: Charset::Utf8,
            failed: None,
            delayed: None,
            delivered: None,
            per_hour: 200,
        }
    }
}

/// Addresses whose notifications are counted.
const MAX_COUNTED: usize = 20_000;
const HOUR_MILLIS: u64 = 3_600_000;

/// Writes notifications.
pub(crate) struct DsnWriter {
    hostname: String,
    settings: NoticeSettings,
    ids: Arc<QueueIds>,
    /// Who is told about mail with this reverse-path.
    bare: Bare,
    /// Who signs them.
    border: Arc<ArcSwap<Border>>,
    /// By address: when its hour began, and how many it had since.
    told: Mutex<HashMap<String, (u64, u32)>>,
}

/// What makes of a reverse-path the one of who is told.
pub(crate) type Bare = Box<dyn Fn(&ReversePath) -> ReversePath + Send + Sync>;

impl DsnWriter {
    /// A writer for the gateway called `hostname`.
    #[must_use]
    pub(crate) fn new(
        hostname: &str,
        settings: NoticeSettings,
        ids: Arc<QueueIds>,
        bare: Bare,
        border: Arc<ArcSwap<Border>>,
    ) -> Self {
        let hostname = hostname.to_owned();
        Self { hostname, settings, ids, bare, border, told: Mutex::default() }
    }

    /// Whether this address may be told once more.
    fn may_tell(&self, address: &str) -> bool {
        let now = unix_millis();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_COUNTED && !told.contains_key(address) {
            told.retain(|_, (since, _)| now.saturating_sub(*since) < HOUR_MILLIS);
            if told.len() >= MAX_COUNTED {
                return false;
            }
        }
        let (since, count) = told.entry(address.to_lowercase()).or_insert((now, 0));
        if now.saturating_sub(*since) >= HOUR_MILLIS {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= self.settings.per_hour
    }

    fn template(&self, report: &Report) -> Option<&str> {
        let has = |wanted: fn(Cause) -> bool| report.recipients.iter().any(|one| wanted(one.cause));
        let settings = &self.settings;
        if has(|cause| matches!(cause, Cause::Failed | Cause::Expired)) {
            return settings.failed.as_deref();
        }
        if has(|cause| matches!(cause, Cause::Delayed { .. })) {
            return settings.delayed.as_deref();
        }
        settings.delivered.as_deref()
    }
}

impl Notifier for DsnWriter {
    fn notice(&self, report: &Report) -> Option<Accepted> {
        let reverse_path = (self.bare)(&report.reverse_path);
        let mailbox = reverse_path.mailbox()?;
        if !self.may_tell(&mailbox.to_string()) {
            tracing::warn!(id = %report.id, to = %mailbox, "no notification: too many to one address");
            return None;
        }
        let id = self.ids.next();
        let (original, original_is_whole) = start_of(&report.content, DEFAULT_RETURNED_BYTES);
        let (date, arrival_date) =
            (date_text(unix_millis()), date_text(report.received_unix_millis));
        let deadlines: Vec<_> = report.recipients.iter().map(deadline).collect();
        let replies: Vec<String> = report.recipients.iter().map(reply).collect();
        let recipients: Vec<_> = report
            .recipients
            .iter()
            .zip(deadlines.iter().zip(&replies))
            .map(|(one, (until, reply))| recipient(one, until, reply))
            .collect();
        let message = dsn::build(&Dsn {
            hostname: &self.hostname,
            author: &format!("MAILER-DAEMON@{}", self.hostname),
            to: &reverse_path,
            queue_id: &report.id.to_string(),
            unique: &id.to_string(),
            date: &date,
            arrival_date: &arrival_date,
            envid: report.parameters.envid.as_deref(),
            ret: report.parameters.ret,
            language: self.settings.language,
            charset: self.settings.charset,
            template: self.template(report),
            recipients: &recipients,
            original: &original,
            original_is_whole,
            max_returned_bytes: DEFAULT_RETURNED_BYTES,
        })?;
        let to = vec![ForwardPath::Mailbox(mailbox.clone())];
        let message = self.border.load().own(message);
        Some(own_message(id, to, message, "delivery status notification"))
    }
}

/// A message that this gateway itself sends, with a null reverse-path.
#[must_use]
pub(crate) fn own_message(
    id: imss_core::ids::QueueId,
    to: Vec<ForwardPath>,
    message: Bytes,
    subject: &str,
) -> Accepted {
    let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
    let smtputf8 =
        to.iter().filter_map(ForwardPath::mailbox).any(imss_core::envelope::Mailbox::needs_utf8);
    let recipient = |path| Recipient { path, parameters: RcptParameters::default() };
    Accepted {
        id,
        received_unix_millis: id.unix_millis(),
        body: Body::Memory(message),
        copies: vec![CopyRecord {
            reverse_path: ReversePath::Null,
            parameters: MailParameters { smtputf8, ..MailParameters::default() },
            recipients: to.into_iter().map(recipient).collect(),
            rope: Rope::original(length),
            destination: Destination::NextHop,
            summary: Summary { subject: subject.to_owned(), ..Summary::default() },
        }],
        record: Bytes::new(),
    }
}

/// A time as RFC 5322 §3.3 writes it, in local time with zone.
#[must_use]
pub(crate) fn date_text(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    rfc2822::to_string(&time.to_zoned(TimeZone::system())).unwrap_or_else(|_| time.to_string())
}

fn deadline(reported: &Reported) -> Option<String> {
    match reported.cause {
        Cause::Delayed { until_unix_millis } => Some(date_text(until_unix_millis)),
        _ => None,
    }
}

/// What the server said, with its code, or our own words.
fn reply(reported: &Reported) -> String {
    match &reported.attempt {
        Attempt::Delivered { reply, .. } => reply.clone(),
        Attempt::Transient(failure) | Attempt::Permanent(failure) => match failure.code {
            Some(code) => format!("{code} {} {}", failure.status(), failure.text),
            None => failure.text.clone(),
        },
    }
}

fn recipient<'a>(
    reported: &'a Reported,
    until: &'a Option<String>,
    reply: &'a str,
) -> dsn::Report<'a> {
    let kind = match reported.cause {
        Cause::Failed => Kind::Failed,
        Cause::Expired => Kind::Expired,
        Cause::Delayed { .. } => Kind::Delayed { will_retry_until: until.as_deref() },
        Cause::Delivered => Kind::Delivered,
        Cause::Relayed => Kind::Relayed,
        Cause::Expanded => Kind::Expanded,
    };
    let (status, remote, reply_is_smtp) = match &reported.attempt {
        Attempt::Delivered { host, .. } => ((2, 0, 0), Some(host.as_str()), true),
        Attempt::Transient(failure) | Attempt::Permanent(failure) => {
            (failure.enhanced, failure.host.as_deref(), failure.code.is_some())
        }
    };
    let orcpt = reported.recipient.parameters.orcpt.as_deref();
    dsn::Report {
        recipient: &reported.recipient.path,
        orcpt,
        kind,
        status,
        remote,
        reply,
        reply_is_smtp,
    }
}

/// At most `max` octets of a copy, and whether that is all of it.
fn start_of(content: &Content, max: usize) -> (Vec<u8>, bool) {
    let mut start = Vec::new();
    for chunk in content.chunks() {
        let Ok(chunk) = chunk else { return (start, false) };
        let room = max.saturating_sub(start.len());
        match chunk.get(..room) {
            Some(part) if part.len() < chunk.len() => {
                start.extend_from_slice(part);
                return (start, false);
            }
            _ => start.extend_from_slice(&chunk),
        }
    }
    (start, true)
}
