//! Our border: what others may not claim about mail, what we say about it, and what we sign.
//!
//! In: a message, what is known about who sent it, and its decided copies. Out: the copies with our
//! `Authentication-Results` (RFC 8601) and without forged ones; mail of our own clients signed with
//! DKIM (RFC 6376), mail from outside sealed with ARC (RFC 8617). Signing comes last, when nothing
//! changes a copy any more. Bodies are read in pieces, so memory does not grow with them.
//!
//! A signature that cannot be made is logged, and the copy goes without it: mail is never lost for it.

mod arc;
mod batv;
mod dkim;
mod header;
mod key;
mod lawful;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use imss_core::authentication::{AuthFacts, DomainPattern, domain_of};
use imss_core::edit::legal::Wire;
use imss_core::edit::{Piece, Rope};
use imss_core::envelope::{Client, ForwardPath, ReversePath};
use imss_core::ids::QueueId;
use imss_core::limits::Limits;
use imss_core::message::Message;
use imss_core::report::authentication_results::{self, About};
use imss_scan::{Answers, LookupError, QuestionKey};
use tokio::sync::OwnedSemaphorePermit;

use self::batv::{Batv, Untagged};
use self::header::Sections;
pub use self::key::KeyError;
use self::key::PrivateKey;
use self::lawful::{Lawful, Room};
use crate::config::{Config, KeySettings};
use crate::dispatch::Traced;
use crate::ids::unix_millis;
use crate::inbound::{Leave, Mode, Received, Reply, Role};
use crate::spool::body::{Body, Content};
use crate::spool::{CopyRecord, Destination};
use crate::srs::Srs;

/// Octets of a header section that are searched or signed.
const MAX_HEADER: u64 = 1 << 20;
/// Memory for encoding a copy, per octet: the octets, and what they become.
const MEMORY_PER_OCTET: u64 = 3;

/// What happens to mail at our border.
pub struct Border {
    host: String,
    results: bool,
    remove: Vec<String>,
    srs: Option<Arc<Srs>>,
    keys: Vec<SigningKey>,
    sealer: Option<SigningKey>,
    lawful: Lawful,
    tags: Option<Batv>,
}

/// What is done to copies when they leave.
struct Sign {
    /// They are sealed, not signed.
    seals: bool,
    /// What they may have then.
    wire: Option<Wire>,
}

/// A key, and whose mail it signs from when on.
pub(crate) struct SigningKey {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) key: PrivateKey,
    authors: Vec<DomainPattern>,
    not_before: u64,
}

/// What a message's copies say at the top, and what they lose.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// Ranges of the received octets, in order.
    remove: Vec<Range<u64>>,
    /// The value of our results.
    results: Option<String>,
    /// What is known, for the seal.
    facts: Option<AuthFacts>,
}

impl Marks {
    /// What is known about who sent a message from outside.
    #[must_use]
    pub fn facts(&self) -> Option<&AuthFacts> {
        self.facts.as_ref()
    }
}

