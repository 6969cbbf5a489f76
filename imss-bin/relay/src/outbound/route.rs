//! Where mail goes next: which next hop serves which domain, and its written form.
//!
//! In: `mx`, `maildir:/dir`, `smtp://host:port`, `lmtp://host:port` or `lmtp+unix:/path`; several
//! `host:port` separated by commas are tried in order. Out: a [`NextHop`], or what is wrong with it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use imss_core::envelope::{Domain, ForwardPath};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where mail goes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// Into `dir/ADDRESS/{tmp,new,cur}`.
    Maildir {
        /// The folder of all mailboxes.
        dir: PathBuf,
    },
    /// To the first of these servers that answers, by SMTP.
    Smtp {
        /// In order of preference; at least one.
        servers: Vec<Server>,
    },
    /// To the first of these servers that answers, by LMTP (RFC 2033).
    Lmtp {
        /// In order of preference; at least one.
        servers: Vec<Server>,
    },
    /// To the MX of the recipient's domain (RFC 5321 §5.1).
    Mx,
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
        "expected mx, maildir:/dir, smtp://host:port, lmtp://host:port or lmtp+unix:/path, found {0:?}"
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
            return absolute(path).map(|path| Self::Lmtp { servers: vec![Server::Unix { path }] });
        }
        if let Some(list) = text.strip_prefix("smtp://") {
            return servers(list, 25).map(|servers| Self::Smtp { servers });
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
            Self::Lmtp { servers } => ("lmtp", servers),
        };
        if let [Server::Unix { path }] = servers.as_slice() {
            return write!(f, "{scheme}+unix:{}", path.display());
        }
        write!(f, "{scheme}://")?;
        for (index, server) in servers.iter().enumerate() {
            write!(f, "{}{server}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
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

fn servers(list: &str, default_port: u16) -> Result<Vec<Server>, NextHopError> {
    list.trim_end_matches('/').split(',').map(|server| tcp(server.trim(), default_port)).collect()
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

/// Which next hop serves which domain.
#[derive(Debug, Clone)]
pub struct Routing {
    /// For every domain that is not named.
    pub default: NextHop,
    /// By recipient domain, in lower case. `.example.com` serves all names below `example.com`.
    pub by_domain: HashMap<String, NextHop>,
}

impl Routing {
    /// The same next hop for all.
    #[must_use]
    pub fn all_to(default: NextHop) -> Self {
        Self { default, by_domain: HashMap::new() }
    }

    /// The next hop of a recipient: its domain's, else the nearest parent's written with a leading
    /// dot, else the default.
    #[must_use]
    pub fn next_hop(&self, recipient: &ForwardPath) -> &NextHop {
        let Some(domain) = recipient.domain_name().filter(|_| !self.by_domain.is_empty()) else {
            return &self.default;
        };
        let parents = domain.match_indices('.').filter_map(|(at, _)| domain.get(at..));
        std::iter::once(domain)
            .chain(parents)
            .find_map(|name| self.by_domain.get(name))
            .unwrap_or(&self.default)
    }
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
        };
        let cases = [
            ("the domain itself", "u@example.com", "smtp://a:25"),
            ("below it", "u@x.y.example.com", "smtp://b:25"),
            ("another", "u@example.org", "mx"),
            ("ends alike", "u@badexample.com", "mx"),
            ("postmaster without a domain", "postmaster", "mx"),
        ];
        for (name, recipient, expected) in cases {
            let path = ForwardPath::parse(recipient, Syntax::default()).expect(name);
            assert_eq!(routing.next_hop(&path).to_string(), expected, "{name}");
        }
    }
}
