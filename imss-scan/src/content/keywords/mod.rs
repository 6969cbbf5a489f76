//! Finds the words and expressions of all keyword lists, each text searched once for all of them.
//!
//! In: the plan's keyword lists; then per message its [texts]. Out: for each query whose
//! points reach its list's threshold, one finding per entity that contributes.
//!
//! [`words`] is one automaton over folded text, [`expressions`] one prefilter over text as it is,
//! [`tally`] turns what they hit into points. Text that was cut is a gap, and so is time that ran
//! out.

use std::collections::BTreeSet;
use std::sync::Arc;

use imss_core::finding::{Gap, GapReason};
use imss_core::ids::QueryId;
use imss_core::limits::{Limit, StopFlag};
use imss_core::plan::{KeywordEntry, KeywordList, Place, Query, ScanPlan, Selection};
use imss_core::verdict::Score;

use crate::answer::Answers;
use crate::engine::{Engine, Input, Outcome};
use crate::mistake::Mistake;
use crate::report;
use expressions::Expressions;
use tally::{Hits, Tally};
use words::Words;

pub(crate) mod expressions;
mod tally;
mod texts;
mod words;

const ENGINE: &str = "keywords";

/// All keyword queries of a plan.
pub(crate) struct KeywordEngine {
    queries: Vec<KeywordSearch>,
    entries: Vec<Entry>,
    words: Words,
    expressions: Expressions,
}

/// One query.
struct KeywordSearch {
    id: QueryId,
    list: Arc<KeywordList>,
    /// Where the list's entries are in [`KeywordEngine::entries`].
    entries: std::ops::Range<usize>,
    places: BTreeSet<Place>,
}

/// What one entry of a list is worth.
struct Entry {
    /// As the administrator wrote it.
    label: String,
    score: Score,
    max_count: u32,
}

/// The work stopped because time was up.
struct Stopped;

impl KeywordEngine {
    /// `None` if the plan has no keyword query. Adds what does not compile to `mistakes`.
    pub(crate) fn new(plan: &ScanPlan, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut builder = Builder::default();
        for (id, query) in plan.queries() {
            if let Query::Keywords(query) = query {
                let entries = builder.list(&query.list, mistakes);
                let (list, places) = (Arc::clone(&query.list), query.places.clone());
                builder.queries.push(KeywordSearch { id, list, entries, places });
            }
        }
        if builder.queries.is_empty() {
            return None;
        }
        let words = builder.words.build().map_err(|mistake| mistakes.push(mistake)).ok()?;
        let expressions =
            builder.expressions.build().map_err(|mistake| mistakes.push(mistake)).ok()?;
        Some(Self { queries: builder.queries, entries: builder.entries, words, expressions })
    }

    fn search<'a>(
        &'a self,
        view: &texts::View<'_>,
        wanted: &'a [bool],
        stop: &StopFlag,
    ) -> Result<Hits<'a>, Stopped> {
        let mut hits = Hits::new(&self.entries, wanted);
        self.words.search(&view.folded, &mut hits, stop)?;
        self.expressions.search(&view.plain, &mut hits, stop)?;
        Ok(hits)
    }
}

/// Lists being collected.
#[derive(Default)]
struct Builder {
    queries: Vec<KeywordSearch>,
    entries: Vec<Entry>,
    words: words::Builder,
    expressions: expressions::Builder,
}

impl Builder {
    /// Adds a list, or finds it again.
    fn list(
        &mut self,
        list: &Arc<KeywordList>,
        mistakes: &mut Vec<Mistake>,
    ) -> std::ops::Range<usize> {
        if let Some(known) = self.queries.iter().find(|query| query.list == *list) {
            return known.entries.clone();
        }
        let start = self.entries.len();
        for (number, entry) in (1_usize..).zip(&list.entries) {
            let place = format!("keywords `{}`, entry {number}", list.name);
            if let Err(mistake) = self.entry(&place, entry) {
                mistakes.push(mistake);
            }
        }
        start..self.entries.len()
    }

    fn entry(&mut self, place: &str, entry: &KeywordEntry) -> Result<(), Mistake> {
        let number = self.entries.len();
        let (label, score, max_count) = match entry {
            KeywordEntry::Text { text, score, max_count } => {
                self.words.word(place, text, number)?;
                (text.clone(), *score, *max_count)
            }
            KeywordEntry::Near { words, within, score } => {
                self.words.near(place, words, *within, number)?;
                (words.join(" … "), *score, 1)
            }
            KeywordEntry::Regex { pattern, score, max_count } => {
                self.expressions.expression(place, pattern, number)?;
                (format!("/{pattern}/"), *score, *max_count)
            }
        };
        self.entries.push(Entry { label, score, max_count: max_count.max(1) });
        Ok(())
    }
}

impl Engine for KeywordEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.queries.iter().any(|query| wanted.contains(query.id))
    }

    fn scan(&self, input: &Input<'_>, _answers: &Answers) -> Outcome {
        let queries: Vec<_> =
            self.queries.iter().filter(|query| input.wanted.contains(query.id)).collect();
        let places: BTreeSet<Place> =
            queries.iter().flat_map(|query| query.places.iter().copied()).collect();
        let mut wanted = vec![false; self.entries.len()];
        for query in &queries {
            if let Some(entries) = wanted.get_mut(query.entries.clone()) {
                entries.fill(true);
            }
        }
        let mut tallies: Vec<_> = queries.iter().map(|query| Tally::new(query)).collect();
        let mut gaps = Vec::new();
        for view in texts::of(input, &places) {
            if view.truncated {
                gaps.push(truncated(&view));
            }
            match self.search(&view, &wanted, input.stop) {
                Ok(hits) => {
                    for tally in &mut tallies {
                        tally.add(&view, &hits, &self.entries);
                    }
                }
                Err(Stopped) => {
                    gaps.push(report::time_gap(ENGINE, view.entity));
                    break;
                }
            }
        }
        let findings = tallies.into_iter().flat_map(|tally| tally.into_findings(&self.entries));
        Outcome::of(findings.collect(), gaps)
    }
}

fn truncated(view: &texts::View<'_>) -> Gap {
    Gap {
        reason: GapReason::Limit(Limit::Text),
        entity: view.entity,
        engine: ENGINE.into(),
        detail: "only the beginning of the text was searched".to_owned(),
    }
}
