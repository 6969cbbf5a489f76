//! An entity's content → its text.
//!
//! In: an entity. Out: decoded and folded text, markup removed, or nothing if it is not text. Both
//! the octets read and the text made are bounded by the limits; what was cut is said.

use std::sync::OnceLock;

use bytes::Bytes;

use super::extract::Extraction;
use super::{Entity, Origin, Role};
use crate::anomaly::AnomalyKind;
use crate::archive::le::length;
use crate::charset::{self, Text};
use crate::document::{html, sink};
use crate::filetype::{self, FileType, TypeGroup};
use crate::limits::Limits;
use crate::message::Message;

/// How much of an attached message is read for its header section.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Documents that are text: whoever opens one in an editor can read it.
const WRITTEN_AS_TEXT: [&str; 8] = ["ps", "fdf", "xfdf", "tex", "mif", "dif", "fb2", "eps"];
/// Octets by which folded text may be longer than the text.
const MAX_GROWTH: usize = 1 << 20;

/// Steps of folding an octet of ASCII, and of any other text: what combines is looked up and composed
/// letter by letter. Measured at 1 and 12.
const ASCII_STEPS: u64 = 2;
const OTHER_STEPS: u64 = 12;
/// The share of a message's work that folding may cost whatever was spent before: the words of a
/// message are searched even beside a bomb.
const LEAST_SHARE: u64 = 8;

impl Extraction<'_> {
    /// Shares the work that is left among the texts, in their order, so that engines which ask for all
    /// of them stay inside the budget. Text past an entity's share is left out, which its
    /// [`Text::truncated`] says to whoever reads it.
    pub(super) fn share_text_work(&mut self) {
        let least = self.budget.limits().max_work / LEAST_SHARE;
        let mut left = self.budget.work_left().max(least);
        for entity in &mut self.entities.list {
            let (octets, steps) = folding(entity);
            let octets = octets.min(entity.max_text_bytes);
            let cost = (octets as u64).saturating_mul(steps);
            if cost > left {
                entity.max_text_bytes = length(left / steps);
            }
            left = left.saturating_sub(cost);
        }
    }
}

/// How long the text of `entity` is, and what an octet of it costs to fold.
fn folding(entity: &Entity) -> (usize, u64) {
    let rate = |octets: &[u8]| {
        // Escapes and shifts make other letters of ASCII.
        let shifts = |octets: &[u8]| memchr::memchr2(0x1b, b'+', octets).is_some();
        let encoded = entity.charset.is_some() && shifts(octets);
        if octets.is_ascii() && !encoded { ASCII_STEPS } else { OTHER_STEPS }
    };
    if entity.origin == Origin::Attached {
        return (entity.content.len().min(MAX_HEADER_BYTES), OTHER_STEPS);
    }
    match entity.document.as_ref().filter(|document| !document.texts.is_empty()) {
        Some(document) => {
            let text = document.texts.as_str();
            (text.len(), rate(text.as_bytes()))
        }
        None if is_text(entity) => {
            let bound = entity.content.len().min(entity.max_text_bytes);
            let octets = entity.content.get(..bound).unwrap_or_default();
            (octets.len(), rate(octets))
        }
        None => (0, ASCII_STEPS),
    }
}

/// The text of `entity`.
pub(super) fn read(entity: &Entity) -> Option<Text> {
    if entity.origin == Origin::Attached {
        return Some(header_text(entity));
    }
    if let Some(document) = entity.document.as_ref().filter(|document| !document.texts.is_empty()) {
        let whole = document.texts.as_str();
        let mut plain = sink::cut(whole, entity.max_text_bytes).to_owned();
        let cut = plain.len() < whole.len();
        // Only pages are decoded by us; where their charset is in doubt, both readings count.
        if !document.charset.is_empty() && !entity.content.is_ascii() {
            let bound = entity.content.len().min(entity.max_text_bytes);
            let (_, other) = readings(entity, entity.content.get(..bound).unwrap_or_default());
            if let Some(other) = other {
                plain.push_str(&html::to_text(&other, entity.max_text_bytes).0);
            }
        }
        let (folded, grew) = charset::fold_within(&plain, MAX_GROWTH);
        let truncated = document.truncated || cut || grew;
        let charset = if document.charset.is_empty() { "UTF-8" } else { document.charset };
        return Some(Text { folded, plain, charset, guessed: document.guessed, truncated });
    }
    if !is_text(entity) {
        return None;
    }
    let bound = entity.content.len().min(entity.max_text_bytes);
    let octets = entity.content.get(..bound).unwrap_or_default();
    let (decoded, other) = readings(entity, octets);
    // A page that no extractor could read to its end.
    let shown = |text: String| {
        if is_page(entity) { html::to_text(&text, entity.max_text_bytes) } else { (text, false) }
    };
    let (mut plain, mut cut) = shown(decoded.text);
    if let Some((other, other_cut)) = other.map(shown) {
        plain.push('\n');
        plain.push_str(&other);
        cut |= other_cut;
    }
    let (folded, grew) = charset::fold_within(&plain, MAX_GROWTH);
    Some(Text {
        folded,
        plain,
        charset: decoded.charset,
        guessed: decoded.guessed,
        truncated: cut || grew || bound < entity.content.len(),
    })
}

/// The start of `entity`'s content as text: by its label, or what a page says of itself.
pub(super) fn decode(entity: &Entity, octets: &[u8]) -> charset::Decoded {
    charset::decode(octets, label(entity, octets).as_deref())
}

