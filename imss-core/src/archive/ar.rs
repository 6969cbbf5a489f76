//! ar, and Debian packages, which are ar archives (deb(5)): System V/GNU and BSD long names.
//!
//! In: octets that start with `!<arch>`. Out: one member per file, sharing the archive's octets; the
//! archives inside a package are opened as what they are. A header without its end mark ends the
//! archive: malformed.

use bytes::Bytes;

use super::names::spellings;
use super::share::Share;
use super::{Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::limits::Budget;

const MAGIC: &[u8] = b"!<arch>\n";
/// Octets of a member's header.
const HEADER: usize = 60;

/// The ar format.
pub(super) struct Ar;

impl Unpacker for Ar {
    fn name(&self) -> &'static str {
        "ar"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.starts_with(MAGIC)
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let content = source.content;
        let mut share = Share { content, budget, out };
        let mut long_names = Bytes::new();
        let mut at = MAGIC.len();
        while at.saturating_add(1) < content.len() {
            share.budget.charge_work(HEADER as u64)?;
            let offset = at as u64;
            let malformed = |detail| UnpackError::Malformed { offset, detail };
            let header =
                content.get(at..at.saturating_add(HEADER)).ok_or(malformed("ends early"))?;
            if header.get(58..60) != Some(b"`\n".as_slice()) {
                return Err(malformed("not a member's header"));
            }
            let size = header.get(48..58).and_then(decimal).ok_or(malformed("no size"))?;
            let raw = header.get(..16).unwrap_or_default().trim_ascii_end();
            let start = at.saturating_add(HEADER) as u64;
            if raw == b"//" || raw == b"ARFILENAMES/" {
                long_names = share.slice(start, size);
            } else {
                let (name, skip) = name(&share, raw, start, size, &long_names);
                share.member(
                    spellings(&name, false),
                    start.saturating_add(skip),
                    size.saturating_sub(skip),
                )?;
            }
            let end = super::le::length(start.saturating_add(size));
            at = end.checked_next_multiple_of(2).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// A member's name, and how many octets of its content that takes.
fn name(
    share: &Share<'_, '_, '_>,
    raw: &[u8],
    start: u64,
    size: u64,
    long_names: &[u8],
) -> (Vec<u8>, u64) {
    if let Some(length) = raw.strip_prefix(b"#1/").and_then(decimal) {
        let length = length.min(size).min(4_096);
        let name = share.slice(start, length);
        let name = name.split(|&octet| octet == 0).next().unwrap_or_default();
        return (name.to_vec(), length);
    }
    if let Some(place) = raw.strip_prefix(b"/").and_then(decimal) {
        let name = long_names.get(super::le::length(place)..).unwrap_or_default();
        let name = name.split(|&octet| matches!(octet, b'\n' | 0)).next().unwrap_or_default();
        return (name.strip_suffix(b"/").unwrap_or(name).to_vec(), 0);
    }
    let plain = raw.strip_suffix(b"/").filter(|name| !name.is_empty()).unwrap_or(raw);
    (plain.to_vec(), 0)
}

fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len());
        let mut out = [header.as_bytes(), data].concat();
        if data.len() % 2 == 1 {
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn names_of_every_kind() {
        type Row = (&'static str, Vec<Vec<u8>>, &'static [&'static str], bool);
        let cases: [Row; 5] = [
            (
                "System V",
                vec![member("a.txt/", b"one"), member("b", b"two!")],
                &["a.txt:one", "b:two!"],
                true,
            ),
            (
                "GNU long names",
                vec![
                    member("//", b"first_long_name.txt/\nother/\n"),
                    member("/0", b"x"),
                    member("/21", b"y"),
                ],
                &["first_long_name.txt:x", "other:y"],
                true,
            ),
            ("BSD long names", vec![member("#1/8", b"long.exeMZ")], &["long.exe:MZ"], true),
            (
                "a Debian package",
                vec![member("debian-binary", b"2.0\n"), member("data.tar", b"x")],
                &["debian-binary:2.0\n", "data.tar:x"],
                true,
            ),
            (
                "junk instead of a header",
                vec![member("a", b"xx"), vec![b'?'; 80]],
                &["a:xx"],
                false,
            ),
        ];
        for (name, pieces, texts, is_whole) in cases {
            let found = unpack(&Ar, [MAGIC.to_vec(), pieces.concat()].concat(), &Limits::small());
            assert_eq!(found.texts(), texts, "{name}");
            assert_eq!(found.result.is_ok(), is_whole, "{name}");
        }
    }
}
