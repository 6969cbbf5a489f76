//! A TOML document that is read key by key, and collects what is wrong with it.
//!
//! In: the text. Out: values by key, each checked by the caller's closure. Every mistake is kept
//! with its place and reading goes on, so that all are reported at once. Keys nobody asked for are
//! mistakes: their nearest known name is the remedy.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use imss_policy::{Mistake, Mistakes, Severity};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A document and its mistakes.
pub(super) struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    root: DeTable<'a>,
    mistakes: RefCell<Vec<(usize, Mistake)>>,
}

/// What is wrong with a value, and what to write instead.
pub(super) struct Wrong {
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// One table of the document.
pub(super) struct Table<'r, 'a> {
    reader: &'r Reader<'a>,
    table: Option<&'r DeTable<'a>>,
    /// The table's key with a dot after it; empty for the root.
    prefix: String,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
    open: Cell<bool>,
}

/// One value of the document.
pub(super) struct Value<'r, 'a> {
    pub(super) reader: &'r Reader<'a>,
    pub(super) key: String,
    value: &'r DeValue<'a>,
    pub(super) span: Range<usize>,
}

impl Wrong {
    pub(super) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl<'a> Reader<'a> {
    /// Reads `text` as TOML as far as it goes.
    pub(super) fn new(text: &'a str, name: &'a str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let reader = Self { name, text, root: root.into_inner(), mistakes: RefCell::default() };
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            reader.report(span, "", error.message(), Some("write valid TOML 1.1 here"));
        }
        reader
    }

    /// The whole document.
    pub(super) fn root(&self) -> Table<'_, 'a> {
        Table::new(self, Some(&self.root), String::new(), 0..0)
    }

    /// Keeps a mistake at octets `span` of the text.
    pub(super) fn report(
        &self,
        span: Range<usize>,
        key: &str,
        reason: impl Into<String>,
        remedy: Option<&str>,
    ) {
        let start = self.text.floor_char_boundary(span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let column = self.text.get(line_start..start).map_or(0, |text| text.chars().count());
        let marked = self.text.get(start..self.text.ceil_char_boundary(span.end));
        let marked = marked.and_then(|text| text.lines().next()).map_or(0, |t| t.chars().count());
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mistake = Mistake {
            severity: Severity::Error,
            file: self.name.to_owned(),
            line: small(before.matches('\n').count().saturating_add(1)),
            column: small(column.saturating_add(1)),
            length: small(marked.max(1)),
            key: key.to_owned(),
            reason: reason.into(),
            remedy: remedy.map(str::to_owned),
            text: line.to_owned(),
        };
        self.mistakes.borrow_mut().push((span.start, mistake));
    }

    /// `value`, if there was no mistake.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Mistakes> {
        let mut mistakes = self.mistakes.into_inner();
        // What stands in a line that is not TOML is guesswork: its first mistake says it all.
        mistakes.sort_by_key(|(start, mistake)| (mistake.line, !mistake.key.is_empty(), *start));
        mistakes
            .dedup_by(|(_, later), (_, first)| later.line == first.line && first.key.is_empty());
        if mistakes.is_empty() {
            return Ok(value);
        }
        Err(Mistakes(mistakes.into_iter().map(|(_, mistake)| mistake).collect()))
    }
}

impl<'r, 'a> Table<'r, 'a> {
    fn new(
        reader: &'r Reader<'a>,
        table: Option<&'r DeTable<'a>>,
        prefix: String,
        span: Range<usize>,
    ) -> Self {
        Self { reader, table, prefix, span, known: RefCell::default(), open: Cell::new(false) }
    }

    /// Whether the document has it.
    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Reports that `key` is missing, if it is.
    pub(super) fn require(&self, key: &'static str, example: &str) {
        if self.value(key).is_none() {
            let remedy = format!("add `{key} = {example}`");
            let whole = format!("{}{key}", self.prefix);
            self.reader.report(
                self.span.clone(),
                &whole,
                format!("`{key}` is missing"),
                Some(&remedy),
            );
        }
    }

    /// Reports that the value of `key` is wrong, if there is one.
    pub(super) fn wrong(&self, key: &'static str, reason: &str, remedy: &str) {
        if let Some(value) = self.value(key) {
            value.accept::<()>(|_| Err(Wrong::new(reason, remedy)));
        }
    }

    /// The value of `key`, if it is there and `check` likes it.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        check: impl FnOnce(&Value<'r, 'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.value(key)?;
        value.accept(check)
    }

