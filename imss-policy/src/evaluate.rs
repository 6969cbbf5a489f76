//! Conditions, three-valued: true, false, or unknown because something was not looked at.
//!
//! In: a compiled condition and what is known about one message. Out: [`Value`]: its truth, the
//! findings and gaps that make it so, and the attachments it is about. An unknown part leaves the
//! whole open only if the rest does not settle it (Kleene).

use std::collections::{BTreeSet, HashMap};

use imss_core::entity::{Entities, Entity, Role};
use imss_core::envelope::Envelope;
use imss_core::finding::{Findings, Gap, GapReason};
use imss_core::ids::{EntityId, QueryId};
use imss_core::limits::Limit;
use imss_core::verdict::{Score, Verdict};

use crate::address::Address;
use crate::compile::{About, Check, Trigger};
use crate::model::{Document, Reason};

/// What is known about one message.
pub(crate) struct Known<'a> {
    pub(crate) document: &'a Document,
    pub(crate) envelope: &'a Envelope,
    pub(crate) entities: Option<&'a Entities>,
    pub(crate) findings: &'a Findings,
    pub(crate) score: Score,
    pub(crate) verdict: Verdict,
    by_query: HashMap<QueryId, Vec<u32>>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    False,
    Unknown,
    True,
}

/// What came of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) truth: Truth,
    /// Places in the findings.
    pub(crate) findings: Vec<u32>,
    /// Places in the gaps.
    pub(crate) gaps: Vec<u32>,
    /// What else makes it so.
    pub(crate) facts: Vec<String>,
    /// The attachments it is about, if it is about attachments.
    pub(crate) focus: Option<BTreeSet<EntityId>>,
    /// Whether it holds for these attachments only, not for the message as a whole.
    strict: bool,
}

impl Value {
    fn plain(truth: Truth) -> Self {
        Self {
            truth,
            findings: Vec::new(),
            gaps: Vec::new(),
            facts: Vec::new(),
            focus: None,
            strict: false,
        }
    }

    fn fact(holds: bool, fact: impl FnOnce() -> String) -> Self {
        let mut value = Self::plain(if holds { Truth::True } else { Truth::False });
        if holds {
            value.facts.push(fact());
        }
        value
    }

    /// Takes over the reasons of a part.
    fn absorb(&mut self, part: &mut Self) {
        self.findings.append(&mut part.findings);
        self.gaps.append(&mut part.gaps);
        self.facts.append(&mut part.facts);
    }
}

impl<'a> Known<'a> {
    pub(crate) fn new(
        document: &'a Document,
        envelope: &'a Envelope,
        entities: Option<&'a Entities>,
        findings: &'a Findings,
        verdict: Verdict,
    ) -> Self {
        let mut by_query: HashMap<QueryId, Vec<u32>> = HashMap::new();
        for (place, finding) in (0_u32..).zip(&findings.found) {
            if let Some(query) = finding.query {
                by_query.entry(query).or_default().push(place);
            }
        }
        let score = findings.score();
        Self { document, envelope, entities, findings, score, verdict, by_query }
    }

