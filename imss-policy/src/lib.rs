//! Decides what happens to a message: envelope → [`Routes`], findings → [`Decisions`] with their
//! reasons, decisions → [`Applied`](apply::Applied) outgoing copies.
//!
//! In: a policy as TOML, read by [`Policy::parse`] into the typed [`model`] with every mistake
//! reported, and compiled into a scan plan and a decision program. Then, for each message, an
//! envelope, its entities and its findings. Out: one decision per recipient with its trail, and
//! the copies and notices that follow from it.
//!
//! No I/O, no clock: the same inputs give the same decision. A policy with a mistake is refused
//! whole; a message can be anything.

mod address;
pub mod apply;
mod cleaning;
mod compile;
mod decide;
mod decision;
mod effect;
mod evaluate;
pub mod explain;
pub mod model;
mod policy;
mod route;
pub mod source;

pub use address::{AddressPattern, DomainPattern, PatternError};
pub use decision::{Change, Decision, Decisions, Facts, FinalAction, Monitor, Outcome, TrailStep};
pub use policy::Policy;
pub use route::Routes;
pub use source::{Mistake, Mistakes, Origin, Severity};
