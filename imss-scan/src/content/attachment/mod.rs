//! Finds attachments, and what is inside them, by name, true type, size and honesty.
//!
//! In: the entities and the plan's [`AttachmentQuery`]s. Out: one finding per query and entity of
//! which all asked facts hold. Where they can be is in [`place`], how names compare in [`names`].
//!
//! Content that could not be read has the type that its names and its label claim, so that a
//! program in an encrypted archive is still a program.

use imss_core::entity::Entity;
use imss_core::filetype::{self, TypeGroup};
use imss_core::finding::{Finding, FindingKind};
use imss_core::ids::QueryId;
use imss_core::plan::{AttachmentQuery, Query, ScanPlan, Selection};
use imss_core::verdict::Score;

use crate::answer::Answers;
use crate::engine::{Engine, Input, Outcome};
use crate::report;
use names::{FoldedNames, NameSet};
pub(crate) use place::Places;

mod names;
mod place;

const ENGINE: &str = "attachments";

/// All attachment queries of a plan.
pub(crate) struct AttachmentEngine {
    queries: Vec<Compiled>,
}

struct Compiled {
    id: QueryId,
    query: AttachmentQuery,
    names: NameSet,
    except: NameSet,
}

impl AttachmentEngine {
    pub(crate) fn new(plan: &ScanPlan) -> Self {
        let compile = |(id, query): (QueryId, &Query)| {
            let Query::Attachment(query) = query else { return None };
            let (names, except) = (NameSet::new(&query.name), NameSet::new(&query.except_name));
            Some(Compiled { id, query: query.clone(), names, except })
        };
        Self { queries: plan.queries().filter_map(compile).collect() }
    }
}

impl Engine for AttachmentEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.queries.iter().any(|compiled| wanted.contains(compiled.id))
    }

    fn scan(&self, input: &Input<'_>, _answers: &Answers) -> Outcome {
        let queries: Vec<_> =
            self.queries.iter().filter(|compiled| input.wanted.contains(compiled.id)).collect();
        let mut findings = Vec::new();
        let mut gaps = Vec::new();
        let places = Places::of(input.entities);
        for entity in places.attachments(input.entities) {
            if input.stop.is_stopped() {
                gaps.push(report::time_gap(ENGINE, entity.id));
                break;
            }
            let names = FoldedNames::of(entity);
            let matching = queries.iter().filter(|compiled| {
                places.is_within(entity.id, &compiled.query.inside)
                    && compiled.holds_for(entity, &names)
            });
            findings.extend(matching.map(|compiled| finding(compiled.id, entity)));
        }
        Outcome::of(findings, gaps)
    }
}

impl Compiled {
    fn holds_for(&self, entity: &Entity, names: &FoldedNames) -> bool {
        let query = &self.query;
        query.larger_than.is_none_or(|bound| entity.size > bound)
            && (query.name.is_empty() || self.names.matches_any(names))
            && (query.except_name.is_empty() || !self.except.matches_all(names))
            && (query.r#type.is_empty() || has_type(entity, &query.r#type))
            && (query.media_type.is_empty() || has_media_type(entity, &query.media_type))
            && query.mismatch.is_none_or(|wanted| is_mismatch(entity) == wanted)
    }
}

/// Whether it is of one of these groups: by any type its content validly has, or, where content says nothing, by claim.
fn has_type(entity: &Entity, groups: &[TypeGroup]) -> bool {
    let detected = entity.detected.group;
    let mut types = std::iter::once(&entity.detected).chain(&entity.also);
    if !is_unread(entity) && types.any(|known| groups.contains(&known.group)) {
        return true;
    }
    // A script is text, and unknown data may be anything: there the name decides what opens it.
    let vague = matches!(detected, TypeGroup::Text | TypeGroup::Other | TypeGroup::Html);
    (vague || is_unread(entity)) && claimed_groups(entity).any(|group| groups.contains(&group))
}

fn claimed_groups(entity: &Entity) -> impl Iterator<Item = TypeGroup> {
    entity.names.iter().filter_map(|name| {
        let clean = names::without_tricks(name);
        filetype::group_of_extension(clean.rsplit_once('.')?.1)
    })
}

/// Whether there is content, but none that could be read.
fn is_unread(entity: &Entity) -> bool {
    entity.encrypted || (entity.content.is_empty() && entity.size > 0)
}

fn has_media_type(entity: &Entity, patterns: &[String]) -> bool {
    let known = std::iter::once(&entity.detected).chain(&entity.also);
    let mut types =
        entity.declared.as_deref().into_iter().chain(known.map(|known| known.media_type));
    types.any(|media_type| {
        patterns.iter().any(|pattern| match pattern.strip_suffix("/*") {
            Some(main) => media_type
                .split_once('/')
                .is_some_and(|(known, _)| known.eq_ignore_ascii_case(main)),
            None => pattern == "*" || media_type.eq_ignore_ascii_case(pattern),
        })
    })
}

fn is_mismatch(entity: &Entity) -> bool {
    !is_unread(entity)
        && filetype::claim(&entity.names, entity.declared.as_deref(), &entity.detected).is_some()
}

fn finding(query: QueryId, entity: &Entity) -> Finding {
    Finding {
        kind: FindingKind::Attachment,
        name: report::escaped(entity.name()),
        engine: ENGINE.into(),
        entity: entity.id,
        detail: format!("{}, {} octets", entity.detected.name, entity.size),
        score: Score::ZERO,
        query: Some(query),
        evidence: None,
    }
}
