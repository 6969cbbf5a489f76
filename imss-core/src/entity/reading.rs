//! What other readers find in a message that we do not.
//!
//! In: a message with defects and what was extracted from it. Out: each content that only another
//! reader sees, as an entity; a gap says that readers disagree. Without defects nothing is done.

use std::collections::HashSet;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::extract::{ENGINE, Extraction, Found, Job};
use super::{Origin, Role};
use crate::ambiguity::Reader;
use crate::ambiguity::second::{self, Leaf};
use crate::anomaly::AnomalyKind;
use crate::finding::GapReason;
use crate::ids::EntityId;
use crate::limits::Limit;
use crate::message::{Message, Outside, Part, PartKind, TransferEncoding, outside_parts, transfer};

/// Words that make text before or after the parts worth a look: fields, files, pages.
const SIGNS: [&[u8]; 5] = [b"content-t", b"begin ", b"begin-base64", b"<html", b"<script"];

/// How much of it is searched for them.
const SIGN_BYTES: usize = 64 << 10;

impl Extraction<'_> {
    /// Adds text outside the parts of multiparts if it lies between delimiters or looks like more than
    /// the usual notice.
    pub(super) fn outside_parts(&mut self, message: &Message, holders: &[(EntityId, usize)]) {
        for Outside { range, multipart, is_between } in outside_parts(message) {
            let content = message.part(range.clone());
            let head = content.get(..content.len().min(SIGN_BYTES)).unwrap_or_default();
            let head = head.to_ascii_lowercase();
            let found = |sign: &&[u8]| memchr::memmem::find(&head, sign).is_some();
            let Some((holder, layer)) = holders.get(multipart).copied() else { continue };
            // No usual notice is longer than what is searched.
            let is_notice = content.len() <= SIGN_BYTES && !SIGNS.iter().any(found);
            if !is_between && is_notice {
                continue;
            }
            if let Err(limit) = self.budget.charge_entity() {
                let detail = "text outside the parts".to_owned();
                return self.gap(GapReason::Limit(limit), holder, ENGINE, detail);
            }
            let offset = u64::try_from(range.start).unwrap_or(u64::MAX);
            self.anomaly(
                AnomalyKind::ContentOutsideParts,
                holder,
                offset,
                "text outside the parts",
            );
            let part = self.entities.get(holder).and_then(|holder| holder.part);
            self.add_reading(
                holder,
                layer,
                "text outside the parts",
                part,
                Content {
                    role: Role::Body,
                    content,
                    declared: None,
                    charset: None,
                    names: Vec::new(),
                },
            );
        }
    }

    /// Adds what other readers decode from an encoding with odd octets inside. Mailing lists append
    /// footers that way, so it is no gap; but a known file with something appended is still it.
    pub(super) fn decoded_otherwise(
        &mut self,
        part: &Part,
        id: EntityId,
        layer: usize,
        body: &[u8],
    ) -> Result<(), Limit> {
        if part.kind() != PartKind::Leaf {
            return Ok(());
        }
        let base64 = part.encoding() == TransferEncoding::Base64;
        let base64 = base64.then(|| transfer::base64_otherwise(body)).into_iter().flatten();
        let quoted = part.encoding() == TransferEncoding::QuotedPrintable;
        let quoted = quoted.then(|| transfer::quoted_printable_strict(body)).flatten();
        let quoted = quoted.map(|content| ("quoted-printable, strict", content));
        let mut found = base64.chain(quoted).peekable();
        if found.peek().is_none() {
            return Ok(());
        }
        let holder = self.entities.get(id);
        let (role, place) =
            holder.map_or((Role::Attachment, None), |holder| (holder.role, holder.part));
        let mut known: HashSet<[u8; 32]> =
            holder.iter().map(|holder| digest(&holder.content)).collect();
        for (reader, content) in found {
            let content = Bytes::from(content);
            // Decoding it and telling it from the others.
            self.budget.charge_work(body.len() as u64 / 2)?;
            if content.trim_ascii().is_empty() || !known.insert(digest(&content)) {
                continue;
            }
            self.budget.charge_entity()?;
            self.budget.charge_bytes(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
            let content = Content {
                role,
                content,
                declared: part.declared().map(str::to_owned),
                charset: part.charset().map(str::to_owned),
                names: part.names().to_vec(),
            };
            self.add_reading(id, layer, reader, place, content);
        }
        Ok(())
    }

    /// Adds what other readers would find.
    pub(super) fn other_readings(&mut self, message: &Message, holder: EntityId, layer: usize) {
        let mut candidates: Vec<Candidate> = Vec::new();
        let size = u64::try_from(message.raw().len()).unwrap_or(u64::MAX);
        // Each line may be compared with the boundary of every multipart around it.
        let multiparts = message.parts().iter().filter(|part| part.kind() == PartKind::Multipart);
        let levels = multiparts.count().min(self.budget.limits().max_layers) as u64;
        let steps = (size / 8).saturating_mul(levels.saturating_add(2));
        for reader in Reader::plausible(message.defects()) {
            if let Err(limit) = self.budget.charge_work(steps) {
                self.gap(GapReason::Limit(limit), holder, ENGINE, reader.as_str().to_owned());
                break;
            }
            let raw = match reader.rewritten(message.raw()) {
                Some(raw) => {
                    let size = u64::try_from(raw.len()).unwrap_or(u64::MAX);
                    if let Err(limit) = self.budget.charge_bytes(size) {
                        let detail = reader.as_str().to_owned();
                        return self.gap(GapReason::Limit(limit), holder, ENGINE, detail);
                    }
                    Bytes::from(raw)
                }
                None => message.raw().clone(),
            };
            let other = Message::parse_as(raw, self.budget.limits(), reader);
            candidates
                .extend(leaves(&other).map(|leaf| Candidate::new(reader.as_str(), &other, leaf)));
        }
        if second::is_worth_asking(message.defects()) {
            match second::leaves(message.raw()) {
                Some(found) => {
                    let named = |leaf| Candidate::new("mail-parser", message, leaf);
                    candidates.extend(found.into_iter().map(named));
                }
                None => {
                    let detail = "the second reader could not be asked".to_owned();
                    self.gap(GapReason::Ambiguous, holder, ENGINE, detail);
                }
            }
        }
        if !candidates.is_empty() {
            self.compare(message, holder, layer, candidates);
        }
    }

    fn compare(
        &mut self,
        message: &Message,
        holder: EntityId,
        layer: usize,
        candidates: Vec<Candidate>,
    ) {
        let same_octets = |body: &Bytes| (body.as_ptr() as usize, body.len());
        let mut known: HashSet<((usize, usize), TransferEncoding)> = leaves(message)
            .map(|leaf| (same_octets(&message.part(leaf.body)), leaf.encoding))
            .collect();
        let mut names: HashSet<String> = leaves(message).flat_map(|leaf| leaf.names).collect();
        let mut digests: Option<HashSet<[u8; 32]>> = None;
        for Candidate { reader, body, leaf } in candidates {
            let before = names.len();
            names.extend(leaf.names.iter().cloned());
            let named = names.len() > before;
            if !known.insert((same_octets(&body), leaf.encoding)) && !named {
                continue;
            }
            let digests = digests.get_or_insert_with(|| {
                let ours = leaves(message).map(|leaf| (message.part(leaf.body), leaf.encoding));
                ours.map(|(body, encoding)| digest(&transfer::decode(&body, encoding).content))
                    .collect()
            });
            let decoded = transfer::decode(&body, leaf.encoding);
            let odd = decoded.malformed && leaf.encoding == TransferEncoding::Base64;
            let others = odd.then(|| transfer::base64_otherwise(&body)).into_iter().flatten();
            let others = others.map(|(how, content)| (how, Bytes::from(content)));
            for (how, content) in std::iter::once((reader, decoded.content)).chain(others) {
                if let Err(limit) = self.budget.charge_work(body.len() as u64 / 2) {
                    let detail = "readings".to_owned();
                    return self.gap(GapReason::Limit(limit), holder, ENGINE, detail);
                }
                let differs = digests.insert(digest(&content));
                if content.trim_ascii().is_empty() || !(differs || (named && how == reader)) {
                    continue;
                }
                let difference = if differs && how == reader && !leaf.is_plain_view() {
                    Difference::Content
                } else {
                    Difference::Detail
                };
                if let Err(limit) =
                    self.add_difference(holder, layer, how, (&leaf, content), difference)
                {
                    let detail = "readings".to_owned();
                    return self.gap(GapReason::Limit(limit), holder, ENGINE, detail);
                }
            }
        }
    }

    /// Adds what another reader finds, and says that readers differ.
    fn add_difference(
        &mut self,
        holder: EntityId,
        layer: usize,
        reader: &'static str,
        (leaf, content): (&Leaf, Bytes),
        difference: Difference,
    ) -> Result<(), Limit> {
        self.budget.charge_entity()?;
        self.budget.charge_bytes(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        let offset = u64::try_from(leaf.body.start).unwrap_or(u64::MAX);
        self.anomaly(AnomalyKind::ReaderDifference, holder, offset, reader);
        if difference == Difference::Content {
            let detail = format!("another reader: {reader}");
            self.gap(GapReason::Ambiguous, holder, ENGINE, detail);
        }
        let part = self.entities.get(holder).and_then(|holder| holder.part);
        let text = leaf.declared.as_deref().is_none_or(|kind| kind.starts_with("text/"));
        let role = if text && leaf.names.is_empty() { Role::Body } else { Role::Attachment };
        let Leaf { declared, charset, names, .. } = leaf.clone();
        let content = Content { role, content, declared, charset, names };
        self.add_reading(holder, layer, reader, part, content);
        Ok(())
    }

    fn add_reading(
        &mut self,
        parent: EntityId,
        layer: usize,
        reader: &'static str,
        part: Option<usize>,
        content: Content,
    ) {
        let job_content = content.content.clone();
        let entity = self.add(Found {
            parent: Some(parent),
            origin: Origin::Reading(reader.to_owned()),
            role: content.role,
            names: content.names,
            declared: content.declared,
            charset: content.charset,
            part,
            content: content.content,
        });
        let number = String::new();
        self.queue.push_back(Job { entity, content: job_content, layer, number, container: None });
    }
}

/// How much another reading matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// Other content: readers disagree about the message.
    Content,
    /// Another name, another way to decode odd octets, or the message's own octets as text.
    Detail,
}

