//! Takes a message body while it arrives: into memory while small, then into a file of its own.
//!
//! In: chunks in order. Out: a [`Body`]. Memory is bounded by 512 KiB and one chunk, whatever the
//! length. The file is not synced here: the commit does that, once, and only for accepted mail.
//!
//! A writer or a finished body that is dropped without a commit removes its file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use imss_core::ids::QueueId;

use super::SpoolError;
use super::body::{Body, OwnFile};

/// Bodies up to this many octets stay in memory and go into the journal.
pub const MEMORY_BYTES: usize = 256 << 10;

/// Octets gathered for one write to the file: each needs a thread that may block.
const CHUNK_BYTES: usize = 512 << 10;
/// Octets of the largest piece that usually comes at once.
const PIECE_BYTES: usize = 64 << 10;

/// Makes writers for one spool.
#[derive(Debug, Clone)]
pub struct BodyStore {
    bodies: Arc<PathBuf>,
    memory_bytes: usize,
}

/// Takes one body. See the module.
#[derive(Debug)]
pub struct BodyWriter {
    path: PathBuf,
    memory_bytes: usize,
    buffer: BytesMut,
    file: Option<(Arc<File>, Arc<OwnFile>)>,
    written: u64,
}

impl BodyStore {
    /// Bodies beyond [`MEMORY_BYTES`] go to files in `bodies`, an existing folder.
    #[must_use]
    pub fn new(bodies: PathBuf) -> Self {
        Self { bodies: Arc::new(bodies), memory_bytes: MEMORY_BYTES }
    }

    /// The same with another border, for tests and small machines.
    #[must_use]
    pub fn with_memory_bytes(self, memory_bytes: usize) -> Self {
        Self { memory_bytes, ..self }
    }

    /// A writer for the body of `id`.
    #[must_use]
    pub fn writer(&self, id: QueueId) -> BodyWriter {
        BodyWriter {
            path: self.bodies.join(id.to_string()),
            memory_bytes: self.memory_bytes,
            buffer: BytesMut::new(),
            file: None,
            written: 0,
        }
    }
}

impl BodyWriter {
    /// A writer that never touches a disk, for tests and proxies.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            path: PathBuf::new(),
            memory_bytes: usize::MAX,
            buffer: BytesMut::new(),
            file: None,
            written: 0,
        }
    }

    /// Appends `chunk`.
    ///
    /// # Errors
    ///
    /// [`SpoolError::DiskFull`] or [`SpoolError::Io`]. The body is lost then: drop the writer.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), SpoolError> {
        if self.file.is_some() && self.buffer.is_empty() {
            // The room that was written is free again.
            self.buffer.reserve(CHUNK_BYTES.saturating_add(PIECE_BYTES));
        }
        self.buffer.extend_from_slice(chunk);
        let limit = if self.file.is_some() { CHUNK_BYTES } else { self.memory_bytes };
        if self.buffer.len() > limit { self.flush().await } else { Ok(()) }
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// As [`BodyWriter::write`].
    pub async fn finish(mut self) -> Result<Body, SpoolError> {
        if self.file.is_some() && !self.buffer.is_empty() {
            self.flush().await?;
        }
        match self.file.take() {
            Some((file, own)) => {
                Ok(Body::File { file, offset: 0, length: self.written, own: Some(own) })
            }
            None => Ok(Body::Memory(self.buffer.split().freeze())),
        }
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.written.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX))
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets held in memory.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let chunk = self.buffer.split().freeze();
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let (file, path) = (self.file.take(), self.path.clone());
        let written = tokio::task::spawn_blocking(move || append(file, path, &chunk)).await;
        // A blocking task only fails to run when the runtime is going down.
        self.file = Some(written.map_err(|_| SpoolError::Closed)??);
        self.written = self.written.saturating_add(length);
        Ok(())
    }
}

fn append(
    file: Option<(Arc<File>, Arc<OwnFile>)>,
    path: PathBuf,
    chunk: &Bytes,
) -> Result<(Arc<File>, Arc<OwnFile>), SpoolError> {
    let (file, own) = match file {
        Some(open) => open,
        None => {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            (Arc::new(file), Arc::new(OwnFile::new(path)))
        }
    };
    (&*file).write_all(chunk)?;
    Ok((file, own))
}
