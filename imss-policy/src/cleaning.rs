//! What is taken out of the attachments that made a rule match.
//!
//! In: a message's entities and those that matched. Out: new content for each attachment they are in,
//! with what was removed, or why it cannot be cleaned. A member of a zip archive goes from it;
//! anything else is cleaned by its format. The result is read again: what matched inside must be gone,
//! and nothing that acts may be left.
//!
//! Equal inputs give equal results, so what was decided can be applied later.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use imss_core::document::ActiveKind;
use imss_core::edit::clean::{clean, without_members};
use imss_core::entity::{Entities, Entity, Origin, Role};
use imss_core::filetype;
use imss_core::ids::EntityId;
use imss_core::limits::{Budget, Limits, StopFlag};
use imss_core::message::Message;

/// One attachment's new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CleanPart {
    /// The attachment.
    pub(crate) entity: EntityId,
    /// What it holds from now on.
    pub(crate) content: Bytes,
    /// What was removed, for people.
    pub(crate) removed: Vec<String>,
}

/// Matched entities by the outermost attachment they are in, which is what can be replaced.
pub(crate) fn by_part(
    entities: &Entities,
    matched: &[EntityId],
) -> BTreeMap<EntityId, Vec<EntityId>> {
    let mut parts: BTreeMap<EntityId, Vec<EntityId>> = BTreeMap::new();
    for id in matched {
        let part = entities.ancestry(*id).filter(|entity| is_part(entity)).last();
        let part = part.map_or(*id, |entity| entity.id);
        parts.entry(part).or_default().push(*id);
    }
    parts
}

/// Whether it is a part that can be taken out of a message.
pub(crate) fn is_part(entity: &Entity) -> bool {
    matches!(entity.origin, Origin::Part(_)) && entity.role != Role::Multipart
}

/// Cleans every attachment that something in `matched` is in.
///
/// The error says why one of them cannot be cleaned, for people.
pub(crate) fn clean_parts(
    entities: &Entities,
    matched: &[EntityId],
) -> Result<Vec<CleanPart>, String> {
    let limits = Limits::default();
    let mut budget = Budget::new(&limits);
    let parts = by_part(entities, matched);
    parts.iter().map(|(part, inside)| one(entities, *part, inside, &mut budget)).collect()
}

fn one(
    entities: &Entities,
    part: EntityId,
    inside: &[EntityId],
    budget: &mut Budget<'_>,
) -> Result<CleanPart, String> {
    let attachment = entities.get(part).filter(|entity| is_part(entity));
    let Some(attachment) = attachment else { return Err("it is no attachment".to_owned()) };
    let is_archive = attachment.detected.extension == "zip";
    let result = if is_archive && !inside.contains(&part) {
        let bad = members(entities, inside);
        without_members(&attachment.content, budget, &|member| bad.contains(member))
    } else {
        clean(&attachment.content, &attachment.detected, budget)
    };
    let cleaned = result.map_err(|error| error.to_string())?;
    check(entities, attachment, inside, &cleaned.content)?;
    let name = if attachment.name().is_empty() { "the attachment" } else { attachment.name() };
    let removed = cleaned.removed.iter().map(|what| format!("{what} from {name}")).collect();
    Ok(CleanPart { entity: part, content: cleaned.content, removed })
}

/// The contents that go from an archive: of what matched, and of the files it is in.
fn members<'e>(entities: &'e Entities, inside: &[EntityId]) -> BTreeSet<&'e [u8]> {
    let holders =
        inside.iter().flat_map(|id| entities.ancestry(*id).take_while(|one| !is_part(one)));
    let files = holders.filter(|one| one.detected.extension != "zip" && !one.content.is_empty());
    files.map(|one| &one.content[..]).collect()
}

/// Reads the new content as a scan would.
fn check(
    entities: &Entities,
    old: &Entity,
    inside: &[EntityId],
    content: &Bytes,
) -> Result<(), String> {
    if filetype::detect(content).group != old.detected.group && !content.is_empty() {
        return Err("it would become another type of file".to_owned());
    }
    let limits = Limits::default();
    let head =
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let message = Message::parse([head, &content[..]].concat().into(), &limits);
    let again = Entities::extract(&message, &limits, &StopFlag::new());
    let bad: Vec<&Entity> = inside.iter().filter_map(|id| entities.get(*id)).collect();
    let is_there =
        |new: &Entity| bad.iter().any(|one| !one.content.is_empty() && one.content == new.content);
    if again.iter().any(is_there) {
        return Err("what was found is still there".to_owned());
    }
    let acts = again.iter().filter_map(|entity| entity.document.as_ref());
    let left = acts.flat_map(|document| &document.active).find(|active| must_go(active.kind));
    match left {
        Some(active) if old.detected.extension != "zip" => {
            Err(format!("something that acts is still there: {:?}", active.kind))
        }
        _ => Ok(()),
    }
}

/// Whether no cleaned document may have it.
fn must_go(kind: ActiveKind) -> bool {
    matches!(
        kind,
        ActiveKind::Vba
            | ActiveKind::VbaStomped
            | ActiveKind::Xlm
            | ActiveKind::Dde
            | ActiveKind::OlePackage
            | ActiveKind::ActiveX
            | ActiveKind::RemoteTemplate
            | ActiveKind::Script
            | ActiveKind::Launch
    )
}
