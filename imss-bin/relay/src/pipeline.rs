//! The whole way of one message, from the last octet received to a disposition per recipient.
//!
//! ```text
//! received → read → (ask) → scan, decide, apply → a sink
//! ```
//!
//! [`examine`] is the way up to the judgement, the same for every door. What follows is a sink:
//! [`dispatch`] is one commit, or the next hop's reply; `hand_back` leaves one copy to the mail server
//! that asked; the HTTP endpoint answers with a report.
//!
//! Reading, scanning and deciding run on the worker pool; nothing here blocks the network loop.
//! Whatever happens to a worker, the message is neither lost nor passed on as clean: a run that
//! crashed or timed out is a gap, and the policy answers it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use imss_core::anomaly::AnomalyKind;
use imss_core::envelope::Envelope;
use imss_core::finding::Findings;
use imss_policy::Decisions;
use imss_policy::apply::{Applied, Stamp, apply, apply_unread};
use imss_scan::{Answers, Question, RunError};

use crate::border::{Border, Marks};
use crate::dispatch::{self, Disposition};
use crate::filter::Filter;
use crate::gateway::Gateway;
use crate::ids::unix_millis;
use crate::inbound::reply::{self, Reply};
use crate::inbound::{Mode, Received, trace};
use crate::judge::{Judge, Judged, Reading};
use crate::notices::date_text;
use crate::record::{EntityRecord, VerdictRecord};

/// Takes one received message to its dispositions, one per envelope recipient, in order.
pub async fn process(mut received: Received, gateway: &Gateway) -> Vec<Disposition> {
    if let Err(reply) = gateway.border().untag(&mut received) {
        return dispatch::refuse(&received, gateway, &reply);
    }
    if received.mode == Mode::Reinject {
        return dispatch::pass_on(received, gateway).await;
    }
    let received = Arc::new(received);
    match examine(&received, gateway).await {
        Ok(outgoing) => dispatch::dispatch(&received, outgoing, gateway).await,
        Err(reply) => dispatch::refuse(&received, gateway, &reply),
    }
}

/// Judges a message, and leaves a record of it. Nothing is stored, sent or answered yet.
///
/// # Errors
///
/// The reply for a message that is refused whatever the policy says, or cannot be judged now.
pub async fn examine(received: &Arc<Received>, gateway: &Gateway) -> Result<Outgoing, Reply> {
    let case = Arc::new(Case {
        judge: gateway.judge(),
        border: gateway.border(),
        started: Instant::now(),
        stamp: stamp(received, gateway),
        received: Arc::clone(received),
    });
    let outgoing = match judge(&case, gateway).await {
        Ok(outgoing) => outgoing,
        Err(Stopped::Refused(reply)) => return Err(reply),
        Err(Stopped::Unread(RunError::Overloaded)) => return Err(reply::overloaded()),
        Err(Stopped::Unread(RunError::Crashed(reason))) if gateway.first_crash(received) => {
            tracing::error!(id = %received.id, reason, "a message crashed its scan");
            return Err(reply::local_error());
        }
        Err(Stopped::Unread(error)) => case.unscanned(&error),
    };
    gateway.logs().record(&outgoing.record);
    if received.mode == Mode::Scan {
        return Ok(outgoing);
    }
    if let (Some(counts), Some(facts)) = (gateway.counts(), outgoing.marks.facts()) {
        let (envelope, at) = (&outgoing.record.envelope, case.received.received_at_unix_millis);
        counts.count(facts, envelope, &outgoing.decisions, at);
    }
    gateway.filter().learn(&outgoing.record.envelope, outgoing.decisions.verdict);
    Ok(outgoing)
}

/// One message on its way, and the policy it is judged by.
struct Case {
    received: Arc<Received>,
    judge: Arc<Judge>,
    border: Arc<Border>,
    started: Instant,
    stamp: Stamp,
}

/// What leaves the judgement.
pub struct Outgoing {
    /// What was decided.
    pub decisions: Decisions,
    /// The copies and notices that follow.
    pub applied: Applied,
    /// Why.
    pub record: VerdictRecord,
    /// What the copies say about who sent the message, and lose of what others said.
    pub marks: Marks,
}

/// Why there is no judgement.
enum Stopped {
    Refused(Reply),
    Unread(RunError),
}

impl From<RunError> for Stopped {
    fn from(error: RunError) -> Self {
        Self::Unread(error)
    }
}

/// What a worker's first visit ends with.
enum Step {
    Ask(Box<Reading>),
    Done(Box<Outgoing>),
}

