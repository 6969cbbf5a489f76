//! Patterns of addresses and domains, and the index that finds all sets an address is in.
//!
//! In: text such as `*@*.example.com`. Out: a pattern, or why it is none. Addresses compare without
//! case; a domain compares by its A-labels, so `例え.jp` and `xn--r8jz45g.jp` are one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use imss_core::envelope::{Domain, ForwardPath, Mailbox, ReversePath, Syntax};

/// A domain with an optional leading `*.`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainPattern {
    /// Every domain: `*`.
    Any,
    /// This domain, in lower case, as A-labels.
    Exact(String),
    /// Every domain below this one: `*.example.com`.
    Below(String),
}

/// Addresses: one, all of a domain, or those that match a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressPattern {
    /// The null reverse-path: `<>`.
    Null,
    /// One address, in lower case.
    Exact(String),
    /// `*` and `?` in the local part, in lower case; `*` alone is the whole domain.
    Wildcard {
        /// The local part's pattern.
        local_part: String,
        /// The domain.
        domain: DomainPattern,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// No `@` where there must be one.
    #[error("an address has an `@`")]
    NoAt,
    /// The local part is empty or has characters that cannot be there.
    #[error("the part before `@` is not valid")]
    LocalPart,
    /// Not a domain.
    #[error("a part of the domain is empty or has characters that cannot be there")]
    Domain,
    /// A `*` elsewhere than as the whole first label.
    #[error("`*` can stand only for the whole first part of a domain, as in `*.example.com`")]
    DomainWildcard,
}

impl DomainPattern {
    /// Reads `example.com`, `*.example.com` or `*`.
    ///
    /// # Errors
    ///
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(PatternError::DomainWildcard);
        }
        let domain = Domain::parse(name, Syntax::LAX).map_err(|_| PatternError::Domain)?;
        let key = domain_key(&domain);
        Ok(if below { Self::Below(key) } else { Self::Exact(key) })
    }

    fn matches(&self, domain: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name == domain,
            Self::Below(name) => parents(domain).any(|parent| parent == name),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl AddressPattern {
    /// Reads `local-part@domain` with wildcards, or `<>`.
    ///
    /// # Errors
    ///
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "<>" {
            return Ok(Self::Null);
        }
        let (local_part, domain) = text.rsplit_once('@').ok_or(PatternError::NoAt)?;
        if local_part.contains(['*', '?']) || domain.contains('*') {
            let fits = |c: char| !c.is_control() && !c.is_whitespace() && !"<>(),:;@[]".contains(c);
            if local_part.is_empty() || !local_part.chars().all(fits) {
                return Err(PatternError::LocalPart);
            }
            return Ok(Self::Wildcard {
                local_part: local_part.to_lowercase(),
                domain: DomainPattern::parse(domain)?,
            });
        }
        let domain = Domain::parse(domain, Syntax::LAX).map_err(|_| PatternError::Domain)?;
        Mailbox::parse(text, Syntax::LAX).map_err(|_| PatternError::LocalPart)?;
        Ok(Self::Exact(format!("{}@{}", local_part_key(local_part), domain_key(&domain))))
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Exact(address) => f.write_str(address),
            Self::Wildcard { local_part, domain } => write!(f, "{local_part}@{domain}"),
        }
    }
}

/// An address in the form that patterns compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Null,
    Some { text: String, at: usize },
}

impl Address {
    pub(crate) fn of_reverse_path(path: &ReversePath) -> Self {
        path.mailbox().map_or(Self::Null, Self::of_mailbox)
    }

    pub(crate) fn of_forward_path(path: &ForwardPath) -> Self {
        match path.mailbox() {
            Some(mailbox) => Self::of_mailbox(mailbox),
            None => Self::Some { text: "postmaster@".to_owned(), at: 10 },
        }
    }

