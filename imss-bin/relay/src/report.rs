//! What is said about one judged message, as JSON: the same shape wherever it is asked for.
//!
//! In: decisions and findings. Out: [`Report`]; its fields and their order are the JSON of
//! `imss scan --jsonl` and of `POST /v1/scan`.

use imss_core::finding::{FindingKind, Findings, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::verdict::{Score, Verdict};
use imss_policy::{Decisions, Outcome};
use serde::Serialize;

use crate::record::VerdictRecord;

/// One scanned message.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was scanned, for the one who asked.
    pub path: String,
    /// The message's class.
    pub verdict: Verdict,
    /// The final action for the first recipient.
    pub action: &'static str,
    /// The sum of all points.
    pub score: Score,
    /// What was found.
    pub findings: Vec<Found>,
    /// What was not looked at.
    pub gaps: Vec<NotLookedAt>,
    /// The rules that did something for some recipient, each once, in order.
    pub rules: Vec<String>,
    /// How much is inside.
    pub entities: usize,
    /// Microseconds from the complete message to the decision.
    pub elapsed_us: u64,
}

/// One finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What sort of fact.
    pub kind: FindingKind,
    /// Its name.
    pub name: String,
    /// Who found it.
    pub engine: String,
    /// Where, for people.
    pub entity: String,
    /// More about it.
    pub detail: String,
    /// Its points.
    pub score: Score,
}

/// Something that was not looked at.
#[derive(Debug, Serialize)]
pub struct NotLookedAt {
    /// Why, in a word.
    pub reason: &'static str,
    /// Where, for people.
    pub entity: String,
    /// Who could not look.
    pub engine: String,
    /// More about it.
    pub detail: String,
}

impl Report {
    /// A report that calls an entity what `place` says. How much was inside and how long it took
    /// are still zero.
    #[must_use]
    pub fn new(
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
            detail: why(gap),
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

    /// The report that follows from a verdict record.
    #[must_use]
    pub fn of_record(path: String, record: &VerdictRecord) -> Self {
        let place = |entity: EntityId| {
            let known = record.entities.iter().find(|known| known.id == entity);
            known.map_or_else(|| "message".to_owned(), |known| known.path.clone())
        };
        Self {
            entities: record.entities.len(),
            elapsed_us: record.elapsed_us,
            ..Self::new(path, &record.decisions, &record.findings, &place)
        }
    }

    /// Nothing was found, and everything was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict == Verdict::Clean
    }
}

/// What a gap says, with the limit that was reached.
fn why(gap: &Gap) -> String {
    let GapReason::Limit(limit) = gap.reason else { return gap.detail.clone() };
    let limit = format!("{limit} limit");
    if gap.detail.contains(&limit) {
        gap.detail.clone()
    } else if gap.detail.is_empty() {
        limit
    } else {
        format!("{limit}: {}", gap.detail)
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
