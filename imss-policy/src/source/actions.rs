//! `then` and the answers of `[unknown]`: a list of actions, each a word or a table with one key.

use toml::de::DeValue;

use super::names::{Kind, Names};
use super::reader::{Fields, Sink, Value, join, wrong_type};
use super::{objects, suggest, tokens, value};
use crate::model::{Action, NoticeUse};

/// Actions that need no more than their name.
const WORDS: [&str; 8] =
    ["deliver", "delete", "reject", "bounce", "defer", "hold", "remove-attachment", "clean"];
/// Actions that are written `{ NAME = … }`.
const TABLES: [&str; 17] = [
    "quarantine",
    "reject",
    "bounce",
    "hold",
    "redirect",
    "tag-subject",
    "add-field",
    "remove-field",
    "replace-field",
    "remove-attachment",
    "clean",
    "stamp",
    "bcc",
    "archive",
    "notify",
    "otherwise",
    "deliver",
];
/// The reply to a refused message, unless the policy gives one.
const REJECT_TEXT: &str = "Message refused by policy";

/// Reads a list of actions, or a single one, and checks their order.
pub(super) fn read(
    sink: &mut Sink<'_>,
    names: &mut Names,
    found: &Value<'_>,
    path: &str,
) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    value::one_or_more(sink, found, path, |sink, found, path| {
        let action = one(sink, names, found, path)?;
        check_order(sink, found, path, &actions, &action);
        actions.push(action);
        Some(())
    });
    actions
}

fn check_order(
    sink: &mut Sink<'_>,
    found: &Value<'_>,
    path: &str,
    before: &[Action],
    action: &Action,
) {
    if matches!(action, Action::Otherwise(_)) {
        if !before.last().is_some_and(Action::may_fail) {
            let reason = "`otherwise` has nothing before it that could fail".to_owned();
            let remedy = "put it after `clean`, `remove-attachment` or `stamp`";
            sink.error(&found.span(), path, reason, remedy);
        }
    } else if before.iter().any(Action::is_final) {
        let reason = "this is never done: a final action stands before it".to_owned();
        let remedy = "put the final action last, and keep one";
        sink.error(&found.span(), path, reason, remedy);
    }
}

fn one(sink: &mut Sink<'_>, names: &mut Names, found: &Value<'_>, path: &str) -> Option<Action> {
    match found.get_ref() {
        DeValue::String(word) => by_word(sink, found, path, word),
        DeValue::Table(table) => {
            let mut entries = table.iter();
            let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
                let reason = "an action is a table with exactly one key".to_owned();
                let remedy = "write a list: [{ tag-subject = \"…\" }, { quarantine = \"…\" }]";
                sink.error(&found.span(), path, reason, remedy);
                return None;
            };
            let name = key.get_ref().as_ref();
            let path = join(path, name);
            if !TABLES.contains(&name) {
                unknown(sink, &key.span(), &path, name);
                return None;
            }
            by_table(sink, names, name, inner, &path)
        }
        other => {
            wrong_type(sink, found, path, "an action", other);
            None
        }
    }
}

fn unknown(sink: &mut Sink<'_>, span: &std::ops::Range<usize>, path: &str, name: &str) {
    let all: Vec<&str> = WORDS.iter().chain(&TABLES).copied().collect();
    let remedy = suggest::among("action", name, &all);
    sink.error(span, path, format!("unknown action `{}`", name.escape_debug()), &remedy);
}

fn by_word(sink: &mut Sink<'_>, found: &Value<'_>, path: &str, word: &str) -> Option<Action> {
    Some(match word {
        "deliver" => Action::Deliver,
        "delete" => Action::Delete,
        "reject" => Action::Reject { code: 550, status: (5, 7, 1), text: REJECT_TEXT.to_owned() },
        "bounce" => Action::Bounce(REJECT_TEXT.to_owned()),
        "defer" => Action::Defer,
        "hold" => Action::Hold(String::new()),
        "remove-attachment" => Action::RemoveAttachment { notice: None },
        "clean" => Action::Clean,
        _ if TABLES.contains(&word) => {
            let reason = format!("`{word}` needs to be told what");
            sink.error(&found.span(), path, reason, &format!("write {}", example(word)));
            return None;
        }
        _ => {
            unknown(sink, &found.span(), path, word);
            return None;
        }
    })
}

