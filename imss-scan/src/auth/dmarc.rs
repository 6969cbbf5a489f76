//! DMARC (RFC 9989): the author's record by tree walk, and whether SPF or DKIM matches the author.
//!
//! In: the author's domain, and what SPF and DKIM said. Out: a [`DmarcFact`]. A walk asks for eight
//! names at most (§4.10); at most eleven walks follow from one message, and each domain is walked once.

use imss_core::authentication::{
    AuthResult, DkimFact, DmarcFact, DmarcPolicy, DmarcRecord, SpfFact, is_within,
};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::dmarc::{Alignment, Dmarc, Policy, Psd};

use super::names::{Names, NoAnswer};

/// Report addresses that are kept.
const MAX_RUA: usize = 10;
/// Labels from which the walk leaps (§4.10).
const LEAP: usize = 8;

/// Evaluates DMARC for the author's domain, and marks the signatures that match it.
pub(super) async fn check<N: Names>(
    names: &N,
    author: &str,
    spf: &SpfFact,
    dkim: &mut [DkimFact],
) -> DmarcFact {
    let mut fact = DmarcFact { domain: author.to_owned(), ..DmarcFact::default() };
    match evaluate(names, author, spf, dkim, &mut fact).await {
        Ok(result) => fact.result = result,
        Err(Unknown) => {
            fact.result = AuthResult::TempError;
            "a name server did not answer".clone_into(&mut fact.reason);
        }
    }
    fact
}

/// A name server did not answer.
struct Unknown;

async fn evaluate<N: Names>(
    names: &N,
    author: &str,
    spf: &SpfFact,
    dkim: &mut [DkimFact],
    fact: &mut DmarcFact,
) -> Result<AuthResult, Unknown> {
    let walk = walk(names, author).await?;
    let organisation = organisation(&walk, author);
    let at = |name: &str| walk.iter().find(|(known, _)| known == name);
    let Some((owner, record)) = at(author).or_else(|| at(&organisation)).or(walk.last()) else {
        return Ok(AuthResult::None);
    };
    if record.p == Policy::Unspecified && record.rua.is_empty() {
        return Ok(AuthResult::None);
    }
    fact.record_domain.clone_from(owner);
    fact.policy = policy(names, record, owner == author, author).await;
    fact.record = Some(described(record));
    let mut matching = Matching { names, author, organisation: &organisation, known: Vec::new() };
    let mut open = false;
    for one in dkim.iter_mut().filter(|one| !one.partial) {
        let counts = matches!(one.result, AuthResult::Pass | AuthResult::TempError);
        if !counts || !matching.matches(&one.domain, record.adkim).await? {
            continue;
        }
        one.aligned = one.result == AuthResult::Pass;
        fact.dkim_aligned |= one.aligned;
        open |= one.result == AuthResult::TempError;
    }
    if matches!(spf.result, AuthResult::Pass | AuthResult::TempError)
        && matching.matches(&spf.domain, record.aspf).await?
    {
        fact.spf_aligned = spf.result == AuthResult::Pass;
        open |= spf.result == AuthResult::TempError;
    }
    Ok(if fact.spf_aligned || fact.dkim_aligned {
        AuthResult::Pass
    } else if open {
        AuthResult::TempError
    } else {
        AuthResult::Fail
    })
}

/// What the record asks for (§4.7), test mode counted in.
async fn policy<N: Names>(names: &N, record: &Dmarc, own: bool, author: &str) -> DmarcPolicy {
    let stated = if own {
        record.p
    } else if record.np != record.sp && names.a(author).await == Err(NoAnswer::NoName) {
        record.np
    } else {
        record.sp
    };
    match (word(stated), record.t) {
        (DmarcPolicy::Reject, true) => DmarcPolicy::Quarantine,
        (DmarcPolicy::Quarantine, true) => DmarcPolicy::None,
        (policy, _) => policy,
    }
}

fn word(policy: Policy) -> DmarcPolicy {
    match policy {
        Policy::Reject => DmarcPolicy::Reject,
        Policy::Quarantine => DmarcPolicy::Quarantine,
        Policy::None | Policy::Unspecified => DmarcPolicy::None,
    }
}

