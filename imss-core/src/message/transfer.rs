//! Undoes transfer encodings as mail clients do: always something, never an error (RFC 2045 §6).
//!
//! In: an encoded body. Out: the content, and whether octets were met that do not belong to the
//! encoding. Clean input takes a fast path; anything else is decoded octet by octet: base64 skips
//! what is not of its alphabet and goes on after padding, quoted-printable keeps bad escapes.

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::part::TransferEncoding;

/// Decoded content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) content: Bytes,
    /// Octets that do not belong to the encoding were skipped or kept as they were.
    pub(crate) malformed: bool,
}

/// Decodes `body`. Without an encoding, the result shares its memory.
pub(crate) fn decode(body: &Bytes, encoding: TransferEncoding) -> Decoded {
    let (content, malformed) = match encoding {
        TransferEncoding::Identity => return Decoded { content: body.clone(), malformed: false },
        TransferEncoding::Base64 => base64(body),
        TransferEncoding::QuotedPrintable => quoted_printable(body),
        TransferEncoding::Uuencode => match Uuencoded::find(body, 0) {
            Some(file) => (file.content, file.malformed),
            None => return Decoded { content: body.clone(), malformed: true },
        },
    };
    Decoded { content: content.into(), malformed }
}

/// Decodes base64 (RFC 2045 §6.8). Returns whether something was skipped.
pub(crate) fn base64(body: &[u8]) -> (Vec<u8>, bool) {
    let mut packed = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(end) = memchr(b'\n', rest) {
        let line = rest.get(..end).unwrap_or_default();
        packed.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    packed.extend_from_slice(rest.strip_suffix(b"\r").unwrap_or(rest));
    while packed.last().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        packed.pop();
    }
    // Decoding in place destroys its input when it fails, so what is kept is `body`.
    let decoded = base64_simd::STANDARD.decode_inplace(&mut packed).map(|content| content.len());
    if let Ok(length) = decoded {
        packed.truncate(length);
        return (packed, false);
    }
    base64_lenient(body)
}

/// What a reader decodes who stops at the first padding, if that is less than [`base64`] gives.
pub(crate) fn base64_to_padding(body: &[u8]) -> Option<Vec<u8>> {
    let padding = memchr(b'=', body)?;
    let (first, rest) = body.split_at_checked(padding)?;
    let goes_on = rest.iter().any(|byte| byte.is_ascii_alphanumeric());
    goes_on.then(|| base64_lenient(first).0)
}

fn base64_lenient(body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count, mut malformed, mut padded) = (0_u32, 0_u8, false, false);
    for byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // Padding ends a quantum; what follows was encoded separately.
                flush(&mut out, bits, count);
                (bits, count, padded) = (0, 0, true);
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => {
                malformed = true;
                continue;
            }
        };
        malformed |= padded;
        bits = bits << 6 | u32::from(value);
        count = count.saturating_add(1);
        if count == 4 {
            let [_, first, second, third] = bits.to_be_bytes();
            out.extend_from_slice(&[first, second, third]);
            (bits, count) = (0, 0);
        }
    }
    flush(&mut out, bits, count);
    (out, malformed)
}

/// Writes the whole octets of an unfinished quantum.
fn flush(out: &mut Vec<u8>, bits: u32, count: u8) {
    let aligned = bits << (6 * (4 - u32::from(count.min(4))) % 24);
    let [_, first, second, _] = aligned.to_be_bytes();
    match count {
        2 => out.push(first),
        3 => out.extend_from_slice(&[first, second]),
        _ => {}
    }
}

/// Decodes quoted-printable (RFC 2045 §6.7). Returns whether an escape was bad.
pub(crate) fn quoted_printable(body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(body.len());
    let mut malformed = false;
    let mut rest = body;
    while let Some(at) = memchr(b'=', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        if let [high, low, tail @ ..] = rest
            && let Some(byte) = hex_pair(*high, *low)
        {
            out.push(byte);
            rest = tail;
            continue;
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        match rest.get(blanks..) {
            Some([b'\n', tail @ ..]) => rest = tail,
            Some([]) => rest = &[],
            _ => {
                malformed = true;
                out.push(b'=');
            }
        }
    }
    out.extend_from_slice(rest);
    (out, malformed)
}

/// The octet that two hexadecimal digits stand for.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// A uuencoded file inside text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uuencoded {
    /// The name in its `begin` line, undecoded.
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// Where the `begin` line starts.
    pub(crate) start: usize,
    /// Where the line after `end` starts, or the first line that is not part of it.
    pub(crate) end: usize,
    /// The `end` line is missing.
    pub(crate) malformed: bool,
}

