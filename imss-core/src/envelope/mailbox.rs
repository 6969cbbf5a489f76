//! Mailboxes and paths (RFC 5321 §4.1.2, RFC 6531 §3.3, RFC 5321 §4.1.3 for literals).
//!
//! In: the text between `<` and `>`. Out: a value that is valid, or the reason it is not.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which departures from RFC 5321 syntax are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Syntax {
    /// Accept UTF-8 in local part and domain (RFC 6531): the transaction said `SMTPUTF8`.
    pub utf8: bool,
    /// Accept a dot at the end of the local part, or two in a row, as old Japanese mobile
    /// addresses have them.
    pub lax_dots: bool,
}

impl Syntax {
    /// Everything we ever accept, for addresses that were checked before.
    pub const LAX: Self = Self { utf8: true, lax_dots: true };
}

/// Why a path is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The syntax is wrong.
    #[error("not a valid mailbox")]
    Syntax,
    /// The local part ends in a dot or has two in a row.
    #[error("misplaced dot in the local part")]
    Dots,
    /// UTF-8 without `SMTPUTF8`.
    #[error("non-ASCII address without SMTPUTF8")]
    NeedsUtf8,
    /// Longer than RFC 5321 §4.5.3.1 allows.
    #[error("address too long")]
    TooLong,
}

/// `local-part@domain` (RFC 5321 §2.3.11).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    local_part: String,
    domain: Domain,
}

/// What stands after the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// A host or mail domain, in lower case, without a trailing dot; U-labels stay as written.
    Name(String),
    /// An address literal (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

impl Domain {
    /// Reads a domain name or a `[literal]`.
    ///
    /// # Errors
    ///
    /// [`PathError::Syntax`], [`PathError::NeedsUtf8`] or [`PathError::TooLong`].
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, PathError> {
        if let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return parse_literal(literal);
        }
        if text.len() > 255 {
            return Err(PathError::TooLong);
        }
        if !text.is_ascii() && !syntax.utf8 {
            return Err(PathError::NeedsUtf8);
        }
        let label_is_valid = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c) || is_utf8_text(c))
        };
        if text.is_empty() || !text.split('.').all(label_is_valid) {
            return Err(PathError::Syntax);
        }
        Ok(Self::Name(text.to_lowercase()))
    }

    /// The name in A-labels (RFC 5890), for comparing and for DNS; none for an address literal and
    /// for a name that has no such form.
    #[must_use]
    pub fn ascii_name(&self) -> Option<Cow<'_, str>> {
        let name = self.name()?;
        if name.is_ascii() {
            return Some(Cow::Borrowed(name));
        }
        idna::domain_to_ascii(name).ok().map(Cow::Owned)
    }

    /// The name, unless it is an address literal.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

fn parse_literal(text: &str) -> Result<Domain, PathError> {
    let ipv6 = text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).and(text.get(5..));
    let address = match ipv6 {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    address.map(Domain::Literal).ok_or(PathError::Syntax)
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl Mailbox {
    /// Reads `local-part@domain`.
    ///
    /// # Errors
    ///
    /// See [`PathError`].
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, PathError> {
        let at = text.rfind('@').ok_or(PathError::Syntax)?;
        let (local_part, domain) = (text.get(..at), text.get(at.saturating_add(1)..));
        let (Some(local_part), Some(domain)) = (local_part, domain) else {
            return Err(PathError::Syntax);
        };
        check_local_part(local_part, syntax)?;
        Ok(Self { local_part: local_part.to_owned(), domain: Domain::parse(domain, syntax)? })
    }

    /// The local part as written, with its quotes if it had them.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether a transaction with this mailbox needs SMTPUTF8.
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        !self.local_part.is_ascii() || self.domain.name().is_some_and(|name| !name.is_ascii())
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

fn check_local_part(text: &str, syntax: Syntax) -> Result<(), PathError> {
    // Deviation: RFC 5321 §4.5.3.1.1 says 64; VERP and SRS addresses are longer and common.
    if text.len() > 255 {
        return Err(PathError::TooLong);
    }
    if !text.is_ascii() && !syntax.utf8 {
        return Err(PathError::NeedsUtf8);
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let inner = quoted.strip_suffix('"').ok_or(PathError::Syntax)?;
        return check_quoted(inner);
    }
    let is_atext =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(|c| c == '.' || is_atext(c)) {
        return Err(PathError::Syntax);
    }
    if (text.ends_with('.') || text.contains("..")) && !syntax.lax_dots {
        return Err(PathError::Dots);
    }
    Ok(())
}

fn check_quoted(inner: &str) -> Result<(), PathError> {
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|next| (' '..='~').contains(&next)),
            '"' => false,
            _ => (' '..='~').contains(&c) || is_utf8_text(c),
        };
        if !fine {
            return Err(PathError::Syntax);
        }
    }
    Ok(())
}

