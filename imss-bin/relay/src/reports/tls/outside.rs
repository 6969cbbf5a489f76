//! Where reports may be posted: HTTPS servers of the Internet, as far as addresses tell.
//!
//! In: addresses from the DNS of others. Out: those that are no part of a private network, of this
//! machine or of a link, also where an IPv4 address is wrapped in an IPv6 address that a translator or a
//! tunnel would unwrap (RFC 6052, RFC 8215, RFC 3056, RFC 4380). The rest is as if it did not exist.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Names, as far as they lie outside.
pub(super) struct Outside {
    resolver: TokioResolver,
    private: bool,
}

impl Outside {
    /// Asks `resolver`; `private` lets all addresses pass.
    pub(super) fn new(resolver: TokioResolver, private: bool) -> Self {
        Self { resolver, private }
    }
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, private) = (self.resolver.clone(), self.private);
        Box::pin(async move {
            let found = resolver.lookup_ip(format!("{}.", name.as_str())).await?;
            let all: Vec<SocketAddr> = found
                .iter()
                .filter(|ip| private || is_outside(*ip))
                .map(|ip| SocketAddr::new(ip, 0))
                .collect();
            Ok(Box::new(all.into_iter()) as Addrs)
        })
    }
}

/// Whether a report may go there, or why not. Names are looked at when they are resolved; an address in
/// place of a name needs no resolver.
pub(super) fn may_be_asked(url: &Url) -> Result<(), String> {
    if url.port_or_known_default() != Some(443) {
        return Err("not the port of HTTPS".to_owned());
    }
    let literal = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match literal.parse::<IpAddr>() {
        Ok(ip) if !is_outside(ip) => Err("not an address of the Internet".to_owned()),
        _ => Ok(()),
    }
}

/// Whether an address is one of the Internet.
fn is_outside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => v4_is_outside(ip),
        IpAddr::V6(ip) => v6_is_outside(ip),
    }
}

fn v4_is_outside(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let assignments = (a, b, c) == (192, 0, 0);
    let special = a == 0 || a >= 224 || (a == 198 && (b == 18 || b == 19));
    let local = ip.is_private() || ip.is_loopback() || ip.is_link_local();
    !(local || shared || assignments || special)
}

fn v6_is_outside(ip: Ipv6Addr) -> bool {
    let site_local = matches!(ip.segments(), [first, ..] if first & 0xffc0 == 0xfec0);
    let local = ip.is_unique_local() || ip.is_unicast_link_local() || site_local;
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || local {
        return false;
    }
    wrapped(ip).is_none_or(|all| all.into_iter().flatten().all(v4_is_outside))
}

/// The IPv4 addresses that an IPv6 address may stand for.
fn wrapped(ip: Ipv6Addr) -> Option<[Option<Ipv4Addr>; 2]> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // Mapped, compatible, translated (RFC 4291 §2.5.5, RFC 2765), and the well-known prefix.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some([v4(high, low), None]),
        // A prefix of the network's own (RFC 8215), if its length is 96.
        [0x64, 0xff9b, 1, 0, 0, 0, high, low] => Some([v4(high, low), None]),
        // Of another length: where the IPv4 address is cannot be told.
        [0x64, 0xff9b, 1, ..] => Some([Some(Ipv4Addr::UNSPECIFIED), None]),
        [0x2002, high, low, ..] => Some([v4(high, low), None]),
        // Teredo: the server, and the client with its bits turned.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            Some([v4(server_high, server_low), v4(!high, !low)])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_internet() {
        let cases = [
            ("192.0.2.1", true),
            ("192.0.1.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("fec0::1", false),
            ("feff::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:192.0.2.1", true),
            ("::127.0.0.1", false),
            ("::10.0.0.1", false),
            ("::ffff:0:127.0.0.1", false),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b::192.0.2.1", true),
            ("64:ff9b:1::10.0.0.1", false),
            ("64:ff9b:1::192.0.2.1", true),
            ("64:ff9b:1:fffe::192.0.2.1", false),
            ("64:ff9b:1:a00:0:100::", false),
            ("2002:7f00:1::1", false),
            ("2002:c0a8:101::1", false),
            ("2002:c000:201::1", true),
            ("2001:0:a00:1::", false),
            ("2001:0:c000:201:0:0:80ff:fffe", false),
        ];
        for (ip, expected) in cases {
            assert_eq!(is_outside(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn servers_to_ask() {
        let cases = [
            ("https://r.example/v1", true),
            ("https://r.example:443/", true),
            ("https://192.0.2.1/", true),
            ("https://r.example:8443/", false),
            ("https://r.example:22/", false),
            ("https://127.0.0.1/", false),
            ("https://0x7f.1/", false),
            ("https://2130706433/", false),
            ("https://[::1]/", false),
            ("https://[64:ff9b::7f00:1]/", false),
            ("https://[2002:a00:1::]/", false),
        ];
        for (url, expected) in cases {
            assert_eq!(may_be_asked(&Url::parse(url).unwrap()).is_ok(), expected, "{url}");
        }
    }
}
