//! Who sent a message: SPF (RFC 7208), DKIM (RFC 6376, RFC 8463), DMARC (RFC 9989), ARC (RFC 8617).
//!
//! In: the envelope and the message, as one question. Out: one answer of plain facts
//! ([`AuthFacts`](imss_core::authentication::AuthFacts)), which the engine turns into findings. The
//! look-ups behind the answer are behind the feature `auth`; without it the engine still reads facts.
//!
//! All is bounded: ten signatures, ten SPF look-ups, eight names per DMARC tree walk, fifty ARC sets,
//! and one time limit around everything. A name server that does not answer is `temperror`, which is
//! never a pass.

#[cfg(feature = "auth")]
mod bounds;
#[cfg(feature = "auth")]
pub mod client;
#[cfg(feature = "auth")]
mod dkim;
#[cfg(feature = "auth")]
mod dmarc;
pub(crate) mod engine;
#[cfg(feature = "auth")]
pub mod names;
#[cfg(feature = "auth")]
mod replay;
#[cfg(feature = "auth")]
mod resolver;
#[cfg(feature = "auth")]
pub mod spf;

pub use engine::AuthSettings;
