//! TOML → [`Document`], with every mistake reported at once.
//!
//! In: a source text and a loader for the lists it names. Out: the model and warnings, or
//! [`Mistakes`]: file, line, column, key, reason and remedy of each. Nothing is guessed: an unknown
//! key is a mistake, never ignored.

mod actions;
mod authentication;
mod conditions;
mod lists;
mod mistake;
mod names;
mod objects;
mod reader;
mod rules;
mod suggest;
mod tokens;
mod value;

use imss_core::edit::Signed;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::model::{Condition, Document, Language, Test};
use names::Names;
use reader::{Fields, Sink};

pub use mistake::{Mistake, Mistakes, Severity};

/// Where a policy comes from.
pub struct Origin<'a> {
    /// The file name that mistakes show.
    pub name: &'a str,
    /// Reads the text of a list that the policy names with `file = "…"`; the error is for people.
    pub load: &'a dyn Fn(&str) -> Result<String, String>,
}

impl<'a> Origin<'a> {
    /// A text that names no files: naming one is a mistake.
    #[must_use]
    pub fn text(name: &'a str) -> Self {
        Self { name, load: &|_| Err("lists in files cannot be read here".to_owned()) }
    }
}

impl std::fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A policy that was read.
pub(crate) struct Read {
    pub(crate) document: Document,
    pub(crate) version: String,
    pub(crate) warnings: Vec<Mistake>,
}

/// Reads a whole policy.
pub(crate) fn read(text: &str, origin: &Origin<'_>) -> Result<Read, Mistakes> {
    let mut sink = Sink::new(origin.name, text);
    let mut lists = lists::Lists::default();
    let (top, errors) = DeTable::parse_recoverable(text);
    let syntax = syntax_errors(&mut sink, &errors);
    let fields = Fields::new(top.get_ref(), String::new(), 0..0);
    let before = sink.mistakes.len();
    let document = document(&mut sink, fields, origin, &mut lists);
    // Where the text is not TOML, what was read there is a guess of the parser.
    let mut place = 0_usize;
    sink.mistakes.retain(|mistake| {
        let line = usize::try_from(mistake.line).unwrap_or(usize::MAX);
        place = place.saturating_add(1);
        place <= before || !syntax.contains(&line)
    });
    sink.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    sink.mistakes.append(&mut lists.mistakes);
    if sink.mistakes.iter().any(|mistake| mistake.severity == Severity::Error) {
        return Err(Mistakes(sink.mistakes));
    }
    let version = version(text, &lists.texts);
    Ok(Read { document, version, warnings: sink.mistakes })
}

/// Notes where the text is not TOML and returns those lines. One open bracket makes every line
/// after it wrong, so of lines in a row only the first is shown.
fn syntax_errors(sink: &mut Sink<'_>, errors: &[toml::de::Error]) -> Vec<usize> {
    let mut lines: Vec<usize> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = sink.line(span.start);
        let follows = lines.last().is_some_and(|last| line <= last.saturating_add(1));
        if !follows {
            let remedy =
                "look for a bracket or quote that is not closed, here or on the lines above";
            sink.error(&span, "", format!("not TOML: {}", error.message()), remedy);
        }
        lines.push(line);
    }
    lines
}

fn document(
    sink: &mut Sink<'_>,
    mut top: Fields<'_, '_>,
    origin: &Origin<'_>,
    lists: &mut lists::Lists,
) -> Document {
    let mut document = Document::default();
    let mut names = Names::default();
    if let Some(list) = top.take("internal") {
        document.internal = value::one_or_more(sink, list, "internal", objects::domain);
    }
    if let Some(list) = top.take("internal-clients") {
        let networks = value::one_or_more(sink, list, "internal-clients", value::network);
        document.internal_clients = networks;
    }
    if let Some(found) = top.take("administrator") {
        document.administrator = value::mailbox(sink, found, "administrator");
        names.has_administrator = true;
    }
    document.languages = vec![Language::En, Language::Ja];
    if let Some(list) = top.take("languages") {
        let words = [("en", Language::En), ("ja", Language::Ja)];
        document.languages = value::one_or_more(sink, list, "languages", |sink, v, path| {
            value::word(sink, v, path, &words)
        });
    }
    if let Some(found) = top.take("spam-threshold") {
        document.spam_threshold = value::score(sink, found, "spam-threshold");
    }
    if let Some(found) = top.take("signed") {
        let words = [("keep", Signed::Keep), ("edit", Signed::Edit)];
        document.signed = value::word(sink, found, "signed", &words).unwrap_or_default();
    }
    objects::read(sink, &mut top, &mut names, &mut document, origin, lists);
    document.unknown = rules::unknown(sink, &mut names, &mut top);
    document.rules = rules::read(sink, &mut names, &mut top);
    top.finish(sink);
    if document.rules.iter().any(|rule| asks_for_points(&rule.when)) {
        names.use_all(names::Kind::DnsLists);
    }
    names.warn_unused(sink);
    document
}

/// Whether a condition needs everything that adds points, DNS lists among it.
fn asks_for_points(condition: &Condition) -> bool {
    match condition {
        Condition::All(inner) | Condition::Any(inner) => inner.iter().any(asks_for_points),
        Condition::Not(inner) => asks_for_points(inner),
        Condition::Test(test) => matches!(test, Test::Score(_) | Test::Verdict(_)),
    }
}

/// The first 64 bits of a digest over the text and its lists.
fn version(text: &str, lists: &[String]) -> String {
    let mut digest = Sha256::new();
    for part in std::iter::once(text).chain(lists.iter().map(String::as_str)) {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
