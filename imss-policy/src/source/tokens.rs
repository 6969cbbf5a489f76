//! Tokens in texts: unknown ones are probably misspelt.

use super::reader::{Sink, Value};
use super::suggest;
use crate::apply::TOKENS;

/// Notes every `%WORD%` of `text` that stands for nothing.
pub(super) fn check(sink: &mut Sink<'_>, found: &Value<'_>, path: &str, text: &str) {
    let mut parts = text.split('%').skip(1).peekable();
    while let Some(word) = parts.next() {
        let is_token = |c: char| c.is_ascii_uppercase() || c == '_';
        let closed = parts.peek().is_some();
        if !closed || word.is_empty() || !word.chars().all(is_token) {
            continue;
        }
        if TOKENS.contains(&word) {
            parts.next();
            continue;
        }
        let near = suggest::among("token", word, &TOKENS);
        let remedy = near.replace('`', "%");
        sink.warn(&found.span(), path, format!("`%{word}%` stands for nothing"), &remedy);
    }
}
