//! Flowing text: WordprocessingML, DrawingML and VML (ECMA-376 part 1, 17 and 21; part 4, 14).
//!
//! In: one part and what it points to. Out: its paragraphs, told apart by how a reader meets them,
//! fields, links and objects. One pass; elements are known by their local names, which these
//! languages use alike (`p`, `r`, `t`).

use std::collections::HashSet;

use super::field;
use super::paragraph::{Paragraph, Run};
use super::rels::Relations;
use super::styles::Styles;
use crate::archive::UnpackError;
use crate::document::sink::Sink;
use crate::document::xml::{Tag, Token, Xml};
use crate::document::{ActiveKind, TextKind, ruby};

/// Fields inside each other.
const MAX_FIELDS: usize = 64;
/// Octets of a label or a field's result that are kept.
const MAX_LABEL: usize = 4 << 10;
/// What is left out past [`MAX_FIELDS`].
const NESTED: &str = "fields and links inside 64 others";
/// Octets of a field's instruction.
const MAX_INSTRUCTION: usize = 64 << 10;

/// Authors of comments and changes that are kept.
const MAX_AUTHORS: usize = 1_000;

/// How a part is read.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// How a reader meets its text.
    pub(crate) kind: TextKind,
    /// A slide master or layout: text of placeholders is only a prompt to authors.
    pub(crate) is_master: bool,
    /// A VML drawing, whose text stands in HTML elements.
    pub(crate) is_drawing: bool,
}

/// Reads one part.
pub(crate) fn read(
    text: &str,
    mode: Mode,
    (relations, styles): (&mut Relations, &Styles),
    sink: &mut Sink<'_, '_>,
) -> Result<(), UnpackError> {
    let mut flow = Flow {
        mode,
        relations,
        styles,
        paragraphs: vec![Paragraph::default()],
        runs: vec![Run::default()],
        shapes: Vec::new(),
        fields: Vec::new(),
        links: Vec::new(),
        choices: Vec::new(),
        muted: 0,
        deleted: 0,
        phonetic: 0,
        table: 0,
        cells: Vec::new(),
        textbox: 0,
        reading: Reading::Nothing,
        authors: HashSet::new(),
    };
    let mut xml = Xml::new(text);
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => flow.start(&tag, sink),
            Token::End(end) => flow.end(end.local(), sink),
            Token::Text(text) => {
                sink.budget.charge_work(flow.open())?;
                flow.text(&text);
            }
        }
    }
    flow.finish(sink);
    xml.finish()
}

/// Which element the text being read is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Text,
    Deleted,
    Instruction,
}

/// A field that has begun.
struct Field {
    instruction: String,
    result: String,
    in_result: bool,
    /// Its instruction goes on.
    is_cut: bool,
}

/// A link that has begun.
struct OpenLink {
    id: String,
    target: String,
    label: String,
}

/// A shape, and what its properties say.
#[derive(Default)]
struct Shape {
    hidden: bool,
    prompts: bool,
}

/// Alternatives of the same content (ECMA-376 part 3, 7.5).
struct Choice {
    has_text: bool,
    understood: bool,
}

struct Flow<'a> {
    mode: Mode,
    relations: &'a mut Relations,
    styles: &'a Styles,
    paragraphs: Vec<Paragraph>,
    runs: Vec<Run>,
    shapes: Vec<Shape>,
    fields: Vec<Field>,
    links: Vec<OpenLink>,
    choices: Vec<Choice>,
    /// Elements open whose text was read in another form.
    muted: usize,
    deleted: usize,
    phonetic: usize,
    table: usize,
    /// Whether each open cell has a colour of its own.
    cells: Vec<bool>,
    textbox: usize,
    reading: Reading,
    /// Those who were named.
    authors: HashSet<String>,
}

