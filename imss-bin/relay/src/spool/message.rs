//! An accepted message as the spool keeps it: one body, and copies that are ropes over it.

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::envelope::{MailParameters, Recipient, ReversePath};
use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

use super::body::Body;
use crate::outbound::NextHop;

/// One message with everything that is to become of it. It is committed whole or not at all.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its queue ID; must be new.
    pub id: QueueId,
    /// When it came in, in milliseconds since 1970 (UTC). Age and expiry count from here.
    pub received_unix_millis: u64,
    /// The bytes as received. A body in a file must come from a
    /// [`BodyWriter`](super::writer::BodyWriter) of this spool with the same ID.
    pub body: Body,
    /// What goes where; at least one recipient in all.
    pub copies: Vec<CopyRecord>,
    /// A JSON value that the quarantine shows with the message, such as the verdict record. Not
    /// interpreted; may be empty.
    pub record: Bytes,
}

/// One copy: recipients who get the same bytes at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRecord {
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// The parameters it came with.
    pub parameters: MailParameters,
    /// To whom; for a quarantine, to whom it would go if released.
    pub recipients: Vec<Recipient>,
    /// What.
    pub rope: Rope,
    /// Where to.
    pub destination: Destination,
    /// What lists show.
    pub summary: Summary,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Destination {
    /// To the next hop that the routing names when it is sent.
    NextHop,
    /// To this next hop, whatever the routing says.
    Via(NextHop),
    /// Into an area of the quarantine.
    Quarantine {
        /// The area's name.
        area: String,
    },
    /// Into an area of the archive.
    Archive {
        /// The area's name.
        area: String,
    },
    /// Nowhere, until it is released.
    Hold {
        /// Why, in one line.
        reason: String,
    },
}

/// What lists of the queue and of the quarantine show about a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The decoded subject, printable and bounded.
    pub subject: String,
    /// The verdict's word.
    pub verdict: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Its reasons, one line each.
    pub reasons: Vec<String>,
}
