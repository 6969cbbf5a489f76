//! Before-queue proxy: the client's reply to the end of data is the next hop's.
//!
//! In: the one copy of a message that goes on. Out: one [`Disposition`] per envelope recipient.
//! Nothing is stored unless the next hop takes the message for some recipients and not for others:
//! SMTP has one reply for all, so the others are then queued or reported to the sender.

use imss_core::envelope::Recipient;
use imss_policy::{Decisions, FinalAction};

use crate::dispatch::{Disposition, accepted, log, refuse, store, undeliverable};
use crate::gateway::Gateway;
use crate::inbound::{Received, Reply};
use crate::outbound::{Attempt, Failure, Job, Scope, ServerReply};
use crate::queue::{Cause, Reported};
use crate::spool::CopyRecord;
use crate::spool::body::Content;

/// Hands the copy to the next hop and waits for its reply.
pub(crate) async fn hand_over(
    received: &Received,
    copy: CopyRecord,
    decisions: &Decisions,
    gateway: &Gateway,
) -> Vec<Disposition> {
    let job = Job {
        id: received.id,
        reverse_path: copy.reverse_path.clone(),
        parameters: copy.parameters.clone(),
        recipients: copy.recipients.clone(),
        content: Content { body: received.body.clone(), rope: copy.rope.clone() },
        next_hop: None,
    };
    let (host, replies) = match gateway.outbound().transaction(job).await {
        Ok(transaction) => (transaction.host, transaction.recipients),
        Err(failure) => return refuse(received, gateway, &reply_of_failure(&failure)),
    };
    let Some(positive) = replies.iter().find(|reply| is_positive(reply)) else {
        // Transient wins: a client that tries again gets the permanent replies then.
        let worst = replies.iter().find(|reply| is_transient(reply)).or_else(|| replies.first());
        let reply = worst.map_or_else(no_reply, reply_of);
        return refuse(received, gateway, &reply);
    };
    let accepted_reply = reply_of(positive);
    let dispositions = by_recipient(received, decisions, &accepted_reply, gateway, &host);
    let (transient, permanent) = not_taken(&copy.recipients, &replies, &host);
    let mut messages = Vec::new();
    messages.extend(undeliverable(received, permanent, gateway));
    if !transient.is_empty() {
        let rest = CopyRecord { recipients: transient, ..copy };
        messages.push(accepted(received, vec![rest], None));
    }
    store(received, gateway, messages, dispositions).await
}

fn by_recipient(
    received: &Received,
    decisions: &Decisions,
    reply: &Reply,
    gateway: &Gateway,
    host: &str,
) -> Vec<Disposition> {
    let text = reply.to_string();
    decisions
        .recipients
        .iter()
        .zip(&received.envelope.recipients)
        .map(|(decision, recipient)| match decision.action {
            FinalAction::Delete => {
                let rule = decision.rule.as_deref().unwrap_or_default();
                log(received, gateway, &recipient.path, "discarded", rule);
                Disposition::Discarded
            }
            _ => {
                log(received, gateway, &recipient.path, "delivered", &format!("{host}: {text}"));
                Disposition::Delivered(reply.clone())
            }
        })
        .collect()
}

/// The recipients that the next hop refused for now, and for good.
fn not_taken(
    recipients: &[Recipient],
    replies: &[ServerReply],
    host: &str,
) -> (Vec<Recipient>, Vec<Reported>) {
    let (mut transient, mut permanent) = (Vec::new(), Vec::new());
    for (recipient, reply) in recipients.iter().zip(replies) {
        if is_transient(reply) {
            transient.push(recipient.clone());
        } else if !is_positive(reply) {
            let failure = Failure {
                host: Some(host.to_owned()),
                code: Some(reply.code),
                enhanced: reply.enhanced.unwrap_or((5, 0, 0)),
                text: reply.text.clone(),
                scope: Scope::Recipient,
            };
            let attempt = Attempt::Permanent(failure);
            permanent.push(Reported {
                recipient: recipient.clone(),
                attempt,
                cause: Cause::Failed,
            });
        }
    }
    (transient, permanent)
}

fn is_positive(reply: &ServerReply) -> bool {
    (200..300).contains(&reply.code)
}

fn is_transient(reply: &ServerReply) -> bool {
    (400..500).contains(&reply.code)
}

fn reply_of(reply: &ServerReply) -> Reply {
    Reply { code: reply.code, enhanced: reply.enhanced, text: reply.text.clone().into() }
}

fn reply_of_failure(failure: &Failure) -> Reply {
    let class = u16::from(failure.enhanced.0);
    let code = failure.code.unwrap_or(if class == 5 { 554 } else { 451 });
    Reply::new(code, failure.enhanced, format!("Next hop: {}", failure.text))
}

fn no_reply() -> Reply {
    Reply::new(451, (4, 4, 2), "The next hop gave no reply")
}
