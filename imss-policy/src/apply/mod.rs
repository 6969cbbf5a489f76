//! Decisions → outgoing copies and notices.
//!
//! In: the message, what is inside it, its envelope, the decisions about it, and a [`Stamp`]. Out:
//! [`Applied`]. Recipients whose decisions have equal results share one copy; every recipient is in
//! exactly one. A copy whose changes cannot be proven keeps its original bytes and is treated as
//! the policy's answer to a crash says.

mod copies;
mod notice;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use imss_core::edit::Rope;
use imss_core::entity::Entities;
use imss_core::envelope::{Envelope, ForwardPath, Mailbox};
use imss_core::ids::EntityId;
use imss_core::message::Message;

use crate::decision::{Decisions, FinalAction, Monitor};
use copies::{Share, Source};
pub(crate) use tokens::TOKENS;
use tokens::{Context, Tokens};

/// What the outgoing copies say about this gateway and this transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The queue ID.
    pub queue_id: String,
    /// The gateway's host name.
    pub host: String,
    /// Now, as RFC 5322 §3.3 writes it.
    pub date: String,
    /// Fields put before all others of every copy, such as `Received`: name and value, first one
    /// on top.
    pub trace: Vec<(String, String)>,
}

/// What leaves the gateway, or stays in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The copies of the message.
    pub copies: Vec<Copy>,
    /// New messages about it.
    pub notices: Vec<NoticeMail>,
}

/// One copy of the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// Envelope recipients whose copy this is, as places in the envelope. Empty for an extra copy.
    pub recipients: Vec<usize>,
    /// Others who receive it: targets of a redirection or a BCC.
    pub extra_recipients: Vec<ForwardPath>,
    /// What becomes of it; the texts of a refusal have their tokens filled in.
    pub action: FinalAction,
    /// If set, it is kept in this archive area and goes nowhere; `recipients` are those it is kept
    /// for.
    pub archive: Option<String>,
    /// Its bytes.
    pub rope: Rope,
    /// Why its changes were not made, if they could not be proven.
    pub unproven: Option<String>,
}

impl Applied {
    /// Gives the decisions the texts that these copies' senders read, their tokens filled in.
    pub fn tell(&self, decisions: &mut Decisions) {
        for copy in self.copies.iter().filter(|copy| copy.archive.is_none()) {
            if !matches!(copy.action, FinalAction::Reject { .. } | FinalAction::Bounce { .. }) {
                continue;
            }
            for place in &copy.recipients {
                if let Some(decision) = decisions.recipients.get_mut(*place) {
                    decision.action = copy.action.clone();
                }
            }
        }
    }
}

/// A complete new message. Its reverse-path is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeMail {
    /// Who receives it.
    pub to: Vec<ForwardPath>,
    /// The message (RFC 5322), with CRLF line ends.
    pub message: Vec<u8>,
}

/// Makes the copies and notices that `decisions` ask for.
#[must_use]
pub fn apply(
    message: &Message,
    entities: &Entities,
    envelope: &Envelope,
    decisions: &Decisions,
    stamp: &Stamp,
) -> Applied {
    let length = u64::try_from(message.raw().len()).unwrap_or(u64::MAX);
    let tokens =
        Tokens { envelope, entities: Some(entities), decisions, stamp, subject: message.subject() };
    all(Some(Source { message, entities }), length, &tokens)
}

/// Makes the copies and notices for a message that could not be read: no copy is changed, except
/// for its trace fields. `length` is the message's size in octets.
#[must_use]
pub fn apply_unread(
    length: u64,
    envelope: &Envelope,
    decisions: &Decisions,
    stamp: &Stamp,
) -> Applied {
    let tokens = Tokens { envelope, entities: None, decisions, stamp, subject: String::new() };
    all(None, length, &tokens)
}

fn all(source: Option<Source<'_>>, length: u64, tokens: &Tokens<'_>) -> Applied {
    let decisions = &tokens.decisions.recipients;
    let original = Rope::original(length);
    let mut served = served(tokens);
    let mut archives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut out: Vec<Copy> = Vec::new();
    let mut extras: Vec<Copy> = Vec::new();
    for share in copies::shares(decisions) {
        let made = copies::make(source, length, &share, tokens);
        let action = match made.unproven {
            Some(_) if leaves(&share.decision.action) => tokens.decisions.if_unproven.clone(),
            _ => told(&share.decision.action, &share, tokens),
        };
        let extra_recipients = match &action {
            FinalAction::Redirect { to } => to.iter().cloned().map(ForwardPath::Mailbox).collect(),
            _ => Vec::new(),
        };
        let mut copy = Copy {
            recipients: share.recipients.clone(),
            extra_recipients,
            action,
            archive: None,
            rope: made.rope,
            unproven: made.unproven,
        };
        extras.extend(copies::monitored(
            &share,
            decisions,
            &mut copy,
            &original,
            &mut served,
            &mut archives,
        ));
        out.push(copy);
    }
    out.append(&mut extras);
    out.extend(archives.into_iter().map(|(area, recipients)| Copy {
        recipients,
        extra_recipients: Vec::new(),
        action: FinalAction::Deliver,
        archive: Some(area),
        rope: original.clone(),
        unproven: None,
    }));
    Applied { copies: out, notices: notices(tokens) }
}

