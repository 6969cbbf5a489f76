//! The gateway as its neighbours meet it: the real program on loopback ports, real clients and next
//! hops, and what happens when one of them fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod authentication;
mod client_leaves;
mod clients;
mod disk_full;
mod exim;
mod filter;
mod forwarded;
mod held;
mod http_scan;
mod killed;
mod lookups;
mod many_clients;
mod milter;
mod milter_peer;
mod next_hop_down;
mod one_connection;
mod postfix;
mod proxy;
mod recipients;
mod refused;
mod reload_stop;
mod reports;
mod same_verdict;
mod scanning;
mod sink;
mod smuggling;
mod submission;
mod support;
mod ways;
