//! Sends mail on: by SMTP or LMTP to a next hop, or into a Maildir.
//!
//! In: a [`Job`], which is one message for some recipients. Out: one [`Attempt`] per recipient, in
//! order. Nothing here retries later or remembers: that is the queue's work.
//!
//! The next hop is not trusted. Replies are bounded in length and number, unprintable characters in
//! them are escaped, and whatever is not a reply is a transient failure. A recipient counts as
//! delivered only after a 2yz reply to the end of the data; a connection that breaks between the end
//! of the data and that reply is a transient failure, and the one place where mail can double.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use imss_core::envelope::{ForwardPath, MailParameters, Recipient, ReversePath};
use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

use crate::spool::body::Content;

mod client;
mod data;
mod fit;
mod maildir;
mod mx;
mod plan;
mod pool;
mod reply;
mod route;
pub mod sasl;
mod session;
mod settings;
pub(crate) mod source;
pub mod tls;
mod transaction;
mod wire;

pub use client::{Outbound, Transaction};
pub use fit::Recode;
pub use reply::ServerReply;
pub use route::{DestinationKey, NextHop, NextHopError, Route, Routing, Server, Servers};
pub use settings::{DestinationLimit, PoolSettings, Settings, Timeouts};
pub use tls::{Tls, TlsLevel, TlsPolicy};

/// Tries to deliver, once.
pub trait Deliverer: Send + Sync + 'static {
    /// Tries to deliver `job`. Gives one attempt per recipient, in the job's order.
    ///
    /// Dropping the future closes the connection; the server may or may not have the message then.
    fn deliver(&self, job: Job) -> impl Future<Output = Vec<Attempt>> + Send;

    /// Where mail from `reverse_path` for `recipient` goes now. Recipients of one message with the same
    /// key go together in one job, and back-off and concurrency are counted by key.
    fn destination(&self, reverse_path: &ReversePath, recipient: &ForwardPath) -> DestinationKey;

    /// What holds for this destination besides the queue's own bounds.
    fn limits(&self, _destination: &DestinationKey) -> LaneLimits {
        LaneLimits::default()
    }
}

/// Bounds of one destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneLimits {
    /// Jobs at once, if fewer than the queue's own bound.
    pub jobs: Option<usize>,
    /// The least time between the beginnings of two jobs.
    pub pause: Option<Duration>,
}

/// One message for recipients who share a destination.
#[derive(Debug, Clone)]
pub struct Job {
    /// The transaction it came in with.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// The parameters it came with.
    pub parameters: MailParameters,
    /// To whom.
    pub recipients: Vec<Recipient>,
    /// What.
    pub content: Content,
    /// Where to, if policy named a place; else the routing of the settings says, recipient by
    /// recipient.
    pub next_hop: Option<NextHop>,
}

/// What became of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// The next hop has taken responsibility.
    Delivered {
        /// The host or folder that has it now.
        host: String,
        /// Its reply, printable and bounded.
        reply: String,
        /// Who answers for it from here on.
        handover: Handover,
    },
    /// It may work later.
    Transient(Failure),
    /// It will never work.
    Permanent(Failure),
}

/// Who answers for a delivered copy (RFC 3461 §6.2: which success DSN is due, if one was asked for).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// It lies in the mailbox: a "delivered" DSN is ours to send.
    Final,
    /// The next hop knows no DSN: a "relayed" DSN is ours to send.
    Relayed,
    /// The next hop took the DSN parameters over: nothing is due.
    RelayedWithDsn,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The host that said or caused it; `None` if it is our own conclusion.
    pub host: Option<String>,
    /// The reply code, if a server gave a reply.
    pub code: Option<u16>,
    /// The enhanced status code (RFC 3463): the server's if it is one and fits the code, else ours.
    pub enhanced: (u8, u16, u16),
    /// The reply text or our words; printable and bounded.
    pub text: String,
    /// Whom it concerns.
    pub scope: Scope,
}

/// Whom a failure concerns; back-off of a destination follows from [`Scope::Destination`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything for the destination: no connection, no greeting, no address records.
    Destination,
    /// The message: sender or content refused.
    Message,
    /// This recipient.
    Recipient,
}

impl Failure {
    /// A conclusion of ours, without a server's reply.
    #[must_use]
    pub fn own(enhanced: (u8, u16, u16), text: impl Into<String>, scope: Scope) -> Self {
        Self { host: None, code: None, enhanced, text: text.into(), scope }
    }

    /// The enhanced status code as text, such as `5.1.1`.
    #[must_use]
    pub fn status(&self) -> String {
        let (class, subject, detail) = self.enhanced;
        format!("{class}.{subject}.{detail}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}: ")?;
        }
        if let Some(code) = self.code {
            write!(f, "{code} ")?;
        }
        write!(f, "{} {}", self.status(), self.text)
    }
}
