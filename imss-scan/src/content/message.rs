//! Answers what is asked about the message as a whole.
//!
//! In: envelope, message, entities, and the plan's [`MessageQuery`]s. Out: one finding per query
//! that holds. Recipients are those of the envelope; attachments are counted as people see them,
//! without what is inside of them.

use imss_core::charset::fold;
use imss_core::finding::{Finding, FindingKind};
use imss_core::ids::{EntityId, QueryId};
use imss_core::plan::{MessageQuery, Query, ScanPlan, Selection};
use imss_core::verdict::Score;
use regex::Regex;

use crate::answer::Answers;
use crate::content::attachment::Places;
use crate::content::keywords::expressions;
use crate::engine::{Engine, Input, Outcome};
use crate::mistake::Mistake;
use crate::report;

const ENGINE: &str = "message";

/// All message queries of a plan.
pub(crate) struct MessageEngine {
    queries: Vec<(QueryId, Test)>,
}

/// A query with its expression compiled.
enum Test {
    LargerThan(u64),
    RecipientsMoreThan(u32),
    AttachmentsMoreThan(u32),
    AttachmentBytesMoreThan(u64),
    BlankSubject,
    Field {
        name: String,
        pattern: Regex,
    },
    /// A kind of query that is newer than this engine.
    Unanswerable,
}

impl MessageEngine {
    /// Adds the expressions that do not compile to `mistakes`.
    pub(crate) fn new(plan: &ScanPlan, mistakes: &mut Vec<Mistake>) -> Self {
        let mut compile = |(id, query): (QueryId, &Query)| {
            let Query::Message(query) = query else { return None };
            Some((id, Test::new(query, mistakes)?))
        };
        Self { queries: plan.queries().filter_map(&mut compile).collect() }
    }
}

impl Test {
    fn new(query: &MessageQuery, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        Some(match query {
            MessageQuery::LargerThan(octets) => Self::LargerThan(*octets),
            MessageQuery::RecipientsMoreThan(count) => Self::RecipientsMoreThan(*count),
            MessageQuery::AttachmentsMoreThan(count) => Self::AttachmentsMoreThan(*count),
            MessageQuery::AttachmentBytesMoreThan(octets) => Self::AttachmentBytesMoreThan(*octets),
            MessageQuery::BlankSubject => Self::BlankSubject,
            MessageQuery::Field { name, pattern } => {
                match expressions::compile(&format!("field `{name}`"), pattern) {
                    Ok(pattern) => Self::Field { name: name.clone(), pattern },
                    Err(mistake) => {
                        mistakes.push(mistake);
                        return None;
                    }
                }
            }
            _ => Self::Unanswerable,
        })
    }

    /// What makes it true, for people; `None` if it is not.
    fn check(&self, facts: &Facts<'_, '_>) -> Option<String> {
        let octets = |count: u64| format!("{count} octets");
        match self {
            Self::LargerThan(bound) => {
                let size = report::octets(facts.input.message.raw().len());
                (size > *bound).then(|| octets(size))
            }
            Self::RecipientsMoreThan(bound) => {
                let count = report::octets(facts.input.envelope.recipients.len());
                (count > u64::from(*bound)).then(|| format!("{count} recipients"))
            }
            Self::AttachmentsMoreThan(bound) => (facts.attachments > u64::from(*bound))
                .then(|| format!("{} attachments", facts.attachments)),
            Self::AttachmentBytesMoreThan(bound) => {
                (facts.attachment_bytes > *bound).then(|| octets(facts.attachment_bytes))
            }
            Self::BlankSubject => {
                let subject = facts.input.message.subject();
                let blank = fold(&subject)
                    .chars()
                    .all(|c| c.is_whitespace() || c.is_control() || report::is_invisible(c));
                blank.then(|| "the subject is missing or blank".to_owned())
            }
            Self::Field { name, pattern } => {
                let mut fields = facts.input.message.fields();
                let matches = |(known, value): &(&str, String)| {
                    known.eq_ignore_ascii_case(name) && pattern.is_match(value)
                };
                fields.find(matches).map(|(known, _)| report::escaped(known))
            }
            Self::Unanswerable => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::LargerThan(_) => "larger-than",
            Self::RecipientsMoreThan(_) => "recipients-more-than",
            Self::AttachmentsMoreThan(_) => "attachments-more-than",
            Self::AttachmentBytesMoreThan(_) => "attachment-bytes-more-than",
            Self::BlankSubject => "blank-subject",
            Self::Field { .. } => "field",
            Self::Unanswerable => "unknown",
        }
    }
}

/// What several queries ask, counted once.
struct Facts<'a, 'b> {
    input: &'a Input<'b>,
    attachments: u64,
    attachment_bytes: u64,
}

impl<'a, 'b> Facts<'a, 'b> {
    fn of(input: &'a Input<'b>) -> Self {
        let mut facts = Self { input, attachments: 0, attachment_bytes: 0 };
        let places = Places::of(input.entities);
        for entity in places.attachments(input.entities) {
            if places.is_outermost(entity.id) {
                facts.attachments = facts.attachments.saturating_add(1);
                facts.attachment_bytes = facts.attachment_bytes.saturating_add(entity.size);
            }
        }
        facts
    }
}

impl Engine for MessageEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.queries.iter().any(|(id, _)| wanted.contains(*id))
    }

    fn scan(&self, input: &Input<'_>, _answers: &Answers) -> Outcome {
        let facts = Facts::of(input);
        let mut findings = Vec::new();
        let mut gaps = Vec::new();
        for (id, test) in self.queries.iter().filter(|(id, _)| input.wanted.contains(*id)) {
            if matches!(test, Test::Unanswerable) {
                gaps.push(report::unanswerable_gap(ENGINE));
            }
            if input.stop.is_stopped() {
                gaps.push(report::time_gap(ENGINE, EntityId::MESSAGE));
                break;
            }
            findings.extend(test.check(&facts).map(|detail| Finding {
                kind: FindingKind::Message,
                name: test.word().to_owned(),
                engine: ENGINE.into(),
                entity: EntityId::MESSAGE,
                detail,
                score: Score::ZERO,
                query: Some(*id),
                evidence: None,
            }));
        }
        Outcome::of(findings, gaps)
    }
}
