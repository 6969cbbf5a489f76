//! Which hosts take mail for a domain (RFC 5321 §5.1, RFC 7505), and their addresses.
//!
//! In: a recipient's domain. Out: host names in the order to try, or a [`Failure`]: permanent if the
//! answer is definite (no such domain, null MX, we are the best MX), transient if DNS could not say.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::tls::dane::of;
use super::{Failure, Scope};

/// Addresses tried per host, of each family.
const MAX_ADDRESSES: usize = 4;

/// What DNS says about a name.
enum Answer<T> {
    Found(T),
    /// The name exists, these records do not.
    NoData,
    NoSuchName,
    /// It could not be found out.
    Unknown(String),
}

/// Hosts in the order to try.
pub(super) struct Hosts {
    pub(super) names: Vec<String>,
    /// Whether DNSSEC vouches for them, as far as the resolver has looked.
    pub(super) secure: bool,
}

/// The hosts for `domain`, best first, equals in random order.
pub(super) async fn hosts(
    resolver: &TokioResolver,
    domain: &str,
    own_name: &str,
) -> Result<Hosts, Failure> {
    let absent = |what: &str| {
        let text = format!("{what} for {domain}");
        Err(Failure::own((5, 1, 2), text, Scope::Destination))
    };
    let Some(name) = absolute(domain) else {
        return absent("not a domain name: no mail host");
    };
    match mx_records(resolver, name.clone()).await {
        Answer::Found((records, secure)) => {
            Ok(Hosts { names: select(records, domain, own_name)?, secure })
        }
        Answer::NoSuchName => absent("no such domain in DNS: no mail host"),
        Answer::Unknown(why) => Err(unknown(domain, &why)),
        // No MX: the domain itself is the host, if it has an address.
        Answer::NoData => match ip_addresses(resolver, &name).await {
            Answer::Found(_) if is_own(domain, own_name) => Err(loops_back(domain)),
            // Whether the addresses are secure is looked at with the host's TLSA records.
            Answer::Found(_) => Ok(Hosts { names: vec![domain.to_owned()], secure: true }),
            Answer::NoData | Answer::NoSuchName => absent("neither MX nor address records"),
            Answer::Unknown(why) => Err(unknown(domain, &why)),
        },
    }
}

/// The addresses of a host, to be tried in order.
pub(super) async fn addresses(
    resolver: &TokioResolver,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let no_address = |text: String| {
        let host = Some(host.to_owned());
        Failure { host, code: None, enhanced: (5, 4, 4), text, scope: Scope::Destination }
    };
    let Some(name) = absolute(host) else {
        return Err(no_address("not a host name".to_owned()));
    };
    match ip_addresses(resolver, &name).await {
        Answer::Found(found) => Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        Answer::NoData | Answer::NoSuchName => {
            Err(no_address("the host has no address record".to_owned()))
        }
        Answer::Unknown(why) => Err(unknown(host, &why)),
    }
}

/// The name as DNS knows it, with a final dot so that no search list is applied.
pub(super) fn absolute(domain: &str) -> Option<Name> {
    let ascii =
        if domain.is_ascii() { domain.to_owned() } else { idna::domain_to_ascii(domain).ok()? };
    let mut name = Name::from_ascii(ascii).ok()?;
    name.set_fqdn(true);
    Some(name)
}

async fn mx_records(resolver: &TokioResolver, name: Name) -> Answer<(Vec<(u16, String)>, bool)> {
    let lookup = match resolver.mx_lookup(name.clone()).await {
        Ok(lookup) => lookup,
        Err(error) => return negative(&error),
    };
    let own = of(lookup.answers(), &name, RecordType::MX);
    let secure = !own.is_empty() && own.iter().all(|record| record.proof == Proof::Secure);
    // What cannot be vouched for is used all the same, as mail servers always did.
    let used = if secure { own } else { lookup.answers().iter().collect() };
    let mut records = Vec::new();
    for record in used {
        if let RData::MX(mx) = &record.data {
            let host = mx.exchange.to_ascii().trim_end_matches('.').to_lowercase();
            records.push((mx.preference, host));
        }
    }
    if records.is_empty() { Answer::NoData } else { Answer::Found((records, secure)) }
}

