//! Why a plan cannot be compiled, with every mistake named.

use std::fmt;

/// A plan has mistakes. All of them, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The mistakes; at least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mistake {
    /// An expression does not parse.
    #[error("{place}: not a valid expression `{pattern}`: {reason}")]
    Syntax {
        /// Which list and entry, or which condition.
        place: String,
        /// As the administrator wrote it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An expression compiles to more than one expression may take.
    #[error("{place}: the expression `{pattern}` is too large: use smaller repetitions")]
    TooLarge {
        /// Which list and entry, or which condition.
        place: String,
        /// As the administrator wrote it.
        pattern: String,
    },
    /// An entry has no character that could be searched for.
    #[error("{place}: `{text}` has nothing to search for")]
    Blank {
        /// Which list and entry.
        place: String,
        /// As the administrator wrote it.
        text: String,
    },
    /// All words together, or all expressions together, compile to more than a plan may take.
    #[error("the {what} of all lists together are too large: {reason}")]
    SetTooLarge {
        /// Words or expressions.
        what: &'static str,
        /// How much too large.
        reason: String,
    },
}
