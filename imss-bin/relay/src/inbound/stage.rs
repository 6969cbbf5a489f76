//! What the gateway is asked while a session goes on, and what it is told.
//!
//! Out: a [`Stage`] before the greeting, after EHLO or HELO, at `MAIL FROM` and at each `RCPT TO`,
//! each with everything that is known by then; and [`SessionEvent`]s for whoever learns from them.
//! All of it is borrowed from the session: asking costs nothing.

use imss_core::envelope::{Client, ForwardPath, MailParameters, ReversePath};
use imss_core::ids::QueueId;

use super::{Mode, Reply};

/// Where a session is when it asks whether it may go on.
#[derive(Debug, Clone, Copy)]
pub enum Stage<'a> {
    /// Before the greeting. The name of the client is empty.
    Connect {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// Whether it spoke before its turn (RFC 5321 §4.3.1), where somebody listened.
        is_early: bool,
    },
    /// After EHLO or HELO, before the reply.
    Hello {
        /// The client, with its name.
        client: &'a Client,
        /// What it may do.
        role: Role,
    },
    /// `MAIL FROM`, valid in itself.
    Mail {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// As in [`Stage::Connect`].
        is_early: bool,
        /// The reverse-path.
        reverse_path: &'a ReversePath,
        /// Its parameters.
        parameters: &'a MailParameters,
    },
    /// `RCPT TO` with a new recipient that relay control lets through.
    Rcpt {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// The reverse-path of the transaction.
        reverse_path: &'a ReversePath,
        /// The forward-path.
        recipient: &'a ForwardPath,
        /// Recipients of the transaction that were accepted before this one.
        accepted: usize,
        /// The first of them.
        first: Option<&'a ForwardPath>,
    },
}

/// Leave to go on, and what was found out on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leave {
    /// The name of the client's address, if it has that address. `None` changes nothing.
    pub client_name: Option<String>,
    /// At `RCPT TO`: what the client gets when it begins the message. For recipients who exist, but not for
    /// this message: who only asks whether they exist hears that they do.
    pub not_for_data: Option<Reply>,
}

/// What a client may do, by where it connected and who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// What the listener is for.
    pub mode: Mode,
    /// Whether it may send to any domain: its network is trusted, or it has logged in.
    pub is_trusted: bool,
}

impl<'a> Stage<'a> {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        match *self {
            Self::Connect { client, .. }
            | Self::Hello { client, .. }
            | Self::Mail { client, .. }
            | Self::Rcpt { client, .. } => client,
        }
    }

    /// What the client may do.
    #[must_use]
    pub fn role(&self) -> Role {
        match *self {
            Self::Connect { role, .. }
            | Self::Hello { role, .. }
            | Self::Mail { role, .. }
            | Self::Rcpt { role, .. } => role,
        }
    }
}

/// What happened in a session.
#[derive(Debug, Clone, Copy)]
pub enum SessionEvent<'a> {
    /// A recipient was accepted.
    RecipientAccepted {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// Recipients of the transaction that were accepted before this one.
        before: usize,
    },
    /// A recipient was refused: no such mailbox, not our domain, or a check said no.
    RecipientRefused {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// The reverse-path of the transaction.
        reverse_path: &'a ReversePath,
        /// The forward-path.
        recipient: &'a ForwardPath,
        /// What the client reads.
        reply: &'a Reply,
    },
    /// A message has its reply.
    Answered {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// Our name for the message.
        id: QueueId,
        /// What the client reads.
        reply: &'a Reply,
    },
    /// Somebody could not log in.
    LoginFailed {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
    },
    /// The session is over.
    Disconnected {
        /// The client.
        client: &'a Client,
        /// What it may do.
        role: Role,
        /// Messages that were answered.
        messages: u32,
        /// Commands that were refused.
        errors: u32,
    },
}
