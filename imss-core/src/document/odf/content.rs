//! The body of an OpenDocument file, and its page styles (ODF 1.3 part 3, 4 to 10, 14).
//!
//! In: `content.xml`, `styles.xml` or a flat file. Out: paragraphs, or rows of cells as lines, told
//! apart by how a reader meets them; links, objects, DDE, events. One pass; repeated rows and cells
//! are read once.

use super::style::Styles;
use crate::document::sink::{Sink, base64};
use crate::document::xml::{Tag, Token, Xml};
use crate::document::{ActiveKind, LinkKind, TextKind, formula};
use crate::limits::Limit;

/// Blanks that `text:s` may stand for.
const MAX_BLANKS: usize = 100;
/// Links inside each other.
const MAX_LINKS: usize = 16;
/// Octets of a link's label.
const MAX_LABEL: usize = 1 << 10;

/// Reads one part.
pub(super) fn read(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut body = Body {
        styles: Styles::default(),
        frames: Vec::new(),
        lines: vec![Line::default()],
        links: Vec::new(),
        row: None,
        data: None,
        author: None,
        in_sheets: false,
    };
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => body.start(&tag, sink),
            Token::Text(text) => {
                sink.budget.charge_work(u64::try_from(body.frames.len()).unwrap_or(u64::MAX))?;
                body.text(&text);
            }
            Token::End(end) => body.end(end.local(), sink)?,
        }
    }
    while let Some(line) = body.lines.pop() {
        line.emit(sink);
    }
    if let Some(row) = body.row.take() {
        row.emit(sink);
    }
    sink.note(xml.finish())
}

/// What an open element means for the text inside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Plain,
    /// Its text is of this kind.
    Kind(TextKind),
    /// Its text counts for nothing: scripts, settings, properties.
    Muted,
}

/// A line for each kind of text.
#[derive(Default)]
struct Line {
    parts: Vec<(TextKind, String)>,
}

impl Line {
    fn add(&mut self, kind: TextKind, text: &str) {
        match self.parts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, line)) => line.push_str(text),
            None => self.parts.push((kind, text.to_owned())),
        }
    }

    /// Adds another line as a cell.
    fn cell(&mut self, other: Self) {
        for (kind, text) in other.parts {
            if self.parts.iter().any(|(known, line)| *known == kind && !line.is_empty()) {
                self.add(kind, "\t");
            }
            self.add(kind, &text);
        }
    }

    fn emit(self, sink: &mut Sink<'_, '_>) {
        for (kind, text) in self.parts {
            sink.text(kind, &text);
        }
    }
}

struct Body {
    styles: Styles,
    frames: Vec<Frame>,
    lines: Vec<Line>,
    links: Vec<(String, String)>,
    /// The row of a spreadsheet.
    row: Option<Line>,
    /// Base64 of an embedded file.
    data: Option<String>,
    /// Who wrote a comment or a change.
    author: Option<String>,
    /// Tables are sheets, whose names are shown.
    in_sheets: bool,
}

impl Body {
    fn start(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        self.styles.start(tag);
        let frame = self.frame(tag, sink);
        self.frames.push(frame);
        match tag.local() {
            "p" | "h" => self.lines.push(Line::default()),
            "s" => {
                let count = tag.attr("c").and_then(|count| count.parse().ok()).unwrap_or(1);
                self.add(&" ".repeat(MAX_BLANKS.min(count)));
            }
            "tab" => self.add("\t"),
            "line-break" => self.add("\n"),
            "a" if self.links.len() >= MAX_LINKS => {
                sink.budget.left_out("links inside 16 links");
            }
            "a" => {
                let target = tag.attr("href").unwrap_or_default().into_owned();
                self.links.push((target, String::new()));
            }
            "binary-data" => self.data = Some(String::new()),
            "table-row" if self.row.is_none() => self.row = Some(Line::default()),
            "spreadsheet" => self.in_sheets = true,
            "table" if self.in_sheets => {
                sink.text(self.kind(), &tag.attr("name").unwrap_or_default());
            }
            "creator" => self.author = Some(String::new()),
            "help-message" | "error-message" => {
                sink.text(TextKind::Comment, &tag.attr("title").unwrap_or_default());
            }
            _ => {}
        }
        object(tag, sink);
    }

