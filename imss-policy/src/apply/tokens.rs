//! Tokens in texts: `%SENDER%` → what it stands for.
//!
//! What comes from a message is stripped of control characters and cut, so that it cannot start a
//! header field, a line or an escape sequence.

use imss_core::entity::Entities;
use imss_core::envelope::Envelope;
use imss_core::ids::EntityId;

use super::Stamp;
use crate::decision::Decisions;

/// The words between `%` signs that texts may have.
pub(crate) const TOKENS: [&str; 13] = [
    "SENDER",
    "RECIPIENTS",
    "SUBJECT",
    "FILENAME",
    "RULENAME",
    "VERDICT",
    "SCORE",
    "ACTION",
    "QUEUEID",
    "DATE",
    "CLIENT_IP",
    "HOST",
    "RBL_CHECK_DOMAIN",
];

/// Characters of one value; a subject of a megabyte says no more than its beginning.
const MAX_VALUE_CHARS: usize = 500;
/// Recipients listed by name.
const MAX_LISTED: usize = 20;

/// What the tokens of one message stand for.
pub(super) struct Tokens<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) entities: Option<&'a Entities>,
    pub(super) decisions: &'a Decisions,
    pub(super) stamp: &'a Stamp,
    pub(super) subject: String,
}

/// What the tokens of one text stand for.
pub(super) struct Context<'a> {
    pub(super) rule: &'a str,
    pub(super) action: &'a str,
    /// What the rule matched.
    pub(super) matched: &'a [EntityId],
    /// The recipients to name, as places in the envelope.
    pub(super) recipients: &'a [usize],
}

impl Tokens<'_> {
    /// `text` with every token replaced. What is no token stays.
    pub(super) fn expand(&self, text: &str, context: &Context<'_>) -> String {
        self.expand_with(text, context, |value| value)
    }

    /// The same in markup: no value can be markup.
    pub(super) fn expand_markup(&self, html: &str, context: &Context<'_>) -> String {
        let escape = |value: String| {
            let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            value.replace('"', "&quot;").replace('\'', "&#39;")
        };
        self.expand_with(html, context, escape)
    }

    fn expand_with(
        &self,
        text: &str,
        context: &Context<'_>,
        write: impl Fn(String) -> String,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            let token = after.split_once('%').filter(|(word, _)| TOKENS.contains(word));
            match token {
                Some((word, after)) => {
                    out.push_str(&write(plain(&self.value(word, context))));
                    rest = after;
                }
                None => {
                    out.push('%');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, word: &str, context: &Context<'_>) -> String {
        match word {
            "SENDER" => format!("<{}>", self.envelope.reverse_path),
            "RECIPIENTS" => self.recipients(context.recipients),
            "SUBJECT" => self.subject.clone(),
            "FILENAME" => self.names(context.matched),
            "RULENAME" => context.rule.to_owned(),
            "VERDICT" => self.decisions.verdict.to_string(),
            "SCORE" => self.decisions.score.to_string(),
            "ACTION" => context.action.to_owned(),
            "QUEUEID" => self.stamp.queue_id.clone(),
            "DATE" => self.stamp.date.clone(),
            "CLIENT_IP" => self.envelope.client.ip.to_canonical().to_string(),
            "HOST" => self.stamp.host.clone(),
            _ => self.decisions.listed_in.clone().unwrap_or_default(),
        }
    }

    fn recipients(&self, places: &[usize]) -> String {
        let paths = places.iter().filter_map(|place| self.envelope.recipients.get(*place));
        let mut names: Vec<String> =
            paths.take(MAX_LISTED).map(|recipient| format!("<{}>", recipient.path)).collect();
        if places.is_empty() {
            names.push("undisclosed recipients".to_owned());
        }
        let more = places.len().saturating_sub(names.len());
        if more > 0 {
            names.push(format!("+{more}"));
        }
        names.join(", ")
    }

    fn names(&self, matched: &[EntityId]) -> String {
        let entities = matched.iter().filter_map(|id| self.entities?.get(*id));
        let mut names: Vec<&str> = Vec::new();
        for entity in entities {
            let name = if entity.name().is_empty() { "(no name)" } else { entity.name() };
            if !names.contains(&name) && names.len() < MAX_LISTED {
                names.push(name);
            }
        }
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    }
}

/// Without control and direction-changing characters, and not endless.
fn plain(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out: String =
        text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).take(MAX_VALUE_CHARS).collect();
    if text.chars().nth(MAX_VALUE_CHARS).is_some() {
        out.push('…');
    }
    out
}