/// What another reader finds: the encoded octets, and what it says of them.
struct Candidate {
    reader: &'static str,
    body: Bytes,
    leaf: Leaf,
}

impl Candidate {
    fn new(reader: &'static str, message: &Message, leaf: Leaf) -> Self {
        Self { reader, body: message.part(leaf.body.clone()), leaf }
    }
}

struct Content {
    role: Role,
    content: Bytes,
    declared: Option<String>,
    charset: Option<String>,
    names: Vec<String>,
}

/// The contents of a message as we found them.
fn leaves(message: &Message) -> impl Iterator<Item = Leaf> {
    message.parts().iter().filter(|part| part.kind() == PartKind::Leaf).map(|part| Leaf {
        body: part.body_range(),
        encoding: part.encoding(),
        declared: part.declared().map(str::to_owned),
        charset: part.charset().map(str::to_owned),
        names: part.names().to_vec(),
    })
}

/// White space, line ends and NUL are no difference.
fn digest(content: &Bytes) -> [u8; 32] {
    let content = content.trim_ascii();
    if memchr::memchr3(b'\r', b'\n', 0, content).is_none() {
        return Sha256::digest(content).into();
    }
    let kept: Vec<u8> =
        content.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    Sha256::digest(kept.trim_ascii()).into()
}
