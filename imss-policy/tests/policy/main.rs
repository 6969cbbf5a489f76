//! What a policy does, through the public API: sources with mistakes, conditions, actions, the
//! decision for each recipient, and the copies that leave.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and tables are long"
)]

mod actions;
mod conditions;
mod copies;
mod documents;
mod edits;
mod mistakes;
mod properties;
mod routes;
mod support;
mod unknown;
