//! The SMTP relay: sockets → pipeline → queue → next hop.
//!
//! A new reader starts at [`pipeline::process`]: the whole way of one message is that function.

pub mod border;
pub mod config;
pub mod control;
pub mod dispatch;
pub mod engines;
pub mod filter;
pub mod gateway;
mod hand_back;
pub mod http;
pub mod ids;
pub mod inbound;
pub mod jail;
pub mod judge;
pub mod milter;
pub mod node;
pub mod notices;
pub mod observe;
pub mod outbound;
pub mod pipeline;
mod proxy;
pub mod quarantine;
pub mod queue;
pub mod reader;
pub mod recipients;
pub mod record;
pub mod report;
pub mod reports;
mod resolver;
pub mod signatures;
pub mod spool;
pub mod srs;
pub mod wrap;