fn described(record: &Dmarc) -> DmarcRecord {
    DmarcRecord {
        strict_dkim: record.adkim == Alignment::Strict,
        strict_spf: record.aspf == Alignment::Strict,
        p: word(record.p),
        sp: word(record.sp),
        np: word(record.np),
        testing: record.t,
        rua: record.rua.iter().take(MAX_RUA).map(|uri| uri.uri.clone()).collect(),
    }
}

/// Which domains belong to the author's organisation.
struct Matching<'a, N> {
    names: &'a N,
    author: &'a str,
    organisation: &'a str,
    known: Vec<(String, bool)>,
}

impl<N: Names> Matching<'_, N> {
    /// Whether `domain` matches the author's (§4.10.2).
    async fn matches(&mut self, domain: &str, alignment: Alignment) -> Result<bool, Unknown> {
        if domain == self.author {
            return Ok(true);
        }
        if alignment == Alignment::Strict || !is_within(domain, self.organisation) {
            return Ok(false);
        }
        if let Some((_, matches)) = self.known.iter().find(|(known, _)| known == domain) {
            return Ok(*matches);
        }
        let walk = walk(self.names, domain).await?;
        let matches = organisation(&walk, domain) == self.organisation;
        self.known.push((domain.to_owned(), matches));
        Ok(matches)
    }
}

/// The records from `domain` up to the top-level domain, longest name first (§4.10).
async fn walk<N: Names>(names: &N, domain: &str) -> Result<Vec<(String, Dmarc)>, Unknown> {
    let labels: Vec<&str> = domain.split('.').collect();
    let mut found = Vec::new();
    if labels.len() < 2 || labels.iter().any(|label| label.is_empty()) {
        return Ok(found);
    }
    let mut count = labels.len();
    while count > 0 {
        let name = labels.get(labels.len().saturating_sub(count)..).unwrap_or_default().join(".");
        if let Some(record) = record(names, &name).await? {
            let ends = record.psd != Psd::Default;
            found.push((name, record));
            if ends {
                break;
            }
        }
        count = if count >= LEAP { LEAP.saturating_sub(1) } else { count.saturating_sub(1) };
    }
    Ok(found)
}

/// The one record at `_dmarc.` and a name; more than one are none (§4.10.1).
async fn record<N: Names>(names: &N, name: &str) -> Result<Option<Dmarc>, Unknown> {
    let texts = match names.txt(&format!("_dmarc.{name}")).await {
        Ok(texts) => texts,
        Err(NoAnswer::NoName) => return Ok(None),
        Err(NoAnswer::Temporary) => return Err(Unknown),
    };
    let mut records = texts.iter().filter_map(|text| Dmarc::parse(text).ok());
    let first = records.next();
    Ok(if records.next().is_some() { None } else { first })
}

/// The organisational domain of `start` (§4.10.2).
fn organisation(walk: &[(String, Dmarc)], start: &str) -> String {
    for (name, record) in walk {
        match record.psd {
            Psd::No => return name.clone(),
            Psd::Yes if name != start => return one_below(name, start),
            _ => {}
        }
    }
    walk.last().map_or_else(|| start.to_owned(), |(name, _)| name.clone())
}

/// The name one label longer than `above` on the way to `start`.
fn one_below(above: &str, start: &str) -> String {
    let wanted = above.split('.').count().saturating_add(1);
    let labels: Vec<&str> = start.split('.').collect();
    labels.get(labels.len().saturating_sub(wanted)..).unwrap_or_default().join(".")
}

/// Whether reports on `domain` may go to `destination` (RFC 9990 §4): it belongs to the same
/// organisation, or says so. `None` if that cannot be found out now.
pub(super) async fn may_report<N: Names>(
    names: &N,
    domain: &str,
    destination: &str,
) -> Option<bool> {
    let above = |walk: &Result<Vec<(String, Dmarc)>, Unknown>, start: &str| {
        walk.as_ref().ok().map(|walk| organisation(walk, start))
    };
    let (ours, theirs) = (walk(names, domain).await, walk(names, destination).await);
    if above(&ours, domain)? == above(&theirs, destination)? {
        return Some(true);
    }
    let name = format!("{domain}._report._dmarc.{destination}");
    match names.txt(&name).await {
        Ok(texts) => Some(texts.iter().any(|text| text.starts_with(b"v=DMARC1"))),
        Err(NoAnswer::NoName) => Some(false),
        Err(NoAnswer::Temporary) => None,
    }
}
