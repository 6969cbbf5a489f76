//! Facts about who sent a message → findings for the plan's [`AuthQuery`]s.
//!
//! In: the envelope, and the one answer to the one question. Out: a finding per query that holds. Mail
//! of our own is nobody's business: no question, no finding. Where the facts leave a query
//! open because a name server did not answer, there is a gap; a query that names `temperror` is true.

use imss_core::authentication::{AuthFacts, AuthResult, DomainPattern};
use imss_core::envelope::Client;
use imss_core::finding::{Finding, FindingKind, Gap, GapReason};
use imss_core::ids::{EntityId, QueryId};
use imss_core::limits::Limit;
use imss_core::plan::{AuthQuery, Identifier, Query, ScanPlan, Selection};
use imss_core::verdict::Score;

use crate::answer::{Answer, Answers, LookupError};
use crate::engine::{Engine, Input, Outcome};
use crate::question::{AuthQuestion, Question, QuestionKey, Questions};
use crate::report;

const ENGINE: &str = "authentication";

/// Whose mail is authenticated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthSettings {
    /// Authenticate mail even if no condition asks.
    pub always: bool,
    /// Whether there is a client at all; without one nothing is asked (`imss scan` of files).
    pub no_client: bool,
}

/// All authentication queries of a plan.
pub(crate) struct AuthEngine {
    queries: Vec<(QueryId, AuthQuery)>,
    settings: AuthSettings,
}

impl AuthEngine {
    pub(crate) fn new(plan: &ScanPlan, settings: AuthSettings) -> Self {
        let query = |(id, query): (QueryId, &Query)| match query {
            Query::Authentication(query) => Some((id, query.clone())),
            _ => None,
        };
        Self { queries: plan.queries().filter_map(query).collect(), settings }
    }

    fn is_ours(&self, client: &Client) -> bool {
        self.settings.no_client || client.is_ours
    }
}

impl Engine for AuthEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.settings.always || self.queries.iter().any(|(id, _)| wanted.contains(*id))
    }

    fn collect(&self, input: &Input<'_>, questions: &mut Questions) {
        let envelope = input.envelope;
        if self.is_ours(&envelope.client) {
            return;
        }
        let reverse_path = envelope.reverse_path.mailbox().map(ToString::to_string);
        questions.ask(Question::Authentication(Box::new(AuthQuestion {
            ip: envelope.client.ip,
            helo: envelope.client.helo.clone(),
            reverse_path: reverse_path.unwrap_or_default(),
            recipients: u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX),
            content: input.message.raw().clone(),
        })));
    }

    fn scan(&self, input: &Input<'_>, answers: &Answers) -> Outcome {
        if self.is_ours(&input.envelope.client) {
            return Outcome::Clean;
        }
        let garbage = || LookupError::Garbage("an answer to another question".to_owned());
        let facts = match answers.get(&QuestionKey::Authentication) {
            Ok(Answer::Authentication(facts)) => facts,
            Ok(_) => return Outcome::of(Vec::new(), vec![gap(&garbage())]),
            Err(error) => return Outcome::of(Vec::new(), vec![gap(&error)]),
        };
        let mut findings = Vec::new();
        let mut gaps = Vec::new();
        let is_asked = self.queries.iter().any(|(id, _)| input.wanted.contains(*id));
        if is_asked && facts.dkim_left_out > 0 && facts.dkim_result() != AuthResult::Pass {
            gaps.push(left_out(facts.dkim_left_out));
        }
        for (id, query) in self.queries.iter().filter(|(id, _)| input.wanted.contains(*id)) {
            match check(query, facts) {
                Held::No => {}
                Held::Yes(name, detail) => findings.push(finding(*id, name, &detail)),
                Held::Open if gaps.is_empty() => {
                    gaps.push(gap(&LookupError::Failed("a name server did not answer".to_owned())));
                }
                Held::Open => {}
            }
        }
        Outcome::of(findings, gaps)
    }
}

