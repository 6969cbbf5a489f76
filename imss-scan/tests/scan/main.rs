//! The public interface of imss-scan, on whole messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should fail right there"
)]

mod mail;

mod attachments;
#[cfg(feature = "clamd")]
mod clamd;
#[cfg(feature = "dns")]
mod dns;
mod faults;
mod keywords;
mod malware;
mod message_facts;
mod replay;
