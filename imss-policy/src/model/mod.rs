//! The typed schema of a policy: what an administrator can say, after every name was resolved and
//! every value checked.
//!
//! [`crate::source`] makes it from TOML, compiling turns it into a program. Nothing here
//! can be wrong: a value that exists is valid.

mod action;
mod condition;
mod object;
mod rule;

use std::collections::BTreeMap;

use imss_core::edit::Signed;
use imss_core::envelope::Mailbox;
use imss_core::verdict::Score;
use ipnet::IpNet;

pub use action::{Action, NoticeUse};
pub use condition::{Condition, MalwareClass, Reason, Test};
pub use object::{Archive, Keywords, Language, Notice, NoticeTarget, Quarantine, Stamp, Text};
pub use rule::{Direction, Place, Route, Rule, State, Who};

use crate::address::{AddressPattern, DomainPattern};

/// The score from which a message is spam, unless `spam-threshold` says otherwise.
pub const DEFAULT_SPAM_THRESHOLD: Score = Score::points(5);

/// A whole policy.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Domains of the organisation: they make a message incoming, outgoing or internal.
    pub internal: Vec<DomainPattern>,
    /// Networks from which a message with an internal reverse-path is believed to be from inside;
    /// empty believes every client.
    pub internal_clients: Vec<IpNet>,
    /// Who receives notices to the administrator and signs notices to others.
    pub administrator: Option<Mailbox>,
    /// The languages of notices, in order.
    pub languages: Vec<Language>,
    /// The score from which a message's verdict is spam.
    pub spam_threshold: Option<Score>,
    /// Whether text and attachments that are signed may be changed.
    pub signed: Signed,
    /// Named stamps.
    pub stamps: BTreeMap<String, Stamp>,
    /// Named sets of addresses. Once compiled, only the names are left here.
    pub addresses: BTreeMap<String, Vec<AddressPattern>>,
    /// Named lists of words.
    pub keywords: BTreeMap<String, Keywords>,
    /// Named notices.
    pub notices: BTreeMap<String, Notice>,
    /// Named quarantine areas.
    pub quarantine: BTreeMap<String, Quarantine>,
    /// Named archive areas.
    pub archive: BTreeMap<String, Archive>,
    /// Named DNS lists.
    pub dns_lists: BTreeMap<String, imss_core::plan::DnsList>,
    /// The answer to each reason why something was not looked at. Every reason is there.
    pub unknown: BTreeMap<Reason, Vec<Action>>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}