/// How an action is written.
fn example(action: &str) -> &'static str {
    match action {
        "quarantine" => "{ quarantine = \"AREA\" }, where [quarantine.AREA] is declared",
        "redirect" => "{ redirect = \"name@example.com\" }",
        "tag-subject" => "{ tag-subject = \"[bulk]\" }",
        "add-field" | "replace-field" => "{ add-field = { \"X-Name\" = \"value\" } }",
        "remove-field" => "{ remove-field = \"X-Name\" }",
        "stamp" => "{ stamp = \"STAMP\" }, where [stamps.STAMP] is declared",
        "bcc" => "{ bcc = \"name@example.com\" }",
        "archive" => "{ archive = \"AREA\" }, where [archive.AREA] is declared",
        "notify" => "{ notify = \"NOTICE\" }, where [notices.NOTICE] is declared",
        _ => "{ otherwise = { quarantine = \"AREA\" } }",
    }
}

fn by_table(
    sink: &mut Sink<'_>,
    names: &mut Names,
    name: &str,
    found: &Value<'_>,
    path: &str,
) -> Option<Action> {
    match name {
        "quarantine" => names.resolve(sink, Kind::Quarantine, found, path).map(Action::Quarantine),
        "archive" => names.resolve(sink, Kind::Archive, found, path).map(Action::Archive),
        "reject" => reject(sink, found, path),
        "bounce" => value::ascii(sink, found, path).map(|text| Action::Bounce(text.to_owned())),
        "hold" => value::line(sink, found, path).map(|text| Action::Hold(text.to_owned())),
        "redirect" => mailboxes(sink, found, path).map(Action::Redirect),
        "bcc" => mailboxes(sink, found, path).map(Action::Bcc),
        "tag-subject" => {
            let tag = value::line(sink, found, path)?;
            tokens::check(sink, found, path, tag);
            Some(Action::TagSubject(tag.to_owned()))
        }
        "add-field" => field(sink, found, path).map(|(name, v)| Action::AddField(name, v)),
        "replace-field" => field(sink, found, path).map(|(name, v)| Action::ReplaceField(name, v)),
        "remove-field" => value::field_name(sink, found, path).map(Action::RemoveField),
        "remove-attachment" => {
            let mut fields = Fields::of(sink, found, path)?;
            let key = fields.key("notice");
            let notice = fields.need(sink, "notice", "notice = \"NAME\"");
            let notice = notice.and_then(|v| names.notice(sink, v, &key));
            fields.finish(sink);
            notice.map(|notice| Action::RemoveAttachment { notice: Some(notice) })
        }
        "clean" => match value::boolean(sink, found, path)? {
            true => Some(Action::Clean),
            false => {
                let reason = "`clean = false` does nothing".to_owned();
                sink.error(&found.span(), path, reason, "leave the action out");
                None
            }
        },
        "stamp" => {
            names.stamp(sink, found, path).map(|(name, stamp)| Action::Stamp { name, stamp })
        }
        "notify" => notify(sink, names, found, path),
        "otherwise" => {
            let inner = one(sink, names, found, path)?;
            if matches!(inner, Action::Otherwise(_)) {
                let reason = "`otherwise` cannot follow itself".to_owned();
                sink.error(&found.span(), path, reason, "name the action");
                return None;
            }
            Some(Action::Otherwise(Box::new(inner)))
        }
        _ => {
            let reason = format!("`{name}` is a word of its own");
            sink.error(&found.span(), path, reason, &format!("write \"{name}\""));
            None
        }
    }
}

fn mailboxes(
    sink: &mut Sink<'_>,
    found: &Value<'_>,
    path: &str,
) -> Option<Vec<imss_core::envelope::Mailbox>> {
    Some(value::one_or_more(sink, found, path, value::mailbox)).filter(|list| !list.is_empty())
}

fn field(sink: &mut Sink<'_>, found: &Value<'_>, path: &str) -> Option<(String, String)> {
    let DeValue::Table(table) = found.get_ref() else {
        let expected = "a table such as { \"X-Name\" = \"value\" }";
        wrong_type(sink, found, path, expected, found.get_ref());
        return None;
    };
    let mut entries = table.iter();
    let (Some((name, text)), None) = (entries.next(), entries.next()) else {
        let reason = "one field at a time".to_owned();
        sink.error(&found.span(), path, reason, "write one action for each field");
        return None;
    };
    let key = join(path, name.get_ref());
    if !value::is_field_name(name.get_ref()) {
        let reason = format!("`{}` is not a header field name", name.get_ref().escape_debug());
        sink.error(&name.span(), &key, reason, "use ASCII letters, digits and `-`");
        return None;
    }
    let content = value::line(sink, text, &key)?;
    tokens::check(sink, text, &key, content);
    Some((name.get_ref().to_string(), content.to_owned()))
}

