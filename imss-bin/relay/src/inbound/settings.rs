//! What the SMTP server needs to know, as plain checked values.

use std::time::Duration;

use ipnet::IpNet;

use super::auth::AuthRules;
use super::relaying::RelayRules;

/// Settings of the server, shared by all listeners. A new value takes effect for the connections
/// that come after it ([`Server::reconfigure`](super::Server::reconfigure)).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our host name, in the greeting and the trace field.
    pub hostname: String,
    /// Who may send to whom.
    pub relaying: RelayRules,
    /// Load balancers: their connections begin with a PROXY header.
    pub proxy_from: Vec<IpNet>,
    /// Clients that may speak for others by XCLIENT.
    pub xclient_from: Vec<IpNet>,
    /// Clients that may tell by XFORWARD where a message came from.
    pub xforward_from: Vec<IpNet>,
    /// Who may log in.
    pub auth: AuthRules,
    /// Take mail only inside TLS.
    pub requires_tls: bool,
    /// What happens to bare CR and bare LF.
    pub line_ends: LineEnds,
    /// Accept recipients and reverse-paths with a dot before `@` or two dots in a row.
    pub allow_bad_dots: bool,
    /// Bounds of a connection.
    pub limits: SessionLimits,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// How long we wait while more than three quarters of all connections are taken.
    pub timeouts_under_load: Timeouts,
    /// Close the connection when DATA is refused and the client has sent more without waiting for
    /// the reply: what it takes for content would be read as commands.
    pub close_on_early_data: bool,
    /// Listen this long before the greeting: a client that talks first is no mail server, and
    /// gets 554. `None` greets at once.
    pub early_talker_wait: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            relaying: RelayRules::default(),
            proxy_from: Vec::new(),
            xclient_from: Vec::new(),
            xforward_from: Vec::new(),
            auth: AuthRules::default(),
            requires_tls: false,
            line_ends: LineEnds::default(),
            allow_bad_dots: false,
            limits: SessionLimits::default(),
            timeouts: Timeouts::default(),
            timeouts_under_load: Timeouts::under_load(),
            close_on_early_data: true,
            early_talker_wait: None,
        }
    }
}

/// What happens to a CR without LF, or a LF without CR.
///
/// Neither ever ends a message. Both can be read as a line end by the next server, which is what
/// SMTP smuggling lives on, so neither is ever passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnds {
    /// Each becomes a CRLF, as in Postfix's `smtpd_forbid_bare_newline = normalize`; but a message
    /// with one beside a line of dots, the mark of smuggling, is refused.
    #[default]
    Normalise,
    /// A message with any is refused, and a command line that ends in a bare LF too.
    Refuse,
}

/// Bounds of one connection, and of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Largest message, in octets after dot-unstuffing.
    pub message_bytes: u64,
    /// Recipients of one transaction; more get 452 4.5.3.
    pub recipients: usize,
    /// Messages over one connection; after that 421.
    pub messages: u32,
    /// Commands answered with 4yz or 5yz before the connection ends with 421.
    pub errors: u32,
    /// Commands between two messages that bring no message nearer (NOOP, RSET, EHLO, VRFY, …).
    pub idle_commands: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64.
    pub connections_per_client: usize,
    /// Connections at once from one IPv4 /24 or one IPv6 /48.
    pub connections_per_network: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            message_bytes: 50 << 20,
            recipients: 1_000,
            messages: 10_000,
            errors: 20,
            idle_commands: 100,
            connections: 1_000,
            connections_per_client: 100,
            connections_per_network: 300,
        }
    }
}

/// How long we wait for a client (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a complete command line, however slowly its octets come.
    pub command: Duration,
    /// For the next octets of a message.
    pub data_block: Duration,
    /// For a whole message, from DATA to its end.
    pub message: Duration,
    /// For the client to take our replies.
    pub write: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For what is asked about the client or the envelope; after that the client gets 451.
    pub check: Duration,
}

impl Timeouts {
    /// Short ones, for when connections run out.
    #[must_use]
    pub fn under_load() -> Self {
        Self {
            command: Duration::from_secs(20),
            data_block: Duration::from_secs(20),
            message: Duration::from_secs(600),
            write: Duration::from_secs(20),
            handshake: Duration::from_secs(10),
            check: Duration::from_secs(30),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            data_block: Duration::from_secs(180),
            message: Duration::from_secs(3_600),
            write: Duration::from_secs(300),
            handshake: Duration::from_secs(60),
            check: Duration::from_secs(120),
        }
    }
}