    pub(crate) fn of_mailbox(mailbox: &Mailbox) -> Self {
        let mut text = local_part_key(mailbox.local_part());
        let at = text.len();
        text.push('@');
        text.push_str(&domain_key(mailbox.domain()));
        Self::Some { text, at }
    }

    /// Whether its domain is one of `domains`.
    pub(crate) fn is_in(&self, domains: &[DomainPattern]) -> bool {
        match self {
            Self::Null => false,
            Self::Some { text, at } => {
                let domain = text.get(at.saturating_add(1)..).unwrap_or_default();
                domains.iter().any(|pattern| pattern.matches(domain))
            }
        }
    }
}

/// Which numbered sets an address is in, at a cost that does not grow with their sizes.
#[derive(Debug, Default)]
pub(crate) struct AddressIndex {
    null: Vec<u32>,
    /// Exact addresses; the value is a place in `combinations`.
    exact: HashMap<Box<str>, u32>,
    combinations: Vec<Vec<u32>>,
    combination_places: HashMap<Vec<u32>, u32>,
    domains: HashMap<String, Vec<LocalParts>>,
    below: HashMap<String, Vec<LocalParts>>,
    any: Vec<LocalParts>,
}

#[derive(Debug)]
struct LocalParts {
    pattern: String,
    set: u32,
}

impl AddressIndex {
    /// Puts the addresses of `pattern` into `set`.
    pub(crate) fn insert(&mut self, pattern: AddressPattern, set: u32) {
        match pattern {
            AddressPattern::Null => self.null.push(set),
            AddressPattern::Exact(address) => self.insert_exact(address.into_boxed_str(), set),
            AddressPattern::Wildcard { local_part, domain } => {
                let entry = LocalParts { pattern: local_part, set };
                match domain {
                    DomainPattern::Any => self.any.push(entry),
                    DomainPattern::Exact(name) => self.domains.entry(name).or_default().push(entry),
                    DomainPattern::Below(name) => self.below.entry(name).or_default().push(entry),
                }
            }
        }
    }

    fn insert_exact(&mut self, address: Box<str>, set: u32) {
        let known = self.exact.get(&address).and_then(|place| self.combination(*place));
        let mut sets = known.map(<[u32]>::to_vec).unwrap_or_default();
        if !sets.contains(&set) {
            sets.push(set);
            sets.sort_unstable();
        }
        let place = match self.combination_places.get(&sets) {
            Some(place) => *place,
            None => {
                let place = u32::try_from(self.combinations.len()).unwrap_or(u32::MAX);
                self.combinations.push(sets.clone());
                self.combination_places.insert(sets, place);
                place
            }
        };
        self.exact.insert(address, place);
    }

    fn combination(&self, place: u32) -> Option<&[u32]> {
        self.combinations.get(usize::try_from(place).ok()?).map(Vec::as_slice)
    }

    /// All sets that `address` is in, in order.
    pub(crate) fn sets_of(&self, address: &Address) -> Vec<u32> {
        let Address::Some { text, at } = address else {
            return self.null.clone();
        };
        let mut sets: Vec<u32> = self
            .exact
            .get(text.as_str())
            .and_then(|place| self.combination(*place))
            .unwrap_or_default()
            .to_vec();
        let local_part = text.get(..*at).unwrap_or_default();
        let domain = text.get(at.saturating_add(1)..).unwrap_or_default();
        let here = self.domains.get(domain).into_iter().flatten();
        let above = parents(domain).filter_map(|parent| self.below.get(parent)).flatten();
        let matching = here.chain(above).chain(&self.any);
        sets.extend(
            matching.filter(|entry| glob(&entry.pattern, local_part)).map(|entry| entry.set),
        );
        sets.sort_unstable();
        sets.dedup();
        sets
    }
}

/// The domains above `domain`, nearest first.
fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(domain), |name| parent(name))
}

fn parent(domain: &str) -> Option<&str> {
    domain.split_once('.').map(|(_, parent)| parent)
}

