//! Reads the `dir` stream of a VBA project (MS-OVBA §2.3.4.2): code page and modules.
//!
//! In: the decompressed stream. Out: what its records say. A record that does not fit ends the
//! reading; modules read before stay.

use super::super::codepage;
use crate::archive::le::{u16_at, u32_at};

/// Modules of one project; more than any program writes.
const MAX_MODULES: usize = 4096;

/// What a project holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// The code page of names and sources.
    pub(super) page: u32,
    /// The modules.
    pub(super) modules: Vec<Module>,
    /// The records end where they should.
    pub(super) is_whole: bool,
    /// Modules were left out.
    pub(super) is_cut: bool,
}

/// One module.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// The stream it is in, in every spelling.
    pub(super) streams: Vec<String>,
    /// Where its source starts in that stream.
    pub(super) offset: usize,
    /// Whether it is a class or belongs to a document.
    pub(super) is_class: bool,
}

/// Reads the records of `octets`.
pub(super) fn read(octets: &[u8]) -> Directory {
    let mut directory = Directory { page: codepage::WESTERN, ..Directory::default() };
    let mut at = 0_usize;
    while let (Some(id), Some(size)) = (u16_at(octets, at), u32_at(octets, at.saturating_add(2))) {
        let start = at.saturating_add(6);
        // PROJECTVERSION claims four octets and has six (§2.3.4.2.1.11).
        let size = if id == 0x09 { 6 } else { usize::try_from(size).unwrap_or(usize::MAX) };
        let end = start.saturating_add(size);
        let Some(data) = octets.get(start..end) else { return directory };
        record(&mut directory, id, data);
        if id == 0x10 {
            directory.is_whole = true;
            return directory;
        }
        at = end;
    }
    directory
}

fn record(directory: &mut Directory, id: u16, data: &[u8]) {
    let page = directory.page;
    if id == 0x03 {
        directory.page = u16_at(data, 0).map_or(codepage::WESTERN, u32::from);
        return;
    }
    if id == 0x19 {
        if directory.modules.len() < MAX_MODULES {
            let name = codepage::decode(data, page);
            directory.modules.push(Module { name, ..Module::default() });
        } else {
            directory.is_cut = true;
        }
        return;
    }
    let Some(module) = directory.modules.last_mut() else { return };
    match id {
        0x47 if !data.is_empty() => module.name = codepage::utf16(data),
        0x1a => module.streams.push(codepage::decode(data, page)),
        0x32 => module.streams.push(codepage::utf16(data)),
        0x31 => {
            module.offset =
                u32_at(data, 0).map_or(0, |offset| crate::archive::le::length(offset.into()))
        }
        0x22 => module.is_class = true,
        _ => {}
    }
}