    /// The elements of the list at `key` that `check` likes.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        check: impl Fn(&Value<'r, 'a>) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let elements = value.accept(Value::elements)?;
        Some(elements.iter().filter_map(|element| element.accept(&check)).collect())
    }

    /// The table at `key`; one without keys if there is none.
    pub(super) fn table(&self, key: &'static str) -> Table<'r, 'a> {
        let value = self.value(key);
        let inner = value.as_ref().and_then(|value| value.accept(Value::as_table));
        let span = value.map_or(0..0, |value| value.span);
        Table::new(self.reader, inner, format!("{}{key}.", self.prefix), span)
    }

    /// The tables of the list at `key` (`[[key]]`), if there is one.
    pub(super) fn tables(&self, key: &'static str) -> Option<Vec<Table<'r, 'a>>> {
        let value = self.value(key)?;
        let elements = value.accept(Value::elements)?;
        let tables = elements.into_iter().filter_map(|element| {
            let table = element.accept(Value::as_table)?;
            Some(Table::new(self.reader, Some(table), format!("{}.", element.key), element.span))
        });
        Some(tables.collect())
    }

    /// Every key with its value, for tables whose keys are names.
    pub(super) fn entries(&self) -> Vec<(&'r str, Range<usize>, Value<'r, 'a>)> {
        self.open.set(true);
        let entries = self.table.into_iter().flatten().map(|(name, value)| {
            let name_text: &'r str = name.get_ref();
            let key = format!("{}{name_text}", self.prefix);
            (name_text, name.span(), Value::new(self.reader, key, value))
        });
        entries.collect()
    }

    fn value(&self, key: &'static str) -> Option<Value<'r, 'a>> {
        self.known.borrow_mut().push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value::new(self.reader, format!("{}{key}", self.prefix), value))
    }
}

impl Drop for Table<'_, '_> {
    /// Whatever nobody asked for is a mistake.
    fn drop(&mut self) {
        let known = self.known.get_mut();
        for (name, _) in self.table.into_iter().flatten() {
            let text: &str = name.get_ref();
            if self.open.get() || known.contains(&text) {
                continue;
            }
            let nearest = known
                .iter()
                .map(|key| (distance(key, text), key))
                .min()
                .filter(|(distance, key)| *distance <= 1.max(key.len() / 3));
            let remedy = match nearest {
                Some((_, key)) => format!("did you mean `{key}`?"),
                None => format!("known keys are {}", known.join(", ")),
            };
            let key = format!("{}{text}", self.prefix);
            self.reader.report(name.span(), &key, format!("unknown key `{text}`"), Some(&remedy));
        }
    }
}

impl<'r, 'a> Value<'r, 'a> {
    fn new(reader: &'r Reader<'a>, key: String, value: &'r Spanned<DeValue<'a>>) -> Self {
        Self { reader, key, value: value.get_ref(), span: value.span() }
    }

    /// What `check` makes of the value; its objection is kept as a mistake.
    pub(super) fn accept<T>(&self, check: impl FnOnce(&Self) -> Result<T, Wrong>) -> Option<T> {
        check(self)
            .map_err(|Wrong { reason, remedy }| {
                self.reader.report(self.span.clone(), &self.key, reason, Some(&remedy));
            })
            .ok()
    }

    pub(super) fn text(&self) -> Result<&'r str, Wrong> {
        self.value.as_str().ok_or_else(|| self.mismatch("a string", "\"…\""))
    }

    pub(super) fn flag(&self) -> Result<bool, Wrong> {
        self.value.as_bool().ok_or_else(|| self.mismatch("true or false", "true"))
    }

    /// A whole number in `range`.
    pub(super) fn number(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, Wrong> {
        let integer =
            self.value.as_integer().ok_or_else(|| self.mismatch("a whole number", "10"))?;
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let bounds = format!("write a number from {} to {}", range.start(), range.end());
                Wrong::new("number out of range", bounds)
            })
    }

    /// Whether it is a whole number.
    pub(super) fn is_number(&self) -> bool {
        self.value.is_integer()
    }

    fn elements(&self) -> Result<Vec<Value<'r, 'a>>, Wrong> {
        let array: &'r DeArray<'a> =
            self.value.as_array().ok_or_else(|| self.mismatch("a list", "[…]"))?;
        let element =
            |(index, value)| Value::new(self.reader, format!("{}[{index}]", self.key), value);
        Ok(array.iter().enumerate().map(element).collect())
    }

    fn as_table(&self) -> Result<&'r DeTable<'a>, Wrong> {
        self.value.as_table().ok_or_else(|| self.mismatch("a table", "[…] with keys below it"))
    }

    fn mismatch(&self, expected: &str, example: &str) -> Wrong {
        Wrong::new(
            format!("expected {expected}, found {}", self.value.type_str()),
            format!("write {expected}, such as `{example}`"),
        )
    }
}

/// Insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (place, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *place;
            left = left.saturating_add(1).min(above.saturating_add(1));
            left = left.min(diagonal.saturating_add(usize::from(from != to)));
            diagonal = above;
            *place = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("listen", "listne", 2), ("tls", "tsl", 2), ("x", "xy", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
