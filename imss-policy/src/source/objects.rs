//! The tables of named objects: addresses, keywords, notices, stamps, quarantine, archive, DNS lists.

use std::ops::Range;
use std::sync::Arc;

use imss_core::edit::Position;
use imss_core::plan::{DnsList, KeywordEntry, KeywordList};
use imss_core::verdict::Score;
use toml::de::{DeTable, DeValue};

use super::names::{Kind, Names};
use super::reader::{Fields, Sink, Value, join, wrong_type};
use super::{Origin, lists, tokens, value};
use crate::address::{AddressPattern, DomainPattern};
use crate::model::{Archive, Document, Keywords, Notice, NoticeTarget, Quarantine, Stamp, Text};

/// Reads all object tables of `top` into `document`, and declares their names.
pub(super) fn read(
    sink: &mut Sink<'_>,
    top: &mut Fields<'_, '_>,
    names: &mut Names,
    document: &mut Document,
    origin: &Origin<'_>,
    lists: &mut lists::Lists,
) {
    each(sink, top, names, Kind::Addresses, |sink, fields, name| {
        let members = addresses(sink, fields, origin, lists);
        document.addresses.insert(name.to_owned(), members);
    });
    each(sink, top, names, Kind::Keywords, |sink, fields, name| {
        let list = Arc::new(keywords(sink, fields, name));
        document.keywords.insert(name.to_owned(), Keywords { list });
    });
    each(sink, top, names, Kind::Quarantine, |sink, fields, name| {
        let keep = keep(sink, fields);
        let key = fields.key("end-user");
        let end_user = fields.take("end-user").and_then(|v| value::boolean(sink, v, &key));
        let area = Quarantine { keep, end_user: end_user.unwrap_or(false) };
        document.quarantine.insert(name.to_owned(), area);
    });
    document.quarantine.entry(super::names::UNSCANNABLE.to_owned()).or_default();
    each(sink, top, names, Kind::Archive, |sink, fields, name| {
        let keep = keep(sink, fields);
        document.archive.insert(name.to_owned(), Archive { keep });
    });
    each(sink, top, names, Kind::DnsLists, |sink, fields, name| {
        document.dns_lists.extend(dns_list(sink, fields, name).map(|l| (name.to_owned(), l)));
    });
    notices(sink, top, names, document);
    let mut read = Vec::new();
    each(sink, top, names, Kind::Stamps, |sink, fields, name| {
        read.push((name.to_owned(), stamp(sink, fields)));
    });
    for (name, stamp) in read {
        names.stamps.insert(name.clone(), Arc::new(stamp.clone()));
        document.stamps.insert(name, stamp);
    }
}

/// Calls `read` for each object of a kind.
fn each(
    sink: &mut Sink<'_>,
    top: &mut Fields<'_, '_>,
    names: &mut Names,
    kind: Kind,
    mut read: impl FnMut(&mut Sink<'_>, &mut Fields<'_, '_>, &str),
) {
    let Some(value) = top.take(kind.key()) else { return };
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(sink, value, kind.key(), "a table of objects", value.get_ref());
        return;
    };
    for (name, object) in table {
        let path = join(kind.key(), name.get_ref());
        if !is_object_name(name.get_ref()) {
            let reason = "a name has 1 to 64 characters, none of them `/`, `\\`, `@` or a control \
                          character, and does not begin with a dot"
                .to_owned();
            sink.error(&name.span(), &path, reason, "");
        }
        names.declare(kind, name.get_ref(), name.span());
        if let Some(mut fields) = Fields::of(sink, object, &path) {
            fields.span = name.span();
            read(sink, &mut fields, name.get_ref());
            fields.finish(sink);
        }
    }
}

/// Areas become folders and names stand in routes, so some characters cannot be there.
fn is_object_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count())
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || "/\\@".contains(c))
}

fn addresses(
    sink: &mut Sink<'_>,
    fields: &mut Fields<'_, '_>,
    origin: &Origin<'_>,
    lists: &mut lists::Lists,
) -> Vec<AddressPattern> {
    let key = fields.key("members");
    let members = fields.take("members");
    let file = fields.take("file");
    let mut found = match members {
        Some(list) => value::one_or_more(sink, list, &key, address),
        None => Vec::new(),
    };
    let key = fields.key("file");
    if let Some(file) = file
        && let Some(name) = value::text(sink, file, &key)
    {
        match (origin.load)(name) {
            Ok(text) => found.extend(lists.read(name, &text)),
            Err(error) => {
                let reason = format!("`{}` cannot be read: {error}", name.escape_debug());
                sink.error(&file.span(), &key, reason, "give a file beside the policy");
            }
        }
    }
    if members.is_none() && file.is_none() {
        let reason = "an address object has `members`, a `file`, or both".to_owned();
        let remedy = "add members = [\"*@example.com\"]";
        sink.error(&fields.span, &fields.path, reason, remedy);
    }
    found
}

