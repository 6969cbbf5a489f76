//! Everything found in one file, as text for people: used by the golden test of documents and by
//! the example `entities`.
//!
//! In: a file's octets and name. Out: its types, members, document formats, text by kind (the first
//! 300 characters and the length), properties, links, active facts, anomalies and gaps. All content
//! is escaped.

use std::fmt::Write as _;

use imss_core::document::TextKind;
use imss_core::entity::{Entities, Entity};
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

const KINDS: [TextKind; 5] =
    [TextKind::Shown, TextKind::Hidden, TextKind::Comment, TextKind::Revision, TextKind::Formula];

/// What is in `content`, sent as an attachment named `name`. A name in `.eml` is a message itself,
/// one in `.b64` is of content that is in base64 already.
#[must_use]
pub(crate) fn list(name: &str, content: &[u8]) -> String {
    let limits = Limits::default();
    let is_message = name.ends_with(".eml");
    let raw = if is_message { content.to_vec() } else { attached(name, content) };
    let message = Message::parse(raw.into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    show(&entities, usize::from(!is_message))
}

/// All entities but the first `skipped`, then what is wrong with them.
fn show(entities: &Entities, skipped: usize) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    for entity in entities.iter().skip(skipped) {
        let _ = describe(&mut out, entities, entity);
    }
    for anomaly in entities.anomalies() {
        let path = entities.path(anomaly.entity);
        let _ = writeln!(out, "anomaly {:?} in {path}: {}", anomaly.kind, anomaly.detail);
    }
    for gap in entities.gaps() {
        let (path, reason) = (entities.path(gap.entity), gap.reason);
        let _ = writeln!(out, "gap {reason:?} in {path}, {}: {}", gap.engine, gap.detail);
    }
    out
}

/// A message with nothing but one attachment.
fn attached(name: &str, content: &[u8]) -> Vec<u8> {
    let (name, encoded) = match name.strip_suffix(".b64") {
        Some(name) => (name, content.to_vec()),
        None => (name, base64(content)),
    };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\%".contains(c) { c } else { '_' })
        .collect();
    let mut raw = format!(
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{plain}\"\r\n\r\n"
    )
    .into_bytes();
    raw.extend(encoded);
    raw
}

/// Base64 in lines of 76 characters (RFC 2045 §6.8).
fn base64(content: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for line in content.chunks(57) {
        for three in line.chunks(3) {
            let octet = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
            let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
            for place in 0..4 {
                let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
                let filled = place <= three.len();
                out.push(DIGITS.get(digit).copied().filter(|_| filled).unwrap_or(b'='));
            }
        }
        out.extend(b"\r\n");
    }
    out
}

fn describe(out: &mut String, entities: &Entities, entity: &Entity) -> std::fmt::Result {
    let also: String = entity.also.iter().map(|kind| format!(" + {}", kind.media_type)).collect();
    let encrypted = if entity.encrypted { " encrypted" } else { "" };
    let digest: String =
        entity.sha256().iter().take(4).map(|octet| format!("{octet:02x}")).collect();
    writeln!(
        out,
        "{} {}\n  {:?} {}{also} ({:?}), {} octets, {digest}{encrypted}",
        entity.id,
        entities.path(entity.id),
        entity.origin,
        entity.detected.media_type,
        entity.confidence,
        entity.size,
    )?;
    if entity.names.len() > 1 {
        writeln!(out, "  names {:?}", entity.names)?;
    }
    let Some(document) = &entity.document else {
        return text(out, "text", entity.text().map_or("", |text| &text.folded));
    };
    writeln!(out, "  read by {}", document.formats.join(", "))?;
    for kind in KINDS {
        let pieces = document.texts.iter().filter(|(other, _)| *other == kind);
        let all: Vec<&str> = pieces.map(|(_, text)| text).collect();
        text(out, &format!("{kind:?}").to_lowercase(), &all.join("\n"))?;
    }
    for (name, value) in &document.properties {
        writeln!(out, "  property {name} = {}", start(value))?;
    }
    for link in &document.links {
        writeln!(out, "  link {:?} {} {}", link.kind, start(&link.target), start(&link.label))?;
    }
    for active in &document.active {
        writeln!(out, "  active {:?} {}", active.kind, start(&active.detail))?;
    }
    Ok(())
}

fn text(out: &mut String, kind: &str, all: &str) -> std::fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {kind} ({} characters): {}", all.chars().count(), start(all))
}

fn start(text: &str) -> String {
    let start: String = text.chars().take(300).collect();
    format!("{start:?}")
}
