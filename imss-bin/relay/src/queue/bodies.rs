//! Bodies on their way into the queue and out of it, and the index as the journal tells it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use imss_core::ids::QueueId;

use super::Inner;
use super::index::{Entry, Index};
use crate::spool::body::{Body, OwnFile};
use crate::spool::journal::{Position, Segment};
use crate::spool::record::{Change, Located, StoredBody, StoredMessage, decode_one};
use crate::spool::writer::MEMORY_BYTES;
use crate::spool::{Accepted, SpoolError};

/// Octets copied at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// Makes every body either small and in memory, or a synced file with its entry in `bodies` synced.
pub(super) async fn make_durable(
    bodies: &Path,
    mut messages: Vec<Accepted>,
) -> Result<Vec<Accepted>, SpoolError> {
    let is_small = |body: &Body| matches!(body, Body::Memory(bytes) if bytes.len() <= MEMORY_BYTES);
    if messages.iter().all(|message| is_small(&message.body)) {
        return Ok(messages);
    }
    let bodies = bodies.to_owned();
    let work = move || {
        for message in messages.iter_mut().filter(|message| !is_small(&message.body)) {
            message.body = to_file(&bodies, message.id, &message.body)?;
        }
        File::open(&bodies)?.sync_all()?;
        Ok(messages)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| SpoolError::Closed)?
}

fn to_file(bodies: &Path, id: QueueId, body: &Body) -> Result<Body, SpoolError> {
    let path = bodies.join(id.to_string());
    if let Body::File { file, own: Some(own), .. } = body
        && own.path() == path
    {
        file.sync_all()?;
        return Ok(body.clone());
    }
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let own = Arc::new(OwnFile::new(path));
    let mut at = 0;
    while at < body.len() {
        let end = at.saturating_add(CHUNK_BYTES).min(body.len());
        file.write_all(&body.read(at..end)?)?;
        at = end;
    }
    file.sync_all()?;
    Ok(Body::File { file: Arc::new(file), offset: 0, length: body.len(), own: Some(own) })
}

/// The message is accepted: its file stays. Returns whether it has one.
pub(super) fn keep_file(body: &Body) -> bool {
    match body {
        Body::Memory(_) => false,
        Body::File { own, .. } => {
            if let Some(own) = own {
                own.keep();
            }
            true
        }
    }
}

/// Removes files of messages that are done. Large ones take their time, so a thread of its own does it.
pub(super) fn remove_files(files: Vec<PathBuf>) {
    if files.is_empty() {
        return;
    }
    let remove = move || {
        for file in files {
            // What stays is removed as an orphan at the next start.
            let _ = std::fs::remove_file(file);
        }
    };
    let _ = std::thread::Builder::new().name("imss-remove".to_owned()).spawn(remove);
}

/// Reads a message from memory or from the journal. Blocks.
pub(super) fn load(inner: &Inner, id: QueueId) -> Result<Option<Arc<Accepted>>, SpoolError> {
    let position = {
        let index = inner.index();
        if let Some(message) = index.recall(id) {
            return Ok(Some(message));
        }
        let Some(entry) = index.entries.get(&id) else { return Ok(None) };
        entry.position.clone()
    };
    read(&inner.bodies, id, &position).map(|message| Some(Arc::new(message)))
}

/// Reads a message from its record. Blocks.
pub(super) fn read(
    bodies: &Path,
    id: QueueId,
    position: &Position,
) -> Result<Accepted, SpoolError> {
    let length = u64::from(position.length);
    let whole = Body::File {
        file: Arc::clone(&position.segment.file),
        offset: position.offset,
        length,
        own: None,
    };
    let bytes = whole.read(0..length)?;
    let damaged =
        || io::Error::new(io::ErrorKind::InvalidData, "a record of the journal is damaged");
    let record = decode_one(&bytes).ok_or_else(damaged)?;
    let message = record.messages.into_iter().find(|message| message.id == id);
    let StoredMessage { received_unix_millis, record, copies, body, .. } =
        message.ok_or_else(damaged)?;
    let body = match body {
        StoredBody::Inline(range) => Body::Memory(slice(&bytes, range).ok_or_else(damaged)?),
        StoredBody::File { length } => {
            let file = Arc::new(File::open(bodies.join(id.to_string()))?);
            Body::File { file, offset: 0, length, own: None }
        }
    };
    Ok(Accepted { id, received_unix_millis, body, copies, record })
}

fn slice(bytes: &Bytes, range: std::ops::Range<usize>) -> Option<Bytes> {
    bytes.get(range.clone()).map(|_| bytes.slice(range))
}

/// Brings one record of the journal into the index.
pub(super) fn replay(index: &mut Index, segment: &Arc<Segment>, located: &Located) {
    let position = Position {
        segment: Arc::clone(segment),
        offset: u64::try_from(located.range.start).unwrap_or(u64::MAX),
        length: u32::try_from(located.range.len()).unwrap_or(u32::MAX),
    };
    for message in &located.record.messages {
        let has_file = matches!(message.body, StoredBody::File { .. });
        let body = (message.body.len(), has_file);
        let received = message.received_unix_millis;
        index.insert(Entry::new(message.id, received, body, &message.copies, position.clone()));
    }
    for change in &located.record.changes {
        index.apply(change);
    }
}

/// Takes messages out of the index whose body file is missing or short.
pub(super) fn drop_lost(index: &mut Index, bodies: &Path) -> Result<Vec<QueueId>, SpoolError> {
    let mut lost = Vec::new();
    for entry in index.entries.values().filter(|entry| entry.has_file) {
        let length = match std::fs::metadata(bodies.join(entry.id.to_string())) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        if length < entry.size {
            lost.push(entry.id);
        }
    }
    for id in &lost {
        index.apply(&Change::Deleted(*id));
    }
    Ok(lost)
}

/// Removes files in `bodies` that belong to no message. Returns how many.
pub(super) fn remove_orphans(index: &Index, bodies: &Path) -> Result<u64, SpoolError> {
    let wanted: HashSet<String> = index
        .entries
        .values()
        .filter(|entry| entry.has_file)
        .map(|entry| entry.id.to_string())
        .collect();
    let mut removed = 0_u64;
    for entry in std::fs::read_dir(bodies)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !wanted.contains(name)) {
            std::fs::remove_file(entry.path())?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}
