//! The gateway as its neighbours meet it: the real program on loopback ports, real clients and next
//! hops, and what happens when one of them fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod client_leaves;
mod clients;
mod disk_full;
mod held;
mod killed;
mod lookups;
mod next_hop_down;
mod postfix;
mod proxy;
mod refused;
mod reload_stop;
mod scanning;
mod sink;
mod smuggling;
mod support;
