//! Rock Ridge names in the system use area of directory records (SUSP 1.12, RRIP 1.12).
//!
//! In: a record's system use area. Out: its POSIX name, its link target, and whether it is compressed.
//! Continuation areas are followed a few times; what contradicts the format ends the area.

use super::{Files, le};
use crate::archive::UnpackError;

/// Continuation areas followed for one record.
const MAX_AREAS: usize = 32;
/// Octets of a name.
const MAX_NAME: usize = 4_096;

/// What an area says.
#[derive(Default)]
pub(super) struct Rock {
    pub(super) name: Vec<u8>,
    pub(super) target: Option<Vec<u8>>,
    /// zisofs.
    pub(super) compressed: bool,
}

/// How many octets to skip in each area, by the `SP` entry of the first record of the root
/// (SUSP §5.3).
pub(super) fn skip(area: &[u8]) -> Option<usize> {
    let is_marker = area.starts_with(b"SP\x07\x01\xbe\xef");
    is_marker.then(|| area.get(6).copied().map(usize::from)).flatten()
}

/// Reads an area and what continues it.
pub(super) fn read(
    files: &mut Files<'_, '_>,
    area: &[u8],
    skip: usize,
    block: u64,
) -> Result<Rock, UnpackError> {
    let mut rock = Rock::default();
    let mut next = entries(area.get(skip..).unwrap_or_default(), &mut rock);
    for _ in 0..MAX_AREAS {
        let Some((sector, offset, length)) = next else { break };
        files.budget.charge_work(40)?;
        let start = u64::from(sector).saturating_mul(block).saturating_add(u64::from(offset));
        let length = u64::from(length).min(64 << 10);
        let more = files.read(&[(start, length)], length)?;
        files.budget.charge_work(more.len() as u64)?;
        next = entries(&more, &mut rock);
    }
    if next.is_some() {
        files.budget.left_out("what is said of a file in more than 32 areas");
    }
    Ok(rock)
}

/// Reads the entries of one area; tells where it goes on.
fn entries(mut area: &[u8], rock: &mut Rock) -> Option<(u32, u32, u32)> {
    let mut next = None;
    while let [first, second, length, ..] = area {
        let length = usize::from(*length);
        let Some(entry) = area.get(..length).filter(|_| length >= 4) else { break };
        let data = entry.get(5..).unwrap_or_default();
        match [*first, *second] {
            [b'N', b'M'] if rock.name.len() < MAX_NAME => rock.name.extend_from_slice(data),
            [b'S', b'L'] => components(data, rock.target.get_or_insert_default()),
            [b'Z', b'F'] => rock.compressed = true,
            [b'C', b'E'] => {
                next = (|| {
                    Some((le::u32_at(entry, 4)?, le::u32_at(entry, 12)?, le::u32_at(entry, 20)?))
                })();
            }
            [b'S', b'T'] => break,
            _ => {}
        }
        area = area.get(length..).unwrap_or_default();
    }
    next
}

/// Adds the components of a link target (RRIP §4.1.3).
fn components(mut data: &[u8], target: &mut Vec<u8>) {
    while let [flags, length, rest @ ..] = data {
        let text = rest.get(..usize::from(*length)).unwrap_or_default();
        if !target.is_empty() && !target.ends_with(b"/") {
            target.push(b'/');
        }
        match flags & 0x0e {
            2 => target.push(b'.'),
            4 => target.extend_from_slice(b".."),
            8 => target.push(b'/'),
            _ => target.extend_from_slice(text),
        }
        if target.len() > MAX_NAME {
            return;
        }
        data = rest.get(usize::from(*length)..).unwrap_or_default();
    }
}
