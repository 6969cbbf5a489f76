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
use crate::message::{Message, Part, PartKind, TransferEncoding, outside_parts, transfer};

/// Words that make text before or after the parts worth a look: fields, files, pages.
const SIGNS: [&[u8]; 4] = [b"content-t", b"begin ", b"<html", b"<script"];

/// How much of it is searched for them.
const SIGN_BYTES: usize = 64 << 10;

impl Extraction<'_> {
    /// Adds text outside the parts of multiparts if it looks like more than the usual notice.
    pub(super) fn outside_parts(&mut self, message: &Message, holders: &[(EntityId, usize)]) {
        for (range, index) in outside_parts(message) {
            let content = message.part(range.clone());
            let head = content.get(..content.len().min(SIGN_BYTES)).unwrap_or_default();
            let head = head.to_ascii_lowercase();
            let found = |sign: &&[u8]| memchr::memmem::find(&head, sign).is_some();
            let Some((holder, layer)) = holders.get(index).copied() else { continue };
            if !SIGNS.iter().any(found) {
                continue;
            }
            if self.budget.charge_entity().is_err() {
                return;
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

    /// Adds what a reader decodes who stops at the first padding of base64. Mailing lists append
    /// footers that way, so it is no gap; but a known file with something appended is still it.
    pub(super) fn cut_at_padding(
        &mut self,
        part: &Part,
        id: EntityId,
        layer: usize,
        body: &[u8],
    ) -> Result<(), Limit> {
        if part.encoding() != TransferEncoding::Base64 || part.kind() != PartKind::Leaf {
            return Ok(());
        }
        let Some(content) = transfer::base64_to_padding(body) else { return Ok(()) };
        self.budget.charge_entity()?;
        self.budget.charge_bytes(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        let holder = self.entities.get(id);
        let (role, place) =
            holder.map_or((Role::Attachment, None), |holder| (holder.role, holder.part));
        let content = Content {
            role,
            content: content.into(),
            declared: part.declared().map(str::to_owned),
            charset: part.charset().map(str::to_owned),
            names: part.names().to_vec(),
        };
        self.add_reading(id, layer, "base64 ends at padding", place, content);
        Ok(())
    }

    /// Adds what other readers would find.
    pub(super) fn other_readings(&mut self, message: &Message, holder: EntityId, layer: usize) {
        let mut candidates: Vec<(&'static str, Leaf)> = Vec::new();
        for reader in Reader::plausible(message.defects()) {
            let other = Message::parse_as(message.raw().clone(), self.budget.limits(), reader);
            candidates.extend(leaves(&other).map(|leaf| (reader.as_str(), leaf)));
        }
        if second::is_worth_asking(message.defects()) {
            match second::leaves(message.raw()) {
                Some(found) => {
                    candidates.extend(found.into_iter().map(|leaf| ("mail-parser", leaf)));
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
        candidates: Vec<(&'static str, Leaf)>,
    ) {
        let mut known: HashSet<(usize, usize, TransferEncoding)> =
            leaves(message).map(|leaf| (leaf.body.start, leaf.body.end, leaf.encoding)).collect();
        let mut digests: Option<HashSet<[u8; 32]>> = None;
        for (reader, leaf) in candidates {
            if !known.insert((leaf.body.start, leaf.body.end, leaf.encoding)) {
                continue;
            }
            let digests = digests.get_or_insert_with(|| {
                leaves(message).map(|leaf| digest(&content(message, &leaf))).collect()
            });
            let found = content(message, &leaf);
            if found.trim_ascii().is_empty() || !digests.insert(digest(&found)) {
                continue;
            }
            let size = u64::try_from(found.len()).unwrap_or(u64::MAX);
            let charged = self.budget.charge_entity().and_then(|()| self.budget.charge_bytes(size));
            if let Err(limit) = charged {
                return self.gap(GapReason::Limit(limit), holder, ENGINE, "readings".to_owned());
            }
            let offset = u64::try_from(leaf.body.start).unwrap_or(u64::MAX);
            self.anomaly(AnomalyKind::ReaderDifference, holder, offset, reader);
            if !leaf.is_plain_view() {
                let detail = format!("another reader: {reader}");
                self.gap(GapReason::Ambiguous, holder, ENGINE, detail);
            }
            let part = self.entities.get(holder).and_then(|holder| holder.part);
            let text = leaf.declared.as_deref().is_none_or(|kind| kind.starts_with("text/"));
            let role = if text && leaf.names.is_empty() { Role::Body } else { Role::Attachment };
            let Leaf { declared, charset, names, .. } = leaf;
            let content = Content { role, content: found, declared, charset, names };
            self.add_reading(holder, layer, reader, part, content);
        }
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

fn content(message: &Message, leaf: &Leaf) -> Bytes {
    transfer::decode(&message.part(leaf.body.clone()), leaf.encoding).content
}

/// White space around content is no difference.
fn digest(content: &Bytes) -> [u8; 32] {
    Sha256::digest(content.trim_ascii()).into()
}
