//! yEnc in text (yEnc draft 1.3): files between `=ybegin` and `=yend` lines.
//!
//! In: any content with a line that starts with `=ybegin `. Out: one member per block. The size and
//! checksum it claims are not judged, except that less than the size is missing. Of a file in several parts
//! each is a member, and unsupported: it is not the file.

use bytes::Bytes;
use memchr::memmem;

use super::names::spellings;
use super::share::Share;
use super::{Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;

const BEGIN: &[u8] = b"=ybegin ";

/// The yEnc format.
pub(super) struct Yenc;

impl Unpacker for Yenc {
    fn name(&self) -> &'static str {
        "yenc"
    }

    fn is_in_lines(&self) -> bool {
        true
    }

    /// Text may hold it anywhere, so the whole content is searched, at memory speed.
    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        find(content, 0).is_some()
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let mut share = Share { content: source.content, budget, out };
        let mut at = 0;
        while let Some(begin) = find(source.content, at) {
            let (line, mut next) = line(source.content, begin);
            let header = Begin::parse(line);
            let mut data = Vec::new();
            let mut ended = false;
            while next < source.content.len() && !ended {
                let (text, after) = self::line(source.content, next);
                share.budget.charge_work(text.len().saturating_add(1) as u64)?;
                if text.starts_with(BEGIN) {
                    break;
                }
                next = after;
                ended = text.starts_with(b"=yend");
                if !ended && !text.starts_with(b"=ypart ") {
                    decode(text, &mut data);
                }
            }
            at = next;
            let size = data.len() as u64;
            let claimed = header.size.unwrap_or(size);
            let missing = match header.part {
                Some(part) => {
                    Some(Missing::new(GapReason::Unsupported, format!("part {part} of a file")))
                }
                None if !ended || size < claimed => {
                    Some(Missing::new(GapReason::Malformed, "ends early"))
                }
                None => None,
            };
            let names = header.name.map(|name| spellings(name, false)).unwrap_or_default();
            share.partial(names, data.into(), claimed, missing)?;
        }
        Ok(())
    }
}

/// The next `=ybegin` line with a name, at or after `from`.
fn find(content: &[u8], from: usize) -> Option<usize> {
    let rest = content.get(from..)?;
    memmem::find_iter(rest, BEGIN).map(|at| from.saturating_add(at)).find(|&at| {
        let starts_line = at == 0 || content.get(at.saturating_sub(1)) == Some(&b'\n');
        starts_line && Begin::parse(line(content, at).0).name.is_some()
    })
}

/// What a `=ybegin` line says.
struct Begin<'a> {
    name: Option<&'a [u8]>,
    size: Option<u64>,
    part: Option<u64>,
}

impl<'a> Begin<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let line = line.get(..line.len().min(1_024)).unwrap_or_default();
        // The name comes last and may hold blanks.
        let split = memmem::find(line, b" name=");
        let (fields, name) = match split {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at.saturating_add(6)..)),
            None => (line, None),
        };
        let field = |key: &[u8]| {
            let at = memmem::find(fields, key)?.checked_add(key.len())?;
            let digits = fields.get(at..)?.split(|octet| !octet.is_ascii_digit()).next()?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        Self { name: name.map(<[u8]>::trim_ascii), size: field(b" size="), part: field(b" part=") }
    }
}

fn decode(line: &[u8], out: &mut Vec<u8>) {
    // Mail in transit through news doubles a dot at the start of a line.
    let line = if line.starts_with(b"..") { line.get(1..).unwrap_or_default() } else { line };
    let mut octets = line.iter();
    while let Some(&octet) = octets.next() {
        let plain = match octet {
            b'=' => match octets.next() {
                Some(&escaped) => escaped.wrapping_sub(64),
                None => break,
            },
            octet => octet,
        };
        out.push(plain.wrapping_sub(42));
    }
}

/// The line at `at` without its end, and where the next one starts.
fn line(content: &[u8], at: usize) -> (&[u8], usize) {
    let rest = content.get(at..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let text = rest.get(..end).unwrap_or_default();
    (text.strip_suffix(b"\r").unwrap_or(text), at.saturating_add(end).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn encode(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for octet in data.iter().map(|octet| octet.wrapping_add(42)) {
            if matches!(octet, 0 | b'\n' | b'\r' | b'=') {
                out.extend([b'=', octet.wrapping_add(64)]);
            } else {
                out.push(octet);
            }
        }
        out
    }

    #[test]
    fn blocks_are_decoded() {
        let data: Vec<u8> = (0..=255).collect();
        let one = [
            b"=ybegin line=128 size=256 name=a b.exe\r\n",
            &*encode(&data),
            b"\r\n=yend size=256\r\n",
        ]
        .concat();
        let part =
            b"=ybegin part=1 total=2 line=128 size=9 name=x\n=ypart begin=1 end=1\nk\n=yend\n";
        let cases: [(&str, Vec<u8>, usize, bool); 4] = [
            ("alone", one.clone(), 1, true),
            ("in text", [b"hello\r\n", &*one, b"bye"].concat(), 1, true),
            ("without an end", one[..200].to_vec(), 1, false),
            ("a part of a file", part.to_vec(), 1, false),
        ];
        for (name, content, count, is_whole) in cases {
            let found = unpack(&Yenc, content, &Limits::small());
            assert_eq!(found.members.len(), count, "{name}");
            assert_eq!(found.members[0].missing.is_none(), is_whole, "{name}");
            assert!(!is_whole || found.members[0].content == data, "{name}");
        }
        assert!(find(b"see =ybegin name=x", 0).is_none(), "not at the start of a line");
    }
}
