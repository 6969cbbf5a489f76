//! Delivery status notifications (RFC 3464, RFC 3461, RFC 6522; RFC 6533 for UTF-8 addresses).
//!
//! In: values only, the times already as text in local time with zone. Out: a complete message with
//! CRLF line ends, or `None` if nobody may be told: the reverse-path is null (no backscatter).
//!
//! Whatever a server said is bounded and printable here whatever it was before. The result is
//! US-ASCII unless the returned message is not (then it is `8bit`) or the reverse-path itself needs
//! SMTPUTF8 (then so does sending the notification). UTF-8 addresses of others stand in their ASCII
//! form (RFC 6533 §3), because the one who is told may read mail without SMTPUTF8.

use std::borrow::Cow;

use memchr::memmem;

use crate::envelope::{DsnReturn, ForwardPath, ReversePath};

mod status;
mod text;

/// What a notification is made of.
#[derive(Debug, Clone)]
pub struct Dsn<'a> {
    /// Our host name: Reporting-MTA, and the right side of Message-ID.
    pub hostname: &'a str,
    /// The author's address, such as `MAILER-DAEMON@mx.example.com`.
    pub author: &'a str,
    /// Whom to tell: the reverse-path of the message.
    pub to: &'a ReversePath,
    /// The queue ID of the message, for the reader and for the Message-ID.
    pub queue_id: &'a str,
    /// Makes the Message-ID unique, such as the queue ID of the notification. ASCII.
    pub unique: &'a str,
    /// Now: an RFC 5322 date-time in local time with zone.
    pub date: &'a str,
    /// When the message came in, in the same form.
    pub arrival_date: &'a str,
    /// `ENVID=` as it was given, in xtext.
    pub envid: Option<&'a str>,
    /// `RET=` as it was given. Without it, failures return the whole message if it is small.
    pub ret: Option<DsnReturn>,
    /// In which language the human-readable part is.
    pub language: Language,
    /// How text that is not ASCII is written.
    pub charset: Charset,
    /// The human-readable part in somebody's own words, instead of ours. `%HOST%`, `%RECEIVED%`, `%ID%`
    /// and `%RECIPIENTS%` stand for what they say.
    pub template: Option<&'a str>,
    /// About whom; at least one.
    pub recipients: &'a [Report<'a>],
    /// The message, or as much of its beginning as is at hand (at least the header section).
    pub original: &'a [u8],
    /// Whether `original` is the whole message.
    pub original_is_whole: bool,
    /// Messages above this many octets come back as their header section only, whatever `RET=` says.
    pub max_returned_bytes: usize,
}

/// The default of [`Dsn::max_returned_bytes`].
pub const DEFAULT_RETURNED_BYTES: usize = 50_000;

/// The language of the human-readable part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English: US-ASCII.
    #[default]
    English,
    /// Japanese: UTF-8.
    Japanese,
    /// English, then Japanese.
    Both,
}

/// How text that is not ASCII is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charset {
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO-2022-JP (RFC 1468), seven bits, where it has all characters; else UTF-8.
    Iso2022Jp,
}

/// What became of one recipient's copy.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The recipient.
    pub recipient: &'a ForwardPath,
    /// `ORCPT=` as it was given, `type;xtext`.
    pub orcpt: Option<&'a str>,
    /// What became of it.
    pub kind: Kind<'a>,
    /// The enhanced status code.
    pub status: (u8, u16, u16),
    /// The host that gave `reply`.
    pub remote: Option<&'a str>,
    /// Its reply with the code, or our own words.
    pub reply: &'a str,
    /// Whether `reply` is a server's SMTP reply (RFC 3464 §2.3.6: only then it is of type `smtp`).
    pub reply_is_smtp: bool,
}

/// What became of one recipient's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Refused for good.
    Failed,
    /// Given up after too long.
    Expired,
    /// Not yet delivered.
    Delayed {
        /// Until when we try, as an RFC 5322 date-time.
        will_retry_until: Option<&'a str>,
    },
    /// In the mailbox.
    Delivered,
    /// Handed to a host that gives no notifications.
    Relayed,
    /// Sent on to several others in the recipient's place (RFC 3464 §2.3.3).
    Expanded,
}

