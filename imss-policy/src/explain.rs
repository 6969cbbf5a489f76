//! Decisions and their trail as text for people.
//!
//! In: what was decided, and the findings it was decided on. Out: lines of text. Values from a
//! message are escaped. Every sentence says what was looked at and which rule acted, so that
//! nobody takes a delivery for a scan that did not happen.

use std::collections::BTreeSet;
use std::fmt::Write;

use imss_core::authentication::AuthResult;
use imss_core::envelope::Envelope;
use imss_core::finding::{Finding, FindingKind, Findings, Gap};
use imss_core::plan::{AttachmentQuery, AuthQuery, MessageQuery, Query};

use crate::decision::{Decision, Decisions, FinalAction, Outcome, TrailStep};
use crate::model::{Reason, State};

/// Recipients named in one line.
const MAX_NAMED: usize = 10;

/// What was decided for each recipient and why, as lines of text.
#[must_use]
pub fn text(decisions: &Decisions, envelope: &Envelope, findings: &Findings) -> String {
    let mut out = String::new();
    let Decisions { verdict, score, policy, .. } = decisions;
    line(&mut out, 0, &format!("verdict {verdict}, score {score}, policy {policy}"));
    points(&mut out, findings);
    let mut told: Vec<&Decision> = Vec::new();
    for decision in &decisions.recipients {
        if told.contains(&decision) {
            continue;
        }
        told.push(decision);
        let equal = decisions.recipients.iter().zip(&envelope.recipients);
        let paths: Vec<String> = equal
            .filter(|(other, _)| *other == decision)
            .map(|(_, recipient)| format!("<{}>", recipient.path))
            .collect();
        let more = paths.len().saturating_sub(MAX_NAMED);
        let mut named = paths.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} others"));
        }
        line(
            &mut out,
            0,
            &format!("{named} ({}): {}", decision.direction.as_str(), sentence(decision)),
        );
        for step in decision.trail.iter() {
            trail_step(&mut out, step, findings);
        }
        if decision.left_out > 0 {
            let count = decision.left_out;
            line(&mut out, 1, &format!("{count} more rules: nothing they ask for was found"));
        }
    }
    out
}

/// What became of a copy and which rule said so, in one sentence.
#[must_use]
pub fn sentence(decision: &Decision) -> String {
    let done = match &decision.action {
        FinalAction::Deliver => "delivered".to_owned(),
        FinalAction::Quarantine { area } => format!("quarantined in \"{area}\""),
        FinalAction::Delete => "deleted".to_owned(),
        FinalAction::Reject { code, text, .. } => format!("rejected with {code} \"{text}\""),
        FinalAction::Bounce { .. } => "returned to the sender".to_owned(),
        FinalAction::Redirect { to } => {
            let to: Vec<String> = to.iter().map(|mailbox| format!("<{mailbox}>")).collect();
            format!("redirected to {}", to.join(", "))
        }
        FinalAction::Hold { reason } if reason.is_empty() => "held in the queue".to_owned(),
        FinalAction::Hold { reason } => format!("held in the queue: {reason}"),
        FinalAction::Defer => "deferred".to_owned(),
    };
    let changed = if decision.changes.is_empty() { "" } else { " with changes" };
    match &decision.rule {
        Some(rule) if rule.starts_with("[unknown]") => {
            format!("{done}{changed}, as the answer to {rule} says")
        }
        Some(rule) => format!("{done}{changed}, as the rule \"{rule}\" says"),
        None => format!("{done}{changed}, after all rules were looked at and none stopped it"),
    }
}

/// A question in the words of the policy.
#[must_use]
pub fn question(query: &Query) -> String {
    match query {
        Query::Malware => "malware".to_owned(),
        Query::Spam => "spam".to_owned(),
        Query::Keywords(words) => {
            let places: Vec<String> =
                words.places.iter().map(|place| format!("{place:?}").to_lowercase()).collect();
            format!("keywords \"{}\" in {}", words.list.name, places.join(", "))
        }
        Query::Attachment(query) => attachment(query),
        Query::Message(query) => message(query),
        Query::DnsList(list) => format!("dns-list \"{}\" ({})", list.name, list.zone),
        Query::Authentication(query) => authentication(query),
        other => format!("{other:?}"),
    }
}

fn authentication(query: &AuthQuery) -> String {
    fn list<T>(key: &str, all: &BTreeSet<T>, word: impl Fn(&T) -> String) -> String {
        format!("{key} {}", all.iter().map(word).collect::<Vec<_>>().join(", "))
    }
    let results = |key: &str, all: &BTreeSet<AuthResult>| list(key, all, ToString::to_string);
    match query {
        AuthQuery::Spf(all) => results("spf", all),
        AuthQuery::Dkim(all) => results("dkim", all),
        AuthQuery::Dmarc(all) => results("dmarc", all),
        AuthQuery::Arc(all) => results("arc", all),
        AuthQuery::DmarcPolicy(all) => list("dmarc-policy", all, |one| one.as_str().to_owned()),
        AuthQuery::Aligned(all) => list("aligned", all, |one| format!("{one:?}").to_lowercase()),
        AuthQuery::SignedBy(all) => list("dkim-signed-by", all, ToString::to_string),
        AuthQuery::UnsignedAuthor(all) => list("dkim-missing-for", all, ToString::to_string),
        AuthQuery::PartlySigned => "dkim-partial".to_owned(),
        AuthQuery::SignatureSeenMoreThan(count) => format!("dkim-seen more-than {count}"),
        other => format!("{other:?}"),
    }
}