impl Flow<'_> {
    fn start(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        match tag.local() {
            "t" => self.reading = Reading::Text,
            // The text of a comment on a slide, and who wrote those of a sheet.
            "text" | "author" if tag.prefix() != "v" => {
                self.reading = Reading::Text;
                self.paragraphs.push(Paragraph::default());
            }
            "delText" => self.reading = Reading::Deleted,
            "instrText" => self.reading = Reading::Instruction,
            "delInstrText" => self.reading = Reading::Deleted,
            "p" => self.paragraphs.push(Paragraph::default()),
            "r" | "fld" => self.runs.push(Run::default()),
            "tab" if self.reading == Reading::Nothing => self.inline(tag, '\t'),
            "ptab" => self.inline(tag, '\t'),
            "br" | "cr" => self.inline(tag, '\n'),
            "noBreakHyphen" => self.inline(tag, '-'),
            "sym" => self.symbol(tag),
            "tbl" => self.table = self.table.saturating_add(1),
            "tc" => self.cells.push(false),
            "comment" | "cmAuthor" | "ins" | "del" | "moveFrom" | "moveTo" => {
                self.author(tag, sink)
            }
            "rPrChange" | "pPrChange" => self.author(tag, sink),
            "rt" | "rPh" => self.phonetic = self.phonetic.saturating_add(1),
            "AlternateContent" => {
                self.choices.push(Choice { has_text: false, understood: true });
            }
            "Choice" | "Fallback" => self.alternative(tag),
            "fldChar" => self.field_char(tag, sink),
            "fldSimple" => self.begin_field(tag.attr("instr").as_deref(), true, sink),
            "hyperlink" | "hlink" => self.begin_link(tag, sink),
            "textbox" | "txbxContent" => self.textbox = self.textbox.saturating_add(1),
            _ => self.property(tag),
        }
        self.object(tag, sink);
    }

    /// Who wrote a comment or changed text, told once for each part.
    fn author(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        if matches!(tag.local(), "del" | "moveFrom") {
            self.deleted = self.deleted.saturating_add(1);
        }
        let name = if tag.local() == "cmAuthor" { "name" } else { "author" };
        let Some(author) = tag.attr(name).filter(|author| !author.is_empty()) else { return };
        if self.authors.contains(author.as_ref()) {
            return;
        }
        let is_comment = matches!(tag.local(), "comment" | "cmAuthor");
        sink.text(if is_comment { TextKind::Comment } else { TextKind::Revision }, &author);
        // Past them a name may be told twice.
        if self.authors.len() < MAX_AUTHORS {
            self.authors.insert(author.into_owned());
        }
    }

    /// Properties of runs, paragraphs, cells and shapes.
    fn property(&mut self, tag: &Tag<'_>) {
        let Some(run) = self.runs.last_mut() else { return };
        match tag.local() {
            "vanish" | "specVanish" => run.hidden = !tag.is_not("val"),
            "webHidden" => {}
            "rStyle" | "pStyle" => {
                let name = tag.attr("val").unwrap_or_default();
                if self.styles.is_hidden(&name) {
                    match self.paragraphs.last_mut() {
                        Some(paragraph) if tag.local() == "pStyle" => paragraph.hidden = true,
                        _ => run.hidden = true,
                    }
                }
            }
            "color" => run.white = tag.attr("val").is_some_and(|value| is_white(&value)),
            "sz" => {
                run.tiny = tag.attr("val").is_some_and(|value| matches!(&*value, "0" | "1" | "2"))
            }
            "highlight" => run.shaded = true,
            "shd" => self.shade(tag),
            "sp" | "pic" | "graphicFrame" | "cxnSp" | "grpSp" | "wsp" | "inline" | "anchor" => {
                self.shapes.push(Shape::default());
            }
            "cNvPr" | "docPr" => {
                if let Some(shape) = self.shapes.last_mut() {
                    shape.hidden |= tag.is("hidden");
                }
            }
            "ph" => {
                if let Some(shape) = self.shapes.last_mut() {
                    shape.prompts = true;
                }
            }
            "textpath" => {
                let word_art = tag.attr("string").unwrap_or_default().into_owned();
                self.put(&word_art, Reading::Text);
            }
            _ => {}
        }
    }

    /// A background colour makes white text visible.
    fn shade(&mut self, tag: &Tag<'_>) {
        let fill = tag.attr("fill").unwrap_or_default();
        let clear = fill.is_empty() || fill.eq_ignore_ascii_case("auto") || is_white(&fill);
        let pattern = tag.attr("val").unwrap_or_default();
        if clear && matches!(&*pattern, "" | "clear" | "nil") && tag.attr("themeFill").is_none() {
            return;
        }
        if let Some(run) = self.runs.last_mut() {
            run.shaded = true;
        }
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.shaded = true;
        }
        if let Some(cell) = self.cells.last_mut() {
            *cell = true;
        }
    }

    /// Objects and actions.
    fn object(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        match tag.local() {
            "OLEObject" | "oleObj" | "oleObject" | "objectEmbed" | "objectLink" => {
                object_class(tag, sink);
            }
            "hlinkClick" | "hlinkHover" | "hlinkMouseOver" => self.action(tag, sink),
            "shape" | "rect" | "roundrect" | "oval" | "line" | "polyline" | "image" | "group" => {
                if let Some(target) = tag.attr("href") {
                    sink.link(crate::document::LinkKind::Click, &target, "");
                }
            }
            // An animation that opens an embedded object without a click.
            "cmd" if tag.attr("type").as_deref() == Some("verb") => {
                sink.active(ActiveKind::AutoRun, "an animation opens an embedded object");
            }
            "docVar" => sink.text(TextKind::Hidden, &tag.attr("val").unwrap_or_default()),
            _ => {}
        }
    }

    /// A click or a mouse movement on a shape or text (ECMA-376 part 1, 21.1.2.3.5).
    fn action(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        let id = tag.prefixed("id").unwrap_or_default().into_owned();
        let action = tag.attr("action").unwrap_or_default();
        let target = self.relations.get(&id).map_or("", |relation| relation.target.as_str());
        if action.starts_with("ppaction://program") {
            sink.active(ActiveKind::Launch, target);
        } else if action.starts_with("ppaction://macro") {
            sink.active(ActiveKind::Launch, &action);
        }
        if tag.local() != "hlinkClick" && !target.is_empty() {
            sink.active(ActiveKind::Launch, &format!("mouse over {target}"));
        }
        let in_run = self.runs.len() > 1;
        match self.runs.last_mut() {
            Some(run) if in_run => run.link = id,
            _ => self.relations.link(&id, "", sink),
        }
    }

    fn end(&mut self, local: &str, sink: &mut Sink<'_, '_>) {
        match local {
            "t" | "delText" | "instrText" | "delInstrText" => self.reading = Reading::Nothing,
            "text" | "author" => {
                self.reading = Reading::Nothing;
                self.end_paragraph(sink);
            }
            "p" | "div" => self.end_paragraph(sink),
            "r" | "fld" => self.end_run(sink),
            "tbl" => self.table = self.table.saturating_sub(1),
            "tc" => {
                self.cells.pop();
            }
            "moveFrom" | "del" => self.deleted = self.deleted.saturating_sub(1),
            "rt" | "rPh" => self.phonetic = self.phonetic.saturating_sub(1),
            "AlternateContent" => {
                let has_text = self.choices.pop().is_some_and(|choice| choice.has_text);
                if let Some(outer) = self.choices.last_mut() {
                    outer.has_text |= has_text;
                }
            }
            "Choice" | "Fallback" => self.muted = self.muted.saturating_sub(1),
            "fldSimple" => self.end_field(sink),
            "hyperlink" | "hlink" => self.end_link(sink),
            "textbox" | "txbxContent" => self.textbox = self.textbox.saturating_sub(1),
            "sp" | "pic" | "graphicFrame" | "cxnSp" | "grpSp" | "wsp" | "inline" | "anchor" => {
                self.shapes.pop();
            }
            _ => {}
        }
    }

    /// What is open around text, all of which is asked how it looks.
    fn open(&self) -> u64 {
        let open = self.shapes.len().saturating_add(self.links.len().saturating_mul(8));
        u64::try_from(open).unwrap_or(u64::MAX)
    }

    fn text(&mut self, text: &str) {
        match self.reading {
            Reading::Nothing if self.mode.is_drawing && self.textbox > 0 => {
                self.put(text.trim(), Reading::Text);
            }
            Reading::Nothing => {}
            reading => self.put(text, reading),
        }
    }

    fn inline(&mut self, tag: &Tag<'_>, character: char) {
        // `w:tab` in the paragraph's properties sets a tab stop.
        if tag.attr("pos").is_none() {
            self.put(character.encode_utf8(&mut [0; 4]), Reading::Text);
        }
    }

    /// A character of a symbol font; its private code point says nothing, so a letter is kept.
    fn symbol(&mut self, tag: &Tag<'_>) {
        let code = tag.attr("char").and_then(|hex| u32::from_str_radix(&hex, 16).ok());
        let code =
            code.map(|code| if (0xf000..=0xf0ff).contains(&code) { code - 0xf000 } else { code });
        if let Some(character) = code.and_then(char::from_u32) {
            self.put(character.encode_utf8(&mut [0; 4]), Reading::Text);
        }
    }

    /// Puts text where it belongs: a field, a link, a paragraph.
    fn put(&mut self, text: &str, reading: Reading) {
        let in_instruction = self.fields.last().is_some_and(|field| !field.in_result);
        if reading == Reading::Instruction || in_instruction && reading == Reading::Text {
            match self.fields.last_mut() {
                Some(field) => {
                    field.is_cut |= !append(&mut field.instruction, text, MAX_INSTRUCTION);
                }
                None => self.add(TextKind::Formula, text),
            }
            return;
        }
        if let Some(field) = self.fields.last_mut() {
            append(&mut field.result, text, MAX_LABEL);
        }
        if self.fields.iter().any(|field| !field.in_result) {
            return;
        }
        for link in &mut self.links {
            append(&mut link.label, text, MAX_LABEL);
        }
        if let Some(run) = self.runs.last_mut().filter(|run| !run.link.is_empty()) {
            append(&mut run.label, text, MAX_LABEL);
        }
        if let Some(choice) = self.choices.last_mut() {
            choice.has_text |= !text.trim().is_empty();
        }
        // Prompts to authors ("Click to edit") are in every presentation, and on no slide.
        let prompt = self.mode.is_master && self.shapes.iter().any(|shape| shape.prompts);
        if self.muted == 0 && self.phonetic == 0 && !prompt {
            self.add(self.kind(reading), text);
        }
    }

    fn add(&mut self, kind: TextKind, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.add(kind, text);
        }
    }

    /// How a reader meets the text being read.
    fn kind(&self, reading: Reading) -> TextKind {
        if reading == Reading::Deleted || self.deleted > 0 {
            return TextKind::Revision;
        }
        if self.mode.kind != TextKind::Shown {
            return self.mode.kind;
        }
        let run = self.runs.last();
        let paragraph = self.paragraphs.last();
        // What a table or a text box looks like is the matter of styles.
        let shaded = self.table > 0
            || self.textbox > 0
            || self.cells.last() == Some(&true)
            || paragraph.is_some_and(|paragraph| paragraph.shaded);
        let hidden = run.is_some_and(|run| run.is_hidden(shaded))
            || paragraph.is_some_and(|paragraph| paragraph.hidden)
            || self.shapes.iter().any(|shape| shape.hidden);
        if hidden { TextKind::Hidden } else { TextKind::Shown }
    }

    /// One of several forms of the same content: the first one that has text is read. One that asks
    /// for what nobody knows is not what programs show, so the next is read too.
    fn alternative(&mut self, tag: &Tag<'_>) {
        let Some(choice) = self.choices.last_mut() else { return };
        if choice.has_text && choice.understood || self.muted > 0 {
            self.muted = self.muted.saturating_add(1);
            return;
        }
        let requires = tag.attr("Requires").unwrap_or_default();
        choice.understood = requires.split_whitespace().all(is_known_extension);
    }

    fn field_char(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        match tag.attr("fldCharType").as_deref() {
            Some("begin") => self.begin_field(None, false, sink),
            Some("separate") => {
                if let Some(field) = self.fields.last_mut() {
                    field.in_result = true;
                }
            }
            Some("end") => self.end_field(sink),
            _ => {}
        }
    }

    fn begin_field(&mut self, instruction: Option<&str>, in_result: bool, sink: &mut Sink<'_, '_>) {
        if self.fields.len() < MAX_FIELDS {
            let instruction = instruction.unwrap_or_default().to_owned();
            self.fields.push(Field {
                instruction,
                result: String::new(),
                in_result,
                is_cut: false,
            });
        } else {
            sink.budget.left_out(NESTED);
        }
    }

    fn end_field(&mut self, sink: &mut Sink<'_, '_>) {
        let Some(field) = self.fields.pop() else { return };
        if field.is_cut {
            sink.budget.left_out("the instruction of a field past 64 KiB");
        }
        match self.fields.last_mut() {
            Some(outer) if !outer.in_result => {
                let value = field::value(&field.instruction, &field.result);
                outer.is_cut |= !append(&mut outer.instruction, &value, MAX_INSTRUCTION);
            }
            _ => {
                if let Some(base) = ruby::base(&field.instruction) {
                    self.put(&base, Reading::Text);
                }
            }
        }
        field::report(&field.instruction, &field.result, sink);
    }

    fn begin_link(&mut self, tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
        let id = tag.prefixed("id").unwrap_or_default().into_owned();
        let target = tag.attr("dest").unwrap_or_default().into_owned();
        if self.links.len() < MAX_FIELDS {
            self.links.push(OpenLink { id, target, label: String::new() });
        } else {
            sink.budget.left_out(NESTED);
        }
    }

    fn end_link(&mut self, sink: &mut Sink<'_, '_>) {
        let Some(link) = self.links.pop() else { return };
        self.relations.link(&link.id, &link.label, sink);
        sink.link(crate::document::LinkKind::Click, &link.target, &link.label);
    }

    fn end_run(&mut self, sink: &mut Sink<'_, '_>) {
        if self.runs.len() > 1
            && let Some(run) = self.runs.pop()
            && !run.link.is_empty()
        {
            self.relations.link(&run.link, &run.label, sink);
        }
    }

    fn end_paragraph(&mut self, sink: &mut Sink<'_, '_>) {
        match self.paragraphs.len() {
            0 | 1 => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    std::mem::take(paragraph).emit(sink);
                }
            }
            _ => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    paragraph.emit(sink);
                }
            }
        }
    }

    /// What a cut part leaves open.
    fn finish(mut self, sink: &mut Sink<'_, '_>) {
        while !self.fields.is_empty() {
            self.end_field(sink);
        }
        while !self.links.is_empty() {
            self.end_link(sink);
        }
        while let Some(paragraph) = self.paragraphs.pop() {
            paragraph.emit(sink);
        }
    }
}

