//! Decided copies → stable storage or the next hop, and what became of each recipient.
//!
//! In: what the policy decided. Out: one [`Disposition`] per envelope recipient, in order. All
//! copies, notices and bounces of one message are one commit: after a crash all of them exist or
//! none does. Nothing is answered with 250 before that commit, or before the next hop's 250 where a
//! proxy stores nothing.

use bytes::Bytes;
use imss_core::edit::{Piece, Rope};
use imss_core::envelope::{Envelope, ForwardPath, RcptParameters, Recipient, ReversePath};
use imss_core::ids::QueueId;
use imss_policy::apply::Copy;
use imss_policy::{Decisions, FinalAction};
use jiff::Zoned;

use crate::border::marked;
use crate::gateway::Gateway;
use crate::ids::unix_millis;
use crate::inbound::reply::{self, Reply};
use crate::inbound::{Mode, Received, trace};
use crate::observe::AtOnce;
use crate::outbound::{Attempt, Failure, Handover, Scope};
use crate::pipeline::Outgoing;
use crate::proxy;
use crate::queue::{Cause, Report, Reported};
use crate::spool::body::Content;
use crate::spool::{Accepted, CopyRecord, Destination, Summary};

/// What became of one recipient's copy when the reply is given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// On stable storage, on its way: to the next hop, the quarantine, or somebody's decision.
    Stored,
    /// The next hop has it.
    Delivered(Reply),
    /// Accepted and thrown away, as a rule says.
    Discarded,
    /// Accepted, and reported to the sender as undeliverable.
    Bounced,
    /// The mail server that asked keeps it.
    HandedBack,
    /// Not accepted, for good.
    Rejected(Reply),
    /// Not accepted now.
    Deferred(Reply),
}

/// The one reply to the end of data that fits `dispositions`.
#[must_use]
pub fn reply_to(id: QueueId, dispositions: &[Disposition]) -> Reply {
    let refused = dispositions.iter().find_map(|disposition| match disposition {
        Disposition::Deferred(reply) | Disposition::Rejected(reply) => Some(reply.clone()),
        _ => None,
    });
    let delivered = dispositions.iter().find_map(|disposition| match disposition {
        Disposition::Delivered(reply) => Some(reply.clone()),
        _ => None,
    });
    refused
        .or(delivered)
        .unwrap_or_else(|| Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}")))
}

/// Refuses a message for all its recipients.
#[must_use]
pub fn refuse(received: &Received, gateway: &Gateway, reply: &Reply) -> Vec<Disposition> {
    let word = if reply.is_transient() { "deferred" } else { "rejected" };
    let reason = reply.to_string();
    received
        .envelope
        .recipients
        .iter()
        .map(|recipient| {
            log(received, gateway, &recipient.path, word, &reason);
            if reply.is_transient() {
                Disposition::Deferred(reply.clone())
            } else {
                Disposition::Rejected(reply.clone())
            }
        })
        .collect()
}

/// Queues a message as it is, for all its recipients: it was scanned before.
pub async fn pass_on(received: Received, gateway: &Gateway) -> Vec<Disposition> {
    let copy = CopyRecord {
        reverse_path: received.envelope.reverse_path.clone(),
        parameters: received.envelope.parameters.clone(),
        recipients: received.envelope.recipients.clone(),
        rope: traced(Rope::original(received.body.len()), &trace_field(&received)),
        destination: Destination::NextHop,
        summary: Summary::default(),
    };
    let copies = rewritten(vec![copy], gateway);
    let stored = vec![Disposition::Stored; received.envelope.recipients.len()];
    store(&received, gateway, vec![accepted(&received, copies, None)], stored).await
}

/// Stores or sends what was decided.
pub async fn dispatch(
    received: &Received,
    outgoing: Outgoing,
    gateway: &Gateway,
) -> Vec<Disposition> {
    let decisions = &outgoing.decisions;
    if let Some(reply) = whole_refusal(decisions) {
        return refuse(received, gateway, &reply);
    }
    let Plan { copies, messages } = Plan::new(received, &outgoing, gateway);
    if received.mode == Mode::Proxy
        && messages.is_empty()
        && let Some(only) = in_one_transaction(&copies, gateway)
    {
        let copies = leaving(received, &outgoing, gateway, vec![only], Traced::ByUs).await;
        let Some(copy) = copies.into_iter().next() else { return Vec::new() };
        return proxy::hand_over(received, copy, decisions, gateway).await;
    }
    let dispositions =
        decisions.recipients.iter().map(|decision| disposition(&decision.action)).collect();
    let plan = Plan { copies, messages };
    let dispositions = plan.store(received, &outgoing, gateway, dispositions).await;
    log_at_once(received, decisions, &dispositions, gateway);
    dispositions
}

