//! Domain names as policies and signatures compare them: in ASCII, lower case, no dot at the end.

use std::borrow::Cow;

/// A domain, or `*.` and a domain for everything below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainPattern {
    domain: String,
    below: bool,
}

impl DomainPattern {
    /// Reads `example.com` or `*.example.com`; `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let domain = idna::domain_to_ascii(name).ok()?;
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let valid = domain.len() <= 253 && domain.split('.').all(is_label);
        valid.then_some(Self { domain, below })
    }

    /// Whether `domain`, as [`tidy`] gives it, is meant.
    #[must_use]
    pub fn matches(&self, domain: &str) -> bool {
        if self.below {
            domain.len() > self.domain.len() && is_within(domain, &self.domain)
        } else {
            domain == self.domain
        }
    }
}

impl std::fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.below {
            f.write_str("*.")?;
        }
        f.write_str(&self.domain)
    }
}

/// `domain` in ASCII and lower case, without a dot at its end.
#[must_use]
pub fn tidy(domain: &str) -> String {
    let bare = domain.strip_suffix('.').unwrap_or(domain);
    let ascii = if bare.is_ascii() {
        Cow::Borrowed(bare)
    } else {
        idna::domain_to_ascii(bare).map_or(Cow::Borrowed(bare), Cow::Owned)
    };
    ascii.to_ascii_lowercase()
}

/// The tidy domain of a mailbox; `None` without an `@`.
#[must_use]
pub fn domain_of(mailbox: &str) -> Option<String> {
    mailbox.rsplit_once('@').map(|(_, domain)| tidy(domain)).filter(|domain| !domain.is_empty())
}

/// Whether `domain` is `above` or below it. Both tidy.
#[must_use]
pub fn is_within(domain: &str, above: &str) -> bool {
    match domain.strip_suffix(above) {
        Some(rest) => !above.is_empty() && (rest.is_empty() || rest.ends_with('.')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("itself", "example.com", "example.com", true),
            ("not what is below", "example.com", "a.example.com", false),
            ("below", "*.example.com", "a.b.example.com", true),
            ("a star is not the domain itself", "*.example.com", "example.com", false),
            ("a name that only ends alike", "*.example.com", "badexample.com", false),
            ("in the administrator's spelling", "Bücher.example", "xn--bcher-kva.example", true),
        ];
        for (name, pattern, domain, expected) in cases {
            let pattern = DomainPattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(domain), expected, "{name}");
        }
        for wrong in ["", "*.", "a..b", "a b.example", "user@example.com"] {
            assert_eq!(DomainPattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn domains() {
        assert_eq!(tidy("Example.COM."), "example.com");
        assert_eq!(domain_of("\"a@b\"@Example.com").as_deref(), Some("example.com"));
        assert_eq!(domain_of("nobody"), None);
        assert!(is_within("a.b", "b") && is_within("b", "b") && !is_within("ab", "b"));
        assert!(!is_within("a.b", ""));
    }
}