/// `MAIL FROM`: a mailbox, or null (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReversePath {
    /// `<>`: nobody wants to hear about failures.
    Null,
    /// Where failures are reported.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads what stands between `<` and `>`; a source route before the mailbox is dropped
    /// (RFC 5321 §4.1.1.3, appendix C).
    ///
    /// # Errors
    ///
    /// See [`PathError`].
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, PathError> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        Mailbox::parse(without_route(text)?, syntax).map(Self::Mailbox)
    }

    /// Whether it is `<>`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The mailbox, unless it is null.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// `RCPT TO`: a mailbox, or `Postmaster` without a domain (RFC 5321 §4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardPath {
    /// `<Postmaster>`.
    Postmaster,
    /// Everybody else.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads what stands between `<` and `>`; a source route before the mailbox is dropped.
    ///
    /// # Errors
    ///
    /// See [`PathError`].
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, PathError> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        Mailbox::parse(without_route(text)?, syntax).map(Self::Mailbox)
    }

    /// The mailbox, unless it is `Postmaster`.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The domain's name, if it has one.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        self.mailbox().and_then(|mailbox| mailbox.domain().name())
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("Postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

fn without_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    text.split_once(':').map(|(_, mailbox)| mailbox).ok_or(PathError::Syntax)
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text, Syntax::LAX).map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Mailbox);
serde_as_text!(ReversePath);
serde_as_text!(ForwardPath);

#[cfg(test)]
mod tests {
    use super::*;

    const UTF8: Syntax = Syntax { utf8: true, lax_dots: false };

    #[test]
    fn mailboxes() {
        let (strict, lax) = (Syntax::default(), Syntax::LAX);
        let long = |n: usize| format!("{}@b.example", "a".repeat(n));
        let cases: &[(&str, &str, Syntax, Result<&str, PathError>)] = &[
            ("plain", "a.b+c@b.example", strict, Ok("a.b+c@b.example")),
            ("domain in lower case", "Ab@B.Example", strict, Ok("Ab@b.example")),
            ("quoted", r#""a b\"@c"@b.example"#, strict, Ok(r#""a b\"@c"@b.example"#)),
            ("quotes that do not end", r#""a\"@b.example"#, strict, Err(PathError::Syntax)),
            ("quote inside", r#"a"b@b.example"#, strict, Err(PathError::Syntax)),
            ("IPv4 literal", "a@[192.0.2.1]", strict, Ok("a@[192.0.2.1]")),
            ("IPv6 literal", "a@[IPv6:2001:DB8::1]", strict, Ok("a@[IPv6:2001:db8::1]")),
            ("IPv6 without its tag", "a@[2001:db8::1]", strict, Err(PathError::Syntax)),
            ("octal IPv4", "a@[192.0.2.010]", strict, Err(PathError::Syntax)),
            ("no domain", "a@", strict, Err(PathError::Syntax)),
            ("no local part", "@b.example", strict, Err(PathError::Syntax)),
            ("nothing", "", strict, Err(PathError::Syntax)),
            ("two ats", "a@b@c.example", strict, Err(PathError::Syntax)),
            ("space", "a b@b.example", strict, Err(PathError::Syntax)),
            ("line end", "a\r\nb@b.example", lax, Err(PathError::Syntax)),
            ("line end in quotes", "\"a\r\nb\"@b.example", lax, Err(PathError::Syntax)),
            ("NUL", "a\0@b.example", lax, Err(PathError::Syntax)),
            ("C1 control", "a\u{85}@b.example", lax, Err(PathError::Syntax)),
            ("dot first", ".a@b.example", lax, Err(PathError::Syntax)),
            ("dot last", "a.@b.example", strict, Err(PathError::Dots)),
            ("dot last, allowed", "a.@b.example", lax, Ok("a.@b.example")),
            ("two dots", "a..b@b.example", strict, Err(PathError::Dots)),
            ("two dots, allowed", "a..b@b.example", lax, Ok("a..b@b.example")),
            ("root dot", "a@b.example.", strict, Err(PathError::Syntax)),
            ("empty label", "a@b..example", strict, Err(PathError::Syntax)),
            ("hyphen first", "a@-b.example", strict, Err(PathError::Syntax)),
            ("UTF-8", "ü@b.example", UTF8, Ok("ü@b.example")),
            ("UTF-8 unannounced", "ü@b.example", strict, Err(PathError::NeedsUtf8)),
            ("U-label unannounced", "a@ü.example", strict, Err(PathError::NeedsUtf8)),
            ("U-label", "a@Ü.example", UTF8, Ok("a@ü.example")),
            ("longest", &long(255), strict, Ok(&long(255))),
            ("too long", &long(256), strict, Err(PathError::TooLong)),
        ];
        for (name, text, syntax, expected) in cases {
            let read = Mailbox::parse(text, *syntax);
            let written = read.clone().map(|mailbox| mailbox.to_string());
            assert_eq!(written.as_deref(), expected.as_deref(), "{name}");
            if let Ok(mailbox) = read {
                assert_eq!(Mailbox::parse(&mailbox.to_string(), *syntax), Ok(mailbox), "{name}");
            }
        }
    }

    #[test]
    fn paths() {
        let reverse = |text| ReversePath::parse(text, Syntax::default()).map(|p| p.to_string());
        let forward = |text| ForwardPath::parse(text, Syntax::default()).map(|p| p.to_string());
        assert_eq!(reverse(""), Ok(String::new()));
        assert_eq!(reverse("@x,@y:a@b.example"), Ok("a@b.example".to_owned()));
        assert_eq!(reverse("@x"), Err(PathError::Syntax));
        assert_eq!(forward(""), Err(PathError::Syntax));
        assert_eq!(forward("POSTMASTER"), Ok("Postmaster".to_owned()));
        assert_eq!(forward("a"), Err(PathError::Syntax));
    }

    #[test]
    fn ascii_names() {
        let cases = [
            ("b.example", Some("b.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("[192.0.2.1]", None),
        ];
        for (text, expected) in cases {
            let domain = Domain::parse(text, UTF8).unwrap();
            assert_eq!(domain.ascii_name().as_deref(), expected, "{text}");
        }
    }
}