impl Uuencoded {
    /// The first file that begins at or after `from` and has at least one line of content.
    pub(crate) fn find(text: &[u8], from: usize) -> Option<Self> {
        let finder = memmem::Finder::new(b"begin ");
        let mut at = from;
        loop {
            at = at.checked_add(finder.find(text.get(at..)?)?)?;
            let line_start = at == 0 || text.get(at.wrapping_sub(1)) == Some(&b'\n');
            let line = super::header::Line::at(text, at);
            let name = line_start.then(|| begin_name(line.text)).flatten();
            if let Some(name) = name
                && let Some(found) = Self::read(text, at, line.next, name)
            {
                return Some(found);
            }
            at = at.checked_add(6)?;
        }
    }

    fn read(text: &[u8], start: usize, body: usize, name: &[u8]) -> Option<Self> {
        let mut content = Vec::new();
        let (mut at, mut ended, mut lines) = (body, false, 0_usize);
        while at < text.len() {
            let line = super::header::Line::at(text, at);
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

/// The name in `begin 644 name`.
fn begin_name(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"begin ")?;
    let digits = rest.iter().take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
    let name = rest.get(digits..)?.strip_prefix(b" ")?.trim_ascii();
    ((3..=4).contains(&digits) && !name.is_empty()).then_some(name)
}

/// Decodes one line; `false` if it is none. Trailing blanks may have been cut off on the way.
fn uudecode_line(line: &[u8], out: &mut Vec<u8>) -> bool {
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
    fn base64_is_read_as_clients_read_it() {
        let cases: [(&str, &[u8], &[u8], bool); 12] = [
            ("one line", b"aGVsbG8=", b"hello", false),
            ("several lines", b"aGVs\r\nbG8=\r\n", b"hello", false),
            ("bare LF", b"aGVs\nbG8=\n", b"hello", false),
            ("padding missing", b"aGVsbG8", b"hello", false),
            ("padding doubled", b"aGVsbG8==", b"hello", false),
            ("blanks inside", b"aG Vs\tbG8=", b"hello", false),
            ("junk inside", b"aG!Vs-bG8=", b"hello", true),
            ("two quanta padded apart", b"aA==aQ==", b"hi", true),
            ("one character too many", b"aGVsbG8hA", b"hello!", false),
            ("trailing text", b"aGVsbG8=\n-- \n", b"hello", true),
            ("only padding", b"====", b"", false),
            ("empty", b"", b"", false),
        ];
        for (name, body, expected, malformed) in cases {
            assert_eq!(base64(body), (expected.to_vec(), malformed), "{name}");
        }
    }

    #[test]
    fn some_readers_stop_at_padding() {
        assert_eq!(base64_to_padding(b"aA==\naQ=="), Some(b"h".to_vec()));
        assert_eq!(base64_to_padding(b"aA==\n"), None);
        assert_eq!(base64_to_padding(b"aGVs"), None);
    }

    #[test]
    fn quoted_printable_is_read_as_clients_read_it() {
        let cases: [(&str, &[u8], &[u8], bool); 9] = [
            ("escape", b"a=3Db", b"a=b", false),
            ("lower case", b"=e3=81=82", "あ".as_bytes(), false),
            ("soft line break", b"a=\r\nb", b"ab", false),
            ("soft line break, LF", b"a=\nb", b"ab", false),
            ("blanks after the equals sign", b"a= \t\r\nb", b"ab", false),
            ("equals sign at the end", b"a=", b"a", false),
            ("bad escape stays", b"a=ZZb", b"a=ZZb", true),
            ("half an escape", b"a=4", b"a=4", true),
            ("hard line break stays", b"a\r\nb", b"a\r\nb", false),
        ];
        for (name, body, expected, malformed) in cases {
            assert_eq!(quoted_printable(body), (expected.to_vec(), malformed), "{name}");
        }
    }

    #[test]
    fn uuencoded_files_are_found_in_text() {
        let text = b"Hi\nbegin of story\nbegin 644 a b.txt\n%:&5L;&\\\n`\nend\nbye\n";
        let found = Uuencoded::find(text, 0).expect("there is one");
        assert_eq!(found.name, b"a b.txt");
        assert_eq!(found.content, b"hello");
        assert_eq!(text.get(found.end..), Some(&b"bye\n"[..]));
        assert!(!found.malformed);
        assert_eq!(Uuencoded::find(text, found.end), None);
        assert_eq!(Uuencoded::find(b"begin 644 x\nthis is prose\n", 0), None);
    }
}
