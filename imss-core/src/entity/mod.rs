//! Everything inside a message, as one flat tree.
//!
//! In: a [`Message`]. Out: [`Entities`]: the message itself, its parts, attached messages, archive
//! members, each decoded once, identified, hashed, with the path it was found on.
//!
//! What could not be looked into is a [`Gap`], never silence. Where readers would see different
//! content, every reading is an entity of its own.

mod attached;
mod document;
mod extract;
mod name;
mod open;
mod reading;
mod text;
mod wire;

use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::wire::WireError;
use crate::anomaly::Anomaly;
use crate::archive::Passwords;
use crate::charset::Text;
use crate::document::Document;
use crate::filetype::{Confidence, FileType, TypeGroup};
use crate::finding::Gap;
use crate::ids::EntityId;
use crate::limits::{Budget, Limits, StopFlag};
use crate::message::Message;

/// All entities of one message. Number 0 is the message; a parent comes before its children.
#[derive(Debug)]
pub struct Entities {
    list: Vec<Entity>,
    gaps: Vec<Gap>,
    anomalies: Vec<Anomaly>,
}

/// One examined content.
#[derive(Debug)]
pub struct Entity {
    /// Its place in [`Entities`].
    pub id: EntityId,
    /// What it was found in; `None` for the message.
    pub parent: Option<EntityId>,
    /// How it was found there.
    pub origin: Origin,
    /// What a reader does with it.
    pub role: Role,
    /// Every spelling of its name that a reader could show, best first. Data, never a path.
    pub names: Vec<String>,
    /// The declared media type in lower case, such as `application/zip`; `None` if undeclared.
    pub declared: Option<String>,
    /// What the content is.
    pub detected: FileType,
    /// What that rests on.
    pub confidence: Confidence,
    /// What else the content validly is: rules by type look at these too.
    pub also: Vec<FileType>,
    /// Octets of the content, or what the container claims if it could not be read.
    pub size: u64,
    /// The decoded content. Empty for what could not be read.
    pub content: Bytes,
    /// Whether its content is encrypted (then `content` is empty).
    pub encrypted: bool,
    /// What the document extractors found in it; `None` if none could read it.
    pub document: Option<Box<Document>>,
    /// The declared charset, as spelled.
    charset: Option<String>,
    /// The part of the message that it is, or that it was found in.
    part: Option<usize>,
    max_text_bytes: usize,
    text: OnceLock<Option<Text>>,
    sha256: OnceLock<[u8; 32]>,
}

/// How an entity was found in its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// The message itself.
    Message,
    /// A MIME part, by its number, such as `1.2`.
    Part(String),
    /// The message inside a `message/rfc822` part.
    Attached,
    /// A member of an archive, by its position from 0.
    Member(u32),
    /// What a compressed stream expands to.
    Expanded,
    /// A file inside a document, by its position from 0.
    Embedded(u32),
    /// Code inside a document, as source text, by its position from 0. Not a file.
    Code(u32),
    /// Another reading of its parent: what a reader would see who resolves the named ambiguity
    /// in another way.
    Reading(String),
}

/// What a mail reader does with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The message, or an attached one.
    Message,
    /// A multipart: holds parts and is not shown.
    Multipart,
    /// Shown as the message's text.
    Body,
    /// Offered to save or open, or shown in place (images).
    Attachment,
    /// Found inside an attachment.
    Member,
}

impl Entities {
    /// Finds everything inside `message` within `limits`. Never fails; stops early once `stop` is
    /// set and says so in [`Entities::gaps`].
    #[must_use]
    pub fn extract(message: &Message, limits: &Limits, stop: &StopFlag) -> Self {
        Self::extract_with(message, limits, stop, &Passwords::none())
    }

    /// The same, trying `passwords` on what is encrypted, besides those that the message offers.
    #[must_use]
    pub fn extract_with(
        message: &Message,
        limits: &Limits,
        stop: &StopFlag,
        passwords: &Passwords,
    ) -> Self {
        let octets = u64::try_from(message.raw().len()).unwrap_or(u64::MAX);
        let budget = Budget::for_message(limits, stop.clone(), octets);
        extract::run(message, budget, passwords.clone())
    }

