//! Files inside text, as uuencode(1) writes them: in its own digits or in base64 (POSIX.1-2001).
//!
//! In: text. Out: the files in it, one after the other. A file without its end is one, too, and marked
//! as malformed; prose that begins with the same word is none. Work is linear, whatever stands there.

use memchr::memmem;

use super::header::Line;
use super::transfer::base64;

/// A file inside text, as uuencode(1) writes it: in its own digits or in base64 (POSIX.1-2001).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uuencoded {
    /// The name in its `begin` line, undecoded.
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// Where the `begin` line starts.
    pub(crate) start: usize,
    /// Where the line after `end` or `====` starts, or the first line that is not part of it.
    pub(crate) end: usize,
    /// The last line is missing, or the content holds what does not belong there.
    pub(crate) malformed: bool,
}

/// The words of a `begin` line: whether base64 follows, and whether its name is in base64 itself.
const BEGINS: [(&[u8], bool, bool); 4] = [
    (b"begin ", false, false),
    (b"begin-encoded ", false, true),
    (b"begin-base64 ", true, false),
    (b"begin-base64-encoded ", true, true),
];

/// The files in a text, one after the other; one without its end may hold the next.
pub(crate) struct Files<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last `====` is, once it was asked for: whoever looks for one behind it need not search.
    last_mark: Option<Option<usize>>,
    /// How far files were read.
    covered: usize,
}

impl Iterator for Files<'_> {
    type Item = Uuencoded;

    fn next(&mut self) -> Option<Uuencoded> {
        let finder = memmem::Finder::new(b"begin");
        loop {
            self.at = self.at.checked_add(finder.find(self.text.get(self.at..)?)?)?;
            if self.at == 0 || self.text.get(self.at.wrapping_sub(1)) == Some(&b'\n') {
                let found = self.file(self.at);
                if let Some(found) = found {
                    self.at = found.end;
                    return Some(found);
                }
            }
            self.at = self.at.checked_add(5)?;
        }
    }
}

impl Files<'_> {
    /// The file whose `begin` line is at `start`.
    fn file(&mut self, start: usize) -> Option<Uuencoded> {
        let line = Line::at(self.text, start);
        let (name, is_base64) = begin_line(line.text)?;
        if !is_base64 {
            return Uuencoded::read(self.text, start, line.next, &name);
        }
        let text = self.text;
        let last = *self.last_mark.get_or_insert_with(|| last_mark(text));
        // What is read twice already is not read once more for each of its lines.
        let whole = start >= self.covered && last.is_some_and(|last| last >= line.next);
        let (found, end) = Uuencoded::read_base64(text, start, line.next, name, whole)?;
        self.covered = self.covered.max(end);
        Some(found)
    }
}

impl Uuencoded {
    /// The files of `text` that have content.
    pub(crate) fn all(text: &[u8]) -> Files<'_> {
        Files { text, at: 0, last_mark: None, covered: 0 }
    }

    /// As uudecode(1) reads it: up to the end mark, whatever lies before. Unless it is to be read as a
    /// `whole`, up to padding or the next file, and without a mark it takes a line of nothing but digits:
    /// prose is none. Tells where its last line ends, too.
    fn read_base64(
        text: &[u8],
        start: usize,
        body: usize,
        name: Vec<u8>,
        whole: bool,
    ) -> Option<(Self, usize)> {
        let is_digit =
            |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
        let (mut at, mut next, mut last) = (body, None, body);
        let (mut ended, mut is_sure, mut is_odd, mut is_padded) = (false, false, false, false);
        while at < text.len() {
            let line = Line::at(text, at);
            let digits = line.text.trim_ascii_end();
            if is_mark(digits) {
                (ended, at) = (true, line.next);
                break;
            }
            if begin_line(line.text).is_some() {
                // Other readers start here.
                next = next.or(Some(at));
            }
            if !whole && (is_padded || next.is_some()) {
                break;
            }
            let is_clean = !digits.is_empty() && digits.iter().all(is_digit);
            is_odd |= !is_clean;
            is_sure |= is_clean && digits.len().is_multiple_of(4);
            is_padded = is_clean && digits.ends_with(b"=");
            (at, last) = (line.next, line.next);
        }
        let (content, skipped) = base64(text.get(body..last)?);
        let malformed = !ended || is_odd || skipped;
        let found = Self { name, start, end: next.unwrap_or(at), malformed, content };
        ((ended || is_sure) && !found.content.is_empty()).then_some((found, at))
    }

    fn read(text: &[u8], start: usize, body: usize, name: &[u8]) -> Option<Self> {
        let mut content = Vec::new();
        let (mut at, mut ended, mut lines) = (body, false, 0_usize);
        while at < text.len() {
            let line = Line::at(text, at);
            if line.text.trim_ascii_end() == b"end" {
                (ended, at) = (true, line.next);
                break;
            }
            if !uudecode_line(line.text, &mut content) {
                break;
            }
            lines = lines.saturating_add(1);
            at = line.next;
        }
        let name = name.to_vec();
        (lines > 0).then_some(Self { name, content, start, end: at, malformed: !ended })
    }
}

/// Whether a line ends base64.
fn is_mark(line: &[u8]) -> bool {
    line.len() >= 4 && line.iter().all(|&octet| octet == b'=')
}

