//! The compiled policy: one immutable value that answers for every message.

use std::sync::Arc;

use imss_core::envelope::Envelope;
use imss_core::finding::{Findings, Gap};
use imss_core::ids::QueryId;
use imss_core::plan::ScanPlan;

use crate::compile::Program;
use crate::decide;
use crate::decision::{Decisions, Facts};
use crate::model::{Archive, Document, Quarantine};
use crate::route::Routes;
use crate::source::{self, Mistake, Mistakes, Origin};

/// A compiled policy. Immutable; share it behind an [`Arc`].
#[derive(Debug)]
pub struct Policy {
    document: Document,
    program: Program,
    version: String,
    warnings: Vec<Mistake>,
}

impl Policy {
    /// Reads and compiles a policy.
    ///
    /// # Errors
    ///
    /// Every mistake at once: line, column, key, reason, remedy.
    pub fn parse(text: &str, origin: &Origin<'_>) -> Result<Self, Mistakes> {
        let mut read = source::read(text, origin)?;
        let program = Program::compile(&mut read.document);
        Ok(Self {
            document: read.document,
            program,
            version: read.version,
            warnings: read.warnings,
        })
    }

    /// The policy that runs without configuration.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::panic, reason = "a test parses the same text")]
    pub fn builtin() -> Self {
        match Self::parse(Self::builtin_source(), &Origin::text("built-in policy")) {
            Ok(policy) => policy,
            Err(mistakes) => panic!("the built-in policy has mistakes:\n{mistakes}"),
        }
    }

    /// The text of the built-in policy, to start an own one from.
    #[must_use]
    pub fn builtin_source() -> &'static str {
        include_str!("builtin.toml")
    }

    /// A short digest of the source and its lists: equal texts have equal versions.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What probably is not as meant, but works.
    #[must_use]
    pub fn warnings(&self) -> &[Mistake] {
        &self.warnings
    }

    /// All questions this policy asks.
    #[must_use]
    pub fn plan(&self) -> &Arc<ScanPlan> {
        self.program.plan()
    }

    /// A question in the words of the policy, such as `keywords "confidential" in subject, body`.
    #[must_use]
    pub fn question(&self, id: QueryId) -> Option<String> {
        self.program.plan().query(id).map(crate::explain::question)
    }

    /// The model it was compiled from.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The quarantine areas and how they are kept.
    pub fn quarantine_areas(&self) -> impl Iterator<Item = (&str, &Quarantine)> {
        self.document.quarantine.iter().map(|(name, area)| (name.as_str(), area))
    }

    /// The archive areas and how they are kept.
    pub fn archive_areas(&self) -> impl Iterator<Item = (&str, &Archive)> {
        self.document.archive.iter().map(|(name, area)| (name.as_str(), area))
    }

    /// Which rules apply to which recipient, and which questions they ask.
    #[must_use]
    pub fn routes(&self, envelope: &Envelope) -> Routes {
        self.program.routes(&self.document, envelope)
    }

    /// What happens to each recipient's copy, and why.
    ///
    /// `routes` must come from this policy and the same envelope.
    #[must_use]
    pub fn decide(&self, routes: &Routes, facts: &Facts<'_>, findings: &Findings) -> Decisions {
        let read = Some((facts.message, facts.entities));
        decide::decide(self, routes, facts.envelope, read, findings)
    }

    /// What happens to a message that could not be scanned at all: the scan crashed or ran out of
    /// time. The policy's answer to `gap` comes first, then the rules that need no scan.
    #[must_use]
    pub fn decide_unscanned(&self, routes: &Routes, envelope: &Envelope, gap: Gap) -> Decisions {
        let findings = Findings { found: Vec::new(), gaps: vec![gap] };
        decide::decide(self, routes, envelope, None, &findings)
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_has_no_mistakes() {
        let policy = Policy::builtin();
        assert_eq!(policy.warnings(), [], "a start must not teach bad habits");
        assert_eq!(policy.version().len(), 16);
        assert!(policy.plan().queries().count() >= 3);
        assert!(policy.plan().queries().all(|(id, _)| policy.question(id).is_some()));
    }
}
