//! The text of a document in one string, with what kind of text each part is.
//!
//! In: pieces in reading order. Out: runs of one kind, or all text, a piece a line. A table may have
//! a million cells, so a piece costs no more than its octets unless the kind changes.

use serde::{Deserialize, Serialize};

use super::TextKind;

/// What a run costs besides its text, in octets.
const RUN: usize = size_of::<(TextKind, usize)>();

/// Text in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// Every piece with a line end after it.
    all: String,
    /// For each run of pieces of one kind where its last line end is.
    ends: Vec<(TextKind, usize)>,
}

impl Texts {
    /// Adds a piece at the end, as a line of its own. An empty one adds nothing.
    pub fn push(&mut self, kind: TextKind, text: &str) {
        if text.is_empty() {
            return;
        }
        self.all.push_str(text);
        let end = self.all.len();
        self.all.push('\n');
        match self.ends.last_mut() {
            Some((known, last)) if *known == kind => *last = end,
            _ => self.ends.push((kind, end)),
        }
    }

    /// Gives back room that nothing needs.
    pub fn shrink_to_fit(&mut self) {
        self.all.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Runs of pieces of one kind, with a line end between two pieces.
    pub fn iter(&self) -> impl Iterator<Item = (TextKind, &str)> {
        let mut start = 0_usize;
        self.ends.iter().map(move |&(kind, end)| {
            let text = self.all.get(start..end).unwrap_or_default();
            start = end.saturating_add(1);
            (kind, text)
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Octets that it takes to keep.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.all.len().saturating_add(self.ends.len().saturating_mul(RUN))
    }

    /// All of it, a piece a line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_kind_are_one_run() {
        let mut texts = Texts::default();
        assert!(texts.is_empty());
        let pieces = [
            (TextKind::Shown, "a\nb"),
            (TextKind::Formula, ""),
            (TextKind::Shown, "日"),
            (TextKind::Formula, "c"),
        ];
        pieces.iter().for_each(|(kind, text)| texts.push(*kind, text));
        let runs: Vec<_> = texts.iter().collect();
        assert_eq!(runs, [(TextKind::Shown, "a\nb\n日"), (TextKind::Formula, "c")]);
        assert_eq!((texts.as_str(), texts.cost()), ("a\nb\n日\nc\n", 10 + 2 * RUN));
    }
}
