//! Envelope → which rules could apply to which recipient, and which questions they ask.
//!
//! Rules lie in buckets by the address sets of their route, and within a bucket by what must have
//! been found for them to match. Ten thousand rules cost a message what its own few cost.

use std::collections::HashMap;

use imss_core::envelope::Envelope;
use imss_core::plan::Selection;

use crate::address::Address;
use crate::compile::{Line, Program, Trigger};
use crate::model::{Direction, Document};

/// Rules that are looked at one by one and shown in the trail; with more, only those that could
/// match are.
const MAX_LOOKED_AT: usize = 256;

/// Which rules apply to which recipients of one envelope, and which questions they ask.
#[derive(Debug, Clone)]
pub struct Routes {
    selection: Selection,
    pub(crate) from: Vec<u32>,
    pub(crate) groups: Vec<Group>,
    /// For each recipient its place in `groups`.
    pub(crate) group_of: Vec<usize>,
}

/// Recipients that the same rules apply to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) direction: Direction,
    pub(crate) to: Vec<u32>,
}

impl Routes {
    /// The questions that matter for this message.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Which way each recipient's copy goes, in the envelope's order.
    pub fn directions(&self) -> impl Iterator<Item = Direction> {
        self.group_of
            .iter()
            .map(|group| self.groups.get(*group).map_or(Direction::Incoming, |g| g.direction))
    }
}

/// Rules by the address sets of their route.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    general: Bucket,
    by_to: HashMap<u32, Bucket>,
    by_from: HashMap<u32, Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    all: Vec<u32>,
    /// Rules that can match without a finding.
    always: Vec<u32>,
    triggered: HashMap<Trigger, Vec<u32>>,
    /// The questions of these rules, for each direction.
    asked: [Selection; 3],
}

impl Buckets {
    pub(crate) fn of(rules: &[Line], asked: &[Selection]) -> Self {
        let mut buckets = Self::default();
        for ((place, rule), asked) in (0_u32..).zip(rules).zip(asked) {
            let triggers = rule.check.triggers();
            if !rule.to.is_empty() {
                for set in &rule.to {
                    let bucket = buckets.by_to.entry(*set).or_default();
                    bucket.add(place, rule, triggers.as_deref(), asked);
                }
            } else if !rule.from.is_empty() {
                for set in &rule.from {
                    let bucket = buckets.by_from.entry(*set).or_default();
                    bucket.add(place, rule, triggers.as_deref(), asked);
                }
            } else {
                buckets.general.add(place, rule, triggers.as_deref(), asked);
            }
        }
        buckets
    }

    fn of_route(&self, from: &[u32], to: &[u32]) -> impl Iterator<Item = &Bucket> {
        let by_to = to.iter().filter_map(|set| self.by_to.get(set));
        let by_from = from.iter().filter_map(|set| self.by_from.get(set));
        std::iter::once(&self.general).chain(by_to).chain(by_from)
    }
}

impl Bucket {
    fn add(&mut self, place: u32, rule: &Line, triggers: Option<&[Trigger]>, asked: &Selection) {
        self.all.push(place);
        match triggers {
            Some(triggers) => {
                for trigger in triggers {
                    self.triggered.entry(*trigger).or_default().push(place);
                }
            }
            None => self.always.push(place),
        }
        for (direction, selection) in DIRECTIONS.into_iter().zip(&mut self.asked) {
            if rule.directions.is_empty() || rule.directions.contains(&direction) {
                selection.extend_from(asked);
            }
        }
    }
}

const DIRECTIONS: [Direction; 3] = [Direction::Incoming, Direction::Outgoing, Direction::Internal];

/// The rules to look at for one group, in order.
pub(crate) struct Candidates {
    pub(crate) rules: Vec<u32>,
    /// Rules of the route that were passed over because nothing they ask for was found.
    pub(crate) left_out: u32,
}

impl Program {
    /// Which rules could apply to whom.
    pub(crate) fn routes(&self, document: &Document, envelope: &Envelope) -> Routes {
        let sender = Address::of_reverse_path(&envelope.reverse_path);
        let from = self.addresses.sets_of(&sender);
        let from_inside = sender.is_in(&document.internal) && believed(document, envelope);
        let mut routes = Routes {
            selection: Selection::none(),
            from,
            groups: Vec::new(),
            group_of: Vec::with_capacity(envelope.recipients.len()),
        };
        let mut places: HashMap<Group, usize> = HashMap::new();
        for recipient in &envelope.recipients {
            let address = Address::of_forward_path(&recipient.path);
            let to_inside = address.is_in(&document.internal) || recipient.path.mailbox().is_none();
            let direction = match (from_inside, to_inside) {
                (true, true) => Direction::Internal,
                (true, false) => Direction::Outgoing,
                (false, _) => Direction::Incoming,
            };
            let group = Group { direction, to: self.addresses.sets_of(&address) };
            let place = *places.entry(group).or_insert_with_key(|group| {
                routes.groups.push(group.clone());
                routes.groups.len().saturating_sub(1)
            });
            routes.group_of.push(place);
        }
        for group in &routes.groups {
            for bucket in self.buckets.of_route(&routes.from, &group.to) {
                for (direction, asked) in DIRECTIONS.iter().zip(&bucket.asked) {
                    if *direction == group.direction {
                        routes.selection.extend_from(asked);
                    }
                }
            }
        }
        routes
    }

    /// The rules of `group` that could match, given what was found.
    pub(crate) fn candidates(&self, from: &[u32], group: &Group, found: &[Trigger]) -> Candidates {
        let of_route: usize =
            self.buckets.of_route(from, &group.to).map(|bucket| bucket.all.len()).sum();
        let mut rules: Vec<u32> = Vec::new();
        for bucket in self.buckets.of_route(from, &group.to) {
            if of_route <= MAX_LOOKED_AT {
                rules.extend(&bucket.all);
                continue;
            }
            rules.extend(&bucket.always);
            let triggered = found.iter().filter_map(|trigger| bucket.triggered.get(trigger));
            rules.extend(triggered.flatten());
        }
        rules.sort_unstable();
        rules.dedup();
        let looked_at = rules.len();
        rules.retain(|place| self.rule(*place).is_some_and(|rule| rule.is_on_route(from, group)));
        let left_out =
            if of_route <= MAX_LOOKED_AT { 0 } else { of_route.saturating_sub(looked_at) };
        Candidates { rules, left_out: u32::try_from(left_out).unwrap_or(u32::MAX) }
    }
}

/// Whether the client may speak for the inside.
fn believed(document: &Document, envelope: &Envelope) -> bool {
    let networks = &document.internal_clients;
    let ip = envelope.client.ip.to_canonical();
    networks.is_empty() || networks.iter().any(|network| network.contains(&ip))
}

impl Line {
    /// Whether the rule sees copies of `group`.
    fn is_on_route(&self, from: &[u32], group: &Group) -> bool {
        let meets = |sets: &[u32], of: &[u32]| sets.iter().any(|set| of.binary_search(set).is_ok());
        (self.directions.is_empty() || self.directions.contains(&group.direction))
            && (self.from.is_empty() || meets(&self.from, from))
            && (self.to.is_empty() || meets(&self.to, &group.to))
            && !meets(&self.except_from, from)
            && !meets(&self.except_to, &group.to)
    }
}
