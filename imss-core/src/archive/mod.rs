//! Archives and compressed streams → members, one format per file behind [`Unpacker`].
//!
//! In: an archive's octets and the message's [`Budget`]. Out: [`Unpacked`] values in order: members
//! with every spelling of their names, and defects of the archive itself.
//!
//! Names are data, never paths; nothing is written anywhere. What could not be read is a member
//! with a [`Missing`] or an [`UnpackError`], never silence. Nothing is allocated from a size that the
//! archive declares, and a decoder that panics costs its member only.

mod ace;
mod ar;
mod arc;
mod arj;
mod cab;
mod chm;
pub(crate) mod cms;
mod cpio;
pub(crate) mod drain;
mod gzip;
mod iso;
pub(crate) mod le;
mod lha;
mod lzw;
mod lzx;
mod mbox;
mod names;
pub(crate) mod ole;
mod onenote;
mod passwords;
mod rar;
mod rpm;
mod sevenz;
mod sfx;
mod share;
mod snappy;
mod stream;
mod tar;
mod tnef;
mod xar;
mod yenc;
mod zip;
mod zoo;

#[cfg(test)]
mod testing;

use bytes::Bytes;

pub use self::passwords::Passwords;
use self::stream::Stream;
use crate::anomaly::AnomalyKind;
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// One archive format.
pub trait Unpacker: Sync {
    /// Its name in gaps and logs, such as `zip`.
    fn name(&self) -> &'static str;

    /// Whether it can look into `content`, whatever that claims to be. Reads at most the first and
    /// the last 66 KiB, and programs once: archives that unpack themselves start anywhere in them.
    fn recognises(&self, content: &Bytes, detected: &FileType) -> bool;

    /// Whether content of these names may be of the format. Only asked because some formats have no
    /// magic number, and nothing but the name tells.
    fn fits_names(&self, _names: &[String]) -> bool {
        true
    }

    /// Whether it stands in lines of text, anywhere among others: nobody looks for it elsewhere.
    fn is_in_lines(&self) -> bool {
        false
    }

    /// Whether the format wraps one content (`.gz`) and lists no members.
    fn is_stream(&self) -> bool {
        false
    }

    /// Hands over every member and defect, in order. Every member and its octets are charged to
    /// `budget` here; whoever receives it must not charge it again.
    ///
    /// # Errors
    ///
    /// Why the archive was not read to its end. Members handed over before stay valid.
    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError>;
}

/// What an unpacker is given: content, and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The archive or document.
    pub content: &'a Bytes,
    /// What it is.
    pub detected: &'a FileType,
    /// Its names, best first: some formats keep part of what they are there (`.part2.rar`).
    pub names: &'a [String],
    /// Passwords worth trying.
    pub passwords: &'a Passwords,
}

/// The unpackers. Several may recognise one content (a program with a zip archive at its end).
#[must_use]
pub fn unpackers() -> &'static [&'static dyn Unpacker] {
    &[
        &zip::Zip,
        &gzip::Gzip,
        &tar::Tar,
        &Stream::Bzip2,
        &Stream::Xz,
        &Stream::Lzma,
        &Stream::Lzip,
        &Stream::Zlib,
        &Stream::Zstd,
        &Stream::Lz4,
        &Stream::Snappy,
        &Stream::Brotli,
        &Stream::Compress,
        &sevenz::SevenZip,
        &rar::Rar,
        &cab::Cab,
        &lha::Lha,
        &arj::Arj,
        &ace::Ace,
        &zoo::Zoo,
        &arc::Arc,
        &ole::Ole,
        &cpio::Cpio,
        &ar::Ar,
        &rpm::Rpm,
        &iso::Iso,
        &mbox::Mbox,
        &tnef::Tnef,
        &xar::Xar,
        &chm::Chm,
        &onenote::OneNote,
        &yenc::Yenc,
        &cms::Cms,
    ]
}

/// Whether `content` starts with a header of a tar archive, which has no magic number.
pub(crate) fn is_tar(content: &[u8]) -> bool {
    tar::has_header(content)
}

/// Whether `content` is a tar archive whose first header is damaged, but a later one is not.
pub(crate) fn is_damaged_tar(content: &[u8]) -> bool {
    tar::has_later_header(content)
}

/// What an unpacker reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacked {
    /// A file inside.
    Member(Member),
    /// A defect of the archive.
    Anomaly {
        /// What is wrong.
        kind: AnomalyKind,
        /// Octets from the start of the archive.
        offset: u64,
        /// What was seen, for people; escaped, at most 200 characters.
        detail: String,
    },
}

/// A file inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Every spelling of its name that a reader could show, best first. Data, never a path. A
    /// link's target follows the names. Empty if the format gives none.
    pub names: Vec<String>,
    /// Octets of the content, as the archive claims.
    pub claimed_size: u64,
    /// What could be read.
    pub content: Bytes,
    /// Why `content` is not everything; `None` if it is.
    pub missing: Option<Missing>,
}

impl Member {
    /// Whether its content is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.missing.as_ref().is_some_and(|missing| missing.reason == GapReason::Encrypted)
    }
}

/// Why a member could not be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The class of reason.
    pub reason: GapReason,
    /// For people: what happened.
    pub detail: String,
}

/// Why an archive could not be read to its end. Members already handed over stay valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// A bound was reached.
    #[error("{0} limit reached")]
    Limit(Limit),
    /// The structure contradicts itself or ends too early.
    #[error("malformed archive at octet {offset}: {detail}")]
    Malformed {
        /// Octets from the start of the archive.
        offset: u64,
        /// What was seen there.
        detail: &'static str,
    },
    /// Encrypted, and no password fits: what is.
    #[error("encrypted {0}")]
    Encrypted(&'static str),
    /// A form of the format that this crate does not open.
    #[error("unsupported archive: {0}")]
    Unsupported(&'static str),
    /// The decoder crashed.
    #[error("the decoder crashed")]
    Crashed,
}

impl UnpackError {
    /// The reason for a [`Gap`](crate::finding::Gap).
    #[must_use]
    pub fn reason(&self) -> GapReason {
        match self {
            Self::Limit(limit) => GapReason::Limit(*limit),
            Self::Malformed { .. } => GapReason::Malformed,
            Self::Encrypted(_) => GapReason::Encrypted,
            Self::Unsupported(_) => GapReason::Unsupported,
            Self::Crashed => GapReason::Crash,
        }
    }
}

impl From<Limit> for UnpackError {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

#[cfg(test)]
mod tests;
