//! TLSA records of a mail host (RFC 6698, RFC 7672 §2.2, §3.1).
//!
//! In: a host, its port, a resolver that validates. Out: what they demand. Only records whose chain of
//! signatures is whole count; an unsigned zone has no DANE; anything that should be signed and is not,
//! or that nobody can answer, is [`Tlsa::Unknown`], and the mail waits.

use std::fmt;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::TLSA;
use hickory_resolver::proto::rr::rdata::tlsa;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Aliases that are followed.
const MAX_ALIASES: usize = 8;
/// Records looked at for one host.
const MAX_RECORDS: usize = 32;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::outbound) struct Association {
    pub(super) usage: Usage,
    pub(super) selector: Selector,
    pub(super) data: Data,
}

/// Whom the record is about. Usages 0 and 1 mean nothing in SMTP (RFC 7672 §3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Usage {
    /// An authority (2, DANE-TA).
    Anchor,
    /// The server (3, DANE-EE).
    EndEntity,
}

/// What of the certificate is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    Certificate,
    Key,
}

/// With what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Data {
    Whole(Vec<u8>),
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
}

impl fmt::Display for Association {
    /// As in a zone file, which is how reports have it (RFC 8460 §4.4).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = if self.usage == Usage::Anchor { 2 } else { 3 };
        let selector = u8::from(self.selector == Selector::Key);
        let (matching, octets) = match &self.data {
            Data::Whole(octets) => (0, octets),
            Data::Sha256(octets) => (1, octets),
            Data::Sha512(octets) => (2, octets),
        };
        write!(f, "{usage} {selector} {matching} ")?;
        octets.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

/// What DNS says about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::outbound) enum Tlsa {
    /// These records count.
    Usable(Arc<[Association]>),
    /// There are records, and none can be used: TLS is demanded all the same (RFC 7672 §2.2).
    Unusable,
    /// There are none, or nobody signed that.
    Absent,
    /// It could not be found out, or what was found is forged.
    Unknown(String),
}

/// What there is for `host` at `port`. The caller knows that the way to the name itself is secure.
pub(in crate::outbound) async fn tlsa(resolver: &TokioResolver, host: &str, port: u16) -> Tlsa {
    let Some(name) = super::super::mx::absolute(host) else { return Tlsa::Absent };
    // Without secure addresses whoever forges them chooses the port too (RFC 7672 §2.2.2).
    let target = match base(resolver, &name).await {
        Ok(Some(target)) => target,
        Ok(None) => return Tlsa::Absent,
        Err(why) => return Tlsa::Unknown(why),
    };
    let found = look(resolver, &target, port).await;
    if found == Tlsa::Absent && target != name {
        return look(resolver, &name, port).await;
    }
    found
}

/// The host's name, or what it is an alias for; `None` unless its addresses are secure.
async fn base(resolver: &TokioResolver, name: &Name) -> Result<Option<Name>, String> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let lookup = match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => lookup,
            Err(error) => match absent(&error) {
                Ok(()) => continue,
                Err(why) => return Err(why),
            },
        };
        let records = of(lookup.answers(), name, kind);
        if !records.iter().all(|record| record.proof == Proof::Secure) {
            return Ok(None);
        }
        return Ok(records.last().map(|record| record.name.clone()));
    }
    Ok(None)
}

async fn look(resolver: &TokioResolver, host: &Name, port: u16) -> Tlsa {
    let prefixed =
        Name::from_ascii(format!("_{port}._tcp")).and_then(|name| name.append_domain(host));
    let Ok(mut name) = prefixed else { return Tlsa::Absent };
    name.set_fqdn(true);
    match resolver.lookup(name.clone(), RecordType::TLSA).await {
        Ok(lookup) => read(&of(lookup.answers(), &name, RecordType::TLSA)),
        Err(error) => match absent(&error) {
            Ok(()) => Tlsa::Absent,
            Err(why) => Tlsa::Unknown(why),
        },
    }
}

/// Whether an error only means that there is nothing.
///
/// # Errors
///
/// Anything else: it is unknown what there is.
fn absent(error: &NetError) -> Result<(), String> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Ok(())
        }
        NetError::Dns(DnsError::Nsec { proof: Proof::Secure | Proof::Insecure, .. }) => Ok(()),
        other => Err(other.to_string()),
    }
}

/// The records of `kind` that an answer has for `name`, after the aliases that lead to them. Signatures
/// do not count, and neither do records of other names: whoever can add to an answer could add his
/// own, with valid signatures.
pub(in crate::outbound) fn of<'a>(
    answer: &'a [Record],
    name: &Name,
    kind: RecordType,
) -> Vec<&'a Record> {
    let (mut name, mut found) = (name, Vec::new());
    for _ in 0..MAX_ALIASES {
        let own =
            |kind| answer.iter().filter(move |one| one.record_type() == kind && one.name == *name);
        let records: Vec<&Record> = own(kind).collect();
        if !records.is_empty() {
            found.extend(records);
            return found;
        }
        let Some(alias) = own(RecordType::CNAME).next() else { break };
        found.push(alias);
        let RData::CNAME(target) = &alias.data else { break };
        name = &target.0;
    }
    Vec::new()
}

