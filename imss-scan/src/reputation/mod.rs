//! What others say about who sent a message.

#[cfg(feature = "dns")]
pub mod dns;
pub(crate) mod dns_list;
