//! Expressions: one prefilter over text as it is, then each candidate by itself.
//!
//! In: expressions of the `regex` crate; then text. Out: the number of matches per entry. The work
//! is linear in the text for each expression that is a candidate.
//!
//! The prefilter holds all expressions without their assertions (`^`, `\b`, …), which matches
//! whatever they match, and keeps it a plain automaton: with `\b` in it, the set would fall back to
//! a search a hundred times slower on any text that is not ASCII. It sees the text in windows, so
//! that a stop is noticed.
//!
//! Deviation: in texts longer than a window, a match longer than [`OVERLAP`] may be missed.

use imss_core::limits::StopFlag;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Hir, HirKind, Repetition};

use super::Stopped;
use super::tally::Hits;
use crate::mistake::Mistake;

/// Octets that one expression may compile to.
const MAX_EXPRESSION: usize = 4 << 20;
/// Octets that all expressions together may compile to. What is larger would also be slow.
const MAX_SET: usize = 64 << 20;
/// Octets of the states that are built while searching. With the crate's default of 2 MiB, 2,000
/// expressions took 2.9 s for 87 KB instead of 2 ms.
const MAX_STATES: usize = 64 << 20;
/// Octets searched between two looks at the stop flag.
const WINDOW: usize = 64 << 10;
/// Octets that a window shares with the one before.
const OVERLAP: usize = 16 << 10;

/// Compiles one expression, matching any case.
pub(crate) fn compile(place: &str, pattern: &str) -> Result<Regex, Mistake> {
    let mut builder = RegexBuilder::new(pattern);
    builder.case_insensitive(true).size_limit(MAX_EXPRESSION);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            Mistake::TooLarge { place: place.to_owned(), pattern: pattern.to_owned() }
        }
        error => {
            let reason = error.to_string();
            // The first lines draw the expression; the last one says what is wrong.
            let reason = reason.lines().next_back().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason).to_owned();
            Mistake::Syntax { place: place.to_owned(), pattern: pattern.to_owned(), reason }
        }
    })
}

/// All expressions of a plan, compiled.
pub(super) struct Expressions {
    prefilter: RegexSet,
    expressions: Vec<(usize, Regex)>,
}

/// Expressions being collected.
#[derive(Default)]
pub(super) struct Builder {
    relaxed: Vec<String>,
    expressions: Vec<(usize, Regex)>,
}

impl Builder {
    /// Adds the expression of entry number `entry`.
    pub(super) fn expression(
        &mut self,
        place: &str,
        pattern: &str,
        entry: usize,
    ) -> Result<(), Mistake> {
        let regex = compile(place, pattern)?;
        let parsed = ParserBuilder::new().case_insensitive(true).build().parse(pattern);
        let hir = parsed.map_err(|error| Mistake::Syntax {
            place: place.to_owned(),
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        self.relaxed.push(relaxed(hir).to_string());
        self.expressions.push((entry, regex));
        Ok(())
    }

    /// Compiles the prefilter.
    pub(super) fn build(self) -> Result<Expressions, Mistake> {
        let mut builder = RegexSetBuilder::new(&self.relaxed);
        builder.size_limit(MAX_SET).dfa_size_limit(MAX_STATES);
        let prefilter = builder.build().map_err(|error| Mistake::SetTooLarge {
            what: "expressions",
            reason: error.to_string(),
        })?;
        Ok(Expressions { prefilter, expressions: self.expressions })
    }
}

/// The same expression with every assertion true. Parsing bounds its depth.
fn relaxed(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(relaxed(*sub)) })
        }
        HirKind::Capture(Capture { sub, .. }) => relaxed(*sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(relaxed).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(relaxed).collect()),
    }
}

