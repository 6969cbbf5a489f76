//! XAR archives, which are also installer packages of macOS.
//!
//! In: octets that start with `xar!`. Out: one member per file of the table of contents, which is XML
//! packed with zlib; names may be in base64. Content is stored, or packed with zlib, bzip2, xz or lzma; another packing is
//! unsupported. A table that is no XML is malformed.

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use quick_xml::events::{BytesStart, Event};

use super::drain::{Drained, Pace, drain, drain_at};
use super::share::Share;
use super::{Member, Missing, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;
use crate::message::transfer::base64;
use crate::recycle;

/// How deep folders may lie in folders.
const MAX_DEPTH: usize = 128;
/// Octets of a path.
const MAX_PATH: usize = 4_096;

/// The XAR format.
pub(super) struct Xar;

impl Unpacker for Xar {
    fn name(&self) -> &'static str {
        "xar"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        content.starts_with(b"xar!")
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let malformed = |offset: u64, detail| UnpackError::Malformed { offset, detail };
        let (start, size) = table(source.content).ok_or(malformed(0, "no header"))?;
        let heap = start.saturating_add(size);
        let mut share = Share { content: source.content, budget, out };
        let packed = share.slice(start, size);
        let read = drain(|| Ok(ZlibDecoder::new(&*packed)), size, share.budget, &mut Vec::new());
        share.budget.charge_work(read.bytes.len() as u64 * 10)?;
        let mut reader = quick_xml::Reader::from_reader(&*read.bytes);
        reader.config_mut().check_end_names = false;
        let mut walk = Walk { path: Vec::new(), files: Vec::new() };
        let whole = loop {
            share.budget.charge_work(50)?;
            match reader.read_event() {
                Ok(Event::Start(tag)) => {
                    let name = tag.local_name().as_ref().to_owned();
                    if walk.path.len() >= MAX_DEPTH {
                        break false;
                    }
                    walk.start(name, &tag);
                }
                Ok(Event::Empty(tag)) if tag.local_name().as_ref() == "encoding" => {
                    walk.encoding(attribute(&tag, "style"));
                }
                Ok(Event::Text(text)) => walk.text(text.as_ref()),
                Ok(Event::GeneralRef(entity)) => walk.text(character(entity.as_ref())),
                Ok(Event::End(_)) => {
                    if let Some(file) = walk.end() {
                        member(&mut share, heap, file)?;
                    }
                }
                Ok(Event::Eof) => break walk.path.is_empty(),
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        let is_whole = whole && read.missing.is_none();
        is_whole.then_some(()).ok_or(malformed(start, "a broken table of contents"))
    }
}

/// Where the packed table lies: start, size.
fn table(content: &[u8]) -> Option<(u64, u64)> {
    let header = u16::from_be_bytes(content.get(4..6)?.try_into().ok()?);
    let size = u64::from_be_bytes(content.get(8..16)?.try_into().ok()?);
    (header >= 28).then_some((u64::from(header), size))
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let attribute = tag.try_get_attribute(name).ok().flatten();
    attribute.map(|attribute| attribute.value.into_owned()).unwrap_or_default()
}

/// The character that a predefined entity stands for.
fn character(entity: &str) -> &str {
    match entity {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => "?",
    }
}

/// What is open while the table is read.
struct Walk {
    path: Vec<String>,
    files: Vec<File>,
}

/// A file of the table.
#[derive(Default)]
struct File {
    folder: String,
    name: String,
    in_base64: bool,
    is_folder: bool,
    data: bool,
    offset: u64,
    length: u64,
    size: u64,
    encoding: String,
}

impl Walk {
    fn start(&mut self, name: String, tag: &BytesStart<'_>) {
        if name == "file" {
            let folder = self.files.last().map(File::path).unwrap_or_default();
            self.files.push(File { folder, ..File::default() });
        }
        if name == "encoding" {
            self.encoding(attribute(tag, "style"));
        }
        let in_file = self.path.last().is_some_and(|parent| parent == "file");
        if let Some(file) = self.files.last_mut().filter(|_| in_file && name == "name") {
            file.in_base64 = attribute(tag, "enctype") == "base64";
        }
        self.path.push(name);
    }

    fn encoding(&mut self, style: String) {
        let in_data = self.path.last().is_some_and(|parent| parent == "data");
        if let Some(file) = self.files.last_mut().filter(|_| in_data) {
            file.encoding = style;
        }
    }

    fn text(&mut self, text: &str) {
        let mut path = self.path.iter().rev();
        let (tag, parent) = (path.next(), path.next());
        let (Some(tag), Some(parent), Some(file)) = (tag, parent, self.files.last_mut()) else {
            return;
        };
        let number = || text.trim().parse().unwrap_or(0);
        match (parent.as_str(), tag.as_str()) {
            ("file", "name") if file.name.len() < MAX_PATH => file.name.push_str(text),
            ("file", "type") => file.is_folder = text.trim() == "directory",
            ("data", "offset") => (file.offset, file.data) = (number(), true),
            ("data", "length") => file.length = number(),
            ("data", "size") => file.size = number(),
            _ => {}
        }
    }

    /// The file that ends here.
    fn end(&mut self) -> Option<File> {
        let tag = self.path.pop()?;
        let in_file = self.path.last().is_some_and(|parent| parent == "file");
        if let Some(file) = self.files.last_mut().filter(|_| in_file && tag == "name")
            && std::mem::take(&mut file.in_base64)
        {
            let (octets, _) = base64(file.name.as_bytes());
            file.name = String::from_utf8_lossy(&octets).into_owned();
        }
        if tag == "file" { self.files.pop().filter(|file| !file.is_folder) } else { None }
    }
}

impl File {
    fn path(&self) -> String {
        if self.folder.is_empty() || self.folder.len() > MAX_PATH {
            return self.name.clone();
        }
        format!("{}/{}", self.folder, self.name)
    }
}

fn member(share: &mut Share<'_, '_, '_>, heap: u64, file: File) -> Result<(), UnpackError> {
    let names = vec![file.path()];
    let start = heap.saturating_add(file.offset);
    if !file.data {
        return share.content(names, Bytes::new(), 0);
    }
    let packed = share.slice(start, file.length);
    let (size, room, budget) = (packed.len() as u64, &mut Vec::new(), &mut *share.budget);
    let packing = file.encoding.as_str();
    let drained = match packing {
        "" | "application/octet-stream" => return share.member(names, start, file.length),
        "application/x-gzip" | "application/zlib" => {
            drain(|| Ok(ZlibDecoder::new(&*packed)), size, budget, room)
        }
        "application/x-bzip2" => drain_at(
            Pace::Sorts,
            || Ok(bzip2::read::MultiBzDecoder::new(&*packed)),
            size,
            budget,
            room,
        ),
        "application/x-xz" => {
            drain_at(Pace::Bits, || Ok(super::stream::xz(&packed)), size, budget, room)
        }
        "application/x-lzma" => {
            drain_at(Pace::Bits, || super::stream::lzma(&packed), size, budget, room)
        }
        _ => Drained::nothing(GapReason::Unsupported, "another packing"),
    };
    share.budget.charge_entity()?;
    let Drained { bytes, missing } = drained;
    let short = (bytes.len() as u64) < file.size;
    let ends_early = || Missing::new(GapReason::Malformed, "ends early");
    let missing = missing.or_else(|| short.then(ends_early));
    let limit = missing.as_ref().and_then(Missing::final_limit);
    let claimed_size = file.size.max(bytes.len() as u64);
    let member = Member { names, claimed_size, content: recycle::bytes(bytes), missing };
    (share.out)(Unpacked::Member(member));
    limit.map_or(Ok(()), |limit| Err(limit.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::testing::unpack;
    use super::*;
    use crate::limits::Limits;

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn archive(table: &str, heap: &[u8]) -> Vec<u8> {
        let packed = zlib(table.as_bytes());
        let sizes = [packed.len() as u64, table.len() as u64].map(u64::to_be_bytes).concat();
        [b"xar!\0\x1c\0\x01".as_slice(), &sizes, &[0; 4], &packed, heap].concat()
    }

    #[test]
    fn files_are_unpacked() {
        let packed = zlib(b"alert(1)");
        let length = packed.len();
        let table = format!(
            "<xar><toc><file id='1'><name>d</name><type>directory</type><file id='2'><name>a.js</name>\
            <type>file</type><data><length>{length}</length><offset>0</offset><size>8</size>\
            <encoding style='application/x-gzip'/></data></file></file><file id='3'>\
            <name enctype='base64'>5pel5pys</name>\
            <data><offset>{length}</offset><length>2</length><size>2</size>\
            <encoding style='application/octet-stream'/></data></file></toc></xar>"
        );
        let found = unpack(&Xar, archive(&table, &[&*packed, b"MZ"].concat()), &Limits::small());
        assert_eq!(found.texts(), ["d/a.js:alert(1)", "日本:MZ"]);
        assert_eq!(found.result, Ok(()));
        let other = table.replace("application/x-gzip", "application/x-other");
        let found = unpack(&Xar, archive(&other, &packed), &Limits::small());
        let reasons: Vec<_> =
            found.members.iter().map(|member| member.missing.as_ref().map(|m| m.reason)).collect();
        assert_eq!(reasons, [Some(GapReason::Unsupported), Some(GapReason::Malformed)]);
        let found = unpack(&Xar, archive("<xar><toc><file", b""), &Limits::small());
        assert!(found.result.is_err());
    }
}
