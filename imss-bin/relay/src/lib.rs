//! The SMTP relay: sockets → pipeline → queue → next hop.
//!
//! A new reader starts at [`pipeline::process`]: the whole way of one message is that function.

pub mod config;
pub mod control;
pub mod dispatch;
pub mod engines;
pub mod gateway;
pub mod ids;
pub mod inbound;
pub mod jail;
pub mod judge;
pub mod node;
mod notices;
pub mod observe;
pub mod outbound;
pub mod pipeline;
mod proxy;
pub mod quarantine;
pub mod queue;
pub mod reader;
pub mod record;
pub mod signatures;
pub mod spool;
