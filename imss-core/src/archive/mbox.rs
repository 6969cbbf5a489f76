//! Mailbox files (RFC 4155): messages one after another.
//!
//! In: text that starts with a `From ` line. Out: one member per message, sharing the file's octets,
//! without that line. A `From ` line begins a message after an empty line, or anywhere if a date
//! stands in it: readers differ in that, and looking at both costs nothing.

use bytes::Bytes;
use memchr::memmem;

use super::share::Share;
use super::{Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::limits::Budget;

/// The mailbox format.
pub(super) struct Mbox;

impl Unpacker for Mbox {
    fn name(&self) -> &'static str {
        "mbox"
    }

    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool {
        detected.media_type == "application/mbox" && content.starts_with(b"From ")
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let mut share = Share { content, budget, out };
        let mut start = line_end(content, 0);
        for found in memmem::find_iter(content, b"\nFrom ") {
            share.budget.charge_work(16)?;
            let line = found.saturating_add(1);
            if !begins_message(content, line) {
                continue;
            }
            share.member(Vec::new(), start as u64, line.saturating_sub(start) as u64)?;
            start = line_end(content, line);
        }
        let size = content.len().saturating_sub(start) as u64;
        share.member(Vec::new(), start as u64, size)
    }
}

fn begins_message(content: &[u8], line: usize) -> bool {
    let before = content.get(..line).unwrap_or_default();
    let after_empty = before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
    let text = content.get(line..line_end(content, line)).unwrap_or_default();
    let text = text.get(..text.len().min(256)).unwrap_or_default();
    let days: [&[u8]; 7] = [b" Mon ", b" Tue ", b" Wed ", b" Thu ", b" Fri ", b" Sat ", b" Sun "];
    let has_date = || {
        days.iter().any(|day| memmem::find(text, day).is_some())
            && text.iter().filter(|&&octet| octet == b':').count() >= 2
    };
    after_empty || has_date()
}

/// Where the line after the one at `at` starts.
fn line_end(content: &[u8], at: usize) -> usize {
    let rest = content.get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest)
        .map_or(content.len(), |end| at.saturating_add(end).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn messages_are_split() {
        let cases: [(&str, &str, &[&str]); 3] = [
            (
                "two",
                "From a Mon\nA: 1\n\nx\n\nFrom b\nB: 2\n\ny\n",
                &[":A: 1\n\nx\n\n", ":B: 2\n\ny\n"],
            ),
            ("quoted text", "From a\nA: 1\n\nx\nFrom here on\n", &[":A: 1\n\nx\nFrom here on\n"]),
            (
                "no empty line, but a date",
                "From a\nA: 1\n\nx\nFrom b@c Mon Jan  1 00:00:00 2024\nB: 2\n",
                &[":A: 1\n\nx\n", ":B: 2\n"],
            ),
        ];
        for (name, text, expected) in cases {
            let found = unpack(&Mbox, text.as_bytes().to_vec(), &Limits::small());
            assert_eq!(found.texts(), expected, "{name}");
        }
    }
}
