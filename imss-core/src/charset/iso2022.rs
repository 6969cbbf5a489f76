//! Charsets that switch by escape sequences (ISO/IEC 2022): ISO-2022-JP with every extension that
//! mail has (RFC 1468, RFC 1554, RFC 2237, CP50220 to CP50222), ISO-2022-KR (RFC 1557), ISO-2022-CN
//! (RFC 1922).
//!
//! In: octets. Out: text. JIS X 0208 with the vendors' rows, JIS X 0212, half-width kana by escape,
//! by SO and in eight bits, KS X 1001, GB 2312 and the upper halves of ISO 8859-1 and 8859-7 are
//! known; JIS X 0213 is read as far as it is JIS X 0208, and CNS 11643 is not. A line end ends a
//! forgotten shift. What means nothing becomes U+FFFD. Work is linear.

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK, ISO_8859_7, WINDOWS_1252};

use super::Decoded;

/// What a graphic octet means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Ascii,
    Kana,
    Jis0208,
    Jis0212,
    Ksx1001,
    Gb2312,
    Latin1,
    Greek,
    /// Two octets of a set that is not known.
    Unknown,
}

/// Decodes any of them; `name` is what the result is called.
pub(super) fn decode(octets: &[u8], name: &'static str) -> Decoded {
    let mut reader = Reader {
        text: String::with_capacity(octets.len()),
        run: Vec::with_capacity(octets.len()),
        run_in: EUC_JP,
        malformed: false,
        g0: Set::Ascii,
        g1: Set::Kana,
        g2: Set::Latin1,
        shifted: false,
    };
    let mut rest = octets;
    while let Some((byte, tail)) = rest.split_first() {
        rest = match byte {
            0x1B => reader.escape(tail),
            0x0E | 0x0F => {
                reader.shifted = *byte == 0x0E;
                tail
            }
            b'\n' => {
                (reader.g0, reader.shifted) = (Set::Ascii, false);
                reader.ascii(*byte);
                tail
            }
            0..=0x20 | 0x7F => {
                reader.ascii(*byte);
                tail
            }
            _ => {
                let set = if *byte >= 0x80 {
                    // Eight bits: kana, or a set that forgot its shift.
                    reader.g1
                } else if reader.shifted {
                    reader.g1
                } else {
                    reader.g0
                };
                reader.graphic(set, *byte, tail)
            }
        };
    }
    reader.flush();
    Decoded { text: reader.text, charset: name, guessed: false, malformed: reader.malformed }
}

struct Reader {
    text: String,
    /// Octets in the eight-bit encoding of the same characters, not decoded yet.
    run: Vec<u8>,
    run_in: &'static Encoding,
    malformed: bool,
    g0: Set,
    g1: Set,
    g2: Set,
    shifted: bool,
}

impl Reader {
    /// Reads what follows an ESC and returns the rest.
    fn escape<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let (g0, g1, g2, length) = match rest {
            [b'(', b'I', ..] => (Some(Set::Kana), None, None, 2),
            [b'(', b'B' | b'J' | b'H' | b'A', ..] => (Some(Set::Ascii), None, None, 2),
            [b'$', b'(', last, ..] => (Some(double(*last)), None, None, 3),
            [b'$', b')', last, ..] => (None, Some(double(*last)), None, 3),
            [b'$', b'*', last, ..] => (None, None, Some(double(*last)), 3),
            [b'$', last @ (b'@' | b'A' | b'B'), ..] => (Some(double(*last)), None, None, 2),
            [b'&', b'@', ..] => (None, None, None, 2),
            [b'.', b'A', ..] => (None, None, Some(Set::Latin1), 2),
            [b'.', b'F', ..] => (None, None, Some(Set::Greek), 2),
            [b')', b'I', ..] => (None, Some(Set::Kana), None, 2),
            [b'N', byte @ 0x21..=0x7E, tail @ ..] => {
                let set = self.g2;
                return self.graphic(set, *byte, tail);
            }
            _ => {
                self.malformed = true;
                return rest;
            }
        };
        self.g0 = g0.unwrap_or(self.g0);
        self.g1 = g1.unwrap_or(self.g1);
        self.g2 = g2.unwrap_or(self.g2);
        rest.get(length..).unwrap_or_default()
    }

    /// Reads one character of `set` and returns the rest.
    fn graphic<'a>(&mut self, set: Set, first: u8, rest: &'a [u8]) -> &'a [u8] {
        let (encoding, prefix): (_, &[u8]) = match set {
            Set::Ascii => {
                self.ascii(first);
                return rest;
            }
            Set::Kana => {
                self.put(EUC_JP, &[0x8E, first | 0x80]);
                return rest;
            }
            Set::Latin1 => {
                self.put(WINDOWS_1252, &[first | 0x80]);
                return rest;
            }
            Set::Greek => {
                self.put(ISO_8859_7, &[first | 0x80]);
                return rest;
            }
            Set::Jis0208 => (EUC_JP, &[]),
            Set::Jis0212 => (EUC_JP, &[0x8F]),
            Set::Ksx1001 => (EUC_KR, &[]),
            Set::Gb2312 => (GBK, &[]),
            Set::Unknown => (EUC_JP, &[0xFF]),
        };
        let Some((second, tail)) = rest.split_first().filter(|(second, _)| is_graphic(**second))
        else {
            // Half a character.
            self.flush();
            self.text.push(char::REPLACEMENT_CHARACTER);
            self.malformed = true;
            return rest;
        };
        if set == Set::Unknown {
            self.flush();
            self.text.push(char::REPLACEMENT_CHARACTER);
            self.malformed = true;
        } else {
            self.put(encoding, prefix);
            self.put(encoding, &[first | 0x80, second | 0x80]);
        }
        tail
    }

    /// ASCII is the same in every encoding of a run.
    fn ascii(&mut self, byte: u8) {
        self.run.push(byte & 0x7F);
    }

    fn put(&mut self, encoding: &'static Encoding, octets: &[u8]) {
        if self.run_in != encoding {
            self.flush();
            self.run_in = encoding;
        }
        self.run.extend_from_slice(octets);
    }

    fn flush(&mut self) {
        let (text, malformed) = self.run_in.decode_without_bom_handling(&self.run);
        self.text.push_str(&text);
        self.malformed |= malformed;
        self.run.clear();
    }
}

