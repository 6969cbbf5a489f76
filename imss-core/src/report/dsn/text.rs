//! The human-readable part, in English and Japanese.
//!
//! In: the values of a [`Dsn`]. Out: a text part, US-ASCII as it is if that suffices, else UTF-8 in
//! base64, and the subject.

use std::fmt::Write as _;

use super::{Dsn, Kind, Language, Report, printable};

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
    closing: "お困りの場合は、この通知を管理者にお送りください。キューID:",
};

/// The part for people.
pub(super) fn human(dsn: &Dsn<'_>) -> Part {
    let mut text = String::new();
    match dsn.language {
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
        Language::Japanese => format!("=?UTF-8?B?{}?=", base64(japanese.as_bytes())),
        Language::English | Language::Both => english.to_owned(),
    }
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
