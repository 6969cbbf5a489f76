//! Stable storage for accepted mail: a journal of segments, and files of their own for large bodies.
//!
//! In: [`Accepted`] messages and [`record::Change`]s to them. Out: the same after a crash. What
//! [`journal::Journal`] has confirmed is on stable storage; what it has not confirmed is there whole
//! or not at all.
//!
//! ```text
//! spool/lock                 held by the process that uses the spool; holds its number
//! spool/reserve              space kept back so that deliveries can be recorded on a full disk
//! spool/segments/N.seg       the journal (format: `record`)
//! spool/bodies/ID            a body above 256 KiB
//! spool/damaged/N.seg        a copy of a segment with unreadable bytes, for the administrator
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub mod body;
mod codec;
pub mod journal;
pub mod lock;
mod message;
pub mod record;
pub mod recovery;
pub mod storage;
pub mod writer;

pub use message::{Accepted, CopyRecord, Destination, Summary};

/// Why the spool could not do it. Nothing was accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// No space or quota is left; the client may try again later (reply 452 4.3.1).
    #[error("no space left in the spool")]
    DiskFull(#[source] Arc<io::Error>),
    /// Another fault of the file system (reply 451 4.3.0).
    #[error("the spool cannot be read or written")]
    Io(#[source] Arc<io::Error>),
    /// A sync failed earlier, so nobody knows what is on the disk. Nothing more is accepted before a
    /// restart has read the spool again (reply 451 4.3.0).
    #[error("a sync of the spool failed; nothing is accepted until the next start")]
    Poisoned,
    /// The spool was closed (reply 421 4.3.2).
    #[error("the spool is closed")]
    Closed,
    /// Another process uses the spool.
    #[error("{path} is in use by process {pid}; stop it, or use another data directory")]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The number that stands in it, or `?`.
        pid: String,
    },
    /// More than a record can hold: 256 MiB besides bodies in files, or 60,000 recipients.
    #[error("the message is too large for a journal record")]
    TooLarge,
}

impl SpoolError {
    /// Whether space will help.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull(_))
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let error = Arc::new(error);
        if full { Self::DiskFull(error) } else { Self::Io(error) }
    }
}
