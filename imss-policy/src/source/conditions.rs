//! `when`: one table, each key a test. Several keys must all hold.

use std::collections::BTreeSet;

use imss_core::filetype::TypeGroup;
use imss_core::plan::{AttachmentQuery, Container, MessageQuery, Place};
use imss_core::verdict::Verdict;
use toml::de::DeValue;

use super::authentication;
use super::names::{Kind, Names};
use super::reader::{Fields, Sink, Value, wrong_type};
use super::value;
use crate::model::{Condition, MalwareClass, Reason, Test};

/// What `malware` takes: `any` malware, all `grayware`, or one class.
const MALWARE: [(&str, Asked); 14] = [
    ("any", Asked::Any),
    ("virus", Asked::One(MalwareClass::Virus)),
    ("mass-mailer", Asked::One(MalwareClass::MassMailer)),
    ("packed", Asked::One(MalwareClass::Packed)),
    ("suspicious", Asked::One(MalwareClass::Suspicious)),
    ("grayware", Asked::Grayware),
    ("spyware", Asked::One(MalwareClass::Spyware)),
    ("adware", Asked::One(MalwareClass::Adware)),
    ("dialler", Asked::One(MalwareClass::Dialler)),
    ("joke", Asked::One(MalwareClass::Joke)),
    ("hacking-tool", Asked::One(MalwareClass::HackingTool)),
    ("remote-access", Asked::One(MalwareClass::RemoteAccess)),
    ("password-cracker", Asked::One(MalwareClass::PasswordCracker)),
    ("other-grayware", Asked::One(MalwareClass::OtherGrayware)),
];
const VERDICTS: [(&str, Verdict); 7] = [
    ("clean", Verdict::Clean),
    ("graymail", Verdict::Graymail),
    ("unscannable", Verdict::Unscannable),
    ("spam", Verdict::Spam),
    ("suspicious", Verdict::Suspicious),
    ("phish", Verdict::Phish),
    ("infected", Verdict::Infected),
];
const PLACES: [(&str, Place); 4] = [
    ("subject", Place::Subject),
    ("header", Place::Header),
    ("body", Place::Body),
    ("attachments", Place::Attachments),
];
const CONTAINERS: [(&str, Container); 4] = [
    ("archive", Container::Archive),
    ("encrypted-archive", Container::EncryptedArchive),
    ("document", Container::Document),
    ("message", Container::Message),
];
const TYPES: [(&str, TypeGroup); 14] = [
    ("executable", TypeGroup::Executable),
    ("script", TypeGroup::Script),
    ("shortcut", TypeGroup::Shortcut),
    ("archive", TypeGroup::Archive),
    ("document", TypeGroup::Document),
    ("html", TypeGroup::Html),
    ("text", TypeGroup::Text),
    ("image", TypeGroup::Image),
    ("audio", TypeGroup::Audio),
    ("video", TypeGroup::Video),
    ("message", TypeGroup::Message),
    ("font", TypeGroup::Font),
    ("crypto", TypeGroup::Crypto),
    ("other", TypeGroup::Other),
];

/// A word of `malware`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Any,
    Grayware,
    One(MalwareClass),
}

impl Asked {
    fn includes(self, class: MalwareClass) -> bool {
        match self {
            Self::Any => !class.is_grayware(),
            Self::Grayware => class.is_grayware(),
            Self::One(one) => one == class,
        }
    }
}

/// Reads a condition. After a mistake the rest is still read.
pub(super) fn read(
    sink: &mut Sink<'_>,
    names: &mut Names,
    found: &Value<'_>,
    path: &str,
) -> Condition {
    let Some(mut fields) = Fields::of(sink, found, path) else { return Condition::ALWAYS };
    let mut all = Vec::new();
    joins(sink, names, &mut fields, &mut all);
    let mut tests = Vec::new();
    about_findings(sink, names, &mut fields, &mut tests);
    about_message(sink, &mut fields, &mut tests);
    authentication::read(sink, &mut fields, &mut tests);
    all.extend(tests.into_iter().map(Condition::Test));
    if let DeValue::Table(table) = found.get_ref()
        && table.is_empty()
    {
        let remedy = "leave `when` out to match every message of the route";
        sink.error(&found.span(), path, "the condition is empty".to_owned(), remedy);
    }
    fields.finish(sink);
    if all.len() == 1 { all.pop().unwrap_or(Condition::ALWAYS) } else { Condition::All(all) }
}

