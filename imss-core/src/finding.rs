//! What engines report, and what was not looked at.
//!
//! A [`Finding`] is one fact with its entity and evidence. A [`Gap`] is something that was *not*
//! inspected and why. Together they are the [`Findings`] of a message: the only thing policy
//! decides on. No gap and no finding means clean; a gap never does.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::ids::{EntityId, QueryId};
use crate::limits::Limit;
use crate::verdict::Score;

/// One fact an engine reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What sort of fact.
    pub kind: FindingKind,
    /// The signature, list or rule that matched. Never content.
    pub name: String,
    /// Who says so.
    pub engine: Cow<'static, str>,
    /// Where: [`EntityId::MESSAGE`] for the message as a whole.
    pub entity: EntityId,
    /// For people: why. Escaped, at most 500 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Points it adds to the message's score. Malware of any class adds none: it is answered by its
    /// kind, and must not make a message look like spam.
    pub score: Score,
    /// The plan's question that it answers, if it answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryId>,
    /// The octets or characters that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// The sort of fact a finding states. Each class of malware is treated alone by policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A virus, worm, trojan or other malicious program.
    Malware,
    /// Malware that spreads by mail.
    MassMailer,
    /// A program packed so that its code cannot be read before it runs.
    Packed,
    /// Likely malicious by structure.
    Suspicious,
    /// Grayware: reports what its user does.
    Spyware,
    /// Grayware: shows advertisements.
    Adware,
    /// Grayware: dials numbers that cost money.
    Dialler,
    /// Grayware: alarms its user for fun.
    Joke,
    /// Grayware: breaks into other systems.
    HackingTool,
    /// Grayware: lets others operate the computer.
    RemoteAccess,
    /// Grayware: finds or recovers passwords.
    PasswordCracker,
    /// Grayware of any other sort.
    OtherGrayware,
    /// Pretence to obtain secrets or money.
    Phish,
    /// Unsolicited bulk mail.
    Spam,
    /// Solicited bulk mail.
    Graymail,
    /// A keyword list or expression matched text.
    Keywords,
    /// An attachment has the name, type or size that was asked for.
    Attachment,
    /// A fact about the message as a whole that was asked for: size, count, header field.
    Message,
    /// A reputation list knows an address, domain or digest.
    Reputation,
    /// A fact about who sent the message that was asked for: SPF, DKIM, DMARC, ARC.
    Authentication,
}

impl FindingKind {
    /// Whether it is grayware: programs that do what somebody wants, but seldom the recipient.
    #[must_use]
    pub fn is_grayware(self) -> bool {
        matches!(
            self,
            Self::Spyware
                | Self::Adware
                | Self::Dialler
                | Self::Joke
                | Self::HackingTool
                | Self::RemoteAccess
                | Self::PasswordCracker
                | Self::OtherGrayware
        )
    }
}

/// The matched place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evidence {
    /// Which view of the entity the offsets count in.
    pub view: View,
    /// Octets from the start of the view.
    pub offset: u64,
    /// Octets matched.
    pub length: u64,
}

/// A view of an entity's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Decoded octets.
    Content,
    /// Text as UTF-8, folded for search.
    Text,
    /// A name.
    Name,
}

/// Something that was not inspected, and why. Policy must answer each reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why not.
    pub reason: GapReason,
    /// What: [`EntityId::MESSAGE`] for the message as a whole.
    pub entity: EntityId,
    /// The engine, unpacker or lookup that could not look.
    pub engine: Cow<'static, str>,
    /// For people: what happened. Escaped, at most 500 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Why something was not inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// A bound of [`Limits`](crate::limits::Limits) was reached.
    Limit(Limit),
    /// Encrypted, and no password was known.
    Encrypted,
    /// The structure contradicts itself or ends too early.
    Malformed,
    /// Readers would disagree about the content.
    Ambiguous,
    /// A format we can name but not open.
    Unsupported,
    /// An engine or lookup is down, slow, or answered nonsense.
    Engine,
    /// The code that looked at it crashed.
    Crash,
}

impl GapReason {
    /// The key in the policy's `[unknown]` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit(_) => "limit",
            Self::Encrypted => "encrypted",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Unsupported => "unsupported",
            Self::Engine => "engine",
            Self::Crash => "crash",
        }
    }
}

/// Everything known about a message after its scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Facts, in the order of engines, then entities.
    pub found: Vec<Finding>,
    /// What was not inspected.
    pub gaps: Vec<Gap>,
}

impl Findings {
    /// The sum of all points.
    #[must_use]
    pub fn score(&self) -> Score {
        self.found.iter().map(|finding| finding.score).sum()
    }

    /// The findings that answer `query`.
    pub fn answering(&self, query: QueryId) -> impl Iterator<Item = &Finding> {
        self.found.iter().filter(move |finding| finding.query == Some(query))
    }

    /// Everything was inspected and nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.is_empty() && self.gaps.is_empty()
    }
}
