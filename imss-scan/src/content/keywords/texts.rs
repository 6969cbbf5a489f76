//! Where a message has text, and which place of a query each text is.
//!
//! In: the message and its entities. Out: views, one at a time, so that text is decoded only when
//! its turn comes. Fields are folded one by one: a phrase never spans two of them.
//!
//! The header section of an attached message is text of an attachment.

use std::borrow::Cow;
use std::collections::BTreeSet;

use imss_core::charset::fold_within;
use imss_core::entity::{Entity, Origin, Role};
use imss_core::ids::EntityId;
use imss_core::limits::Limits;
use imss_core::message::Message;
use imss_core::plan::Place;

use crate::engine::Input;

/// Octets by which the folded lines of a header section may be longer than the lines.
const MAX_GROWTH: usize = 1 << 20;

/// One text.
pub(super) struct View<'a> {
    /// What it is the text of.
    pub(super) entity: EntityId,
    /// Where that is.
    pub(super) place: Place,
    /// As it is read.
    pub(super) plain: Cow<'a, str>,
    /// Folded for search.
    pub(super) folded: Cow<'a, str>,
    /// Whether something is missing at its end.
    pub(super) truncated: bool,
}

/// All texts in these places: the subject, the header section, then the entities in order.
pub(super) fn of<'a>(
    input: &'a Input<'a>,
    places: &BTreeSet<Place>,
) -> impl Iterator<Item = View<'a>> {
    let has = |place: Place| places.contains(&place);
    let (subject, header) = (has(Place::Subject), has(Place::Header));
    let (body, attachments) = (has(Place::Body), has(Place::Attachments));
    let fields = [
        subject.then(|| from_lines(EntityId::MESSAGE, Place::Subject, [input.message.subject()])),
        header.then(|| header_section(EntityId::MESSAGE, Place::Header, input.message)),
    ];
    let attached = attached(input);
    let entities = input.entities.iter().zip(attached).filter_map(move |(entity, attached)| {
        let place = if attached { Place::Attachments } else { Place::Body };
        let wanted = if attached { attachments } else { body };
        if wanted { entity_view(entity, place) } else { None }
    });
    fields.into_iter().flatten().chain(entities)
}

/// For each entity whether it is an attachment or inside of one.
fn attached(input: &Input<'_>) -> Vec<bool> {
    let mut attached: Vec<bool> = Vec::with_capacity(input.entities.len());
    // A parent comes before its children, so one pass carries it down.
    for entity in input.entities {
        let outer = entity.parent.and_then(|parent| attached.get(parent.index())).copied();
        let own = matches!(entity.role, Role::Attachment | Role::Member)
            || entity.origin == Origin::Attached;
        attached.push(own || outer.unwrap_or(false));
    }
    attached
}

fn entity_view(entity: &Entity, place: Place) -> Option<View<'_>> {
    match entity.role {
        Role::Multipart => None,
        Role::Message if entity.origin == Origin::Attached => {
            let message = Message::parse(entity.content.clone(), &Limits::default());
            Some(header_section(entity.id, place, &message))
        }
        Role::Message => None,
        Role::Body | Role::Attachment | Role::Member => entity.text().map(|text| View {
            entity: entity.id,
            place,
            plain: Cow::Borrowed(&text.plain),
            folded: Cow::Borrowed(&text.folded),
            truncated: text.truncated,
        }),
    }
}

fn header_section<'a>(entity: EntityId, place: Place, message: &Message) -> View<'a> {
    from_lines(entity, place, message.fields().map(|(name, value)| format!("{name}: {value}")))
}

fn from_lines<'a>(
    entity: EntityId,
    place: Place,
    lines: impl IntoIterator<Item = String>,
) -> View<'a> {
    let (mut plain, mut folded) = (String::new(), String::new());
    let (mut growth, mut truncated) = (MAX_GROWTH, false);
    for line in lines {
        let (line_folded, is_cut) = fold_within(&line, growth);
        growth = growth.saturating_sub(line_folded.len().saturating_sub(line.len()));
        truncated |= is_cut;
        folded.push_str(&line_folded);
        folded.push('\n');
        plain.push_str(&line);
        plain.push('\n');
    }
    let (plain, folded) = (Cow::Owned(plain), Cow::Owned(folded));
    View { entity, place, plain, folded, truncated }
}
