//! Looks into content that may hold more: attached messages, uuencoded files, archives.
//!
//! In: an entity's content. Out: its members as entities, queued to be looked into in turn. Content
//! decides, not its name: a program that is also an archive is opened as one.

use bytes::Bytes;

use super::extract::{ENGINE, Extraction, Found, Job};
use super::{Entity, Origin, Role, text};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Passwords, Source, Unpacked, Unpacker, cms, unpackers};
use crate::document::extractors;
use crate::filetype::{FileType, TypeGroup};
use crate::finding::GapReason;
use crate::ids::EntityId;
use crate::limits::Limit;
use crate::message::encoded_word;
use crate::message::transfer::Uuencoded;
use crate::protection::Protection;

impl Extraction<'_> {
    /// Looks into one content.
    pub(super) fn open(&mut self, job: &Job) {
        let Some(entity) = self.entities.get(job.entity) else { return };
        let (detected, role, declared) = (entity.detected, entity.role, entity.declared.clone());
        if let Some(field) = &job.container {
            return self.encoded_multipart(job, field);
        }
        let is_wrapped = entity.origin == Origin::Expanded
            && entity
                .parent
                .and_then(|holder| self.entities.get(holder))
                .is_some_and(|holder| cms::kind(&holder.content).is_some());
        let protection = entity.protection();
        if is_wrapped {
            return self.encoded_message(job);
        }
        if protection == Some(Protection::Encrypted) {
            let detail = "an encrypted message".to_owned();
            self.gap(GapReason::Encrypted, job.entity, ENGINE, detail);
        }
        let declared = declared.unwrap_or_default();
        let known = self.entities.list.len();
        if matches!(declared.as_str(), "message/rfc822" | "message/global" | "message/news")
            || detected.media_type == "message/rfc822" && role != Role::Body
        {
            return self.encoded_message(job);
        }
        self.uuencoded_files(job);
        let opened = self.container(job, &detected);
        if !opened && self.entities.list.len() == known {
            self.unopened(job, &detected);
        }
    }

    /// Opens content with every unpacker, then every extractor, that recognises it. Tells whether
    /// any does.
    fn container(&mut self, job: &Job, detected: &FileType) -> bool {
        let mut members = Vec::new();
        let mut opened = false;
        for unpacker in unpackers() {
            let entity = self.entities.get(job.entity);
            let is_named = entity.is_some_and(|entity| unpacker.fits_names(&entity.names));
            if is_named && unpacker.recognises(&job.content, detected) {
                opened = true;
                if job.layer >= self.budget.limits().max_layers {
                    let reason = GapReason::Limit(Limit::Layers);
                    self.gap(reason, job.entity, unpacker.name(), String::new());
                    return opened;
                }
                members.extend(self.unpack(job, *unpacker, detected));
            }
        }
        let seen = self.entities.get(job.entity).map_or(*detected, text::seen_as);
        for extractor in extractors() {
            if extractor.recognises(&job.content, &seen, &members) {
                opened = true;
                self.document(job, *extractor, &seen, &members);
            }
        }
        opened
    }

    /// Content that nothing here opens: a format that holds files, or a piece of one, is not clean.
    fn unopened(&mut self, job: &Job, detected: &FileType) {
        let Some(entity) = self.entities.get(job.entity) else { return };
        if entity.content.is_empty() {
            return;
        }
        let detail = match detected.group {
            TypeGroup::Archive => format!("{} cannot be opened", detected.name),
            TypeGroup::Other if entity.names.iter().any(|name| is_piece(name)) => {
                "a piece of a split archive".to_owned()
            }
            _ => return,
        };
        self.gap(GapReason::Unsupported, job.entity, ENGINE, detail);
    }

    /// The passwords to try, and the names of `entity`. What the message offers is only searched
    /// once something encrypted asks for it.
    pub(super) fn known(&mut self, entity: EntityId) -> (Passwords, Vec<String>) {
        if self.candidates.bodies != self.bodies.len() {
            let shown = self.bodies.iter().filter_map(|&id| self.entities.get(id));
            let shown: Vec<Entity> = shown.map(text::outline).collect();
            let texts = move || shown.iter().filter_map(text::shown_text).collect();
            self.candidates.all = self.candidates.configured.with_texts(texts);
            self.candidates.bodies = self.bodies.len();
        }
        let names = self.entities.get(entity).map(|entity| entity.names.clone());
        (self.candidates.all.clone(), names.unwrap_or_default())
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

    fn unpack(
        &mut self,
        job: &Job,
        unpacker: &'static dyn Unpacker,
        detected: &FileType,
    ) -> Vec<Member> {
        let (passwords, names) = self.known(job.entity);
        let source =
            Source { content: &job.content, detected, names: &names, passwords: &passwords };
        let mut unpacked = Vec::new();
        let result = unpacker.unpack(&source, &mut self.budget, &mut |found| unpacked.push(found));
        let mut members = Vec::new();
        let mut place = 0_u32;
        for found in unpacked {
            match found {
                Unpacked::Anomaly { kind, offset, detail } => {
                    self.defect(job, unpacker.name(), (kind, offset), detail);
                }
                Unpacked::Member(member) => {
                    let origin =
                        if unpacker.is_stream() { Origin::Expanded } else { Origin::Member(place) };
                    self.member(job, unpacker.name(), origin, member.clone());
                    members.push(member);
                    place = place.saturating_add(1);
                }
            }
        }
        if let Err(error) = result {
            self.gap(error.reason(), job.entity, unpacker.name(), error.to_string());
        }
        self.left_out(job, unpacker.name());
        members
    }

    pub(super) fn member(
        &mut self,
        job: &Job,
        engine: &'static str,
        origin: Origin,
        member: Member,
    ) {
        let encrypted = member.is_encrypted();
        let id = self.add_member(job, origin, member.names, member.content);
        if let Some(missing) = member.missing {
            self.gap(missing.reason, id, engine, missing.detail);
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

/// Whether a name says that its file is a piece of a split archive: `a.zip.002`, `a.z01`, `a.r00`,
/// `a.part2.rar`.
fn is_piece(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let digits = extension.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let prefix = extension.strip_suffix(digits).unwrap_or_default();
    let numbered = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    match prefix {
        "" => numbered && digits.len() == 3,
        "z" | "r" | "s" | "c" | "a" => numbered && digits.len() == 2,
        "rar" | "zip" | "7z" | "exe" => stem.rsplit_once(".part").is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entities;
    use crate::limits::{Limits, StopFlag};
    use crate::message::Message;

    #[test]
    fn names_of_pieces_are_known() {
        let cases = [
            ("backup.zip.002", true),
            ("backup.7z.001", true),
            ("data.z01", true),
            ("data.r00", true),
            ("a.part2.rar", true),
            ("a.rar", false),
            ("photo.jpg", false),
            ("report.2024", false),
            ("mp3", false),
            ("song.mp3", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_piece(name), expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_a_gap() {
        let cases = [
            ("a format that nothing opens", "a.bin", "iUxaTwANChoKEEAgoAlA", "lzop"),
            ("a piece", "a.7z.002", "AAEC/v8AnAMA4YEAkAcG+A==", "a piece of a split archive"),
            ("octets without a name", "a.bin", "AAEC/v8AnAMA4YEAkAcG+A==", ""),
        ];
        for (name, file, content, expected) in cases {
            let raw = format!(
                "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"{file}\"\r\n\r\n{content}\r\n"
            );
            let limits = Limits::small();
            let message = Message::parse(raw.into_bytes().into(), &limits);
            let entities = Entities::extract(&message, &limits, &StopFlag::new());
            let found = entities.gaps().iter().find(|gap| gap.reason == GapReason::Unsupported);
            let detail = found.map_or("", |gap| gap.detail.as_str());
            assert!(
                detail.starts_with(expected) && found.is_some() != expected.is_empty(),
                "{name}: {detail}"
            );
        }
    }

    #[test]
    fn passwords_come_from_the_message_itself() {
        // A zip archive with one traditionally encrypted file, "secret" under the password k9-Fox.
        let archive = ZIP;
        for (name, subject, body, opened) in [
            ("in the body", "Invoice", "The password is k9-Fox.", true),
            ("in the subject", "Invoice, pw: k9-Fox", "See the file.", true),
            ("in Japanese", "請求書", "パスワードは「k9-Fox」です。", true),
            ("nowhere", "Invoice", "See the file.", false),
        ] {
            let raw = format!(
                "Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                 --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n\
                 --b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                 {archive}\r\n--b--\r\n"
            );
            let limits = Limits::default();
            let message = Message::parse(raw.into_bytes().into(), &limits);
            let entities = Entities::extract(&message, &limits, &StopFlag::new());
            let member = entities.iter().find(|entity| entity.name() == "s.txt").unwrap();
            assert_eq!(
                (!member.encrypted, &member.content[..]),
                (opened, if opened { b"secret".as_slice() } else { b"" }),
                "{name}"
            );
        }
    }

    const ZIP: &str = "UEsDBBQAAQAAAO+Kdl3l6KJcEgAAAAYAAAAFAAAAcy50eHS6JHzqTh+1n9/cxHfO7b7S3bdQSwECPwMUAAEAAADv\
        inZd5eiiXBIAAAAGAAAABQAkAAAAAAAAACCApIEAAAAAcy50eHQKACAAAAAAAAEAGAAiZB0xpnrdAQAAAAAAAAAA\
        AAAAAAAAAABQSwUGAAAAAAEAAQBXAAAANQAAAAAA";
}
