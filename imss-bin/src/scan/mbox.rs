//! An mbox (RFC 4155) → its messages, one in memory at a time.
//!
//! A message ends at an empty line before a `From ` line with a date, or at the end. `>From `
//! lines lose one `>` (the mboxrd convention, which is also right for most mboxo files).

use std::io::{self, BufRead};

use super::classify::is_separator;

/// The messages of an mbox. After an error nothing follows.
pub(crate) struct Messages<R> {
    reader: R,
    /// The separator of the next message was read already.
    at_message: bool,
    ended: bool,
}

impl<R: BufRead> Messages<R> {
    /// Starts at a separator.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, at_message: false, ended: false }
    }

    fn next_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut message, mut line) = (Vec::new(), Vec::new());
        let mut after_blank = true;
        loop {
            line.clear();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                self.ended = true;
                break;
            }
            if after_blank && is_separator(&line) {
                if self.at_message {
                    break;
                }
                self.at_message = true;
                continue;
            }
            after_blank = line.trim_ascii_end().is_empty();
            message.extend_from_slice(unescaped(&line));
        }
        let found = self.at_message;
        self.at_message = !self.ended;
        // The empty line before a separator belongs to the mbox, not to the message.
        for end in [b"\r\n\r\n".as_slice(), b"\n\n"] {
            if message.ends_with(end) {
                message.truncate(message.len().saturating_sub(end.len() / 2));
                break;
            }
        }
        Ok(found.then_some(message))
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_message();
        self.ended |= next.is_err();
        next.transpose()
    }
}

/// Without one `>` if the line is `From ` after any number of them.
fn unescaped(line: &[u8]) -> &[u8] {
    match line.strip_prefix(b">") {
        Some(rest) if rest.trim_ascii_start().len() == rest.len() => {
            let bare = rest.iter().position(|byte| *byte != b'>').and_then(|at| rest.get(at..));
            if bare.is_some_and(|bare| bare.starts_with(b"From ")) { rest } else { line }
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "From a@example.com Thu Jan  1 00:00:00 1970\n";

    fn split(mbox: &str) -> Vec<String> {
        let messages = Messages::new(mbox.as_bytes());
        messages.map(|message| String::from_utf8(message.unwrap()).unwrap()).collect()
    }

    #[test]
    fn messages_come_apart() {
        let cases: [(&str, String, &[&str]); 7] = [
            ("one", format!("{FROM}A: b\n\nx\n\n"), &["A: b\n\nx\n"]),
            (
                "two",
                format!("{FROM}A: b\n\nx\n\n{FROM}C: d\n\ny\n"),
                &["A: b\n\nx\n", "C: d\n\ny\n"],
            ),
            (
                "no empty line before",
                format!("{FROM}A: b\n\nx\n{FROM}y"),
                &[&format!("A: b\n\nx\n{FROM}y")],
            ),
            ("prose", format!("{FROM}A: b\n\nFrom now on\n"), &["A: b\n\nFrom now on\n"]),
            (
                "escaped",
                format!("{FROM}A: b\n\n>From x\n>>From y\n> From z\n"),
                &["A: b\n\nFrom x\n>From y\n> From z\n"],
            ),
            ("an empty message", format!("{FROM}{FROM}A: b\n\n"), &["", "A: b\n"]),
            ("nothing", String::new(), &[]),
        ];
        for (name, mbox, expected) in cases {
            assert_eq!(split(&mbox), expected, "{name}");
        }
    }
}
