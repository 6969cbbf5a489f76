//! `[unknown]` and `[[rule]]`.

use std::collections::{BTreeMap, HashMap};

use toml::de::DeValue;

use super::names::{Kind, Names};
use super::reader::{Fields, Sink, Value, wrong_type};
use super::{actions, conditions, objects, value};
use crate::model::{Action, Condition, Direction, Place, Reason, Route, Rule, State, Test, Who};

const STATES: [(&str, State); 3] =
    [("on", State::On), ("off", State::Off), ("shadow", State::Shadow)];
const DIRECTIONS: [(&str, Direction); 3] = [
    ("incoming", Direction::Incoming),
    ("outgoing", Direction::Outgoing),
    ("internal", Direction::Internal),
];

/// The answers to each reason why something was not looked at; a missing one is the safe default.
pub(super) fn unknown(
    sink: &mut Sink<'_>,
    names: &mut Names,
    top: &mut Fields<'_, '_>,
) -> BTreeMap<Reason, Vec<Action>> {
    let mut answers: BTreeMap<Reason, Vec<Action>> =
        Reason::ALL.into_iter().map(|reason| (reason, default_answer(reason))).collect();
    let Some(table) = top.take("unknown") else { return answers };
    let Some(mut fields) = Fields::of(sink, table, "unknown") else { return answers };
    for reason in Reason::ALL {
        let path = fields.key(reason.as_str());
        let Some(found) = fields.take(reason.as_str()) else { continue };
        let answer = actions::read(sink, names, found, &path);
        if let Some(word) = answer.iter().find_map(Action::on_attachments) {
            let why =
                format!("`{word}` cannot answer this: what was not looked at has no known place");
            let remedy = "use `quarantine`, or a rule with when = { attachment = … }";
            sink.error(&found.span(), &path, why, remedy);
        }
        answers.insert(reason, answer);
    }
    fields.finish(sink);
    answers
}

/// Safe without being asked: nothing that was not looked at passes unmarked, and a fault of ours
/// delays mail, never loses it.
fn default_answer(reason: Reason) -> Vec<Action> {
    match reason {
        Reason::Encrypted => vec![Action::TagSubject("[encrypted]".to_owned())],
        Reason::Unsupported | Reason::Lookup => vec![Action::Deliver],
        Reason::Engine => vec![Action::Defer],
        Reason::Limit | Reason::Malformed | Reason::Ambiguous | Reason::Crash => {
            vec![Action::Quarantine(super::names::UNSCANNABLE.to_owned())]
        }
    }
}

/// The rules, in order.
pub(super) fn read(sink: &mut Sink<'_>, names: &mut Names, top: &mut Fields<'_, '_>) -> Vec<Rule> {
    let Some(list) = top.take("rule") else { return Vec::new() };
    let DeValue::Array(list) = list.get_ref() else {
        wrong_type(sink, list, "rule", "rules, each below its own [[rule]]", list.get_ref());
        return Vec::new();
    };
    let mut rules = Vec::with_capacity(list.len());
    let mut lines: HashMap<String, u32> = HashMap::with_capacity(list.len());
    for (index, found) in list.iter().enumerate() {
        let path = format!("rule[{index}]");
        let Some(rule) = rule(sink, names, found, &path) else { continue };
        if let Some((name, span)) = rule.named
            && let Some(first) = lines.insert(name.clone(), rule.rule.line)
        {
            let reason =
                format!("the name `{}` is taken by the rule in line {first}", name.escape_debug());
            sink.error(&span, &format!("{path}.name"), reason, "give each rule a name of its own");
        }
        rules.push(rule.rule);
    }
    rules
}

struct Found {
    rule: Rule,
    named: Option<(String, std::ops::Range<usize>)>,
}

fn rule(sink: &mut Sink<'_>, names: &mut Names, found: &Value<'_>, path: &str) -> Option<Found> {
    let mut fields = Fields::of(sink, found, path)?;
    let line = u32::try_from(sink.line(found.span().start)).unwrap_or(u32::MAX);
    let name_key = fields.key("name");
    let named = fields
        .need(sink, "name", "name = \"what this rule is for\"")
        .and_then(|v| value::line(sink, v, &name_key).map(|name| (name.to_owned(), v.span())));
    let route_key = fields.key("route");
    let route = fields.take("route").map(|v| route(sink, names, v, &route_key));
    let when_key = fields.key("when");
    let when = fields.take("when");
    let condition = when.map(|v| conditions::read(sink, names, v, &when_key));
    let condition = condition.unwrap_or(Condition::ALWAYS);
    let then_key = fields.key("then");
    let then = fields.need(sink, "then", "then = [{ quarantine = \"…\" }], or [\"deliver\"]");
    let actions = then.map(|v| actions::read(sink, names, v, &then_key)).unwrap_or_default();
    if let Some(then) = then
        && let Some(word) = actions.iter().find_map(Action::on_attachments)
        && !names_attachments(&condition)
    {
        let reason = format!("`{word}` has no attachment to act on: no condition names one");
        let remedy = "add when.attachment, when.malware, or keywords with in = [\"attachments\"]";
        sink.error(&then.span(), &then_key, reason, remedy);
    }
    let state_key = fields.key("state");
    let state = fields.take("state").and_then(|v| value::word(sink, v, &state_key, &STATES));
    fields.finish(sink);
    let rule = Rule {
        name: named.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
        line,
        route: route.unwrap_or_default(),
        when: condition,
        then: actions,
        state: state.unwrap_or_default(),
    };
    Some(Found { rule, named })
}

/// Whether a match can name an attachment.
fn names_attachments(condition: &Condition) -> bool {
    match condition {
        Condition::All(inner) | Condition::Any(inner) => inner.iter().any(names_attachments),
        Condition::Not(_) => false,
        Condition::Test(Test::Keywords { places, .. }) => places.contains(&Place::Attachments),
        Condition::Test(test) => matches!(test, Test::Attachment(_) | Test::Malware(_)),
    }
}

fn route(sink: &mut Sink<'_>, names: &mut Names, found: &Value<'_>, path: &str) -> Route {
    let Some(mut fields) = Fields::of(sink, found, path) else { return Route::default() };
    let key = fields.key("direction");
    let direction = fields.take("direction").map(|v| value::words(sink, v, &key, &DIRECTIONS));
    let mut people = |sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, key: &'static str| {
        let path = fields.key(key);
        let list = fields.take(key);
        list.map(|list| {
            value::one_or_more(sink, list, &path, |sink, found, path| who(sink, names, found, path))
        })
        .unwrap_or_default()
    };
    let route = Route {
        direction: direction.unwrap_or_default().into_iter().collect(),
        from: people(sink, &mut fields, "from"),
        to: people(sink, &mut fields, "to"),
        except_from: people(sink, &mut fields, "except-from"),
        except_to: people(sink, &mut fields, "except-to"),
    };
    fields.finish(sink);
    route
}

/// An address pattern has an `@` or is `<>`; anything else names an object.
fn who(sink: &mut Sink<'_>, names: &mut Names, found: &Value<'_>, path: &str) -> Option<Who> {
    let text = value::text(sink, found, path)?;
    if text.contains('@') || text == "<>" {
        return objects::address(sink, found, path).map(Who::Pattern);
    }
    names.resolve(sink, Kind::Addresses, found, path).map(Who::Object)
}
