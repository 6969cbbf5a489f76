//! Reads the journal at the start.
//!
//! In: the spool's folder. Out: every intact record, in order, to a visitor. An unfinished write at
//! the end of the newest segment is cut off. A segment with unreadable bytes elsewhere is copied to
//! `damaged/` and its other records count. Segments are read one at a time.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::SpoolError;
use super::journal::Segment;
use super::record::{Decoded, Located, Tail, decode};

/// What lies in the spool.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The segments, oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// A number that no segment has had.
    pub next: u64,
    /// Octets cut off the end.
    pub torn_bytes: u64,
    /// Copies of damaged segments.
    pub damaged: Vec<PathBuf>,
}

/// Makes the folders of the spool in `dir`, and reads what is there.
///
/// # Errors
///
/// [`SpoolError::Io`] if a file or folder cannot be read, made or cut. Damage is not an error.
pub fn recover(
    dir: &Path,
    mut visit: impl FnMut(&Arc<Segment>, Located),
) -> Result<Recovery, SpoolError> {
    for folder in ["segments", "bodies", "damaged"] {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    for folder in [Some(dir), dir.parent()].into_iter().flatten() {
        if !folder.as_os_str().is_empty() {
            File::open(folder)?.sync_all()?;
        }
    }
    let mut recovery = Recovery { next: 1, ..Recovery::default() };
    let files = segment_files(&dir.join("segments"))?;
    let newest = files.last().map(|(number, _)| *number);
    let mut bytes = Vec::new();
    for (number, path) in files {
        recovery.next = number.saturating_add(1);
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        bytes.clear();
        file.read_to_end(&mut bytes)?;
        let decoded = decode(&bytes);
        let end = settle_tail(&mut recovery, &decoded, bytes.len(), newest == Some(number), &file)?;
        if end == 0 {
            std::fs::remove_file(&path)?;
            continue;
        }
        let torn_inside = newest != Some(number) && decoded.tail != Tail::Clean;
        if !decoded.damage.is_empty() || torn_inside {
            recovery.damaged.push(copy_aside(dir, number, &path)?);
        }
        let length = AtomicU64::new(u64::try_from(end).unwrap_or(u64::MAX));
        let segment = Arc::new(Segment { number, path, file: Arc::new(file), length });
        for located in decoded.records {
            visit(&segment, located);
        }
        recovery.segments.push(segment);
    }
    File::open(dir.join("segments"))?.sync_all()?;
    Ok(recovery)
}

/// Cuts what the newest segment has after its last record. Returns the segment's length.
fn settle_tail(
    recovery: &mut Recovery,
    decoded: &Decoded,
    length: usize,
    newest: bool,
    file: &File,
) -> Result<usize, SpoolError> {
    let Tail::Torn(from) = decoded.tail else { return Ok(length) };
    if !newest {
        return Ok(length);
    }
    let torn = length.saturating_sub(from);
    recovery.torn_bytes = u64::try_from(torn).unwrap_or(u64::MAX);
    file.set_len(u64::try_from(from).unwrap_or(u64::MAX))?;
    file.sync_all()?;
    Ok(from)
}

fn segment_files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(".seg").and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn copy_aside(dir: &Path, number: u64, path: &Path) -> Result<PathBuf, SpoolError> {
    let copy = dir.join("damaged").join(format!("{number:016}.seg"));
    if !copy.exists() {
        std::fs::copy(path, &copy)?;
    }
    Ok(copy)
}