/// Whether a query holds.
enum Held {
    No,
    /// Its word, and what makes it so.
    Yes(&'static str, String),
    /// A name server did not answer.
    Open,
}

fn check(query: &AuthQuery, facts: &AuthFacts) -> Held {
    let held =
        |holds: bool, word, detail: String| if holds { Held::Yes(word, detail) } else { Held::No };
    match query {
        AuthQuery::Spf(wanted) => {
            let spf = facts.spf();
            let detail = format!("spf={} for {}", spf.result, spf.domain);
            held(wanted.contains(&spf.result), "spf", detail)
        }
        AuthQuery::Dkim(wanted) => {
            let result = facts.dkim_result();
            let domains: Vec<_> = facts.dkim.iter().map(|fact| fact.domain.as_str()).collect();
            let detail = format!("dkim={result} of {}", domains.join(", "));
            held(wanted.contains(&result), "dkim", detail)
        }
        AuthQuery::Dmarc(wanted) => {
            let dmarc = &facts.dmarc;
            let detail = format!("dmarc={} for {}", dmarc.result, dmarc.domain);
            held(wanted.contains(&dmarc.result), "dmarc", detail)
        }
        AuthQuery::DmarcPolicy(wanted) => {
            let dmarc = &facts.dmarc;
            let detail = format!("{} asks for {}", dmarc.record_domain, dmarc.policy.as_str());
            let holds = dmarc.record.is_some() && wanted.contains(&dmarc.policy);
            held(holds, "dmarc-policy", detail)
        }
        AuthQuery::Arc(wanted) => {
            let detail = format!("arc={} by {}", facts.arc.result, facts.arc.sealer);
            held(wanted.contains(&facts.arc.result), "arc", detail)
        }
        AuthQuery::Aligned(wanted) => aligned(wanted.iter().copied(), facts),
        AuthQuery::SignedBy(domains) => signed_by(domains.iter(), facts),
        AuthQuery::UnsignedAuthor(domains) => unsigned_author(domains.iter(), facts),
        AuthQuery::PartlySigned => match facts.dkim.iter().find(|fact| fact.partial) {
            Some(fact) => {
                Held::Yes("partly-signed", format!("l= in the signature of {}", fact.domain))
            }
            None => Held::No,
        },
        AuthQuery::SignatureSeenMoreThan(count) => {
            let often = facts.dkim.iter().find(|fact| fact.recipients_seen > *count);
            match often {
                Some(fact) => {
                    let detail = format!("{} recipients, {}", fact.recipients_seen, fact.domain);
                    Held::Yes("signature-seen", detail)
                }
                None => Held::No,
            }
        }
        _ => Held::Open,
    }
}

fn aligned(wanted: impl Iterator<Item = Identifier>, facts: &AuthFacts) -> Held {
    let dmarc = &facts.dmarc;
    for identifier in wanted {
        let (holds, word) = match identifier {
            Identifier::Spf => (dmarc.spf_aligned, "spf"),
            Identifier::Dkim => (dmarc.dkim_aligned, "dkim"),
        };
        if holds {
            return Held::Yes("aligned", format!("{word} matches {}", dmarc.domain));
        }
    }
    if dmarc.result == AuthResult::TempError { Held::Open } else { Held::No }
}

fn signed_by<'a>(
    domains: impl Iterator<Item = &'a DomainPattern> + Clone,
    facts: &AuthFacts,
) -> Held {
    let mut open = false;
    for fact in &facts.dkim {
        if !domains.clone().any(|domain| domain.matches(&fact.domain)) {
            continue;
        }
        match fact.result {
            AuthResult::Pass if !fact.partial => {
                return Held::Yes("dkim-signed-by", format!("signed by {}", fact.domain));
            }
            AuthResult::TempError => open = true,
            _ => {}
        }
    }
    if open { Held::Open } else { Held::No }
}

fn unsigned_author<'a>(
    mut domains: impl Iterator<Item = &'a DomainPattern>,
    facts: &AuthFacts,
) -> Held {
    let author = &facts.dmarc.domain;
    if !domains.any(|domain| domain.matches(author)) || facts.dmarc.dkim_aligned {
        return Held::No;
    }
    let nobody_knows = facts.dkim.iter().any(|fact| fact.result == AuthResult::TempError)
        || facts.dmarc.result == AuthResult::TempError;
    if nobody_knows {
        return Held::Open;
    }
    Held::Yes("dkim-missing", format!("no valid signature matches the author's domain {author}"))
}

fn finding(query: QueryId, name: &str, detail: &str) -> Finding {
    Finding {
        kind: FindingKind::Authentication,
        name: name.to_owned(),
        engine: ENGINE.into(),
        entity: EntityId::MESSAGE,
        detail: report::escaped(detail),
        score: Score::ZERO,
        query: Some(query),
        evidence: None,
    }
}

/// Signatures that may have been valid.
fn left_out(count: u32) -> Gap {
    let reason = GapReason::Limit(Limit::Header);
    let detail = format!("{count} DKIM signatures: too many, or too long");
    Gap { reason, entity: EntityId::MESSAGE, engine: ENGINE.into(), detail }
}

fn gap(error: &LookupError) -> Gap {
    report::lookup_gap(ENGINE, "SPF, DKIM, DMARC and ARC", error)
}
