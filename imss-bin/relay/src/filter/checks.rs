//! What a client gives away: by EHLO, the name of its address, whether that name has it, and whether
//! it waits for its turn.
//!
//! In: the name in EHLO, and answers of the DNS. Out: signs. A name server that does not answer is
//! no sign.

use std::net::IpAddr;

use imss_core::envelope::{Domain, Syntax};

use crate::inbound::relaying::DomainSet;

/// What is wrong with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Neither a full domain nor an address literal.
    HeloInvalid,
    /// Our own name, or a domain of ours.
    HeloOurs,
    /// Somebody else's address.
    HeloLiteral,
    /// The address has no name.
    NoReverse,
    /// None of its names has the address.
    ReverseMismatch,
    /// It spoke before the greeting.
    EarlyTalker,
}

impl Sign {
    /// The word in settings and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeloInvalid => "helo-invalid",
            Self::HeloOurs => "helo-ours",
            Self::HeloLiteral => "helo-literal",
            Self::NoReverse => "no-reverse",
            Self::ReverseMismatch => "reverse-mismatch",
            Self::EarlyTalker => "early-talker",
        }
    }
}

/// What is wrong with the name in EHLO.
#[must_use]
pub fn helo(name: &str, ip: IpAddr, hostname: &str, ours: &DomainSet) -> Option<Sign> {
    match Domain::parse(name, Syntax::default()) {
        Ok(Domain::Literal(literal)) if literal.to_canonical() == ip.to_canonical() => None,
        Ok(Domain::Literal(_)) => Some(Sign::HeloLiteral),
        Ok(domain @ Domain::Name(_)) => {
            let text = domain.name().unwrap_or_default();
            let is_ours = text.eq_ignore_ascii_case(hostname) || ours.contains(&domain);
            let is_full = text.contains('.') && text.parse::<IpAddr>().is_err();
            if is_ours {
                Some(Sign::HeloOurs)
            } else if is_full {
                None
            } else {
                Some(Sign::HeloInvalid)
            }
        }
        _ => Some(Sign::HeloInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_ehlo() {
        let mut ours = DomainSet::default();
        ours.insert("ours.example").unwrap();
        let cases = [
            ("mx.elsewhere.example", None),
            ("localhost", Some(Sign::HeloInvalid)),
            ("192.0.2.1", Some(Sign::HeloInvalid)),
            ("bad_name!", Some(Sign::HeloInvalid)),
            ("[192.0.2.1]", None),
            ("[192.0.2.2]", Some(Sign::HeloLiteral)),
            ("GATE.example", Some(Sign::HeloOurs)),
            ("ours.example", Some(Sign::HeloOurs)),
        ];
        for (name, expected) in cases {
            let sign = helo(name, "192.0.2.1".parse().unwrap(), "gate.example", &ours);
            assert_eq!(sign, expected, "{name}");
        }
    }
}
