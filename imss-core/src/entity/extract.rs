//! Walks a message and everything inside it, breadth first.
//!
//! In: a message and its budget. Out: [`Entities`]. A queue holds what was found and not looked
//! into yet; nothing recurses. Every content is decoded once and hashed once.
//!
//! A bound that is reached, a broken or encrypted archive, a missing piece: each is a gap.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

use bytes::Bytes;

use super::{Entities, Entity, Origin, Role, name, text};
use crate::anomaly::{Anomaly, AnomalyKind};
use crate::archive::Passwords;
use crate::filetype::{self, Identified};
use crate::finding::{Gap, GapReason};
use crate::ids::EntityId;
use crate::limits::{Budget, Limit};
use crate::message::{
    Disposition, Message, Part, PartKind, TransferEncoding, encoded_word, transfer, uuencode,
};

/// Bodies and header sections that are searched for passwords.
const MAX_BODIES: usize = 16;
/// The reader's name in gaps.
pub(super) const ENGINE: &str = "reader";

/// Finds everything inside `message`.
pub(super) fn run(message: &Message, budget: Budget<'_>, passwords: Passwords) -> Entities {
    let mut extraction = Extraction {
        entities: Entities { list: Vec::new(), gaps: Vec::new(), anomalies: Vec::new() },
        budget,
        candidates: Candidates { all: passwords.clone(), configured: passwords, bodies: 0 },
        bodies: Vec::new(),
        queue: VecDeque::new(),
        places: HashMap::new(),
    };
    extraction.start(message);
    while let Some(job) = extraction.queue.pop_front() {
        if let Err(limit) = extraction.budget.check_stop() {
            extraction.gap(GapReason::Limit(limit), EntityId::MESSAGE, ENGINE, String::new());
            break;
        }
        extraction.open(&job);
    }
    extraction.share_text_work();
    extraction.entities
}

pub(super) struct Extraction<'a> {
    pub(super) entities: Entities,
    pub(super) budget: Budget<'a>,
    pub(super) candidates: Candidates,
    /// The first messages and bodies shown to the reader, which may name passwords.
    pub(super) bodies: Vec<EntityId>,
    pub(super) queue: VecDeque<Job>,
    /// The first entity in each container that has just these octets.
    pub(super) places: HashMap<(EntityId, usize, usize), EntityId>,
}

/// The passwords to try.
pub(super) struct Candidates {
    pub(super) configured: Passwords,
    /// With those that the message offers.
    pub(super) all: Passwords,
    /// How many bodies that considers.
    pub(super) bodies: usize,
}

/// Content that may hold more.
pub(super) struct Job {
    pub(super) entity: EntityId,
    pub(super) content: Bytes,
    /// How many containers it is in.
    pub(super) layer: usize,
    /// The number of the part it is in, for the numbers of parts inside.
    pub(super) number: String,
    /// The `Content-Type` value of a multipart that was encoded as a whole.
    pub(super) container: Option<Bytes>,
}

/// What is known of an entity before it is added.
pub(super) struct Found {
    pub(super) parent: Option<EntityId>,
    pub(super) origin: Origin,
    pub(super) role: Role,
    pub(super) names: Vec<String>,
    pub(super) declared: Option<String>,
    pub(super) charset: Option<String>,
    pub(super) part: Option<usize>,
    pub(super) content: Bytes,
}

/// Where a message's parts hang.
struct Place {
    entity: EntityId,
    layer: usize,
    number: String,
    /// Whether it is the message itself, whose parts can be named to edits.
    top: bool,
}

