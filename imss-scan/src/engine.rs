//! What an engine is: something that judges one message and answers some of a plan's queries.
//!
//! In: an [`Input`] and the [`Answers`] to what the engine asked. Out: an [`Outcome`]. An engine
//! that panics or returns nonsense costs a gap, not the process; see
//! [`Scanner`](crate::Scanner).

use imss_core::entity::Entities;
use imss_core::envelope::Envelope;
use imss_core::finding::{Finding, Gap};
use imss_core::limits::StopFlag;
use imss_core::message::Message;
use imss_core::plan::Selection;

use crate::answer::Answers;
use crate::question::Questions;

/// One message, ready to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Who sent it to whom.
    pub envelope: &'a Envelope,
    /// The message.
    pub message: &'a Message,
    /// Everything inside it.
    pub entities: &'a Entities,
    /// The queries that matter for it.
    pub wanted: &'a Selection,
    /// Set when time is up. Every loop over content asks it.
    pub stop: &'a StopFlag,
}

/// What an engine concludes about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was looked at, and there is nothing to report.
    Clean,
    /// Everything was looked at. At least one finding.
    Found(Vec<Finding>),
    /// Something could not be looked at.
    Unknown {
        /// What, and why. At least one.
        gaps: Vec<Gap>,
        /// What was found in the rest.
        findings: Vec<Finding>,
    },
}

impl Outcome {
    /// The outcome that `findings` and `gaps` amount to.
    #[must_use]
    pub fn of(findings: Vec<Finding>, gaps: Vec<Gap>) -> Self {
        match (findings.is_empty(), gaps.is_empty()) {
            (true, true) => Self::Clean,
            (false, true) => Self::Found(findings),
            (_, false) => Self::Unknown { gaps, findings },
        }
    }
}

/// Judges messages. Implementations hold only what they were built with: two calls with equal
/// input and answers return equal outcomes.
pub trait Engine: Send + Sync {
    /// Its name in findings, records and settings: lower case, such as `keywords`.
    fn name(&self) -> &'static str;

    /// What it knows, for the verdict record: version of its rules, lists, signatures.
    fn version(&self) -> String;

    /// The same, for an engine whose knowledge is elsewhere: what the answers say of it.
    fn version_by(&self, answers: &Answers) -> String {
        let _ = answers;
        self.version()
    }

    /// Whether one of the wanted queries is its business. An engine that says no never runs.
    fn wants(&self, wanted: &Selection) -> bool;

    /// Names what must be asked of the outside world before [`Engine::scan`].
    fn collect(&self, input: &Input<'_>, questions: &mut Questions) {
        let _ = (input, questions);
    }

    /// Judges the message. A question without an answer is a gap.
    fn scan(&self, input: &Input<'_>, answers: &Answers) -> Outcome;
}
