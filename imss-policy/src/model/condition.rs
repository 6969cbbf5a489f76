//! What a rule asks about a message.

use std::collections::BTreeSet;

use imss_core::finding::{FindingKind, Gap, GapReason};
use imss_core::plan::{AttachmentQuery, AuthQuery, MessageQuery, Place};
use imss_core::verdict::{Score, Verdict};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A condition: tests joined by all, any and not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Every one holds. With none, always true. Attachment tests must hold for one attachment.
    All(Vec<Condition>),
    /// At least one holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// One fact.
    Test(Test),
}

impl Condition {
    /// A condition that always holds.
    pub const ALWAYS: Self = Self::All(Vec::new());

    /// Whether it asks nothing.
    #[must_use]
    pub fn is_always(&self) -> bool {
        matches!(self, Self::All(inner) if inner.iter().all(Self::is_always))
    }
}

/// One fact about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Malware of one of these classes was found.
    Malware(BTreeSet<MalwareClass>),
    /// The score is at least this.
    Score(Score),
    /// The verdict is one of these.
    Verdict(BTreeSet<Verdict>),
    /// A keyword list reaches its threshold in one of these places.
    Keywords {
        /// The `[keywords.NAME]` object.
        list: String,
        /// Where to look.
        places: BTreeSet<Place>,
    },
    /// An attachment is like this.
    Attachment(Box<AttachmentQuery>),
    /// The message as a whole is like this.
    Message(MessageQuery),
    /// More recipients outside the internal domains than this.
    RecipientsOutside(u32),
    /// The client is on a DNS list.
    DnsList(String),
    /// The client's address is in one of these networks.
    Client(Vec<IpNet>),
    /// Who sent it is, or is not, who they say.
    Authentication(AuthQuery),
    /// Something was not looked at for one of these reasons.
    Unknown(BTreeSet<Reason>),
}

/// A class of malware, each with its own treatment if a policy wants so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MalwareClass {
    /// A virus, worm, trojan or other malicious program.
    Virus,
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
}

impl MalwareClass {
    /// All classes.
    pub const ALL: [Self; 12] = [
        Self::Virus,
        Self::MassMailer,
        Self::Packed,
        Self::Suspicious,
        Self::Spyware,
        Self::Adware,
        Self::Dialler,
        Self::Joke,
        Self::HackingTool,
        Self::RemoteAccess,
        Self::PasswordCracker,
        Self::OtherGrayware,
    ];

    /// The kind of finding that states it.
    #[must_use]
    pub fn kind(self) -> FindingKind {
        match self {
            Self::Virus => FindingKind::Malware,
            Self::MassMailer => FindingKind::MassMailer,
            Self::Packed => FindingKind::Packed,
            Self::Suspicious => FindingKind::Suspicious,
            Self::Spyware => FindingKind::Spyware,
            Self::Adware => FindingKind::Adware,
            Self::Dialler => FindingKind::Dialler,
            Self::Joke => FindingKind::Joke,
            Self::HackingTool => FindingKind::HackingTool,
            Self::RemoteAccess => FindingKind::RemoteAccess,
            Self::PasswordCracker => FindingKind::PasswordCracker,
            Self::OtherGrayware => FindingKind::OtherGrayware,
        }
    }

    /// The word used in policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virus => "virus",
            Self::MassMailer => "mass-mailer",
            Self::Packed => "packed",
            Self::Suspicious => "suspicious",
            Self::Spyware => "spyware",
            Self::Adware => "adware",
            Self::Dialler => "dialler",
            Self::Joke => "joke",
            Self::HackingTool => "hacking-tool",
            Self::RemoteAccess => "remote-access",
            Self::PasswordCracker => "password-cracker",
            Self::OtherGrayware => "other-grayware",
        }
    }

    /// Whether it is grayware: `malware = "any"` leaves it alone, `malware = "grayware"` asks for it.
    #[must_use]
    pub fn is_grayware(self) -> bool {
        self.kind().is_grayware()
    }
}

/// Why something was not looked at: the keys of `[unknown]`, in the order they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A bound of the limits was reached.
    Limit,
    /// Encrypted, and no password was known.
    Encrypted,
    /// The structure contradicts itself or ends too early.
    Malformed,
    /// Readers would disagree about the content.
    Ambiguous,
    /// A format we can name but not open.
    Unsupported,
    /// A DNS list or a name server did not answer, or answered nonsense.
    Lookup,
    /// An engine is down, slow, or answered nonsense.
    Engine,
    /// The code that looked at it crashed.
    Crash,
}

impl Reason {
    /// All reasons, in the order they are answered.
    pub const ALL: [Self; 8] = [
        Self::Limit,
        Self::Encrypted,
        Self::Malformed,
        Self::Ambiguous,
        Self::Unsupported,
        Self::Lookup,
        Self::Engine,
        Self::Crash,
    ];

    /// The word used in policy and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Encrypted => "encrypted",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Unsupported => "unsupported",
            Self::Lookup => "lookup",
            Self::Engine => "engine",
            Self::Crash => "crash",
        }
    }
}

impl From<&Gap> for Reason {
    /// A DNS list that is away must not stop all mail, so it is a reason of its own.
    fn from(gap: &Gap) -> Self {
        match gap.reason {
            GapReason::Limit(_) => Self::Limit,
            GapReason::Encrypted => Self::Encrypted,
            GapReason::Malformed => Self::Malformed,
            GapReason::Ambiguous => Self::Ambiguous,
            GapReason::Unsupported => Self::Unsupported,
            GapReason::Engine if matches!(&*gap.engine, "dns-lists" | "authentication") => {
                Self::Lookup
            }
            GapReason::Engine => Self::Engine,
            GapReason::Crash => Self::Crash,
        }
    }
}
