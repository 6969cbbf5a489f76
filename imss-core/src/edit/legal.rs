//! Makes what leaves legal: no line above 998 octets (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6), and no
//! octet above 127 for a server that does not take them (RFC 6152 §3, RFC 6531 §3.2).
//!
//! In: a message. Out: the same message with only the offending parts encoded anew, each to octets that
//! decode to the same content; over-long header lines folded. Signed parts are never touched: what is
//! wrong in them is reported instead. Work is linear in the message.

mod header;

use std::ops::Range;

use super::transfer;
use crate::message::{LineEnd, Message, Part, PartKind, TransferEncoding};

/// Octets of a line at most, without its line end (RFC 5322 §2.1.1).
pub const MAX_LINE: usize = 998;

/// What a message's octets demand of those who pass it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    longest: usize,
    line: usize,
    eight_bit_header: bool,
    eight_bit_body: bool,
    in_body: bool,
    /// Whether the line that began in the header section has anything but a CR.
    has_text: bool,
}

impl Survey {
    /// Looks at the next octets.
    pub fn push(&mut self, chunk: &[u8]) {
        let body = if self.in_body { chunk } else { self.push_header(chunk) };
        self.eight_bit_body = self.eight_bit_body || !body.is_ascii();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let length = end.saturating_sub(start);
            self.longest = self.longest.max(self.line.saturating_add(length));
            (self.line, start) = (0, end.saturating_add(1));
        }
        self.line = self.line.saturating_add(chunk.len().saturating_sub(start));
        self.longest = self.longest.max(self.line);
    }

    /// Looks at what belongs to the header section, and gives back what does not.
    fn push_header<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let has_text = |line: &[u8]| line.iter().any(|octet| *octet != b'\r');
        let mut start = 0;
        let mut end_of_header = chunk.len();
        for end in memchr::memchr_iter(b'\n', chunk) {
            let is_empty = !self.has_text && !chunk.get(start..end).is_some_and(has_text);
            (self.has_text, start) = (false, end.saturating_add(1));
            if is_empty {
                (self.in_body, end_of_header) = (true, start);
                break;
            }
        }
        self.has_text = self.has_text || chunk.get(start..).is_some_and(has_text);
        let (header, body) = chunk.split_at_checked(end_of_header).unwrap_or((chunk, &[]));
        self.eight_bit_header = self.eight_bit_header || !header.is_ascii();
        body
    }

    /// Whether a line may be too long. A CR at its end is counted, so a line of 998 octets may be
    /// suspected for nothing, and is not changed then.
    #[must_use]
    pub fn has_long_lines(&self) -> bool {
        self.longest > MAX_LINE
    }

    /// Whether there are octets above 127.
    #[must_use]
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit_header || self.eight_bit_body
    }

    /// Whether there are octets above 127 in the message's own header section.
    #[must_use]
    pub fn has_eight_bit_header(&self) -> bool {
        self.eight_bit_header
    }

    /// Whether there are octets above 127 behind it, in bodies and in fields of parts.
    #[must_use]
    pub fn has_eight_bit_body(&self) -> bool {
        self.eight_bit_body
    }
}

/// Which octets may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// All: the server takes 8BITMIME and SMTPUTF8.
    EightBit,
    /// All in bodies, in header sections those below 128: it takes 8BITMIME only.
    AsciiHeader,
    /// Those below 128.
    SevenBit,
}

/// A message made legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legal {
    /// The message; the same octets if nothing had to change.
    pub octets: Vec<u8>,
    /// Whether a signed part has lines or octets that should not be there. It was left as it is.
    pub signed_is_not: bool,
    /// Whether a header field has octets above 127 that should not be there, and that no encoding can
    /// say. It was left as it is.
    pub header_is_not: bool,
}

/// Makes a message legal.
#[must_use]
pub fn legal(message: &Message, wire: Wire) -> Legal {
    let work = Work::new(message, wire);
    let mut edits = Vec::new();
    let (mut signed_is_not, mut header_is_not) = (false, false);
    for (place, part) in message.parts().iter().enumerate() {
        let body = message.part(part.body_range());
        let needs = part.kind() == PartKind::Leaf && work.is_bad(&body);
        if work.is_signed(place) {
            let header = message.part(part.header_range());
            signed_is_not |= needs || has_long_line(&header) || work.is_bad_header(&header);
            continue;
        }
        let recode = needs.then(|| work.recode(part, &body)).flatten();
        let encoding = recode.as_ref().map(|(encoding, _)| *encoding);
        header_is_not |= !work.header(place, part, encoding, &mut edits);
        if let Some((_, octets)) = recode {
            edits.push((part.body_range(), octets));
        }
    }
    let mut octets = work.apply(edits);
    if !signed_is_not && has_long_line(&octets) {
        // Preambles, delimiters and what no reader takes for a part.
        octets = cut_lines(&octets, work.line_end);
    }
    Legal { octets, signed_is_not, header_is_not }
}