async fn judge(case: &Arc<Case>, gateway: &Gateway) -> Result<Outgoing, Stopped> {
    let _memory = gateway.memory_for(case.received.body.len()).await;
    let (first, rules) = (Arc::clone(case), gateway.message_rules());
    let filter = Arc::clone(gateway.filter());
    let step = gateway
        .on_worker(move |stop| {
            let raw = first.received.body.read(0..first.received.body.len())?;
            let envelope = Arc::new(first.envelope(&raw, &filter));
            let reading = first.judge.read(first.judge.parse(raw), envelope, stop);
            rules.check(&reading)?;
            Ok::<_, Refusal>(first.go_on(reading))
        })
        .await?
        .map_err(Stopped::from)?;
    let reading = match step {
        Step::Done(outgoing) => return Ok(*outgoing),
        Step::Ask(reading) => reading,
    };
    let questions: Vec<Question> = reading.questions.clone();
    let answers = gateway.lookups().answer(questions).await;
    let second = Arc::clone(case);
    let outgoing = gateway.on_worker(move |_| second.finish(*reading, answers)).await?;
    Ok(outgoing)
}

/// What every message must keep to, whatever the policy says.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageRules {
    /// Accept `message/partial`, whose pieces cannot be scanned alone.
    pub allow_partial: bool,
}

enum Refusal {
    Reply(Reply),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Reply(reply) => Self::Refused(reply),
            Refusal::Io(error) => {
                tracing::error!(%error, "a received body cannot be read");
                Self::Refused(Reply::new(451, (4, 3, 0), "Local error: the message cannot be read"))
            }
        }
    }
}

impl MessageRules {
    fn check(self, reading: &Reading) -> Result<(), Refusal> {
        if trace::count_hops(reading.message.raw()) > trace::MAX_HOPS {
            let text = "Too many hops: this message is in a loop";
            return Err(Refusal::Reply(Reply::new(554, (5, 4, 6), text)));
        }
        let is_partial =
            |anomaly: &imss_core::anomaly::Anomaly| anomaly.kind == AnomalyKind::PartialMessage;
        if !self.allow_partial && reading.entities.anomalies().iter().any(is_partial) {
            let text = "message/partial is not accepted: a piece of a message cannot be scanned";
            return Err(Refusal::Reply(Reply::new(554, (5, 6, 1), text)));
        }
        Ok(())
    }
}

/// What copies of `received` say about this gateway.
fn stamp(received: &Received, gateway: &Gateway) -> Stamp {
    Stamp {
        queue_id: received.id.to_string(),
        host: gateway.hostname().to_owned(),
        date: date_text(unix_millis()),
        // Ours goes in front of the finished copies, byte for byte: see dispatch.
        trace: Vec::new(),
    }
}

impl Case {
    /// The envelope, with who handed the message to the first of our own relays as its client.
    fn envelope(&self, raw: &[u8], filter: &Filter) -> Envelope {
        let mut envelope = self.received.envelope.clone();
        if let Some((ip, helo)) = filter.client_of(raw, envelope.client.ip) {
            let client = &mut envelope.client;
            (client.ip, client.helo, client.name, client.tls) = (ip, helo, None, None);
        }
        envelope
    }

    fn go_on(&self, reading: Reading) -> Step {
        if reading.questions.is_empty() {
            Step::Done(Box::new(self.finish(reading, Answers::new())))
        } else {
            Step::Ask(Box::new(reading))
        }
    }

    fn finish(&self, reading: Reading, answers: Answers) -> Outgoing {
        let envelope = Arc::clone(&reading.envelope);
        let judged = self.judge.decide(reading, &answers);
        let Judged { message, entities, scan, mut decisions } = judged;
        let applied = apply(&message, &entities, &envelope, &decisions, &self.stamp);
        applied.tell(&mut decisions);
        let marks = self.border.marks(&self.received, &envelope.client, &answers);
        let record = VerdictRecord {
            subject: message.subject(),
            message_id: message.field("Message-ID").unwrap_or_default(),
            entities: EntityRecord::all(&entities, &scan.findings),
            anomalies: entities.anomalies().to_vec(),
            engines: scan.engines,
            answers,
            ..self.record(&envelope, scan.findings, &decisions)
        };
        Outgoing { decisions, applied, record, marks }
    }

    fn unscanned(&self, error: &RunError) -> Outgoing {
        let envelope: &Envelope = &self.received.envelope;
        let (gap, mut decisions) = self.judge.decide_unscanned(envelope, error);
        tracing::error!(id = %self.received.id, %error, "a message could not be scanned");
        let length = self.received.body.len();
        let applied = apply_unread(length, envelope, &decisions, &self.stamp);
        applied.tell(&mut decisions);
        let findings = Findings { found: Vec::new(), gaps: vec![gap] };
        let record = self.record(envelope, findings, &decisions);
        let marks = self.border.marks(&self.received, &envelope.client, &Answers::new());
        Outgoing { decisions, applied, record, marks }
    }

    fn record(
        &self,
        envelope: &Envelope,
        findings: Findings,
        decisions: &Decisions,
    ) -> VerdictRecord {
        VerdictRecord {
            id: self.received.id,
            received_unix_millis: self.received.received_at_unix_millis,
            program: concat!("imss ", env!("CARGO_PKG_VERSION")).to_owned(),
            size: self.received.body.len(),
            envelope: envelope.clone(),
            subject: String::new(),
            message_id: String::new(),
            entities: Vec::new(),
            anomalies: Vec::new(),
            engines: Vec::new(),
            answers: Answers::new(),
            findings,
            decisions: decisions.clone(),
            elapsed_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}