/// Builds the notification. `None` if the reverse-path is null or `recipients` is empty.
#[must_use]
pub fn build(dsn: &Dsn<'_>) -> Option<Vec<u8>> {
    let to = dsn.to.mailbox().filter(|_| !dsn.recipients.is_empty())?;
    let human = text::human(dsn);
    let returned = returned(dsn);
    let boundary = boundary(dsn, &returned.content);
    let mut out = String::new();
    let hostname = printable(dsn.hostname, 255);
    let mut field = |name: &str, value: &str| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    };
    field("Date", &printable(dsn.date, 100));
    field("From", &format!("Mail Delivery System <{}>", printable(dsn.author, 500)));
    field("To", &format!("<{to}>"));
    field("Subject", &text::subject(dsn));
    field("Message-ID", &format!("<{}.dsn@{hostname}>", printable(dsn.unique, 100)));
    field("Auto-Submitted", "auto-replied");
    field("MIME-Version", "1.0");
    if !returned.content.is_ascii() {
        field("Content-Transfer-Encoding", "8bit");
    }
    let report = "multipart/report; report-type=delivery-status";
    field("Content-Type", &format!("{report};\r\n\tboundary=\"{boundary}\""));
    let mut part = |head: &str, body: &str| {
        out.push_str("\r\n--");
        out.push_str(&boundary);
        out.push_str("\r\n");
        out.push_str(head);
        out.push_str("\r\n");
        out.push_str(body);
    };
    part(&human.head, &human.body);
    part("Content-Type: message/delivery-status\r\n", &status::fields(dsn));
    part(&returned.head, "");
    let mut out = out.into_bytes();
    out.extend_from_slice(&returned.content);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Some(out)
}

/// The last part: what comes back of the message.
struct Returned {
    head: String,
    content: Vec<u8>,
}

fn returned(dsn: &Dsn<'_>) -> Returned {
    let failed = dsn.recipients.iter().any(|one| one.kind.is_failure());
    // Only failures return the whole message (RFC 3461 §4.3).
    let whole = failed
        && dsn.original_is_whole
        && dsn.ret != Some(DsnReturn::Headers)
        && dsn.original.len() <= dsn.max_returned_bytes;
    let (kind, content) = if whole {
        ("message/rfc822", dsn.original)
    } else {
        ("text/rfc822-headers", header_section(dsn.original, dsn.max_returned_bytes))
    };
    let content = with_crlf(content);
    let mut head = format!("Content-Type: {kind}\r\n");
    if !content.is_ascii() {
        head.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    Returned { head, content }
}

/// The header section without the empty line, at most about `max` octets, whole lines only.
fn header_section(original: &[u8], max: usize) -> &[u8] {
    let ends = [b"\n\r\n".as_slice(), b"\n\n"].map(|end| memmem::find(original, end));
    let end = ends.into_iter().flatten().min().map_or(original.len(), |at| at.saturating_add(1));
    // A message may begin with the empty line.
    let section = match original.first() {
        Some(b'\r' | b'\n') => &[],
        _ => original.get(..end).unwrap_or(original),
    };
    if section.len() <= max {
        return section;
    }
    let cut = section.get(..max).unwrap_or(section);
    let line_end = memchr::memrchr(b'\n', cut).map_or(0, |at| at.saturating_add(1));
    cut.get(..line_end).unwrap_or(cut)
}

/// The content with CRLF as its only line end.
fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let (line, end) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = end.strip_prefix(b"\r\n").or_else(|| end.get(1..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// A boundary that stands nowhere in the returned content.
fn boundary(dsn: &Dsn<'_>, content: &[u8]) -> String {
    let unique: String = dsn.unique.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut boundary = format!("=_{unique}_dsn");
    while memmem::find(content, boundary.as_bytes()).is_some() {
        boundary.push('_');
    }
    boundary
}

/// The text with everything that is not printable ASCII as `?`, and at most `max` characters.
fn printable(text: &str, max: usize) -> Cow<'_, str> {
    let fine = |c: char| (' '..='~').contains(&c);
    if text.len() <= max && text.chars().all(fine) {
        return Cow::Borrowed(text);
    }
    text.chars().take(max).map(|c| if fine(c) { c } else { '?' }).collect()
}

impl Kind<'_> {
    /// Whether the recipient will not get the message.
    fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Expired)
    }
}

#[cfg(test)]
mod tests;
