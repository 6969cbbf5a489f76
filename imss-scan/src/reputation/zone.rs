//! What the answer of a DNS list says, with every code declared (RFC 5782).
//!
//! In: a zone with its declared codes, and its answer for one name. Out: a [`Statement`]. Only
//! declared codes are a statement about an address. Everything else (an error code of the list, a
//! code that nobody declared, an address outside 127.0.0.0/8 as parked and hijacked zones give, a
//! failure) is a [`Fault`] of the zone: neither listed nor clean, somebody must look at it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::dns_list::query_name;
use crate::answer::LookupError;

/// A zone and what its codes mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Ranges of declared codes, with their weight.
    pub codes: Vec<(Ipv4Addr, Ipv4Addr, u32)>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The address is listed.
    Listed {
        /// The weights of its codes together.
        weight: u32,
        /// The declared codes.
        codes: Vec<Ipv4Addr>,
    },
    /// It is not.
    NotListed,
    /// Nothing about the address.
    Fault(Fault),
}

/// What is wrong with a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No answer.
    Failed(String),
    /// It answers with an error code, as lists do for those who ask too much (127.255.255.0/24).
    ErrorCode(Ipv4Addr),
    /// It answers with a code that is not declared.
    Undeclared(Ipv4Addr),
    /// It answers with an address that no list uses: it is parked or hijacked.
    Foreign(IpAddr),
    /// It lists what must not be listed: everything is listed (RFC 5782 §5).
    ListsEverything,
    /// It does not list what must be listed: it is dead (RFC 5782 §5).
    TestPointMissing,
}

impl Fault {
    /// One word, for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::ErrorCode(_) => "error-code",
            Self::Undeclared(_) => "undeclared-code",
            Self::Foreign(_) => "foreign-address",
            Self::ListsEverything => "lists-everything",
            Self::TestPointMissing => "test-point-missing",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "no answer: {why}"),
            Self::ErrorCode(code) => write!(f, "it answers with the error code {code}"),
            Self::Undeclared(code) => write!(f, "it answers with {code}, which is not declared"),
            Self::Foreign(address) => write!(f, "it answers with {address}: parked or hijacked"),
            Self::ListsEverything => write!(f, "it lists 127.0.0.1, so it lists everything"),
            Self::TestPointMissing => write!(f, "it does not list 127.0.0.2, so it is dead"),
        }
    }
}

impl Zone {
    /// The name to look up for `ip`.
    #[must_use]
    pub fn query(&self, ip: IpAddr) -> String {
        query_name(ip.to_canonical(), &self.name)
    }

    /// The names of the test points (RFC 5782 §5): one that must not be listed, one that must.
    #[must_use]
    pub fn test_points(&self) -> [String; 2] {
        [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)]
            .map(|ip| query_name(IpAddr::V4(ip), &self.name))
    }

    /// Reads the answer to [`Zone::query`].
    #[must_use]
    pub fn read(&self, answer: Result<&[IpAddr], &LookupError>) -> Statement {
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(error) => return Statement::Fault(Fault::Failed(error.to_string())),
        };
        let mut weight = 0_u32;
        let mut codes = Vec::new();
        for address in addresses {
            match self.weight(*address) {
                Ok((code, points)) => {
                    weight = weight.saturating_add(points);
                    codes.push(code);
                }
                Err(fault) => return Statement::Fault(fault),
            }
        }
        if codes.is_empty() { Statement::NotListed } else { Statement::Listed { weight, codes } }
    }

    /// Reads the answers for the test points.
    ///
    /// # Errors
    ///
    /// What is wrong with the zone.
    pub fn check(
        &self,
        must_not: Result<&[IpAddr], &LookupError>,
        must: Result<&[IpAddr], &LookupError>,
    ) -> Result<(), Fault> {
        let failed = |error: &LookupError| Fault::Failed(error.to_string());
        if !must_not.map_err(failed)?.is_empty() {
            return Err(Fault::ListsEverything);
        }
        let must = must.map_err(failed)?;
        let foreign = |ip: &&IpAddr| !matches!(ip, IpAddr::V4(v4) if v4.is_loopback());
        match must.iter().find(foreign) {
            Some(address) => Err(Fault::Foreign(*address)),
            None if must.is_empty() => Err(Fault::TestPointMissing),
            None => Ok(()),
        }
    }

    fn weight(&self, address: IpAddr) -> Result<(Ipv4Addr, u32), Fault> {
        let IpAddr::V4(code) = address else { return Err(Fault::Foreign(address)) };
        if !code.is_loopback() {
            return Err(Fault::Foreign(address));
        }
        let declared = self.codes.iter().find(|(first, last, _)| (*first..=*last).contains(&code));
        match declared {
            Some((_, _, weight)) => Ok((code, *weight)),
            None if matches!(code.octets(), [127, 255, 255, _]) => Err(Fault::ErrorCode(code)),
            None => Err(Fault::Undeclared(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let code = |last: u8| Ipv4Addr::new(127, 0, 0, last);
        let codes = vec![(code(2), code(3), 10), (code(10), code(10), 4)];
        Zone { name: "list.example".to_owned(), codes }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn answers() {
        let listed = |weight, codes: &[&str]| {
            let codes = codes.iter().map(|code| code.parse().unwrap()).collect();
            Statement::Listed { weight, codes }
        };
        let fault = Statement::Fault;
        let cases: [(&str, &[&str], Statement); 8] = [
            ("nothing", &[], Statement::NotListed),
            ("declared", &["127.0.0.2"], listed(10, &["127.0.0.2"])),
            (
                "in a range, and another",
                &["127.0.0.3", "127.0.0.10"],
                listed(14, &["127.0.0.3", "127.0.0.10"]),
            ),
            ("not declared", &["127.0.0.4"], fault(Fault::Undeclared([127, 0, 0, 4].into()))),
            (
                "declared and not",
                &["127.0.0.2", "127.0.0.4"],
                fault(Fault::Undeclared([127, 0, 0, 4].into())),
            ),
            ("error", &["127.255.255.254"], fault(Fault::ErrorCode([127, 255, 255, 254].into()))),
            ("parked", &["192.0.2.80"], fault(Fault::Foreign("192.0.2.80".parse().unwrap()))),
            ("IPv6", &["::1"], fault(Fault::Foreign("::1".parse().unwrap()))),
        ];
        for (name, answer, expected) in cases {
            assert_eq!(zone().read(Ok(&ips(answer))), expected, "{name}");
        }
        let refused = zone().read(Err(&LookupError::Refused));
        assert_eq!(refused, fault(Fault::Failed("refused by the server".to_owned())));
    }

    #[test]
    fn test_points() {
        let points = zone().test_points();
        assert_eq!(points, ["1.0.0.127.list.example", "2.0.0.127.list.example"]);
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Result<(), Fault>);
        let cases: [Row<'_>; 4] = [
            ("well", &[], &["127.0.0.2"], Ok(())),
            ("everything", &["127.0.0.2"], &["127.0.0.2"], Err(Fault::ListsEverything)),
            ("dead", &[], &[], Err(Fault::TestPointMissing)),
            ("parked", &[], &["192.0.2.80"], Err(Fault::Foreign("192.0.2.80".parse().unwrap()))),
        ];
        for (name, must_not, must, expected) in cases {
            let checked = zone().check(Ok(&ips(must_not)), Ok(&ips(must)));
            assert_eq!(checked, expected, "{name}");
        }
    }
}