/// The one copy of a message, if one transaction with one next hop can hand it over to everybody.
fn in_one_transaction(copies: &[CopyRecord], gateway: &Gateway) -> Option<CopyRecord> {
    let [only] = copies else { return None };
    if only.destination != Destination::NextHop {
        return None;
    }
    let rewritten = rewritten(vec![only.clone()], gateway);
    let [copy] = rewritten.as_slice() else { return None };
    let mut company = copy
        .recipients
        .iter()
        .map(|recipient| gateway.outbound().company(&copy.reverse_path, &recipient.path));
    let first = company.next()?;
    company.all(|other| other == first).then(|| copy.clone())
}

/// What is to be done about a judged message.
pub(crate) struct Plan {
    /// Its copies, still without the fields that we put on top: see [`leaving`].
    pub(crate) copies: Vec<CopyRecord>,
    /// New messages about it: notices, and the notification to the sender.
    pub(crate) messages: Vec<Accepted>,
}

impl Plan {
    /// All that was decided, for all recipients.
    pub(crate) fn new(received: &Received, outgoing: &Outgoing, gateway: &Gateway) -> Self {
        let mut messages = Vec::new();
        messages.extend(bounce(received, &outgoing.decisions, gateway));
        messages.extend(expansion(received, &outgoing.applied.copies, gateway));
        for notice in &outgoing.applied.notices {
            let (to, message) = (notice.to.clone(), notice.message.clone());
            messages.push(gateway.own_message(to, message, "notice"));
        }
        let from = gateway.border().reverse_path(received);
        Self { copies: copies(received, outgoing, &from), messages }
    }

    /// Commits all of it at once; on success the dispositions are `then`.
    pub(crate) async fn store(
        self,
        received: &Received,
        outgoing: &Outgoing,
        gateway: &Gateway,
        then: Vec<Disposition>,
    ) -> Vec<Disposition> {
        let Self { copies, mut messages } = self;
        let copies = rewritten(copies, gateway);
        if !copies.is_empty() {
            let record = copies.iter().any(|copy| copy.destination != Destination::NextHop);
            let copies = leaving(received, outgoing, gateway, copies, Traced::ByUs).await;
            messages.push(accepted(received, copies, record.then_some(outgoing)));
        }
        store(received, gateway, messages, then).await
    }
}

/// Who puts the trace field on a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traced {
    /// We do: the copy goes on from here.
    ByUs,
    /// The mail server that keeps the copy has done it.
    ByOther,
}

/// Copies as they leave: with our fields on top, without what others may not say, and signed.
pub(crate) async fn leaving(
    received: &Received,
    outgoing: &Outgoing,
    gateway: &Gateway,
    mut copies: Vec<CopyRecord>,
    traced: Traced,
) -> Vec<CopyRecord> {
    let field = (traced == Traced::ByUs).then(|| trace_field(received));
    for copy in &mut copies {
        copy.rope = marked(&copy.rope, &outgoing.marks, field.as_ref());
    }
    let border = gateway.border();
    let octets = border.encoding_bytes(received, &outgoing.marks, &copies, traced);
    let memory = gateway.memory(octets).await;
    border.signed(received, &outgoing.marks, copies, traced, memory).await
}

/// Logs what the queue does not: recipients whose mail ends here.
pub(crate) fn log_at_once(
    received: &Received,
    decisions: &Decisions,
    dispositions: &[Disposition],
    gateway: &Gateway,
) {
    for ((decision, disposition), recipient) in
        decisions.recipients.iter().zip(dispositions).zip(&received.envelope.recipients)
    {
        let reason = decision.rule.as_deref().unwrap_or_default();
        let word = match disposition {
            Disposition::Discarded => "discarded",
            Disposition::Bounced => "bounced",
            Disposition::HandedBack => "handed-back",
            _ => continue,
        };
        log(received, gateway, &recipient.path, word, reason);
    }
}

/// Commits `messages`; on success the dispositions are `then`.
pub(crate) async fn store(
    received: &Received,
    gateway: &Gateway,
    messages: Vec<Accepted>,
    then: Vec<Disposition>,
) -> Vec<Disposition> {
    if messages.is_empty() {
        return then;
    }
    match gateway.queue().submit(messages).await {
        Ok(()) => then,
        Err(error) => {
            tracing::error!(id = %received.id, %error, "a message could not be stored");
            refuse(received, gateway, &reply::spool_failed(&error))
        }
    }
}

