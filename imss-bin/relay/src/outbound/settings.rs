//! Settings of the client: names, time limits, connection reuse.

use std::time::Duration;

use super::route::{NextHop, Routing, names_of};
use super::sasl::Credentials;
use super::{LaneLimits, Recode};

/// Everything the client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO and in file names; an MX with this name is ourselves.
    pub hostname: String,
    /// Which next hop serves which domain.
    pub routing: Routing,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Connection reuse.
    pub pool: PoolSettings,
    /// How many MX hosts are tried for one attempt. Default 5.
    pub max_mx_hosts: usize,
    /// The port of MX hosts. Default 25.
    pub mx_port: u16,
    /// Whom we log in with, by server.
    pub credentials: Vec<Credentials>,
    /// Bounds of single destinations.
    pub limits: Vec<DestinationLimit>,
    /// What is done with over-long lines, and with 8-bit octets where they are not taken.
    pub recode: Recode,
}

impl Settings {
    /// The defaults, for this host name and next hop.
    #[must_use]
    pub fn new(hostname: impl Into<String>, next_hop: NextHop) -> Self {
        Self {
            hostname: hostname.into(),
            routing: Routing::all_to(next_hop),
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
            max_mx_hosts: 5,
            mx_port: 25,
            credentials: Vec::new(),
            limits: Vec::new(),
            recode: Recode::PassSigned,
        }
    }

    /// With whom to log in at this server, if we are to.
    #[must_use]
    pub fn credentials_for(&self, host: &str, port: u16) -> Option<&Credentials> {
        let fits = |one: &&Credentials| {
            one.host.eq_ignore_ascii_case(host) && one.port.is_none_or(|wanted| wanted == port)
        };
        self.credentials.iter().find(fits)
    }

    /// The bounds of a destination that goes by one of these names.
    #[must_use]
    pub fn limits_of<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> LaneLimits {
        let named = |limit: &&DestinationLimit| {
            names.clone().any(|name| names_of(name).any(|one| limit.names.iter().any(|n| n == one)))
        };
        self.limits.iter().find(named).map(|limit| limit.lane).unwrap_or_default()
    }
}

/// Bounds of one destination, or of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationLimit {
    /// Recipient domains (`.example.com` for all below) where mail goes by MX; hosts of next hops
    /// where it does not.
    pub names: Vec<String>,
    /// What holds for each of them.
    pub lane: LaneLimits,
}

/// How long each phase may take (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening the connection, per address. Default 30 s.
    pub connect: Duration,
    /// The greeting. Default 5 min.
    pub greeting: Duration,
    /// EHLO, STARTTLS with its handshake, RSET. Default 1 min.
    pub hello: Duration,
    /// MAIL and RCPT. Default 5 min.
    pub command: Duration,
    /// The reply to DATA. Default 2 min.
    pub data_start: Duration,
    /// Each piece of the data. Default 3 min.
    pub data_block: Duration,
    /// The reply to the end of the data. Default 10 min.
    pub data_end: Duration,
    /// One whole transaction, whatever it is made of. Default 1 hour.
    pub transaction: Duration,
    /// How long a server that could not be reached is tried after the others only. Default 1 min.
    pub avoid: Duration,
    /// The reply to QUIT. Default 5 s: nothing depends on it.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(300),
            hello: Duration::from_secs(60),
            command: Duration::from_secs(300),
            data_start: Duration::from_secs(120),
            data_block: Duration::from_secs(180),
            data_end: Duration::from_secs(600),
            transaction: Duration::from_secs(3_600),
            avoid: Duration::from_secs(60),
            quit: Duration::from_secs(5),
        }
    }
}

/// How connections are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// How long an unused connection is kept. Default 10 s; zero turns reuse off.
    pub idle: Duration,
    /// Connections to one server at a time, used and unused. Default 20.
    pub max_per_server: usize,
    /// Messages over one connection. Default 1,000.
    pub max_messages: u32,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), max_per_server: 20, max_messages: 1_000 }
    }
}
