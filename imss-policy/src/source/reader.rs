//! Tables and values with their places: where every mistake is noted.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Severity};
use super::suggest;

/// A value with its place in the text.
pub(super) type Value<'d> = Spanned<DeValue<'d>>;

/// Collects mistakes in one text.
pub(super) struct Sink<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'t> Sink<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Self { file, text, line_starts, mistakes: Vec::new() }
    }

    /// Notes an error.
    pub(super) fn error(&mut self, span: &Range<usize>, key: &str, reason: String, remedy: &str) {
        self.note(Severity::Error, span, key, reason, remedy);
    }

    /// Notes something that works, but probably not as meant.
    pub(super) fn warn(&mut self, span: &Range<usize>, key: &str, reason: String, remedy: &str) {
        self.note(Severity::Warning, span, key, reason, remedy);
    }

    fn note(
        &mut self,
        severity: Severity,
        span: &Range<usize>,
        key: &str,
        reason: String,
        remedy: &str,
    ) {
        let line = self.line(span.start);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let characters = |range: Range<usize>| {
            let text = self.text.get(range).unwrap_or_default();
            u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
        };
        let line_end = start.saturating_add(text.len());
        self.mistakes.push(Mistake {
            severity,
            file: self.file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: characters(start..span.start.max(start)).saturating_add(1),
            length: characters(span.start..span.end.min(line_end).max(span.start)).max(1),
            key: key.to_owned(),
            reason,
            remedy: Some(remedy).filter(|remedy| !remedy.is_empty()).map(str::to_owned),
            text: text.to_owned(),
        });
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }
}

/// A table whose keys are taken one by one; what is left over is a mistake.
pub(super) struct Fields<'t, 'd> {
    table: &'t DeTable<'d>,
    /// The table's own key.
    pub(super) path: String,
    /// The table's place.
    pub(super) span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'t, 'd> Fields<'t, 'd> {
    pub(super) fn new(table: &'t DeTable<'d>, path: String, span: Range<usize>) -> Self {
        Self { table, path, span, known: Vec::new() }
    }

    /// The table in `value`, or a mistake.
    pub(super) fn of(sink: &mut Sink<'_>, value: &'t Value<'d>, path: &str) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(table, path.to_owned(), value.span())),
            other => {
                wrong_type(sink, value, path, "a table, written `{ key = value }`", other);
                None
            }
        }
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Value<'d>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The value of `key`, or a mistake if it is missing.
    pub(super) fn need(
        &mut self,
        sink: &mut Sink<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<&'t Value<'d>> {
        let value = self.take(key);
        if value.is_none() {
            let reason = format!("`{key}` is missing");
            sink.error(&self.span, &self.path, reason, &format!("add {example}"));
        }
        value
    }

    /// Whether it has no keys at all.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The key of a field of this table.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes every key that nobody took.
    pub(super) fn finish(self, sink: &mut Sink<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let reason = format!("unknown key `{}`", name.escape_debug());
            let remedy = suggest::among("key", name, &self.known);
            sink.error(&key.span(), &join(&self.path, name), reason, &remedy);
        }
    }
}

/// The path of a key below another.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key = if key.chars().all(plain) && !key.is_empty() {
        key.to_owned()
    } else {
        format!("\"{}\"", key.escape_debug())
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Notes a value of another type than `expected`.
pub(super) fn wrong_type(
    sink: &mut Sink<'_>,
    value: &Value<'_>,
    path: &str,
    expected: &str,
    found: &DeValue<'_>,
) {
    let found = match found {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    sink.error(&value.span(), path, format!("expected {expected}, found {found}"), "");
}
