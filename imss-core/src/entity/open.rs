//! Looks into content that may hold more: attached messages, uuencoded files, archives.
//!
//! In: an entity's content. Out: its members as entities, queued to be looked into in turn. Content
//! decides, not its name: a program that is also an archive is opened as one.

use bytes::Bytes;

use super::extract::{ENGINE, Extraction, Found, Job};
use super::{Entities, Entity, Origin, Role, attached, text};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Passwords, Source, Unpacked, Unpacker, cms, unpackers};
use crate::document::extractors;
use crate::document::ole1::COMPOUND;
use crate::filetype::{FileType, TypeGroup, is_zip_based};
use crate::finding::GapReason;
use crate::ids::EntityId;
use crate::limits::Limit;
use crate::message::encoded_word;
use crate::message::uuencode::Uuencoded;
use crate::protection::Protection;

/// Disks, mailboxes and databases that nothing here opens: that something else is found in them (an
/// archive at their end) makes them no clearer.
const CARRIERS: [&str; 10] =
    ["vhd", "vhdx", "vmdk", "qcow2", "vdi", "dmg", "wim", "pst", "dbx", "sqlite"];
/// Extractors that read what acts in any document, and not its text.
const ONLY_ACTS: [&str; 2] = ["ole-objects", "vba"];

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
        let (protection, holds_no_lines) = (entity.protection(), entity.holds_no_lines());
        if is_wrapped {
            return self.encoded_message(job, 0);
        }
        if protection == Some(Protection::Encrypted) {
            let detail = "an encrypted message".to_owned();
            self.gap(GapReason::Encrypted, job.entity, ENGINE, detail);
        }
        let declared = declared.unwrap_or_default();
        let is_message =
            matches!(declared.as_str(), "message/rfc822" | "message/global" | "message/news")
                || detected.media_type == "message/rfc822" && role != Role::Body;
        let named = self.entities.get(job.entity).and_then(attached::start);
        if let Some(start) = named.filter(|_| role != Role::Body).or(is_message.then_some(0)) {
            self.encoded_message(job, start);
            if self.entities.get(job.entity).is_none_or(attached::is_nothing_else) {
                return;
            }
        }
        let known = self.entities.list.len();
        if !holds_no_lines {
            self.uuencoded_files(job);
        }
        let has_files = self.entities.list.len() > known;
        let opened = self.container(job, &detected) || has_files;
        if !opened || CARRIERS.contains(&detected.extension) {
            self.unopened(job, &detected);
        }
        self.unread(job, &detected);
    }

    /// Opens content with every unpacker, then every extractor, that recognises it. Tells whether
    /// any of them reads what it is by its start, and not only what stands behind that.
    fn container(&mut self, job: &Job, detected: &FileType) -> bool {
        let mut members = Vec::new();
        let mut opened = false;
        for unpacker in unpackers() {
            let entity = self.entities.get(job.entity);
            let may_fit = entity.is_some_and(|entity| {
                unpacker.fits_names(&entity.names)
                    && !(unpacker.is_in_lines() && entity.holds_no_lines())
            });
            if may_fit && unpacker.recognises(&job.content, detected) {
                opened |= !stands_behind(unpacker.name(), detected, &job.content);
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
                opened |= !stands_behind(extractor.name(), detected, &job.content);
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
            _ if CARRIERS.contains(&detected.extension) => {
                format!("{} cannot be opened", detected.name)
            }
            TypeGroup::Other if entity.names.iter().any(|name| is_piece(name)) => {
                "a piece of a split archive".to_owned()
            }
            _ => return,
        };
        self.gap(GapReason::Unsupported, job.entity, ENGINE, detail);
    }

    /// A document whose text nothing here reads, though its files and properties may be.
    fn unread(&mut self, job: &Job, detected: &FileType) {
        let Some(entity) = self.entities.get(job.entity) else { return };
        // Packages hold their pages as members; an OLE file of no known program is no document.
        let is_packed = memchr::memmem::find(&entity.content, b".iwa").is_some();
        let holds_pages =
            entity.content.starts_with(b"PK") && (detected.extension != "pages" || !is_packed);
        if detected.group != TypeGroup::Document
            || holds_pages
            || detected.extension == "ole"
            || text::is_text(entity)
            || entity.encrypted
            || is_decrypted(&self.entities, entity)
        {
            return;
        }
        let formats = entity.document.as_ref().map_or(&[][..], |document| &document.formats);
        let reads_none = |format: &&str| {
            ONLY_ACTS.contains(format) || stands_behind(format, detected, &entity.content)
        };
        if formats.iter().all(reads_none) {
            let detail = format!("the text of {} is not read", detected.name);
            self.gap(GapReason::Unsupported, job.entity, ENGINE, detail);
        }
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

    /// A message that stands in content from `start` on.
    fn encoded_message(&mut self, job: &Job, start: usize) {
        if job.layer >= self.budget.limits().max_layers {
            let reason = GapReason::Limit(Limit::Layers);
            return self.gap(reason, job.entity, ENGINE, String::new());
        }
        match self.add_attached(job.entity) {
            Ok(inner) => {
                let layer = job.layer.saturating_add(1);
                let raw = job.content.slice(start.min(job.content.len())..);
                self.attached(inner, raw, layer, job.number.clone());
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
        let mut place = 0_u32;
        for file in Uuencoded::all(&job.content) {
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
        let is_stream = unpacker.name() == "zip" && self.is_stream_of_ole(job);
        let mut members = Vec::new();
        let mut place = 0_u32;
        for found in unpacked {
            match found {
                // No reader opens a stream of an OLE file as the archives that lie in it.
                Unpacked::Anomaly { .. } if is_stream => {}
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

    /// Whether content is a stream of an OLE file that is no archive from its first octet on, such as
    /// the one of a presentation, which holds an archive for each theme.
    fn is_stream_of_ole(&self, job: &Job) -> bool {
        let entity = self.entities.get(job.entity);
        let holder = entity.and_then(|entity| entity.parent).and_then(|id| self.entities.get(id));
        entity.is_some_and(|entity| matches!(entity.origin, Origin::Member(_)))
            && holder.is_some_and(|holder| holder.content.starts_with(COMPOUND))
            && !job.content.starts_with(b"PK")
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

/// Whether what `reader` recognises stands somewhere in content that is something else by its start:
/// archives and the documents in them are known by their end, PDF files and others by words that
/// stand anywhere. Then what the content itself is was not read.
fn stands_behind(reader: &str, detected: &FileType, content: &[u8]) -> bool {
    match reader {
        "zip" | "ooxml" | "odf" => {
            !content.starts_with(b"PK") && !is_zip_based(detected) && detected.extension != "xml"
        }
        "pdf" => !matches!(detected.extension, "pdf" | "fdf" | "ai"),
        "rtf" => detected.extension != "rtf",
        "shortcut" => detected.group == TypeGroup::Document && detected.extension != "slk",
        _ => false,
    }
}

/// Whether `entity` is an encrypted document that is among the entities as what it holds, which is
/// judged by itself: read, or missing.
fn is_decrypted(entities: &Entities, entity: &Entity) -> bool {
    entity.detected.media_type == "application/x-ms-office-encrypted"
        && entities.iter().any(|inner| {
            inner.parent == Some(entity.id) && matches!(inner.origin, Origin::Embedded(_))
        })
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

    /// What is not read in a message with `content` as its one attachment.
    fn unsupported(content: &[u8]) -> Vec<String> {
        let encoded = base64_simd::STANDARD.encode_to_string(content);
        let raw = format!(
            "Content-Type: application/octet-stream; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n"
        );
        let limits = Limits::default();
        let message = Message::parse(raw.into_bytes().into(), &limits);
        let entities = Entities::extract(&message, &limits, &StopFlag::new());
        let gaps = entities.gaps().iter().filter(|gap| gap.reason == GapReason::Unsupported);
        gaps.map(|gap| gap.detail.clone()).collect()
    }

    #[test]
    fn known_formats_that_nothing_reads_are_gaps() {
        let at_end = |mark: &[u8]| [&vec![0; 4_096][..], mark, &vec![1; 512 - mark.len()]].concat();
        let padded = |start: &[u8]| [start, &[0; 64]].concat();
        let rows: [(&str, Vec<u8>, &str); 14] = [
            ("a disk", at_end(b"conectix"), "Virtual hard disk cannot be opened"),
            ("a newer disk", padded(b"vhdxfile"), "Virtual hard disk cannot be opened"),
            ("a disk of Apple", at_end(b"koly"), "Apple disk image cannot be opened"),
            ("an image of Windows", padded(b"MSWIM\0\0\0"), "Windows image cannot be opened"),
            ("a mailbox", padded(b"!BDN"), "Outlook data file cannot be opened"),
            ("a database", padded(b"SQLite format 3\0"), "SQLite database cannot be opened"),
            ("a table of Access", padded(b"\0\x01\0\0Standard Jet DB\0"), "the text of Access"),
            ("a letter of WordPerfect", padded(b"\xffWPC"), "the text of WordPerfect document"),
            ("a table of 1-2-3", padded(b"\0\0\x02\0\x06\x04"), "the text of Lotus"),
            ("an old Hangul letter", padded(b"HWP Document File V3.00"), "the text of Hangul"),
            ("a letter of Write", padded(b"1\xbe\0\0\0\xab"), "the text of Windows Write"),
            ("a letter of Word Pro", padded(b"WordPro"), "the text of Word Pro"),
            ("PostScript, which is text", b"%!PS-Adobe\n(hello) show\n".to_vec(), ""),
            ("rich text, which is read", b"{\\rtf1 hello}".to_vec(), ""),
        ];
        for (name, content, expected) in rows {
            let said = unsupported(&content);
            let is_said = said.iter().any(|detail| detail.starts_with(expected));
            assert_eq!(is_said, !expected.is_empty(), "{name}: {said:?}");
            // A document behind it is read, and makes it no clearer.
            let said = unsupported(&[&content[..], DOCUMENT].concat());
            let is_said = said.iter().any(|detail| detail.starts_with(expected));
            assert_eq!(is_said, !expected.is_empty(), "{name}, and a document: {said:?}");
        }
    }

    #[test]
    fn a_document_whose_password_is_known_is_read() {
        let decrypted = include_bytes!("../../tests/data/docs/encrypted-default.xlsx");
        assert_eq!(unsupported(decrypted), [""; 0]);
    }

    #[test]
    fn a_disk_with_an_archive_behind_it_is_still_no_open_disk() {
        let archive = base64_simd::STANDARD.decode_to_vec(ZIP).unwrap();
        let disk = [b"conectix".as_slice(), &[0; 4_096], &archive].concat();
        assert_eq!(unsupported(&disk), ["Virtual hard disk cannot be opened"]);
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

    const DOCUMENT: &[u8] = include_bytes!("../../tests/data/docs/golden/tika__testComment.docx");
    const ZIP: &str = "UEsDBBQAAQAAAO+Kdl3l6KJcEgAAAAYAAAAFAAAAcy50eHS6JHzqTh+1n9/cxHfO7b7S3bdQSwECPwMUAAEAAADv\
        inZd5eiiXBIAAAAGAAAABQAkAAAAAAAAACCApIEAAAAAcy50eHQKACAAAAAAAAEAGAAiZB0xpnrdAQAAAAAAAAAA\
        AAAAAAAAAABQSwUGAAAAAAEAAQBXAAAANQAAAAAA";
}
