//! Looks into content that may hold more: attached messages, uuencoded files, archives.
//!
//! In: an entity's content. Out: its members as entities, queued to be looked into in turn. Content
//! decides, not its name: a program that is also an archive is opened as one.

use bytes::Bytes;

use super::extract::{ENGINE, Extraction, Found, Job};
use super::{Origin, Role};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Unpacked, Unpacker, unpackers};
use crate::finding::GapReason;
use crate::ids::EntityId;
use crate::limits::Limit;
use crate::message::encoded_word;
use crate::message::transfer::Uuencoded;

impl Extraction<'_> {
    /// Looks into one content.
    pub(super) fn open(&mut self, job: &Job) {
        let Some(entity) = self.entities.get(job.entity) else { return };
        let (detected, role, declared) = (entity.detected, entity.role, entity.declared.clone());
        if let Some(field) = &job.container {
            return self.encoded_multipart(job, field);
        }
        let declared = declared.unwrap_or_default();
        if matches!(declared.as_str(), "message/rfc822" | "message/global" | "message/news")
            || detected.media_type == "message/rfc822" && role != Role::Body
        {
            return self.encoded_message(job);
        }
        if declared.starts_with("text/") || role == Role::Body {
            self.uuencoded_files(job);
        }
        for unpacker in unpackers() {
            if unpacker.recognises(&job.content, &detected) {
                if job.layer >= self.budget.limits().max_layers {
                    let reason = GapReason::Limit(Limit::Layers);
                    return self.gap(reason, job.entity, unpacker.name(), String::new());
                }
                self.unpack(job, *unpacker);
            }
        }
    }

    fn encoded_message(&mut self, job: &Job) {
        if job.layer >= self.budget.limits().max_layers {
            let reason = GapReason::Limit(Limit::Layers);
            return self.gap(reason, job.entity, ENGINE, String::new());
        }
        match self.add_attached(job.entity) {
            Ok(inner) => {
                let layer = job.layer.saturating_add(1);
                self.attached(inner, job.content.clone(), layer, job.number.clone());
            }
            Err(limit) => self.gap(GapReason::Limit(limit), job.entity, ENGINE, String::new()),
        }
    }

    /// A multipart whose delimiters only show after decoding, which RFC 2045 §6.4 forbids and some
    /// readers undo.
    fn encoded_multipart(&mut self, job: &Job, field: &Bytes) {
        if job.layer >= self.budget.limits().max_layers {
            let reason = GapReason::Limit(Limit::Layers);
            return self.gap(reason, job.entity, ENGINE, String::new());
        }
        let raw = [field.trim_ascii_end(), b"\r\n\r\n", &job.content].concat();
        let layer = job.layer.saturating_add(1);
        self.attached(job.entity, raw.into(), layer, job.number.clone());
    }

    fn uuencoded_files(&mut self, job: &Job) {
        let mut from = 0;
        let mut place = 0_u32;
        while let Some(file) = Uuencoded::find(&job.content, from) {
            from = file.end;
            let size = u64::try_from(file.content.len()).unwrap_or(u64::MAX);
            let charged = self.budget.charge_entity().and_then(|()| self.budget.charge_bytes(size));
            if let Err(limit) = charged {
                return self.gap(GapReason::Limit(limit), job.entity, "uuencode", String::new());
            }
            let names = vec![encoded_word::decode_value(&file.name)];
            let id = self.add_member(job, Origin::Member(place), names, file.content.into());
            if let Some(entity) = self.entities.list.get_mut(id.index()) {
                entity.role = Role::Attachment;
            }
            if file.malformed {
                self.anomaly(AnomalyKind::MalformedEncoding, id, 0, "uuencode");
            }
            place = place.saturating_add(1);
        }
    }

    fn unpack(&mut self, job: &Job, unpacker: &'static dyn Unpacker) {
        let mut unpacked = Vec::new();
        let result =
            unpacker.unpack(&job.content, &mut self.budget, &mut |found| unpacked.push(found));
        let mut place = 0_u32;
        for found in unpacked {
            match found {
                Unpacked::Anomaly { kind, offset, detail } => {
                    self.anomaly(kind, job.entity, offset, &detail);
                    if kind.is_ambiguous() {
                        self.gap(GapReason::Ambiguous, job.entity, unpacker.name(), detail);
                    }
                }
                Unpacked::Member(member) => {
                    let origin =
                        if unpacker.is_stream() { Origin::Expanded } else { Origin::Member(place) };
                    self.member(job, unpacker, origin, member);
                    place = place.saturating_add(1);
                }
            }
        }
        if let Err(error) = result {
            self.gap(error.reason(), job.entity, unpacker.name(), error.to_string());
        }
    }

    fn member(
        &mut self,
        job: &Job,
        unpacker: &'static dyn Unpacker,
        origin: Origin,
        member: Member,
    ) {
        let encrypted = member.is_encrypted();
        let id = self.add_member(job, origin, member.names, member.content);
        if let Some(missing) = member.missing {
            self.gap(missing.reason, id, unpacker.name(), missing.detail);
            if let Some(entity) = self.entities.list.get_mut(id.index()) {
                entity.encrypted = encrypted;
                entity.size = entity.size.max(member.claimed_size);
            }
        }
    }

    /// Adds what was found inside, and queues it. Its cost was charged where it was decoded.
    fn add_member(
        &mut self,
        job: &Job,
        origin: Origin,
        names: Vec<String>,
        content: Bytes,
    ) -> EntityId {
        let part = self.entities.get(job.entity).and_then(|holder| holder.part);
        let entity = self.add(Found {
            parent: Some(job.entity),
            origin,
            role: Role::Member,
            names,
            declared: None,
            charset: None,
            part,
            content: content.clone(),
        });
        let (layer, number) = (job.layer.saturating_add(1), job.number.clone());
        self.queue.push_back(Job { entity, content, layer, number, container: None });
        entity
    }
}
