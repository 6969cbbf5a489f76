//! Who is counted as one source: an IPv4 address, or an IPv6 network of a given length.
//!
//! In: an address. Out: a [`SourceKey`] of eight octets. An IPv6 customer has a network of at least
//! 64 bits and can use a new address for each message, so addresses of one network are one source.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::greylist::Standing;
use super::profile::Profile;
use super::throttle::{SlowStart, Throttle};

/// One source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(u64);

/// Everything that is remembered of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    /// What it sent.
    pub profile: Profile,
    /// How much it sent.
    pub throttle: Throttle,
    /// How it began.
    pub slow_start: SlowStart,
    /// Whether its retries were those of a mail server.
    pub standing: Standing,
}

impl SourceKey {
    /// The source of `ip`; IPv6 addresses that share `ipv6_prefix` bits (at most 64) are one. An
    /// IPv4-mapped address is its IPv4 address.
    #[must_use]
    pub fn new(ip: IpAddr, ipv6_prefix: u8) -> Self {
        match ip.to_canonical() {
            // No IPv6 network in use begins with 32 zero bits (RFC 4291 §2.4, §2.5.5).
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => {
                let upper = u64::try_from(v6.to_bits() >> 64).unwrap_or(0);
                let host_bits = 64_u32.saturating_sub(u32::from(ipv6_prefix));
                Self(upper & u64::MAX.checked_shl(host_bits).unwrap_or(0))
            }
        }
    }

    /// The number, for storing.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// A stored source.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its (first) address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match u32::try_from(self.0) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64)),
        }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_source() {
        let key = |ip: &str, prefix| SourceKey::new(ip.parse().unwrap(), prefix);
        let cases = [
            ("IPv4", "192.0.2.1", 64, "192.0.2.1"),
            ("mapped", "::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("a /64", "2001:db8:1:2:3::4", 64, "2001:db8:1:2::"),
            ("a /56", "2001:db8:1:2ff:3::4", 56, "2001:db8:1:200::"),
            ("a /48", "2001:db8:1:2ff:3::4", 48, "2001:db8:1::"),
            ("nothing left", "2001:db8::1", 0, "0.0.0.0"),
        ];
        for (name, ip, prefix, expected) in cases {
            assert_eq!(key(ip, prefix).to_string(), expected, "{name}");
            let key = key(ip, prefix);
            assert_eq!(SourceKey::from_number(key.number()), key, "{name}");
        }
    }
}
