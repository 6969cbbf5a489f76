//! Single values: text, numbers, words, sizes, times, addresses.
//!
//! Each function returns `None` after it noted the mistake.

use std::collections::BTreeSet;
use std::time::Duration;

use imss_core::envelope::{Mailbox, Syntax};
use imss_core::verdict::Score;
use ipnet::IpNet;
use toml::de::DeValue;

use super::reader::{Sink, Value, wrong_type};
use super::suggest;

/// A text that is not empty.
pub(super) fn text<'t>(sink: &mut Sink<'_>, value: &'t Value<'_>, path: &str) -> Option<&'t str> {
    let DeValue::String(text) = value.get_ref() else {
        wrong_type(sink, value, path, "text in quotes", value.get_ref());
        return None;
    };
    if text.trim().is_empty() {
        sink.error(&value.span(), path, "the text is empty".to_owned(), "");
        return None;
    }
    Some(text)
}

/// A text without line breaks and other control characters, as header fields need it.
pub(super) fn line<'t>(sink: &mut Sink<'_>, value: &'t Value<'_>, path: &str) -> Option<&'t str> {
    let found = text(sink, value, path)?;
    if found.chars().any(char::is_control) {
        let reason = "line breaks and control characters cannot be here".to_owned();
        sink.error(&value.span(), path, reason, "write it on one line");
        return None;
    }
    Some(found)
}

/// Printable ASCII on one line, as SMTP replies need it.
pub(super) fn ascii<'t>(sink: &mut Sink<'_>, value: &'t Value<'_>, path: &str) -> Option<&'t str> {
    let found = line(sink, value, path)?;
    super::tokens::check(sink, value, path, found);
    if !found.is_ascii() || found.len() > 400 {
        let reason = "an SMTP reply is at most 400 ASCII characters".to_owned();
        sink.error(&value.span(), path, reason, "write it shortly and in English");
        return None;
    }
    Some(found)
}

