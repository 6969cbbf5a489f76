//! The verdict record: everything that explains one message's verdict, as one JSON line.
//!
//! In: what the pipeline knows at its end. Out: a value that `imss explain` prints and that holds
//! every outside answer, so the scan can be repeated from the same bytes with the same result.

use std::collections::BTreeSet;

use imss_core::anomaly::Anomaly;
use imss_core::entity::{Entities, Entity, Origin, Role};
use imss_core::envelope::Envelope;
use imss_core::finding::Findings;
use imss_core::ids::{EntityId, QueueId};
use imss_policy::Decisions;
use imss_scan::{Answers, EngineRun};
use serde::{Deserialize, Serialize};

/// One message's verdict, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The transaction. Always the first key of the line.
    pub id: QueueId,
    /// When the message was complete, in milliseconds since 1970 (UTC).
    pub received_unix_millis: u64,
    /// The program that judged.
    pub program: String,
    /// Octets as received.
    pub size: u64,
    /// The envelope.
    pub envelope: Envelope,
    /// The decoded subject.
    #[serde(default)]
    pub subject: String,
    /// The `Message-ID:` field.
    #[serde(default)]
    pub message_id: String,
    /// Everything inside.
    pub entities: Vec<EntityRecord>,
    /// Defects seen while reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// The engines that ran, their versions, and what they said.
    pub engines: Vec<EngineRun>,
    /// What the outside world answered.
    #[serde(default)]
    pub answers: Answers,
    /// What was found, and what was not looked at.
    pub findings: Findings,
    /// What was decided for each recipient, with the rules looked at.
    pub decisions: Decisions,
    /// Microseconds from the complete message to the decision.
    pub elapsed_us: u64,
}

/// One entity in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRecord {
    /// Its number.
    pub id: EntityId,
    /// What it was found in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<EntityId>,
    /// How it was found there.
    pub origin: Origin,
    /// Where it was found, for people.
    pub path: String,
    /// The declared media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// The detected media type.
    pub detected: String,
    /// Octets.
    pub size: u64,
    /// SHA-256 in hexadecimal, of attachments and of what a finding or a gap names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl EntityRecord {
    /// The records of all entities of a message. Hashing costs more than the rest of a scan, so it
    /// is done where somebody will ask for it.
    #[must_use]
    pub fn all(entities: &Entities, findings: &Findings) -> Vec<Self> {
        let found = findings.found.iter().map(|finding| finding.entity);
        let named: BTreeSet<_> = found.chain(findings.gaps.iter().map(|gap| gap.entity)).collect();
        let is_asked_for =
            |entity: &Entity| entity.role == Role::Attachment || named.contains(&entity.id);
        let record = |entity: &Entity| Self {
            id: entity.id,
            parent: entity.parent,
            origin: entity.origin.clone(),
            path: entities.path(entity.id),
            declared: entity.declared.clone(),
            detected: entity.detected.media_type.to_owned(),
            size: entity.size,
            sha256: is_asked_for(entity).then(|| hex(entity.sha256())),
        };
        entities.iter().map(record).collect()
    }
}

/// Octets in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
