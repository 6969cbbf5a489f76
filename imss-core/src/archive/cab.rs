//! Cabinets (MS-CAB): stored, MSZIP and LZX folders, also in a program that unpacks itself.
//!
//! In: octets with the signature at the start, or anywhere in a program. Out: a member for each file.
//! Each folder is decoded once, and its files share the octets. What goes on in another cabinet is
//! malformed; Quantum folders are unsupported. Checksums are not judged.

use std::io::{Error, ErrorKind, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use lzxd::WindowSize;

use super::drain::drain;
use super::le::{len16_at, length, u16_at, u32_at};
use super::lzx::Lzx;
use super::names::spellings;
use super::sfx::{self, Start};
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::recycle;

/// The signature and the reserved field behind it, which is zero.
const SIGNATURE: &[u8] = b"MSCF\0\0\0\0";
/// Octets that one data block may hold (MS-CAB 2.4).
const MAX_BLOCK: usize = 32 << 10;
/// Folder numbers of files that come from, or go on in, another cabinet.
const CONTINUED: u16 = 0xfffd;
const ELSEWHERE: &str = "goes on in another cabinet";

/// The cabinet format.
pub(super) struct Cab;

impl Unpacker for Cab {
    fn name(&self) -> &'static str {
        "cab"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        start(content).is_some()
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let Some(offset) = Start::place(start(source.content), budget) else { return Ok(()) };
        let cabinet = source.content.slice(offset..);
        let malformed = |at: usize, detail| {
            let offset = offset.saturating_add(at) as u64;
            UnpackError::Malformed { offset, detail }
        };
        let header = Header::read(&cabinet).ok_or_else(|| malformed(0, "header"))?;
        let mut run = Run {
            cabinet: &cabinet,
            folders: header.folders.iter().map(|_| None).collect(),
            header: &header,
            budget,
            out,
            produced: 0,
            handed: 0,
        };
        let mut at = header.files;
        for _ in 0..header.count {
            let (file, end) =
                File::read(&cabinet, at).ok_or_else(|| malformed(at, "file entry"))?;
            run.file(&file)?;
            at = end;
        }
        Ok(())
    }
}

fn start(content: &[u8]) -> Option<Start> {
    if content.starts_with(SIGNATURE) {
        return Some(Start::At(0));
    }
    sfx::search(content, (SIGNATURE, 0), is_version, |rest| Header::read(rest).is_some())
}

/// Version 1.3 is the only one.
fn is_version(cabinet: &[u8]) -> bool {
    cabinet.get(25) == Some(&1)
}

struct Header {
    folders: Vec<Folder>,
    /// Where the entries of the files start, and how many there are.
    files: usize,
    count: u16,
    /// Octets that each data block reserves for applications.
    reserve: usize,
}

#[derive(Clone, Copy)]
struct Folder {
    data: usize,
    blocks: u16,
    method: u16,
}

impl Header {
    fn read(cabinet: &[u8]) -> Option<Self> {
        let flags = u16_at(cabinet, 30)?;
        is_version(cabinet).then_some(())?;
        let mut at = 36_usize;
        let (mut folder_reserve, mut reserve) = (0, 0);
        if flags & 4 != 0 {
            let header = len16_at(cabinet, 36)?;
            folder_reserve = usize::from(*cabinet.get(38)?);
            reserve = usize::from(*cabinet.get(39)?);
            at = 40_usize.checked_add(header)?;
        }
        // Names of the cabinet and the disk before, then of those behind.
        let strings = (flags & 1).checked_mul(2)?.checked_add(flags & 2)?;
        for _ in 0..strings {
            let (_, end) = string(cabinet, at)?;
            at = end;
        }
        let mut folders = Vec::new();
        for _ in 0..u16_at(cabinet, 26)? {
            folders.push(Folder {
                data: length(u32_at(cabinet, at)?.into()),
                blocks: u16_at(cabinet, at.checked_add(4)?)?,
                method: u16_at(cabinet, at.checked_add(6)?)?,
            });
            at = at.checked_add(8)?.checked_add(folder_reserve)?;
        }
        let files = length(u32_at(cabinet, 16)?.into());
        Some(Self { folders, files, count: u16_at(cabinet, 28)?, reserve })
    }
}

