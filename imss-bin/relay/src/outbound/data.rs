//! Turns content into what stands between DATA and the reply (RFC 5321 §4.5.2).
//!
//! In: the content in chunks, cut anywhere. Out: the same with each leading dot doubled, only CRLF as
//! line end, and CRLF `.` CRLF at the end. A bare LF becomes CRLF, and a bare CR a space: neither may
//! reach a server that takes it for a line end and would see the end of the data where we see none
//! (SMTP smuggling). A space, because CRLF could end a header section early or begin a field.

use memchr::memchr2;

/// The state between chunks.
#[derive(Debug)]
pub(super) struct Stuffer {
    at_line_start: bool,
    /// The last chunk ended in a CR, not yet written.
    pending_cr: bool,
}

impl Stuffer {
    pub(super) fn new() -> Self {
        Self { at_line_start: true, pending_cr: false }
    }

    /// Appends `chunk` to `out`.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        if self.pending_cr && !rest.is_empty() {
            self.pending_cr = false;
            match rest.strip_prefix(b"\n") {
                Some(after) => {
                    self.end_line(out);
                    rest = after;
                }
                None => out.push(b' '),
            }
        }
        while !rest.is_empty() {
            if self.at_line_start && rest.first() == Some(&b'.') {
                out.push(b'.');
            }
            self.at_line_start = false;
            rest = self.push_line(rest, out);
        }
    }

    /// Appends up to the next line end, and says what is left. What is already as it must be is
    /// copied in one piece, over as many lines as possible.
    fn push_line<'a>(&mut self, chunk: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let mut at = 0;
        loop {
            let tail = chunk.get(at..).unwrap_or_default();
            let Some(found) = memchr2(b'\r', b'\n', tail) else {
                out.extend_from_slice(chunk);
                return &[];
            };
            let end = at.saturating_add(found);
            let (good, from_end) = chunk.split_at_checked(end).unwrap_or((chunk, &[]));
            match from_end {
                // The line after begins with a dot, or is not here yet: the caller looks.
                [b'\r', b'\n', rest @ ..] if matches!(rest.first(), None | Some(b'.')) => {
                    out.extend_from_slice(good);
                    self.end_line(out);
                    return rest;
                }
                [b'\r', b'\n', ..] => at = end.saturating_add(2),
                [b'\r'] => {
                    out.extend_from_slice(good);
                    self.pending_cr = true;
                    return &[];
                }
                [b'\r', rest @ ..] => {
                    out.extend_from_slice(good);
                    out.push(b' ');
                    return rest;
                }
                [_, rest @ ..] => {
                    out.extend_from_slice(good);
                    self.end_line(out);
                    return rest;
                }
                [] => return &[],
            }
        }
    }

    /// Appends the end of the data.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        if self.pending_cr {
            self.end_line(out);
        }
        if !self.at_line_start {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.at_line_start = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
        chunks.into_iter().for_each(|chunk| stuffer.push(chunk, &mut out));
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn ends_and_dots() {
        let cases: [(&str, &str, &str); 17] = [
            ("empty", "", ".\r\n"),
            ("as it must be", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("no end of line at the end", "a", "a\r\n.\r\n"),
            ("a dot first", ".a\r\n", "..a\r\n.\r\n"),
            ("a dot alone", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("two dots", "\r\n..\r\n", "\r\n...\r\n.\r\n"),
            ("a dot inside", "a.b\r\n", "a.b\r\n.\r\n"),
            ("LF", "a\nb\n", "a\r\nb\r\n.\r\n"),
            ("LF dot LF", "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("LF dot CRLF", "a\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("CR dot CR", "a\r.\rb\r\n", "a . b\r\n.\r\n"),
            ("CRLF dot CR", "a\r\n.\rb\r\n", "a\r\n.. b\r\n.\r\n"),
            ("CRLF dot LF", "a\r\n.\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("CR CR LF", "a\r\r\n.\r\r\nb\r\n", "a \r\n.. \r\nb\r\n.\r\n"),
            ("CR at the end", "a\r", "a\r\n.\r\n"),
            ("CRLF CR at the end", "a\r\n\r", "a\r\n\r\n.\r\n"),
            ("NUL stays", "a\r\n\0.\r\n", "a\r\n\0.\r\n.\r\n"),
        ];
        for (name, input, expected) in cases {
            let whole = stuffed([input.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&whole), expected, "{name}");
            let bytewise = stuffed(input.as_bytes().chunks(1));
            assert_eq!(String::from_utf8_lossy(&bytewise), expected, "{name}, byte by byte");
        }
    }

    proptest! {
        #[test]
        fn exactly_one_end(
            pieces in proptest::collection::vec("[ab.\r\n\0]{0,12}", 0..8),
        ) {
            let out = stuffed(pieces.iter().map(String::as_bytes));
            prop_assert!(out.ends_with(b".\r\n"));
            let body = out.strip_suffix(b".\r\n").unwrap();
            prop_assert!(body.is_empty() || body.ends_with(b"\r\n"));
            let text = String::from_utf8(body.to_vec()).unwrap();
            let bare = text.replace("\r\n", "");
            prop_assert!(!bare.contains(['\r', '\n']), "{text:?}");
            for line in text.split("\r\n") {
                prop_assert!(line.is_empty() || !line.starts_with('.') || line.starts_with(".."));
            }
            prop_assert_eq!(stuffed([pieces.concat().as_bytes()]), out);
        }
    }
}
