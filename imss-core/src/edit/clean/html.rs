//! A page of HTML without scripts, event handlers, frames, plug-ins and what loads by itself.
//!
//! In: a page in any charset that extends ASCII. Out: the page with text, styles, pictures and links
//! kept; password fields become plain disabled ones. Rewriting is a stream; memory is bounded.
//! Styles lose expressions, bindings and imports with the attribute or element they are in.

use std::cell::RefCell;

use bytes::Bytes;
use encoding_rs::{UTF_8, WINDOWS_1252};
use lol_html::html_content::Element;
use lol_html::{
    AsciiCompatibleEncoding, HtmlRewriter, MemorySettings, Settings, doc_comments, element,
};

use super::{CleanError, Cleaned};

/// Elements that go with everything inside.
const DROPPED: [&str; 11] = [
    "script", "iframe", "frame", "frameset", "object", "embed", "applet", "portal", "bgsound",
    "animate", "set",
];
/// Those of them whose content a reader sees if they cannot run.
const FALLBACK: [&str; 3] = ["object", "applet", "frameset"];
/// Attributes that name a place.
const PLACES: [&str; 13] = [
    "href",
    "src",
    "action",
    "formaction",
    "data",
    "background",
    "poster",
    "srcdoc",
    "xlink:href",
    "srcset",
    "dynsrc",
    "lowsrc",
    "ping",
];
/// Schemes that run what follows.
const SCHEMES: [&str; 6] = ["javascript:", "vbscript:", "livescript:", "data:", "mhtml:", "file:"];
/// Memory for tags that do not end.
const MEMORY: usize = 16 << 20;

pub(super) fn clean(content: &Bytes) -> Result<Cleaned, CleanError> {
    if content.contains(&0) {
        return Err(CleanError::Unsupported("a page in UTF-16"));
    }
    // Octets are only copied, so any charset that extends ASCII does; escapes of ISO-2022-JP look like
    // markup to a rewriter and may to a reader.
    if memchr::memmem::find(content, b"\x1b$").is_some() {
        return Err(CleanError::Unsupported("a page in ISO-2022-JP"));
    }
    let encoding = if simdutf8::basic::from_utf8(content).is_ok() { UTF_8 } else { WINDOWS_1252 };
    let encoding = AsciiCompatibleEncoding::new(encoding)
        .ok_or(CleanError::Unsupported("a page in this charset"))?;
    let removed: RefCell<Vec<String>> = RefCell::new(Vec::new());
    let mut out = Vec::with_capacity(content.len());
    let elements = element!("*", |element| {
        visit(element, &mut removed.borrow_mut());
        Ok(())
    });
    let comments = doc_comments!(|comment| {
        // Old browsers read conditional comments.
        let text = comment.text().to_lowercase();
        if ["<script", "<object", "<iframe"].iter().any(|tag| text.contains(tag)) {
            removed.borrow_mut().push("a comment with code".to_owned());
            comment.remove();
        }
        Ok(())
    });
    let memory = MemorySettings::new().with_max_allowed_memory_usage(MEMORY);
    let settings = Settings::new()
        .append_element_content_handler(elements)
        .append_document_content_handler(comments)
        .with_encoding(encoding)
        .with_memory_settings(memory)
        .with_strict(false);
    let mut rewriter = HtmlRewriter::new(settings, |piece: &[u8]| out.extend_from_slice(piece));
    let broken = |_| CleanError::Malformed("the page cannot be rewritten");
    rewriter.write(content).map_err(broken)?;
    rewriter.end().map_err(broken)?;
    let removed = removed.into_inner();
    Ok(Cleaned { content: out.into(), removed })
}

fn visit(element: &mut Element<'_, '_>, removed: &mut Vec<String>) {
    let mut note = |what: String| {
        if removed.len() < 100 {
            removed.push(what);
        }
    };
    let tag = element.tag_name();
    let tag = tag.rsplit(':').next().unwrap_or_default().to_owned();
    if DROPPED.contains(&tag.as_str()) {
        note(format!("element {tag}"));
        if FALLBACK.contains(&tag.as_str()) {
            element.remove_and_keep_content();
        } else {
            element.remove();
        }
        return;
    }
    let attribute = |name: &str| element.get_attribute(name).unwrap_or_default().to_lowercase();
    let (equivalent, relation) = (attribute("http-equiv"), attribute("rel"));
    let is_refresh = tag == "meta" && equivalent.trim() == "refresh";
    let loads_code =
        tag == "link" && ["import", "modulepreload"].iter().any(|kind| relation.contains(kind));
    if is_refresh || loads_code {
        note(format!("element {tag} that loads by itself"));
        element.remove();
        return;
    }
    if tag == "input" && attribute("type").trim() == "password" {
        note("a password field".to_owned());
        let _ = element.set_attribute("type", "text");
        let _ = element.set_attribute("disabled", "disabled");
    }
    let names: Vec<(String, String)> =
        element.attributes().iter().map(|one| (one.name(), one.value())).collect();
    for (name, value) in names {
        if acts(&name, &value) {
            note(format!("attribute {name} of {tag}"));
            element.remove_attribute(&name);
        }
    }
}

/// Whether an attribute runs something, or loads something that is no picture.
fn acts(name: &str, value: &str) -> bool {
    let plain = decoded(value);
    match name {
        _ if name.starts_with("on") => true,
        "srcdoc" | "ping" => true,
        "style" => ["expression(", "behavior:", "-moz-binding", "@import", "javascript:"]
            .iter()
            .any(|sign| plain.contains(sign)),
        _ if PLACES.contains(&name) => SCHEMES.iter().any(|scheme| {
            plain.starts_with(scheme) && !plain.starts_with("data:image/")
                || plain.starts_with("data:image/svg")
        }),
        _ => false,
    }
}

/// A value as a browser takes it: references decoded, white space and control characters left out.
fn decoded(value: &str) -> String {
    let (text, _) = crate::document::html::to_text(&value.replace('<', " "), value.len());
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control())
        .flat_map(char::to_lowercase)
        .collect()
}