/// The set that a final octet of `ESC $` names.
fn double(last: u8) -> Set {
    match last {
        b'@' | b'B' | b'O' | b'Q' => Set::Jis0208,
        b'D' => Set::Jis0212,
        b'C' => Set::Ksx1001,
        b'A' | b'E' => Set::Gb2312,
        _ => Set::Unknown,
    }
}

fn is_graphic(byte: u8) -> bool {
    (0x21..=0x7E).contains(&(byte & 0x7F))
}

/// ISO-2022-JP whose ESC octets got lost on the way, with them again; `None` if it is not that.
pub(super) fn restored(octets: &[u8]) -> Option<Vec<u8>> {
    if octets.contains(&0x1B) {
        return None;
    }
    let mut out = Vec::with_capacity(octets.len());
    let mut ends = Ends { octets, run: 0, next: [0; 2] };
    let (mut copied, mut from, mut found) = (0, 0_usize, false);
    while let Some(at) = memchr::memchr(b'$', octets.get(from..)?) {
        let at = from.checked_add(at)?;
        from = at.checked_add(1)?;
        let body = at.checked_add(2)?;
        let starts = matches!(octets.get(from), Some(b'B' | b'@'));
        if let Some(end) = Some(body).filter(|_| starts).and_then(|body| ends.after(body)) {
            out.extend_from_slice(octets.get(copied..at)?);
            out.extend_from_slice(b"\x1b");
            out.extend_from_slice(octets.get(at..end)?);
            out.extend_from_slice(b"\x1b(B");
            from = end.checked_add(2)?;
            copied = from;
            found = true;
        }
    }
    out.extend_from_slice(octets.get(copied..)?);
    found.then_some(out)
}

/// Where two-octet characters may end. What was searched is not searched again.
struct Ends<'a> {
    octets: &'a [u8],
    /// No graphic octet is here, and all are from the last question on.
    run: usize,
    /// The next `(B` or `(J` at even and at odd places.
    next: [usize; 2],
}

impl Ends<'_> {
    /// The first end a whole number of characters after `body`, with only graphic octets between.
    /// Questions go forward.
    fn after(&mut self, body: usize) -> Option<usize> {
        if self.run <= body {
            let graphic = |byte: &u8| is_graphic(*byte) && *byte < 0x80;
            let length = self.octets.get(body..)?.iter().position(|byte| !graphic(byte));
            self.run = length.map_or(self.octets.len(), |length| body.saturating_add(length));
        }
        let next = self.next.get_mut(body % 2)?;
        if *next <= body {
            *next = body.checked_add(2)?;
            while !matches!(self.octets.get(*next..)?, [] | [b'(', b'B' | b'J', ..]) {
                *next = next.checked_add(2)?;
            }
        }
        // The two octets of the end are in the run as well.
        Some(*next).filter(|end| end.saturating_add(2) <= self.run)
    }
}
