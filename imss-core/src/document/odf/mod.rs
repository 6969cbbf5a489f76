//! OpenDocument (ODF 1.3): text, spreadsheets, presentations, drawings; packages and flat files.
//!
//! In: the members that the zip unpacker found, or one flat XML file. Out: text in reading order,
//! properties, links, facts, Basic modules as code. Parts are known by their root element.
//!
//! Parts that the manifest calls encrypted (part 2, 4.8) are one missing file; what is readable
//! beside them is read.

mod content;
mod scripts;
mod style;

use bytes::Bytes;

use super::sink::Sink;
use super::xml::{self, Token, Xml};
use super::{Extractor, Piece};
use crate::archive::{Member, Missing, Source, UnpackError};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// OpenDocument.
pub(super) struct Odf;

impl Extractor for Odf {
    fn name(&self) -> &'static str {
        "odf"
    }

    fn recognises(&self, content: &[u8], detected: &FileType, members: &[Member]) -> bool {
        if members.is_empty() {
            return xml::is_xml_with(content, &[b"opendocument:xmlns:office"]);
        }
        let has = |wanted: &str| {
            members.iter().flat_map(|member| &member.names).any(|name| name == wanted)
        };
        has("content.xml")
            && (has("META-INF/manifest.xml")
                || has("mimetype")
                || has("styles.xml")
                || detected.media_type.contains("opendocument"))
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut sink = Sink::new(budget, out);
        if members.is_empty() {
            let text = xml::decode(source.content, sink.budget)?;
            part(&text, "", &mut sink)?;
            return sink.finish();
        }
        // Reading order: the body, then headers and footers, then what is about the document.
        for wanted in ["content.xml", "styles.xml", "meta.xml", "META-INF/manifest.xml"] {
            for (name, content) in named(members) {
                if name == wanted || name.ends_with(&format!("/{wanted}")) {
                    member(name, content, &mut sink)?;
                }
            }
        }
        for (name, content) in named(members) {
            scripts::member(name, content, &mut sink)?;
        }
        sink.finish()
    }
}

fn named(members: &[Member]) -> impl Iterator<Item = (&str, &Bytes)> {
    members.iter().filter_map(|member| Some((member.names.first()?.as_str(), &member.content)))
}

fn member(name: &str, content: &Bytes, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    if !xml::is_xml(content) {
        return Ok(());
    }
    let text = xml::decode(content, sink.budget)?;
    part(&text, name, sink)
}

/// One part, by its root element.
fn part(text: &str, name: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let root = xml::root(text, sink.budget)?.unwrap_or_default();
    match root.as_str() {
        "document-content" | "document-styles" => content::read(text, sink),
        "document-meta" => meta(text, sink),
        "document" => {
            meta(text, sink)?;
            scripts::flat(text, sink)?;
            content::read(text, sink)
        }
        "manifest" if name.ends_with("manifest.xml") => manifest(text, sink),
        _ => Ok(()),
    }
}

/// Properties (part 3, 4.3): every leaf of `office:meta`.
fn meta(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let (mut inside, mut name, mut value) = (false, String::new(), String::new());
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => match tag.local() {
                "meta" => inside = true,
                "template" if inside => {
                    let target = tag.attr("href").unwrap_or_default();
                    sink.property("template", &target);
                }
                "auto-reload" if inside => {
                    let target = tag.attr("href").unwrap_or_default();
                    if !target.is_empty() {
                        sink.remote(super::ActiveKind::Redirect, "auto-reload", &target);
                    }
                }
                "user-defined" => {
                    name = tag.attr("name").unwrap_or_default().into_owned();
                    value.clear();
                }
                local => {
                    name = local.to_owned();
                    value.clear();
                }
            },
            Token::Text(text) if inside => value.push_str(&text),
            Token::Text(_) => {}
            Token::End(end) if end.local() == "meta" => break,
            Token::End(_) if inside => {
                sink.property(if name == "creator" { "author" } else { &name }, &value);
                value.clear();
            }
            Token::End(_) => {}
        }
    }
    sink.note(xml.finish())
}

/// Encrypted entries of the manifest.
fn manifest(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let (mut path, mut size, mut encrypted) = (String::new(), 0, None);
    while let Some(token) = xml.token(sink.budget)? {
        let Token::Start(tag) = token else { continue };
        match tag.local() {
            "file-entry" => {
                path = tag.attr("full-path").unwrap_or_default().into_owned();
                size = tag.attr("size").and_then(|size| size.parse().ok()).unwrap_or(0);
            }
            "encryption-data" if encrypted.is_none() || path == "content.xml" => {
                encrypted = Some((path.clone(), size));
            }
            _ => {}
        }
    }
    sink.note(xml.finish())?;
    let Some((path, claimed_size)) = encrypted else { return Ok(()) };
    let detail = "an OpenDocument password is needed".to_owned();
    sink.missing(Member {
        names: vec![path],
        claimed_size,
        content: Bytes::new(),
        missing: Some(Missing { reason: GapReason::Encrypted, detail }),
    })
}

#[cfg(test)]
mod tests;
