//! Address lists in files of their own: one pattern a line, `#` starts a comment.

use super::mistake::Mistake;
use super::reader::Sink;
use crate::address::AddressPattern;

/// Mistakes shown of one file; a wrong file would otherwise bury the rest.
const MAX_SHOWN: usize = 20;

/// What the lists of one policy gave.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) mistakes: Vec<Mistake>,
    /// File names and texts, for the policy's version.
    pub(super) texts: Vec<String>,
}

impl Lists {
    /// The patterns of one list.
    pub(super) fn read(&mut self, file: &str, text: &str) -> Vec<AddressPattern> {
        let mut patterns = Vec::new();
        let mut sink = Sink::new(file, text);
        let mut offset = 0_usize;
        let mut wrong = 0_usize;
        for raw in text.split_inclusive('\n') {
            let start = offset;
            offset = offset.saturating_add(raw.len());
            let line = raw.split('#').next().unwrap_or_default();
            let entry = line.trim_start_matches('\u{feff}').trim();
            if entry.is_empty() {
                continue;
            }
            match AddressPattern::parse(entry) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    wrong = wrong.saturating_add(1);
                    if wrong <= MAX_SHOWN {
                        let indent = line.find(entry).unwrap_or(0);
                        let from = start.saturating_add(indent);
                        let reason =
                            format!("`{}` is not an address: {error}", entry.escape_debug());
                        let remedy = "write one of name@example.com, *@example.com, \
                                      *@*.example.com or <> on a line";
                        sink.error(&(from..from.saturating_add(entry.len())), "", reason, remedy);
                    }
                }
            }
        }
        if wrong > MAX_SHOWN {
            let reason = format!("{} more lines are not addresses", wrong - MAX_SHOWN);
            sink.error(&(offset..offset), "", reason, "is this the right file?");
        }
        self.mistakes.append(&mut sink.mistakes);
        self.texts.push(text.to_owned());
        patterns
    }
}
