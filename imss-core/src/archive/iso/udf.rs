//! UDF volumes 1.02 to 2.60 (ECMA-167, OSTA UDF): plain, sparable and metadata partitions.
//!
//! In: an image with an anchor volume descriptor pointer. Out: the files of its file set. Every place is
//! visited once. Virtual partitions (multi-session CD-R) are not read, and say so.

use std::collections::{HashSet, VecDeque};

use super::{File, Files, SECTOR, le};
use crate::archive::UnpackError;

/// Allocation descriptors of one file, and descriptors of one sequence.
const MAX_DESCRIPTORS: usize = 20_000;
/// Octets of a path.
const MAX_PATH: usize = 4_096;

/// Whether there is an anchor at sector 256 (ECMA-167 3/8.4.2.1).
pub(super) fn has_anchor(content: &[u8]) -> bool {
    anchor(content).is_some()
}

fn anchor(content: &[u8]) -> Option<(usize, usize)> {
    // Sector sizes of discs, of disks, and of 4K disks; then the last sector.
    let last = (content.len() / SECTOR).saturating_sub(1);
    let places = [
        (256, SECTOR),
        (256, 512),
        (256, 4_096),
        (last, SECTOR),
        (last.saturating_sub(256), SECTOR),
    ];
    places.into_iter().find_map(|(sector, size)| {
        let at = sector.checked_mul(size)?;
        let block = tagged(content, at, 2)?;
        let start = usize::try_from(le::u32_at(block, 20)?).ok()?.checked_mul(size)?;
        Some((start, size))
    })
}

/// The descriptor at `at`, if its tag has that identifier and a right checksum (ECMA-167 3/7.2).
fn tagged(content: &[u8], at: usize, id: u16) -> Option<&[u8]> {
    let rest = content.get(at..)?;
    let tag = rest.get(..16)?;
    let sum = tag.iter().enumerate().filter(|(index, _)| *index != 4);
    let sum = sum.fold(0_u8, |sum, (_, octet)| sum.wrapping_add(*octet));
    (le::u16_at(tag, 0) == Some(id) && tag.get(4) == Some(&sum)).then_some(rest)
}

/// Where blocks of a partition reference lie.
enum Partition {
    /// In order, from an octet.
    Plain(u64),
    /// In the extents of the metadata file (UDF 2.50 §2.2.10).
    Metadata(Vec<(u64, u64)>),
    Unsupported,
}

struct Volume {
    block: u64,
    partitions: Vec<Partition>,
    file_set: (u64, u16),
}

/// Reads the files of the volume.
pub(super) fn read(files: &mut Files<'_, '_>) -> Result<(), UnpackError> {
    let malformed = |detail| UnpackError::Malformed { offset: 0, detail };
    let content = files.content.clone();
    let volume = volume(&content).ok_or(malformed("no UDF volume"))?;
    let (block, reference) = volume.file_set;
    let at =
        volume.place(block, reference).ok_or(malformed("no UDF partition that can be read"))?;
    let set = tagged(&content, le::length(at), 256).ok_or(malformed("no UDF file set"))?;
    let root = long_ad(set, 400).ok_or(malformed("no UDF root"))?;
    walk(files, &content, &volume, root)
}

fn volume(content: &[u8]) -> Option<Volume> {
    let (start, sector) = anchor(content)?;
    let (mut bases, mut logical) = (Vec::new(), None);
    for number in 0..64_usize {
        let at = start.checked_add(number.checked_mul(sector)?)?;
        if let Some(partition) = tagged(content, at, 5) {
            let base = u64::from(le::u32_at(partition, 188)?).checked_mul(sector as u64)?;
            bases.push((le::u16_at(partition, 22)?, base));
        } else if let Some(found) = tagged(content, at, 6) {
            logical = Some(found);
        } else if tagged(content, at, 8).is_some() {
            break;
        }
    }
    let logical = logical?;
    let block = u64::from(le::u32_at(logical, 212)?);
    let block = Some(block).filter(|block| (512..=32_768).contains(block))?;
    let (set, reference) = (le::u32_at(logical, 252)?, le::u16_at(logical, 256)?);
    let base = |number: u16| {
        bases.iter().find(|(known, _)| *known == number).or(bases.first()).map(|(_, base)| *base)
    };
    let mut partitions = Vec::new();
    let mut at = 440_usize;
    for _ in 0..le::u32_at(logical, 268)?.min(8) {
        let length = usize::from(*logical.get(at.checked_add(1)?)?);
        let map = logical.get(at..at.checked_add(length)?).filter(|map| map.len() >= 6)?;
        partitions.push(partition(content, map, block, &base).unwrap_or(Partition::Unsupported));
        at = at.checked_add(length)?;
    }
    Some(Volume { block, partitions, file_set: (u64::from(set), reference) })
}