/// `all`, `any` and `not`.
fn joins(
    sink: &mut Sink<'_>,
    names: &mut Names,
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<Condition>,
) {
    for (key, join) in
        [("all", Condition::All as fn(Vec<Condition>) -> Condition), ("any", Condition::Any)]
    {
        let path = fields.key(key);
        let Some(list) = fields.take(key) else { continue };
        let DeValue::Array(_) = list.get_ref() else {
            wrong_type(sink, list, &path, "a list of conditions", list.get_ref());
            continue;
        };
        let inner = value::one_or_more(sink, list, &path, |sink, found, path| {
            Some(read(sink, names, found, path))
        });
        out.push(join(inner));
    }
    let path = fields.key("not");
    if let Some(inner) = fields.take("not") {
        out.push(Condition::Not(Box::new(read(sink, names, inner, &path))));
    }
}

/// Tests that engines answer.
fn about_findings(
    sink: &mut Sink<'_>,
    names: &mut Names,
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<Test>,
) {
    let path = fields.key("malware");
    if let Some(list) = fields.take("malware") {
        let words = value::words(sink, list, &path, &MALWARE);
        let is_asked = |class: MalwareClass| words.iter().any(|asked| asked.includes(class));
        let classes = MalwareClass::ALL.into_iter().filter(|class| is_asked(*class)).collect();
        out.push(Test::Malware(classes));
    }
    let path = fields.key("score");
    if let Some(table) = fields.take("score")
        && let Some(mut inner) = Fields::of(sink, table, &path)
    {
        let key = inner.key("at-least");
        let least = inner.need(sink, "at-least", "at-least = 5");
        out.extend(least.and_then(|v| value::score(sink, v, &key)).map(Test::Score));
        inner.finish(sink);
    }
    let path = fields.key("verdict");
    if let Some(list) = fields.take("verdict") {
        out.push(Test::Verdict(value::words(sink, list, &path, &VERDICTS)));
    }
    let (path, in_path) = (fields.key("keywords"), fields.key("in"));
    let (list, places) = (fields.take("keywords"), fields.take("in"));
    if let Some(list) = list {
        let places = match places {
            Some(places) => value::words(sink, places, &in_path, &PLACES),
            None => BTreeSet::from([Place::Subject, Place::Body]),
        };
        let list = names.resolve(sink, Kind::Keywords, list, &path);
        out.extend(list.map(|list| Test::Keywords { list, places }));
    } else if let Some(places) = places {
        let remedy = "add keywords = \"NAME\" beside it";
        sink.error(&places.span(), &in_path, "`in` goes with `keywords`".to_owned(), remedy);
    }
    let path = fields.key("attachment");
    if let Some(table) = fields.take("attachment")
        && let Some(inner) = Fields::of(sink, table, &path)
    {
        out.push(Test::Attachment(Box::new(attachment(sink, inner))));
    }
    let path = fields.key("dns-list");
    if let Some(list) = fields.take("dns-list") {
        out.extend(names.resolve(sink, Kind::DnsLists, list, &path).map(Test::DnsList));
    }
    let path = fields.key("unknown");
    if let Some(list) = fields.take("unknown") {
        let reasons = Reason::ALL.map(|reason| (reason.as_str(), reason));
        out.push(Test::Unknown(value::words(sink, list, &path, &reasons)));
    }
}

fn attachment(sink: &mut Sink<'_>, mut fields: Fields<'_, '_>) -> AttachmentQuery {
    let texts = |sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, key: &'static str| {
        let path = fields.key(key);
        let list = fields.take(key);
        list.map(|list| {
            value::one_or_more(sink, list, &path, |sink, found, path| {
                value::text(sink, found, path).map(str::to_owned)
            })
        })
        .unwrap_or_default()
    };
    let name = texts(sink, &mut fields, "name");
    let except_name = texts(sink, &mut fields, "except-name");
    let media_type = texts(sink, &mut fields, "media-type");
    let path = fields.key("type");
    let types = fields.take("type").map(|list| value::words(sink, list, &path, &TYPES));
    let path = fields.key("inside");
    let inside = fields.take("inside").map(|list| value::words(sink, list, &path, &CONTAINERS));
    let path = fields.key("larger-than");
    let larger_than = fields.take("larger-than").and_then(|v| value::size(sink, v, &path));
    let path = fields.key("mismatch");
    let mismatch = fields.take("mismatch").and_then(|v| value::boolean(sink, v, &path));
    fields.finish(sink);
    AttachmentQuery {
        name,
        except_name,
        r#type: types.unwrap_or_default().into_iter().collect(),
        media_type: media_type.iter().map(|text| text.to_ascii_lowercase()).collect(),
        inside: inside.unwrap_or_default(),
        larger_than,
        mismatch,
    }
}

