//! One message → what is found in it and what is decided: the part of the way that needs no network
//! and no clock, and is the same for the relay and for `imss scan`.
//!
//! In: the bytes, the envelope, and the answers to the scanner's questions. Out: [`Judged`]. It
//! never fails: what could not be looked at is a gap, and the policy answers it.

use std::sync::Arc;

use bytes::Bytes;
use imss_core::entity::Entities;
use imss_core::envelope::Envelope;
use imss_core::finding::{Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::{Limit, StopFlag};
use imss_core::message::Message;
use imss_policy::{Decisions, Facts, Policy, Routes};
use imss_scan::{Answers, Input, PlanError, Question, RunError, Scan, Scanner, Settings};

use crate::reader::Reader;

/// A policy and the scanner that answers its questions: swapped together, never changed.
pub struct Judge {
    policy: Policy,
    scanner: Scanner,
    reader: Reader,
}

/// A message that was read and waits for answers.
pub struct Reading {
    /// The message.
    pub message: Message,
    /// Everything inside.
    pub entities: Entities,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// What the outside world must be asked before [`Judge::decide`].
    pub questions: Vec<Question>,
    routes: Routes,
    stop: StopFlag,
}

/// A message that was judged.
pub struct Judged {
    /// The message.
    pub message: Message,
    /// Everything inside.
    pub entities: Entities,
    /// What the engines said.
    pub scan: Scan,
    /// What the policy says.
    pub decisions: Decisions,
}

impl Judge {
    /// Compiles the questions of `policy` for the engines.
    ///
    /// # Errors
    ///
    /// [`PlanError`]: a list or an expression that no engine can use.
    pub fn new(policy: Policy, engines: Settings, reader: Reader) -> Result<Self, PlanError> {
        let scanner = Scanner::new(Arc::clone(policy.plan()), engines)?;
        Ok(Self { policy, scanner, reader })
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Reads the structure of a message.
    #[must_use]
    pub fn parse(&self, raw: Bytes) -> Message {
        Message::parse(raw, self.reader.limits())
    }

    /// Finds everything inside a message, and what must be asked. Ends early once `stop` is set.
    #[must_use]
    pub fn read(&self, message: Message, envelope: Arc<Envelope>, stop: &StopFlag) -> Reading {
        let routes = self.policy.routes(&envelope);
        let entities = self.reader.entities(&message, stop);
        let input = Input {
            envelope: &envelope,
            message: &message,
            entities: &entities,
            wanted: routes.selection(),
            stop,
        };
        let questions = self.scanner.questions(&input);
        Reading { message, entities, envelope, questions, routes, stop: stop.clone() }
    }

    /// Scans what was read, with the answers to its questions, and decides.
    #[must_use]
    pub fn decide(&self, reading: Reading, answers: &Answers) -> Judged {
        let Reading { message, entities, envelope, routes, stop, .. } = reading;
        let input = Input {
            envelope: &envelope,
            message: &message,
            entities: &entities,
            wanted: routes.selection(),
            stop: &stop,
        };
        let scan = self.scanner.scan(&input, answers);
        let facts = Facts { envelope: &envelope, message: &message, entities: &entities };
        let decisions = self.policy.decide(&routes, &facts, &scan.findings);
        Judged { message, entities, scan, decisions }
    }

    /// What the policy says of a message whose reading or scan did not come to an end.
    #[must_use]
    pub fn decide_unscanned(&self, envelope: &Envelope, error: &RunError) -> (Gap, Decisions) {
        let reason = match error {
            RunError::TimedOut => GapReason::Limit(Limit::Time),
            RunError::Overloaded => GapReason::Engine,
            _ => GapReason::Crash,
        };
        let detail = error.to_string();
        let gap = Gap { reason, entity: EntityId::MESSAGE, engine: "runner".into(), detail };
        let routes = self.policy.routes(envelope);
        let decisions = self.policy.decide_unscanned(&routes, envelope, gap.clone());
        (gap, decisions)
    }
}
