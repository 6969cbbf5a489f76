//! Where mail goes next: which next hop serves which domain, and its written form.
//!
//! In: `mx`, `maildir:/dir`, `smtp://host:port`, `smtps://host:port`, `lmtp://host:port` or
//! `lmtp+unix:/path`. Servers after commas are tried in order; servers between bars share the load by
//! weight, `a*3|b,c`: three of four go to `a`, one to `b`, and to `c` if both fail. Out: a [`NextHop`],
//! or what is wrong with it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use imss_core::envelope::{Domain, ForwardPath, ReversePath};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where mail goes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// Into `dir/ADDRESS/{tmp,new,cur}`.
    Maildir {
        /// The folder of all mailboxes.
        dir: PathBuf,
    },
    /// To one of these servers, by SMTP.
    Smtp {
        /// The servers; at least one.
        servers: Servers,
    },
    /// To one of these servers, by SMTP with TLS from the first octet (RFC 8314 §3.3).
    Smtps {
        /// The servers; at least one.
        servers: Servers,
    },
    /// To one of these servers, by LMTP (RFC 2033).
    Lmtp {
        /// The servers; at least one.
        servers: Servers,
    },
    /// To the MX of the recipient's domain (RFC 5321 §5.1).
    Mx,
}

/// Servers in groups: a group is tried when those before it failed; within one, weight decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Servers {
    groups: Vec<Vec<(Server, u16)>>,
}

impl Servers {
    /// This server alone.
    #[must_use]
    pub fn one(server: Server) -> Self {
        Self { groups: vec![vec![(server, 1)]] }
    }

    /// All of them, in the order they are written.
    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.groups.iter().flatten().map(|(server, _)| server)
    }

    /// All of them in the order to try now: each group in a random order in which the weight of a
    /// server is its chance to be next.
    #[must_use]
    pub fn in_turn(&self) -> Vec<Server> {
        let mut all = Vec::new();
        for group in &self.groups {
            let mut left: Vec<&(Server, u16)> = group.iter().collect();
            while !left.is_empty() {
                let total: u64 = left.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let mut drawn = getrandom::u64().unwrap_or(0).checked_rem(total).unwrap_or(0);
                let next = left.iter().position(|(_, weight)| {
                    let taken = drawn < u64::from(*weight);
                    drawn = drawn.saturating_sub(u64::from(*weight));
                    taken
                });
                let (server, _) = left.swap_remove(next.unwrap_or(0));
                all.push(server.clone());
            }
        }
        all
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            for (index, (server, weight)) in group.iter().enumerate() {
                write!(f, "{}{server}", if index == 0 { "" } else { "|" })?;
                if *weight != 1 {
                    write!(f, "*{weight}")?;
                }
            }
        }
        Ok(())
    }
}

/// A server given by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Server {
    /// A host name or address, and a port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

/// Why a text is not a next hop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NextHopError {
    /// No known form.
    #[error(
        "expected mx, maildir:/dir, smtp://host:port, smtps://host:port, lmtp://host:port or \
         lmtp+unix:/path, found {0:?}"
    )]
    Form(String),
    /// A path is relative.
    #[error("expected an absolute path, found {0:?}")]
    RelativePath(String),
    /// Not a host.
    #[error("{0:?} is not a host name or address")]
    Host(String),
    /// Not a port.
    #[error("{0:?} is not a port number from 1 to 65535")]
    Port(String),
    /// Not a weight.
    #[error("{0:?} is not a weight from 1 to 1000")]
    Weight(String),
}

impl FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        if text == "mx" {
            return Ok(Self::Mx);
        }
        if let Some(path) = text.strip_prefix("maildir:") {
            return absolute(path).map(|dir| Self::Maildir { dir });
        }
        if let Some(path) = text.strip_prefix("lmtp+unix:") {
            return absolute(path)
                .map(|path| Self::Lmtp { servers: Servers::one(Server::Unix { path }) });
        }
        if let Some(list) = text.strip_prefix("smtp://") {
            return servers(list, 25).map(|servers| Self::Smtp { servers });
        }
        if let Some(list) = text.strip_prefix("smtps://") {
            return servers(list, 465).map(|servers| Self::Smtps { servers });
        }
        if let Some(list) = text.strip_prefix("lmtp://") {
            return servers(list, 24).map(|servers| Self::Lmtp { servers });
        }
        Err(NextHopError::Form(text.to_owned()))
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, servers) = match self {
            Self::Mx => return f.write_str("mx"),
            Self::Maildir { dir } => return write!(f, "maildir:{}", dir.display()),
            Self::Smtp { servers } => ("smtp", servers),
            Self::Smtps { servers } => ("smtps", servers),
            Self::Lmtp { servers } => ("lmtp", servers),
        };
        match servers.iter().next() {
            Some(Server::Unix { path }) => write!(f, "{scheme}+unix:{}", path.display()),
            _ => write!(f, "{scheme}://{servers}"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => path.display().fmt(f),
        }
    }
}