/// Where the last line starts that ends base64.
fn last_mark(text: &[u8]) -> Option<usize> {
    let mut places = memmem::rfind_iter(text, b"\n====").map(|at| at.saturating_add(1));
    places.find(|&at| is_mark(Line::at(text, at).text.trim_ascii_end()))
}

/// The name in a `begin` line, and whether base64 follows.
fn begin_line(line: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (name, is_base64, is_encoded) =
        BEGINS.iter().find_map(|(word, is_base64, is_encoded)| {
            begin_name(line, word).map(|name| (name, *is_base64, *is_encoded))
        })?;
    Some((if is_encoded { base64(name).0 } else { name.to_vec() }, is_base64))
}

/// The name in `begin 644 name`, or after another `word`.
fn begin_name<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(word)?;
    let digits = rest.iter().take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
    let name = rest.get(digits..)?.strip_prefix(b" ")?.trim_ascii();
    ((3..=4).contains(&digits) && !name.is_empty()).then_some(name)
}

/// Decodes one line; `false` if it is none. Trailing blanks may have been cut off on the way.
fn uudecode_line(line: &[u8], out: &mut Vec<u8>) -> bool {
    // Some senders end lines with more than one CR.
    let cr = line.iter().rev().take_while(|byte| **byte == b'\r').count();
    let line = line.get(..line.len().saturating_sub(cr)).unwrap_or_default();
    let Some((count, data)) = line.split_first() else { return false };
    if !(b' '..=b'`').contains(count) || !data.iter().all(|byte| (b' '..=b'`').contains(byte)) {
        return false;
    }
    let length = usize::from((count - b' ') & 63);
    let groups = length.div_ceil(3);
    if data.len() > groups * 4 + 4 {
        return false;
    }
    let before = out.len();
    for group in 0..groups {
        let value = |place: usize| {
            let byte = data.get(group * 4 + place).copied().unwrap_or(b' ');
            u32::from(byte.wrapping_sub(b' ') & 63)
        };
        let bits = value(0) << 18 | value(1) << 12 | value(2) << 6 | value(3);
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(&bytes);
    }
    out.truncate(before.saturating_add(length));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuencoded_files_in_base64_are_found() {
        let cases: [(&str, &[u8], &[u8], bool); 11] = [
            ("a blank line first", b"begin-base64 644 a b\n\naGVs\nbG8=\n====\nbye", b"bye", true),
            ("junk in a line", b"begin-base64 644 a b\naGVs!\nb G8=\n====\nbye", b"bye", true),
            ("junk lines", b"begin-base64 644 a b\n-\naGVs\n\n!\nbG8=\n\n====\nbye", b"bye", true),
            ("a blank line, no end", b"begin-base64 644 a b\n\naGVs\nbG8=\n", b"", true),
            (
                "junk, no end",
                b"begin-base64 644 a b\n!\naGVs\n~bG8\nbegin 644 b\n",
                b"begin 644 b\n",
                true,
            ),
            ("a name in base64", b"begin-base64-encoded 644 YSBi\naGVsbG8=\n====\n", b"", false),
            ("a name in base64, plain", b"begin-encoded 644 YSBi\n%:&5L;&\\\n`\nend\n", b"", false),
            ("whole", b"Hi\r\nbegin-base64 644 a b\r\naGVs\r\nbG8=\r\n====\r\nbye", b"bye", false),
            ("without its end", b"begin-base64 644 a b\naGVs\nbG8=\n", b"", true),
            ("before text", b"begin-base64 0755 a b\naGVs\nbG8=\n\nbye", b"\nbye", true),
            ("after prose", b"begin\nbegin-base64 644 a b\naGVsbG8=\n====\n", b"", false),
        ];
        for (name, text, rest, malformed) in cases {
            let found = Uuencoded::all(text).next().expect(name);
            assert_eq!(
                (found.name.as_slice(), found.malformed),
                (&b"a b"[..], malformed),
                "{name}"
            );
            assert_eq!(found.content, b"hello", "{name}");
            assert_eq!(text.get(found.end..), Some(rest), "{name}");
        }
        assert_eq!(Uuencoded::all(b"begin-base64 644 a\n====\n").next(), None, "no content");
        assert_eq!(Uuencoded::all(b"begin-base64 644 a\nsee below\n").next(), None, "prose");
    }

    #[test]
    fn a_file_without_its_end_hides_no_other() {
        let text = b"begin-base64 644 a\nsee below\nbegin-base64 644 b\naGVsbG8=\n====\n\
            begin-base64 644 c\naGVs\nbegin 644 d\n%:&5L;&\\\n`\nend\n";
        let found: Vec<_> = Uuencoded::all(text).map(|file| (file.name, file.malformed)).collect();
        let name = |name: &str| name.as_bytes().to_vec();
        let expected =
            [(name("a"), true), (name("b"), false), (name("c"), true), (name("d"), false)];
        assert_eq!(found, expected);
    }

    #[test]
    fn uuencoded_files_are_found_in_text() {
        let text = b"Hi\nbegin of story\nbegin 644 a b.txt\n%:&5L;&\\\n`\nend\nbye\n";
        let mut files = Uuencoded::all(text);
        let found = files.next().expect("there is one");
        assert_eq!(found.name, b"a b.txt");
        assert_eq!(found.content, b"hello");
        assert_eq!(text.get(found.end..), Some(&b"bye\n"[..]));
        assert!(!found.malformed);
        assert_eq!(files.next(), None);
        assert_eq!(Uuencoded::all(b"begin 644 x\nthis is prose\n").next(), None);
    }
}
