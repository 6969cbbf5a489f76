//! CMS signed and compressed data → the message inside (RFC 5652 §5, RFC 3274), and time-stamped data
//! → the file inside (RFC 5544).
//!
//! In: DER, or BER with indefinite lengths. Out: one member, the MIME entity that was signed or
//! compressed, or the file of any kind that got a time stamp. Signatures are not verified. Only the way to the content is read; lengths that pass
//! the end give what is there, and a gap says so. Detached signatures and enveloped data hold nothing
//! that could be handed over.

use bytes::Bytes;
use flate2::read::ZlibDecoder;

use super::drain::drain;
use super::{Member, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::limits::Budget;

/// 1.2.840.113549.1
const PKCS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01";

/// Constructed tags on the way.
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const OCTETS: u8 = 0x04;
const OCTETS_IN_PIECES: u8 = 0x24;
const IDENTIFIER: u8 = 0x06;
const UTF8: u8 = 0x0c;
const IA5: u8 = 0x16;

/// What a CMS object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Signed data, with or without its content.
    Signed,
    /// Compressed data.
    Compressed,
    /// Enveloped, encrypted or authenticated-enveloped data.
    Encrypted,
}

/// The kind of the CMS object that `content` starts with.
pub(crate) fn kind(content: &[u8]) -> Option<Kind> {
    let mut info = Der(content).enter(SEQUENCE)?;
    match info.take(IDENTIFIER)?.strip_prefix(PKCS)? {
        b"\x07\x02" => Some(Kind::Signed),
        b"\x07\x03" | b"\x07\x06" | b"\x09\x10\x01\x17" => Some(Kind::Encrypted),
        b"\x09\x10\x01\x09" => Some(Kind::Compressed),
        _ => None,
    }
}

/// Whether signed or compressed data carries a message.
pub(crate) fn has_content(content: &[u8]) -> bool {
    encapsulated(content).is_some()
}

/// The CMS unpacker.
#[derive(Debug)]
pub(super) struct Cms;

impl Unpacker for Cms {
    fn name(&self) -> &'static str {
        "cms"
    }

    fn recognises(&self, content: &Bytes, _: &FileType) -> bool {
        content.first() == Some(&SEQUENCE) && (has_content(content) || stamped(content).is_some())
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let stamped = || stamped(source.content);
        let found = encapsulated(source.content).map(|octets| (Vec::new(), octets));
        let Some((names, der)) = found.or_else(stamped) else { return Ok(()) };
        budget.charge_entity()?;
        let wrapped = source.content.len() as u64;
        budget.charge_work(wrapped)?;
        budget.charge_bytes(wrapped)?;
        let (mut content, is_whole) = der.octets();
        let mut missing = None;
        if kind(source.content) == Some(Kind::Compressed) {
            let packed = content.len() as u64;
            let open = || Ok(ZlibDecoder::new(content.as_slice()));
            let drained = drain(open, packed, budget, &mut Vec::new());
            (content, missing) = (drained.bytes, drained.missing);
        }
        let claimed_size = content.len() as u64;
        let content = Bytes::from(content);
        out(Unpacked::Member(Member { names, claimed_size, content, missing }));
        if is_whole {
            return Ok(());
        }
        Err(UnpackError::Malformed { offset: wrapped, detail: "the signed content is cut" })
    }
}

/// The octet string of the content: both kinds have it as the third field (version, algorithms).
fn encapsulated(content: &[u8]) -> Option<Der<'_>> {
    if !matches!(kind(content)?, Kind::Signed | Kind::Compressed) {
        return None;
    }
    let mut info = Der(content).enter(SEQUENCE)?;
    info.take(IDENTIFIER)?;
    let mut data = info.enter(EXPLICIT_0)?.enter(SEQUENCE)?;
    data.skip()?;
    data.skip()?;
    let mut encapsulated = data.enter(SEQUENCE)?;
    let is_data = encapsulated.take(IDENTIFIER)?.strip_prefix(PKCS)? == b"\x07\x01";
    let octets = encapsulated.enter(EXPLICIT_0)?;
    let is_string = matches!(octets.0.first(), Some(&(OCTETS | OCTETS_IN_PIECES)));
    (is_data && is_string).then_some(octets)
}

/// The name and the octet string of time-stamped data: behind the version, where the file lies
/// elsewhere too, and what is known about it (RFC 5544 §2).
fn stamped(content: &[u8]) -> Option<(Vec<String>, Der<'_>)> {
    let mut info = Der(content).enter(SEQUENCE)?;
    if info.take(IDENTIFIER)?.strip_prefix(PKCS)? != b"\x09\x10\x01\x1f" {
        return None;
    }
    let mut data = info.enter(EXPLICIT_0)?.enter(SEQUENCE)?;
    data.skip()?;
    let mut names = Vec::new();
    for tag in [IA5, SEQUENCE] {
        if *data.0.first()? == tag {
            names.extend(data.enter(SEQUENCE).and_then(file_name));
            data.skip()?;
        }
    }
    matches!(data.0.first(), Some(&(OCTETS | OCTETS_IN_PIECES))).then_some((names, data))
}