    /// The message alone, unread for the reason that `gap` gives.
    #[must_use]
    pub fn unread(message: &Message, limits: &Limits, gap: Gap) -> Self {
        let mut entities = extract::run(
            &Message::parse(Bytes::new(), limits),
            Budget::new(&Limits { max_entities: 0, ..limits.clone() }),
            Passwords::none(),
        );
        entities.gaps = vec![gap];
        if let Some(first) = entities.list.first_mut() {
            first.content = message.raw().clone();
            first.size = u64::try_from(message.raw().len()).unwrap_or(u64::MAX);
        }
        entities
    }

    /// The entities in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entity> {
        self.list.iter()
    }

    /// One entity.
    #[must_use]
    pub fn get(&self, id: EntityId) -> Option<&Entity> {
        self.list.get(id.index())
    }

    /// How many there are. At least one: the message.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What was not looked into, and why.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Every defect seen in the message and inside.
    #[must_use]
    pub fn anomalies(&self) -> &[Anomaly] {
        &self.anomalies
    }

    /// `entity` and what it was found in, innermost first, up to the message.
    pub fn ancestry(&self, entity: EntityId) -> impl Iterator<Item = &Entity> {
        std::iter::successors(self.get(entity), |inner| self.get(inner.parent?))
    }

    /// The place in [`Message::parts`] of the part that an entity is, or was found in; `None` for
    /// the message as a whole.
    #[must_use]
    pub fn message_part(&self, entity: EntityId) -> Option<usize> {
        self.get(entity)?.part
    }

    /// Where an entity was found, for people, such as `1.2 "report.zip" / "a.exe"`. Escaped.
    #[must_use]
    pub fn path(&self, entity: EntityId) -> String {
        let mut steps: Vec<&Entity> = self.ancestry(entity).collect();
        steps.reverse();
        let mut path = String::new();
        for (place, step) in steps.iter().enumerate() {
            let last = place + 1 == steps.len();
            if matches!(step.role, Role::Multipart | Role::Message) && !last {
                continue;
            }
            let separator = if path.is_empty() { "" } else { " / " };
            let label = match (&step.origin, step.names.is_empty()) {
                (Origin::Message, _) => "message".to_owned(),
                (Origin::Part(number), true) => number.clone(),
                (Origin::Part(number), false) => format!("{number} {}", name::show(step.name())),
                (Origin::Attached, _) => "message".to_owned(),
                (Origin::Member(place), true) => format!("member {place}"),
                (Origin::Expanded, true) => "expanded".to_owned(),
                (Origin::Embedded(place), true) => format!("embedded {place}"),
                (Origin::Code(place), true) => format!("code {place}"),
                (Origin::Code(_), false) => format!("code {}", name::show(step.name())),
                (Origin::Reading(how), true) => format!("({how})"),
                (Origin::Reading(how), false) => format!("({how}) {}", name::show(step.name())),
                (Origin::Member(_) | Origin::Expanded | Origin::Embedded(_), false) => {
                    name::show(step.name())
                }
            };
            // Writing to a string cannot fail.
            let _ = write!(path, "{separator}{label}");
        }
        path
    }
}

impl<'a> IntoIterator for &'a Entities {
    type Item = &'a Entity;
    type IntoIter = std::slice::Iter<'a, Entity>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Entity {
    /// SHA-256 of the content, computed once, on first use: large mail is hashed only where a list
    /// or a record asks for it.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        self.sha256.get_or_init(|| Sha256::digest(&self.content).into())
    }

    /// Whether nobody looks for lines of text in it: pictures, sound, video and archives with a NUL
    /// near their start, unless they are shown or may be declared as text.
    pub(crate) fn holds_no_lines(&self) -> bool {
        let start = self.content.get(..self.content.len().min(1_024)).unwrap_or_default();
        let is_binary = matches!(
            self.detected.group,
            TypeGroup::Archive | TypeGroup::Image | TypeGroup::Audio | TypeGroup::Video
        ) && memchr::memchr(0, start).is_some();
        let is_text = match &self.declared {
            Some(declared) => declared.starts_with("text/"),
            // The type of a part that declares none is text/plain (RFC 2045 §5.2).
            None => matches!(self.origin, Origin::Part(_)),
        };
        is_binary && self.role != Role::Body && !is_text
    }

    /// Its best name, or an empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Its text, decoded and folded on first use; `None` if it is not text. The text of an attached
    /// message is its decoded header section.
    #[must_use]
    pub fn text(&self) -> Option<&Text> {
        self.text.get_or_init(|| text::read(self)).as_ref()
    }
}
