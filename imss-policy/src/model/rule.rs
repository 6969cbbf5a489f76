//! One line of a policy: where it applies, when it matches, what it does.

use serde::{Deserialize, Serialize};

use super::{Action, Condition};
use crate::address::AddressPattern;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its unique name.
    pub name: String,
    /// The line of its `[[rule]]`, from 1.
    pub line: u32,
    /// Which recipients' copies it sees.
    pub route: Route,
    /// When it matches.
    pub when: Condition,
    /// What it does then, in order.
    pub then: Vec<Action>,
    /// Whether it does it.
    pub state: State,
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Evaluated and applied.
    #[default]
    On,
    /// Not looked at.
    Off,
    /// Evaluated and recorded, not applied.
    Shadow,
}

/// Which recipients' copies a rule sees. An empty list asks nothing.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// One of these directions.
    pub direction: Vec<Direction>,
    /// The reverse-path is one of these.
    pub from: Vec<Who>,
    /// The recipient is one of these.
    pub to: Vec<Who>,
    /// The reverse-path is none of these.
    pub except_from: Vec<Who>,
    /// The recipient is none of these.
    pub except_to: Vec<Who>,
}

/// A set of addresses, as a route names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// An `[addresses.NAME]` object.
    Object(String),
    /// A pattern written in the rule.
    Pattern(AddressPattern),
}

/// Which way a recipient's copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From outside; also what is neither from nor to an internal domain.
    Incoming,
    /// From inside to outside.
    Outgoing,
    /// From inside to inside.
    Internal,
}

impl Direction {
    /// The word used in policy and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Internal => "internal",
        }
    }
}

pub use imss_core::plan::Place;