/// One message for the spool.
pub(crate) fn accepted(
    received: &Received,
    copies: Vec<CopyRecord>,
    record: Option<&Outgoing>,
) -> Accepted {
    let record = record.and_then(|outgoing| serde_json::to_vec(&outgoing.record).ok());
    Accepted {
        id: received.id,
        received_unix_millis: received.received_at_unix_millis,
        body: received.body.clone(),
        copies,
        record: record.unwrap_or_default().into(),
    }
}

/// SMTP has one reply for all recipients: a refusal fits only if it is everybody's, and a delay
/// only if it is for everybody.
pub(crate) fn whole_refusal(decisions: &Decisions) -> Option<Reply> {
    let actions = || decisions.recipients.iter().map(|decision| &decision.action);
    if actions().any(|action| *action == FinalAction::Defer) {
        let text = "The message cannot be checked now; please try again later";
        return Some(Reply::new(451, (4, 7, 1), text));
    }
    // One that asks to come again must not become a notification that says never.
    let transient =
        |action: &&FinalAction| matches!(action, FinalAction::Reject { code, .. } if *code < 500);
    if let Some(FinalAction::Reject { code, status, text }) = actions().find(transient) {
        return Some(Reply::new(*code, *status, text.to_string()));
    }
    let all_rejected = actions().all(|action| matches!(action, FinalAction::Reject { .. }));
    let FinalAction::Reject { code, status, text } = actions().next().filter(|_| all_rejected)?
    else {
        return None;
    };
    Some(Reply::new(*code, *status, text.to_string()))
}

/// What becomes of a recipient's copy that we keep.
pub(crate) fn disposition(action: &FinalAction) -> Disposition {
    match action {
        FinalAction::Delete => Disposition::Discarded,
        FinalAction::Bounce { .. } | FinalAction::Reject { .. } => Disposition::Bounced,
        _ => Disposition::Stored,
    }
}

fn copies(received: &Received, outgoing: &Outgoing, from: &ReversePath) -> Vec<CopyRecord> {
    let record = |copy: &Copy| {
        let destination = destination(copy)?;
        let recipients = recipients(&received.envelope, copy);
        (!recipients.is_empty()).then(|| CopyRecord {
            reverse_path: from.clone(),
            parameters: received.envelope.parameters.clone(),
            recipients,
            rope: copy.rope.clone(),
            destination,
            summary: summary(copy, outgoing),
        })
    };
    outgoing.applied.copies.iter().filter_map(record).collect()
}

/// The copies with rewritten senders where mail is forwarded, and with the recipients who stand in
/// rewritten addresses. A copy whose recipients need different senders becomes two.
fn rewritten(copies: Vec<CopyRecord>, gateway: &Gateway) -> Vec<CopyRecord> {
    let Some(srs) = gateway.srs() else { return copies };
    let now = unix_millis();
    let mut all = Vec::with_capacity(copies.len());
    for mut copy in copies {
        for recipient in &mut copy.recipients {
            // A forged one was refused at RCPT.
            if let Ok(Some(path)) = srs.reverse(&recipient.path, now) {
                recipient.path = path;
            }
        }
        if !matches!(copy.destination, Destination::NextHop | Destination::Hold { .. }) {
            all.push(copy);
            continue;
        }
        let forward = |one: &Recipient| srs.forward(&copy.reverse_path, &one.path, now);
        let sender = copy.recipients.iter().find_map(forward);
        let (forwarded, kept): (Vec<_>, Vec<_>) =
            copy.recipients.iter().cloned().partition(|one| forward(one).is_some());
        if let Some(reverse_path) = sender {
            all.push(CopyRecord { reverse_path, recipients: forwarded, ..copy.clone() });
        }
        if !kept.is_empty() {
            all.push(CopyRecord { recipients: kept, ..copy });
        }
    }
    all
}

/// Our own trace field, whole.
fn trace_field(received: &Received) -> Bytes {
    let value = trace::received_field(received, &Zoned::now());
    format!("Received: {value}\r\n").into()
}

/// A rope with `field` in front.
fn traced(mut rope: Rope, field: &Bytes) -> Rope {
    rope.pieces.insert(0, Piece::Inserted(field.clone()));
    rope
}

fn destination(copy: &Copy) -> Option<Destination> {
    if let Some(area) = &copy.archive {
        return Some(Destination::Archive { area: area.clone() });
    }
    match &copy.action {
        FinalAction::Deliver | FinalAction::Redirect { .. } => Some(Destination::NextHop),
        FinalAction::Quarantine { area } => {
            Some(Destination::Quarantine { area: area.to_string() })
        }
        FinalAction::Hold { reason } => Some(Destination::Hold { reason: reason.to_string() }),
        _ => None,
    }
}

