//! Undoes transfer encodings as mail clients do: always something, never an error (RFC 2045 §6).
//!
//! In: an encoded body. Out: the content, and whether octets were met that do not belong to the
//! encoding. Clean input takes a fast path; anything else is decoded octet by octet: base64 skips
//! what is not of its alphabet and goes on after padding, quoted-printable keeps bad escapes.

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::part::TransferEncoding;
use super::uuencode::Uuencoded;
use crate::recycle;

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
        TransferEncoding::Yenc => yenc(body),
        TransferEncoding::Uuencode => match Uuencoded::all(body).next() {
            Some(file) => (file.content, file.malformed),
            None => return Decoded { content: body.clone(), malformed: true },
        },
    };
    Decoded { content: recycle::bytes(content), malformed }
}

/// Decodes base64 (RFC 2045 §6.8). Returns whether something was skipped.
pub(crate) fn base64(body: &[u8]) -> (Vec<u8>, bool) {
    base64_clean(body).map_or_else(|| base64_lenient(body), |content| (content, false))
}

/// Octets of base64 that are decoded at once: they stay in the processor's cache.
const BLOCK: usize = 32 << 10;

/// Decodes base64 that holds nothing but digits, line ends and padding at its end.
fn base64_clean(body: &[u8]) -> Option<Vec<u8>> {
    let mut content = recycle::room(body.len() / 4 * 3 + 3);
    let mut block = Vec::with_capacity(BLOCK + 1_024);
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at_checked(end)?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        block.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        rest = after;
        if block.len() >= BLOCK {
            let whole = block.len() - block.len() % 4;
            // The decoder takes padding for the end, and this is not the end.
            if block.get(..whole)?.ends_with(b"=") {
                return None;
            }
            base64_simd::STANDARD.decode_append(block.get(..whole)?, &mut content).ok()?;
            block.drain(..whole);
        }
    }
    let blanks = block.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    block.truncate(block.len() - blanks);
    base64_simd::STANDARD.decode_append(block.as_slice(), &mut content).ok()?;
    Some(content)
}

