//! An entity's content → its text.
//!
//! In: an entity. Out: decoded and folded text, markup removed, or nothing if it is not text. Both
//! the octets read and the text made are bounded by the limits; what was cut is said.

use bytes::Bytes;

use super::{Entity, Origin, Role};
use crate::charset::{self, Text};
use crate::document::html;
use crate::filetype::TypeGroup;
use crate::limits::Limits;
use crate::message::Message;

/// How much of an attached message is read for its header section.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The text of `entity`.
pub(super) fn read(entity: &Entity) -> Option<Text> {
    if entity.origin == Origin::Attached {
        return Some(header_text(entity));
    }
    if !is_text(entity) {
        return None;
    }
    let bound = entity.content.len().min(entity.max_text_bytes);
    let octets = entity.content.get(..bound).unwrap_or_default();
    let page = is_page(entity);
    let own = if page && entity.charset.is_none() { html::declared_charset(octets) } else { None };
    let decoded = charset::decode(octets, entity.charset.as_deref().or(own.as_deref()));
    let (plain, cut) = if page {
        html::to_text(&decoded.text, entity.max_text_bytes)
    } else {
        (decoded.text, false)
    };
    Some(Text {
        folded: charset::fold(&plain),
        plain,
        charset: decoded.charset,
        guessed: decoded.guessed,
        truncated: cut || bound < entity.content.len(),
    })
}

/// Whether [`read`] gives text.
pub(super) fn is_text(entity: &Entity) -> bool {
    let group = entity.detected.group;
    let declared = entity.declared.as_deref().unwrap_or_default();
    let plain = matches!(
        group,
        TypeGroup::Text | TypeGroup::Html | TypeGroup::Script | TypeGroup::Shortcut
    );
    let said_so = declared.starts_with("text/") || declared.starts_with("message/");
    let may_be = plain || (matches!(group, TypeGroup::Other | TypeGroup::Message) && said_so);
    let holds_octets = !matches!(entity.role, Role::Message | Role::Multipart);
    holds_octets && !entity.content.is_empty() && (may_be || entity.role == Role::Body)
}

fn is_page(entity: &Entity) -> bool {
    let declared = entity.declared.as_deref();
    entity.detected.group == TypeGroup::Html
        || matches!(declared, Some("text/html" | "application/xhtml+xml"))
}

/// The decoded fields, one a line.
fn header_text(entity: &Entity) -> Text {
    let bound = entity.content.len().min(MAX_HEADER_BYTES);
    let limits = Limits { max_entities: 1, ..Limits::default() };
    let message = Message::parse(entity.content.slice(..bound), &limits);
    let mut plain = String::new();
    for (name, value) in message.fields() {
        plain.extend([name, ": ", &value, "\n"]);
    }
    let truncated = plain.len() > entity.max_text_bytes;
    plain.truncate(plain.floor_char_boundary(entity.max_text_bytes));
    Text { folded: charset::fold(&plain), plain, charset: "UTF-8", guessed: false, truncated }
}

/// Whether reading `content` as text would leave some of it out.
pub(super) fn exceeds(content: &Bytes, limits: &Limits) -> bool {
    content.len() > limits.max_text_bytes
}