/// One address pattern.
pub(super) fn address(
    sink: &mut Sink<'_>,
    found: &Value<'_>,
    path: &str,
) -> Option<AddressPattern> {
    let text = value::text(sink, found, path)?;
    match AddressPattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let reason = format!("`{}` is not an address: {error}", text.escape_debug());
            let remedy = "write name@example.com, *@example.com, *@*.example.com or <>";
            sink.error(&found.span(), path, reason, remedy);
            None
        }
    }
}

/// One domain pattern.
pub(super) fn domain(sink: &mut Sink<'_>, found: &Value<'_>, path: &str) -> Option<DomainPattern> {
    let text = value::text(sink, found, path)?;
    match DomainPattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let reason = format!("`{}` is not a domain: {error}", text.escape_debug());
            sink.error(&found.span(), path, reason, "write example.com or *.example.com");
            None
        }
    }
}

fn keywords(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, name: &str) -> KeywordList {
    let key = fields.key("threshold");
    let threshold = fields.take("threshold").and_then(|v| value::score(sink, v, &key));
    let threshold = threshold.unwrap_or(Score::points(1));
    let key = fields.key("entries");
    let example = "entries = [{ text = \"confidential\", score = 5 }]";
    let entries = fields.need(sink, "entries", example);
    let entries =
        entries.map(|list| value::one_or_more(sink, list, &key, keyword_entry)).unwrap_or_default();
    KeywordList { name: name.to_owned(), threshold, entries }
}

fn keyword_entry(sink: &mut Sink<'_>, found: &Value<'_>, path: &str) -> Option<KeywordEntry> {
    if let DeValue::String(_) = found.get_ref() {
        let text = value::text(sink, found, path)?.to_owned();
        return Some(KeywordEntry::Text { text, score: Score::points(1), max_count: 1 });
    }
    let mut fields = Fields::of(sink, found, path)?;
    let score_key = fields.key("score");
    let score =
        fields.take("score").map_or(Some(Score::points(1)), |v| value::score(sink, v, &score_key));
    let count_key = fields.key("max-count");
    let (text, regex, near) = (fields.take("text"), fields.take("regex"), fields.take("near"));
    let kinds = [text, regex, near].iter().flatten().count();
    if kinds != 1 {
        let reason = "an entry has exactly one of `text`, `regex` and `near`".to_owned();
        sink.error(&fields.span, path, reason, "make one entry for each");
        return None;
    }
    let entry = if let Some(near) = near {
        let words = value::one_or_more(sink, near, &fields.key("near"), |sink, v, path| {
            value::text(sink, v, path).map(str::to_owned)
        });
        let key = fields.key("within");
        let within =
            fields.need(sink, "within", "within = 50").and_then(|v| value::count(sink, v, &key));
        if words.len() < 2 {
            let reason = "`near` needs at least two words".to_owned();
            sink.error(&near.span(), &fields.key("near"), reason, "use `text` for one");
        }
        score.zip(within).map(|(score, within)| KeywordEntry::Near { words, within, score })
    } else {
        let max_count =
            fields.take("max-count").map_or(Some(1), |v| value::count(sink, v, &count_key));
        let counted = score.zip(max_count.map(|count| count.max(1)));
        if let Some(text) = text {
            let text = value::text(sink, text, &fields.key("text")).map(str::to_owned);
            let entry = text.zip(counted);
            entry.map(|(text, (score, max_count))| KeywordEntry::Text { text, score, max_count })
        } else {
            let key = fields.key("regex");
            let pattern = regex.and_then(|v| value::expression(sink, v, &key)).zip(counted);
            pattern.map(|(pattern, (score, max_count))| KeywordEntry::Regex {
                pattern,
                score,
                max_count,
            })
        }
    };
    fields.finish(sink);
    entry
}

fn keep(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>) -> Option<std::time::Duration> {
    let key = fields.key("keep");
    fields.take("keep").and_then(|v| value::duration(sink, v, &key))
}

fn dns_list(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, name: &str) -> Option<DnsList> {
    let key = fields.key("zone");
    let zone =
        fields.need(sink, "zone", "zone = \"dnsbl.example.net\"").and_then(|v| {
            match domain(sink, v, &key)? {
                DomainPattern::Exact(zone) => Some(zone),
                DomainPattern::Any | DomainPattern::Below(_) => {
                    sink.error(&v.span(), &key, "a zone has no wildcard".to_owned(), "");
                    None
                }
            }
        });
    let key = fields.key("codes");
    let example = "codes = { \"127.0.0.2\" = 5 }: other answers mean nothing";
    let table = fields.need(sink, "codes", example)?;
    let codes = Fields::of(sink, table, &key)?;
    let DeValue::Table(table) = table.get_ref() else { return None };
    let codes = return_codes(sink, table, &codes.path, &codes.span);
    zone.map(|zone| DnsList { name: name.to_owned(), zone, codes })
}