/// The same, and the other reading where the label is in doubt.
fn readings(entity: &Entity, octets: &[u8]) -> (charset::Decoded, Option<String>) {
    let label = label(entity, octets);
    let decoded = charset::decode(octets, label.as_deref());
    let other = charset::alternative(octets, label.as_deref(), &decoded);
    (decoded, other)
}

fn label(entity: &Entity, octets: &[u8]) -> Option<String> {
    let own = || if is_page(entity) { html::declared_charset(octets) } else { None };
    entity.charset.clone().or_else(own)
}

/// What a page is read as: `detected`, unless it is text that only its label calls a page.
pub(super) fn seen_as(entity: &Entity) -> FileType {
    let group = entity.detected.group;
    let may_be = matches!(
        group,
        TypeGroup::Text | TypeGroup::Script | TypeGroup::Message | TypeGroup::Other
    ) || entity.detected.extension == "xml" && entity.role == Role::Body;
    let is_data = group == TypeGroup::Other && entity.role != Role::Body;
    if may_be && !is_data && is_page(entity) { filetype::PAGE } else { entity.detected }
}

/// Whether [`read`] gives text.
pub(super) fn is_text(entity: &Entity) -> bool {
    let group = entity.detected.group;
    let declared = entity.declared.as_deref().unwrap_or_default();
    let plain = matches!(
        group,
        TypeGroup::Text | TypeGroup::Html | TypeGroup::Script | TypeGroup::Shortcut
    ) || WRITTEN_AS_TEXT.contains(&entity.detected.extension);
    let said_so = declared.starts_with("text/") || declared.starts_with("message/");
    let may_be = plain || (matches!(group, TypeGroup::Other | TypeGroup::Message) && said_so);
    let holds_octets = !matches!(entity.role, Role::Message | Role::Multipart);
    holds_octets && !entity.content.is_empty() && (may_be || entity.role == Role::Body)
}

/// What is wrong with the charset of text, from its first octets.
pub(super) fn charset_defect(entity: &Entity) -> Option<(AnomalyKind, String)> {
    let bound = entity.content.len().min(64 << 10);
    let sample = entity.content.get(..bound).filter(|sample| !sample.is_ascii());
    let own = sample.filter(|_| entity.charset.is_none() && is_page(entity));
    let own = own.and_then(html::declared_charset);
    let label = entity.charset.as_deref().or(own.as_deref());
    match label {
        Some(label) if !charset::is_known(label) => {
            Some((AnomalyKind::UnknownCharset, label.escape_debug().collect()))
        }
        None if sample.is_some() => Some((AnomalyKind::UnknownCharset, String::new())),
        label if sample.is_some() && charset::is_undecodable(&entity.content, label) => {
            let label = label.unwrap_or_default().escape_debug().collect();
            Some((AnomalyKind::UndecodableText, label))
        }
        _ => None,
    }
}

fn is_page(entity: &Entity) -> bool {
    let declared = entity.declared.as_deref();
    entity.detected.group == TypeGroup::Html
        || matches!(declared, Some("text/html" | "application/xhtml+xml"))
}

/// The decoded fields, one a line.
fn header_text(entity: &Entity) -> Text {
    let message = header_section(entity);
    let mut plain = String::new();
    for (name, value) in message.fields() {
        plain.extend([name, ": ", &value, "\n"]);
    }
    let cut = plain.len() > entity.max_text_bytes || is_section_cut(entity);
    plain.truncate(plain.floor_char_boundary(entity.max_text_bytes));
    let (folded, grew) = charset::fold_within(&plain, MAX_GROWTH);
    Text { folded, plain, charset: "UTF-8", guessed: false, truncated: cut || grew }
}

/// What of `entity` is needed to find the passwords it names, later: see [`shown_text`]. Copies no
/// content.
pub(super) fn outline(entity: &Entity) -> Entity {
    Entity {
        id: entity.id,
        parent: entity.parent,
        origin: entity.origin.clone(),
        role: entity.role,
        names: Vec::new(),
        declared: entity.declared.clone(),
        detected: entity.detected,
        confidence: entity.confidence,
        also: Vec::new(),
        size: entity.size,
        content: entity.content.clone(),
        encrypted: entity.encrypted,
        document: None,
        charset: entity.charset.clone(),
        part: entity.part,
        max_text_bytes: entity.max_text_bytes,
        text: OnceLock::new(),
        sha256: OnceLock::new(),
    }
}

/// What the reader is shown of a message (its subject) or a body.
pub(super) fn shown_text(entity: &Entity) -> Option<String> {
    if entity.role != Role::Message {
        return read(entity).map(|text| text.plain);
    }
    let message = header_section(entity);
    let mut fields = message.fields();
    let subject = fields.find(|(name, _)| name.eq_ignore_ascii_case("subject"));
    subject.map(|(_, value)| value)
}

fn header_section(entity: &Entity) -> Message {
    let bound = entity.content.len().min(MAX_HEADER_BYTES);
    let limits = Limits { max_entities: 1, ..Limits::default() };
    Message::parse(entity.content.slice(..bound), &limits)
}

/// Whether the header section goes on past what is read of it.
fn is_section_cut(entity: &Entity) -> bool {
    let head = entity.content.get(..MAX_HEADER_BYTES).unwrap_or_default();
    let has = |end: &[u8]| memchr::memmem::find(head, end).is_some();
    !head.is_empty() && !has(b"\r\n\r\n") && !has(b"\n\n") && !has(b"\r\r")
}

/// Whether reading `content` as text would leave some of it out.
pub(super) fn exceeds(content: &Bytes, limits: &Limits) -> bool {
    content.len() > limits.max_text_bytes
}
