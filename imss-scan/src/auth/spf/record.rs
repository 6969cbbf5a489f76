//! The text of an SPF record → its terms (RFC 7208 §4.6, §12).
//!
//! In: one TXT record. Out: directives in order and the two known modifiers, or `None` if there is a
//! syntax error anywhere, which makes the whole record worthless (§4.6). Work is linear.

use std::net::{Ipv4Addr, Ipv6Addr};

use imss_core::authentication::AuthResult;

use super::macros::Template;

/// The terms of a record.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Template>,
    pub(super) explanation: Option<Template>,
}

#[derive(Debug)]
pub(super) struct Directive {
    /// The result if the mechanism matches.
    pub(super) result: AuthResult,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug)]
pub(super) enum Mechanism {
    All,
    Include(Template),
    A(Option<Template>, Prefixes),
    Mx(Option<Template>, Prefixes),
    Ptr(Option<Template>),
    Ip4(Ipv4Addr, u32),
    Ip6(Ipv6Addr, u32),
    Exists(Template),
}

/// Lengths of address prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u32,
    pub(super) v6: u32,
}

/// Whether a TXT record is an SPF record (§4.5).
pub(super) fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(6) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|next| *next == b' ')
        }
        None => false,
    }
}

impl Record {
    /// Reads the terms of a record that [`is_record`].
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let mut record = Self::default();
        for term in text.get(6..)?.split(' ').filter(|term| !term.is_empty()) {
            record.term(term)?;
        }
        Some(record)
    }

    fn term(&mut self, term: &str) -> Option<()> {
        let name_end = term.find([':', '/', '=']).unwrap_or(term.len());
        let (name, rest) = term.split_at_checked(name_end)?;
        if let Some(value) = rest.strip_prefix('=') {
            return self.modifier(name, value);
        }
        let (result, name) = match name.split_at_checked(1)? {
            ("+", name) => (AuthResult::Pass, name),
            ("-", name) => (AuthResult::Fail, name),
            ("~", name) => (AuthResult::SoftFail, name),
            ("?", name) => (AuthResult::Neutral, name),
            _ => (AuthResult::Pass, name),
        };
        let mechanism = mechanism(&name.to_ascii_lowercase(), rest)?;
        self.directives.push(Directive { result, mechanism });
        Some(())
    }

    fn modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let place = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => {
                let mut octets = name.bytes();
                let valid = octets.next()?.is_ascii_alphabetic()
                    && octets.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
                // What others mean by it is not ours to know, but it must be a macro-string.
                return (valid && Template::parse(value, false).is_some()).then_some(());
            }
        };
        let template = Template::domain(value)?;
        match place.replace(template) {
            None => Some(()),
            Some(_) => None,
        }
    }
}

fn mechanism(name: &str, rest: &str) -> Option<Mechanism> {
    let argument = rest.strip_prefix(':');
    Some(match name {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(Template::domain(argument?)?),
        "exists" => Mechanism::Exists(Template::domain(argument?)?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(Template::domain(argument?)?)),
        "a" | "mx" => {
            let (domain, prefixes) = split_prefixes(rest)?;
            let domain = match domain.strip_prefix(':') {
                Some(domain) => Some(Template::domain(domain)?),
                None if domain.is_empty() => None,
                None => return None,
            };
            if name == "a" {
                Mechanism::A(domain, prefixes)
            } else {
                Mechanism::Mx(domain, prefixes)
            }
        }
        "ip4" => {
            let (address, length) = network(argument?, 32)?;
            Mechanism::Ip4(address.parse().ok()?, length)
        }
        "ip6" => {
            let (address, length) = network(argument?, 128)?;
            Mechanism::Ip6(address.parse().ok()?, length)
        }
        _ => return None,
    })
}

fn network(text: &str, most: u32) -> Option<(&str, u32)> {
    match text.split_once('/') {
        Some((address, length)) => Some((address, prefix_length(length, most)?)),
        None => Some((text, most)),
    }
}

/// `DOMAIN/24//64` → `DOMAIN` and the lengths (§5.6 `dual-cidr-length`). A domain may hold slashes, so
/// only what is a number at the end is a length.
fn split_prefixes(text: &str) -> Option<(&str, Prefixes)> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = text;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((before, length)) = rest.rsplit_once("//")
        && is_number(length)
    {
        prefixes.v6 = prefix_length(length, 128)?;
        rest = before;
    }
    if let Some((before, length)) = rest.rsplit_once('/')
        && is_number(length)
    {
        prefixes.v4 = prefix_length(length, 32)?;
        rest = before;
    }
    Some((rest, prefixes))
}

fn prefix_length(text: &str, most: u32) -> Option<u32> {
    let plain = (1..=3).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|length| plain && *length <= most)
}
