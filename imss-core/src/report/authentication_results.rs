//! The `Authentication-Results` field (RFC 8601), and which fields of others must go before it.
//!
//! In: facts, and who asks. Out: the field's value, folded, without the last line end. Values from
//! outside are cut and quoted; nothing can end the field or add a result of its own.
//!
//! [`foreign`] finds fields that only we may write: an `Authentication-Results` with our name (§5), and
//! any field that the administrator names. It reads any octets as far as they are header fields.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use memchr::memchr;

use crate::authentication::{AuthFacts, AuthResult, SpfFact};

/// Octets of a value from outside at most.
const MAX_VALUE: usize = 254;
/// Octets of a header section that are searched.
const MAX_HEADER: usize = 1 << 20;

/// Whom the facts are about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Our name in the field (`authserv-id`).
    pub host: &'a str,
    /// The client's address.
    pub ip: IpAddr,
    /// The name in HELO or EHLO.
    pub helo: &'a str,
    /// The mailbox in MAIL FROM; empty if null.
    pub reverse_path: &'a str,
}

/// The value for what was asked. Without `facts` nobody answered: every method is `temperror`.
#[must_use]
pub fn value(about: About<'_>, facts: Option<&AuthFacts>) -> String {
    let mut out = about.host.to_owned();
    let Some(facts) = facts else {
        for method in ["spf", "dkim", "dmarc", "arc"] {
            let _ = write!(out, ";\r\n\t{method}=temperror");
        }
        return out;
    };
    if !facts.mail_from.domain.is_empty() {
        spf(&mut out, &facts.mail_from, "smtp.mailfrom", about.reverse_path, about.ip);
    }
    spf(&mut out, &facts.helo, "smtp.helo", about.helo, about.ip);
    dkim(&mut out, facts);
    dmarc(&mut out, facts);
    let _ = write!(out, ";\r\n\tarc={}", facts.arc.result);
    reason(&mut out, &facts.arc.reason);
    if !facts.arc.sealer.is_empty() {
        let _ = write!(out, " header.d={}", pvalue(&facts.arc.sealer));
    }
    let _ = write!(out, " smtp.remote-ip={}", quoted_ip(about.ip));
    out
}

fn spf(out: &mut String, fact: &SpfFact, property: &str, value: &str, ip: IpAddr) {
    let word = match fact.result {
        AuthResult::Pass => "designates",
        AuthResult::Fail | AuthResult::SoftFail => "does not designate",
        _ => "says nothing of",
    };
    let _ = write!(out, ";\r\n\tspf={} ", fact.result);
    if !fact.domain.is_empty() {
        let _ = write!(out, "({} {word} {ip}) ", comment(&fact.domain));
    }
    let _ = write!(out, "{property}={}", pvalue(value));
}

fn dkim(out: &mut String, facts: &AuthFacts) {
    if facts.dkim.is_empty() {
        out.push_str(";\r\n\tdkim=none");
    }
    for fact in &facts.dkim {
        let _ = write!(out, ";\r\n\tdkim={}", fact.result);
        if fact.partial {
            out.push_str(" (l= leaves a part of the body unsigned)");
        }
        reason(out, &fact.reason);
        if fact.domain.is_empty() {
            continue;
        }
        let _ = write!(out, " header.d={}", pvalue(&fact.domain));
        if !fact.identity.is_empty() {
            let _ = write!(out, " header.i={}", pvalue(&fact.identity));
        }
        let _ = write!(out, " header.s={}", pvalue(&fact.selector));
        if !fact.b.is_empty() {
            let _ = write!(out, " header.b={}", pvalue(&fact.b));
        }
        if !fact.algorithm.is_empty() {
            let _ = write!(out, " header.a={}", pvalue(&fact.algorithm));
        }
    }
}