impl Extraction<'_> {
    fn start(&mut self, message: &Message) {
        // The message is always there; with a bound of no entities at all it stays the only one.
        let charged = self.budget.charge_entity();
        let id = self.add(Found {
            parent: None,
            origin: Origin::Message,
            role: Role::Message,
            names: Vec::new(),
            declared: None,
            charset: None,
            part: None,
            content: message.raw().clone(),
        });
        let size = u64::try_from(message.raw().len()).unwrap_or(u64::MAX);
        if size > self.budget.limits().max_message_bytes {
            self.gap(GapReason::Limit(Limit::MessageBytes), id, ENGINE, format!("{size} octets"));
        }
        match charged {
            Ok(()) => {
                let place = Place { entity: id, layer: 0, number: String::new(), top: true };
                self.message(message, &place);
            }
            Err(limit) => self.gap(GapReason::Limit(limit), id, ENGINE, String::new()),
        }
    }

    /// Adds the parts of a message that is inside another entity.
    pub(super) fn attached(&mut self, entity: EntityId, raw: Bytes, layer: usize, number: String) {
        let message = Message::parse(raw, self.budget.limits());
        self.message(&message, &Place { entity, layer, number, top: false });
    }

    fn message(&mut self, message: &Message, place: &Place) {
        for anomaly in message.anomalies() {
            self.entities.anomalies.push(Anomaly { entity: place.entity, ..anomaly.clone() });
        }
        for cut in message.cuts() {
            let detail = match cut.limit {
                Limit::Facts => format!(
                    "names of a part past 32, pieces of a parameter past 256, or the parts of a \
                     multipart without a boundary past 64 KiB, at octet {}",
                    cut.offset
                ),
                _ => format!("at octet {}", cut.offset),
            };
            self.gap(GapReason::Limit(cut.limit), place.entity, ENGINE, detail);
        }
        // For each part: the entity that holds its children, and how deep that is.
        let mut holders: Vec<(EntityId, usize)> = Vec::with_capacity(message.parts().len());
        for (index, part) in message.parts().iter().enumerate() {
            let top = (place.entity, place.layer);
            let holder =
                part.parent().and_then(|parent| holders.get(parent)).copied().unwrap_or(top);
            match self.part(message, index, part, holder, place) {
                Ok(holder) => holders.push(holder),
                Err(limit) => {
                    let detail = format!("part {}", part.number());
                    self.gap(GapReason::Limit(limit), place.entity, ENGINE, detail);
                    return;
                }
            }
        }
        self.outside_parts(message, &holders);
        self.other_readings(message, place.entity, place.layer);
    }

    fn part(
        &mut self,
        message: &Message,
        index: usize,
        part: &Part,
        (parent, layer): (EntityId, usize),
        place: &Place,
    ) -> Result<(EntityId, usize), Limit> {
        self.budget.charge_entity()?;
        let body = message.part(part.body_range());
        let decoded = match part.kind() {
            PartKind::Leaf => transfer::decode(&body, part.encoding()),
            PartKind::Message => transfer::Decoded { content: body.clone(), malformed: false },
            PartKind::Multipart => transfer::Decoded { content: Bytes::new(), malformed: false },
        };
        self.budget.charge_bytes(u64::try_from(decoded.content.len()).unwrap_or(u64::MAX))?;
        let number = join(&place.number, part.number());
        let known = self.entities.get(place.entity).and_then(|holder| holder.part);
        let mut found = Found {
            parent: Some(parent),
            origin: Origin::Part(number.clone()),
            role: role(message, part),
            names: part.names().to_vec(),
            declared: part.declared().map(str::to_owned),
            charset: part.charset().map(str::to_owned),
            part: if place.top { Some(index) } else { known },
            content: decoded.content,
        };
        if part.in_digest && found.declared.is_none() {
            found.declared = Some(part.media_type().to_owned());
        }
        if part.encoding() == TransferEncoding::Uuencode {
            let file = uuencode::Uuencoded::all(&body).next();
            found.names.extend(file.map(|file| encoded_word::decode_value(&file.name)));
        }
        let content = found.content.clone();
        let id = self.add(found);
        if decoded.malformed {
            self.anomaly(AnomalyKind::MalformedEncoding, id, 0, part.encoding().as_str());
        }
        if decoded.malformed || part.encoding() == TransferEncoding::QuotedPrintable {
            self.decoded_otherwise(part, id, layer, &body)?;
        }
        match part.kind() {
            PartKind::Multipart => return Ok((id, layer.saturating_add(1))),
            PartKind::Message => {
                let attached = self.add_attached(id)?;
                return Ok((attached, layer.saturating_add(1)));
            }
            PartKind::Leaf => {}
        }
        self.special_types(part.media_type(), id);
        let entity = self.entities.get(id).filter(|entity| text::is_text(entity));
        if let Some((kind, detail)) = entity.and_then(text::charset_defect) {
            self.anomaly(kind, id, 0, &detail);
        }
        let container = part.media_type().starts_with("multipart/")
            && part.encoding() != TransferEncoding::Identity;
        let container = container.then(|| self.content_type(message, part)).flatten();
        self.queue.push_back(Job { entity: id, content, layer, number, container });
        Ok((id, layer))
    }

    fn content_type(&self, message: &Message, part: &Part) -> Option<Bytes> {
        let fields = message.fields_of(part);
        let field = fields
            .iter()
            .find(|field| message.field_name(field).eq_ignore_ascii_case("content-type"))?;
        Some(message.part(field.range()))
    }

    fn special_types(&mut self, media_type: &str, id: EntityId) {
        match media_type {
            "message/partial" => {
                self.anomaly(AnomalyKind::PartialMessage, id, 0, "");
                let detail = "a piece of a message".to_owned();
                self.gap(GapReason::Unsupported, id, ENGINE, detail);
            }
            "message/external-body" => self.anomaly(AnomalyKind::ExternalBody, id, 0, ""),
            _ => {}
        }
    }

    /// Adds the message inside an entity that holds nothing else.
    pub(super) fn add_attached(&mut self, holder: EntityId) -> Result<EntityId, Limit> {
        self.budget.charge_entity()?;
        let Some(outer) = self.entities.get(holder) else { return Ok(holder) };
        let inner = Entity {
            id: self.next_id(),
            parent: Some(holder),
            origin: Origin::Attached,
            role: Role::Message,
            names: Vec::new(),
            declared: outer.declared.clone(),
            detected: outer.detected,
            confidence: outer.confidence,
            also: Vec::new(),
            size: outer.size,
            content: outer.content.clone(),
            encrypted: false,
            document: None,
            charset: None,
            part: outer.part,
            max_text_bytes: outer.max_text_bytes,
            text: OnceLock::new(),
            sha256: OnceLock::new(),
        };
        let id = inner.id;
        self.shown(&inner);
        self.entities.list.push(inner);
        Ok(id)
    }

    /// Identifies and hashes content and adds it.
    pub(super) fn add(&mut self, found: Found) -> EntityId {
        let id = self.next_id();
        let is_message = found.origin == Origin::Message;
        let identified =
            if is_message { Identified::message() } else { filetype::identify(&found.content) };
        if identified.is_polyglot() {
            let types: Vec<&str> = identified.also.iter().map(|also| also.name).collect();
            let detail = format!("{} is also {}", identified.main.name, types.join(", "));
            self.anomaly(AnomalyKind::Polyglot, id, 0, &detail);
        }
        let Identified { main: detected, confidence, also } = identified;
        let names = name::spellings(&found.names);
        if !is_message
            && found.role != Role::Multipart
            && let Some(mismatch) = filetype::claim(&names, found.declared.as_deref(), &detected)
        {
            self.anomaly(mismatch.kind, id, 0, &mismatch.detail);
        }
        let entity = Entity {
            id,
            parent: found.parent,
            origin: found.origin,
            role: found.role,
            names,
            declared: found.declared,
            detected,
            confidence,
            also,
            size: u64::try_from(found.content.len()).unwrap_or(u64::MAX),
            content: found.content,
            encrypted: false,
            document: None,
            charset: found.charset,
            part: found.part,
            max_text_bytes: self.budget.limits().max_text_bytes,
            text: OnceLock::new(),
            sha256: OnceLock::new(),
        };
        if text::is_text(&entity) && text::exceeds(&entity.content, self.budget.limits()) {
            self.gap(GapReason::Limit(Limit::Text), id, ENGINE, String::new());
        }
        if let Some(parent) = entity.parent {
            self.places.entry(place(parent, &entity.content)).or_insert(id);
        }
        self.shown(&entity);
        self.entities.list.push(entity);
        id
    }

    fn shown(&mut self, entity: &Entity) {
        let shown = matches!(entity.role, Role::Body | Role::Message);
        if shown && self.bodies.len() < MAX_BODIES {
            self.bodies.push(entity.id);
        }
    }

    /// Adds better names to an entity, before those it has.
    pub(super) fn name_again(&mut self, id: EntityId, better: &[String]) {
        let Some(entity) = self.entities.list.get_mut(id.index()) else { return };
        let mut names = name::spellings(better);
        names.extend(entity.names.drain(..).filter(|own| !better.contains(own)));
        entity.names = names;
        let claim = filetype::claim(&entity.names, entity.declared.as_deref(), &entity.detected);
        if let Some(mismatch) = claim {
            self.anomaly(mismatch.kind, id, 0, &mismatch.detail);
        }
    }

    /// Records a gap, once for each reason and entity; once for all if nothing after it can be
    /// looked into either.
    pub(super) fn gap(
        &mut self,
        reason: GapReason,
        entity: EntityId,
        engine: &'static str,
        detail: String,
    ) {
        let known = |gap: &Gap| gap.reason == reason && gap.entity == entity;
        let is_final =
            matches!(reason, GapReason::Limit(Limit::Entities | Limit::TotalBytes | Limit::Time));
        let repeats = is_final && self.entities.gaps.iter().any(|gap| gap.reason == reason);
        if !repeats && !self.entities.gaps.iter().rev().take(16).any(known) {
            self.entities.gaps.push(Gap { reason, entity, engine: Cow::Borrowed(engine), detail });
        }
    }

    pub(super) fn anomaly(
        &mut self,
        kind: AnomalyKind,
        entity: EntityId,
        offset: u64,
        detail: &str,
    ) {
        let detail = detail.chars().take(200).collect();
        self.entities.anomalies.push(Anomaly { kind, entity, offset, detail });
    }

    fn next_id(&self) -> EntityId {
        EntityId(u32::try_from(self.entities.list.len()).unwrap_or(u32::MAX))
    }
}