/// Tests of the message and its envelope.
fn about_message(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, out: &mut Vec<Test>) {
    let path = fields.key("attachments");
    if let Some(table) = fields.take("attachments")
        && let Some(mut inner) = Fields::of(sink, table, &path)
    {
        let (count_key, size_key) = (inner.key("more-than"), inner.key("larger-than"));
        let count = inner.take("more-than").and_then(|v| value::count(sink, v, &count_key));
        let size = inner.take("larger-than").and_then(|v| value::size(sink, v, &size_key));
        nothing_asked(sink, &inner, "more-than = 20 or larger-than = \"20 MB\"");
        out.extend(count.map(|n| Test::Message(MessageQuery::AttachmentsMoreThan(n))));
        out.extend(size.map(|n| Test::Message(MessageQuery::AttachmentBytesMoreThan(n))));
        inner.finish(sink);
    }
    let path = fields.key("size");
    if let Some(table) = fields.take("size")
        && let Some(mut inner) = Fields::of(sink, table, &path)
    {
        let key = inner.key("larger-than");
        let size = inner.need(sink, "larger-than", "larger-than = \"10 MB\"");
        let size = size.and_then(|v| value::size(sink, v, &key));
        out.extend(size.map(|n| Test::Message(MessageQuery::LargerThan(n))));
        inner.finish(sink);
    }
    let path = fields.key("recipients");
    if let Some(table) = fields.take("recipients")
        && let Some(inner) = Fields::of(sink, table, &path)
    {
        out.extend(recipients(sink, inner));
    }
    let path = fields.key("subject");
    if let Some(found) = fields.take("subject") {
        let blank = value::word(sink, found, &path, &[("blank", ())]);
        out.extend(blank.map(|()| Test::Message(MessageQuery::BlankSubject)));
    }
    let path = fields.key("field");
    if let Some(table) = fields.take("field")
        && let Some(mut inner) = Fields::of(sink, table, &path)
    {
        let (name_key, matches_key) = (inner.key("name"), inner.key("matches"));
        let name = inner.need(sink, "name", "name = \"X-Mailer\"");
        let name = name.and_then(|v| value::field_name(sink, v, &name_key));
        let pattern = inner.need(sink, "matches", "matches = '.'");
        let pattern = pattern.and_then(|v| value::expression(sink, v, &matches_key));
        let query = name.zip(pattern).map(|(name, pattern)| MessageQuery::Field { name, pattern });
        out.extend(query.map(Test::Message));
        inner.finish(sink);
    }
    let path = fields.key("client");
    if let Some(list) = fields.take("client") {
        out.push(Test::Client(value::one_or_more(sink, list, &path, value::network)));
    }
}

fn recipients(sink: &mut Sink<'_>, mut fields: Fields<'_, '_>) -> Option<Test> {
    let (count_key, outside_key) = (fields.key("more-than"), fields.key("outside"));
    let count = fields.need(sink, "more-than", "more-than = 50");
    let count = count.and_then(|v| value::count(sink, v, &count_key));
    let outside = fields.take("outside").and_then(|v| value::boolean(sink, v, &outside_key));
    fields.finish(sink);
    let test = |n| match outside {
        Some(true) => Test::RecipientsOutside(n),
        _ => Test::Message(MessageQuery::RecipientsMoreThan(n)),
    };
    count.map(test)
}

/// Notes a table that asks nothing, before unknown keys are noted.
fn nothing_asked(sink: &mut Sink<'_>, fields: &Fields<'_, '_>, example: &str) {
    if fields.is_empty() {
        let remedy = format!("add {example}");
        sink.error(&fields.span, &fields.path, "nothing is asked for".to_owned(), &remedy);
    }
}