    fn frame(&self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) -> Frame {
        let style = || {
            let name = tag.attr("style-name");
            self.styles.hides(name.as_deref())
        };
        match tag.local() {
            "p" | "h" | "span" | "a" | "ruby-base" => {
                if style() {
                    Frame::Kind(TextKind::Hidden)
                } else {
                    Frame::Plain
                }
            }
            // What stands for a picture where it cannot be shown.
            "title" | "desc" if tag.prefix() == "svg" => Frame::Kind(TextKind::Hidden),
            "annotation" | "notes" | "help-message" | "error-message" => {
                Frame::Kind(TextKind::Comment)
            }
            "tracked-changes" | "deletion" | "change-info" => Frame::Kind(TextKind::Revision),
            "hidden-text" | "hidden-paragraph" => {
                let text = tag.attr("string-value").unwrap_or_default();
                sink.text(TextKind::Hidden, &text);
                Frame::Kind(TextKind::Hidden)
            }
            "section" | "table" | "page" => {
                let off = matches!(tag.attr("display").as_deref(), Some("none" | "condition"));
                let hidden = off || style();
                if hidden && tag.local() == "table" {
                    sink.property("hidden-sheet", &tag.attr("name").unwrap_or_default());
                }
                if hidden { Frame::Kind(TextKind::Hidden) } else { Frame::Plain }
            }
            "table-row" | "table-column" => {
                let seen = matches!(tag.attr("visibility").as_deref(), None | Some("visible"));
                if seen { Frame::Plain } else { Frame::Kind(TextKind::Hidden) }
            }
            "meta" | "scripts" | "settings" | "binary-data" | "ruby-text" | "number-style" => {
                Frame::Muted
            }
            _ => Frame::Plain,
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(data) = &mut self.data {
            return data.push_str(text);
        }
        if let Some(author) = &mut self.author {
            return author.push_str(text);
        }
        // Between paragraphs there is only white space.
        if self.lines.len() > 1 {
            self.add(text);
        }
    }

    fn add(&mut self, text: &str) {
        if self.frames.contains(&Frame::Muted) {
            return;
        }
        for (_, label) in &mut self.links {
            let room = MAX_LABEL.saturating_sub(label.len());
            label.push_str(crate::document::sink::cut(text, room));
        }
        let kind = self.kind();
        if let Some(line) = self.lines.last_mut() {
            line.add(kind, text);
        }
    }

    /// The kind of the innermost element that has one; comments stay comments.
    fn kind(&self) -> TextKind {
        let mut kinds = self.frames.iter().rev().filter_map(|frame| match frame {
            Frame::Kind(kind) => Some(*kind),
            _ => None,
        });
        kinds.next().unwrap_or(TextKind::Shown)
    }

    fn end(&mut self, local: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        match local {
            "p" | "h" if self.lines.len() > 1 => {
                if let Some(line) = self.lines.pop() {
                    match &mut self.row {
                        Some(row) => row.cell(line),
                        None => line.emit(sink),
                    }
                }
            }
            "creator" => {
                let author = self.author.take().unwrap_or_default();
                if !self.frames.contains(&Frame::Muted) {
                    sink.text(self.kind(), &author);
                }
            }
            "spreadsheet" => self.in_sheets = false,
            "a" => {
                if let Some((target, label)) = self.links.pop() {
                    self.link(&target, &label, sink);
                }
            }
            "table-row" => {
                if let Some(row) = self.row.take() {
                    row.emit(sink);
                }
            }
            "binary-data" => {
                let data = self.data.take().unwrap_or_default();
                if let Some(octets) = base64(&data).filter(|octets| !octets.is_empty()) {
                    sink.embedded("", octets.into())?;
                }
            }
            _ => {}
        }
        self.frames.pop();
        Ok(())
    }

    fn link(&self, target: &str, label: &str, sink: &mut Sink<'_, '_>) {
        if is_script(target) {
            sink.active(ActiveKind::Script, &format!("click {target}"));
        } else {
            sink.link(LinkKind::Click, target, label);
        }
    }
}

/// Objects, DDE, events, formulas.
fn object(tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
    let attr = |name| tag.attr(name).unwrap_or_default();
    match tag.local() {
        "table-cell" | "covered-table-cell" => {
            if let Some(formula) = tag.attr("formula") {
                sink.text(TextKind::Formula, &formula);
                formula::report(&formula, sink);
            }
        }
        "dde-source" | "dde-connection-decl" => {
            let command =
                format!("{}|{}!{}", attr("dde-application"), attr("dde-topic"), attr("dde-item"));
            sink.active(ActiveKind::Dde, &command);
        }
        "event-listener" | "event" => {
            let (event, target) = (attr("event-name"), attr("href"));
            let target = if target.is_empty() { attr("macro-name") } else { target };
            sink.active(event_kind(&event), &format!("{event} {target}"));
        }
        "image" | "fill-image" | "background-image" => outside(tag, "image", sink),
        "object" | "object-ole" => {
            let target = attr("href");
            if is_outside(&target) {
                sink.remote(ActiveKind::OleLink, "linked object", &target);
            }
        }
        "floating-frame" | "plugin" | "applet" | "section-source" | "table-source"
        | "cell-range-source" | "audio" | "sound" => outside(tag, tag.local(), sink),
        "form" if is_outside(&attr("href")) => {
            sink.link(LinkKind::Submit, &attr("href"), "");
            sink.active(ActiveKind::Form, &attr("href"));
        }
        "database-row-source" | "database-table" => {
            sink.active(ActiveKind::RemoteContent, &format!("query {}", attr("database-name")));
        }
        "named-range" | "named-expression" => {
            let (name, range) = (attr("name"), attr("cell-range-address"));
            let value = if range.is_empty() { attr("expression") } else { range };
            sink.text(TextKind::Formula, &format!("{name}={value}"));
            formula::report(&value, sink);
        }
        "content-validation" => sink.text(TextKind::Formula, &attr("condition")),
        "user-field-decl" | "variable-set" => {
            sink.text(TextKind::Hidden, &attr("string-value"));
        }
        _ => {}
    }
}

fn outside(tag: &Tag<'_>, what: &str, sink: &mut Sink<'_, '_>) {
    let target = tag.attr("href").unwrap_or_default();
    if is_outside(&target) {
        sink.remote(ActiveKind::RemoteContent, what, &target);
    }
}

/// Whether a target is outside the package: it has a scheme, or goes up from it.
fn is_outside(target: &str) -> bool {
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    has_scheme && !target.starts_with("data:")
        || target.starts_with("../")
        || target.starts_with('/')
        || target.starts_with("\\\\")
}

fn is_script(target: &str) -> bool {
    let target = target.to_ascii_lowercase();
    target.starts_with("vnd.sun.star.script:") || target.starts_with("macro:")
}

/// Events of the document or the page run by themselves, those of a shape by a click.
fn event_kind(event: &str) -> ActiveKind {
    let name = event.rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
    let by_itself = [
        "load",
        "unload",
        "open",
        "new",
        "start",
        "close",
        "save",
        "activate",
        "deactivate",
        "focus",
        "blur",
        "mouseover",
        "mousemove",
        "mouseout",
        "print",
        "modify",
        "create",
    ];
    if by_itself.iter().any(|start| name.contains(start)) {
        ActiveKind::AutoRun
    } else {
        ActiveKind::Script
    }
}