    /// What was found, as the program's buckets know it.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let queries = self.by_query.keys().copied().map(Trigger::Query);
        let kinds: BTreeSet<_> = self.findings.found.iter().map(|finding| finding.kind).collect();
        queries.chain(kinds.into_iter().map(Trigger::Kind)).collect()
    }

    /// Whether `query` was answered by a finding.
    pub(crate) fn is_answered(&self, query: QueryId) -> bool {
        self.by_query.contains_key(&query)
    }

    /// Whether `check` holds, and why.
    pub(crate) fn value(&self, check: &Check) -> Value {
        match check {
            Check::All(parts) => self.all(parts),
            Check::Any(parts) => self.any(parts),
            Check::Not(part) => {
                let mut value = self.value(part);
                let truth = match value.truth {
                    Truth::True => Truth::False,
                    Truth::Unknown => Truth::Unknown,
                    Truth::False => Truth::True,
                };
                value.focus = None;
                Value { truth, findings: Vec::new(), facts: Vec::new(), strict: false, ..value }
            }
            Check::Malware(kinds) => {
                let found = (0_u32..).zip(&self.findings.found);
                let places: Vec<u32> = found
                    .filter(|(_, finding)| kinds.contains(&finding.kind))
                    .map(|(place, _)| place)
                    .collect();
                self.found(places, concerns_malware, |_| true, false)
            }
            Check::Query { id, about } => {
                let places = self.by_query.get(id).cloned().unwrap_or_default();
                let is_part = |entity: &Entity| match about {
                    About::Attachment { .. } => true,
                    _ => !matches!(entity.role, Role::Body | Role::Multipart),
                };
                let strict = matches!(about, About::Attachment { .. });
                self.found(places, |gap| concerns(gap, *about), is_part, strict)
            }
            Check::Score(least) => Value::fact(self.score >= *least, || {
                format!("the score {} is at least {least}", self.score)
            }),
            Check::Verdict(verdicts) => Value::fact(verdicts.contains(&self.verdict), || {
                format!("the verdict is {}", self.verdict)
            }),
            Check::RecipientsOutside(count) => self.recipients_outside(*count),
            Check::Client(networks) => {
                let ip = self.envelope.client.ip.to_canonical();
                let network = networks.iter().find(|network| network.contains(&ip));
                Value::fact(network.is_some(), || format!("the client {ip} is in the list"))
            }
            Check::Unknown(reasons) => self.unknown(reasons),
        }
    }

    fn all(&self, parts: &[Check]) -> Value {
        let mut whole = Value::plain(Truth::True);
        let mut loose: Vec<BTreeSet<EntityId>> = Vec::new();
        for part in parts {
            let mut value = self.value(part);
            if value.truth == Truth::False {
                return Value::plain(Truth::False);
            }
            whole.truth = whole.truth.min(value.truth);
            let focus = value.focus.take();
            whole.absorb(&mut value);
            match focus {
                Some(focus) if value.strict => {
                    let both = whole.focus.as_ref().map(|known| self.common(known, &focus));
                    let focus = both.unwrap_or(focus);
                    if focus.is_empty() && value.truth == Truth::True {
                        return Value::plain(Truth::False);
                    }
                    whole.focus = Some(focus);
                    whole.strict = true;
                }
                Some(focus) => loose.push(focus),
                None => {}
            }
        }
        for focus in loose {
            whole.focus = Some(match whole.focus.take() {
                None => focus,
                Some(known) => {
                    let common = self.common(&known, &focus);
                    if !common.is_empty() {
                        common
                    } else if whole.strict {
                        known
                    } else {
                        known.union(&focus).copied().collect()
                    }
                }
            });
        }
        whole
    }

    fn any(&self, parts: &[Check]) -> Value {
        let mut holding = Value::plain(Truth::True);
        let mut open = Value::plain(Truth::Unknown);
        let (mut holds, mut strict) = (false, true);
        let mut best = Truth::False;
        for part in parts {
            let mut value = self.value(part);
            best = best.max(value.truth);
            match value.truth {
                Truth::False => {}
                Truth::Unknown => open.absorb(&mut value),
                Truth::True => {
                    holds = true;
                    strict &= value.strict;
                    if let Some(focus) = value.focus.take() {
                        holding.focus.get_or_insert_default().extend(focus);
                    }
                    holding.absorb(&mut value);
                }
            }
        }
        match best {
            Truth::False => Value::plain(Truth::False),
            Truth::Unknown => open,
            Truth::True => Value { strict: holds && strict, ..holding },
        }
    }

    /// A question that engines answer: findings make it true, else gaps that concern it leave it
    /// open.
    fn found(
        &self,
        places: Vec<u32>,
        concerns: impl Fn(&Gap) -> bool,
        is_part: impl Fn(&Entity) -> bool,
        strict: bool,
    ) -> Value {
        if places.is_empty() {
            let gaps: Vec<u32> = (0_u32..)
                .zip(&self.findings.gaps)
                .filter(|(_, gap)| concerns(gap))
                .map(|(place, _)| place)
                .collect();
            let truth = if gaps.is_empty() { Truth::False } else { Truth::Unknown };
            return Value { gaps, ..Value::plain(truth) };
        }
        let focus: BTreeSet<EntityId> = places
            .iter()
            .filter_map(|place| self.findings.found.get(usize::try_from(*place).ok()?))
            .map(|finding| finding.entity)
            .filter(|entity| *entity != EntityId::MESSAGE)
            .filter(|id| self.entities.and_then(|all| all.get(*id)).is_none_or(&is_part))
            .collect();
        let focus = Some(focus).filter(|focus| strict || !focus.is_empty());
        Value { findings: places, focus, strict, ..Value::plain(Truth::True) }
    }

    fn recipients_outside(&self, count: u32) -> Value {
        let domains = &self.document.internal;
        let outside = self
            .envelope
            .recipients
            .iter()
            .filter(|recipient| recipient.path.mailbox().is_some())
            .filter(|recipient| !Address::of_forward_path(&recipient.path).is_in(domains))
            .count();
        let more = usize::try_from(count).is_ok_and(|count| outside > count);
        Value::fact(more, || format!("{outside} recipients are outside, more than {count}"))
    }

    fn unknown(&self, reasons: &BTreeSet<Reason>) -> Value {
        let gaps: Vec<u32> = (0_u32..)
            .zip(&self.findings.gaps)
            .filter(|(_, gap)| reasons.contains(&Reason::from(*gap)))
            .map(|(place, _)| place)
            .collect();
        let truth = if gaps.is_empty() { Truth::False } else { Truth::True };
        Value { gaps, ..Value::plain(truth) }
    }

    /// What both sets are about: equal entities, or the inner one where one holds the other.
    fn common(&self, left: &BTreeSet<EntityId>, right: &BTreeSet<EntityId>) -> BTreeSet<EntityId> {
        let inner = |outer: &BTreeSet<EntityId>, id: EntityId| {
            outer.contains(&id)
                || self.entities.is_some_and(|all| {
                    all.ancestry(id)
                        .any(|entity| entity.id != EntityId::MESSAGE && outer.contains(&entity.id))
                })
        };
        let from_right = right.iter().copied().filter(|id| inner(left, *id));
        let from_left = left.iter().copied().filter(|id| inner(right, *id));
        from_right.chain(from_left).collect()
    }
}