/// The action with the tokens of its texts filled in. Replies and reports are ASCII.
fn told(action: &FinalAction, share: &Share<'_>, tokens: &Tokens<'_>) -> FinalAction {
    let rule = share.decision.rule.as_deref().unwrap_or_default();
    let context = Context { rule, action: action.as_str(), matched: &[], recipients: &[] };
    let fill = |text: &str| -> std::sync::Arc<str> {
        let text = tokens.expand(text, &context);
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>().into()
    };
    match action {
        FinalAction::Reject { code, status, text } => {
            FinalAction::Reject { code: *code, status: *status, text: fill(text) }
        }
        FinalAction::Bounce { text } => FinalAction::Bounce { text: fill(text) },
        other => other.clone(),
    }
}

/// Whether a copy with this action goes to somebody, so that its changes matter.
fn leaves(action: &FinalAction) -> bool {
    matches!(action, FinalAction::Deliver | FinalAction::Redirect { .. } | FinalAction::Hold { .. })
}

/// Who receives the message anyway: a BCC would be a second copy.
fn served(tokens: &Tokens<'_>) -> BTreeSet<Mailbox> {
    let recipients = tokens.envelope.recipients.iter().zip(&tokens.decisions.recipients);
    let mut served = BTreeSet::new();
    for (recipient, decision) in recipients {
        match &decision.action {
            FinalAction::Deliver => served.extend(recipient.path.mailbox().cloned()),
            FinalAction::Redirect { to } => served.extend(to.iter().cloned()),
            _ => {}
        }
    }
    served
}

/// One notice to be sent, and for whom its rule acted.
struct Due<'a> {
    subject: &'a str,
    text: &'a str,
    entities: &'a [EntityId],
    rule: &'a str,
    action: &'static str,
    to: BTreeSet<Mailbox>,
    /// Recipients the rule acted for, and those of them who receive it.
    acted_for: Vec<usize>,
    told: Vec<usize>,
}

/// The notices that the monitors ask for: one for each rule and action, not one for each
/// recipient.
fn notices(tokens: &Tokens<'_>) -> Vec<NoticeMail> {
    let mut due: Vec<Due<'_>> = Vec::new();
    for (place, decision) in tokens.decisions.recipients.iter().enumerate() {
        for monitor in &decision.monitors {
            let Monitor::Notify { subject, text, recipients, to, entities, rule } = monitor else {
                continue;
            };
            let action = decision.action.as_str();
            let same = |due: &&mut Due<'_>| {
                due.rule == rule.as_ref()
                    && due.action == action
                    && due.subject == subject.as_ref()
                    && due.text == text.as_ref()
            };
            let told = if *recipients { vec![place] } else { Vec::new() };
            match due.iter_mut().find(same) {
                Some(known) => {
                    known.to.extend(to.iter().cloned());
                    known.acted_for.push(place);
                    known.told.extend(told);
                }
                None => due.push(Due {
                    subject,
                    text,
                    entities,
                    rule,
                    action,
                    to: to.iter().cloned().collect(),
                    acted_for: vec![place],
                    told,
                }),
            }
        }
    }
    let mut mails = Vec::new();
    for due in due {
        let to: Vec<ForwardPath> = due.to.iter().cloned().map(ForwardPath::Mailbox).collect();
        if !to.is_empty() {
            mails.push(notice_mail(tokens, &due, to, &due.acted_for, mails.len()));
        }
        let told = due.told.iter().filter_map(|place| tokens.envelope.recipients.get(*place));
        let told: Vec<ForwardPath> = told.map(|recipient| recipient.path.clone()).collect();
        if !told.is_empty() {
            // Recipients must not learn of each other.
            let named = if due.told.len() == 1 { due.told.as_slice() } else { &[] };
            mails.push(notice_mail(tokens, &due, told, named, mails.len()));
        }
    }
    mails
}

fn notice_mail(
    tokens: &Tokens<'_>,
    due: &Due<'_>,
    to: Vec<ForwardPath>,
    named: &[usize],
    number: usize,
) -> NoticeMail {
    let context =
        Context { rule: due.rule, action: due.action, matched: due.entities, recipients: named };
    let subject = tokens.expand(due.subject, &context);
    let text = tokens.expand(due.text, &context);
    let from = match &tokens.decisions.administrator {
        Some(mailbox) => mailbox.to_string(),
        None => format!("postmaster@{}", tokens.stamp.host),
    };
    let message = notice::build(&from, &to, &subject, &text, number, tokens.stamp);
    NoticeMail { to, message }
}
