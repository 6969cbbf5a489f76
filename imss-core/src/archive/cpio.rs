//! cpio: newc and crc (SVR4), odc (POSIX.1-1988 §10.1.2), old binary in both byte orders.
//!
//! In: octets that start with a header. Out: one member per file, sharing the archive's octets; a
//! symbolic link has its target as a further name. Directories are left out.
//!
//! Where a header should be and is none, the next one is searched and the archive is malformed, as
//! repairing readers do. Entries after the trailer are read too.

use bytes::Bytes;

use super::names::{add, spellings};
use super::share::Share;
use super::{Source, UnpackError, Unpacked, Unpacker};
use crate::anomaly::AnomalyKind;
use crate::filetype::FileType;
use crate::limits::Budget;

/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Octets of a name.
const MAX_NAME: usize = 64 << 10;
/// Places that are read as a header behind octets that are none.
const MAX_PLACES: usize = 10_000;

/// The cpio format.
pub(super) struct Cpio;

impl Unpacker for Cpio {
    fn name(&self) -> &'static str {
        "cpio"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        has_header(content)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let mut share = Share { content: source.content, budget, out };
        let mut problem = None;
        let (mut at, mut ended) = (0_usize, false);
        while at < source.content.len() {
            share.budget.charge_work(64)?;
            let Some(header) = Header::at(source.content, at) else {
                let rest = source.content.get(at..).unwrap_or_default();
                let zeros = rest.iter().take_while(|&&octet| octet == 0).count();
                share.budget.charge_work(rest.len() as u64 / 8)?;
                if zeros == rest.len() {
                    break;
                }
                let next = search(source.content, at.saturating_add(zeros), share.budget);
                let Some(next) = next else {
                    if ended {
                        let detail = "octets after the trailer";
                        share.tell(AnomalyKind::TrailingData, at as u64, detail);
                    }
                    break;
                };
                let problem_here =
                    UnpackError::Malformed { offset: at as u64, detail: "no header" };
                if next > at.saturating_add(zeros) || !ended {
                    problem.get_or_insert(problem_here);
                }
                at = next;
                continue;
            };
            if ended {
                share.tell(AnomalyKind::TrailingData, at as u64, "entries after the trailer");
                ended = false;
            }
            if header.name == TRAILER && header.size == 0 {
                ended = true;
            } else {
                entry(&mut share, &header)?;
            }
            at = header.next.max(at.saturating_add(1));
        }
        if !ended {
            let offset = source.content.len() as u64;
            problem.get_or_insert(UnpackError::Malformed { offset, detail: "no trailer" });
        }
        problem.map_or(Ok(()), Err)
    }
}

/// Whether the first octets are a header.
pub(super) fn has_header(content: &[u8]) -> bool {
    Header::at(content, 0).is_some()
}

fn entry(share: &mut Share<'_, '_, '_>, header: &Header<'_>) -> Result<(), UnpackError> {
    let mut names = spellings(header.name, false);
    match header.mode & 0o170_000 {
        0o040_000 => Ok(()),
        0o120_000 => {
            let target = share.slice(header.start as u64, header.size.min(4_096));
            add(&mut names, spellings(&target, false));
            share.content(names, Bytes::new(), 0)
        }
        _ => share.member(names, header.start as u64, header.size),
    }
}

/// Where the next header is, at or after `from`.
fn search(content: &[u8], from: usize, budget: &mut Budget<'_>) -> Option<usize> {
    let rest = content.get(from..)?;
    let found = memchr::memmem::find_iter(rest, b"0707").map(|at| from.saturating_add(at));
    for (number, at) in found.enumerate() {
        if number >= MAX_PLACES {
            budget.left_out("entries past 10,000 places where one may start");
            break;
        }
        if Header::at(content, at).is_some() {
            return Some(at);
        }
    }
    // Old binary headers have no signature worth searching; they are met where zeros end.
    Header::at(content, from).map(|_| from)
}

struct Header<'a> {
    name: &'a [u8],
    mode: u32,
    /// Where its content starts.
    start: usize,
    size: u64,
    /// Where the next header is.
    next: usize,
}

/// The fields of a header, before the name.
struct Fields {
    length: usize,
    align: usize,
    mode: u64,
    name: u64,
    size: u64,
}

impl<'a> Header<'a> {
    fn at(content: &'a [u8], at: usize) -> Option<Self> {
        let rest = content.get(at..)?;
        let fields = match rest {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => newc(rest)?,
            [b'0', b'7', b'0', b'7', b'0', b'7', ..] => odc(rest)?,
            [0xc7, 0x71, ..] => binary(rest, u16::from_le_bytes)?,
            [0x71, 0xc7, ..] => binary(rest, u16::from_be_bytes)?,
            _ => return None,
        };
        let length =
            usize::try_from(fields.name).ok().filter(|length| (1..=MAX_NAME).contains(length))?;
        let end = fields.length.checked_add(length)?;
        let name = rest.get(fields.length..end)?;
        let name = name.split(|&octet| octet == 0).next().unwrap_or_default();
        let start = at.checked_add(end.checked_next_multiple_of(fields.align)?)?;
        let size = usize::try_from(fields.size).ok()?;
        let padded = size.checked_next_multiple_of(fields.align)?;
        let next = start.checked_add(padded)?;
        let mode = u32::try_from(fields.mode).ok()?;
        Some(Self { name, mode, start, size: fields.size, next })
    }
}

