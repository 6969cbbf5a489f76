//! What the spool and the queue promise: accepted mail survives, and every recipient's copy gets its
//! disposition.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may stop at what it did not expect"
)]

mod compaction;
mod crash;
mod delivery;
mod full_disk;
mod killed;
mod lock;
mod quarantine;
mod record;
mod support;