fn dmarc(out: &mut String, facts: &AuthFacts) {
    let dmarc = &facts.dmarc;
    let _ = write!(out, ";\r\n\tdmarc={}", dmarc.result);
    if dmarc.record.is_some() {
        let _ = write!(out, " (p={})", dmarc.policy.as_str());
    }
    reason(out, &dmarc.reason);
    if !dmarc.domain.is_empty() {
        let _ = write!(out, " header.from={}", pvalue(&dmarc.domain));
    }
}

fn reason(out: &mut String, reason: &str) {
    if !reason.is_empty() {
        let _ = write!(out, " reason={}", quoted(reason));
    }
}

fn quoted_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        // A colon cannot stand in a token.
        IpAddr::V6(v6) => format!("\"{v6}\""),
    }
}

/// A `pvalue`: a token or mailbox as it is, else a quoted-string.
fn pvalue(text: &str) -> String {
    let is_plain = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-')
            || matches!(b, b'.' | b'^' | b'_' | b'`' | b'{' | b'|' | b'}' | b'~' | b'@')
    };
    let plain = (1..=MAX_VALUE).contains(&text.len()) && text.bytes().all(is_plain);
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()).take(MAX_VALUE) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Text that may stand in parentheses.
fn comment(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    text.chars().filter(is_plain).take(MAX_VALUE).collect()
}

/// The fields in `raw` that must not come from outside, as ranges with their line ends: those called
/// as `names` say (`*` at the end stands for anything), and results in the name of `host`.
#[must_use]
pub fn foreign(raw: &[u8], host: &str, names: &[String]) -> Vec<Range<u64>> {
    let raw = raw.get(..MAX_HEADER).unwrap_or(raw);
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = 0_usize;
    while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            break;
        }
        let field = field(rest);
        let end = at.saturating_add(field.len());
        if is_ours(field, host, names) {
            let number = |place: usize| u64::try_from(place).unwrap_or(u64::MAX);
            found.push(number(at)..number(end));
        }
        at = end;
    }
    found
}

/// The first field of `rest` with its continuation lines.
fn field(rest: &[u8]) -> &[u8] {
    let mut end = 0_usize;
    while let Some(line) = rest.get(end..).filter(|line| !line.is_empty()) {
        let length = memchr(b'\n', line).map_or(line.len(), |at| at.saturating_add(1));
        end = end.saturating_add(length);
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    rest.get(..end).unwrap_or(rest)
}

fn is_ours(field: &[u8], host: &str, names: &[String]) -> bool {
    let Some(colon) = memchr(b':', field) else { return false };
    let (name, value) = field.split_at_checked(colon).unwrap_or((field, &[]));
    let name = name.trim_ascii_end();
    let is_named = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => name
            .get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())),
        None => name.eq_ignore_ascii_case(pattern.as_bytes()),
    };
    if names.iter().any(is_named) {
        return true;
    }
    name.eq_ignore_ascii_case(b"authentication-results")
        && says_host(value.get(1..).unwrap_or_default(), host)
}