fn newc(rest: &[u8]) -> Option<Fields> {
    let field = |number: usize| {
        let start = number.checked_mul(8)?.checked_add(6)?;
        digits(rest.get(start..start.checked_add(8)?)?, 16)
    };
    Some(Fields { length: 110, align: 4, mode: field(1)?, name: field(11)?, size: field(6)? })
}

fn odc(rest: &[u8]) -> Option<Fields> {
    let field =
        |start: usize, length: usize| digits(rest.get(start..start.checked_add(length)?)?, 8);
    Some(Fields {
        length: 76,
        align: 1,
        mode: field(18, 6)?,
        name: field(59, 6)?,
        size: field(65, 11)?,
    })
}

fn binary(rest: &[u8], order: fn([u8; 2]) -> u16) -> Option<Fields> {
    let word = |at: usize| {
        let octets = rest.get(at..at.checked_add(2)?)?;
        Some(u64::from(order(octets.try_into().ok()?)))
    };
    // The high word comes first in both byte orders.
    let size = (word(22)? << 16) | word(24)?;
    let mode = word(6)?;
    let kind = mode & 0o170_000;
    let known =
        [0o100_000, 0o040_000, 0o120_000, 0o060_000, 0o020_000, 0o010_000, 0o140_000, 0o110_000, 0];
    known.contains(&kind).then_some(Fields { length: 26, align: 2, mode, name: word(20)?, size })
}

fn digits(field: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    if text.starts_with('+') {
        return None;
    }
    u64::from_str_radix(text.trim(), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn newc_entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            1, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0
        )
        .into_bytes();
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn odc_entry(name: &str, data: &[u8]) -> Vec<u8> {
        let head = format!(
            "070707{:06o}{:06o}{:06o}{:06o}{:06o}{:06o}{:06o}{:011o}{:06o}{:011o}",
            0,
            1,
            0o100_644,
            0,
            0,
            1,
            0,
            0,
            name.len() + 1,
            data.len()
        );
        [head.as_bytes(), name.as_bytes(), b"\0", data].concat()
    }

    fn binary_entry(name: &str, data: &[u8], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let words = [0o070_707, 0, 1, 0o100_644, 0, 0, 1, 0, 0, 0];
        let mut out: Vec<u8> = words.into_iter().flat_map(order).collect();
        out.extend(order(u16::try_from(name.len() + 1).unwrap()));
        out.extend(order(0));
        out.extend(order(u16::try_from(data.len()).unwrap()));
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(2), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(2), 0);
        out
    }

    #[test]
    fn every_variant_is_read() {
        let end = newc_entry("TRAILER!!!", 0, b"");
        let file = newc_entry("a.txt", 0o100_644, b"hello");
        type Row = (&'static str, Vec<Vec<u8>>, &'static [&'static str], usize, bool);
        let cases: [Row; 7] = [
            ("newc", vec![file.clone(), end.clone()], &["a.txt:hello"], 0, true),
            (
                "a link and a directory",
                vec![
                    newc_entry("d", 0o040_755, b""),
                    newc_entry("l", 0o120_777, b"target"),
                    end.clone(),
                ],
                &["l:"],
                0,
                true,
            ),
            (
                "odc",
                vec![odc_entry("a", b"xyz"), odc_entry("TRAILER!!!", b"")],
                &["a:xyz"],
                0,
                true,
            ),
            (
                "little-endian binary",
                vec![
                    binary_entry("ab", b"xyz", u16::to_le_bytes),
                    binary_entry("TRAILER!!!", b"", u16::to_le_bytes),
                ],
                &["ab:xyz"],
                0,
                true,
            ),
            (
                "big-endian binary",
                vec![
                    binary_entry("ab", b"xyz", u16::to_be_bytes),
                    binary_entry("TRAILER!!!", b"", u16::to_be_bytes),
                ],
                &["ab:xyz"],
                0,
                true,
            ),
            (
                "entries after the trailer",
                vec![file.clone(), end.clone(), vec![0; 64], file.clone(), end.clone()],
                &["a.txt:hello", "a.txt:hello"],
                1,
                true,
            ),
            (
                "octets between entries",
                vec![file.clone(), b"junk".to_vec(), file.clone()],
                &["a.txt:hello", "a.txt:hello"],
                0,
                false,
            ),
        ];
        for (name, pieces, texts, anomalies, is_whole) in cases {
            let found = unpack(&Cpio, pieces.concat(), &Limits::small());
            assert_eq!(found.texts(), texts, "{name}");
            assert_eq!(found.anomalies.len(), anomalies, "{name}");
            assert_eq!(found.result.is_ok(), is_whole, "{name}: {:?}", found.result);
        }
    }

    #[test]
    fn what_is_cut_is_missing() {
        let mut content = newc_entry("a.txt", 0o100_644, b"hello");
        content.truncate(content.len() - 5);
        let found = unpack(&Cpio, content, &Limits::small());
        assert!(found.members[0].missing.is_some());
        assert!(found.result.is_err());
    }
}