struct File {
    names: Vec<String>,
    size: u32,
    offset: u32,
    folder: u16,
}

impl File {
    /// The entry at `at`, and where the next one is.
    fn read(cabinet: &[u8], at: usize) -> Option<(Self, usize)> {
        let entry = cabinet.get(at..)?.get(..16)?;
        let (name, end) = string(cabinet, at.checked_add(16)?)?;
        let is_utf8 = u16_at(entry, 14)? & 0x80 != 0;
        let file = Self {
            names: spellings(name, is_utf8),
            size: u32_at(entry, 0)?,
            offset: u32_at(entry, 4)?,
            folder: u16_at(entry, 8)?,
        };
        Some((file, end))
    }
}

/// A string that ends with a zero, and what is behind it. None is longer than 256 octets.
fn string(cabinet: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = cabinet.get(at..)?;
    let size = rest.iter().take(257).position(|&octet| octet == 0)?;
    Some((rest.get(..size)?, at.checked_add(size)?.checked_add(1)?))
}

struct Run<'a, 'b, 'c> {
    cabinet: &'a Bytes,
    header: &'a Header,
    /// What the folders hold, once decoded.
    folders: Vec<Option<(Bytes, Option<Missing>)>>,
    budget: &'a mut Budget<'b>,
    out: &'a mut (dyn FnMut(Unpacked) + 'c),
    /// Octets that folders gave, and that files took.
    produced: u64,
    handed: u64,
}

impl Run<'_, '_, '_> {
    fn file(&mut self, file: &File) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        let last = self.folders.len().saturating_sub(1);
        let continued = file.folder >= CONTINUED;
        let place = match file.folder {
            CONTINUED | 0xffff => 0,
            0xfffe => last,
            place => usize::from(place),
        };
        let (content, mut missing) = self.folder(place);
        let start = length(file.offset.into()).min(content.len());
        let end = start.saturating_add(length(file.size.into())).min(content.len());
        let content = content.slice(start..end);
        let size = u64::from(file.size);
        let is_limited = missing.as_ref().is_some_and(|own| own.final_limit().is_some());
        if content.len() as u64 == size && !is_limited {
            missing = None;
        } else if missing.is_none() {
            missing = Some(Missing::new(GapReason::Malformed, "its folder ends early"));
        }
        if continued {
            missing = Some(Missing::new(GapReason::Malformed, ELSEWHERE));
        }
        let limit = missing.as_ref().and_then(Missing::final_limit);
        // Files may share octets: what they have in sum must be plausible too.
        self.handed = self.handed.saturating_add(content.len() as u64);
        if self.handed > self.produced {
            self.budget.charge_bytes(content.len() as u64)?;
            self.budget.check_ratio(self.cabinet.len() as u64, self.handed)?;
        }
        let names = file.names.clone();
        (self.out)(Unpacked::Member(Member { names, claimed_size: size, content, missing }));
        limit.map_or(Ok(()), |limit| Err(limit.into()))
    }

    fn folder(&mut self, place: usize) -> (Bytes, Option<Missing>) {
        let (Some(&folder), Some(known)) =
            (self.header.folders.get(place), self.folders.get_mut(place))
        else {
            let missing = Missing::new(GapReason::Malformed, "no such folder");
            return (Bytes::new(), Some(missing));
        };
        let budget = &mut *self.budget;
        let (cabinet, reserve) = (self.cabinet, self.header.reserve);
        let (content, missing) = known.get_or_insert_with(|| {
            let open = || Blocks::open(cabinet, folder, reserve);
            let drained = drain(open, cabinet.len() as u64, budget, &mut Vec::new());
            self.produced = self.produced.saturating_add(drained.bytes.len() as u64);
            (recycle::bytes(drained.bytes), drained.missing)
        });
        (content.clone(), missing.clone())
    }
}

