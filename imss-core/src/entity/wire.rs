//! Entities as octets: what a confined worker process hands back.
//!
//! Out: a head in JSON, then the contents, each octet once; what lies in the message itself is only
//! pointed at. In: the same octets, which may come from a worker that was taken over: every number is
//! held against what there is, and anything wrong is a [`WireError`], never a panic.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Entities, Entity, Origin, Role};
use crate::anomaly::Anomaly;
use crate::charset::{self, Text};
use crate::document::{Active, Document, Link, Texts, extractors};
use crate::filetype::{self, Identified};
use crate::finding::Gap;
use crate::ids::EntityId;
use crate::limits::Limits;

/// Octets of the length before the head.
const LENGTH_BYTES: usize = 8;
/// Largest head that is read: 10,000 entities with names and facts are far below.
const MAX_HEAD_BYTES: usize = 256 << 20;

/// Octets that are not entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not entities: {0}")]
pub struct WireError(&'static str);

/// A range of octets.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Place {
    /// In the message, from its start.
    Message(usize, usize),
    /// In the contents that follow the head.
    Contents(usize, usize),
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    entities: Vec<WireEntity<'a>>,
    gaps: Cow<'a, [Gap]>,
    anomalies: Cow<'a, [Anomaly]>,
}

#[derive(Serialize, Deserialize)]
struct WireEntity<'a> {
    parent: Option<u32>,
    origin: Cow<'a, Origin>,
    role: Role,
    names: Cow<'a, [String]>,
    declared: Option<Cow<'a, str>>,
    size: u64,
    encrypted: bool,
    charset: Option<Cow<'a, str>>,
    part: Option<usize>,
    content: Place,
    text: Option<WireText<'a>>,
    document: Option<WireDocument<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireText<'a> {
    plain: Place,
    folded: Place,
    charset: Cow<'a, str>,
    guessed: bool,
    truncated: bool,
}

#[derive(Serialize, Deserialize)]
struct WireDocument<'a> {
    formats: Vec<Cow<'a, str>>,
    texts: Cow<'a, Texts>,
    properties: Cow<'a, [(String, String)]>,
    links: Cow<'a, [Link]>,
    active: Cow<'a, [Active]>,
    charset: Cow<'a, str>,
    guessed: bool,
    truncated: bool,
}

impl Entities {
    /// The entities as octets, with all their texts. `message` is the raw message they are from.
    ///
    /// # Errors
    ///
    /// [`WireError`] if there is no memory for it.
    pub fn to_wire(&self, message: &Bytes) -> Result<Vec<u8>, WireError> {
        let mut contents = Contents::new(message);
        let entities = self.list.iter().map(|entity| contents.entity(entity)).collect();
        let head = Head {
            entities,
            gaps: Cow::Borrowed(&self.gaps),
            anomalies: Cow::Borrowed(&self.anomalies),
        };
        let head = serde_json::to_vec(&head).map_err(|_| WireError("cannot be written"))?;
        let mut wire = Vec::with_capacity(LENGTH_BYTES + head.len() + contents.octets.len());
        wire.extend_from_slice(&(head.len() as u64).to_be_bytes());
        wire.extend_from_slice(&head);
        wire.extend_from_slice(&contents.octets);
        Ok(wire)
    }

    /// Reads entities of `message` back. Their types are detected again.
    ///
    /// # Errors
    ///
    /// [`WireError`] if they are not what [`Entities::to_wire`] can have written, or more than
    /// `limits` allow.
    pub fn from_wire(wire: &Bytes, message: &Bytes, limits: &Limits) -> Result<Self, WireError> {
        let length = wire.first_chunk::<LENGTH_BYTES>().ok_or(WireError("no length"))?;
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let end = LENGTH_BYTES.saturating_add(length);
        let head = wire.get(LENGTH_BYTES..end).filter(|head| head.len() <= MAX_HEAD_BYTES);
        let head = head.ok_or(WireError("no head"))?;
        let head: Head<'_> = serde_json::from_slice(head).map_err(|_| WireError("bad head"))?;
        let most = limits.max_entities.saturating_add(1);
        if head.entities.is_empty() || head.entities.len() > most {
            return Err(WireError("too few or too many entities"));
        }
        let source = Source { message, contents: wire.slice(end..), limits };
        let list: Result<Vec<Entity>, WireError> = head
            .entities
            .into_iter()
            .zip(0_u32..)
            .map(|(entity, id)| source.entity(entity, id))
            .collect();
        let list = list?;
        let known = |entity: EntityId| entity.index() < list.len();
        if !head.gaps.iter().all(|gap| known(gap.entity))
            || !head.anomalies.iter().all(|anomaly| known(anomaly.entity))
        {
            return Err(WireError("no such entity"));
        }
        Ok(Self { list, gaps: head.gaps.into_owned(), anomalies: head.anomalies.into_owned() })
    }
}

/// Gathers contents, each octet once.
struct Contents {
    octets: Vec<u8>,
    /// What is known already, by its address in memory.
    known: BTreeMap<usize, (usize, Place)>,
}

impl Contents {
    fn new(message: &Bytes) -> Self {
        let mut known = BTreeMap::new();
        known.insert(message.as_ptr().addr(), (message.len(), Place::Message(0, message.len())));
        Self { octets: Vec::new(), known }
    }

