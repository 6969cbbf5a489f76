//! Who may send to whom: never an open relay, whatever is configured or forgotten.
//!
//! In: the client's address and a forward-path. Out: yes, or why not.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use imss_core::envelope::{Domain, ForwardPath, PathError, Syntax};
use ipnet::IpNet;

use crate::ids::unix_millis;
use crate::srs::Srs;

/// Relay control.
#[derive(Debug, Clone, Default)]
pub struct RelayRules {
    /// Domains we take mail for, from anyone.
    pub domains: DomainSet,
    /// Clients that may send anywhere.
    pub trusted_networks: Vec<IpNet>,
    /// Take forward-paths that ask us to relay in their own words: `@a,@b:c@d`, `user%other@us`,
    /// `other!user@us`, `"user@other"@us`, and local parts with `#` or `$`.
    pub allow_source_routes: bool,
    /// Addresses that were rewritten here for forwarding are taken from anyone.
    pub srs: Option<Arc<Srs>>,
}

/// Why a forward-path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Not our domain, and not a client that may send elsewhere.
    #[error("relay access denied")]
    Relay,
    /// The local part, or a route before the mailbox, names another host.
    #[error("source routes are not accepted")]
    SourceRoute,
    /// It looks like an address that was rewritten here, and was not, or long ago.
    #[error("no such rewritten address")]
    Rewritten,
}

impl RelayRules {
    /// Whether `client` may send to any domain.
    #[must_use]
    pub fn trusts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.trusted_networks.iter().any(|network| network.contains(&client))
    }

    /// Whether a forward-path is accepted. `written` is the text between `<` and `>`, which still
    /// has the source route that `path` lost.
    ///
    /// # Errors
    ///
    /// See [`Denied`].
    pub fn check(&self, trusted: bool, written: &str, path: &ForwardPath) -> Result<(), Denied> {
        match self.srs.as_ref().map(|srs| srs.reverse(path, unix_millis())) {
            Some(Ok(Some(_))) => return Ok(()),
            Some(Err(_)) => return Err(Denied::Rewritten),
            Some(Ok(None)) | None => {}
        }
        if !self.allow_source_routes && is_routed(written, path) {
            return Err(Denied::SourceRoute);
        }
        if trusted || self.is_ours(path) { Ok(()) } else { Err(Denied::Relay) }
    }

    /// Whether a forward-path is of a domain that we take mail for from anyone.
    #[must_use]
    pub fn is_ours(&self, path: &ForwardPath) -> bool {
        match path {
            ForwardPath::Postmaster => !self.domains.is_empty(),
            ForwardPath::Mailbox(mailbox) => self.domains.contains(mailbox.domain()),
        }
    }
}

fn is_routed(written: &str, path: &ForwardPath) -> bool {
    let local_part = path.mailbox().map_or("", |mailbox| mailbox.local_part());
    written.starts_with('@') || local_part.contains(['%', '!', '@', '#', '$'])
}

/// Mail domains: single ones, and whole trees of subdomains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainSet {
    exact: HashSet<String>,
    trees: HashSet<String>,
}

impl DomainSet {
    /// Adds a domain. `.example.com` and `*.example.com` stand for every subdomain of it, but not
    /// for itself; non-ASCII names may be given as U-labels or A-labels.
    ///
    /// # Errors
    ///
    /// `text` is not a domain name.
    pub fn insert(&mut self, text: &str) -> Result<(), PathError> {
        let tree = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let domain = Domain::parse(tree.unwrap_or(text), Syntax::LAX)?;
        let name = domain.ascii_name().ok_or(PathError::Syntax)?.into_owned();
        if tree.is_some() {
            self.trees.insert(name)
        } else {
            self.exact.insert(name)
        };
        Ok(())
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.trees.is_empty()
    }

    /// Whether `domain` is one of them. Address literals never are.
    #[must_use]
    pub fn contains(&self, domain: &Domain) -> bool {
        let Some(name) = domain.ascii_name() else { return false };
        let parents = || name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
        self.exact.contains(&*name)
            || (!self.trees.is_empty() && parents().any(|parent| self.trees.contains(parent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> RelayRules {
        let mut domains = DomainSet::default();
        for domain in ["Example.com", ".sub.example.net", "bücher.example"] {
            domains.insert(domain).unwrap();
        }
        let trusted_networks =
            vec!["127.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        RelayRules { domains, trusted_networks, ..RelayRules::default() }
    }

    #[test]
    fn strangers() {
        let cases = [
            ("our domain", "a@example.com", Ok(())),
            ("any case", "a@EXAMPLE.COM", Ok(())),
            ("subdomain of an exact one", "a@x.example.com", Err(Denied::Relay)),
            ("domain that only ends alike", "a@notexample.com", Err(Denied::Relay)),
            ("tree", "a@x.sub.example.net", Ok(())),
            ("root of a tree", "a@sub.example.net", Err(Denied::Relay)),
            ("other domain", "a@example.org", Err(Denied::Relay)),
            ("literal", "a@[192.0.2.1]", Err(Denied::Relay)),
            ("U-label", "a@bücher.example", Ok(())),
            ("A-label", "a@xn--bcher-kva.example", Ok(())),
            ("postmaster", "postmaster", Ok(())),
            ("percent", "a%b@example.com", Err(Denied::SourceRoute)),
            ("bang", "b!a@example.com", Err(Denied::SourceRoute)),
            ("quoted at", "\"a@b\"@example.com", Err(Denied::SourceRoute)),
            ("hash", "a#b@example.com", Err(Denied::SourceRoute)),
            ("dollar", "a$b@example.com", Err(Denied::SourceRoute)),
            ("route", "@x,@y:a@example.com", Err(Denied::SourceRoute)),
        ];
        for (name, text, expected) in cases {
            let path = ForwardPath::parse(text, Syntax::LAX).unwrap();
            assert_eq!(rules().check(false, text, &path), expected, "{name}");
        }
    }

    #[test]
    fn friends_send_anywhere_but_not_by_source_route() {
        let lax = RelayRules { allow_source_routes: true, ..rules() };
        let cases = [
            ("other domain", rules(), "a@example.org", Ok(())),
            ("percent", rules(), "a%b@example.org", Err(Denied::SourceRoute)),
            ("percent, allowed", lax.clone(), "a%b@example.org", Ok(())),
            ("route, allowed", lax, "@x:a@example.org", Ok(())),
        ];
        for (name, rules, text, expected) in cases {
            let path = ForwardPath::parse(text, Syntax::LAX).unwrap();
            assert_eq!(rules.check(true, text, &path), expected, "{name}");
        }
    }

    #[test]
    fn without_settings_nothing_is_relayed() {
        for text in ["a@example.org", "postmaster", "a@[127.0.0.1]"] {
            let path = ForwardPath::parse(text, Syntax::LAX).unwrap();
            let rules = RelayRules::default();
            assert_eq!(rules.check(false, text, &path), Err(Denied::Relay), "{text}");
        }
    }

    #[test]
    fn trusted_networks() {
        for (client, expected) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", true),
            ("::1", false),
        ] {
            assert_eq!(rules().trusts(client.parse().unwrap()), expected, "{client}");
        }
    }
}
