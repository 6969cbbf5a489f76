//! The SMTP server (RFC 5321): sockets in, [`Received`] messages out, one [`Reply`] back.
//!
//! [`session::Session`] is the protocol without sockets or clock: bytes in, replies and events
//! out. [`server::Server`] owns the listeners and drives sessions. What a message goes through
//! next is the [`Acceptor`]'s business; the reply it returns is what the client reads.
//!
//! Whatever the client sends, the session stays in step: a message ends at `<CRLF>.<CRLF>` or
//! after the octets that BDAT announced, and nowhere else. Line ends of what was received are
//! CRLF, always ([`content`]).

use std::future::Future;
use std::time::Duration;

use imss_core::envelope::{Client, Envelope, ForwardPath};
use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

use crate::spool::body::Body;
use crate::spool::writer::BodyWriter;

pub mod auth;
mod buffer;
mod command;
mod connection;
pub mod content;
pub mod haproxy;
pub mod intake;
pub mod relaying;
pub mod reply;
pub mod server;
pub mod session;
pub mod settings;
mod slots;
pub mod stage;
pub mod tls;
pub mod trace;
mod xclient;

pub use reply::Reply;
pub use server::{Listener, Server};
pub use settings::Settings;
pub use stage::{Leave, Role, SessionEvent, Stage};
pub use tls::TlsStore;

/// One message, complete and not yet answered.
#[derive(Debug, Clone)]
pub struct Received {
    /// Our name for the transaction.
    pub id: QueueId,
    /// The envelope.
    pub envelope: Envelope,
    /// The message: dots unstuffed, every line end CRLF.
    pub body: Body,
    /// When the last octet was read, in milliseconds since 1970 (UTC).
    pub received_at_unix_millis: u64,
    /// How it came in.
    pub protocol: Protocol,
    /// What the listener is for.
    pub mode: Mode,
    /// Our name at that listener.
    pub hostname: String,
    /// The client's login, where trace fields are to name it.
    pub traced_login: Option<String>,
}

/// The `with` clause of the trace field (RFC 3848, RFC 6531 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HELO, in the clear.
    #[serde(rename = "SMTP")]
    Smtp,
    /// HELO inside TLS. Not registered, but what everybody writes.
    #[serde(rename = "SMTPS")]
    Smtps,
    /// EHLO, in the clear.
    #[serde(rename = "ESMTP")]
    Esmtp,
    /// EHLO inside TLS.
    #[serde(rename = "ESMTPS")]
    Esmtps,
    /// EHLO and AUTH, in the clear.
    #[serde(rename = "ESMTPA")]
    Esmtpa,
    /// EHLO and AUTH inside TLS.
    #[serde(rename = "ESMTPSA")]
    Esmtpsa,
    /// EHLO in the clear, and `MAIL FROM` said SMTPUTF8.
    #[serde(rename = "UTF8SMTP")]
    Utf8Smtp,
    /// EHLO inside TLS, and `MAIL FROM` said SMTPUTF8.
    #[serde(rename = "UTF8SMTPS")]
    Utf8Smtps,
    /// EHLO and AUTH in the clear, and `MAIL FROM` said SMTPUTF8.
    #[serde(rename = "UTF8SMTPA")]
    Utf8Smtpa,
    /// EHLO and AUTH inside TLS, and `MAIL FROM` said SMTPUTF8.
    #[serde(rename = "UTF8SMTPSA")]
    Utf8Smtpsa,
}

impl Protocol {
    /// The registered word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Smtps => "SMTPS",
            Self::Esmtp => "ESMTP",
            Self::Esmtps => "ESMTPS",
            Self::Esmtpa => "ESMTPA",
            Self::Esmtpsa => "ESMTPSA",
            Self::Utf8Smtp => "UTF8SMTP",
            Self::Utf8Smtps => "UTF8SMTPS",
            Self::Utf8Smtpa => "UTF8SMTPA",
            Self::Utf8Smtpsa => "UTF8SMTPSA",
        }
    }
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Mail from anyone for our domains, from trusted networks for anywhere; scanned, queued.
    #[default]
    Edge,
    /// Mail from those who log in, for anywhere (RFC 6409); scanned, queued.
    Submission,
    /// The reply waits for the next hop's; nothing is spooled.
    Proxy,
    /// Mail that passed us before and is scanned once more. Loopback only.
    Rescan,
    /// Mail that passed us before and is not scanned again. Loopback only.
    Reinject,
    /// A mail server asks about a message that it keeps.
    Milter,
    /// A program asks what we think of a message; nothing is done with it.
    Scan,
}

impl Mode {
    /// The word in configuration and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Submission => "submission",
            Self::Proxy => "proxy",
            Self::Rescan => "rescan",
            Self::Reinject => "reinject",
            Self::Milter => "milter",
            Self::Scan => "scan",
        }
    }

    /// Whether such a listener may only be bound to a loopback address.
    #[must_use]
    pub fn is_loopback_only(self) -> bool {
        matches!(self, Self::Rescan | Self::Reinject)
    }
}

/// What the server asks of the gateway behind it.
pub trait Acceptor: Send + Sync + 'static {
    /// A queue ID that was never used before.
    fn next_id(&self) -> QueueId;

    /// Whether the session may go on at `stage`. May take its time within
    /// [`settings::Timeouts::check`]; where nothing is to be asked, the future is ready at once.
    ///
    /// # Errors
    ///
    /// The reply the client gets instead; 421 also closes the connection, and so does any before
    /// the greeting.
    fn check(&self, stage: Stage<'_>) -> impl Future<Output = Result<Leave, Reply>> + Send;

    /// How long to listen before the greeting whether the client speaks first. `None` greets it at
    /// once.
    fn listens_first(&self, client: &Client, role: Role) -> Option<Duration> {
        let _ = (client, role);
        None
    }

    /// Whether a recipient of our domains exists. Asked after [`Acceptor::check`], within the same
    /// time.
    ///
    /// # Errors
    ///
    /// The reply that refuses the recipient.
    fn verify(&self, recipient: &ForwardPath) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = recipient;
        std::future::ready(Ok(()))
    }

    /// Learns what happened. Must not block.
    fn observe(&self, event: SessionEvent<'_>) {
        let _ = event;
    }

    /// Where the body of message `id` goes while it arrives.
    fn body_writer(&self, id: QueueId) -> BodyWriter;

    /// Takes responsibility for the message, or refuses it: the reply to the end of data.
    fn accept(&self, received: Received) -> impl Future<Output = Reply> + Send;
}
