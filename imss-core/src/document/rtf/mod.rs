//! Rich text (RTF 1.9.1): text by code page, fields, properties, and objects however they are hidden.
//!
//! In: octets that start with `{\rt`. Out: lines of text, links, objects and pictures as files.
//! Readers forgive nearly everything here, and exploits are written for that: heads that are cut,
//! control words between the digits of an object, lengths that lie. So does this reader; what a
//! scanner would stumble over is reported as [`ActiveKind::Obfuscation`].
//!
//! A group that does not end is reported once everything before is read. Linear.

mod data;
pub(super) mod field;
pub(super) mod html;
mod lex;
mod object;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;

use bytes::Bytes;

use self::data::Shelf;
use self::lex::{Lexer, Token};
use self::object::Digits;
use self::state::{AtEnd, Destination, Group, Value};
use self::text::{Lines, Pending};
use super::codepage::WESTERN;
use super::{Active, ActiveKind, Extractor, Link, LinkKind, Piece, TextKind, ruby};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// Groups that are told apart; deeper ones share the state of the last.
const MAX_DEPTH: usize = 4096;
/// Octets of a field's shown text that are kept as its label.
const LONGEST_LABEL: usize = 1024;
/// Octets of a field's instruction or a value.
const LONGEST_VALUE: usize = 64 << 10;
/// Octets after the document that are worth a report.
const TRAILING: usize = 64;
/// Pieces of one document; only hostile ones have more.
const MAX_PIECES: usize = 200_000;
/// Fonts of one document. Numbers of fonts past them mean the charset of the document.
const MAX_FONTS: usize = 65_536;

/// The extractor.
pub(super) struct Rtf;

impl Extractor for Rtf {
    fn name(&self) -> &'static str {
        "rtf"
    }

    fn recognises(&self, content: &[u8], _: &FileType, _: &[Member]) -> bool {
        let head = content.get(..content.len().min(64)).unwrap_or_default();
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        head.trim_ascii_start().starts_with(b"{\\rt")
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut pieces = 0_usize;
        let mut bounded = |piece: Piece| {
            pieces = pieces.saturating_add(1);
            if pieces <= MAX_PIECES || matches!(piece, Piece::Embedded(_)) {
                out(piece);
            }
        };
        let mut reader = Reader::new(budget, &mut bounded);
        reader.head(source.content);
        let result = reader.read(source.content);
        reader.finish(source.content)?;
        if pieces > MAX_PIECES {
            return Err(UnpackError::Limit(Limit::Text));
        }
        result
    }
}

/// A field being read.
#[derive(Default)]
struct Field {
    instruction: String,
    label: String,
}

struct Reader<'a, 'b> {
    shelf: Shelf<'a, 'b>,
    groups: Vec<Group>,
    /// Groups beyond [`MAX_DEPTH`].
    excess: usize,
    pending: Pending,
    lines: Lines,
    fields: Vec<Field>,
    values: Vec<String>,
    fonts: HashMap<i32, Option<u32>>,
    font: i32,
    default_font: i32,
    page: u32,
    is_starred: bool,
    /// Whether nothing of the group was read yet.
    is_fresh: bool,
    /// Octets to leave out after `\u`.
    skip: u32,
    property: String,
    shape: String,
    /// Where the outermost group ended.
    end: Option<usize>,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(budget: &'a mut Budget<'b>, out: &'a mut dyn FnMut(Piece)) -> Self {
        Self {
            shelf: Shelf::new(budget, out),
            groups: vec![Group::outermost()],
            excess: 0,
            pending: Pending::default(),
            lines: Lines::default(),
            fields: Vec::new(),
            values: Vec::new(),
            fonts: HashMap::new(),
            font: 0,
            default_font: 0,
            page: WESTERN,
            is_starred: false,
            is_fresh: false,
            skip: 0,
            property: String::new(),
            shape: String::new(),
            end: None,
        }
    }

    /// Honest writers all start alike.
    fn head(&mut self, content: &[u8]) {
        let known = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
        if !known.starts_with(b"{\\rtf") {
            let head = known.get(..known.len().min(12)).unwrap_or_default();
            let detail = format!("starts with {}", String::from_utf8_lossy(head));
            self.shelf.active(ActiveKind::Obfuscation, &detail);
        }
    }