fn partition(
    content: &[u8],
    map: &[u8],
    block: u64,
    base: &dyn Fn(u16) -> Option<u64>,
) -> Option<Partition> {
    if map.first() == Some(&1) {
        return Some(Partition::Plain(base(le::u16_at(map, 4)?)?));
    }
    let start = base(le::u16_at(map, 38)?)?;
    let kind = map.get(5..28)?;
    if kind.starts_with(b"*UDF Sparable Partition") {
        return Some(Partition::Plain(start));
    }
    if !kind.starts_with(b"*UDF Metadata Partition") {
        return Some(Partition::Unsupported);
    }
    let plain = Volume { block, partitions: vec![Partition::Plain(start)], file_set: (0, 0) };
    let entry = plain.place(u64::from(le::u32_at(map, 40)?), 0)?;
    let node = Node::parse(content, &plain, entry, 0)?;
    Some(Partition::Metadata(node.extents))
}

impl Volume {
    /// Where a block of a partition lies, in octets of the image.
    fn place(&self, block: u64, reference: u16) -> Option<u64> {
        let offset = block.checked_mul(self.block)?;
        match self.partitions.get(usize::from(reference))? {
            Partition::Plain(start) => start.checked_add(offset),
            Partition::Metadata(extents) => {
                let mut before = 0_u64;
                extents.iter().find_map(|&(start, length)| {
                    let inside = offset.checked_sub(before).filter(|&inside| inside < length);
                    before = before.saturating_add(length);
                    start.checked_add(inside?)
                })
            }
            Partition::Unsupported => None,
        }
    }
}

/// The length, block and partition of a long allocation descriptor (ECMA-167 4/14.14.2).
fn long_ad(bytes: &[u8], at: usize) -> Option<(u64, u16)> {
    let block = le::u32_at(bytes, at.checked_add(4)?)?;
    Some((u64::from(block), le::u16_at(bytes, at.checked_add(8)?)?))
}

fn walk(
    files: &mut Files<'_, '_>,
    content: &[u8],
    volume: &Volume,
    root: (u64, u16),
) -> Result<(), UnpackError> {
    let mut seen = HashSet::from([root]);
    let mut queue = VecDeque::from([(root, String::new(), true)]);
    let mut problem = None;
    while let Some((icb, path, is_folder)) = queue.pop_front() {
        files.budget.charge_work(200)?;
        let node =
            volume.place(icb.0, icb.1).and_then(|at| Node::parse(content, volume, at, icb.1));
        let Some(node) = node else {
            let offset = volume.place(icb.0, icb.1).unwrap_or(0);
            problem.get_or_insert(UnpackError::Malformed { offset, detail: "no file entry" });
            continue;
        };
        files.budget.charge_work(node.extents.len() as u64 * 8)?;
        if node.extents.len() >= MAX_DESCRIPTORS {
            files.budget.left_out("pieces of a file past 20,000");
        }
        if !(is_folder || node.is_folder) {
            files.add(node_file(&node, &path))?;
            continue;
        }
        let records = files.read(&node.extents, node.size)?;
        let mut at = 0_usize;
        while let Some(record) = Record::at(&records, at) {
            files.budget.charge_work(60)?;
            at = at.saturating_add(record.length);
            // Parents and deleted entries.
            if record.flags & 0x0c != 0 || !seen.insert(record.icb) {
                continue;
            }
            let name = record.name();
            let name = name.get(..name.floor_char_boundary(MAX_PATH)).unwrap_or_default();
            let folder = if path.len() > MAX_PATH { "" } else { path.as_str() };
            let joined =
                if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            queue.push_back((record.icb, joined, record.flags & 2 != 0));
            if queue.len() > files.budget.limits().max_entities {
                return Err(crate::limits::Limit::Entities.into());
            }
        }
    }
    problem.map_or(Ok(()), Err)
}

