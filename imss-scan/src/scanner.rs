//! Runs every engine that is wanted over one message and adds up what they say.
//!
//! In: a [`ScanPlan`] once; then per message an [`Input`] and the [`Answers`]. Out: a [`Scan`]:
//! findings, gaps, and which engine in which version said what.
//!
//! An engine that panics, says "found" without a finding, "unknown" without a gap, or names an
//! entity that does not exist, leaves a gap. None of them can make a message clean.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use imss_core::entity::Entities;
use imss_core::finding::{Finding, Findings, Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::Limit;
use imss_core::plan::ScanPlan;
use serde::{Deserialize, Serialize};

use crate::answer::Answers;
use crate::auth::AuthSettings;
use crate::builtin;
use crate::engine::{Engine, Input, Outcome};
use crate::malware::digests::DigestList;
use crate::malware::yara::YaraRules;
use crate::mistake::PlanError;
use crate::question::{Question, Questions};

/// What the built-in engines are given besides the plan.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Lists of SHA-256 digests of known malware.
    pub digests: Vec<Arc<DigestList>>,
    /// Whether clamd is asked about each message.
    pub clamd: bool,
    /// Whether an ICAP server is asked about each message.
    pub icap: bool,
    /// Sets of YARA rules. Always empty without the feature `yara`.
    pub yara: Vec<Arc<YaraRules>>,
    /// Whose mail is authenticated, and whether that is asked for in any case.
    pub auth: AuthSettings,
}

/// Engines and a compiled plan. Immutable: build a new one for a new plan.
pub struct Scanner {
    engines: Vec<Box<dyn Engine>>,
}

/// Everything one scan said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// What was found, and what was not looked at.
    pub findings: Findings,
    /// The engines that ran, in order.
    pub engines: Vec<EngineRun>,
}

/// One engine's part in a scan, for the verdict record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRun {
    /// [`Engine::name`].
    pub name: Cow<'static, str>,
    /// [`Engine::version`].
    pub version: String,
    /// What it concluded.
    pub outcome: OutcomeWord,
}

/// An [`Outcome`] in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeWord {
    /// Everything looked at, nothing found.
    Clean,
    /// Everything looked at, something found.
    Found,
    /// Not everything looked at.
    Unknown,
}

impl Scanner {
    /// Compiles a plan and sets up the built-in engines.
    ///
    /// # Errors
    ///
    /// Every expression that does not compile or would be too large, every blank entry.
    pub fn new(plan: Arc<ScanPlan>, settings: Settings) -> Result<Self, PlanError> {
        Ok(Self { engines: builtin::engines(&plan, settings)? })
    }

    /// Adds an engine of your own. It runs after the others.
    #[must_use]
    pub fn with_engine(mut self, engine: Box<dyn Engine>) -> Self {
        self.engines.push(engine);
        self
    }

    /// What must be asked before [`Scanner::scan`], each question once.
    #[must_use]
    pub fn questions(&self, input: &Input<'_>) -> Vec<Question> {
        let mut questions = Questions::new();
        for engine in self.wanted(input) {
            // A panic is reported by the scan, which goes through this again.
            let _ = catch_unwind(AssertUnwindSafe(|| engine.collect(input, &mut questions)));
        }
        questions.into_vec()
    }

    /// Judges a message.
    #[must_use]
    pub fn scan(&self, input: &Input<'_>, answers: &Answers) -> Scan {
        let mut findings = Findings { found: Vec::new(), gaps: input.entities.gaps().to_vec() };
        let mut engines = Vec::with_capacity(self.engines.len());
        for engine in self.wanted(input) {
            let outcome = checked(engine.name(), run(engine, input, answers), input.entities);
            engines.push(EngineRun {
                name: Cow::Borrowed(engine.name()),
                version: version(engine, answers),
                outcome: merge(outcome, &mut findings),
            });
        }
        Scan { findings, engines }
    }

    fn wanted<'a>(&'a self, input: &'a Input<'_>) -> impl Iterator<Item = &'a dyn Engine> {
        self.engines.iter().map(AsRef::as_ref).filter(|engine| engine.wants(input.wanted))
    }
}

/// Runs one engine, unless time is up already. A panic becomes a gap.
fn run(engine: &dyn Engine, input: &Input<'_>, answers: &Answers) -> Outcome {
    if input.stop.is_stopped() {
        return unknown(engine.name(), GapReason::Limit(Limit::Time), "time was up before it ran");
    }
    // Engines are only read, and an engine's own interior state is its own affair.
    let result = catch_unwind(AssertUnwindSafe(|| {
        // What crashed while asking has not asked everything, so its answers are not all there.
        engine.collect(input, &mut Questions::new());
        engine.scan(input, answers)
    }));
    result.unwrap_or_else(|_| unknown(engine.name(), GapReason::Crash, "the engine crashed"))
}

/// The version of an engine; an engine that cannot say it has none.
fn version(engine: &dyn Engine, answers: &Answers) -> String {
    catch_unwind(AssertUnwindSafe(|| engine.version_by(answers))).unwrap_or_default()
}

/// Holds an outcome against what an engine must keep to.
fn checked(name: &'static str, outcome: Outcome, entities: &Entities) -> Outcome {
    let (mut findings, mut gaps) = match outcome {
        Outcome::Clean => return Outcome::Clean,
        Outcome::Found(findings) => (findings, Vec::new()),
        Outcome::Unknown { gaps, findings } if gaps.is_empty() => {
            let nameless = unknown(name, GapReason::Engine, "it did not say what is unknown");
            let Outcome::Unknown { gaps, .. } = nameless else { return nameless };
            (findings, gaps)
        }
        Outcome::Unknown { gaps, findings } => (findings, gaps),
    };
    if findings.is_empty() && gaps.is_empty() {
        return unknown(name, GapReason::Engine, "it found something but did not say what");
    }
    let exists = |entity: EntityId| entities.get(entity).is_some();
    if !findings.iter().all(|finding| exists(finding.entity)) {
        gaps.push(gap(name, GapReason::Engine, "it named an entity that does not exist"));
    }
    for finding in findings.iter_mut().filter(|finding| !exists(finding.entity)) {
        finding.entity = EntityId::MESSAGE;
    }
    for gap in gaps.iter_mut().filter(|gap| !exists(gap.entity)) {
        gap.entity = EntityId::MESSAGE;
    }
    Outcome::of(findings, gaps)
}

fn unknown(name: &'static str, reason: GapReason, detail: &str) -> Outcome {
    Outcome::Unknown { gaps: vec![gap(name, reason, detail)], findings: Vec::new() }
}

fn gap(name: &'static str, reason: GapReason, detail: &str) -> Gap {
    Gap { reason, entity: EntityId::MESSAGE, engine: name.into(), detail: detail.to_owned() }
}

fn merge(outcome: Outcome, all: &mut Findings) -> OutcomeWord {
    let (word, findings, gaps): (_, Vec<Finding>, Vec<Gap>) = match outcome {
        Outcome::Clean => return OutcomeWord::Clean,
        Outcome::Found(findings) => (OutcomeWord::Found, findings, Vec::new()),
        Outcome::Unknown { gaps, findings } => (OutcomeWord::Unknown, findings, gaps),
    };
    all.found.extend(findings);
    all.gaps.extend(gaps);
    word
}
