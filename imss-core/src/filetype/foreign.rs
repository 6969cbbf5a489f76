//! The file-format crate's opinion, in our groups.
//!
//! In: the first octets. Out: a type, or `None` where it knows none. A panic in it means none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use file_format::{FileFormat, Kind};

use super::{FileType, TypeGroup};

/// What file-format takes `head` for.
pub(super) fn detect(head: &[u8]) -> Option<FileType> {
    let format = catch_unwind(AssertUnwindSafe(|| FileFormat::from_bytes(head))).ok()?;
    let group = match format {
        FileFormat::ArbitraryBinaryData
        | FileFormat::PlainText
        | FileFormat::Empty
        | FileFormat::CompoundFileBinary
        | FileFormat::Zip
        // Two or four octets that anything may start with.
        | FileFormat::AppleDiskImage
        | FileFormat::CommonObjectFileFormat
        | FileFormat::WindowsCursor => return None,
        _ => group(&format),
    };
    // Its texts live as long as the value that is asked.
    let format = FileFormat::from_kind(format.kind()).iter().find(|known| **known == format)?;
    let (name, media_type, extension) = (format.name(), format.media_type(), format.extension());
    Some(FileType { name, media_type, extension, group })
}

fn group(format: &FileFormat) -> TypeGroup {
    let extension = super::group_of_extension(format.extension());
    match format.kind() {
        Kind::Executable | Kind::Package => TypeGroup::Executable,
        Kind::Archive | Kind::Compressed | Kind::Disk => TypeGroup::Archive,
        Kind::Audio => TypeGroup::Audio,
        Kind::Video => TypeGroup::Video,
        Kind::Image => TypeGroup::Image,
        Kind::Font => TypeGroup::Font,
        Kind::Document | Kind::Ebook | Kind::Presentation | Kind::Spreadsheet | Kind::Diagram => {
            TypeGroup::Document
        }
        Kind::Subtitle | Kind::Playlist => TypeGroup::Text,
        Kind::Rom | Kind::Model | Kind::Geospatial => TypeGroup::Other,
        _ => extension.unwrap_or(TypeGroup::Other),
    }
}