fn local_part_key(local_part: &str) -> String {
    let inner = local_part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    inner.filter(|inner| inner.chars().all(plain)).unwrap_or(local_part).to_lowercase()
}

fn domain_key(domain: &Domain) -> String {
    match domain {
        Domain::Name(name) if name.is_ascii() => name.to_ascii_lowercase(),
        Domain::Name(name) => idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL)
            .map_or_else(|_| name.to_lowercase(), Cow::into_owned),
        literal @ Domain::Literal(_) => literal.to_string().to_lowercase(),
    }
}

/// Whether all of `text` matches `pattern` with `*` and `?`. Work is at most the product of the
/// lengths, and in practice their sum.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry = None;
    loop {
        let text_before = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                text = text_before;
                retry = Some((pattern.clone(), text.clone()));
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => {}
            (Some(p), Some(t)) if p == t => {}
            _ => {
                let Some((after_star, mut from)) = retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                text = from.clone();
                retry = Some((after_star, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Address {
        Address::of_mailbox(&Mailbox::parse(text, Syntax::LAX).unwrap())
    }

    #[test]
    fn patterns() {
        let cases = [
            ("case does not matter", "Taro@Example.COM", "taro@example.com", true),
            ("another address", "taro@example.com", "hanako@example.com", false),
            ("a whole domain", "*@example.com", "x@example.com", true),
            ("a domain is not those below", "*@example.com", "x@a.example.com", false),
            ("below", "*@*.example.com", "x@a.b.example.com", true),
            ("below is not the domain", "*@*.example.com", "x@example.com", false),
            ("below is whole labels", "*@*.example.com", "x@badexample.com", false),
            ("part of a local part", "sales-*@example.com", "sales-jp@example.com", true),
            ("a question mark is one", "a?@example.com", "abc@example.com", false),
            ("stars inside", "a*b*c@*", "aXbXbYc@anywhere.example", true),
            ("quotes that say nothing", "taro@example.com", "\"taro\"@example.com", true),
            ("U-label and A-label", "*@例え.jp", "x@xn--r8jz45g.jp", true),
            ("an address literal", "*@[192.0.2.1]", "x@[192.0.2.1]", true),
        ];
        for (name, pattern, address, expected) in cases {
            let mut index = AddressIndex::default();
            index.insert(AddressPattern::parse(pattern).unwrap(), 7);
            assert_eq!(index.sets_of(&mailbox(address)) == [7], expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_a_pattern() {
        let cases = [
            ("no at", "example.com", PatternError::NoAt),
            ("nothing before", "@example.com", PatternError::LocalPart),
            ("a space", "a b@example.com", PatternError::LocalPart),
            ("nothing after", "a@", PatternError::Domain),
            ("a star inside a domain", "a@mail.*.com", PatternError::DomainWildcard),
            ("a star in a label", "a@mx*.example.com", PatternError::DomainWildcard),
        ];
        for (name, pattern, expected) in cases {
            assert_eq!(AddressPattern::parse(pattern), Err(expected), "{name}");
        }
    }

    #[test]
    fn one_address_can_be_in_many_sets() {
        let mut index = AddressIndex::default();
        let patterns = ["a@x.example", "*@x.example", "*@*", "a@x.example", "b@x.example"];
        for (pattern, set) in patterns.into_iter().zip([3, 1, 2, 0, 9]) {
            index.insert(AddressPattern::parse(pattern).unwrap(), set);
        }
        index.insert(AddressPattern::Null, 5);
        assert_eq!(index.sets_of(&mailbox("A@X.example")), [0, 1, 2, 3]);
        assert_eq!(index.sets_of(&Address::Null), [5]);
    }

    #[test]
    fn postmaster_without_a_domain_is_an_address() {
        let mut index = AddressIndex::default();
        index.insert(AddressPattern::parse("postmaster@*").unwrap(), 1);
        assert_eq!(index.sets_of(&Address::of_forward_path(&ForwardPath::Postmaster)), [1]);
    }
}
