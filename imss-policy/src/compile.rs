//! Model → scan plan and decision program.
//!
//! In: a [`Document`]. Out: a [`Program`]: every distinct question once, address sets behind one
//! index, conditions with question numbers in place of names, and rules in buckets, so that a
//! message pays for the rules that could match it, not for those that exist.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use imss_core::finding::FindingKind;
use imss_core::ids::QueryId;
use imss_core::plan::{
    Container, DnsList, KeywordQuery, MessageQuery, Place, Query, ScanPlan, Selection,
};
use imss_core::verdict::{Score, Verdict};
use ipnet::IpNet;

use crate::address::AddressIndex;
use crate::effect::{Effect, Words};
use crate::model::{Condition, Direction, Document, Reason, Rule, State, Test, Who};
use crate::route::Buckets;

/// What a policy compiles to.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Arc<ScanPlan>,
    pub(crate) addresses: AddressIndex,
    pub(crate) rules: Vec<Line>,
    pub(crate) answers: Vec<(Reason, Vec<Effect>)>,
    pub(crate) buckets: Buckets,
    pub(crate) dns_lists: Vec<(QueryId, Arc<DnsList>)>,
    pub(crate) spam_threshold: Score,
}

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: Arc<str>,
    pub(crate) line: u32,
    pub(crate) shadow: bool,
    pub(crate) directions: Vec<Direction>,
    pub(crate) from: Vec<u32>,
    pub(crate) to: Vec<u32>,
    pub(crate) except_from: Vec<u32>,
    pub(crate) except_to: Vec<u32>,
    pub(crate) check: Check,
    /// Whether a match says something about the message: it asks something.
    pub(crate) asks: bool,
    pub(crate) effects: Vec<Effect>,
}

/// A compiled condition.
#[derive(Debug)]
pub(crate) enum Check {
    All(Vec<Check>),
    Any(Vec<Check>),
    Not(Box<Check>),
    Malware(Vec<FindingKind>),
    Query { id: QueryId, about: About },
    Score(Score),
    Verdict(BTreeSet<Verdict>),
    RecipientsOutside(u32),
    Client(Vec<IpNet>),
    Unknown(BTreeSet<Reason>),
}

/// What a question looks at: tells which gaps leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Keyword lists: whether in the content of parts, and whether in names and header.
    Keywords { deep: bool },
    /// Attachments: whether inside containers as well.
    Attachment { inside: bool },
    /// The number or size of attachments.
    Attachments,
    /// The header section.
    Header,
    /// The envelope or the size: always known.
    Known,
    /// A DNS list.
    DnsList,
    /// Who sent it.
    Authentication,
}

/// What must have been found for a condition to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trigger {
    Query(QueryId),
    Kind(FindingKind),
}

impl Program {
    /// Compiles a document. Its address lists move into the program's index.
    pub(crate) fn compile(document: &mut Document) -> Self {
        let mut compiler = Compiler::new(document);
        let rules: Vec<Line> = document
            .rules
            .iter()
            .filter(|rule| rule.state != State::Off)
            .map(|rule| compiler.line(document, rule))
            .collect();
        let words = Words {
            languages: &document.languages,
            administrator: document.administrator.as_ref(),
        };
        let answers = Reason::ALL
            .into_iter()
            .map(|reason| {
                let actions = document.unknown.get(&reason).map(Vec::as_slice).unwrap_or_default();
                (reason, actions.iter().map(|action| Effect::of(action, words)).collect())
            })
            .collect();
        for (name, members) in &mut document.addresses {
            let Some(set) = compiler.sets.get(&Who::Object(name.clone())) else { continue };
            for pattern in std::mem::take(members) {
                compiler.addresses.insert(pattern, *set);
            }
        }
        let buckets = Buckets::of(&rules, &compiler.asked);
        Self {
            plan: Arc::new(compiler.plan),
            addresses: compiler.addresses,
            rules,
            answers,
            buckets,
            dns_lists: compiler.dns_lists,
            spam_threshold: document.spam_threshold.unwrap_or(crate::model::DEFAULT_SPAM_THRESHOLD),
        }
    }

    pub(crate) fn plan(&self) -> &Arc<ScanPlan> {
        &self.plan
    }

    pub(crate) fn rule(&self, place: u32) -> Option<&Line> {
        self.rules.get(usize::try_from(place).ok()?)
    }
}

/// What grows while rules are compiled.
struct Compiler {
    plan: ScanPlan,
    known: HashMap<String, QueryId>,
    addresses: AddressIndex,
    sets: HashMap<Who, u32>,
    dns_lists: Vec<(QueryId, Arc<DnsList>)>,
    list_ids: HashMap<String, QueryId>,
    /// The questions of each rule.
    asked: Vec<Selection>,
}

impl Compiler {
    fn new(document: &Document) -> Self {
        let mut compiler = Self {
            plan: ScanPlan::new(),
            known: HashMap::new(),
            addresses: AddressIndex::default(),
            sets: HashMap::new(),
            dns_lists: Vec::new(),
            list_ids: HashMap::new(),
            asked: Vec::new(),
        };
        for (name, list) in &document.dns_lists {
            let list = Arc::new(list.clone());
            let id = compiler.plan.ask_new(Query::DnsList(Arc::clone(&list)));
            compiler.dns_lists.push((id, list));
            compiler.list_ids.insert(name.clone(), id);
        }
        compiler
    }

