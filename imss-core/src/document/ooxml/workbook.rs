//! The parts of a workbook beside its sheets (ECMA-376 part 1, 18.2, 18.4, 18.13, 18.14).
//!
//! In: the workbook, shared strings, external links, connections. Out: the sheets with their states,
//! the strings, and facts.

use super::rels::Relations;
use crate::document::serial::FirstDay;
use crate::document::sink::Sink;
use crate::document::xml::{Tag, Token, Xml};
use crate::document::{ActiveKind, TextKind, formula};
use crate::limits::Limit;

/// Sheets of one workbook that are looked at by name.
const MAX_SHEETS: usize = 10_000;

/// A sheet as the workbook lists it.
pub(super) struct Sheet {
    pub(super) name: String,
    pub(super) hidden: bool,
    /// The relationship to its part.
    pub(super) id: String,
}

/// Reads the list of sheets and the defined names.
pub(super) fn read(
    text: &str,
    first_day: &mut FirstDay,
    sink: &mut Sink<'_, '_>,
) -> Result<Vec<Sheet>, Limit> {
    let mut xml = Xml::new(text);
    let mut sheets = Vec::new();
    let (mut name, mut value) = (None, String::new());
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) if tag.local() == "workbookPr" && tag.is("date1904") => {
                *first_day = FirstDay::In1904;
            }
            Token::Start(tag) if tag.local() == "sheet" && sheets.len() >= MAX_SHEETS => {
                sink.budget.left_out("names of sheets past 10,000");
            }
            Token::Start(tag) if tag.local() == "sheet" => {
                let state = tag.attr("state").unwrap_or_default().to_ascii_lowercase();
                let sheet = Sheet {
                    name: tag.attr("name").unwrap_or_default().into_owned(),
                    hidden: matches!(state.as_str(), "hidden" | "veryhidden"),
                    id: tag.prefixed("id").unwrap_or_default().into_owned(),
                };
                state_property(&sheet.name, &state, sink);
                sheets.push(sheet);
            }
            Token::Start(tag) if tag.local() == "definedName" => {
                name = tag.attr("name").map(std::borrow::Cow::into_owned);
                value.clear();
            }
            Token::Text(text) if name.is_some() => value.push_str(&text),
            Token::End(end) if end.local() == "definedName" => {
                if let Some(name) = name.take() {
                    defined_name(&name, &value, sink);
                }
            }
            _ => {}
        }
    }
    sink.note(xml.finish())?;
    Ok(sheets)
}

/// Tells that a sheet is hidden, and how.
pub(super) fn state_property(name: &str, state: &str, sink: &mut Sink<'_, '_>) {
    match state {
        "hidden" => sink.property("hidden-sheet", name),
        "veryhidden" => sink.property("very-hidden-sheet", name),
        _ => {}
    }
}

/// A name and what it stands for. Some names make macros run ([MS-XLS] 2.4.150).
pub(super) fn defined_name(name: &str, value: &str, sink: &mut Sink<'_, '_>) {
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_prefix("_xlnm.").unwrap_or(&lower);
    let starts = ["auto_open", "auto_close", "auto_activate", "auto_deactivate"];
    if starts.iter().any(|start| plain.starts_with(start)) {
        sink.active(ActiveKind::AutoRun, &format!("{name} {value}"));
    }
    if !value.is_empty() && !lower.starts_with("_xlnm.") {
        sink.text(TextKind::Formula, &format!("{name}={value}"));
        formula::report(value, sink);
    }
}

/// The shared strings, one after the other in one buffer.
#[derive(Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    /// The string with this number.
    pub(super) fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)?;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// Adds the next string.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Reads the part. Readings (`rPh`) are no part of the text.
    pub(super) fn read(&mut self, text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let mut xml = Xml::new(text);
        let (mut in_text, mut readings) = (false, 0_usize);
        while let Some(token) = xml.token(sink.budget)? {
            match token {
                Token::Start(tag) => match tag.local() {
                    "t" => in_text = readings == 0,
                    "rPh" => readings = readings.saturating_add(1),
                    _ => {}
                },
                Token::Text(text) if in_text => self.text.push_str(&text),
                Token::Text(_) => {}
                Token::End(end) => match end.local() {
                    "t" => in_text = false,
                    "rPh" => readings = readings.saturating_sub(1),
                    "si" => self.ends.push(self.text.len()),
                    _ => {}
                },
            }
        }
        sink.note(xml.finish())
    }
}

/// A link to another workbook, a DDE server or an OLE object (ECMA-376 part 1, 18.14).
pub(super) fn external_link(
    text: &str,
    relations: &Relations,
    sink: &mut Sink<'_, '_>,
) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        let Token::Start(tag) = token else { continue };
        match tag.local() {
            "ddeLink" => {
                let service = tag.attr("ddeService").unwrap_or_default();
                let topic = tag.attr("ddeTopic").unwrap_or_default();
                sink.active(ActiveKind::Dde, &format!("{service}|{topic}"));
            }
            "oleLink" => {
                let class = tag.attr("progId").unwrap_or_default();
                let id = tag.prefixed("id").unwrap_or_default();
                let target = relations.get(&id).map_or("", |relation| relation.target.as_str());
                sink.active(ActiveKind::OleLink, &format!("{class} {target}"));
            }
            _ => {}
        }
    }
    sink.note(xml.finish())
}

/// Where data comes from (ECMA-376 part 1, 18.13).
pub(super) fn connections(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        let Token::Start(tag) = token else { continue };
        connection(&tag, sink);
    }
    sink.note(xml.finish())
}

fn connection(tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
    let attr = |name| tag.attr(name).unwrap_or_default();
    match tag.local() {
        "connection" => {
            sink.property("connection", &attr("name"));
            let source = attr("sourceFile");
            if !source.is_empty() {
                sink.property("connection-file", &source);
            }
        }
        "webPr" => {
            let url = attr("url");
            if !url.is_empty() {
                sink.remote(ActiveKind::RemoteContent, "web query", &url);
            }
        }
        "dbPr" => {
            let (connection, command) = (attr("connection"), attr("command"));
            sink.active(ActiveKind::RemoteContent, &format!("query {connection} {command}"));
            sink.text(TextKind::Formula, &command);
        }
        "textPr" => {
            let source = attr("sourceFile");
            if source.contains("//") || source.starts_with("\\\\") {
                sink.remote(ActiveKind::RemoteContent, "text query", &source);
            }
        }
        _ => {}
    }
}
