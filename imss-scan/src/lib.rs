//! Judges mail: [entities](imss_core::entity::Entities) → [questions](question::Question) for the
//! outside world; entities and [answers](answer::Answers) → [`Findings`](imss_core::finding::Findings).
//!
//! Engines are pure and synchronous. What they must ask others is a question, which somebody else
//! answers; the same answers always give the same findings, so every scan can be replayed. A scan
//! knows three results: clean, found, unknown. What was not looked at is a gap, never clean.
//!
//! Lookup clients are behind the features `dns`, `auth`, `clamd` and `icap`, because they bring a runtime; YARA rules
//! are behind `yara`, which brings a compiler.

pub mod answer;
pub mod auth;
mod builtin;
pub mod content;
pub mod engine;
#[cfg(any(feature = "dns", feature = "clamd", feature = "icap"))]
pub mod lookup;
pub mod malware;
pub mod mistake;
pub mod question;
mod report;
pub mod reputation;
pub mod runner;
mod scanner;

pub use answer::{Answer, Answers, IcapAnswer, LookupError};
pub use engine::{Engine, Input, Outcome};
pub use mistake::{Mistake, PlanError};
pub use question::{AuthQuestion, Question, QuestionKey, Questions};
pub use runner::{RunError, Runner};
pub use scanner::{EngineRun, OutcomeWord, Scan, Scanner, Settings};