async fn ip_addresses(resolver: &TokioResolver, name: &Name) -> Answer<Vec<IpAddr>> {
    match resolver.lookup_ip(name.clone()).await {
        Ok(found) => {
            let (mut v4, mut v6): (Vec<IpAddr>, Vec<IpAddr>) =
                found.iter().partition(IpAddr::is_ipv4);
            v4.truncate(MAX_ADDRESSES);
            v6.truncate(MAX_ADDRESSES);
            v4.append(&mut v6);
            if v4.is_empty() { Answer::NoData } else { Answer::Found(v4) }
        }
        Err(error) => negative(&error),
    }
}

fn negative<T>(error: &NetError) -> Answer<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Answer::NoSuchName,
            ResponseCode::NoError => Answer::NoData,
            other => Answer::Unknown(other.to_string()),
        },
        // With a proof, or from a zone that nobody signs.
        NetError::Dns(DnsError::Nsec {
            response, proof: Proof::Secure | Proof::Insecure, ..
        }) => match response.response_code {
            ResponseCode::NXDomain => Answer::NoSuchName,
            _ => Answer::NoData,
        },
        other => Answer::Unknown(other.to_string()),
    }
}

/// Orders MX records and keeps what is worth trying.
fn select(
    mut records: Vec<(u16, String)>,
    domain: &str,
    own_name: &str,
) -> Result<Vec<String>, Failure> {
    if let [(_, host)] = records.as_slice()
        && host.is_empty()
    {
        let text = format!("{domain} takes no mail (null MX)");
        return Err(Failure::own((5, 1, 10), text, Scope::Destination));
    }
    records.retain(|(_, host)| !host.is_empty());
    // Hosts of equal preference share the load (RFC 5321 §5.1): a random key decides.
    let mut records: Vec<(u16, u32, String)> = records
        .into_iter()
        .map(|(preference, host)| (preference, getrandom::u32().unwrap_or(0), host))
        .collect();
    records.sort();
    // An MX that is ourselves: only better ones remain, or mail would circle.
    let own = records.iter().find(|(_, _, host)| is_own(host, own_name)).map(|own| own.0);
    if let Some(own) = own {
        records.retain(|(preference, _, _)| *preference < own);
        if records.is_empty() {
            return Err(loops_back(domain));
        }
    }
    Ok(records.into_iter().map(|(_, _, host)| host).collect())
}

fn is_own(host: &str, own_name: &str) -> bool {
    host.eq_ignore_ascii_case(own_name.trim_end_matches('.'))
}

pub(super) fn loops_back(domain: &str) -> Failure {
    let text = format!("mail for {domain} loops back to this host");
    Failure::own((5, 4, 6), text, Scope::Destination)
}

fn unknown(domain: &str, why: &str) -> Failure {
    // What the resolver says may quote the answer.
    let why: String = why.chars().filter(|c| (' '..='~').contains(c)).take(200).collect();
    let text = format!("DNS lookup for {domain} failed: {why}");
    Failure::own((4, 4, 3), text, Scope::Destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection() {
        type Row<'a> = (&'a str, &'a [(u16, &'a str)], Result<&'a [&'a str], (u8, u16, u16)>);
        let cases: [Row<'_>; 6] = [
            ("by preference", &[(20, "b"), (10, "a")], Ok(&["a", "b"])),
            ("null MX", &[(0, "")], Err((5, 1, 10))),
            ("null MX beside others is ignored", &[(0, ""), (10, "a")], Ok(&["a"])),
            ("we are second", &[(10, "a"), (20, "Own.example"), (30, "c")], Ok(&["a"])),
            ("we are best", &[(10, "own.example"), (20, "b")], Err((5, 4, 6))),
            ("we are among the best", &[(10, "own.example"), (10, "b")], Err((5, 4, 6))),
        ];
        for (name, rows, expected) in cases {
            let records = rows.iter().map(|(p, host)| (*p, host.to_lowercase())).collect();
            let selected = select(records, "example.com", "own.example");
            let expected = expected.map(|hosts| hosts.iter().map(|h| (*h).to_owned()).collect());
            assert_eq!(selected.map_err(|failure| failure.enhanced), expected, "{name}");
        }
    }

    #[test]
    fn equals_share_the_load() {
        let records = || vec![(10, "a".to_owned()), (10, "b".to_owned()), (20, "c".to_owned())];
        let first: std::collections::BTreeSet<String> = (0..100)
            .filter_map(|_| select(records(), "example.com", "own").ok()?.into_iter().next())
            .collect();
        assert_eq!(first.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