impl Expressions {
    /// Adds what matches in `text` to `hits`.
    pub(super) fn search(
        &self,
        text: &str,
        hits: &mut Hits<'_>,
        stop: &StopFlag,
    ) -> Result<(), Stopped> {
        if self.expressions.is_empty() {
            return Ok(());
        }
        for (candidate, from) in self.candidates(text, stop)?.into_iter().enumerate() {
            let (Some(from), Some((entry, regex))) = (from, self.expressions.get(candidate)) else {
                continue;
            };
            if hits.counts(*entry) {
                let count = count(regex, text, from, hits.limit(*entry), stop)?;
                if count > 0 {
                    hits.add_expression(*entry, count);
                }
            }
        }
        Ok(())
    }

    /// For each expression the start of the first window in which it may match.
    fn candidates(&self, text: &str, stop: &StopFlag) -> Result<Vec<Option<usize>>, Stopped> {
        let mut first = vec![None; self.expressions.len()];
        let mut start = 0_usize;
        loop {
            if stop.is_stopped() {
                return Err(Stopped);
            }
            let end = text.ceil_char_boundary(start.saturating_add(WINDOW));
            let window = text.get(start..end).unwrap_or_default();
            for candidate in self.prefilter.matches(window) {
                if let Some(place) = first.get_mut(candidate) {
                    *place = place.or(Some(start));
                }
            }
            if end >= text.len() {
                return Ok(first);
            }
            start = text.floor_char_boundary(end.saturating_sub(OVERLAP));
        }
    }
}

/// Matches of one expression from an offset on, up to `limit`.
fn count(
    regex: &Regex,
    text: &str,
    from: usize,
    limit: u32,
    stop: &StopFlag,
) -> Result<u32, Stopped> {
    let (mut count, mut at) = (0_u32, from);
    while count < limit && at <= text.len() {
        let Some(found) = regex.find_at(text, at) else { break };
        count = count.saturating_add(1);
        // An empty match would be found again at the same place.
        let empty = found.is_empty();
        at = if empty {
            text.ceil_char_boundary(found.end().saturating_add(1))
        } else {
            found.end()
        };
        if empty && found.end() >= text.len() {
            break;
        }
        if stop.is_stopped() {
            return Err(Stopped);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use imss_core::verdict::Score;
    use proptest::prelude::*;

    use super::*;
    use crate::content::keywords::Entry;

    /// Whether an expression is found in a text by the whole search.
    fn found(pattern: &str, text: &str) -> bool {
        let mut builder = Builder::default();
        builder.expression("test", pattern, 0).unwrap();
        let entries = [Entry { label: String::new(), score: Score::ZERO, max_count: 1 }];
        let mut hits = Hits::new(&entries, &[true]);
        let expressions = builder.build().unwrap();
        assert!(expressions.search(text, &mut hits, &StopFlag::new()).is_ok());
        !hits.counts(0)
    }

    proptest! {
        /// The prefilter never hides a match, and nothing matches that does not match alone.
        #[test]
        fn the_search_agrees_with_the_expression(
            atoms in prop::collection::vec(
                prop::sample::select(&[
                    "a", "B", "[ab]", r"\b", r"\B", "^", "$", "(a|bb)", "a*", "b+?", ".", r"\s",
                    "あ", r"\d{2}", "(?:^a|b$)", "(?m:^)", r"\z",
                ][..]),
                0..6,
            ),
            words in prop::collection::vec(
                prop::sample::select(&["a", "A", "b", " ", "あ", "7", "\n", "x"][..]),
                0..12,
            ),
            filler in prop::sample::select(&[0, 1, WINDOW - 3, WINDOW, 2 * WINDOW][..]),
        ) {
            let pattern = atoms.concat();
            let text = "x".repeat(filler) + &words.concat();
            let alone = compile("test", &pattern).unwrap().is_match(&text);
            prop_assert_eq!(found(&pattern, &text), alone, "{}", pattern);
        }
    }

    #[test]
    fn a_stop_is_noticed() {
        let mut builder = Builder::default();
        builder.expression("test", "never", 0).unwrap();
        let entries = [Entry { label: String::new(), score: Score::ZERO, max_count: 1 }];
        let stop = StopFlag::new();
        stop.stop();
        let mut hits = Hits::new(&entries, &[true]);
        assert!(builder.build().unwrap().search("text", &mut hits, &stop).is_err());
    }
}
