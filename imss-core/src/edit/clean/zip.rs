//! Writes a zip archive again: members dropped or replaced, all others with the same compressed
//! octets (APPNOTE 4.3).
//!
//! In: an archive and a judge of its members. Out: a new archive in the order of its directory. Only
//! what the directory lists goes on: entries that it hides, and octets around them, are left out.
//!
//! An archive that is encrypted, or whose members cannot be read to their end, is not written.

use std::io::{Cursor, Read, Write};

use ::zip::read::ZipFile;
use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipArchive, ZipWriter};
use bytes::Bytes;

use super::CleanError;
use crate::limits::{Budget, Limit};

/// What becomes of a member.
pub(super) enum Fate {
    /// It stays as it is.
    Kept,
    /// It goes.
    Dropped,
    /// It gets this content.
    Replaced(Vec<u8>),
}

/// One archive being read.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    input: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn read(content: &'a Bytes) -> Result<Self, CleanError> {
        let zip = ZipArchive::new(Cursor::new(&content[..]))
            .map_err(|_| CleanError::Malformed("no directory can be read"))?;
        Ok(Self { zip, input: content.len() as u64 })
    }

    /// The members' names, in order.
    pub(super) fn names(&mut self) -> Result<Vec<String>, CleanError> {
        (0..self.zip.len()).map(|place| Ok(name(&self.raw(place)?))).collect()
    }

    /// The content of a member.
    pub(super) fn content(
        &mut self,
        place: usize,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<u8>, CleanError> {
        let input = self.input;
        if self.raw(place)?.encrypted() {
            return Err(CleanError::Encrypted);
        }
        let mut member = self
            .zip
            .by_index(place)
            .map_err(|_| CleanError::Malformed("a member cannot be opened"))?;
        let mut out = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = member
                .read(&mut chunk)
                .map_err(|_| CleanError::Malformed("a member cannot be read"))?;
            if read == 0 {
                return Ok(out);
            }
            budget.charge_bytes(read as u64)?;
            out.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if out.len() as u64 > budget.limits().max_entity_bytes {
                return Err(CleanError::Limit(Limit::EntityBytes));
            }
            budget.check_ratio(input, out.len() as u64)?;
        }
    }

    /// The archive with a fate for each member, in order.
    pub(super) fn write(mut self, fates: Vec<Fate>) -> Result<Bytes, CleanError> {
        let broken = |_| CleanError::Malformed("the archive cannot be written again");
        let mut out = ZipWriter::new(Cursor::new(Vec::new()));
        for (place, fate) in fates.into_iter().enumerate() {
            match fate {
                Fate::Dropped => {}
                Fate::Kept => {
                    let member = self.raw(place)?;
                    out.raw_copy_file(member).map_err(broken)?;
                }
                Fate::Replaced(content) => {
                    let member = self.raw(place)?;
                    let method = match member.compression() {
                        CompressionMethod::Stored => CompressionMethod::Stored,
                        _ => CompressionMethod::Deflated,
                    };
                    let mut options = SimpleFileOptions::default().compression_method(method);
                    if let Some(time) = member.last_modified() {
                        options = options.last_modified_time(time);
                    }
                    let name = name(&member);
                    out.start_file(name, options).map_err(broken)?;
                    out.write_all(&content)
                        .map_err(|_| CleanError::Malformed("a member cannot be written"))?;
                }
            }
        }
        Ok(out.finish().map_err(broken)?.into_inner().into())
    }

    fn raw(&mut self, place: usize) -> Result<ZipFile<'_, Cursor<&'a [u8]>>, CleanError> {
        let broken = |_| CleanError::Malformed("a member's header cannot be read");
        self.zip.by_index_raw(place).map_err(broken)
    }
}

/// A member's name, for people and for the new archive.
fn name<R: Read>(member: &ZipFile<'_, R>) -> String {
    match member.name() {
        Ok(name) => name.into_owned(),
        Err(_) => String::from_utf8_lossy(member.name_raw()).into_owned(),
    }
}
