//! ISO 9660 volumes: the primary, and supplementary ones (Joliet, ISO 9660:1999).
//!
//! In: an image with volume descriptors (ECMA-119 §8). Out: the files of every volume. Directories are
//! read breadth first, each place once; a record without a plausible length skips to the next sector.

use std::collections::{HashSet, VecDeque};

use super::rockridge::{self, Rock};
use super::{DESCRIPTORS, File, Files, SECTOR, le};
use crate::archive::UnpackError;
use crate::archive::names::{add, spellings};

/// Volume descriptors looked at.
const MAX_DESCRIPTORS: usize = 64;
/// Octets of a path.
const MAX_PATH: usize = 4_096;

/// One volume.
struct Volume {
    block: u64,
    /// Names are UCS-2 (Joliet).
    wide: bool,
    root: (u64, u64),
}

/// Reads every volume. Tells whether there is one.
pub(super) fn read(files: &mut Files<'_, '_>) -> Result<bool, UnpackError> {
    let mut found = false;
    let mut problem = None;
    for number in 0.. {
        if number >= MAX_DESCRIPTORS {
            files.budget.left_out("volumes past 64");
            break;
        }
        let at = DESCRIPTORS.saturating_add(number.saturating_mul(SECTOR));
        let content = files.content.clone();
        let Some(descriptor) = content.get(at..at.saturating_add(SECTOR)) else { break };
        if descriptor.get(1..6) != Some(b"CD001".as_slice()) {
            // UDF descriptors may stand between.
            let id = descriptor.get(1..6);
            if matches!(id, Some(b"BEA01" | b"NSR02" | b"NSR03" | b"TEA01")) {
                continue;
            }
            break;
        }
        match descriptor.first() {
            Some(1 | 2) => {}
            // The terminator; some writers put volumes behind it, so the next sector is looked at.
            _ => continue,
        }
        if let Some(volume) = volume(descriptor) {
            found = true;
            if let Err(error) = walk(files, &volume) {
                problem.get_or_insert(error);
            }
        }
    }
    problem.map_or(Ok(found), Err)
}

fn volume(descriptor: &[u8]) -> Option<Volume> {
    let block = le::u16_at(descriptor, 128).map(u64::from);
    let block = block.filter(|&block| block >= 256 && block.is_power_of_two()).unwrap_or(2_048);
    let escape = descriptor.get(88..91)?;
    let wide = descriptor.first() == Some(&2) && matches!(escape, b"%/@" | b"%/C" | b"%/E");
    let root = descriptor.get(156..190)?;
    let start = u64::from(le::u32_at(root, 2)?).checked_mul(block)?;
    Some(Volume { block, wide, root: (start, u64::from(le::u32_at(root, 10)?)) })
}

/// A directory to read: where it lies, and the spellings of its path.
type Folder = ((u64, u64), Vec<String>);

fn walk(files: &mut Files<'_, '_>, volume: &Volume) -> Result<(), UnpackError> {
    let mut seen = HashSet::from([volume.root.0]);
    let mut queue: VecDeque<Folder> = VecDeque::from([(volume.root, vec![String::new()])]);
    // How many octets Rock Ridge skips in each record.
    let mut skip = None;
    while let Some(((start, size), path)) = queue.pop_front() {
        let records = files.read(&[(start, size)], size)?;
        if records.is_empty() && size > 0 {
            return Err(UnpackError::Malformed {
                offset: start,
                detail: "directory beyond the end",
            });
        }
        let mut extents: Vec<(u64, u64)> = Vec::new();
        let mut at = 0_usize;
        while at < records.len() {
            files.budget.charge_work(40)?;
            let length = records.get(at).copied().map_or(0, usize::from);
            let record = records.get(at..at.saturating_add(length));
            let Some(record) = record.and_then(|raw| Record::parse(raw, volume.block)) else {
                at = (at / SECTOR).saturating_add(1).saturating_mul(SECTOR);
                continue;
            };
            at = at.saturating_add(length);
            if skip.is_none() {
                skip = Some(rockridge::skip(record.system_use).unwrap_or(0));
            }
            if matches!(record.id, [0 | 1]) {
                continue;
            }
            let rock = rockridge::read(files, record.system_use, skip.unwrap_or(0), volume.block)?;
            let names = join(&path, &record.names(volume.wide, &rock));
            if record.flags & 2 != 0 {
                if seen.insert(record.start) {
                    queue.push_back(((record.start, record.size), names));
                }
                continue;
            }
            extents.push((record.start, record.size));
            // The file goes on in the next record (ECMA-119 §9.1.6).
            if record.flags & 0x80 != 0 && extents.len() < 10_000 {
                continue;
            }
            add_file(files, names, std::mem::take(&mut extents), rock)?;
        }
    }
    Ok(())
}

fn add_file(
    files: &mut Files<'_, '_>,
    mut names: Vec<String>,
    extents: Vec<(u64, u64)>,
    rock: Rock,
) -> Result<(), UnpackError> {
    if let Some(target) = &rock.target {
        add(&mut names, spellings(target, false));
    }
    let size = extents.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
    let unsupported = rock.compressed.then_some("zisofs compression");
    files.add(File { names, extents, size, unsupported })
}

/// Each spelling of the folder before each spelling of the name, at most as many as are useful.
fn join(path: &[String], names: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let folder = path.get(index).or(path.first()).map_or("", String::as_str);
        let cut = name.get(..name.floor_char_boundary(MAX_PATH)).unwrap_or_default();
        let folder = if folder.len() > MAX_PATH { "" } else { folder };
        let joined = if folder.is_empty() { cut.to_owned() } else { format!("{folder}/{cut}") };
        add(&mut all, vec![joined]);
    }
    all
}

/// A directory record (ECMA-119 §9.1).
struct Record<'a> {
    start: u64,
    size: u64,
    flags: u8,
    id: &'a [u8],
    system_use: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(raw: &'a [u8], block: u64) -> Option<Self> {
        let attributes = u64::from(*raw.get(1)?);
        let start = u64::from(le::u32_at(raw, 2)?).checked_add(attributes)?.checked_mul(block)?;
        let size = u64::from(le::u32_at(raw, 10)?);
        let flags = *raw.get(25)?;
        let length = usize::from(*raw.get(32)?);
        let end = 33_usize.checked_add(length)?;
        let id = raw.get(33..end).filter(|id| !id.is_empty())?;
        // A name of even length is padded (ECMA-119 §9.1.12).
        let padded = if length % 2 == 0 { end.checked_add(1)? } else { end };
        let system_use = raw.get(padded..).unwrap_or_default();
        Some(Self { start, size, flags, id, system_use })
    }

    fn names(&self, wide: bool, rock: &Rock) -> Vec<String> {
        let mut names = Vec::new();
        if !rock.name.is_empty() {
            add(&mut names, spellings(&rock.name, false));
        }
        let own = if wide {
            vec![encoding_rs::UTF_16BE.decode_without_bom_handling(self.id).0.into_owned()]
        } else {
            spellings(self.id, false)
        };
        for name in &own {
            // `NAME.EXT;1` is shown as `NAME.EXT`.
            let shown = name.rsplit_once(';').map_or(name.as_str(), |(shown, _)| shown);
            let shown = if wide { shown } else { shown.strip_suffix('.').unwrap_or(shown) };
            add(&mut names, vec![shown.to_owned()]);
        }
        names
    }
}
