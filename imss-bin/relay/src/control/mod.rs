//! How commands reach a running gateway: JSON lines over a Unix socket in the data directory.
//!
//! In: one [`Request`] per line. Out: one [`Answer`] per line, in order. The socket belongs to the
//! gateway's user alone (mode 0600): who may open it may operate the node. Lines are bounded in
//! length and time; what is not a request gets a refusal and the connection ends.
//!
//! The same requests work on the files of a gateway that does not run: see [`Operator`].

use std::future::Future;

use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

use crate::filter::command::{FilterAnswer, FilterOrder};
use crate::outbound::NextHop;
use crate::quarantine::Item;
use crate::queue::QueueEntry;

pub mod client;
pub mod desk;
pub mod server;

/// What can be asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The queue, oldest first.
    QueueList {
        /// At most so many messages.
        limit: usize,
    },
    /// One message of the queue.
    QueueShow {
        /// Its queue ID.
        id: QueueId,
    },
    /// Something is to be done with queued messages.
    Queue {
        /// What.
        order: QueueOrder,
        /// With which.
        which: Which,
    },
    /// Queued messages are to go another way, now.
    QueueRoute {
        /// Where to; `None` by the routing of the settings again.
        to: Option<NextHop>,
        /// Which.
        which: Which,
    },
    /// Everything for a recipient domain, or for a next hop that was given by hand, is to be tried now.
    QueueFlush {
        /// The domain or next hop.
        destination: String,
    },
    /// The quarantine, oldest first.
    QuarantineList {
        /// Only this area.
        area: Option<String>,
        /// At most so many copies.
        limit: usize,
    },
    /// The copies of one message in the quarantine.
    QuarantineShow {
        /// Its queue ID.
        id: QueueId,
    },
    /// Something is to be done with quarantined messages.
    Quarantine {
        /// What.
        order: QuarantineOrder,
        /// With which.
        which: Which,
    },
    /// Something is asked of the sender filter.
    Filter {
        /// What.
        order: FilterOrder,
    },
    /// Read configuration, policy and certificates again.
    Reload,
}

/// What can be done with queued messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueOrder {
    /// Try now.
    Retry,
    /// Keep until released.
    Hold,
    /// Let held mail go.
    Release,
    /// Remove, and tell nobody.
    Delete,
}

/// What can be done with quarantined messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineOrder {
    /// Deliver, without scanning again.
    Release,
    /// Remove for good.
    Delete,
}

/// With which messages something is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All there are.
    All,
    /// These.
    These(Vec<QueueId>),
}

/// What the node says to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Messages of the queue.
    Queue(Vec<QueueEntry>),
    /// Copies in the quarantine.
    Quarantine(Vec<Item>),
    /// The order was carried out as far as it could be.
    Done {
        /// With so many messages.
        count: usize,
        /// Where it could not be, and why.
        failed: Vec<(QueueId, String)>,
    },
    /// What the sender filter says.
    Filter(FilterAnswer),
    /// The request was refused.
    Refused(String),
}

/// Carries out requests: the running gateway, or a command that has opened the files itself.
pub trait Operator: Send + Sync + 'static {
    /// Carries out one request.
    fn operate(&self, request: Request) -> impl Future<Output = Answer> + Send;
}