/// What becomes of odd padding, and the last two digits.
type Way = (OddPadding, &'static [u8; 2]);

/// What other readers make of base64 with padding or junk inside, each with its name: they stop at
/// the first padding, or at the first in its place, or skip it; `-` and `_` are junk to some and
/// digits to others (RFC 4648 §5); and some show what is mostly junk as it is.
pub(crate) fn base64_otherwise(
    body: &[u8],
) -> impl Iterator<Item = (&'static str, Vec<u8>)> + use<'_> {
    let mut ways: Vec<(&'static str, &[u8], Option<Way>)> = Vec::new();
    let padding = memchr(b'=', body).unwrap_or(body.len());
    let (first, rest) = body.split_at_checked(padding).unwrap_or((body, &[]));
    let goes_on = rest.iter().any(u8::is_ascii_alphanumeric);
    if goes_on {
        ways.push(("base64 ends at padding", first, Some((OddPadding::Flushes, b"+/"))));
        ways.push(("base64 ends at full padding", body, Some((OddPadding::Ends, b"+/"))));
        ways.push(("base64 without padding", body, Some((OddPadding::Skipped, b"+/"))));
    }
    // Digits stand among digits; footers have hyphens among blanks.
    let is_digit = |three: &[u8]| match three {
        [left, b'-' | b'_', right] => left.is_ascii_alphanumeric() && right.is_ascii_alphanumeric(),
        _ => false,
    };
    if body.starts_with(b"-") || body.starts_with(b"_") || body.windows(3).any(is_digit) {
        ways.push(("base64 for URLs", body, Some((OddPadding::Flushes, b"-_"))));
        if goes_on {
            let last = b"-_";
            ways.push((
                "base64 for URLs ends at padding",
                first,
                Some((OddPadding::Flushes, last)),
            ));
            ways.push(("base64 for URLs without padding", body, Some((OddPadding::Skipped, last))));
        }
    }
    let is_junk = |byte: &&u8| !byte.is_ascii_alphanumeric() && !b"+/=\r\n".contains(byte);
    if body.iter().filter(is_junk).count() > body.len() / 16 {
        ways.push(("base64 not decoded", body, None));
    }
    // One after the other: each may be as large as the message.
    ways.into_iter().map(|(name, octets, way)| {
        let content = match way {
            Some((padding, last)) => base64_as(octets, padding, last).0,
            None => octets.to_vec(),
        };
        (name, content)
    })
}

/// What padding inside does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OddPadding {
    /// Ends a quantum; what follows was encoded separately.
    Flushes,
    /// Ends the content if it completes a quantum; elsewhere it is junk.
    Ends,
    /// Is junk.
    Skipped,
}

fn base64_lenient(body: &[u8]) -> (Vec<u8>, bool) {
    base64_as(body, OddPadding::Flushes, b"+/")
}

/// Decodes octet by octet, with `last` as the last two digits besides `+` and `/`.
fn base64_as(body: &[u8], padding: OddPadding, last: &[u8; 2]) -> (Vec<u8>, bool) {
    let mut pads = 0_u8;
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count, mut malformed, mut padded) = (0_u32, 0_u8, false, false);
    for byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            byte if *byte == last[0] => 62,
            byte if *byte == last[1] => 63,
            b'=' if padding == OddPadding::Skipped => continue,
            b'=' if padding == OddPadding::Ends => {
                pads = pads.saturating_add(1);
                if count >= 2 && count.saturating_add(pads) >= 4 {
                    break;
                }
                continue;
            }
            b'=' => {
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
        pads = 0;
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

/// What a reader makes of quoted-printable who takes an equals sign with blanks after it as it is;
/// `None` if there is none.
pub(crate) fn quoted_printable_strict(body: &[u8]) -> Option<Vec<u8>> {
    let blank = |at: &usize| {
        let rest = body.get(at.saturating_add(1)..).unwrap_or_default();
        let end = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        matches!(rest.first(), Some(b' ' | b'\t')) && matches!(end, None | Some(b'\n'))
    };
    let mut places = memchr::memchr_iter(b'=', body).filter(blank).peekable();
    places.peek()?;
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in places {
        out.extend(quoted_printable(body.get(from..at).unwrap_or_default()).0);
        out.push(b'=');
        from = at.saturating_add(1);
    }
    out.extend(quoted_printable(body.get(from..).unwrap_or_default()).0);
    Some(out)
}

/// Decodes yEnc (`x-yenc`): each octet plus 42, critical ones after `=` and plus 64, between
/// `=ybegin` and `=yend` lines if there are any. Returns whether the end was missing.
pub(crate) fn yenc(body: &[u8]) -> (Vec<u8>, bool) {
    let start = memmem::find(body, b"=ybegin ");
    let framed = start.is_some();
    let mut rest = body.get(start.unwrap_or(0)..).unwrap_or_default();
    let (mut out, mut ended) = (Vec::with_capacity(rest.len()), false);
    while !rest.is_empty() {
        let line = super::header::Line::at(rest, 0);
        rest = rest.get(line.next..).unwrap_or_default();
        if line.text.starts_with(b"=yend") {
            ended = true;
            break;
        }
        if line.text.starts_with(b"=ybegin ") || line.text.starts_with(b"=ypart ") {
            continue;
        }
        let mut escaped = false;
        for byte in line.text {
            match byte {
                b'=' if !escaped => escaped = true,
                b'\r' | 0 => {}
                byte => {
                    out.push(byte.wrapping_sub(if escaped { 106 } else { 42 }));
                    escaped = false;
                }
            }
        }
    }
    (out, framed && !ended)
}

/// The octet that two hexadecimal digits stand for.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_base64_of_any_length_and_line_length() {
        let content: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        for length in [0, 1, 2, 3, 24_575, 24_576, 24_577, 99_999, 100_000] {
            let digits = base64_simd::STANDARD.encode_to_string(&content[..length]);
            for line in [4, 76, 77, 998, 200_000] {
                let lines: Vec<&str> = digits
                    .as_bytes()
                    .chunks(line)
                    .map(|line| str::from_utf8(line).unwrap())
                    .collect();
                for (end, last) in [("\r\n", "\r\n"), ("\n", " \n"), ("\r\n", "")] {
                    let body = lines.join(end) + last;
                    let decoded = base64(body.as_bytes());
                    let name = format!("{length} octets, lines of {line}, {last:?} at the end");
                    assert_eq!(decoded, (content[..length].to_vec(), false), "{name}");
                }
            }
        }
        // Padding where a block ends, and more after it.
        let mut body = vec![b'A'; BLOCK - 4];
        body.extend_from_slice(b"AAA=\r\nAAAA\r\n");
        assert_eq!(base64_clean(&body), None);
    }

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
    #[expect(clippy::type_complexity, reason = "a table")]
    fn some_readers_take_odd_base64_otherwise() {
        let cases: [(&str, &[u8], &[&[u8]]); 7] = [
            ("padding inside", b"aA==\naQ==", &[b"h", b"h", b"h\x06\x90"]),
            ("padding in the wrong place", b"aGVs=bG8=", &[b"hel", b"hello", b"hello"]),
            ("padding at the end", b"aA==\n", &[]),
            ("no padding", b"aGVs", &[]),
            ("digits for URLs", b"-_-_", &[b"\xfb\xff\xbf", b"-_-_"]),
            (
                "both",
                b"-_-_=aGVs",
                &[
                    b"",
                    b"hel",
                    b"hel",
                    b"\xfb\xff\xbfhel",
                    b"\xfb\xff\xbf",
                    b"\xfb\xff\xbfhel",
                    b"-_-_=aGVs",
                ],
            ),
            ("no base64 at all", b"see you at nine", &[b"see you at nine"]),
        ];
        for (name, body, expected) in cases {
            let found: Vec<Vec<u8>> = base64_otherwise(body).map(|(_, content)| content).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn some_readers_keep_an_equals_sign_before_blanks() {
        assert_eq!(quoted_printable_strict(b"a=3Db= \nc=\nd"), Some(b"a=b= \ncd".to_vec()));
        assert_eq!(quoted_printable_strict(b"a=3Db=\nc= d"), None);
    }

    #[test]
    fn yenc_is_undone() {
        let framed =
            b"hi\n=ybegin line=128 size=5 name=a.bin\n\x92\x8f\x96\n=}\x99\n=yend size=5\nbye";
        assert_eq!(yenc(framed), (b"hel\x13o".to_vec(), false));
        assert_eq!(yenc(b"\x92\x8f\x96"), (b"hel".to_vec(), false));
        assert_eq!(yenc(b"=ybegin name=a\n\x92"), (b"h".to_vec(), true));
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
}
