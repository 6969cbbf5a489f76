//! What `queue list` and `queue show` print: plain values, ready for JSON.

use imss_core::envelope::{ForwardPath, ReversePath};
use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

/// One message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its queue ID.
    pub id: QueueId,
    /// When it came in, in milliseconds since 1970.
    pub received_unix_millis: u64,
    /// Octets as received.
    pub size: u64,
    /// `MAIL FROM` of its first copy.
    pub reverse_path: ReversePath,
    /// The subject, if the message was listed one by one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The recipients that are not done.
    pub recipients: Vec<QueueRecipient>,
    /// How many recipients are done.
    pub done: usize,
}

/// One recipient that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecipient {
    /// Who.
    pub recipient: ForwardPath,
    /// Which copy.
    pub copy: u16,
    /// How it stands.
    pub state: RecipientState,
    /// A next hop given by `route`, or the area of the quarantine or archive it is on its way to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next, in milliseconds since 1970; `None` if it is held.
    pub next_unix_millis: Option<u64>,
    /// The last reply or error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// How a recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientState {
    /// Waiting for its first attempt.
    Queued,
    /// Being tried now.
    Active,
    /// Waiting for its next attempt.
    Deferred,
    /// Waiting to be released.
    Held,
}

/// The queue in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Messages.
    pub messages: u64,
    /// Recipients that are not done.
    pub recipients: u64,
    /// Of these, held ones.
    pub held: u64,
    /// Octets of the messages as received.
    pub bytes: u64,
    /// When the oldest message came in, in milliseconds since 1970.
    pub oldest_unix_millis: Option<u64>,
    /// Octets of the journal on disk.
    pub journal_bytes: u64,
    /// Whether new mail can be accepted: the journal works and its reserve is whole.
    pub healthy: bool,
}