    fn read(&mut self, content: &[u8]) -> Result<(), UnpackError> {
        let mut lexer = Lexer::new(content);
        let mut charged = 0_usize;
        let mut tokens = 0_u64;
        while let Some(token) = lexer.next() {
            tokens = tokens.saturating_add(1);
            if tokens.is_multiple_of(256) {
                let octets = lexer.position().saturating_sub(charged) as u64;
                charged = lexer.position();
                self.shelf.budget.charge_work(octets.saturating_mul(2).saturating_add(256 * 8))?;
            }
            self.token(token)?;
            let keeps = matches!(token, Token::LineEnd | Token::Symbol(b'*'));
            self.is_fresh = token == Token::Open || self.is_fresh && keeps;
            if self.groups.len() == 1 && token == Token::Close {
                self.end.get_or_insert(lexer.position());
                let rest = content.get(lexer.position()..).unwrap_or_default();
                if !rest.trim_ascii_start().starts_with(b"{\\") {
                    return Ok(());
                }
            }
        }
        if self.end.is_none() {
            let offset = content.len() as u64;
            return Err(UnpackError::Malformed { offset, detail: "the last group does not end" });
        }
        Ok(())
    }

    /// What is left when the octets are.
    fn finish(&mut self, content: &Bytes) -> Result<(), UnpackError> {
        self.flush();
        while self.groups.len() > 1 {
            self.close()?;
        }
        self.lines.finish(self.shelf.out);
        let Some(end) = self.end else { return Ok(()) };
        let rest = content.get(end..).unwrap_or_default();
        let blank = rest.iter().take_while(|octet| octet.is_ascii_whitespace() || **octet == 0);
        let start = end.saturating_add(blank.count());
        let rest = content.slice(start.min(content.len())..);
        if rest.len() > TRAILING {
            (self.shelf.out)(Piece::Anomaly {
                kind: AnomalyKind::TrailingData,
                offset: start as u64,
                detail: format!("{} octets after the document", rest.len()),
            });
            self.shelf.embed(vec!["appended".to_owned()], rest)?;
        }
        Ok(())
    }

    fn group(&self) -> Group {
        self.groups.last().copied().unwrap_or_else(Group::outermost)
    }

    fn change(&mut self, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.last_mut() {
            change(group);
        }
    }

