//! Counts hits and turns them into points.
//!
//! In: what was hit in each text. Out: findings, once the sum over all texts of a query's places
//! reaches the threshold. An entry counts at most its `max_count` in the whole message.
//!
//! Points of a list decide whether the list matches. They are not points of spam, so the findings
//! themselves add nothing to the message's score; their detail shows the sum.

use std::collections::BTreeMap;

use imss_core::finding::{Evidence, Finding, FindingKind, View as Seen};
use imss_core::ids::EntityId;
use imss_core::plan::Place;
use imss_core::verdict::Score;

use super::texts::View;
use super::{ENGINE, Entry, KeywordSearch};
use crate::report;

/// Entries hit in one text.
pub(super) struct Hits<'a> {
    entries: &'a [Entry],
    wanted: &'a [bool],
    hits: BTreeMap<usize, Hit>,
}

/// One entry's hits in one text.
struct Hit {
    count: u32,
    /// Where the last one ended.
    end: usize,
    /// The first one, in folded text.
    evidence: Option<Evidence>,
}

impl<'a> Hits<'a> {
    pub(super) fn new(entries: &'a [Entry], wanted: &'a [bool]) -> Self {
        Self { entries, wanted, hits: BTreeMap::new() }
    }

    /// Whether one more hit of an entry could still matter.
    pub(super) fn counts(&self, entry: usize) -> bool {
        self.wanted.get(entry) == Some(&true)
            && self.hits.get(&entry).is_none_or(|hit| hit.count < self.limit(entry))
    }

    /// Counts a hit in folded text, unless it overlaps the one before.
    pub(super) fn add_word(&mut self, entry: usize, start: usize, end: usize) {
        let overlaps = self.hits.get(&entry).is_some_and(|hit| start < hit.end);
        if overlaps || !self.counts(entry) {
            return;
        }
        let offset = report::octets(start);
        let length = report::octets(end.saturating_sub(start));
        let evidence = Some(Evidence { view: Seen::Text, offset, length });
        let hit = self.hits.entry(entry).or_insert(Hit { count: 0, end, evidence });
        hit.count = hit.count.saturating_add(1);
        hit.end = end;
    }

    /// Counts hits of an expression. They have no place in folded text.
    pub(super) fn add_expression(&mut self, entry: usize, count: u32) {
        self.hits.insert(entry, Hit { count, end: 0, evidence: None });
    }

    /// Hits that count at most.
    pub(super) fn limit(&self, entry: usize) -> u32 {
        self.entries.get(entry).map_or(0, |entry| entry.max_count)
    }
}

/// One query's account.
pub(super) struct Tally<'a> {
    query: &'a KeywordSearch,
    used: BTreeMap<usize, u32>,
    lines: Vec<Line>,
}

/// What one text contributes.
struct Line {
    entity: EntityId,
    place: Place,
    points: Score,
    counts: Vec<(usize, u32)>,
    evidence: Option<Evidence>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(query: &'a KeywordSearch) -> Self {
        Self { query, used: BTreeMap::new(), lines: Vec::new() }
    }

    /// Books the hits of one text, if it is in one of the query's places.
    pub(super) fn add(&mut self, view: &View<'_>, hits: &Hits<'_>, entries: &[Entry]) {
        let places = &self.query.places;
        // The header section holds the subject: asked for both, it counts once.
        let again = view.place == Place::Subject && places.contains(&Place::Header);
        if again || !places.contains(&view.place) {
            return;
        }
        let mut line = Line {
            entity: view.entity,
            place: view.place,
            points: Score::ZERO,
            counts: Vec::new(),
            evidence: None,
        };
        for (&entry, hit) in hits.hits.range(self.query.entries.clone()) {
            let Some(known) = entries.get(entry) else { continue };
            let used = self.used.entry(entry).or_default();
            let count = hit.count.min(known.max_count.saturating_sub(*used));
            if count == 0 {
                continue;
            }
            *used = used.saturating_add(count);
            line.points = line.points + times(known.score, count);
            line.counts.push((entry, count));
            line.evidence = line.evidence.or(hit.evidence);
        }
        if !line.counts.is_empty() {
            self.lines.push(line);
        }
    }

    /// One finding per entity, if the points suffice.
    pub(super) fn into_findings(self, entries: &[Entry]) -> Vec<Finding> {
        let sum: Score = self.lines.iter().map(|line| line.points).sum();
        if sum < self.query.list.threshold {
            return Vec::new();
        }
        let mut findings: Vec<Finding> = Vec::new();
        for line in &self.lines {
            let detail = line.detail(entries, sum);
            match findings.last_mut().filter(|last| last.entity == line.entity) {
                Some(last) => last.detail = report::shortened(&last.detail, &detail),
                None => findings.push(self.finding(line, detail)),
            }
        }
        findings
    }

    fn finding(&self, line: &Line, detail: String) -> Finding {
        let in_content = line.entity != EntityId::MESSAGE;
        Finding {
            kind: FindingKind::Keywords,
            name: self.query.list.name.clone(),
            engine: ENGINE.into(),
            entity: line.entity,
            detail,
            score: Score::ZERO,
            query: Some(self.query.id),
            evidence: line.evidence.filter(|_| in_content),
        }
    }
}

impl Line {
    /// Such as `body: "confidential" ×2; 10 of 25 points`.
    fn detail(&self, entries: &[Entry], sum: Score) -> String {
        let words: Vec<_> = self
            .counts
            .iter()
            .filter_map(|(entry, count)| {
                let label = &entries.get(*entry)?.label;
                Some(format!("\"{label}\" ×{count}"))
            })
            .collect();
        let place = match self.place {
            Place::Subject => "subject",
            Place::Header => "header",
            Place::Body => "body",
            Place::Attachments => "attachment",
        };
        let text = format!("{place}: {} of {sum} points: {}", self.points, words.join(", "));
        report::escaped(&text)
    }
}

fn times(score: Score, count: u32) -> Score {
    Score::hundredths(score.as_hundredths().saturating_mul(i64::from(count)))
}