fn return_codes(
    sink: &mut Sink<'_>,
    table: &DeTable<'_>,
    path: &str,
    span: &Range<usize>,
) -> Vec<(std::net::IpAddr, Score)> {
    let mut codes = Vec::new();
    for (code, points) in table {
        let key = join(path, code.get_ref());
        let points = value::score(sink, points, &key);
        match code.get_ref().parse::<std::net::Ipv4Addr>() {
            Ok(address) if address.octets().first() == Some(&127) => {
                codes.extend(points.map(|points| (address.into(), points)));
            }
            _ => {
                let reason = format!("`{}` is not a return code", code.get_ref().escape_debug());
                let remedy = "write an address from 127.0.0.0/8, such as \"127.0.0.2\"";
                sink.error(&code.span(), &key, reason, remedy);
            }
        }
    }
    if table.is_empty() {
        let remedy = "add \"127.0.0.2\" = 5: other answers mean nothing";
        sink.error(span, path, "no return code is declared".to_owned(), remedy);
    }
    codes
}

fn notices(
    sink: &mut Sink<'_>,
    top: &mut Fields<'_, '_>,
    names: &mut Names,
    document: &mut Document,
) {
    let administrator = names.without_objects();
    let mut read = Vec::new();
    each(sink, top, names, Kind::Notices, |sink, fields, name| {
        if Names::is_standing_notice(name) {
            let reason = format!("the notice `{name}` exists already");
            sink.error(&fields.span, &fields.path, reason, "choose another name");
        }
        read.push((name.to_owned(), notice(sink, fields, &administrator)));
    });
    for (name, notice) in read {
        names.notices.insert(name.clone(), Arc::new(notice.clone()));
        document.notices.insert(name, notice);
    }
}

fn notice(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, names: &Names) -> Notice {
    let key = fields.key("to");
    let to = fields.take("to").map(|list| targets(sink, list, &key, names)).unwrap_or_default();
    let key = fields.key("subject");
    let subject = fields.take("subject").map(|v| languages(sink, v, &key, Lines::One));
    let key = fields.key("text");
    let example = "text = { en = \"…\", ja = \"…\" }";
    let text = fields.need(sink, "text", example).map(|v| languages(sink, v, &key, Lines::Many));
    if !to.is_empty() && subject.is_none() {
        let reason = "a notice that goes out by mail needs a `subject`".to_owned();
        sink.error(&fields.span, &fields.path, reason, "add subject = { en = \"…\", ja = \"…\" }");
    }
    Notice { to, subject: subject.unwrap_or_default(), text: text.unwrap_or_default() }
}

fn stamp(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>) -> Stamp {
    const POSITIONS: [(&str, Position); 2] = [("top", Position::Top), ("bottom", Position::Bottom)];
    let key = fields.key("text");
    let example = "text = { en = \"…\", ja = \"…\" }";
    let text = fields.need(sink, "text", example).map(|v| languages(sink, v, &key, Lines::Many));
    let key = fields.key("html");
    let html = fields.take("html").map(|v| languages(sink, v, &key, Lines::Many));
    let key = fields.key("position");
    let position = fields.take("position").and_then(|v| value::word(sink, v, &key, &POSITIONS));
    Stamp { text: text.unwrap_or_default(), html, position: position.unwrap_or_default() }
}

/// Whom a notice goes to.
pub(super) fn targets(
    sink: &mut Sink<'_>,
    list: &Value<'_>,
    path: &str,
    names: &Names,
) -> Vec<NoticeTarget> {
    const WORDS: [(&str, usize); 3] = [("recipients", 0), ("sender", 1), ("administrator", 2)];
    value::one_or_more(sink, list, path, |sink, found, path| {
        let text = value::text(sink, found, path)?;
        if text.contains('@') {
            return value::mailbox(sink, found, path).map(NoticeTarget::Mailbox);
        }
        Some(match value::word(sink, found, path, &WORDS)? {
            0 => NoticeTarget::Recipients,
            1 => NoticeTarget::Sender,
            _ => {
                names.need_administrator(sink, found, path);
                NoticeTarget::Administrator
            }
        })
    })
}

/// Whether line breaks may stand in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Many,
}

/// A text in one language, or a table of languages.
fn languages(sink: &mut Sink<'_>, found: &Value<'_>, path: &str, lines: Lines) -> Text {
    let read = |sink: &mut Sink<'_>, found: &Value<'_>, path: &str| {
        let text = match lines {
            Lines::One => value::line(sink, found, path)?,
            Lines::Many => value::text(sink, found, path)?,
        };
        tokens::check(sink, found, path, text);
        Some(text.to_owned())
    };
    if let DeValue::String(_) = found.get_ref() {
        return Text { en: read(sink, found, path), ja: None };
    }
    let Some(mut fields) = Fields::of(sink, found, path) else { return Text::default() };
    let (en_key, ja_key) = (fields.key("en"), fields.key("ja"));
    let text = Text {
        en: fields.take("en").and_then(|v| read(sink, v, &en_key)),
        ja: fields.take("ja").and_then(|v| read(sink, v, &ja_key)),
    };
    fields.finish(sink);
    text
}
