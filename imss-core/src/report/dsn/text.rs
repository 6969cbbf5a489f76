//! The human-readable part, in English and Japanese.
//!
//! In: the values of a [`Dsn`]. Out: a text part, US-ASCII as it is if that suffices, else ISO-2022-JP as
//! it is if so wanted and possible, else UTF-8 in base64; and the subject.

use std::fmt::Write as _;

use super::{Charset, Dsn, Kind, Language, Report, printable};

/// A part: its header section, and its encoded body.
pub(super) struct Part {
    pub(super) head: String,
    pub(super) body: String,
}

/// The sentences of one language.
struct Words {
    /// Ends a sentence that ends in a value.
    end: &'static str,
    greeting: &'static str,
    about: &'static str,
    failed: &'static str,
    expired: &'static str,
    delayed: &'static str,
    retry_until: &'static str,
    delivered: &'static str,
    relayed: &'static str,
    expanded: &'static str,
    closing: &'static str,
}

const ENGLISH: Words = Words {
    end: ".",
    greeting: "This is the mail system at",
    about: "This report concerns your message received on",
    failed: "The message could not be delivered to:",
    expired: "The message could not be delivered in time, and delivery was given up for:",
    delayed: "The message is delayed. You need not send it again; delivery is still tried for:",
    retry_until: "Delivery will be tried until",
    delivered: "The message was delivered to:",
    relayed: "The message was handed on to a system that sends no such reports, for:",
    expanded: "The message was sent on to others in the place of:",
    closing: "If you need help, send this report to your administrator. Queue ID:",
};

const JAPANESE: Words = Words {
    end: "",
    greeting: "メールシステムからの自動通知です:",
    about: "このお知らせの対象は、次の日時に受け付けたメールです:",
    failed: "次の宛先にメールを配送できませんでした:",
    expired: "次の宛先には期限内に配送できなかったため、配送を中止しました:",
    delayed: "配送が遅れています。再送の必要はありません。次の宛先への配送を続けています:",
    retry_until: "配送を試みる期限:",
    delivered: "次の宛先にメールを配送しました:",
    relayed: "次の宛先へのメールを、配送通知に対応していないシステムに引き渡しました:",
    expanded: "次の宛先のメールを、代わりの宛先に転送しました:",
    closing: "お困りの場合は、この通知を管理者にお送りください。キューID:",
};

/// The part for people.
pub(super) fn human(dsn: &Dsn<'_>) -> Part {
    let mut text = String::new();
    match dsn.language {
        _ if dsn.template.is_some() => fill(dsn, &mut text),
        Language::English => write_in(&ENGLISH, dsn, &mut text),
        Language::Japanese => write_in(&JAPANESE, dsn, &mut text),
        Language::Both => {
            write_in(&ENGLISH, dsn, &mut text);
            text.push_str("\r\n----\r\n\r\n");
            write_in(&JAPANESE, dsn, &mut text);
        }
    }
    if text.is_ascii() {
        return Part {
            head: "Content-Type: text/plain; charset=us-ascii\r\n".to_owned(),
            body: text,
        };
    }
    if let Some(text) = iso_2022_jp(dsn, &text) {
        let head = "Content-Type: text/plain; charset=iso-2022-jp\r\n".to_owned();
        return Part { head, body: text };
    }
    let head = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n";
    Part { head: head.to_owned(), body: base64_lines(text.as_bytes()) }
}

/// The subject, of the gravest kind in the report; encoded if need be.
pub(super) fn subject(dsn: &Dsn<'_>) -> String {
    let kinds = || dsn.recipients.iter().map(|report| report.kind);
    let (english, japanese) = if kinds().any(Kind::is_failure) {
        ("Undelivered Mail Returned to Sender", "メールを配送できませんでした")
    } else if kinds().any(|kind| matches!(kind, Kind::Delayed { .. })) {
        ("Delayed Mail (still being retried)", "メールの配送が遅れています")
    } else {
        ("Successful Mail Delivery Report", "メールを配送しました")
    };
    match dsn.language {
        // Below 75 characters each, as RFC 2047 §2 asks.
        Language::Japanese => match iso_2022_jp(dsn, japanese) {
            Some(text) => format!("=?ISO-2022-JP?B?{}?=", base64(text.as_bytes())),
            None => format!("=?UTF-8?B?{}?=", base64(japanese.as_bytes())),
        },
        Language::English | Language::Both => english.to_owned(),
    }
}