enum Decoder {
    Stored,
    MsZip(Decompress),
    Lzx(Box<Lzx>),
}

/// Reads the data blocks of one folder (MS-CAB 2.4).
struct Blocks<'a> {
    cabinet: &'a [u8],
    at: usize,
    left: u16,
    reserve: usize,
    decoder: Decoder,
    block: Vec<u8>,
    read: usize,
}

impl<'a> Blocks<'a> {
    fn open(cabinet: &'a [u8], folder: Folder, reserve: usize) -> std::io::Result<Self> {
        let decoder = match folder.method & 0x0f {
            0 => Decoder::Stored,
            1 => Decoder::MsZip(Decompress::new(false)),
            3 => Decoder::Lzx(Box::new(Lzx::new(window(folder.method >> 8)?))),
            _ => return Err(Error::new(ErrorKind::Unsupported, "compressed with Quantum")),
        };
        let (at, left) = (folder.data, folder.blocks);
        Ok(Self { cabinet, at, left, reserve, decoder, block: Vec::new(), read: 0 })
    }

    fn next_block(&mut self) -> std::io::Result<()> {
        let cut = || Error::new(ErrorKind::UnexpectedEof, "data block");
        let packed = len16_at(self.cabinet, self.at.saturating_add(4)).ok_or_else(cut)?;
        let size = len16_at(self.cabinet, self.at.saturating_add(6)).ok_or_else(cut)?;
        let start = self.at.saturating_add(8).saturating_add(self.reserve);
        let end = start.saturating_add(packed);
        let input = self.cabinet.get(start..end).ok_or_else(cut)?;
        if size == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, ELSEWHERE));
        }
        if size > MAX_BLOCK {
            return Err(Error::new(ErrorKind::InvalidData, "data block over 32 KiB"));
        }
        (self.at, self.left, self.read) = (end, self.left.saturating_sub(1), 0);
        match &mut self.decoder {
            Decoder::Stored => {
                self.block.clear();
                self.block.extend_from_slice(input);
            }
            Decoder::MsZip(decoder) => {
                let block = inflate(decoder, input, &self.block, size)?;
                self.block = block;
            }
            Decoder::Lzx(decoder) => decoder.chunk(input, size, &mut self.block)?,
        }
        Ok(())
    }
}

/// Decodes one MSZIP block: deflate that may refer to the block before (MS-MCI 2.1.1.1.1).
fn inflate(
    decoder: &mut Decompress,
    input: &[u8],
    before: &[u8],
    size: usize,
) -> std::io::Result<Vec<u8>> {
    let broken = |detail| Error::new(ErrorKind::InvalidData, detail);
    let input = input.strip_prefix(b"CK").ok_or_else(|| broken("no MSZIP signature"))?;
    decoder.reset(false);
    if !before.is_empty() {
        decoder.set_dictionary(before).map_err(Error::other)?;
    }
    let mut block = Vec::with_capacity(size);
    let status = decoder.decompress_vec(input, &mut block, FlushDecompress::Finish);
    let status = status.map_err(Error::other)?;
    if block.len() != size || status == Status::BufError {
        return Err(broken("MSZIP block of another size"));
    }
    Ok(block)
}

impl Read for Blocks<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        while self.read >= self.block.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.next_block()?;
        }
        let rest = self.block.get(self.read..).unwrap_or_default();
        let count = rest.len().min(room.len());
        room.iter_mut().zip(rest).for_each(|(place, &octet)| *place = octet);
        self.read = self.read.saturating_add(count);
        Ok(count)
    }
}

fn window(bits: u16) -> std::io::Result<WindowSize> {
    Ok(match bits & 0x1f {
        15 => WindowSize::KB32,
        16 => WindowSize::KB64,
        17 => WindowSize::KB128,
        18 => WindowSize::KB256,
        19 => WindowSize::KB512,
        20 => WindowSize::MB1,
        21 => WindowSize::MB2,
        _ => return Err(Error::new(ErrorKind::InvalidData, "LZX window")),
    })
}