/// Whether a field's value begins with our name, behind comments and in quotes too (RFC 8601 §2.2).
fn says_host(value: &[u8], host: &str) -> bool {
    let mut depth = 0_usize;
    let mut name = String::new();
    let mut quoted = false;
    let mut escaped = false;
    for byte in value.iter().take(4_096) {
        match byte {
            _ if std::mem::take(&mut escaped) && depth == 0 => name.push(char::from(*byte)),
            b'\\' => escaped = true,
            b'"' if depth == 0 && quoted => break,
            b'"' if depth == 0 && name.is_empty() => quoted = true,
            b'(' if !quoted => depth = depth.saturating_add(1),
            b')' if depth > 0 => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b' ' | b'\t' | b'\r' | b'\n' if name.is_empty() => {}
            b' ' | b'\t' | b'\r' | b'\n' | b';' if !quoted => break,
            other => name.push(char::from(*other)),
        }
    }
    name.trim_end_matches('.').eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::{DkimFact, DmarcFact, DmarcPolicy, DmarcRecord};

    fn about() -> About<'static> {
        About {
            host: "mx.example",
            ip: [192, 0, 2, 1].into(),
            helo: "c.example",
            reverse_path: "a@example.net",
        }
    }

    #[test]
    fn a_field_says_everything() {
        let spf = |result, domain: &str| SpfFact {
            result,
            domain: domain.to_owned(),
            ..SpfFact::default()
        };
        let facts = AuthFacts {
            mail_from: spf(AuthResult::Pass, "example.net"),
            helo: spf(AuthResult::None, "c.example"),
            dkim: vec![DkimFact {
                result: AuthResult::Fail,
                domain: "example.com".to_owned(),
                selector: "s".to_owned(),
                identity: "@example.com".to_owned(),
                b: "ab+/".to_owned(),
                reason: "say \"no\"\r\nX: y".to_owned(),
                ..DkimFact::default()
            }],
            dmarc: DmarcFact {
                result: AuthResult::Fail,
                domain: "example.com".to_owned(),
                policy: DmarcPolicy::Reject,
                record: Some(DmarcRecord::default()),
                ..DmarcFact::default()
            },
            ..AuthFacts::default()
        };
        let expected = "mx.example;\r\n\
            \tspf=pass (example.net designates 192.0.2.1) smtp.mailfrom=a@example.net;\r\n\
            \tspf=none (c.example says nothing of 192.0.2.1) smtp.helo=c.example;\r\n\
            \tdkim=fail reason=\"say \\\"no\\\"X: y\" header.d=example.com header.i=@example.com \
            header.s=s header.b=\"ab+/\";\r\n\
            \tdmarc=fail (p=reject) header.from=example.com;\r\n\
            \tarc=none smtp.remote-ip=192.0.2.1";
        assert_eq!(value(about(), Some(&facts)), expected);
    }

    #[test]
    fn values_from_outside_stay_values() {
        let hostile = About { reverse_path: "a;\r\n dkim=pass@x", helo: "(", ..about() };
        let mut facts = AuthFacts::default();
        facts.mail_from.domain = "x) dkim=pass (".to_owned();
        let text = value(hostile, Some(&facts));
        assert!(text.contains("(xdkimpass says nothing of"), "{text}");
        assert!(text.contains("smtp.mailfrom=\"a; dkim=pass@x\""), "{text}");
        assert!(text.contains("smtp.helo=\"(\""), "{text}");
        assert!(value(about(), None).contains("dmarc=temperror"));
    }

    #[test]
    fn what_only_we_may_write() {
        let names = ["X-Spam-*".to_owned(), "X-Verdict".to_owned()];
        let cases = [
            ("ours", "Authentication-Results: mx.example; spf=pass\r\n", true),
            ("ours, with version and case", "authentication-results:MX.Example 1;\r\n x\r\n", true),
            ("ours in quotes", "Authentication-Results: \"mx.example\"; a=b\r\n", true),
            ("ours behind a comment", "Authentication-Results: (a (b)) mx.example; x\r\n", true),
            ("ours on the next line", "Authentication-Results:\r\n\tmx.example; x\r\n", true),
            ("ours with blanks before the colon", "Authentication-Results : mx.example\r\n", true),
            ("another's", "Authentication-Results: mx.example.net; spf=pass\r\n", false),
            ("named", "X-Verdict: clean\r\n", true),
            ("named with a star", "x-spam-flag: NO\r\n", true),
            ("not quite", "X-Spammy: 1\r\n", false),
        ];
        for (name, field, expected) in cases {
            let raw = format!("From: a@b\r\n{field}To: c@d\r\n\r\nX-Verdict: in the body\r\n");
            let found = foreign(raw.as_bytes(), "mx.example", &names);
            let length = u64::try_from(field.len()).unwrap();
            let ours = expected.then_some(11..11 + length);
            assert_eq!(found, ours.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }
}
