//! Delivery status notifications of this gateway: reports of the queue → messages for it.
//!
//! In: a [`Report`]. Out: a message with a queue ID of its own and a null reverse-path, or `None`
//! where nobody may be told. A body that cannot be read is left out of the notification.

use std::sync::Arc;

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::envelope::{ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath};
use imss_core::report::dsn::{self, DEFAULT_RETURNED_BYTES, Dsn, Kind, Language};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use crate::ids::{QueueIds, unix_millis};
use crate::outbound::Attempt;
use crate::queue::{Cause, Notifier, Report, Reported};
use crate::spool::body::{Body, Content};
use crate::spool::{Accepted, CopyRecord, Destination, Summary};

/// Writes notifications.
#[derive(Debug)]
pub(crate) struct DsnWriter {
    hostname: String,
    language: Language,
    ids: Arc<QueueIds>,
}

impl DsnWriter {
    /// A writer for the gateway called `hostname`.
    #[must_use]
    pub(crate) fn new(hostname: String, language: Language, ids: Arc<QueueIds>) -> Self {
        Self { hostname, language, ids }
    }
}

impl Notifier for DsnWriter {
    fn notice(&self, report: &Report) -> Option<Accepted> {
        let mailbox = report.reverse_path.mailbox()?;
        let id = self.ids.next();
        let (original, original_is_whole) = start_of(&report.content, DEFAULT_RETURNED_BYTES);
        let (date, arrival_date) =
            (date_text(unix_millis()), date_text(report.received_unix_millis));
        let deadlines: Vec<_> = report.recipients.iter().map(deadline).collect();
        let recipients: Vec<_> = report
            .recipients
            .iter()
            .zip(&deadlines)
            .map(|(one, until)| recipient(one, until))
            .collect();
        let message = dsn::build(&Dsn {
            hostname: &self.hostname,
            author: &format!("MAILER-DAEMON@{}", self.hostname),
            to: &report.reverse_path,
            queue_id: &report.id.to_string(),
            unique: &id.to_string(),
            date: &date,
            arrival_date: &arrival_date,
            envid: report.parameters.envid.as_deref(),
            ret: report.parameters.ret,
            language: self.language,
            recipients: &recipients,
            original: &original,
            original_is_whole,
            max_returned_bytes: DEFAULT_RETURNED_BYTES,
        })?;
        let to = vec![ForwardPath::Mailbox(mailbox.clone())];
        Some(own_message(id, to, message.into(), "delivery status notification"))
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

fn recipient<'a>(reported: &'a Reported, until: &'a Option<String>) -> dsn::Report<'a> {
    let kind = match reported.cause {
        Cause::Failed => Kind::Failed,
        Cause::Expired => Kind::Expired,
        Cause::Delayed { .. } => Kind::Delayed { will_retry_until: until.as_deref() },
        Cause::Delivered => Kind::Delivered,
        Cause::Relayed => Kind::Relayed,
    };
    let (status, remote, reply, reply_is_smtp) = match &reported.attempt {
        Attempt::Delivered { host, reply, .. } => {
            ((2, 0, 0), Some(host.as_str()), reply.as_str(), true)
        }
        Attempt::Transient(failure) | Attempt::Permanent(failure) => (
            failure.enhanced,
            failure.host.as_deref(),
            failure.text.as_str(),
            failure.code.is_some(),
        ),
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