/// Whether a gap leaves open if there is malware.
fn concerns_malware(gap: &Gap) -> bool {
    !matches!(
        gap.engine.as_ref(),
        "dns-lists" | "authentication" | "keywords" | "attachments" | "message" | "gtube"
    )
}

/// Whether an engine answers for malware (or the spam test message) and nothing else.
fn only_malware(engine: &str) -> bool {
    matches!(
        engine,
        "eicar"
            | "clamd"
            | "icap"
            | "digests"
            | "yara"
            | "active-content"
            | "packed-programs"
            | "gtube"
    )
}

/// Whether a gap leaves a question open.
fn concerns(gap: &Gap, about: About) -> bool {
    let engine = gap.engine.as_ref();
    if engine == "dns-lists" {
        return about == About::DnsList;
    }
    if engine == "authentication" {
        return about == About::Authentication;
    }
    if matches!(about, About::DnsList | About::Authentication) || only_malware(engine) {
        return false;
    }
    let everything = matches!(gap.reason, GapReason::Limit(Limit::Time) | GapReason::Crash);
    match about {
        About::Known | About::DnsList | About::Authentication => everything && engine == "message",
        About::Header => everything || gap.reason == GapReason::Limit(Limit::Header),
        About::Attachments => everything || gap.reason == GapReason::Limit(Limit::Entities),
        About::Attachment { inside } => {
            inside || everything || gap.reason == GapReason::Limit(Limit::Entities)
        }
        About::Keywords { deep } => {
            deep || everything || gap.reason == GapReason::Limit(Limit::Header)
        }
    }
}
