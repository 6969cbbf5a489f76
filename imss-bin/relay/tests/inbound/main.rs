//! The SMTP server, from the outside: the session as a state machine, and over real sockets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod auth;
mod chunking;
mod dialogues;
mod extensions;
mod others;
mod smuggling;
mod sockets;
mod stages;
mod support;
mod tls;