/// A header field name (RFC 5322 §3.6.8).
pub(super) fn field_name(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<String> {
    let found = text(sink, value, path)?;
    if is_field_name(found) {
        return Some(found.to_owned());
    }
    let reason = format!("`{}` is not a header field name", found.escape_debug());
    sink.error(&value.span(), path, reason, "use ASCII letters, digits and `-`");
    None
}

/// Whether RFC 5322 §3.6.8 allows it as a header field's name.
pub(super) fn is_field_name(text: &str) -> bool {
    (1..=70).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// One or more values: a list, or the only one without brackets.
pub(super) fn one_or_more<'t, 'd, T>(
    sink: &mut Sink<'_>,
    value: &'t Value<'d>,
    path: &str,
    mut read: impl FnMut(&mut Sink<'_>, &'t Value<'d>, &str) -> Option<T>,
) -> Vec<T> {
    let DeValue::Array(list) = value.get_ref() else {
        return read(sink, value, path).into_iter().collect();
    };
    if list.is_empty() {
        sink.error(&value.span(), path, "the list is empty".to_owned(), "leave the key out");
    }
    let mut found = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        found.extend(read(sink, value, &format!("{path}[{index}]")));
    }
    found
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    sink: &mut Sink<'_>,
    value: &Value<'_>,
    path: &str,
    words: &[(&str, T)],
) -> Option<T> {
    let found = text(sink, value, path)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == found) {
        return Some(*meaning);
    }
    let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let remedy = suggest::among("word", found, &allowed);
    sink.error(&value.span(), path, format!("unknown word `{}`", found.escape_debug()), &remedy);
    None
}

/// A set of words.
pub(super) fn words<T: Copy + Ord>(
    sink: &mut Sink<'_>,
    value: &Value<'_>,
    path: &str,
    allowed: &[(&str, T)],
) -> BTreeSet<T> {
    one_or_more(sink, value, path, |sink, value, path| word(sink, value, path, allowed))
        .into_iter()
        .collect()
}

/// `true` or `false`.
pub(super) fn boolean(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<bool> {
    if let DeValue::Boolean(found) = value.get_ref() {
        return Some(*found);
    }
    wrong_type(sink, value, path, "true or false", value.get_ref());
    None
}

/// A whole number from 0.
pub(super) fn count(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<u32> {
    let DeValue::Integer(found) = value.get_ref() else {
        wrong_type(sink, value, path, "a whole number", value.get_ref());
        return None;
    };
    let number = u32::from_str_radix(found.as_str(), found.radix()).ok();
    if number.is_none() {
        let reason = format!("the number must be from 0 to {}", u32::MAX);
        sink.error(&value.span(), path, reason, "");
    }
    number
}

/// Points, with at most two digits after the point.
pub(super) fn score(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<Score> {
    let points = match value.get_ref() {
        DeValue::Integer(found) => {
            i32::from_str_radix(found.as_str(), found.radix()).ok().map(f64::from)
        }
        DeValue::Float(found) => found.as_str().parse::<f64>().ok(),
        other => {
            wrong_type(sink, value, path, "a number of points", other);
            return None;
        }
    };
    let points = points.filter(|points| points.abs() <= 1e6);
    if points.is_none() {
        let reason = "points must be from -1000000 to 1000000".to_owned();
        sink.error(&value.span(), path, reason, "");
    }
    points.map(Score::from_f64)
}

/// Octets: a number, or such as `"10 MB"`.
pub(super) fn size(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    match value.get_ref() {
        DeValue::Integer(found) => {
            let octets = u64::from_str_radix(found.as_str(), found.radix()).ok();
            if octets.is_none() {
                sink.error(&value.span(), path, "a size cannot be negative".to_owned(), "");
            }
            octets
        }
        DeValue::String(found) => {
            let octets = quantity(found, &UNITS);
            if octets.is_none() {
                let reason = format!("`{}` is not a size", found.escape_debug());
                let remedy = "write a number and a unit, such as \"10 MB\" or \"512 KiB\"";
                sink.error(&value.span(), path, reason, remedy);
            }
            octets
        }
        other => {
            wrong_type(sink, value, path, "a size such as \"10 MB\"", other);
            None
        }
    }
}

/// A time such as `"30 days"`.
pub(super) fn duration(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 12] = [
        ("second", 1),
        ("seconds", 1),
        ("minute", 60),
        ("minutes", 60),
        ("hour", 3_600),
        ("hours", 3_600),
        ("day", 86_400),
        ("days", 86_400),
        ("week", 604_800),
        ("weeks", 604_800),
        ("year", 31_536_000),
        ("years", 31_536_000),
    ];
    let found = text(sink, value, path)?;
    let seconds = quantity(found, &UNITS);
    if seconds.is_none() {
        let reason = format!("`{}` is not a time", found.escape_debug());
        let remedy = "write a number and a unit, such as \"30 days\" or \"8 hours\"";
        sink.error(&value.span(), path, reason, remedy);
    }
    seconds.map(Duration::from_secs)
}

/// A whole number and a unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A complete address.
pub(super) fn mailbox(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<Mailbox> {
    let found = text(sink, value, path)?;
    let mailbox = Mailbox::parse(found, Syntax::LAX).ok();
    if mailbox.is_none() {
        let reason = format!("`{}` is not an address", found.escape_debug());
        sink.error(&value.span(), path, reason, "write it as name@example.com");
    }
    mailbox
}

/// A network such as `192.0.2.0/24`, or one address.
pub(super) fn network(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<IpNet> {
    let found = text(sink, value, path)?;
    let address = || found.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let network = found.parse::<IpNet>().ok().or_else(address);
    if network.is_none() {
        let reason = format!("`{}` is not a network", found.escape_debug());
        sink.error(&value.span(), path, reason, "write it as 192.0.2.0/24 or 2001:db8::/32");
    }
    network
}

/// A regular expression, checked.
pub(super) fn expression(sink: &mut Sink<'_>, value: &Value<'_>, path: &str) -> Option<String> {
    let found = text(sink, value, path)?;
    match regex_syntax::Parser::new().parse(found) {
        Ok(_) => Some(found.to_owned()),
        Err(error) => {
            let why = match &error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                _ => error.to_string(),
            };
            let reason = format!("not a regular expression: {why}");
            let remedy = "put it between single quotes, so that `\\` stays as it is, and escape \
                          special characters with `\\`";
            sink.error(&value.span(), path, reason, remedy);
            None
        }
    }
}
