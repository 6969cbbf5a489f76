//! Reports to the domains of others: what was seen of them in a day, sent when the day is over.
//!
//! DMARC aggregate reports (RFC 9990) tell who sent mail in a domain's name; TLS reports (RFC 8460) tell
//! whether mail to a domain could be sent securely. Both keep one file of lines a day, and share the clock
//! and the way out (`daily.rs`). What is not asked for is not sent; both are off unless configured.

pub(crate) mod daily;
pub mod dmarc;
pub mod tls;

pub use dmarc::Counts;