/// The name in the description of a file: behind whether the stamp covers it.
fn file_name(mut about: Der<'_>) -> Option<String> {
    about.skip()?;
    about.take(UTF8).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Octets at which an element starts (X.690 §8.1).
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag, octets of the header, length if it is definite.
    fn header(self) -> Option<(u8, usize, Option<usize>)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let count = usize::from(first & 0x7f);
        match first {
            0..0x80 => Some((tag, 2, Some(count))),
            0x80 => Some((tag, 2, None)),
            _ => {
                let octets = rest.get(..count).filter(|octets| octets.len() <= 8)?;
                let length = octets.iter().fold(0_u64, |sum, o| sum << 8 | u64::from(*o));
                Some((tag, count.checked_add(2)?, Some(super::le::length(length))))
            }
        }
    }

    /// What is inside the element, if it has that tag: to the end of all, if its length is open.
    fn enter(self, tag: u8) -> Option<Self> {
        let (found, header, length) = self.header()?;
        let inside = self.0.get(header..).filter(|_| found == tag)?;
        let end = length.unwrap_or(inside.len()).min(inside.len());
        Some(Self(inside.get(..end)?))
    }

    /// The content of a primitive element; goes on behind it.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, header, length) = self.header()?;
        let end = header.checked_add(length?)?;
        let content = self.0.get(header..end).filter(|_| found == tag)?;
        self.0 = self.0.get(end..)?;
        Some(content)
    }

    /// Goes on behind an element, whatever it is.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            let (tag, header, length) = self.header()?;
            match length {
                None => open = open.checked_add(1)?,
                Some(0) if tag == 0 => open = open.checked_sub(1)?,
                Some(_) => {}
            }
            self.0 = self.0.get(header.checked_add(length.unwrap_or(0))?..)?;
            if open == 0 {
                return Some(());
            }
        }
    }

    /// The octets of a string, put together if it is in pieces, and whether it is all there.
    fn octets(mut self) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        while let Some((tag, header, length)) = self.header() {
            match (tag, length) {
                (OCTETS_IN_PIECES, _) | (0, Some(0)) => {
                    // After a string in one piece, whatever follows is not part of it.
                    self.0 = self.0.get(header..).unwrap_or_default();
                }
                (OCTETS, Some(length)) => {
                    let rest = self.0.get(header..).unwrap_or_default();
                    let Some(piece) = rest.get(..length) else {
                        out.extend_from_slice(rest);
                        return (out, false);
                    };
                    out.extend_from_slice(piece);
                    self.0 = rest.get(length..).unwrap_or_default();
                }
                _ => break,
            }
        }
        (out, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const MIME: &[u8] = b"Content-Type: text/plain\r\n\r\nsigned";

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn open(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, 0x80], content, &[0, 0]].concat()
    }

    fn oid(last: &[u8]) -> Vec<u8> {
        let identifier = [PKCS, last].concat();
        [&[6, u8::try_from(identifier.len()).unwrap()], &identifier[..]].concat()
    }

    fn stamped(rest: &[u8], wrap: Wrap) -> Vec<u8> {
        let data = wrap(0x30, &[b"\x02\x01\x01", rest].concat());
        wrap(0x30, &[oid(b"\x09\x10\x01\x1f"), wrap(0xa0, &data)].concat())
    }

    type Wrap = fn(u8, &[u8]) -> Vec<u8>;

    fn wrapped(kind: &[u8], octets: &[u8], wrap: Wrap) -> Vec<u8> {
        let inner = wrap(0x30, &[oid(b"\x07\x01"), wrap(0xa0, octets)].concat());
        let algorithms = wrap(0x31, &wrap(0x30, b"\x06\x01\x00"));
        let data = wrap(0x30, &[b"\x02\x01\x01".to_vec(), algorithms, inner].concat());
        wrap(0x30, &[oid(kind), wrap(0xa0, &data)].concat())
    }

    fn unpacked(content: &[u8]) -> Vec<Bytes> {
        let limits = Limits::small();
        let content = Bytes::copy_from_slice(content);
        let (detected, passwords) =
            (crate::filetype::detect(&content), super::super::Passwords::none());
        let source =
            Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
        let mut found = Vec::new();
        if Cms.recognises(&content, &detected) {
            let _ = Cms.unpack(&source, &mut Budget::new(&limits), &mut |one| {
                if let Unpacked::Member(member) = one {
                    found.push(member.content);
                }
            });
        }
        found
    }

    #[test]
    fn contents() {
        use std::io::Write;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(MIME).unwrap();
        let zlib = tlv(4, &zlib.finish().unwrap());
        let pieces = open(0x24, &[tlv(4, &MIME[..9]), tlv(4, &MIME[9..])].concat());
        let about =
            [tlv(0x16, b"https://example.com/a"), tlv(0x30, b"\x01\x01\0\x0c\x01a")].concat();
        let cases = [
            ("DER", wrapped(b"\x07\x02", &tlv(4, MIME), tlv)),
            ("BER", wrapped(b"\x07\x02", &tlv(4, MIME), open)),
            ("in pieces", wrapped(b"\x07\x02", &pieces, open)),
            ("compressed", wrapped(b"\x09\x10\x01\x09", &zlib, tlv)),
            ("time-stamped", stamped(&tlv(4, MIME), tlv)),
            ("time-stamped, in pieces", stamped(&[pieces, open(0xa0, b"")].concat(), open)),
            ("time-stamped, with a name", stamped(&[about.clone(), tlv(4, MIME)].concat(), tlv)),
        ];
        for (name, content) in cases {
            assert_eq!(unpacked(&content), [Bytes::from_static(MIME)], "{name}");
            for end in 0..content.len() {
                unpacked(&content[..end]);
            }
        }
        let named = stamped(&[about, tlv(4, MIME)].concat(), tlv);
        assert_eq!(super::stamped(&named).unwrap().0, ["a"]);
        assert_eq!(crate::filetype::detect(&named).extension, "tsd");
        assert_eq!(kind(&named), None, "it holds no MIME entity");
        assert!(unpacked(&wrapped(b"\x07\x03", &tlv(4, MIME), tlv)).is_empty(), "enveloped");
    }
}
