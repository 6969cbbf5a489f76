//! The `message/delivery-status` part (RFC 3464 §2).
//!
//! In: the values of a [`Dsn`]. Out: its groups of fields, printable ASCII, folded below 78 columns.

use std::fmt::Write as _;

use super::{Dsn, Kind, Report, printable};
use crate::envelope::ForwardPath;

const MAX_TEXT: usize = 600;
const FOLD_COLUMN: usize = 76;

/// All fields: the group for the message, then one group per recipient.
pub(super) fn fields(dsn: &Dsn<'_>) -> String {
    let mut out = String::new();
    push(&mut out, "Reporting-MTA", &format!("dns; {}", printable(dsn.hostname, 255)));
    if let Some(envid) = dsn.envid.and_then(decode_xtext) {
        push(&mut out, "Original-Envelope-Id", &envid);
    }
    push(&mut out, "Arrival-Date", &printable(dsn.arrival_date, 100));
    for report in dsn.recipients {
        out.push_str("\r\n");
        recipient(dsn, report, &mut out);
    }
    out
}

fn recipient(dsn: &Dsn<'_>, report: &Report<'_>, out: &mut String) {
    if let Some(original) = report.orcpt.and_then(original_recipient) {
        push(out, "Original-Recipient", &original);
    }
    push(out, "Final-Recipient", &final_recipient(report.recipient));
    let action = match report.kind {
        Kind::Failed | Kind::Expired => "failed",
        Kind::Delayed { .. } => "delayed",
        Kind::Delivered => "delivered",
        Kind::Relayed => "relayed",
        Kind::Expanded => "expanded",
    };
    push(out, "Action", action);
    let (class, subject, detail) = report.status;
    push(out, "Status", &format!("{class}.{subject}.{detail}"));
    if let Some(host) = report.remote.and_then(remote_name) {
        push(out, "Remote-MTA", &format!("dns; {host}"));
    }
    if !report.reply.is_empty() {
        let kind = if report.reply_is_smtp { "smtp" } else { "x-imss" };
        push(out, "Diagnostic-Code", &format!("{kind}; {}", printable(report.reply, MAX_TEXT)));
    }
    push(out, "Last-Attempt-Date", &printable(dsn.date, 100));
    if let Kind::Delayed { will_retry_until: Some(until) } = report.kind {
        push(out, "Will-Retry-Until", &printable(until, 100));
    }
}

/// Adds a field, folded at spaces.
fn push(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len().saturating_add(1);
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column.saturating_add(word.len()) > FOLD_COLUMN && column > 1 {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column = column.saturating_add(word.len()).saturating_add(1);
    }
    out.push_str("\r\n");
}

fn final_recipient(path: &ForwardPath) -> String {
    let address = path.to_string();
    if address.is_ascii() {
        format!("rfc822; {address}")
    } else {
        format!("utf-8; {}", unitext(&address))
    }
}

/// `utf-8-addr-xtext` (RFC 6533 §3): each character that is not plain as `\x{HEX}`.
fn unitext(address: &str) -> String {
    let mut out = String::new();
    for c in address.chars() {
        match c {
            '!'..='~' if !matches!(c, '+' | '=' | '\\') => out.push(c),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
            }
        }
    }
    out
}

/// `rfc822;xtext` as a field value. The type is kept; what is not printable drops the field.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    let kind_is_atom = !kind.is_empty()
        && kind.len() <= 32
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true if address.is_ascii() => printable(address, 500).into_owned(),
        true => unitext(address),
        false => decode_xtext(address)?,
    };
    kind_is_atom.then(|| format!("{kind}; {address}"))
}

/// Reads xtext (RFC 3461 §4). `None` if it is none or hides unprintable characters.
fn decode_xtext(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.get(..text.len().min(500))?;
    while let Some(c) = rest.chars().next() {
        let (decoded, length) = match c {
            '+' => (char::from(u8::from_str_radix(rest.get(1..3)?, 16).ok()?), 3),
            _ => (c, c.len_utf8()),
        };
        if !(' '..='~').contains(&decoded) {
            return None;
        }
        out.push(decoded);
        rest = rest.get(length..)?;
    }
    (!out.is_empty()).then_some(out)
}

/// The name, or the address in brackets, out of `name[address]:port`. `None` for a file.
fn remote_name(host: &str) -> Option<String> {
    let (name, rest) = host.split_once('[').unwrap_or((host, ""));
    let literal = rest.split_once(']').map(|(address, _)| format!("[{address}]"));
    let name = if name.is_empty() { literal? } else { name.to_owned() };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    (!name.is_empty() && name.len() <= 255 && name.chars().all(fine)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext() {
        let cases = [
            ("plain", "a@b", Some("a@b")),
            ("encoded", "a+2Bb+3D", Some("a+b=")),
            ("hidden line end", "a+0D+0ARCPT", None),
            ("cut", "a+2", None),
            ("not hexadecimal", "a+zz", None),
            ("empty", "", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(decode_xtext(text).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn remotes() {
        let cases = [
            ("mx.example[192.0.2.1]:25", Some("mx.example")),
            ("[192.0.2.1]:25", Some("[192.0.2.1]")),
            ("[2001:db8::1]:25", Some("[2001:db8::1]")),
            ("mx.example", Some("mx.example")),
            ("/run/lmtp", None),
            ("a\r\nb", None),
        ];
        for (host, expected) in cases {
            assert_eq!(remote_name(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn folding() {
        let mut out = String::new();
        push(&mut out, "Diagnostic-Code", &"word ".repeat(60));
        assert!(out.split("\r\n").all(|line| line.len() < 78), "{out}");
        assert!(out.split("\r\n").skip(1).all(|line| line.is_empty() || line.starts_with(' ')));
    }
}
