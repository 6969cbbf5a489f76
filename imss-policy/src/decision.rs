//! What was decided about a message, for each recipient, and the trail that led there.
//!
//! Plain values: they become part of the verdict record, and [`crate::apply`] turns them into
//! outgoing copies.

use std::sync::Arc;

use imss_core::edit::{Position, Signed};
use imss_core::entity::Entities;
use imss_core::envelope::{Envelope, Mailbox};
use imss_core::ids::EntityId;
use imss_core::message::Message;
use imss_core::verdict::{Score, Verdict};
use serde::{Deserialize, Serialize};

use crate::model::{Direction, State};

/// What a decision may look at besides findings.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The transaction.
    pub envelope: &'a Envelope,
    /// The message as received.
    pub message: &'a Message,
    /// Everything inside.
    pub entities: &'a Entities,
}

/// What was decided about one message. Part of its verdict record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decisions {
    /// The message's class.
    pub verdict: Verdict,
    /// The sum of all points.
    pub score: Score,
    /// The version of the policy that decided.
    pub policy: String,
    /// What happens to a copy whose changes cannot be proven: its original bytes, with this action.
    pub if_unproven: FinalAction,
    /// The zone of the DNS list that knows the client, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_in: Option<String>,
    /// Who signs notices, if the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<Mailbox>,
    /// One per envelope recipient, in order.
    pub recipients: Vec<Decision>,
}

/// What happens to one recipient's copy, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    /// Which way the copy goes.
    pub direction: Direction,
    /// What becomes of it.
    pub action: FinalAction,
    /// The rule or `[unknown]` answer that said so; `None` if no rule had a final action, which
    /// means delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Changes to the copy, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What else is to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<Monitor>,
    /// What was looked at, in order. Shared by recipients with the same rules.
    pub trail: Arc<Vec<TrailStep>>,
    /// Rules that were looked at, found nothing, and are left out of a long trail.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

/// What becomes of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FinalAction {
    /// Goes on to its recipient.
    Deliver,
    /// Kept in an area.
    Quarantine {
        /// The `[quarantine.NAME]` object.
        area: Arc<str>,
    },
    /// Accepted and discarded.
    Delete,
    /// Refused in the SMTP reply, or reported to the sender where that is too late.
    Reject {
        /// 4yz or 5yz.
        code: u16,
        /// Enhanced status code (RFC 3463).
        status: (u8, u16, u16),
        /// The reply's text: printable ASCII.
        text: Arc<str>,
    },
    /// Accepted, and reported to the sender as undeliverable.
    Bounce {
        /// Why, for the sender.
        text: Arc<str>,
    },
    /// Goes to others instead.
    Redirect {
        /// To whom.
        to: Vec<Mailbox>,
    },
    /// Waits in the queue until somebody releases it.
    Hold {
        /// Why, for the administrator.
        reason: Arc<str>,
    },
    /// Refused for now; the client tries again.
    Defer,
}

impl FinalAction {
    /// The word used in logs and JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Quarantine { .. } => "quarantine",
            Self::Delete => "delete",
            Self::Reject { .. } => "reject",
            Self::Bounce { .. } => "bounce",
            Self::Redirect { .. } => "redirect",
            Self::Hold { .. } => "hold",
            Self::Defer => "defer",
        }
    }
}

/// One change to a copy. Texts still have their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Puts text before the subject.
    TagSubject {
        /// The text.
        tag: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Adds a header field.
    AddField {
        /// Its name.
        name: Arc<str>,
        /// Its value.
        value: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Removes every field of a name.
    RemoveField {
        /// Their name.
        name: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Replaces a header field, or adds it.
    ReplaceField {
        /// Its name.
        name: Arc<str>,
        /// Its value.
        value: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Takes out of attachments what acts in them.
    Clean {
        /// What made the rule match: attachments, or what is inside them.
        entities: Vec<EntityId>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Puts a stamp into the message's text.
    Stamp {
        /// For plain text.
        text: Arc<str>,
        /// For pages; without, the text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        html: Option<Arc<str>>,
        /// Where.
        position: Position,
        /// Whether what is signed changes too.
        signed: Signed,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Replaces attachments by a text.
    RemoveAttachment {
        /// What made the rule match: attachments, or what is inside them.
        entities: Vec<EntityId>,
        /// The text.
        text: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
}

/// Something to be done besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Monitor {
    /// Another copy for these.
    Bcc {
        /// For whom.
        to: Vec<Mailbox>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// Another copy in an area.
    Archive {
        /// The `[archive.NAME]` object.
        area: Arc<str>,
        /// The rule that says so.
        rule: Arc<str>,
    },
    /// A notice by mail.
    Notify {
        /// Its subject.
        subject: Arc<str>,
        /// Its text.
        text: Arc<str>,
        /// For the recipients the rule acted for.
        recipients: bool,
        /// For these as well: sender and administrator are resolved.
        to: Vec<Mailbox>,
        /// What made the rule match.
        entities: Vec<EntityId>,
        /// The rule that says so.
        rule: Arc<str>,
    },
}

/// One rule or answer that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrailStep {
    /// The rule's name, or `[unknown] REASON`.
    pub rule: Arc<str>,
    /// Its line in the policy; 0 if it is a built-in answer.
    pub line: u32,
    /// Whether it acts.
    pub state: State,
    /// What came of its condition.
    pub outcome: Outcome,
    /// The findings that made it so: places in [`Findings::found`](imss_core::finding::Findings).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<u32>,
    /// What was not looked at, if that is why: places in `Findings::gaps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u32>,
    /// What holds besides findings, such as `score 9 is at least 8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// What it did, or would have done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub did: Vec<String>,
}

/// What came of a rule's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Matched,
    /// It does not hold.
    NotMatched,
    /// It cannot be told, because something was not looked at.
    Unknown,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
