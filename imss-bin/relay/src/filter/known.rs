//! Who sent a message to our own relays: the client's address from the `Received:` chain.
//!
//! In: a message and the peer it came from. Out: the first address, from the newest hop back, that is
//! no known host. A field is believed only if the host that wrote it is known, so the chain is
//! followed from the peer on and no further than known hosts go. A field without an address ends it.
//!
//! The name in EHLO is the client's own claim: in a field, the address that the relay saw stands in
//! the comment, or first where the relay writes it so (RFC 5321 §4.4).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::inbound::trace::MAX_HOPS;

/// Octets of the header section that are looked at.
const MAX_OCTETS: usize = 256 << 10;

/// Whether `ip` is in one of `networks`.
#[must_use]
pub fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// The host that handed `message` to the first of our own: its address, and its name in EHLO if the
/// field has one. `None` if that is `peer` itself.
#[must_use]
pub fn client(message: &[u8], peer: IpAddr, known: &[IpNet]) -> Option<(IpAddr, String)> {
    if !contains(known, peer) {
        return None;
    }
    let mut found = None;
    for field in received_fields(message).take(MAX_HOPS) {
        let Some((ip, helo)) = from_address(&field) else { break };
        let is_known = contains(known, ip);
        found = Some((ip, helo));
        if !is_known {
            break;
        }
    }
    found
}

/// The values of the `Received:` fields, unfolded, newest first.
fn received_fields(message: &[u8]) -> impl Iterator<Item = String> {
    const NAME: &[u8] = b"received:";
    let mut rest = message.get(..MAX_OCTETS).unwrap_or(message);
    std::iter::from_fn(move || {
        loop {
            let (line, after) = split_line(rest);
            if line.is_empty() {
                return None;
            }
            rest = after;
            let is_received =
                line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
            if !is_received {
                continue;
            }
            let mut value = line.get(NAME.len()..).unwrap_or_default().to_vec();
            while matches!(rest.first(), Some(b' ' | b'\t')) {
                let (line, after) = split_line(rest);
                value.extend_from_slice(line);
                rest = after;
            }
            return Some(String::from_utf8_lossy(&value).into_owned());
        }
    })
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', text).map_or(text.len(), |end| end.saturating_add(1));
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// The address in the `from` clause, and the name that stands first in it.
fn from_address(value: &str) -> Option<(IpAddr, String)> {
    let clause = value.trim_start().get(4..).filter(|_| {
        value.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("from"))
    })?;
    let mut depth = 0_usize;
    let (mut outside, mut inside) = (None, None);
    let mut helo = String::new();
    let mut is_claim = false;
    for word in words(clause) {
        match word {
            "(" => depth = depth.saturating_add(1),
            ")" => depth = depth.saturating_sub(1),
            word if depth == 0 && word.eq_ignore_ascii_case("by") => break,
            word => {
                // Exim and qmail repeat what the client called itself.
                let claim = is_claim || has_prefix(word, "helo=");
                is_claim = word.eq_ignore_ascii_case("helo") || word.eq_ignore_ascii_case("ehlo");
                if helo.is_empty() && depth == 0 {
                    helo = word.to_owned();
                }
                let place = if depth == 0 { &mut outside } else { &mut inside };
                if !claim && let Some(ip) = address(word) {
                    // The last one in a comment is what the server saw.
                    *place = Some(ip);
                }
            }
        }
    }
    inside.or(outside).map(|ip| (ip, helo))
}

fn has_prefix(word: &str, prefix: &str) -> bool {
    word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Words and parentheses.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
        let first = rest.chars().next()?;
        let end = if matches!(first, '(' | ')') {
            1
        } else {
            rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';'))
                .unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(word)
    })
}

/// `192.0.2.1`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`, each with a port or not.
fn address(word: &str) -> Option<IpAddr> {
    let inner = match word.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => word,
    };
    let bare = if has_prefix(inner, "ipv6:") { inner.get(5..)? } else { inner };
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_stands_there(pieces in prop::collection::vec(prop::sample::select(vec![
            "Received:", "received: from", " (", ")", "[", "]", "[IPv6:", "helo=", "HELO", " by ", "192.0.2.1",
            "10.0.0.1", "\r\n", "\n", "\t", ";", "é", "\0", "x", ":", "[192.0.2.1]:25",
        ]), 0..60)) {
            let known: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
            let _ = client(pieces.concat().as_bytes(), "10.0.0.1".parse().unwrap(), &known);
        }
    }

    #[test]
    fn addresses_in_fields() {
        let cases = [
            ("Postfix", "from a.example (b.example [192.0.2.1]) by us", Some("192.0.2.1")),
            (
                "Postfix, a lie in EHLO",
                "from [10.0.0.1] (unknown [192.0.2.1]) by us",
                Some("192.0.2.1"),
            ),
            ("Postfix, IPv6", "from a (b [IPv6:2001:db8::1]) by us", Some("2001:db8::1")),
            ("Exim", "from b.example ([192.0.2.1] helo=[10.0.0.1]) by us", Some("192.0.2.1")),
            ("Exim without a name", "from [192.0.2.1] (helo=a.example) by us", Some("192.0.2.1")),
            ("Exim with a port", "from [192.0.2.1]:1234 (helo=10.0.0.1) by us", Some("192.0.2.1")),
            ("qmail", "from unknown (HELO 10.0.0.1) (192.0.2.1) by us", Some("192.0.2.1")),
            ("Exchange", "from A.example (192.0.2.1) by B (10.0.0.2) with", Some("192.0.2.1")),
            ("Sendmail", "from a (b.example [192.0.2.1] (may be forged)) by us", Some("192.0.2.1")),
            ("ours", "from a.example ([192.0.2.1])\tby us", Some("192.0.2.1")),
            ("no address", "from a.example by us ([192.0.2.9])", None),
            ("local", "by us (Postfix, from userid 0)", None),
            ("open comment", "from a (((((( [192.0.2.1", None),
            ("empty", "", None),
        ];
        for (name, value, expected) in cases {
            let found = from_address(value).map(|(ip, _)| ip.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_chain_is_followed_through_known_hosts() {
        let known: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let hop =
            |ip: &str| format!("Received: from x.example\r\n\t(y [{ip}])\r\n\tby z; date\r\n");
        let mail = |hops: &[&str]| {
            let fields: String = hops.iter().map(|ip| hop(ip)).collect();
            format!("Subject: x\r\n{fields}\r\nReceived: from a ([203.0.113.9]) by b\r\n")
        };
        let cases = [
            ("a stranger's fields are not read", "192.0.2.1", vec!["203.0.113.1"], None),
            ("one relay", "10.0.0.1", vec!["203.0.113.1"], Some("203.0.113.1")),
            ("two relays", "10.0.0.1", vec!["10.0.0.2", "203.0.113.1"], Some("203.0.113.1")),
            ("no further", "10.0.0.1", vec!["203.0.113.1", "203.0.113.2"], Some("203.0.113.1")),
            ("from inside", "10.0.0.1", vec!["10.0.0.2", "10.0.0.3"], Some("10.0.0.3")),
            ("none", "10.0.0.1", vec![], None),
        ];
        for (name, peer, hops, expected) in cases {
            let found = client(mail(&hops).as_bytes(), peer.parse().unwrap(), &known);
            let found = found.map(|(ip, _)| ip.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        let endless = hop("10.0.0.9").repeat(100_000);
        assert!(client(endless.as_bytes(), "10.0.0.1".parse().unwrap(), &known).is_some());
    }
}