fn reject(sink: &mut Sink<'_>, found: &Value<'_>, path: &str) -> Option<Action> {
    if let DeValue::String(_) = found.get_ref() {
        let text = value::ascii(sink, found, path)?.to_owned();
        return Some(Action::Reject { code: 550, status: (5, 7, 1), text });
    }
    let mut fields = Fields::of(sink, found, path)?;
    let (code_key, status_key, text_key) =
        (fields.key("code"), fields.key("status"), fields.key("text"));
    let code = match fields.take("code") {
        Some(v) => reply_code(sink, v, &code_key),
        None => Some(550),
    };
    let class = if code.is_some_and(|code| code < 500) { 4 } else { 5 };
    let status = match fields.take("status") {
        Some(v) => enhanced(sink, v, &status_key, class),
        None => Some((class, 7, 1)),
    };
    let text = match fields.take("text") {
        Some(v) => value::ascii(sink, v, &text_key).map(str::to_owned),
        None => Some(REJECT_TEXT.to_owned()),
    };
    fields.finish(sink);
    Some(Action::Reject { code: code?, status: status?, text: text? })
}

/// Codes that may answer the end of DATA (RFC 5321 §4.3.2); 421 would close the connection.
fn reply_code(sink: &mut Sink<'_>, found: &Value<'_>, path: &str) -> Option<u16> {
    let code = value::count(sink, found, path)?;
    let code = u16::try_from(code).ok().filter(|c| [450, 451, 452, 550, 552, 554].contains(c));
    if code.is_none() {
        let reason = "this reply code cannot refuse a message".to_owned();
        let remedy = "use 550, 552 or 554 to refuse it, 450, 451 or 452 to refuse it for now";
        sink.error(&found.span(), path, reason, remedy);
    }
    code
}

/// An enhanced status code of the reply's class (RFC 3463 §2).
fn enhanced(
    sink: &mut Sink<'_>,
    found: &Value<'_>,
    path: &str,
    class: u8,
) -> Option<(u8, u16, u16)> {
    let text = value::text(sink, found, path)?;
    let numbers: Vec<u16> = text
        .split('.')
        .filter_map(|part| part.parse().ok().filter(|number| *number <= 999))
        .collect();
    if let [first, subject, detail] = numbers.as_slice()
        && *first == u16::from(class)
        && text.split('.').count() == 3
    {
        return Some((class, *subject, *detail));
    }
    let reason = format!("`{}` is not an enhanced status code of this reply", text.escape_debug());
    sink.error(&found.span(), path, reason, &format!("write \"{class}.7.1\", for example"));
    None
}

fn notify(sink: &mut Sink<'_>, names: &mut Names, found: &Value<'_>, path: &str) -> Option<Action> {
    let (notice, to) = match found.get_ref() {
        DeValue::Table(_) => {
            let mut fields = Fields::of(sink, found, path)?;
            let (notice_key, to_key) = (fields.key("notice"), fields.key("to"));
            let notice = fields.need(sink, "notice", "notice = \"NAME\"");
            let notice = notice.and_then(|v| names.notice(sink, v, &notice_key));
            let to = fields.take("to").map(|v| objects::targets(sink, v, &to_key, names));
            fields.finish(sink);
            (notice?, to)
        }
        _ => (names.notice(sink, found, path)?, None),
    };
    let NoticeUse { notice: inner, .. } = &notice;
    let to = to.unwrap_or_else(|| inner.to.clone());
    if to.is_empty() {
        let reason = format!("the notice `{}` goes to nobody", notice.name);
        let remedy = "add to = [\"recipients\", \"administrator\"] to it";
        sink.error(&found.span(), path, reason, remedy);
    }
    if inner.subject == crate::model::Text::default() {
        let reason = format!("the notice `{}` has no subject", notice.name);
        sink.error(&found.span(), path, reason, "add subject = { en = \"…\" } to it");
    }
    Some(Action::Notify { notice, to })
}
