//! RPM packages (RPM file format v3 and v4: lead, signature, header, payload).
//!
//! In: octets that start with the lead. Out: one member: the payload, a compressed cpio archive that
//! is opened as what it is. Headers whose sizes lead beyond the end are malformed.

use bytes::Bytes;

use super::share::Share;
use super::{Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::limits::Budget;

/// Octets of the lead.
const LEAD: usize = 96;

/// The RPM format.
pub(super) struct Rpm;

impl Unpacker for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.starts_with(b"\xed\xab\xee\xdb")
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
        let malformed = |at: usize, detail| UnpackError::Malformed { offset: at as u64, detail };
        let signature = header_end(source.content, LEAD).ok_or(malformed(LEAD, "no signature"))?;
        // Only the signature is padded.
        let header = signature.checked_next_multiple_of(8).unwrap_or(signature);
        let payload = header_end(source.content, header).ok_or(malformed(header, "no header"))?;
        if payload > source.content.len() {
            return Err(malformed(header, "ends early"));
        }
        let size = source.content.len().saturating_sub(payload) as u64;
        Share { content: source.content, budget, out }.member(Vec::new(), payload as u64, size)
    }
}

/// Where the header structure at `at` ends.
fn header_end(content: &[u8], at: usize) -> Option<usize> {
    let header = content.get(at..at.checked_add(16)?)?;
    let header = header.strip_prefix(b"\x8e\xad\xe8")?;
    let number = |from: usize| {
        let octets = header.get(from..from.checked_add(4)?)?;
        usize::try_from(u32::from_be_bytes(octets.try_into().ok()?)).ok()
    };
    let index = number(5)?.checked_mul(16)?;
    at.checked_add(16)?.checked_add(index)?.checked_add(number(9)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn header(entries: u8, data: u8) -> Vec<u8> {
        let mut out = b"\x8e\xad\xe8\x01\0\0\0\0\0\0\0".to_vec();
        out.extend([entries, 0, 0, 0, data]);
        out.resize(16 + usize::from(entries) * 16 + usize::from(data), 0);
        out
    }

    #[test]
    fn the_payload_is_found() {
        let mut content = b"\xed\xab\xee\xdb\x03\0".to_vec();
        content.resize(LEAD, 0);
        content.extend(header(1, 3));
        content.resize(content.len().next_multiple_of(8), 0);
        content.extend(header(2, 5));
        let cut = content.len() - 3;
        content.extend(b"070701");
        let found = unpack(&Rpm, content.clone(), &Limits::small());
        assert_eq!(found.texts(), [":070701"]);
        content.truncate(cut);
        assert!(unpack(&Rpm, content, &Limits::small()).result.is_err());
    }
}
