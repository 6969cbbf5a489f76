//! Office documents in a single file: Flat OPC, Word 2003 XML, Excel 2003 XML, ActiveMime.
//!
//! In: an XML file that names one of their vocabularies, or an ActiveMime file. Out: what the same
//! document would give as a package; files stored in it as base64 are embedded.
//!
//! Broken XML is read as far as it goes; base64 that is none is left out as malformed.

mod active_mime;
mod spreadsheet;

use bytes::Bytes;

use super::ooxml::flow::{self, Mode};
use super::ooxml::rels::Relations;
use super::ooxml::styles::Styles;
use super::ooxml::{self, props_of};
use super::sink::{Sink, base64};
use super::xml::{self, Token, Xml};
use super::{Extractor, Piece, TextKind};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// What a document says that it is: the namespaces of the vocabularies.
const NAMES: [&[u8]; 3] = [
    b"schemas.microsoft.com/office/2006/xmlPackage",
    b"schemas.microsoft.com/office/word/2003/",
    b"urn:schemas-microsoft-com:office:spreadsheet",
];

/// Office documents in a single file.
pub(super) struct Flat;

impl Extractor for Flat {
    fn name(&self) -> &'static str {
        "office-xml"
    }

    fn recognises(&self, content: &[u8], _: &FileType, _: &[Member]) -> bool {
        if active_mime::is_it(content) {
            return true;
        }
        xml::is_xml_with(content, &NAMES)
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut sink = Sink::new(budget, out);
        if active_mime::is_it(source.content) {
            active_mime::read(source.content, "editdata.mso", &mut sink)?;
            return sink.finish();
        }
        let text = xml::decode(source.content, sink.budget)?;
        let root = xml::root(&text, sink.budget)?.unwrap_or_default();
        match root.as_str() {
            "package" => package(&text, &mut sink)?,
            "Workbook" => spreadsheet::read(&text, &mut sink)?,
            "wordDocument" => word(&text, &mut sink)?,
            _ => {}
        }
        sink.finish()
    }
}

/// Flat OPC (ECMA-376 part 2 has no chapter for it; MS-OE376 does): parts inline.
fn package(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let mut members: Vec<Member> = Vec::new();
    let (mut name, mut start, mut binary) = (String::new(), None, None::<String>);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => match tag.local() {
                "part" if start.is_none() => {
                    name = tag.attr("name").unwrap_or_default().into_owned()
                }
                "xmlData" if start.is_none() => start = Some((xml.depth(), xml.position())),
                "binaryData" if start.is_none() => binary = Some(String::new()),
                _ => {}
            },
            Token::Text(text) => {
                if let Some(binary) = &mut binary {
                    binary.push_str(&text);
                }
            }
            Token::End(end) => match end.local() {
                "xmlData" => {
                    let Some((depth, from)) = start else { continue };
                    if xml.depth() >= depth {
                        continue;
                    }
                    start = None;
                    let inside = text.get(from..xml.position()).unwrap_or_default();
                    let inside = inside.rfind("</").and_then(|end| inside.get(..end));
                    members.push(part(&name, inside.unwrap_or_default(), sink)?);
                }
                "binaryData" => {
                    let Some(content) = binary.take().as_deref().and_then(base64) else { continue };
                    sink.embedded(name.trim_start_matches('/'), content.into())?;
                }
                _ => {}
            },
        }
    }
    if let Some((_, from)) = start {
        members.push(part(&name, text.get(from..).unwrap_or_default(), sink)?);
    }
    sink.note(xml.finish())?;
    ooxml::read(&members, sink)
}

/// A part of a package as a member. It is no entity, since its text is that of the document.
fn part(name: &str, content: &str, sink: &mut Sink<'_, '_>) -> Result<Member, Limit> {
    let claimed_size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    sink.budget.charge_bytes(claimed_size)?;
    Ok(Member {
        names: vec![name.to_owned()],
        claimed_size,
        content: Bytes::copy_from_slice(content.as_bytes()),
        missing: None,
    })
}

/// Word 2003 XML: the text is that of a package's main part.
fn word(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut styles = Styles::default();
    styles.read_word(text, sink)?;
    let mode = Mode { kind: TextKind::Shown, is_master: false, is_drawing: false };
    let result = flow::read(text, mode, (&mut Relations::default(), &styles), sink);
    sink.note(result)?;
    props_of(text, "DocumentProperties", sink)?;
    files(text, sink)
}

/// Files inside: pictures, OLE storages, macro projects.
fn files(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let (mut name, mut data) = (String::new(), None::<String>);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) if tag.local() == "binData" => {
                name = tag.attr("name").unwrap_or_default().into_owned();
                data = Some(String::new());
            }
            Token::Text(text) => {
                if let Some(data) = &mut data {
                    data.push_str(&text);
                }
            }
            Token::End(end) if end.local() == "binData" => {
                let Some(content) = data.take().as_deref().and_then(base64) else { continue };
                let name = name.trim_start_matches("wordml://");
                if active_mime::is_it(&content) {
                    active_mime::read(&content, name, sink)?;
                } else {
                    sink.embedded(name, content.into())?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