struct Work<'a> {
    message: &'a Message,
    wire: Wire,
    line_end: &'static str,
    /// By place: whether the part is inside something signed.
    signed: Vec<bool>,
}

impl<'a> Work<'a> {
    fn new(message: &'a Message, wire: Wire) -> Self {
        let line_end = match message.line_end() {
            LineEnd::CrLf => "\r\n",
            LineEnd::Lf => "\n",
        };
        let mut signed: Vec<bool> = Vec::with_capacity(message.parts().len());
        for part in message.parts() {
            let above = part.parent();
            let inherited = above.and_then(|place| signed.get(place)).copied().unwrap_or(false);
            let parent = above.and_then(|place| message.parts().get(place));
            let is_sealed = |part: &Part| {
                matches!(part.media_type(), "multipart/signed" | "multipart/encrypted")
            };
            signed.push(inherited || parent.is_some_and(is_sealed));
        }
        Self { message, wire, line_end, signed }
    }

    fn is_signed(&self, place: usize) -> bool {
        self.signed.get(place).copied().unwrap_or(false)
    }

    fn is_bad(&self, octets: &[u8]) -> bool {
        has_long_line(octets) || (self.wire == Wire::SevenBit && !octets.is_ascii())
    }

    fn is_bad_header(&self, octets: &[u8]) -> bool {
        self.wire != Wire::EightBit && !octets.is_ascii()
    }

    /// The new encoding of a leaf and its body; `None` if only its lines had to be cut.
    fn recode(&self, part: &Part, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
        let cut = |name, octets| Some((name, octets));
        match part.encoding() {
            TransferEncoding::Base64 => {
                let (content, _) = crate::message::transfer::base64(body);
                cut("base64", transfer::base64(&content, self.line_end))
            }
            TransferEncoding::QuotedPrintable => {
                let (content, _) = crate::message::transfer::quoted_printable(body);
                cut("quoted-printable", transfer::quoted_printable(&content, self.line_end))
            }
            TransferEncoding::Identity if part.media_type().starts_with("text/") => {
                let text = whole_lines(body, self.line_end);
                let odd = text.iter().filter(|octet| !octet.is_ascii()).count();
                // A third of a text that is not ASCII makes quoted-printable the longer one.
                if odd.saturating_mul(3) > text.len() {
                    cut("base64", transfer::base64(&text, self.line_end))
                } else {
                    cut("quoted-printable", transfer::quoted_printable(&text, self.line_end))
                }
            }
            TransferEncoding::Identity => cut("base64", transfer::base64(body, self.line_end)),
            // Their readers go by lines; nobody else knows what they hold.
            _ => None,
        }
    }

    /// Folds over-long lines of a header section, encodes what must be ASCII, and writes the body's new
    /// encoding into it. False if a field cannot be said in ASCII.
    fn header(
        &self,
        place: usize,
        part: &Part,
        encoding: Option<&str>,
        edits: &mut Vec<(Range<usize>, Vec<u8>)>,
    ) -> bool {
        let fields = self.message.fields_of(part);
        let odd = |octets: &[u8]| octets.iter().filter(|octet| !octet.is_ascii()).count();
        let in_fields: usize = fields.iter().map(|f| odd(&self.message.part(f.range()))).sum();
        // What lies between fields and is none has no form in which it could be encoded.
        let mut is_legal = self.wire == Wire::EightBit
            || odd(&self.message.part(part.header_range())) <= in_fields;
        let named = |name: &str| {
            fields.iter().any(|one| self.message.field_name(one).eq_ignore_ascii_case(name))
        };
        // A container's label only says what may be inside.
        let label_goes =
            encoding.is_some() || (self.wire == Wire::SevenBit && part.kind() != PartKind::Leaf);
        for field in fields {
            let octets = self.message.part(field.range());
            let is_label =
                self.message.field_name(field).eq_ignore_ascii_case("Content-Transfer-Encoding");
            if is_label && label_goes {
                edits.push((field.range(), Vec::new()));
                continue;
            }
            let name = self.message.field_name(field);
            let bad = self.is_bad_header(&octets);
            let ascii = bad.then(|| header::ascii(name, &octets, self.line_end)).flatten();
            is_legal &= !bad || ascii.is_some();
            let octets = ascii.as_deref().unwrap_or(&octets);
            if has_long_line(octets) {
                edits.push((field.range(), fold(octets, self.line_end)));
            } else if let Some(ascii) = ascii {
                edits.push((field.range(), ascii));
            }
        }
        let Some(encoding) = encoding else { return is_legal };
        let mut lines = String::new();
        let end = part.header_range().end;
        let before = self.message.part(part.header_range());
        if !before.is_empty() && !before.ends_with(b"\n") {
            lines.push_str(self.line_end);
        }
        let mut add = |line: &str| {
            lines.push_str(line);
            lines.push_str(self.line_end);
        };
        if place == 0 && !named("MIME-Version") {
            add("MIME-Version: 1.0");
        }
        if !named("Content-Type") && !self.message.part(part.body_range()).is_ascii() {
            // RFC 1428 §3: nobody said what it is.
            add("Content-Type: text/plain; charset=unknown-8bit");
        }
        add(&format!("Content-Transfer-Encoding: {encoding}"));
        edits.push((end..end, lines.into_bytes()));
        is_legal
    }