    fn line(&mut self, document: &Document, rule: &Rule) -> Line {
        let mut asked = Selection::none();
        let check = self.check(document, &rule.when, &mut asked);
        self.asked.push(asked);
        let words = Words {
            languages: &document.languages,
            administrator: document.administrator.as_ref(),
        };
        Line {
            name: rule.name.as_str().into(),
            line: rule.line,
            shadow: rule.state == State::Shadow,
            directions: rule.route.direction.clone(),
            from: self.sets(&rule.route.from),
            to: self.sets(&rule.route.to),
            except_from: self.sets(&rule.route.except_from),
            except_to: self.sets(&rule.route.except_to),
            check,
            asks: !rule.when.is_always(),
            effects: rule.then.iter().map(|action| Effect::of(action, words)).collect(),
        }
    }

    /// The numbers of address sets; an object or a pattern has one number in all rules.
    fn sets(&mut self, people: &[Who]) -> Vec<u32> {
        let mut sets = Vec::with_capacity(people.len());
        for who in people {
            let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
            let set = *self.sets.entry(who.clone()).or_insert_with(|| {
                if let Who::Pattern(pattern) = who {
                    self.addresses.insert(pattern.clone(), next);
                }
                next
            });
            sets.push(set);
        }
        sets.sort_unstable();
        sets.dedup();
        sets
    }

    fn check(
        &mut self,
        document: &Document,
        condition: &Condition,
        asked: &mut Selection,
    ) -> Check {
        match condition {
            Condition::All(inner) => {
                Check::All(inner.iter().map(|one| self.check(document, one, asked)).collect())
            }
            Condition::Any(inner) => {
                Check::Any(inner.iter().map(|one| self.check(document, one, asked)).collect())
            }
            Condition::Not(inner) => Check::Not(Box::new(self.check(document, inner, asked))),
            Condition::Test(test) => self.test(document, test, asked),
        }
    }

    fn test(&mut self, document: &Document, test: &Test, asked: &mut Selection) -> Check {
        match test {
            Test::Malware(classes) => {
                asked.insert(self.ask(Query::Malware));
                Check::Malware(classes.iter().map(|class| class.kind()).collect())
            }
            Test::Score(least) => {
                self.ask_for_points(asked);
                Check::Score(*least)
            }
            Test::Verdict(verdicts) => {
                asked.insert(self.ask(Query::Malware));
                self.ask_for_points(asked);
                Check::Verdict(verdicts.clone())
            }
            Test::Keywords { list, places } => {
                let Some(object) = document.keywords.get(list) else {
                    return Check::Any(Vec::new());
                };
                let deep = places.contains(&Place::Body) || places.contains(&Place::Attachments);
                let query = KeywordQuery { list: Arc::clone(&object.list), places: places.clone() };
                self.query(Query::Keywords(query), About::Keywords { deep }, asked)
            }
            Test::Attachment(query) => {
                let inside =
                    query.inside.iter().any(|container| *container != Container::EncryptedArchive);
                let about = About::Attachment { inside };
                self.query(Query::Attachment((**query).clone()), about, asked)
            }
            Test::Message(query) => {
                let about = match query {
                    MessageQuery::AttachmentsMoreThan(_)
                    | MessageQuery::AttachmentBytesMoreThan(_) => About::Attachments,
                    MessageQuery::BlankSubject | MessageQuery::Field { .. } => About::Header,
                    _ => About::Known,
                };
                self.query(Query::Message(query.clone()), about, asked)
            }
            Test::DnsList(name) => match self.list_ids.get(name) {
                Some(id) => {
                    asked.insert(*id);
                    Check::Query { id: *id, about: About::DnsList }
                }
                None => Check::Any(Vec::new()),
            },
            Test::Authentication(query) => {
                self.query(Query::Authentication(query.clone()), About::Authentication, asked)
            }
            Test::RecipientsOutside(count) => Check::RecipientsOutside(*count),
            Test::Client(networks) => Check::Client(networks.clone()),
            Test::Unknown(reasons) => {
                // Only who looks can say that something could not be looked at.
                asked.insert(self.ask(Query::Malware));
                Check::Unknown(reasons.clone())
            }
        }
    }

    fn query(&mut self, query: Query, about: About, asked: &mut Selection) -> Check {
        let id = self.ask(query);
        asked.insert(id);
        Check::Query { id, about }
    }

    /// Everything that adds to the score.
    fn ask_for_points(&mut self, asked: &mut Selection) {
        asked.insert(self.ask(Query::Spam));
        for (id, _) in &self.dns_lists {
            asked.insert(*id);
        }
    }

    /// Remembers questions by their words: ten thousand are not compared with each other.
    fn ask(&mut self, query: Query) -> QueryId {
        let key = match &query {
            Query::Keywords(words) => format!("{} {:?}", words.list.name, words.places),
            other => format!("{other:?}"),
        };
        *self.known.entry(key).or_insert_with(|| self.plan.ask_new(query))
    }
}

impl Check {
    /// What must have been found for this to hold; `None` if it can hold without a finding.
    pub(crate) fn triggers(&self) -> Option<Vec<Trigger>> {
        match self {
            Self::All(inner) => inner.iter().filter_map(Self::triggers).min_by_key(Vec::len),
            Self::Any(inner) => {
                let all: Option<Vec<_>> = inner.iter().map(Self::triggers).collect();
                all.map(|triggers| triggers.into_iter().flatten().collect())
            }
            Self::Malware(kinds) => Some(kinds.iter().copied().map(Trigger::Kind).collect()),
            Self::Query { id, .. } => Some(vec![Trigger::Query(*id)]),
            _ => None,
        }
    }
}
