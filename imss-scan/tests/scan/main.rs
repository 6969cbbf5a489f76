//! The public interface of imss-scan, on whole messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should fail right there"
)]

mod mail;

mod active;
mod attachments;
#[cfg(feature = "auth")]
mod auth;
#[cfg(feature = "clamd")]
mod clamd;
#[cfg(feature = "dns")]
mod dns;
mod faults;
#[cfg(feature = "icap")]
mod icap;
mod keywords;
mod malware;
mod message_facts;
mod replay;
#[cfg(feature = "yara")]
mod yara;