/// The text in ISO-2022-JP, if that is wanted and has all characters. It is ASCII with escapes.
fn iso_2022_jp(dsn: &Dsn<'_>, text: &str) -> Option<String> {
    if dsn.charset != Charset::Iso2022Jp {
        return None;
    }
    let (octets, _, unmappable) = encoding_rs::ISO_2022_JP.encode(text);
    String::from_utf8(octets.into_owned()).ok().filter(|_| !unmappable)
}

/// Fills the template.
fn fill(dsn: &Dsn<'_>, text: &mut String) {
    let words = if dsn.language == Language::Japanese { &JAPANESE } else { &ENGLISH };
    let mut recipients = String::new();
    dsn.recipients.iter().for_each(|report| write_recipient(words, report, &mut recipients));
    let values = [
        ("%HOST%", printable(dsn.hostname, 255)),
        ("%RECEIVED%", printable(dsn.arrival_date, 100)),
        ("%ID%", printable(dsn.queue_id, 100)),
        ("%RECIPIENTS%", recipients.trim_end().into()),
    ];
    let mut rest = dsn.template.unwrap_or_default();
    // Piece by piece: what a value holds is never taken for a variable.
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        text.push_str(before);
        let known = values.iter().find(|(name, _)| from.starts_with(name));
        let (name, value) = known.map_or(("%", "%"), |(name, value)| (*name, value));
        text.push_str(value);
        rest = from.strip_prefix(name).unwrap_or_default();
    }
    text.push_str(rest);
    let lines = text.replace("\r\n", "\n").replace('\r', " ").replace('\n', "\r\n");
    *text = lines.trim_end().to_owned();
    text.push_str("\r\n");
}

fn write_in(words: &Words, dsn: &Dsn<'_>, text: &mut String) {
    // Writing to a String cannot fail.
    let _ =
        write!(text, "{} {}{}\r\n\r\n", words.greeting, printable(dsn.hostname, 255), words.end);
    let _ = write!(text, "{} {}{}\r\n", words.about, printable(dsn.arrival_date, 100), words.end);
    let is = |kind: Kind<'_>, wanted: &Kind<'_>| {
        std::mem::discriminant(&kind) == std::mem::discriminant(wanted)
    };
    let sections = [
        (Kind::Failed, words.failed),
        (Kind::Expired, words.expired),
        (Kind::Delayed { will_retry_until: None }, words.delayed),
        (Kind::Delivered, words.delivered),
        (Kind::Relayed, words.relayed),
        (Kind::Expanded, words.expanded),
    ];
    for (kind, heading) in sections {
        let mut reports = dsn.recipients.iter().filter(|one| is(one.kind, &kind)).peekable();
        if reports.peek().is_none() {
            continue;
        }
        let _ = write!(text, "\r\n{heading}\r\n\r\n");
        for report in reports {
            write_recipient(words, report, text);
        }
    }
    let _ = write!(text, "\r\n{} {}\r\n", words.closing, printable(dsn.queue_id, 100));
}

fn write_recipient(words: &Words, report: &Report<'_>, text: &mut String) {
    let _ = write!(text, "  <{}>\r\n", report.recipient);
    if !report.reply.is_empty() {
        let host = report.remote.map(|host| format!("{}: ", printable(host, 300)));
        let reply = printable(report.reply, 600);
        let _ = write!(text, "    {}{reply}\r\n", host.unwrap_or_default());
    }
    if let Kind::Delayed { will_retry_until: Some(until) } = report.kind {
        let _ = write!(text, "    {} {}\r\n", words.retry_until, printable(until, 100));
    }
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Base64 in lines of 76 characters.
fn base64_lines(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(57) {
        out.push_str(&base64(line));
        out.push_str("\r\n");
    }
    out
}
