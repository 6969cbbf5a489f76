//! A message's bytes, wherever they lie: in memory while small and fresh, else in a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use imss_core::edit::{Piece, Rope};
use imss_core::recycle;

/// The received bytes of one message.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// `length` octets from `offset` in a file: a segment of the journal, or a file of its own.
    File {
        /// The open file.
        file: Arc<File>,
        /// Where the body starts in it.
        offset: u64,
        /// Octets.
        length: u64,
        /// The file's name, if the body has it for itself.
        own: Option<Arc<OwnFile>>,
    },
}

/// A file that holds one body and nothing else. It is removed with its last body, unless the message
/// was accepted: then the queue removes it when the message is done.
#[derive(Debug)]
pub struct OwnFile {
    path: PathBuf,
    kept: AtomicBool,
}

impl OwnFile {
    /// A file that goes away with this value.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: AtomicBool::new(false) }
    }

    /// The file stays.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Acquire) {
            // What cannot be removed now is removed as an orphan at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Octets of a file read at once.
const CLEARED_BYTES: usize = 256 << 10;

impl Body {
    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File { length, .. } => *length,
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a range. Blocks on a file: call it on a blocking thread, or for small ranges.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or `range` is not inside the body
    /// ([`io::ErrorKind::UnexpectedEof`]).
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let outside = || io::Error::new(io::ErrorKind::UnexpectedEof, "range outside the body");
        if range.start > range.end || range.end > self.len() {
            return Err(outside());
        }
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(range.start).map_err(|_| outside())?;
                let end = usize::try_from(range.end).map_err(|_| outside())?;
                Ok(bytes.slice(start..end))
            }
            Self::File { file, offset, .. } => {
                let length = usize::try_from(range.end.saturating_sub(range.start))
                    .map_err(|_| outside())?;
                let mut buffer = recycle::room(length);
                // What was just cleared is still in the processor's cache when it is written to.
                while buffer.len() < length {
                    let at = buffer.len();
                    buffer.resize(length.min(at.saturating_add(CLEARED_BYTES)), 0);
                    let from = range.start.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
                    let room = buffer.get_mut(at..).unwrap_or_default();
                    file.read_exact_at(room, offset.saturating_add(from))?;
                }
                Ok(recycle::bytes(buffer))
            }
        }
    }
}

/// What one outgoing copy consists of: its rope over the received body.
#[derive(Debug, Clone)]
pub struct Content {
    /// The received bytes.
    pub body: Body,
    /// The copy, as pieces of them and inserted bytes.
    pub rope: Rope,
}

/// Octets read at once.
const CHUNK_BYTES: u64 = 512 << 10;

impl Content {
    /// Octets of the copy.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rope.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rope.is_empty()
    }

    /// The copy in chunks of at most 512 KiB (inserted pieces and bodies in memory come whole).
    /// Each step may block on a file.
    pub fn chunks(&self) -> impl Iterator<Item = io::Result<Bytes>> + Send + '_ {
        let ranges = |range: Range<u64>| {
            let step = if matches!(self.body, Body::Memory(_)) { u64::MAX } else { CHUNK_BYTES };
            let next = move |start: &u64| (*start < range.end).then_some(*start);
            let mut at = range.start;
            std::iter::from_fn(move || {
                let start = next(&at)?;
                at = start.saturating_add(step).min(range.end);
                Some(start..at)
            })
        };
        self.rope.pieces.iter().flat_map(move |piece| {
            let (inserted, original) = match piece {
                Piece::Inserted(bytes) => (Some(Ok(bytes.clone())), None),
                Piece::Original(range) => (None, Some(ranges(range.clone()))),
            };
            inserted
                .into_iter()
                .chain(original.into_iter().flatten().map(|range| self.body.read(range)))
        })
    }
}
