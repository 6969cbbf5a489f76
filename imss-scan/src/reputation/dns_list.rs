//! Asks DNS lists about the client's address (RFC 5782).
//!
//! In: the client's address, the plan's lists, and the answers. Out: one finding per list that
//! declares a code it answered with; its points are those of all declared codes together.
//!
//! An answer that is no statement about the address is a gap, neither listed nor clean: an error
//! code of the list (127.255.255.0/24), an address outside 127.0.0.0/8 (a hijacked or parked zone),
//! a lookup that failed, and a listing by a zone that also lists what no list may (RFC 5782 §5).
//! Codes that are not declared mean nothing. Addresses that are not on the public network are not
//! asked about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use imss_core::finding::{Finding, FindingKind, Gap};
use imss_core::ids::{EntityId, QueryId};
use imss_core::plan::{DnsList, Query, ScanPlan, Selection};
use imss_core::verdict::Score;

use crate::answer::{Answer, Answers, LookupError};
use crate::engine::{Engine, Input, Outcome};
use crate::question::{Question, QuestionKey, Questions};
use crate::report;

const ENGINE: &str = "dns-lists";

/// Must never be listed (RFC 5782 §5): a zone that lists it lists everything.
const NEVER_LISTED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// All DNS lists of a plan.
pub(crate) struct DnsListEngine {
    lists: Vec<(QueryId, Arc<DnsList>)>,
}

impl DnsListEngine {
    pub(crate) fn new(plan: &ScanPlan) -> Self {
        let list = |(id, query): (QueryId, &Query)| match query {
            Query::DnsList(list) => Some((id, Arc::clone(list))),
            _ => None,
        };
        Self { lists: plan.queries().filter_map(list).collect() }
    }

    fn wanted<'a>(
        &'a self,
        input: &'a Input<'_>,
    ) -> impl Iterator<Item = &'a (QueryId, Arc<DnsList>)> {
        self.lists.iter().filter(|(id, _)| input.wanted.contains(*id))
    }
}

impl Engine for DnsListEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.lists.iter().any(|(id, _)| wanted.contains(*id))
    }

    fn collect(&self, input: &Input<'_>, questions: &mut Questions) {
        let Some(client) = public_address(input.envelope.client.ip) else { return };
        for (_, list) in self.wanted(input) {
            for name in [query_name(client, &list.zone), query_name(NEVER_LISTED, &list.zone)] {
                questions.ask(Question::DnsList { list: list.name.clone(), name });
            }
        }
    }

    fn scan(&self, input: &Input<'_>, answers: &Answers) -> Outcome {
        let Some(client) = public_address(input.envelope.client.ip) else { return Outcome::Clean };
        let mut findings = Vec::new();
        let mut gaps = Vec::new();
        for (id, list) in self.wanted(input) {
            match listing(list, client, answers) {
                Ok(None) => {}
                Ok(Some((score, codes))) => findings.push(finding(*id, list, score, &codes)),
                Err(error) => gaps.push(gap(list, &error)),
            }
        }
        Outcome::of(findings, gaps)
    }
}

/// The points and the declared codes of a listing; `None` if the address is not listed.
fn listing(
    list: &DnsList,
    client: IpAddr,
    answers: &Answers,
) -> Result<Option<(Score, Vec<IpAddr>)>, LookupError> {
    let addresses = |about| addresses(&query_name(about, &list.zone), answers);
    let given = addresses(client)?;
    let declared = list.codes.iter().filter(|(code, _)| given.contains(code));
    let (codes, points): (Vec<IpAddr>, Vec<Score>) = declared.copied().unzip();
    if codes.is_empty() {
        return Ok(None);
    }
    if !addresses(NEVER_LISTED)?.is_empty() {
        return Err(LookupError::Garbage("the zone lists every address".to_owned()));
    }
    Ok(Some((points.into_iter().sum(), codes)))
}

/// The addresses of a name, if all of them are statements of a list.
fn addresses(name: &str, answers: &Answers) -> Result<Vec<IpAddr>, LookupError> {
    let Answer::Addresses(addresses) = answers.get(&QuestionKey::DnsList(name.to_owned()))? else {
        return Err(LookupError::Garbage("an answer to another question".to_owned()));
    };
    for address in addresses {
        match address {
            IpAddr::V4(v4) if matches!(v4.octets(), [127, 255, 255, _]) => {
                return Err(LookupError::Failed(format!("the list answers with error {v4}")));
            }
            IpAddr::V4(v4) if v4.is_loopback() => {}
            _ => {
                let what = format!("{address} is outside 127.0.0.0/8: no DNS list answers so");
                return Err(LookupError::Garbage(what));
            }
        }
    }
    Ok(addresses.clone())
}

/// The name to look up for an address (RFC 5782 §2.1, §2.4).
pub(super) fn query_name(address: IpAddr, zone: &str) -> String {
    let mut name = String::with_capacity(zone.len().saturating_add(64));
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                name.push_str(&format!("{octet}."));
            }
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
        }
    }
    name + zone.trim_matches('.')
}

/// The address, if it is one that others can know.
fn public_address(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    let private = match ip {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => is_special_v6(v6),
    };
    (!private).then_some(ip)
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let shared = matches!(ip.octets(), [100, 64..=127, ..]);
    let reserved = matches!(ip.octets(), [0 | 240..=255, ..]);
    shared
        || reserved
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || ip.is_multicast()
}

fn finding(query: QueryId, list: &DnsList, score: Score, codes: &[IpAddr]) -> Finding {
    let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
    Finding {
        kind: FindingKind::Reputation,
        name: list.name.clone(),
        engine: ENGINE.into(),
        entity: EntityId::MESSAGE,
        detail: report::escaped(&format!("{} answers {}", list.zone, codes.join(", "))),
        score,
        query: Some(query),
        evidence: None,
    }
}

fn gap(list: &DnsList, error: &LookupError) -> Gap {
    report::lookup_gap(ENGINE, &format!("list {} ({})", list.name, list.zone), error)
}

#[cfg(test)]
mod tests;
