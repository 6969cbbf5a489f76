//! Text as a reader sees it: runs of white space are one space, blocks are lines.
//!
//! In: text and line ends. Out: text of at most a given length, and whether there was more.

use memchr::memchr;

/// Collects text.
#[derive(Debug)]
pub(super) struct Writer {
    out: String,
    max: usize,
    space: bool,
    /// Something was written on this line.
    inside: bool,
}

impl Writer {
    pub(super) fn new(max: usize, capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), max, space: false, inside: false }
    }

    /// Appends text.
    pub(super) fn text(&mut self, text: &str) {
        if self.is_full() {
            return;
        }
        if memchr(0, text.as_bytes()).is_some() {
            return self.words(&text.replace('\0', ""));
        }
        self.words(text);
    }

    fn words(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0_usize;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            if length > 0 {
                if self.space && self.inside {
                    self.out.push(' ');
                }
                let end = at.saturating_add(length);
                self.out.push_str(text.get(at..end).unwrap_or_default());
                (self.space, self.inside) = (false, true);
            }
            self.space |= length < rest.len();
            at = at.saturating_add(length).saturating_add(1);
        }
    }

    /// White space.
    pub(super) fn space(&mut self) {
        self.space = true;
    }

    pub(super) fn new_line(&mut self) {
        if self.inside {
            self.out.push('\n');
        }
        (self.space, self.inside) = (false, false);
    }

    /// Where the next text is put.
    pub(super) fn position(&self) -> usize {
        self.out.len()
    }

    /// The text from `start` on.
    pub(super) fn since(&self, start: usize) -> &str {
        self.out.get(start..).unwrap_or_default()
    }

    /// Whether more text is dropped.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() > self.max
    }

    /// The text, and whether it was cut.
    pub(super) fn finish(mut self) -> (String, bool) {
        let cut = self.is_full();
        self.out.truncate(self.out.floor_char_boundary(self.max));
        (self.out, cut)
    }
}