fn absolute(path: &str) -> Result<PathBuf, NextHopError> {
    // "maildir:///dir" is the same as "maildir:/dir".
    let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if !path.starts_with('/') {
        return Err(NextHopError::RelativePath(path.to_owned()));
    }
    Ok(PathBuf::from(path))
}

fn servers(list: &str, default_port: u16) -> Result<Servers, NextHopError> {
    let groups = list.trim_end_matches('/').split(',').map(|group| {
        group.split('|').map(|server| weighted(server.trim(), default_port)).collect()
    });
    Ok(Servers { groups: groups.collect::<Result<_, _>>()? })
}

fn weighted(text: &str, default_port: u16) -> Result<(Server, u16), NextHopError> {
    let Some((server, weight)) = text.split_once('*') else {
        return Ok((tcp(text, default_port)?, 1));
    };
    let number = weight.trim().parse().ok().filter(|weight| (1..=1_000).contains(weight));
    let weight = number.ok_or_else(|| NextHopError::Weight(weight.to_owned()))?;
    Ok((tcp(server.trim(), default_port)?, weight))
}

fn tcp(text: &str, default_port: u16) -> Result<Server, NextHopError> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = match bracketed {
        Some(_) => host.parse::<IpAddr>().is_ok(),
        None => Domain::parse(host, Default::default()).is_ok(),
    };
    if !is_host {
        return Err(NextHopError::Host(text.to_owned()));
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| NextHopError::Port(port.to_owned()))?,
    };
    Ok(Server::Tcp { host: host.to_owned(), port })
}

impl Serialize for NextHop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NextHop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which next hop serves which mail.
#[derive(Debug, Clone)]
pub struct Routing {
    /// For everything that nothing else names.
    pub default: NextHop,
    /// By recipient domain, in lower case. `.example.com` serves all names below `example.com`.
    pub by_domain: HashMap<String, NextHop>,
    /// Asked first, in order: routes that look at the sender as well.
    pub routes: Vec<Route>,
}

/// One route: mail from these domains to these domains goes there.
#[derive(Debug, Clone)]
pub struct Route {
    /// Domains of the reverse-path, written as in [`Routing::by_domain`]; empty for all mail.
    pub from: HashSet<String>,
    /// Domains of the recipient; empty for all.
    pub to: HashSet<String>,
    /// Where it goes.
    pub next_hop: NextHop,
}

impl Route {
    /// The route in words: `from a.example to b.example: smtp://c.example:25`.
    #[must_use]
    pub fn describe(&self) -> String {
        let side = |word: &str, set: &HashSet<String>| {
            let mut names: Vec<String> = set.iter().map(|name| written(name)).collect();
            names.sort();
            if names.is_empty() { String::new() } else { format!("{word} {} ", names.join(", ")) }
        };
        let sides = format!("{}{}", side("from", &self.from), side("to", &self.to));
        format!("{}: {}", sides.trim_end(), self.next_hop)
    }
}

/// A domain as the configuration writes it.
fn written(name: &str) -> String {
    if name.starts_with('.') { format!("*{name}") } else { name.to_owned() }
}

impl Routing {
    /// The same next hop for all.
    #[must_use]
    pub fn all_to(default: NextHop) -> Self {
        Self { default, by_domain: HashMap::new(), routes: Vec::new() }
    }

    /// The next hop of a recipient: the first route that fits, else its domain's, else the nearest
    /// parent's written with a leading dot, else the default.
    #[must_use]
    pub fn next_hop(&self, reverse_path: &ReversePath, recipient: &ForwardPath) -> &NextHop {
        let to = recipient.mailbox().and_then(|mailbox| mailbox.domain().ascii_name());
        let to = to.as_deref();
        if !self.routes.is_empty() {
            let from = reverse_path.mailbox().and_then(|mailbox| mailbox.domain().ascii_name());
            let fits = |route: &&Route| fits(&route.from, from.as_deref()) && fits(&route.to, to);
            if let Some(route) = self.routes.iter().find(fits) {
                return &route.next_hop;
            }
        }
        let Some(domain) = to.filter(|_| !self.by_domain.is_empty()) else {
            return &self.default;
        };
        names_of(domain).find_map(|name| self.by_domain.get(name)).unwrap_or(&self.default)
    }
}

fn fits(set: &HashSet<String>, domain: Option<&str>) -> bool {
    set.is_empty() || domain.is_some_and(|name| names_of(name).any(|name| set.contains(name)))
}

/// A domain as tables may name it: itself, then its parents with a leading dot, nearest first.
pub(super) fn names_of(domain: &str) -> impl Iterator<Item = &str> {
    let parents = domain.match_indices('.').filter_map(|(at, _)| domain.get(at..));
    std::iter::once(domain).chain(parents)
}

/// A destination's name: recipients with equal keys share a job, back-off is counted by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DestinationKey(Arc<str>);

impl DestinationKey {
    /// The key of `recipient` at `next_hop`: the next hop, and for [`NextHop::Mx`] the domain.
    #[must_use]
    pub fn new(next_hop: &NextHop, recipient: &ForwardPath) -> Self {
        match (next_hop, recipient.mailbox()) {
            (NextHop::Mx, Some(mailbox)) => Self(format!("mx:{}", mailbox.domain()).into()),
            _ => Self(next_hop.to_string().into()),
        }
    }