fn attachment(query: &AttachmentQuery) -> String {
    let mut parts = Vec::new();
    let list = |key: &str, values: &[String]| format!("{key} {}", values.join(", "));
    if !query.name.is_empty() {
        parts.push(list("name", &query.name));
    }
    if !query.except_name.is_empty() {
        parts.push(list("except-name", &query.except_name));
    }
    if !query.r#type.is_empty() {
        let types: Vec<String> =
            query.r#type.iter().map(|group| format!("{group:?}").to_lowercase()).collect();
        parts.push(list("type", &types));
    }
    if !query.media_type.is_empty() {
        parts.push(list("media-type", &query.media_type));
    }
    if let Some(octets) = query.larger_than {
        parts.push(format!("larger-than {octets}"));
    }
    if let Some(mismatch) = query.mismatch {
        parts.push(format!("mismatch {mismatch}"));
    }
    if !query.inside.is_empty() {
        parts.push("inside containers as well".to_owned());
    }
    format!(
        "attachment {}",
        if parts.is_empty() { "of any kind".to_owned() } else { parts.join("; ") }
    )
}

fn message(query: &MessageQuery) -> String {
    match query {
        MessageQuery::LargerThan(octets) => format!("size larger-than {octets}"),
        MessageQuery::RecipientsMoreThan(count) => format!("recipients more-than {count}"),
        MessageQuery::AttachmentsMoreThan(count) => format!("attachments more-than {count}"),
        MessageQuery::AttachmentBytesMoreThan(octets) => {
            format!("attachments larger-than {octets}")
        }
        MessageQuery::BlankSubject => "subject blank".to_owned(),
        MessageQuery::Field { name, pattern } => format!("field {name} matches {pattern}"),
        other => format!("{other:?}"),
    }
}

/// Where the points come from: they add up to the score.
fn points(out: &mut String, findings: &Findings) {
    for finding in findings.found.iter().filter(|finding| finding.score.as_hundredths() != 0) {
        line(out, 1, &format!("{} points: {}", finding.score, found(finding)));
    }
}

fn trail_step(out: &mut String, step: &TrailStep, findings: &Findings) {
    let name = if step.rule.starts_with("[unknown]") {
        step.rule.to_string()
    } else {
        format!("rule \"{}\" (line {})", step.rule, step.line)
    };
    let did = step.did.join(", ");
    let what = match (step.outcome, step.state) {
        (Outcome::NotMatched, _) => "did not match".to_owned(),
        (Outcome::Unknown, _) => "cannot be told, so it did not act".to_owned(),
        (Outcome::Matched, State::Shadow) => format!("matched, in shadow: would have {did}"),
        (Outcome::Matched, _) if step.rule.starts_with("[unknown]") => did,
        (Outcome::Matched, _) => format!("matched: {did}"),
    };
    line(out, 1, &format!("{name}: {what}"));
    for fact in &step.facts {
        line(out, 2, &format!("because {fact}"));
    }
    let places = |list: &[u32]| -> Vec<usize> {
        list.iter().filter_map(|place| usize::try_from(*place).ok()).collect()
    };
    for finding in places(&step.findings).iter().filter_map(|place| findings.found.get(*place)) {
        line(out, 2, &format!("because of {}", found(finding)));
    }
    for gap in places(&step.gaps).iter().filter_map(|place| findings.gaps.get(*place)) {
        line(out, 2, &not_looked_at(gap));
    }
}

fn found(finding: &Finding) -> String {
    let kind = match finding.kind {
        FindingKind::Malware => "malware",
        FindingKind::MassMailer => "a mass mailer",
        FindingKind::Packed => "a packed program",
        FindingKind::Suspicious => "something suspicious",
        FindingKind::Spyware => "spyware",
        FindingKind::Adware => "adware",
        FindingKind::Dialler => "a dialler",
        FindingKind::Joke => "a joke program",
        FindingKind::HackingTool => "a hacking tool",
        FindingKind::RemoteAccess => "a remote access tool",
        FindingKind::PasswordCracker => "a password cracker",
        FindingKind::OtherGrayware => "grayware",
        FindingKind::Phish => "phishing",
        FindingKind::Spam => "spam",
        FindingKind::Graymail => "graymail",
        FindingKind::Keywords => "keywords",
        FindingKind::Attachment => "an attachment",
        FindingKind::Message => "the message",
        FindingKind::Reputation => "the client's reputation",
        FindingKind::Authentication => "who sent it",
        _ => "a finding",
    };
    let mut text =
        format!("{kind}: {} (by {}, entity {})", finding.name, finding.engine, finding.entity);
    if !finding.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&finding.detail);
    }
    text
}

fn not_looked_at(gap: &Gap) -> String {
    let reason = Reason::from(gap).as_str();
    let mut text = format!("not looked at ({reason}): entity {}, {}", gap.entity, gap.engine);
    if !gap.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&gap.detail);
    }
    text
}

/// One line, indented; control characters are escaped, whoever wrote them.
fn line(out: &mut String, depth: usize, text: &str) {
    let indent = "  ".repeat(depth);
    let clean: String = text
        .chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{indent}{clean}");
}
