//! Finds GTUBE, the generic test for unsolicited bulk email, and nothing else.
//!
//! In: every entity's decoded content. Out: one spam finding of 1000 points per entity that holds
//! the string, in an encoding with one octet per ASCII character or in UTF-16. If a container
//! holds it only through what is inside, the innermost entity is reported.

use std::collections::BTreeSet;

use imss_core::filetype::TypeGroup;
use imss_core::finding::{Evidence, Finding, FindingKind, View};
use imss_core::ids::{EntityId, QueryId};
use imss_core::plan::{Query, ScanPlan, Selection};
use imss_core::verdict::Score;
use memchr::memmem::Finder;

use crate::answer::Answers;
use crate::engine::{Engine, Input, Outcome};
use crate::report;

const ENGINE: &str = "gtube";

/// In two pieces, so that mail that carries this source is not taken for it.
const GTUBE: &str =
    concat!("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");

/// More than any threshold for spam.
const POINTS: Score = Score::points(1000);

/// Asks nothing, knows one string.
pub(crate) struct GtubeEngine {
    query: Option<QueryId>,
    finder: Finder<'static>,
    utf16: [Finder<'static>; 2],
}

impl GtubeEngine {
    pub(crate) fn new(plan: &ScanPlan) -> Self {
        let wide = |to_bytes: fn(u16) -> [u8; 2]| {
            let bytes: Vec<u8> = GTUBE.encode_utf16().flat_map(to_bytes).collect();
            Finder::new(&bytes).into_owned()
        };
        let spam = plan.queries().find(|(_, query)| matches!(query, Query::Spam));
        Self {
            query: spam.map(|(id, _)| id),
            finder: Finder::new(GTUBE).into_owned(),
            utf16: [wide(u16::to_be_bytes), wide(u16::to_le_bytes)],
        }
    }

    /// Where the string is, and how many octets it has there.
    fn find(&self, content: &[u8], group: TypeGroup) -> Option<(usize, usize)> {
        // What is inside an archive is an entity of its own, and pictures and sound hold no text.
        if matches!(
            group,
            TypeGroup::Archive | TypeGroup::Image | TypeGroup::Audio | TypeGroup::Video
        ) {
            return None;
        }
        if let Some(offset) = self.finder.find(content) {
            return Some((offset, GTUBE.len()));
        }
        // ASCII in UTF-16 is every second octet NUL: content without one needs no second look.
        memchr::memchr(0, content)?;
        let offset = self.utf16.iter().find_map(|finder| finder.find(content))?;
        Some((offset, GTUBE.len().saturating_mul(2)))
    }

    fn finding(&self, entity: EntityId, offset: usize, length: usize) -> Finding {
        Finding {
            kind: FindingKind::Spam,
            name: "GTUBE".to_owned(),
            engine: ENGINE.into(),
            entity,
            detail: "the generic test string for unsolicited bulk email".to_owned(),
            score: POINTS,
            query: self.query,
            evidence: Some(Evidence {
                view: View::Content,
                offset: report::octets(offset),
                length: report::octets(length),
            }),
        }
    }
}

impl Engine for GtubeEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn wants(&self, wanted: &Selection) -> bool {
        self.query.is_some_and(|query| wanted.contains(query))
    }

    fn scan(&self, input: &Input<'_>, _answers: &Answers) -> Outcome {
        let mut findings = Vec::new();
        let mut gaps = Vec::new();
        let mut explained: BTreeSet<EntityId> = BTreeSet::new();
        // Children come after their parents, so backwards the innermost comes first.
        for id in report::backwards(input.entities) {
            let Some(entity) = input.entities.get(id) else { continue };
            if input.stop.is_stopped() {
                gaps.push(report::time_gap(ENGINE, id));
                break;
            }
            let Some((offset, length)) = self.find(&entity.content, entity.detected.group) else {
                continue;
            };
            if !explained.contains(&id) {
                findings.push(self.finding(id, offset, length));
            }
            explained.extend(input.entities.ancestry(id).map(|outer| outer.id));
        }
        findings.reverse();
        Outcome::of(findings, gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_is_found_in_every_width() {
        let engine = GtubeEngine::new(&ScanPlan::new());
        let wide = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("あ{GTUBE}い").encode_utf16().flat_map(to_bytes).collect()
        };
        let cases = [
            ("as it is", format!("x{GTUBE}y").into_bytes(), Some((1, 68))),
            ("UTF-16, most significant first", wide(u16::to_be_bytes), Some((2, 136))),
            ("UTF-16, least significant first", wide(u16::to_le_bytes), Some((2, 136))),
            ("a near miss", GTUBE.replace("34X", "35X").into_bytes(), None),
            ("nothing", Vec::new(), None),
        ];
        for (name, content, expected) in cases {
            assert_eq!(engine.find(&content, TypeGroup::Text), expected, "{name}");
        }
    }
}