    /// What its limits may name: the domain, or the hosts of the next hop.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let text = self.0.strip_prefix("mx:");
        let text = text.or_else(|| self.0.split_once("://").map(|(_, rest)| rest));
        let servers = text.unwrap_or_default().split([',', '|']);
        servers.map(|server| match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => server.split([':', '*']).next().unwrap_or(server),
        })
    }

    /// The key as text, as logs and commands show it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imss_core::envelope::Syntax;

    #[test]
    fn written_forms() {
        let cases = [
            ("by MX", "mx", "mx"),
            ("Maildir", "maildir:/var/mail", "maildir:/var/mail"),
            ("Maildir as a URL", "maildir:///var/mail", "maildir:/var/mail"),
            ("SMTP with its default port", "smtp://mail.example", "smtp://mail.example:25"),
            (
                "SMTP, two servers",
                "smtp://a.example:26,b.example",
                "smtp://a.example:26,b.example:25",
            ),
            ("an IPv4 address", "smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("an IPv6 address", "lmtp://[::1]:24", "lmtp://[::1]:24"),
            ("TLS at once", "smtps://a.example", "smtps://a.example:465"),
            (
                "weights and a spare",
                "smtp://a.example*3|b.example:26,c.example",
                "smtp://a.example:25*3|b.example:26,c.example:25",
            ),
            ("LMTP over a socket file", "lmtp+unix:/run/lmtp", "lmtp+unix:/run/lmtp"),
        ];
        for (name, text, shown) in cases {
            let next_hop: NextHop = text.parse().expect(name);
            assert_eq!(next_hop.to_string(), shown, "{name}");
            assert_eq!(shown.parse::<NextHop>().expect(name), next_hop, "{name}");
        }
    }

    #[test]
    fn mistakes() {
        let cases = [
            ("empty", "", NextHopError::Form(String::new())),
            ("unknown scheme", "http://x", NextHopError::Form("http://x".into())),
            ("relative folder", "maildir:mail", NextHopError::RelativePath("mail".into())),
            ("no host", "smtp://", NextHopError::Host(String::new())),
            ("port zero", "smtp://a:0", NextHopError::Port("0".into())),
            ("a port too large", "smtp://a:65536", NextHopError::Port("65536".into())),
            ("no weight", "smtp://a*0", NextHopError::Weight("0".into())),
            ("an empty share", "smtp://a|", NextHopError::Host(String::new())),
            ("a name in brackets", "smtp://[a]:25", NextHopError::Host("[a]:25".into())),
        ];
        for (name, text, expected) in cases {
            assert_eq!(text.parse::<NextHop>(), Err(expected), "{name}");
        }
    }

    #[test]
    fn routing_by_domain() {
        let hop = |text: &str| text.parse::<NextHop>().expect("a next hop");
        let by_domain = [("example.com", "smtp://a"), (".example.com", "smtp://b")];
        let routing = Routing {
            default: NextHop::Mx,
            by_domain: by_domain.iter().map(|(name, to)| ((*name).to_owned(), hop(to))).collect(),
            routes: vec![Route {
                from: HashSet::from([".branch.example".to_owned()]),
                to: HashSet::from(["example.com".to_owned(), "example.net".to_owned()]),
                next_hop: hop("smtp://c"),
            }],
        };
        let cases = [
            ("the domain itself", "", "u@example.com", "smtp://a:25"),
            ("below it", "", "u@x.y.example.com", "smtp://b:25"),
            ("another", "", "u@example.org", "mx"),
            ("ends alike", "", "u@badexample.com", "mx"),
            ("postmaster without a domain", "", "postmaster", "mx"),
            ("from there to here", "s@x.branch.example", "u@example.com", "smtp://c:25"),
            ("from there to elsewhere", "s@x.branch.example", "u@example.org", "mx"),
            ("from elsewhere to here", "s@example.org", "u@example.net", "mx"),
        ];
        for (name, sender, recipient, expected) in cases {
            let from = ReversePath::parse(sender, Syntax::default()).expect(name);
            let path = ForwardPath::parse(recipient, Syntax::default()).expect(name);
            assert_eq!(routing.next_hop(&from, &path).to_string(), expected, "{name}");
        }
    }

    #[test]
    fn weight_is_the_chance_to_be_first() {
        let hop: NextHop = "smtp://a*9|b,c".parse().expect("a next hop");
        let NextHop::Smtp { servers } = hop else { panic!("not SMTP") };
        let orders: Vec<Vec<String>> = (0..1_000)
            .map(|_| servers.in_turn().iter().map(ToString::to_string).collect())
            .collect();
        let first = orders.iter().filter(|order| order[0] == "a:25").count();
        assert!((800..=980).contains(&first), "{first} of 1000");
        assert!(orders.iter().all(|order| order.len() == 3 && order[2] == "c:25"));
    }
}
