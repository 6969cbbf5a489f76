//! What is said about one input, as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use imss_core::entity::Entities;
use imss_core::finding::{FindingKind, Findings};
use imss_core::ids::EntityId;
use imss_core::verdict::{Score, Verdict};
use imss_policy::{Decisions, Outcome};
use serde::Serialize;

/// Findings, and gaps, that text tells one by one.
const MAX_SHOWN: usize = 20;

/// One scanned message. The fields and their order are the JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) path: String,
    pub(crate) verdict: Verdict,
    pub(crate) action: &'static str,
    pub(crate) score: Score,
    findings: Vec<Found>,
    gaps: Vec<NotLookedAt>,
    rules: Vec<String>,
    entities: usize,
    elapsed_us: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Found {
    kind: FindingKind,
    name: String,
    engine: String,
    entity: String,
    detail: String,
    score: Score,
}

#[derive(Debug, Serialize)]
struct NotLookedAt {
    reason: &'static str,
    entity: String,
    engine: String,
    detail: String,
}

/// An input that could not be read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable {
    pub(crate) path: String,
    pub(crate) error: String,
}

impl Report {
    pub(crate) fn new(
        path: String,
        decisions: &Decisions,
        findings: &Findings,
        entities: &Entities,
        elapsed: Duration,
    ) -> Self {
        let place = |entity: EntityId| entities.path(entity);
        Self {
            entities: entities.len(),
            elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            ..Self::without_entities(path, decisions, findings, &place)
        }
    }

    /// A message whose scan crashed or did not end.
    pub(crate) fn unscanned(path: String, decisions: &Decisions, findings: &Findings) -> Self {
        Self::without_entities(path, decisions, findings, &|_| "message".to_owned())
    }

    fn without_entities(
        path: String,
        decisions: &Decisions,
        findings: &Findings,
        place: &dyn Fn(EntityId) -> String,
    ) -> Self {
        let mut found: Vec<Found> = Vec::new();
        for finding in &findings.found {
            let shown = Found {
                kind: finding.kind,
                name: finding.name.clone(),
                engine: finding.engine.clone().into_owned(),
                entity: place(finding.entity),
                detail: finding.detail.clone(),
                score: finding.score,
            };
            // Two rules may ask for the same fact. Points are never left out: they must add up.
            if shown.score != Score::ZERO || !found.contains(&shown) {
                found.push(shown);
            }
        }
        let gaps = findings.gaps.iter().map(|gap| NotLookedAt {
            reason: gap.reason.as_str(),
            entity: place(gap.entity),
            engine: gap.engine.clone().into_owned(),
            detail: gap.detail.clone(),
        });
        Self {
            path,
            verdict: decisions.verdict,
            action: decisions.recipients.first().map_or("deliver", |first| first.action.as_str()),
            score: decisions.score,
            findings: found,
            gaps: gaps.collect(),
            rules: acted(decisions),
            entities: 0,
            elapsed_us: 0,
        }
    }

    /// Nothing was found, and everything was looked at.
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict == Verdict::Clean
    }

    /// Lines for people, with colours that the stream drops where nobody sees them.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let style = style_of(self.verdict);
        let _ = write!(text, "{}: {style}{}{style:#}", printable(&self.path), self.verdict);
        if !self.is_clean() || self.action != "deliver" {
            let _ = write!(text, " → {}", self.action);
        }
        if self.score != Score::ZERO {
            let _ = write!(text, ", score {}", self.score);
        }
        text.push('\n');
        for found in self.findings.iter().take(MAX_SHOWN) {
            let kind = serde_json::to_value(found.kind).ok();
            let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("finding");
            let _ = write!(text, "  {kind} {} in {} ({})", found.name, found.entity, found.engine);
            if !found.detail.is_empty() {
                let _ = write!(text, ": {}", found.detail);
            }
            if found.score != Score::ZERO {
                let _ = write!(text, " [{}]", found.score);
            }
            text.push('\n');
        }
        let more = self.findings.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            let _ = writeln!(text, "  {more} more findings; --jsonl shows all");
        }
        for gap in self.gaps.iter().take(MAX_SHOWN) {
            let _ = write!(text, "  not scanned, {}: {} ({})", gap.reason, gap.entity, gap.engine);
            if !gap.detail.is_empty() {
                let _ = write!(text, ": {}", gap.detail);
            }
            text.push('\n');
        }
        let more = self.gaps.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            let _ = writeln!(text, "  not scanned: {more} more; --jsonl shows all");
        }
        if !self.rules.is_empty() {
            let _ = writeln!(text, "  rules: {}", self.rules.join(", "));
        }
        text
    }
}

/// The rules that did something for some recipient, each once, in order.
fn acted(decisions: &Decisions) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for step in decisions.recipients.iter().flat_map(|decision| decision.trail.iter()) {
        let matched = step.outcome == Outcome::Matched && !step.did.is_empty();
        if matched && !rules.iter().any(|known| **known == *step.rule) {
            rules.push(step.rule.to_string());
        }
    }
    rules
}

fn style_of(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Clean => AnsiColor::Green,
        Verdict::Graymail | Verdict::Policy | Verdict::Unscannable => AnsiColor::Yellow,
        Verdict::Spam | Verdict::Suspicious | Verdict::Phish | Verdict::Infected => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// A path that cannot move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
        .collect()
}
