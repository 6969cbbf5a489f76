//! What the queue tells the outside: one call per disposition, and who builds notifications.

use std::sync::Arc;

use imss_core::envelope::{ForwardPath, MailParameters, Recipient, ReversePath};
use imss_core::ids::QueueId;

use crate::outbound::{Attempt, Failure};
use crate::spool::Accepted;
use crate::spool::body::Content;

/// Hears of every disposition, once. Called from the delivery tasks: it should not block for long.
pub trait Observer: Send + Sync + 'static {
    /// One recipient's copy got `event.disposition`.
    fn disposition(&self, event: &Event<'_>);

    /// A destination was given a pause of `seconds` after a failure that concerns all of it.
    fn backed_off(&self, destination: &str, seconds: u64) {
        let _ = (destination, seconds);
    }
}

/// One disposition of one recipient's copy.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// The transaction.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub reverse_path: &'a ReversePath,
    /// Whose copy.
    pub recipient: &'a ForwardPath,
    /// Octets of the copy.
    pub size: u64,
    /// Milliseconds since the message came in.
    pub delay_millis: u64,
    /// What became of it.
    pub disposition: Disposition<'a>,
}

/// What became of one recipient's copy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Disposition<'a> {
    /// The next hop has it.
    Delivered {
        /// The host or folder.
        host: &'a str,
        /// What it replied.
        reply: &'a str,
    },
    /// Not yet; it is tried again.
    Deferred {
        /// Why.
        failure: &'a Failure,
        /// When it is tried again, in milliseconds since 1970.
        next_unix_millis: u64,
    },
    /// Given up.
    Failed {
        /// Why.
        failure: &'a Failure,
        /// Whether it was tried for too long, rather than refused for good.
        expired: bool,
        /// The notification that went to the reverse-path, if one did.
        notice: Option<QueueId>,
    },
    /// In the quarantine.
    Quarantined {
        /// The area.
        area: &'a str,
    },
    /// In the archive.
    Archived {
        /// The area.
        area: &'a str,
    },
    /// Kept in the queue until it is released.
    Held {
        /// Why.
        reason: &'a str,
    },
    /// Removed by an administrator.
    Deleted,
}

impl Disposition<'_> {
    /// The word used in logs and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Deferred { .. } => "deferred",
            Self::Failed { expired: false, .. } => "failed",
            Self::Failed { expired: true, .. } => "expired",
            Self::Quarantined { .. } => "quarantined",
            Self::Archived { .. } => "archived",
            Self::Held { .. } => "held",
            Self::Deleted => "deleted",
        }
    }
}

/// Builds delivery status notifications. Called on a blocking thread.
pub trait Notifier: Send + Sync + 'static {
    /// The notification about `report`, as a new message with a new queue ID, or `None` if nobody
    /// is to be told. The queue never asks about a null reverse-path.
    fn notice(&self, report: &Report) -> Option<Accepted>;
}

/// What a notification is about: recipients of one copy with the same fate.
#[derive(Debug, Clone)]
pub struct Report {
    /// The transaction.
    pub id: QueueId,
    /// Whom to tell.
    pub reverse_path: ReversePath,
    /// `RET` and `ENVID` are in here.
    pub parameters: MailParameters,
    /// When the message came in, in milliseconds since 1970.
    pub received_unix_millis: u64,
    /// Now, in milliseconds since 1970.
    pub now_unix_millis: u64,
    /// About whom; at least one.
    pub recipients: Vec<Reported>,
    /// The copy.
    pub content: Content,
}

/// One recipient in a [`Report`].
#[derive(Debug, Clone)]
pub struct Reported {
    /// Who.
    pub recipient: Recipient,
    /// What became of the last attempt.
    pub attempt: Attempt,
    /// What there is to tell.
    pub cause: Cause,
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Refused for good.
    Failed,
    /// Given up after too long.
    Expired,
    /// Not yet delivered.
    Delayed {
        /// Until when it is tried, in milliseconds since 1970.
        until_unix_millis: u64,
    },
    /// In the mailbox.
    Delivered,
    /// Handed to a host that gives no notifications.
    Relayed,
    /// Sent on to others in the recipient's place.
    Expanded,
}

/// Observes nothing and notifies nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn disposition(&self, _event: &Event<'_>) {}
}

impl Notifier for Silent {
    fn notice(&self, _report: &Report) -> Option<Accepted> {
        None
    }
}

/// What the delivery work reports to.
#[derive(Clone)]
pub struct Hooks {
    /// Hears of dispositions.
    pub observer: Arc<dyn Observer>,
    /// Builds notifications.
    pub notifier: Arc<dyn Notifier>,
}