    fn entity<'a>(&mut self, entity: &'a Entity) -> WireEntity<'a> {
        WireEntity {
            parent: entity.parent.map(|parent| parent.0),
            origin: Cow::Borrowed(&entity.origin),
            role: entity.role,
            names: Cow::Borrowed(&entity.names),
            declared: entity.declared.as_deref().map(Cow::Borrowed),
            size: entity.size,
            encrypted: entity.encrypted,
            charset: entity.charset.as_deref().map(Cow::Borrowed),
            part: entity.part,
            content: self.place(&entity.content),
            text: entity.text().map(|text| WireText {
                plain: self.append(text.plain.as_bytes()),
                folded: self.append(text.folded.as_bytes()),
                charset: Cow::Borrowed(text.charset),
                guessed: text.guessed,
                truncated: text.truncated,
            }),
            document: entity.document.as_deref().map(|document| WireDocument {
                formats: document.formats.iter().map(|name| Cow::Borrowed(*name)).collect(),
                texts: Cow::Borrowed(&document.texts),
                properties: Cow::Borrowed(&document.properties),
                links: Cow::Borrowed(&document.links),
                active: Cow::Borrowed(&document.active),
                charset: Cow::Borrowed(document.charset),
                guessed: document.guessed,
                truncated: document.truncated,
            }),
        }
    }

    /// Where `content` lies: inside something known, or added now.
    fn place(&mut self, content: &Bytes) -> Place {
        let address = content.as_ptr().addr();
        if content.is_empty() {
            return Place::Contents(0, 0);
        }
        if let Some((start, (length, place))) = self.known.range(..=address).next_back() {
            let offset = address.saturating_sub(*start);
            if offset.saturating_add(content.len()) <= *length {
                return match *place {
                    Place::Message(at, _) => Place::Message(at + offset, content.len()),
                    Place::Contents(at, _) => Place::Contents(at + offset, content.len()),
                };
            }
        }
        let place = self.append(content);
        self.known.insert(address, (content.len(), place));
        place
    }

    fn append(&mut self, octets: &[u8]) -> Place {
        let at = self.octets.len();
        self.octets.extend_from_slice(octets);
        Place::Contents(at, octets.len())
    }
}

/// What places point into.
struct Source<'a> {
    message: &'a Bytes,
    contents: Bytes,
    limits: &'a Limits,
}

impl Source<'_> {
    fn entity(&self, wire: WireEntity<'_>, id: u32) -> Result<Entity, WireError> {
        if wire.parent.is_some() != (id > 0) || wire.parent.is_some_and(|parent| parent >= id) {
            return Err(WireError("a parent must come before its children"));
        }
        let content = self.slice(wire.content)?;
        let text = match wire.text {
            Some(text) => Some(self.text(&text)?),
            None => None,
        };
        let (origin, is_message) = (wire.origin.into_owned(), id == 0);
        let identified =
            if is_message { Identified::message() } else { filetype::identify(&content) };
        Ok(Entity {
            id: EntityId(id),
            parent: wire.parent.map(EntityId),
            origin,
            role: wire.role,
            names: wire.names.into_owned(),
            declared: wire.declared.map(Cow::into_owned),
            detected: identified.main,
            confidence: identified.confidence,
            also: identified.also,
            size: wire.size,
            content,
            encrypted: wire.encrypted,
            document: wire.document.map(|document| Box::new(document.into())),
            charset: wire.charset.map(Cow::into_owned),
            part: wire.part,
            max_text_bytes: self.limits.max_text_bytes,
            text: OnceLock::from(text),
            sha256: OnceLock::new(),
        })
    }

    fn text(&self, text: &WireText<'_>) -> Result<Text, WireError> {
        Ok(Text {
            plain: self.string(text.plain)?,
            folded: self.string(text.folded)?,
            charset: charset::name_of(&text.charset),
            guessed: text.guessed,
            truncated: text.truncated,
        })
    }

    fn string(&self, place: Place) -> Result<String, WireError> {
        let octets = self.slice(place)?;
        let text = std::str::from_utf8(&octets).map_err(|_| WireError("text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn slice(&self, place: Place) -> Result<Bytes, WireError> {
        let (of, at, length) = match place {
            Place::Message(at, length) => (self.message, at, length),
            Place::Contents(at, length) => (&self.contents, at, length),
        };
        let end = at.checked_add(length).filter(|end| *end <= of.len());
        end.map(|end| of.slice(at..end)).ok_or(WireError("outside of the octets"))
    }
}

impl From<WireDocument<'_>> for Document {
    fn from(wire: WireDocument<'_>) -> Self {
        let known = |name: &Cow<'_, str>| {
            extractors().iter().map(|own| own.name()).find(|own| *own == name.as_ref())
        };
        Self {
            formats: wire.formats.iter().filter_map(known).collect(),
            texts: wire.texts.into_owned(),
            properties: wire.properties.into_owned(),
            links: wire.links.into_owned(),
            active: wire.active.into_owned(),
            charset: if wire.charset.is_empty() { "" } else { charset::name_of(&wire.charset) },
            guessed: wire.guessed,
            truncated: wire.truncated,
        }
    }
}