fn recipients(envelope: &Envelope, copy: &Copy) -> Vec<Recipient> {
    let redirected = matches!(copy.action, FinalAction::Redirect { .. }) && copy.archive.is_none();
    let named = copy.recipients.iter().filter(|_| !redirected);
    let mut all: Vec<Recipient> =
        named.filter_map(|place| envelope.recipients.get(*place)).cloned().collect();
    for path in &copy.extra_recipients {
        if all.iter().all(|known| known.path != *path) {
            all.push(Recipient { path: path.clone(), parameters: RcptParameters::default() });
        }
    }
    all
}

fn summary(copy: &Copy, outgoing: &Outgoing) -> Summary {
    let first = copy.recipients.first().and_then(|place| outgoing.decisions.recipients.get(*place));
    let found = &outgoing.record.findings;
    let findings =
        found.found.iter().map(|finding| format!("{}: {}", finding.engine, finding.name));
    let gaps = found
        .gaps
        .iter()
        .map(|gap| format!("not looked at ({}): {}", gap.reason.as_str(), gap.detail));
    Summary {
        subject: outgoing.record.subject.chars().take(200).collect(),
        verdict: outgoing.decisions.verdict.as_str().to_owned(),
        rule: first.and_then(|decision| decision.rule.as_deref()).map(str::to_owned),
        reasons: findings.chain(gaps).take(20).collect(),
    }
}

/// The notification for recipients that are refused when it is too late for a reply.
fn bounce(received: &Received, decisions: &Decisions, gateway: &Gateway) -> Option<Accepted> {
    let refused = |(recipient, action): (&Recipient, &FinalAction)| {
        let (enhanced, text) = match action {
            FinalAction::Reject { status: (_, subject, detail), text, .. } => {
                ((5, *subject, *detail), text)
            }
            FinalAction::Bounce { text } => ((5, 7, 1), text),
            _ => return None,
        };
        let failure = Failure::own(enhanced, text.to_string(), Scope::Recipient);
        let attempt = Attempt::Permanent(failure);
        Some(Reported { recipient: recipient.clone(), attempt, cause: Cause::Failed })
    };
    let actions = decisions.recipients.iter().map(|decision| &decision.action);
    let recipients: Vec<_> =
        received.envelope.recipients.iter().zip(actions).filter_map(refused).collect();
    undeliverable(received, recipients, gateway)
}

/// The notification for recipients who asked for one and whose mail goes to others instead
/// (RFC 3461 §5.2.7): those others are asked for none.
fn expansion(received: &Received, copies: &[Copy], gateway: &Gateway) -> Option<Accepted> {
    let redirected = copies.iter().filter(|copy| {
        matches!(copy.action, FinalAction::Redirect { .. }) && copy.archive.is_none()
    });
    let places = redirected.flat_map(|copy| &copy.recipients);
    let asked = places
        .filter_map(|place| received.envelope.recipients.get(*place))
        .filter(|one| one.parameters.notify.is_some_and(|notify| notify.success));
    let reported = asked.map(|recipient| Reported {
        recipient: recipient.clone(),
        attempt: Attempt::Delivered {
            host: gateway.hostname().to_owned(),
            reply: String::new(),
            handover: Handover::Final,
        },
        cause: Cause::Expanded,
    });
    notification(received, reported.collect(), gateway)
}

/// The notification to the sender about `recipients`, if somebody may be told.
pub(crate) fn undeliverable(
    received: &Received,
    mut recipients: Vec<Reported>,
    gateway: &Gateway,
) -> Option<Accepted> {
    recipients.retain(|one| one.recipient.parameters.notify.is_none_or(|notify| notify.failure));
    notification(received, recipients, gateway)
}

fn notification(
    received: &Received,
    recipients: Vec<Reported>,
    gateway: &Gateway,
) -> Option<Accepted> {
    if recipients.is_empty() || received.envelope.reverse_path.is_null() {
        return None;
    }
    gateway.notifier().notice(&Report {
        id: received.id,
        reverse_path: received.envelope.reverse_path.clone(),
        parameters: received.envelope.parameters.clone(),
        received_unix_millis: received.received_at_unix_millis,
        now_unix_millis: unix_millis(),
        recipients,
        content: Content { body: received.body.clone(), rope: Rope::original(received.body.len()) },
    })
}

/// One line of the mail log.
pub(crate) fn log(
    received: &Received,
    gateway: &Gateway,
    recipient: &ForwardPath,
    word: &str,
    why: &str,
) {
    gateway.logs().at_once(&AtOnce {
        id: received.id,
        reverse_path: &received.envelope.reverse_path,
        recipient,
        size: received.body.len(),
        disposition: word,
        host: None,
        reason: why,
    });
}
