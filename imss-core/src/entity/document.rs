//! Reads documents with their extractors.
//!
//! In: an entity's content and the members that unpackers found in it. Out: its
//! [`Document`], and the files and code inside as entities. An extractor that panics costs a gap.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bytes::Bytes;

use super::extract::{Extraction, Job};
use super::{Origin, text};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Passwords, Source, UnpackError};
use crate::document::{Document, Extractor, Piece, sink};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Limit;

/// Links, properties and facts kept for one document, each.
const MAX_FACTS: usize = 10_000;

/// Content as UTF-8, and what it was before.
struct Utf8 {
    content: Bytes,
    charset: &'static str,
    guessed: bool,
}

impl Extraction<'_> {
    /// Reads one document with one extractor.
    pub(super) fn document(
        &mut self,
        job: &Job,
        extractor: &'static dyn Extractor,
        detected: &FileType,
        members: &[Member],
    ) {
        let text = if extractor.reads_text() { self.decoded(job) } else { Ok(None) };
        let text = match text {
            Ok(text) => text,
            Err(limit) => {
                let reason = GapReason::Limit(limit);
                return self.gap(reason, job.entity, extractor.name(), String::new());
            }
        };
        // Text has no passwords, and the messages that name them are pages themselves.
        let (passwords, names) = match text {
            Some(_) => (Passwords::none(), Vec::new()),
            None => self.known(job.entity),
        };
        let content = text.as_ref().map_or(&job.content, |text| &text.content);
        let source = Source { content, detected, names: &names, passwords: &passwords };
        let known = self.entities.list.get_mut(job.entity.index());
        let known = known.and_then(|entity| entity.document.take());
        let mut document = known.unwrap_or_default();
        document.formats.push(extractor.name());
        let mut pieces = Vec::new();
        let budget = &mut self.budget;
        // Text past the bound is never kept: a shared string in every cell must not fill the memory.
        let max = budget.limits().max_text_bytes;
        let mut keep = |piece| match piece {
            Piece::Text { kind, text } => {
                let kept = sink::cut(&text, max.saturating_sub(document.texts.cost()));
                document.truncated |= kept.len() < text.len();
                document.texts.push(kind, kept);
            }
            other => pieces.push(other),
        };
        // After a panic the budget has charged what was done, and the pieces are whole.
        let run = catch_unwind(AssertUnwindSafe(|| {
            extractor.extract(&source, members, budget, &mut keep)
        }));
        let result = run.unwrap_or(Err(UnpackError::Crashed));
        document.texts.shrink_to_fit();
        if let Some(text) = &text {
            (document.charset, document.guessed) = (text.charset, text.guessed);
        }
        self.pieces(job, extractor.name(), pieces, document);
        self.left_out(job, extractor.name());
        if let Err(error) = result {
            self.gap(error.reason(), job.entity, extractor.name(), error.to_string());
            if matches!(error, UnpackError::Encrypted(_))
                && let Some(entity) = self.entities.list.get_mut(job.entity.index())
            {
                entity.encrypted = true;
            }
        }
    }

    /// The content of an entity as UTF-8.
    fn decoded(&mut self, job: &Job) -> Result<Option<Utf8>, Limit> {
        let Some(entity) = self.entities.get(job.entity) else { return Ok(None) };
        self.budget.charge_bytes(u64::try_from(entity.content.len()).unwrap_or(u64::MAX))?;
        let decoded = text::decode(entity, &entity.content);
        let (charset, guessed) = (decoded.charset, decoded.guessed);
        // Most text is UTF-8 as it stands, and need not be kept twice.
        let is_same = decoded.text.as_bytes() == entity.content;
        let content = if is_same { entity.content.clone() } else { decoded.text.into() };
        Ok(Some(Utf8 { content, charset, guessed }))
    }

    fn pieces(
        &mut self,
        job: &Job,
        engine: &'static str,
        pieces: Vec<Piece>,
        mut document: Box<Document>,
    ) {
        let (mut embedded, mut code) = (0_u32, 0_u32);
        let mut keeps_all = true;
        for piece in pieces {
            match piece {
                // Kept while it was read.
                Piece::Text { .. } => {}
                Piece::Property { name, value } => {
                    keeps_all &= push(&mut document.properties, (name, value));
                }
                Piece::Link(link) => keeps_all &= push(&mut document.links, link),
                Piece::Active(active) => keeps_all &= push(&mut document.active, active),
                Piece::Embedded(member) => {
                    if !self.rename(job, &member) {
                        self.member(job, engine, Origin::Embedded(embedded), member);
                    }
                    embedded = embedded.saturating_add(1);
                }
                Piece::Code(member) => {
                    self.member(job, engine, Origin::Code(code), member);
                    code = code.saturating_add(1);
                }
                Piece::Anomaly { kind, offset, detail } => {
                    self.defect(job, engine, (kind, offset), detail);
                }
            }
        }
        if !keeps_all {
            self.budget.left_out("links, properties and facts past 10,000");
        }
        if document.truncated {
            self.gap(GapReason::Limit(Limit::Text), job.entity, engine, String::new());
        }
        if let Some(entity) = self.entities.list.get_mut(job.entity.index()) {
            entity.document = Some(document);
            // It may have been read without the document.
            entity.text = OnceLock::new();
        }
    }

    /// Gives the member of the same container that has the same octets this one's names. Tells
    /// whether there is one.
    fn rename(&mut self, job: &Job, member: &Member) -> bool {
        let place = super::extract::place(job.entity, &member.content);
        let Some(id) = self.places.get(&place).copied().filter(|_| !member.content.is_empty())
        else {
            return false;
        };
        self.name_again(id, &member.names);
        true
    }

    /// Makes a gap of what a reader left out by a bound of its own.
    pub(super) fn left_out(&mut self, job: &Job, engine: &'static str) {
        let what = self.budget.take_left_out();
        if !what.is_empty() {
            self.gap(GapReason::Limit(Limit::Facts), job.entity, engine, what.join("; "));
        }
    }

    pub(super) fn defect(
        &mut self,
        job: &Job,
        engine: &'static str,
        (kind, offset): (AnomalyKind, u64),
        detail: String,
    ) {
        self.anomaly(kind, job.entity, offset, &detail);
        if kind.is_ambiguous() {
            self.gap(GapReason::Ambiguous, job.entity, engine, detail);
        }
    }
}

/// Adds to a list; tells whether there was room.
fn push<T>(list: &mut Vec<T>, item: T) -> bool {
    let fits = list.len() < MAX_FACTS;
    if fits {
        list.push(item);
    }
    fits
}