/// The class of an embedded or linked object, as its container names it.
pub(super) fn object_class(tag: &Tag<'_>, sink: &mut Sink<'_, '_>) {
    let class = tag.attr("ProgID").or_else(|| tag.attr("progId")).unwrap_or_default();
    let lower = class.to_ascii_lowercase();
    if lower.starts_with("package") {
        sink.active(ActiveKind::OlePackage, &class);
    } else if lower.starts_with("equation.") || lower.starts_with("otkloadr") {
        sink.active(ActiveKind::ExploitedClass, &class);
    } else if lower.starts_with("shell.explorer") || lower.starts_with("htmlfile") {
        sink.active(ActiveKind::ActiveX, &class);
    }
}

/// Extensions of Office that current programs understand, by their usual prefixes.
fn is_known_extension(prefix: &str) -> bool {
    let known =
        ["w", "p", "x", "a", "c", "xr", "cx", "cr", "thm", "am", "pic", "sle", "ma", "adec"];
    let stem = prefix.trim_end_matches(|c: char| c.is_ascii_digit());
    let office = ["wps", "wpg", "wpc", "wpi", "wp", "aink", "v", "o", "ve", "iact", "psuz", "ppt"];
    let dated =
        ["w16se", "w16cid", "w16cex", "w16sdtdh", "w16du", "x14ac", "xr", "oel", "mv", "mo"];
    known.contains(&stem)
        || office.contains(&stem)
        || dated.contains(&prefix)
        || prefix.starts_with("w16")
        || prefix.starts_with("am3d")
}

fn is_white(value: &str) -> bool {
    value.trim_start_matches('#').eq_ignore_ascii_case("ffffff")
}

/// Adds what fits; tells whether that is everything.
fn append(text: &mut String, more: &str, max: usize) -> bool {
    let fitting = crate::document::sink::cut(more, max.saturating_sub(text.len()));
    text.push_str(fitting);
    fitting.len() == more.len()
}