    /// The message with `edits` made. They do not overlap.
    fn apply(&self, mut edits: Vec<(Range<usize>, Vec<u8>)>) -> Vec<u8> {
        let raw = self.message.raw();
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = Vec::with_capacity(raw.len());
        let mut at = 0;
        for (range, octets) in edits {
            if range.start < at {
                continue;
            }
            out.extend_from_slice(raw.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(&octets);
            at = range.end;
        }
        out.extend_from_slice(raw.get(at..).unwrap_or_default());
        out
    }
}

fn has_long_line(octets: &[u8]) -> bool {
    octets
        .split(|octet| *octet == b'\n')
        .any(|line| line.strip_suffix(b"\r").unwrap_or(line).len() > MAX_LINE)
}

/// Text with `line_end` as its only line end, as it will be on the wire.
fn whole_lines(text: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut lines = text.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let bare = if is_last { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        out.extend_from_slice(bare);
        if !is_last {
            out.extend_from_slice(line_end.as_bytes());
        }
    }
    out
}

/// One field with lines of at most 998 octets: folded at white space where there is some, else cut.
fn fold(field: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    for line in field.split_inclusive(|octet| *octet == b'\n') {
        let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
        rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        let ends = line.get(rest.len()..).unwrap_or_default();
        let mut lead: &[u8] = b"";
        while rest.len().saturating_add(lead.len()) > MAX_LINE {
            let room = rest.get(..MAX_LINE.saturating_sub(lead.len())).unwrap_or(rest);
            if !has_text(room) {
                // A line of white space alone could pass for the end of the header section.
                rest = rest.get(room.len()..).unwrap_or_default();
                lead = b" ";
                continue;
            }
            let blank = room.iter().rposition(|octet| matches!(octet, b' ' | b'\t'));
            let blank = blank.filter(|at| room.get(..*at).is_some_and(has_text));
            let cut = blank.unwrap_or(room.len().saturating_sub(partial(room)));
            let (head, tail) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
            out.extend_from_slice(lead);
            out.extend_from_slice(head);
            out.extend_from_slice(line_end.as_bytes());
            lead = if blank.is_some() { b"" } else { b" " };
            rest = tail;
        }
        out.extend_from_slice(lead);
        out.extend_from_slice(rest);
        out.extend_from_slice(ends);
    }
    out
}

/// Octets at the end of `piece` that begin a character of UTF-8 and do not end it.
fn partial(piece: &[u8]) -> usize {
    let continuing = piece.iter().rev().take(3).take_while(|octet| **octet & 0xC0 == 0x80).count();
    let lead = piece.len().saturating_sub(continuing.saturating_add(1));
    let wanted = match piece.get(lead).copied().unwrap_or(0) {
        0xC0..=0xDF => 1,
        0xE0..=0xEF => 2,
        0xF0..=0xF7 => 3,
        _ => return 0,
    };
    if continuing < wanted { continuing.saturating_add(1) } else { 0 }
}

fn has_text(octets: &[u8]) -> bool {
    octets.iter().any(|octet| !matches!(octet, b' ' | b'\t'))
}

/// Cuts lines that are still too long.
fn cut_lines(octets: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let mut rest = line;
        while rest.len() > MAX_LINE {
            let bare = rest.strip_suffix(b"\n").unwrap_or(rest);
            if bare.strip_suffix(b"\r").unwrap_or(bare).len() <= MAX_LINE {
                break;
            }
            let (head, tail) = rest.split_at_checked(MAX_LINE).unwrap_or((rest, &[]));
            out.extend_from_slice(head);
            out.extend_from_slice(line_end.as_bytes());
            rest = tail;
        }
        out.extend_from_slice(rest);
    }
    out
}

#[cfg(test)]
mod tests;