/// Where octets are: in which container, and where in memory. The entity that has them keeps them
/// there.
pub(super) fn place(parent: EntityId, content: &Bytes) -> (EntityId, usize, usize) {
    (parent, content.as_ptr().addr(), content.len())
}

/// Parts inside a part: its number goes before theirs.
fn join(outer: &str, inner: &str) -> String {
    if outer.is_empty() { inner.to_owned() } else { format!("{outer}.{inner}") }
}

/// What a mail reader does with a part: text without a name that nothing calls an attachment is
/// shown, and so is text that is the whole message.
fn role(message: &Message, part: &Part) -> Role {
    let alone = part.parent().is_none_or(|parent| {
        message.parts().get(parent).is_some_and(|parent| parent.kind() == PartKind::Message)
    });
    let text = matches!(
        part.media_type(),
        "text/plain"
            | "text/html"
            | "text/enriched"
            | "text/richtext"
            | "text/x-amp-html"
            | "application/xhtml+xml"
    );
    match part.kind() {
        PartKind::Multipart => Role::Multipart,
        PartKind::Leaf if part.media_type().starts_with("multipart/") => Role::Body,
        PartKind::Leaf if text && part.disposition() != Some(Disposition::Attachment) => {
            if alone || part.names().is_empty() { Role::Body } else { Role::Attachment }
        }
        _ => Role::Attachment,
    }
}