impl Border {
    /// Loads the keys that `config` names.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: a file that cannot be read or holds no key that can sign.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        let settings = &config.authentication;
        let keys: Result<Vec<_>, _> = settings.dkim.iter().map(load).collect();
        Ok(Self {
            host: settings.name.clone().unwrap_or_else(|| config.inbound.hostname.clone()),
            results: settings.results,
            remove: settings.remove_fields.clone(),
            srs: config.inbound.relaying.srs.clone(),
            keys: keys?,
            sealer: settings.arc.as_ref().map(load).transpose()?,
            lawful: Lawful::new(settings.sign_seven_bit, config.outbound.recode),
            tags: settings.batv.as_ref().map(Batv::new).transpose()?,
        })
    }

    /// Whether a message comes from outside: from nobody whom we let send anywhere.
    #[must_use]
    pub fn is_outside(&self, received: &Received) -> bool {
        received.mode != Mode::Reinject && !received.envelope.client.is_ours
    }

    /// Whether a message is one that we answer for: mail that comes back for another scan is not.
    fn is_own(received: &Received) -> bool {
        received.envelope.client.is_ours && received.mode != Mode::Rescan
    }

    /// What copies of `received` say and lose; `client` is who sent it to us or to a relay that we
    /// trust. Reads the start of the body.
    #[must_use]
    pub fn marks(&self, received: &Received, client: &Client, answers: &Answers) -> Marks {
        if !self.is_outside(received) {
            return Marks::default();
        }
        let length = received.body.len().min(MAX_HEADER);
        let remove = match received.body.read(0..length) {
            Ok(start) => authentication_results::foreign(&start, &self.host, &self.remove),
            Err(error) => {
                tracing::error!(id = %received.id, %error, "a header section cannot be read");
                Vec::new()
            }
        };
        let facts = answers.authentication();
        // What nobody asked was not found out either: a message that could not be read.
        let failed = answers.get(&QuestionKey::Authentication);
        let asked = facts.is_some() || failed.is_err_and(|e| e != LookupError::NotConfigured);
        let reverse_path = received.envelope.reverse_path.mailbox().map(ToString::to_string);
        let results = (self.results && asked).then(|| {
            let about = About {
                host: &self.host,
                ip: client.ip,
                helo: &client.helo,
                reverse_path: reverse_path.as_deref().unwrap_or_default(),
            };
            authentication_results::value(about, facts)
        });
        Marks { remove, results, facts: facts.cloned() }
    }

    /// The reverse-path under which a copy of `received` leaves: tagged if it is ours (BATV).
    #[must_use]
    pub(crate) fn reverse_path(&self, received: &Received) -> ReversePath {
        let path = &received.envelope.reverse_path;
        let tagged = match &self.tags {
            // A mail server that keeps the message gets bounces without asking us first.
            Some(tags) if Self::is_own(received) && received.mode != Mode::Milter => {
                tags.tagged(path, now())
            }
            _ => None,
        };
        tagged.unwrap_or_else(|| path.clone())
    }

    /// A reverse-path without our tag, for notices of our own.
    #[must_use]
    pub(crate) fn bare(&self, path: &ReversePath) -> ReversePath {
        self.tags.as_ref().and_then(|tags| tags.bare(path)).unwrap_or_else(|| path.clone())
    }

    /// A recipient without our tag, whether it is valid or not.
    #[must_use]
    pub(crate) fn bare_recipient(&self, path: &ForwardPath) -> ForwardPath {
        let bare = self.tags.as_ref().and_then(|tags| tags.bare_recipient(path));
        bare.unwrap_or_else(|| path.clone())
    }

    /// What stands against a recipient of a message from outside, before its content: for a bounce of mail
    /// that we did not send, see [`batv`]. `first` is a recipient that has leave already: what is said to
    /// the content is said for all.
    ///
    /// # Errors
    ///
    /// The reply to a bounce with a wrong tag, or to a recipient who must not share the reply with `first`.
    /// A bounce without a tag has leave, but not for its content.
    pub(crate) fn bounce(
        &self,
        role: Role,
        reverse_path: &ReversePath,
        recipient: &ForwardPath,
        first: Option<&ForwardPath>,
    ) -> Result<Leave, Reply> {
        let is_outside = role.mode != Mode::Reinject && !role.is_trusted;
        let Some(tags) = self.tags.as_ref().filter(|_| is_outside && reverse_path.is_null()) else {
            return Ok(Leave::default());
        };
        let found = self.untagged(tags, recipient, true);
        if found == Untagged::Invalid {
            return Err(not_our_bounce());
        }
        let is_missing = found == Untagged::Missing;
        let parts = |first| (self.untagged(tags, first, true) == Untagged::Missing) != is_missing;
        if first.is_some_and(parts) {
            let text = "Too many recipients: this one needs another reply, send it by itself";
            return Err(Reply::new(452, (4, 5, 3), text));
        }
        Ok(Leave { not_for_data: is_missing.then(not_our_bounce), ..Leave::default() })
    }

    /// Takes our tags from the recipients of a message from outside.
    ///
    /// # Errors
    ///
    /// The reply to a bounce of mail that we did not send, where nobody asked before its content.
    pub(crate) fn untag(&self, received: &mut Received) -> Result<(), Reply> {
        let Some(tags) = &self.tags else { return Ok(()) };
        if !self.is_outside(received) {
            return Ok(());
        }
        let is_bounce = received.envelope.reverse_path.is_null();
        for recipient in &mut received.envelope.recipients {
            match self.untagged(tags, &recipient.path, is_bounce) {
                Untagged::Plain => {}
                Untagged::Valid(path) => recipient.path = path,
                Untagged::Invalid | Untagged::Missing => return Err(not_our_bounce()),
            }
        }
        Ok(())
    }

    /// What a recipient is; one that SRS made is none of ours.
    fn untagged(&self, tags: &Batv, path: &ForwardPath, is_bounce: bool) -> Untagged {
        let is_rewritten = |srs: &Arc<Srs>| matches!(srs.reverse(path, unix_millis()), Ok(Some(_)));
        if self.srs.as_ref().is_some_and(is_rewritten) {
            return Untagged::Plain;
        }
        tags.untagged(path, is_bounce, now())
    }

    /// What copies may have when they are sealed, or signed; `None`: they stay as they are. So does a copy
    /// that another mail server makes by our orders: there are none for an encoding, and its own client
    /// encodes what it must.
    fn wire(&self, seals: bool, smtputf8: bool, traced: Traced) -> Option<Wire> {
        match (traced, seals) {
            (Traced::ByOther, _) => None,
            (Traced::ByUs, true) => self.lawful.for_others(),
            (Traced::ByUs, false) => self.lawful.for_own(smtputf8),
        }
    }

    /// What is done to the copies of a message when they leave, if anything is.
    fn sign(&self, received: &Received, marks: &Marks, traced: Traced) -> Option<Sign> {
        let seals = self.is_outside(received) && self.sealer.is_some() && marks.facts.is_some();
        if !seals && (!Self::is_own(received) || self.keys.is_empty()) {
            return None;
        }
        let wire = self.wire(seals, received.envelope.parameters.smtputf8, traced);
        Some(Sign { seals, wire })
    }

    /// Octets of memory that encoding the largest copy for its signature takes, if that may have to be.
    pub(crate) fn encoding_bytes(
        &self,
        received: &Received,
        marks: &Marks,
        copies: &[CopyRecord],
        traced: Traced,
    ) -> u64 {
        match self.sign(received, marks, traced) {
            Some(Sign { wire: Some(_), .. }) => {
                let sizes = copies.iter().map(|copy| copy.rope.len());
                let largest = sizes.filter(|octets| *octets <= lawful::MAX_BYTES).max();
                largest.unwrap_or(0).saturating_mul(MEMORY_PER_OCTET)
            }
            _ => 0,
        }
    }

    /// Signs what leaves, from here or from the mail server that keeps it. `memory` is held until that is
    /// done, whoever stops waiting for it.
    pub(crate) async fn signed(
        self: &Arc<Self>,
        received: &Received,
        marks: &Marks,
        copies: Vec<CopyRecord>,
        traced: Traced,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Vec<CopyRecord> {
        let Some(sign) = self.sign(received, marks, traced) else { return copies };
        let (border, marks) = (Arc::clone(self), marks.clone());
        let (body, id) = (received.body.clone(), received.id);
        let unsigned = copies.clone();
        let sums = move || {
            let _memory = memory;
            border.sign_all(&body, copies, &marks, &sign, id)
        };
        match tokio::task::spawn_blocking(sums).await {
            Ok(copies) => copies,
            Err(error) => {
                tracing::error!(%id, %error, "signing crashed; the copies go without signature");
                unsigned
            }
        }
    }

    fn sign_all(
        &self,
        body: &Body,
        mut copies: Vec<CopyRecord>,
        marks: &Marks,
        sign: &Sign,
        id: QueueId,
    ) -> Vec<CopyRecord> {
        let mut room = Room::beside(copies.iter().map(|copy| &copy.rope));
        // What is held may leave later, as it is.
        let leaving = copies
            .iter_mut()
            .filter(|copy| !matches!(copy.destination, Destination::Archive { .. }));
        for copy in leaving {
            let made = if sign.seals {
                self.sealed(body, &copy.rope, marks, sign.wire, &mut room)
            } else {
                self.stamped(body, &copy.rope, sign.wire, &mut room)
            };
            match made {
                Ok(rope) => copy.rope = rope,
                Err(error) => tracing::error!(%id, %error, "a copy goes without signature"),
            }
        }
        if room.was_short {
            tracing::warn!(
                %id,
                "there are too many large copies to encode all of them before signing: a server that \
                 cannot take one as it is gets it without a valid signature"
            );
        }
        copies
    }

    /// A message of our own as it leaves: with lines and octets that pass everywhere, so that nobody has
    /// to change it, and signed if there is a key for its author.
    #[must_use]
    pub(crate) fn own(&self, message: Vec<u8>) -> Bytes {
        let message = lawful::own(message);
        if self.keys.is_empty() {
            return message;
        }
        let rope = Rope::original(u64::try_from(message.len()).unwrap_or(u64::MAX));
        let mut room = Room::beside(std::iter::empty());
        match self.stamped(&Body::Memory(message.clone()), &rope, None, &mut room) {
            Ok(rope) => rope.to_bytes(&message).into(),
            Err(error) => {
                tracing::error!(%error, "a message of our own goes without signature");
                message
            }
        }
    }

    /// A copy with the signatures of the author's domain, made legal for `wire` first.
    fn stamped(
        &self,
        body: &Body,
        rope: &Rope,
        wire: Option<Wire>,
        room: &mut Room,
    ) -> Result<Rope, SignError> {
        let content = Content { body: body.clone(), rope: rope.clone() };
        let mut sections = Sections::read(&content)?;
        let now = now();
        let author = author(&sections.header);
        let keys = author.map(|author| active(&self.keys, &author, now)).unwrap_or_default();
        if keys.is_empty() {
            return Ok(rope.clone());
        }
        let lawful = wire.map(|wire| self.lawful.rope(content, wire, room)).transpose()?.flatten();
        if let Some(rope) = &lawful {
            sections = Sections::read(&Content { body: body.clone(), rope: rope.clone() })?;
        }
        let fields: Result<_, _> =
            keys.into_iter().map(|key| dkim::field(key, &sections, now)).collect();
        Ok(on_top(fields?, lawful.as_ref().unwrap_or(rope)))
    }

    /// A copy with the next set of the ARC chain, made legal for `wire` first; the copy as it is if the
    /// chain gets no set.
    fn sealed(
        &self,
        body: &Body,
        rope: &Rope,
        marks: &Marks,
        wire: Option<Wire>,
        room: &mut Room,
    ) -> Result<Rope, SignError> {
        let (Some(key), Some(results), Some(facts)) =
            (&self.sealer, marks.results.as_deref(), &marks.facts)
        else {
            return Ok(rope.clone());
        };
        let content = Content { body: body.clone(), rope: rope.clone() };
        let mut sections = Sections::read(&content)?;
        if !arc::goes_on(&sections, &facts.arc) {
            return Ok(rope.clone());
        }
        let lawful = wire.map(|wire| self.lawful.rope(content, wire, room)).transpose()?.flatten();
        if let Some(rope) = &lawful {
            if sections.has_signature() {
                tracing::warn!(
                    seal = key.domain,
                    "a signed message of others has over-long lines and was encoded anew: its \
                     signatures do not hold any more, our results say what they were worth"
                );
            }
            sections = Sections::read(&Content { body: body.clone(), rope: rope.clone() })?;
        }
        let fields = arc::fields(key, &sections, &facts.arc, results, now())?;
        Ok(match lawful {
            _ if fields.is_empty() => rope.clone(),
            Some(rope) => on_top(fields, &rope),
            None => on_top(fields, rope),
        })
    }
}