fn node_file(node: &Node, path: &str) -> File {
    File {
        names: vec![path.to_owned()],
        extents: node.extents.clone(),
        size: node.size,
        unsupported: None,
    }
}

/// A file identifier descriptor (ECMA-167 4/14.4).
struct Record<'a> {
    flags: u8,
    icb: (u64, u16),
    id: &'a [u8],
    length: usize,
}

impl<'a> Record<'a> {
    fn at(records: &'a [u8], at: usize) -> Option<Self> {
        let raw = tagged(records, at, 257)?;
        let (name, user) = (usize::from(*raw.get(19)?), le::len16_at(raw, 36)?);
        let start = 38_usize.checked_add(user)?;
        let end = start.checked_add(name)?;
        let id = raw.get(start..end)?;
        let length = end.checked_next_multiple_of(4)?;
        Some(Self { flags: *raw.get(18)?, icb: long_ad(raw, 20)?, id, length })
    }

    /// OSTA compressed Unicode (UDF §2.1.1).
    fn name(&self) -> String {
        match self.id {
            [16 | 255, wide @ ..] => {
                encoding_rs::UTF_16BE.decode_without_bom_handling(wide).0.into_owned()
            }
            [_, narrow @ ..] => narrow.iter().map(|&octet| char::from(octet)).collect(),
            [] => String::new(),
        }
    }
}

/// A file entry (ECMA-167 4/14.9, 4/14.17).
struct Node {
    is_folder: bool,
    size: u64,
    extents: Vec<(u64, u64)>,
}

impl Node {
    fn parse(content: &[u8], volume: &Volume, at: u64, reference: u16) -> Option<Self> {
        let start = le::length(at);
        let (entry, lengths) = match tagged(content, start, 261) {
            Some(entry) => (entry, 168),
            None => (tagged(content, start, 266)?, 208),
        };
        let attributes = usize::try_from(le::u32_at(entry, lengths)?).ok()?;
        let length = usize::try_from(le::u32_at(entry, lengths.checked_add(4)?)?).ok()?;
        let from = lengths.checked_add(8)?.checked_add(attributes)?;
        let size = le::u64_at(entry, 56)?;
        let kind = le::u16_at(entry, 34)? & 7;
        let is_folder = *entry.get(27)? == 4;
        let extents = if kind == 3 {
            vec![(at.checked_add(from as u64)?, length as u64)]
        } else {
            let list = entry.get(from..from.checked_add(length)?)?;
            descriptors(content, volume, list, kind == 1, reference)
        };
        Some(Self { is_folder, size, extents })
    }
}

/// Allocation descriptors, and where they go on (ECMA-167 4/12).
fn descriptors<'a>(
    content: &'a [u8],
    volume: &Volume,
    mut list: &'a [u8],
    is_long: bool,
    own: u16,
) -> Vec<(u64, u64)> {
    let mut extents = Vec::new();
    let width = if is_long { 16 } else { 8 };
    for _ in 0..MAX_DESCRIPTORS {
        let Some(descriptor) = list.get(..width) else { break };
        list = list.get(width..).unwrap_or_default();
        let (Some(raw), Some(block)) = (le::u32_at(descriptor, 0), le::u32_at(descriptor, 4))
        else {
            break;
        };
        let reference = if is_long { le::u16_at(descriptor, 8).unwrap_or(own) } else { own };
        let length = u64::from(raw & 0x3fff_ffff);
        if length == 0 {
            break;
        }
        let Some(place) = volume.place(u64::from(block), reference) else { break };
        match raw >> 30 {
            3 => {
                let Some(next) = tagged(content, le::length(place), 258) else { break };
                let length = le::u32_at(next, 20).and_then(|length| usize::try_from(length).ok());
                let end = length.and_then(|length| length.checked_add(24));
                list = end.and_then(|end| next.get(24..end)).unwrap_or_default();
            }
            // Not recorded: zeros that nobody wrote.
            1 | 2 => extents.push((u64::MAX, length)),
            _ => extents.push((place, length)),
        }
    }
    extents
}
