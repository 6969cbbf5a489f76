//! Paragraphs and runs while they are read. In: text with its kind. Out: a line for each kind.

use crate::document::TextKind;
use crate::document::sink::Sink;

/// Text with the same properties.
#[derive(Default)]
pub(super) struct Run {
    pub(super) hidden: bool,
    pub(super) white: bool,
    pub(super) tiny: bool,
    pub(super) shaded: bool,
    /// The relationship that a click on it follows.
    pub(super) link: String,
    pub(super) label: String,
}

impl Run {
    /// Whether nobody sees it; `shaded` tells whether there is a colour behind it.
    pub(super) fn is_hidden(&self, shaded: bool) -> bool {
        self.hidden || self.tiny || self.white && !self.shaded && !shaded
    }
}

/// A line.
#[derive(Default)]
pub(super) struct Paragraph {
    pub(super) hidden: bool,
    pub(super) shaded: bool,
    parts: Vec<(TextKind, String)>,
}

impl Paragraph {
    /// Adds text to the line of its kind.
    pub(super) fn add(&mut self, kind: TextKind, text: &str) {
        match self.parts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, line)) => line.push_str(text),
            None => self.parts.push((kind, text.to_owned())),
        }
    }

    /// Hands over every line.
    pub(super) fn emit(self, sink: &mut Sink<'_, '_>) {
        for (kind, line) in self.parts {
            sink.text(kind, &line);
        }
    }
}
