//! The delivering client against real and hostile servers.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

mod dns;
mod dovecot_lmtp;
mod hostile_replies;
mod legal;
mod login;
mod neighbours;
mod secured;
mod smtp_sink;
mod support;
mod tls;