    fn token(&mut self, token: Token<'_>) -> Result<(), UnpackError> {
        let skips = self.skip > 0 && !matches!(token, Token::Open | Token::Close | Token::LineEnd);
        match token {
            Token::Open | Token::Close => {
                self.skip = 0;
                self.flush();
                if token == Token::Open { self.open() } else { self.close()? }
            }
            Token::Text(text) if skips => {
                let count = text.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip = self.skip.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                self.octets(text.get(count..).unwrap_or_default());
            }
            _ if skips => self.skip = self.skip.saturating_sub(1),
            Token::Text(text) => self.octets(text),
            Token::Hex(octet) => match self.group().to {
                Destination::Object => self.shelf.digits().quoted(octet),
                Destination::Blob => {}
                _ => self.octets(&[octet]),
            },
            Token::Binary(octets) => match self.group().to {
                Destination::Object => self.shelf.digits().binary(octets),
                Destination::Blob => self.shelf.blob.binary(octets),
                _ => {}
            },
            Token::LineEnd => {
                if self.group().to == Destination::Object {
                    self.shelf.digits().line_end();
                }
            }
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::Word(word, parameter) => {
                self.flush();
                self.word(word, parameter)?;
            }
        }
        Ok(())
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'*' => {
                self.is_starred = true;
                return;
            }
            b'\\' | b'{' | b'}' => self.octets(&[symbol]),
            b'~' => self.octets(b" "),
            b'_' => self.octets(b"-"),
            b'\r' | b'\n' => {
                self.flush();
                self.lines.end(self.shelf.out);
            }
            b'\'' if self.group().to == Destination::Object => self.shelf.digits().trick(),
            _ => {}
        }
        self.is_starred = false;
    }

    fn open(&mut self) {
        if self.groups.len() >= MAX_DEPTH {
            self.excess = self.excess.saturating_add(1);
            self.shelf.budget.left_out("groups inside 4,096 groups");
            return;
        }
        let group = self.group();
        if group.to == Destination::Object {
            self.shelf.digits().trick();
        }
        let outer = if group.to == Destination::Skip { group.outer } else { group.to };
        self.groups.push(Group { at_end: AtEnd::Nothing, outer, ..group });
        self.is_starred = false;
    }

    fn close(&mut self) -> Result<(), UnpackError> {
        if self.excess > 0 {
            self.excess = self.excess.saturating_sub(1);
            return Ok(());
        }
        if self.groups.len() == 1 {
            return Ok(());
        }
        let Some(group) = self.groups.pop() else { return Ok(()) };
        let parent = self.group();
        let goes_on = parent.to == Destination::Object || parent.outer == Destination::Object;
        if group.to == Destination::Object && !goes_on {
            self.shelf.end_data()?;
        }
        match group.at_end {
            AtEnd::Nothing => {}
            AtEnd::Lines => self.lines.leave(self.shelf.out),
            AtEnd::Field => self.end_field(),
            AtEnd::Object => self.shelf.end_object(),
            AtEnd::Blob => self.shelf.end_blob()?,
            AtEnd::Value => self.end_value(group.to),
        }
        Ok(())
    }

    fn end_field(&mut self) {
        let Some(field) = self.fields.pop() else { return };
        if self.group().to == Destination::Instruction
            && let Some(text) = field::quoted(&field.instruction)
        {
            return self.text(&text);
        }
        let instruction = field.instruction.trim();
        if !instruction.is_empty() {
            field::pieces(instruction, &field.label, self.shelf.out);
            let text = instruction.to_owned();
            (self.shelf.out)(Piece::Text { kind: TextKind::Formula, text });
        }
        if let Some(base) = ruby::base(instruction) {
            self.text(&base);
        }
    }

    fn end_value(&mut self, to: Destination) {
        let (Some(value), Destination::Value(kind)) = (self.values.pop(), to) else { return };
        let value = value.trim().to_owned();
        if value.is_empty() {
            return;
        }
        let load = |target: &str| Link {
            kind: LinkKind::Load,
            target: target.to_owned(),
            label: String::new(),
        };
        match kind {
            Value::Property(name) => self.shelf.property(name, value),
            Value::Name => self.property = value,
            Value::Content => {
                let name = self.property.to_lowercase();
                self.shelf.property(&name, value);
            }
            Value::Template => {
                if field::is_remote(&value) {
                    self.shelf.active(ActiveKind::RemoteTemplate, &value);
                    (self.shelf.out)(Piece::Link(load(&value)));
                }
                self.shelf.property("template", value);
            }
            Value::Class => self.shelf.class(value),
            Value::Target => {
                (self.shelf.out)(Piece::Link(Link { kind: LinkKind::Click, ..load(&value) }));
            }
            Value::Shape => self.shape = value,
            Value::Drawn => match self.shape.as_str() {
                // CVE-2010-3333: the one shape property that is a known exploit.
                "pFragments" => {
                    self.shelf.active(ActiveKind::ExploitedClass, "shape property pFragments")
                }
                "pibName" if field::is_remote(&value) => {
                    self.shelf.active(ActiveKind::RemoteContent, &value);
                    (self.shelf.out)(Piece::Link(load(&value)));
                }
                "gtextUNICODE" | "wzDescription" => {
                    (self.shelf.out)(Piece::Text { kind: TextKind::Shown, text: value });
                }
                _ => {}
            },
            Value::Variable => self.say(TextKind::Formula, &value),
            Value::Commenter => self.say(TextKind::Comment, &value),
            Value::Revisers => {
                for name in value.split(';').filter(|&name| name != "Unknown") {
                    self.say(TextKind::Revision, name);
                }
            }
        }
    }

    /// A text of its own.
    fn say(&mut self, kind: TextKind, text: &str) {
        let text = text.trim().to_owned();
        if !text.is_empty() {
            (self.shelf.out)(Piece::Text { kind, text });
        }
    }

    /// Octets that stand for text, or for digits.
    fn octets(&mut self, octets: &[u8]) {
        let group = self.group();
        match group.to {
            Destination::Object => self.shelf.digits().text(octets, false),
            Destination::Skip if group.outer == Destination::Object => {
                self.shelf.digits().text(octets, true);
            }
            Destination::Blob => self.shelf.blob.digits(octets),
            Destination::Skip | Destination::Fonts => {}
            Destination::Body | Destination::Instruction | Destination::Value(_) => {
                let before = self.pending.octets(octets, group.page.unwrap_or(self.page));
                self.text(&before);
            }
        }
    }

    fn flush(&mut self) {
        let text = self.pending.take();
        self.text(&text);
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let group = self.group();
        let push = |value: &mut String, longest: usize| {
            let fits = value.len().saturating_add(text.len()) <= longest;
            if fits {
                value.push_str(text);
            }
            fits
        };
        let mut fits = true;
        match group.to {
            Destination::Instruction => {
                if let Some(field) = self.fields.last_mut() {
                    fits = push(&mut field.instruction, LONGEST_VALUE);
                }
            }
            Destination::Value(_) => {
                if let Some(value) = self.values.last_mut() {
                    fits = push(value, LONGEST_VALUE);
                }
            }
            Destination::Body => {
                if let Some(field) = self.fields.last_mut().filter(|_| group.is_result) {
                    push(&mut field.label, LONGEST_LABEL);
                }
                let kind = match group {
                    Group { is_comment: true, .. } => TextKind::Comment,
                    Group { is_deleted: true, .. } => TextKind::Revision,
                    Group { is_hidden: true, .. } => TextKind::Hidden,
                    _ => TextKind::Shown,
                };
                self.lines.push(kind, text, self.shelf.out);
            }
            _ => {}
        }
        if !fits {
            self.shelf.budget.left_out("a field or property past 64 KiB");
        }
    }

    fn word(&mut self, word: &[u8], parameter: Option<i32>) -> Result<(), UnpackError> {
        let is_starred = std::mem::take(&mut self.is_starred);
        let group = self.group();
        if group.to == Destination::Skip && word != b"ud" {
            // Objects and fields in groups that readers skip are read by some of them.
            if !matches!(word, b"objdata" | b"object") {
                return Ok(());
            }
        } else if group.to == Destination::Object && word != b"bin" {
            self.shelf.digits().trick();
        }
        if let Some((to, at_end)) = state::destination(word) {
            self.enter(word, to, at_end);
        } else if state::is_transparent(word) {
            match word {
                b"upr" => self.change(|group| {
                    group.outer = group.to;
                    group.to = Destination::Skip;
                }),
                b"ud" => self.change(|group| group.to = group.outer),
                b"fldrslt" => self.change(|group| {
                    group.is_result = true;
                    group.to =
                        if group.to == Destination::Skip { group.to } else { Destination::Body };
                }),
                b"result" => self.change(|group| group.to = Destination::Body),
                _ => {}
            }
        } else if is_starred && self.is_fresh {
            self.change(|group| group.to = Destination::Skip);
        } else if let Some(text) = state::character(word) {
            self.text(text);
        } else {
            self.format(word, parameter);
        }
        Ok(())
    }

    fn enter(&mut self, word: &[u8], to: Destination, at_end: AtEnd) {
        let group = self.group();
        if to == Destination::Object
            && (group.to == to || group.outer == to && group.to == Destination::Skip)
        {
            // The data of an object within itself: its digits go on.
            self.change(|group| group.to = to);
            return;
        }
        if group.at_end != AtEnd::Nothing {
            // A second destination in one group: the first one keeps its end.
            self.change(|group| group.to = to);
            if at_end != AtEnd::Value {
                return;
            }
            self.change(|group| group.to = Destination::Skip);
            return;
        }
        match at_end {
            AtEnd::Lines => self.lines.enter(),
            AtEnd::Field => self.fields.push(Field::default()),
            AtEnd::Object => self.shelf.start_object(),
            AtEnd::Value => self.values.push(String::new()),
            AtEnd::Blob => self.shelf.blob.start(word),
            AtEnd::Nothing => {}
        }
        // A field within a field's instruction is part of it.
        let keeps = at_end == AtEnd::Field && group.to == Destination::Instruction;
        self.change(|group| {
            group.at_end = at_end;
            group.to = if keeps { group.to } else { to };
            group.is_comment |= word == b"annotation";
            group.is_result &= at_end != AtEnd::Field;
        });
    }

    fn format(&mut self, word: &[u8], parameter: Option<i32>) {
        let is_on = parameter != Some(0);
        let number = parameter.unwrap_or_default();
        match word {
            b"par" | b"line" | b"cell" | b"nestcell" | b"row" | b"nestrow" | b"sect" | b"page"
            | b"column" | b"softline" => match self.group().to {
                Destination::Body => self.lines.end(self.shelf.out),
                _ => self.text(" "),
            },
            b"u" => {
                let unit = (number & 0xffff).unsigned_abs();
                let before = self.pending.unit(u16::try_from(unit).unwrap_or_default());
                self.text(&before);
                self.skip = self.group().fallback;
            }
            b"uc" => self.change(|group| group.fallback = number.unsigned_abs().min(64)),
            b"v" | b"webhidden" => self.change(|group| group.is_hidden = is_on),
            b"deleted" => self.change(|group| group.is_deleted = is_on),
            b"plain" => {
                let page = self.fonts.get(&self.default_font).copied().flatten();
                self.change(|group| (group.is_hidden, group.page) = (false, page));
            }
            b"ansi" => self.page = WESTERN,
            b"mac" => self.page = 10000,
            b"pc" => self.page = 437,
            b"pca" => self.page = 850,
            b"ansicpg" => self.page = number.unsigned_abs(),
            b"deff" => self.default_font = number,
            b"f" if self.group().to == Destination::Fonts => self.font = number,
            b"f" => {
                let page = self.fonts.get(&number).copied().flatten();
                self.change(|group| group.page = page);
            }
            b"fcharset" => self.charset(state::page_of_charset(number, self.page)),
            b"cpg" => self.charset(Some(number.unsigned_abs())),
            _ => self.shelf.word(word),
        }
    }

    fn charset(&mut self, page: Option<u32>) {
        if self.group().to != Destination::Fonts {
            return;
        }
        if self.fonts.len() < MAX_FONTS {
            self.fonts.insert(self.font, page);
        } else {
            self.shelf.budget.left_out("fonts past 65,536");
        }
    }
}