fn read(records: &[&Record]) -> Tlsa {
    let records: Vec<&Record> = records.iter().copied().take(MAX_RECORDS).collect();
    if records.iter().any(|record| record.proof == Proof::Bogus) {
        return Tlsa::Unknown("the TLSA records are forged (bogus)".to_owned());
    }
    if !records.iter().all(|record| record.proof == Proof::Secure) {
        return Tlsa::Absent;
    }
    let all: Vec<&TLSA> = records
        .iter()
        .filter_map(|record| match &record.data {
            RData::TLSA(tlsa) => Some(tlsa),
            _ => None,
        })
        .collect();
    let usable: Arc<[Association]> = all.iter().filter_map(|tlsa| association(tlsa)).collect();
    match (all.is_empty(), usable.is_empty()) {
        (true, _) => Tlsa::Absent,
        (false, true) => Tlsa::Unusable,
        (false, false) => Tlsa::Usable(usable),
    }
}

fn association(tlsa: &TLSA) -> Option<Association> {
    let usage = match tlsa.cert_usage {
        tlsa::CertUsage::DaneTa => Usage::Anchor,
        tlsa::CertUsage::DaneEe => Usage::EndEntity,
        _ => return None,
    };
    let selector = match tlsa.selector {
        tlsa::Selector::Full => Selector::Certificate,
        tlsa::Selector::Spki => Selector::Key,
        _ => return None,
    };
    let octets = tlsa.cert_data.clone();
    let data = match (tlsa.matching, octets.len()) {
        (tlsa::Matching::Raw, 1..) => Data::Whole(octets),
        (tlsa::Matching::Sha256, 32) => Data::Sha256(octets),
        (tlsa::Matching::Sha512, 64) => Data::Sha512(octets),
        _ => return None,
    };
    Some(Association { usage, selector, data })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::proto::rr::rdata::{CNAME, TXT};

    use super::*;

    fn record(proof: Proof, usage: u8, matching: u8, length: usize) -> Record {
        let data = TLSA::new(usage.into(), 1.into(), matching.into(), vec![7; length]);
        let mut record = Record::from_rdata(Name::root(), 60, RData::TLSA(data));
        record.proof = proof;
        record
    }

    #[test]
    fn only_records_of_the_name_count() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let own =
            |owner: &str| Record::from_rdata(name(owner), 60, RData::A(Ipv4Addr::LOCALHOST.into()));
        let alias = |owner: &str, to: &str| {
            Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(to))))
        };
        let text = |owner: &str| Record::from_rdata(name(owner), 60, RData::TXT(TXT::new(vec![])));
        let cases = [
            ("its own", vec![own("a.example.")], vec!["a.example."]),
            ("of another kind", vec![text("a.example."), own("a.example.")], vec!["a.example."]),
            ("a stranger's", vec![own("evil.example."), own("a.example.")], vec!["a.example."]),
            ("a stranger's alone", vec![own("evil.example.")], vec![]),
            (
                "an alias",
                vec![alias("a.example.", "b.example."), own("b.example."), own("evil.example.")],
                vec!["a.example.", "b.example."],
            ),
            ("a ring", vec![alias("a.example.", "a.example.")], vec![]),
        ];
        for (what, answer, expected) in cases {
            let found = of(&answer, &name("a.example."), RecordType::A);
            let owners: Vec<String> = found.iter().map(|one| one.name.to_string()).collect();
            assert_eq!(owners, expected, "{what}");
        }
    }

    #[test]
    fn what_records_mean() {
        let usable = |records: &[Record]| match read(&records.iter().collect::<Vec<_>>()) {
            Tlsa::Usable(all) => format!("{} usable", all.len()),
            Tlsa::Unusable => "unusable".to_owned(),
            Tlsa::Absent => "absent".to_owned(),
            Tlsa::Unknown(_) => "unknown".to_owned(),
        };
        let cases = [
            ("none", vec![], "absent"),
            ("the server's key", vec![record(Proof::Secure, 3, 1, 32)], "1 usable"),
            ("an authority's key", vec![record(Proof::Secure, 2, 2, 64)], "1 usable"),
            ("PKIX usages do not count", vec![record(Proof::Secure, 1, 1, 32)], "unusable"),
            ("a digest of a wrong length", vec![record(Proof::Secure, 3, 1, 31)], "unusable"),
            ("nothing to compare", vec![record(Proof::Secure, 3, 0, 0)], "unusable"),
            ("an unknown digest", vec![record(Proof::Secure, 3, 9, 32)], "unusable"),
            (
                "one of two",
                vec![record(Proof::Secure, 0, 1, 32), record(Proof::Secure, 3, 1, 32)],
                "1 usable",
            ),
            ("unsigned", vec![record(Proof::Insecure, 3, 1, 32)], "absent"),
            ("not known to be signed", vec![record(Proof::Indeterminate, 3, 1, 32)], "absent"),
            ("forged", vec![record(Proof::Bogus, 3, 1, 32)], "unknown"),
        ];
        for (name, records, expected) in cases {
            assert_eq!(usable(&records), expected, "{name}");
        }
    }
}
