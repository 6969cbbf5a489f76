//! The door for mail servers that ask: a milter (protocol versions 2 to 6, Postfix and Sendmail).
//!
//! [`codec`] knows frames, [`session`] the conversation, both without sockets; [`server`] owns the
//! listeners. The message goes the way of every other one ([`crate::pipeline::examine`]); what was
//! decided goes back through `hand_back`.
//!
//! A milter can have one message changed, for all its recipients. Where they get different copies,
//! the mail server keeps the one for most of them, the others are removed from its message and get
//! theirs through our queue.

pub mod codec;
mod conversation;
mod express;
mod macros;
pub mod server;
pub mod session;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where mail servers connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The file's mode.
        mode: u32,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
