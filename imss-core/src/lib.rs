//! Reads mail: bytes → [`Message`](message::Message) → [`Entities`](entity::Entities), the flat
//! tree of everything inside, and [edits](edit) back to bytes.
//!
//! No I/O, no clock, no threads, no async: every function takes values and returns values. Any
//! byte string gives a message; what is wrong with it is an [`Anomaly`](anomaly::Anomaly), and what
//! could not be looked at is a [`Gap`](finding::Gap).

mod ambiguity;
pub mod anomaly;
pub mod archive;
pub mod authentication;
pub mod charset;
pub mod document;
pub mod edit;
pub mod entity;
pub mod envelope;
pub mod filetype;
pub mod finding;
pub mod ids;
pub mod limits;
pub mod message;
pub mod plan;
pub mod protection;
pub mod recycle;
pub mod report;
pub mod verdict;