/// Why a copy was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the body cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the header section is longer than 1 MiB")]
    TooLong,
    #[error("the key refuses to sign")]
    Key,
}

/// A rope without what must not come from outside, and with our fields in front.
#[must_use]
pub(crate) fn marked(rope: &Rope, marks: &Marks, trace: Option<&Bytes>) -> Rope {
    let mut fields = Vec::new();
    if let Some(results) = &marks.results {
        fields.push(format!("Authentication-Results: {results}\r\n").into());
    }
    fields.extend(trace.cloned());
    on_top(fields, &rope.without(&marks.remove))
}

fn on_top(fields: Vec<Bytes>, rope: &Rope) -> Rope {
    let mut pieces: Vec<Piece> = fields.into_iter().map(Piece::Inserted).collect();
    pieces.extend_from_slice(&rope.pieces);
    Rope { pieces }
}

fn not_our_bounce() -> Reply {
    Reply::new(550, (5, 7, 1), "This is a bounce of mail that was not sent from here")
}

fn load(settings: &KeySettings) -> Result<SigningKey, KeyError> {
    Ok(SigningKey {
        domain: settings.domain.clone(),
        selector: settings.selector.clone(),
        key: PrivateKey::load(&settings.key)?,
        authors: settings.authors.clone(),
        not_before: settings.not_before.unwrap_or(0),
    })
}

/// The keys that sign for `author` now: per domain and algorithm the one that began last.
fn active<'a>(keys: &'a [SigningKey], author: &str, now: u64) -> Vec<&'a SigningKey> {
    let mut active: Vec<&SigningKey> = Vec::new();
    let fits = |key: &&SigningKey| {
        key.not_before <= now && key.authors.iter().any(|pattern| pattern.matches(author))
    };
    for key in keys.iter().filter(fits) {
        let same = |other: &&mut &SigningKey| {
            other.domain == key.domain && other.key.algorithm() == key.key.algorithm()
        };
        match active.iter_mut().find(same) {
            Some(other) if other.not_before <= key.not_before => *other = key,
            Some(_) => {}
            None => active.push(key),
        }
    }
    active
}

/// The author's domain, if there is exactly one.
fn author(header: &[u8]) -> Option<String> {
    let message = Message::parse(Bytes::copy_from_slice(header), &Limits::default());
    let authors = message.addresses("From");
    let mut domains = authors.iter().filter_map(|author| domain_of(&author.address));
    let first = domains.next()?;
    domains.all(|other| other == first).then_some(first)
}

fn now() -> u64 {
    unix_millis() / 1000
}

#[cfg(test)]
mod tests;
