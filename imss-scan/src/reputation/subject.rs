//! What an entry of a list is about: addresses, a country, a network operator or the names of hosts.
//!
//! In: `192.0.2.1`, `192.0.2.0/24`, `192.0.2.1-192.0.2.9`, the same in IPv6, `country:JP`,
//! `AS64496`, `name:mx.example.com`, `name:*.example.com` (or `name:.example.com`) for all below. Out: a
//! [`Subject`]; two ways to write the same addresses or names are the same subject.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use imss_core::authentication::DomainPattern;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits in front of an IPv4 address in its IPv4-mapped form.
const V4_OFFSET: u8 = 96;
const V4_START: u128 = 0xffff << 32;
const V4_END: u128 = V4_START | 0xffff_ffff;

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Addresses from the first to the last, as numbers; IPv4 in the IPv4-mapped form.
    Range(u128, u128),
    /// A country, by the two capital letters of ISO 3166.
    Country([u8; 2]),
    /// An autonomous system.
    Asn(u32),
    /// A host whose name has its address: the name in lower-case ASCII, or `*.` and a domain for all
    /// names below it.
    Name(Box<str>),
}

/// The text is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address, network, range, country, AS number or host name; write 192.0.2.1, 192.0.2.0/24, \
     192.0.2.1-192.0.2.9, 2001:db8::/32, country:JP, AS64496, name:mx.example.com or name:*.example.com"
)]
pub struct SubjectError;

impl Subject {
    /// One address.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        let number = number(ip);
        Self::Range(number, number)
    }

    /// The network of `bits` bits around `ip`; the length is that of the address's family.
    #[must_use]
    pub fn network(ip: IpAddr, bits: u8) -> Option<Self> {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv4() { bits.checked_add(V4_OFFSET)? } else { bits };
        let host = mask(bits)?;
        Some(Self::Range(number(ip) & !host, number(ip) | host))
    }

    /// Whether `ip` is one of the addresses.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        matches!(self, Self::Range(first, last) if (*first..=*last).contains(&number(ip)))
    }

    /// The fewest networks that make up the addresses, each with the length of its prefix.
    pub(super) fn networks(&self) -> Vec<(u8, u128)> {
        let Self::Range(mut first, last) = *self else { return Vec::new() };
        let mut networks = Vec::new();
        loop {
            let aligned = first.trailing_zeros().min(128);
            let span = last.wrapping_sub(first);
            // The largest power of two that fits into span + 1.
            let fits = if span == u128::MAX {
                128
            } else {
                span.saturating_add(1).checked_ilog2().unwrap_or(0)
            };
            let host_bits = aligned.min(fits);
            let bits = 128_u32.saturating_sub(host_bits);
            networks.push((u8::try_from(bits).unwrap_or(128), first));
            let size = 1_u128.checked_shl(host_bits);
            match size.and_then(|size| first.checked_add(size)) {
                Some(next) if next <= last => first = next,
                _ => return networks,
            }
        }
    }
}

/// The number of an address; IPv4 in the IPv4-mapped form.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The bits behind a prefix of `bits` bits; `None` if there cannot be so many.
pub(super) fn mask(bits: u8) -> Option<u128> {
    let host_bits = 128_u32.checked_sub(u32::from(bits))?;
    Some(1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size.saturating_sub(1)))
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if let Some(code) = lower.strip_prefix("country:") {
            let upper = code.to_ascii_uppercase();
            return match upper.as_bytes() {
                [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                    Ok(Self::Country([*a, *b]))
                }
                _ => Err(SubjectError),
            };
        }
        if let Some(name) = lower.strip_prefix("name:") {
            let below = name.strip_prefix('.').map(|domain| format!("*.{domain}"));
            let name = below.as_deref().unwrap_or(name).trim_end_matches('.');
            let pattern = DomainPattern::parse(name).ok_or(SubjectError)?;
            return Ok(Self::Name(pattern.to_string().into()));
        }
        if let Some(number) = lower.strip_prefix("as") {
            return number.parse().map(Self::Asn).map_err(|_| SubjectError);
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let ip: IpAddr = ip.parse().map_err(|_| SubjectError)?;
            let bits = bits.parse().map_err(|_| SubjectError)?;
            return Self::network(ip, bits).ok_or(SubjectError);
        }
        if let Some((first, last)) = text.split_once('-') {
            let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| SubjectError);
            let (first, last) = (parse(first)?.to_canonical(), parse(last)?.to_canonical());
            let is_one_family = first.is_ipv4() == last.is_ipv4();
            return (is_one_family && first <= last)
                .then(|| Self::Range(number(first), number(last)))
                .ok_or(SubjectError);
        }
        text.parse().map(Self::address).map_err(|_| SubjectError)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Country(code) => write!(f, "country:{}", String::from_utf8_lossy(code)),
            Self::Asn(number) => write!(f, "AS{number}"),
            Self::Name(name) => write!(f, "name:{name}"),
            Self::Range(first, last) if first == last => write!(f, "{}", ip(*first)),
            Self::Range(first, last) => {
                let (first, last) = (*first, *last);
                if let [(bits, _)] = self.networks().as_slice() {
                    let offset = if is_v4(first, last) { V4_OFFSET } else { 0 };
                    return write!(f, "{}/{}", ip(first), bits.saturating_sub(offset));
                }
                write!(f, "{}-{}", ip(first), ip(last))
            }
        }
    }
}

fn is_v4(first: u128, last: u128) -> bool {
    first >= V4_START && last <= V4_END
}

fn ip(number: u128) -> IpAddr {
    match u32::try_from(number.wrapping_sub(V4_START)) {
        Ok(v4) if is_v4(number, number) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_and_read() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("192.0.2.0-192.0.2.255", Some("192.0.2.0/24")),
            ("192.0.2.1 - 192.0.2.9", Some("192.0.2.1-192.0.2.9")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("2001:db8::5", Some("2001:db8::5")),
            ("2001:DB8::/32", Some("2001:db8::/32")),
            ("2001:db8::1-2001:db8::3", Some("2001:db8::1-2001:db8::3")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("country:jp", Some("country:JP")),
            ("as64496", Some("AS64496")),
            ("192.0.2.0/33", None),
            ("2001:db8::/129", None),
            ("192.0.2.9-192.0.2.1", None),
            ("192.0.2.9-2001:db8::", None),
            ("country:JPN", None),
            ("AS-1", None),
            ("name:MX.Example.com.", Some("name:mx.example.com")),
            ("name:.example.com", Some("name:*.example.com")),
            ("NAME:*.example.com", Some("name:*.example.com")),
            ("name:bücher.example", Some("name:xn--bcher-kva.example")),
            ("name:", None),
            ("name:*", None),
            ("name:mx.*.example", None),
            ("name:a b.example", None),
            ("*.example.com", None),
            ("mail.example", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Subject>().ok().map(|subject| subject.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn networks_are_the_range(first in any::<u128>(), other in any::<u128>(), small in any::<bool>()) {
            let last = if small { first.saturating_add(other % 1_000) } else { other };
            let (first, last) = (first.min(last), first.max(last));
            let mut next = Some(first);
            for (bits, network) in Subject::Range(first, last).networks() {
                prop_assert_eq!(Some(network), next);
                let host = mask(bits).unwrap();
                prop_assert_eq!(network & host, 0);
                next = (network | host).checked_add(1);
            }
            prop_assert_eq!(next, last.checked_add(1));
        }
    }
}
