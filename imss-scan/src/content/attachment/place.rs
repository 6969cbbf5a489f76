//! Which entities are attachments, and what each is inside of.
//!
//! In: the entities. Out: for each the containers between it and the message. A multipart and
//! another reading of the same octets are no containers. Code inside a document is no file: it is
//! never an attachment, whatever its text looks like.

use std::collections::BTreeSet;

use imss_core::entity::{Entities, Entity, Origin, Role};
use imss_core::filetype::TypeGroup;
use imss_core::ids::EntityId;
use imss_core::plan::Container;

/// The containers around each entity of a message.
pub(crate) struct Places {
    around: Vec<u8>,
}

impl Places {
    pub(crate) fn of(entities: &Entities) -> Self {
        let mut around: Vec<u8> = Vec::with_capacity(entities.len());
        // A parent comes before its children, so one pass carries everything down.
        for entity in entities {
            let parent = entity.parent.and_then(|parent| entities.get(parent));
            let outer = parent.and_then(|parent| around.get(parent.id.index())).copied();
            let own = parent.and_then(|parent| container(entity, parent)).map_or(0, bit);
            around.push(outer.unwrap_or(0) | own);
        }
        Self { around }
    }

    /// What people call attachments, at any depth: what is offered to save, and what is inside.
    pub(crate) fn attachments<'a>(
        &self,
        entities: &'a Entities,
    ) -> impl Iterator<Item = &'a Entity> {
        entities.iter().filter(|entity| match entity.role {
            _ if matches!(entity.origin, Origin::Code(_)) => false,
            Role::Attachment | Role::Member => true,
            // Readers offer a shown part to save as soon as it has a name.
            Role::Body => !entity.names.is_empty(),
            Role::Message | Role::Multipart => false,
        })
    }

    /// Whether all containers around an entity are among these.
    pub(crate) fn is_within(&self, entity: EntityId, allowed: &BTreeSet<Container>) -> bool {
        let allowed = allowed.iter().fold(0, |all, container| all | bit(*container));
        self.around.get(entity.index()).is_some_and(|around| around & !allowed == 0)
    }

    /// Whether an entity hangs on the message itself, in no container.
    pub(crate) fn is_outermost(&self, entity: EntityId) -> bool {
        self.around.get(entity.index()) == Some(&0)
    }
}

fn bit(container: Container) -> u8 {
    match container {
        Container::Archive => 1,
        Container::EncryptedArchive => 2,
        Container::Document => 4,
        Container::Message => 8,
    }
}

/// What `parent` is to `entity`.
fn container(entity: &Entity, parent: &Entity) -> Option<Container> {
    match entity.origin {
        Origin::Attached => Some(Container::Message),
        Origin::Member(_) if entity.encrypted => Some(Container::EncryptedArchive),
        Origin::Embedded(_) => Some(Container::Document),
        Origin::Member(_) | Origin::Expanded if parent.detected.group == TypeGroup::Document => {
            Some(Container::Document)
        }
        Origin::Member(_) | Origin::Expanded => Some(Container::Archive),
        _ => None,
    }
}
