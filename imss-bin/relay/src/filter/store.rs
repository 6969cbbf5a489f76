//! Where the filter's state is kept: lists and switches, and counters.
//!
//! In: changes as they happen, counters in batches. Out: after a start, the same again. Two files of
//! frames (length, CRC-32C, content): `lists` is written before a change counts, `counters` every
//! few seconds. A torn or damaged end is cut off where the last whole frame ends. Both are written
//! anew when they have grown to several times what they hold.
//!
//! [`Store`] is all the filter knows of it, so that several nodes can share one.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use imss_scan::reputation::lists::{Entry, ListKind};
use imss_scan::reputation::subject::Subject;
use serde::{Deserialize, Serialize};

use super::counter::Counter;
use super::settings::{Part, State};
use crate::spool::SpoolError;
use crate::spool::lock::Lock;

/// Longest frame. Anything longer is damage.
const MAX_FRAME_BYTES: usize = 64 << 10;
/// A file is written anew when it is so many times as long as after the last time …
const GROWTH: u64 = 3;
/// … and longer than this.
const SMALL_BYTES: u64 = 1 << 20;

/// A change of lists or switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// An entry was added.
    Put(Entry),
    /// An entry was removed.
    Removed(ListKind, Subject),
    /// A part was switched by a command; `None` goes back to what the settings say.
    Switched(Part, Option<State>),
}

/// Keeps the state of a filter.
pub trait Store: Debug + Send + Sync {
    /// Keeps a change. When it returns, the end of this process cannot undo it.
    ///
    /// # Errors
    ///
    /// It could not be written.
    fn change(&self, change: &Change) -> io::Result<()>;

    /// Keeps counters, in place of earlier ones of the same keys.
    ///
    /// # Errors
    ///
    /// They could not be written; the next batch may succeed.
    fn count(&self, counters: &[Counter]) -> io::Result<()>;

    /// Makes all changes durable.
    ///
    /// # Errors
    ///
    /// The disk refused.
    fn sync(&self) -> io::Result<()>;

    /// Whether changes (first) and counters (second) should be given anew as a whole.
    fn has_grown(&self) -> (bool, bool);

    /// Keeps these instead of all changes so far.
    ///
    /// # Errors
    ///
    /// They could not be written; then everything stays as it was.
    fn replace_changes(&self, all: &mut dyn Iterator<Item = Change>) -> io::Result<()>;

    /// Keeps these instead of all counters so far.
    ///
    /// # Errors
    ///
    /// As for changes.
    fn replace_counters(&self, all: &mut dyn Iterator<Item = Counter>) -> io::Result<()>;
}

/// Two files in a folder, locked against other processes.
#[derive(Debug)]
pub struct FileStore {
    lists: Mutex<Frames>,
    counters: Mutex<Frames>,
    _lock: Lock,
}

impl FileStore {
    /// Opens the folder, which is created if need be, and hands over what it holds, in the order
    /// it was written.
    ///
    /// # Errors
    ///
    /// Another process has it open, or a file cannot be read or made.
    pub fn open(
        dir: &Path,
        mut changed: impl FnMut(Change),
        mut counted: impl FnMut(Counter),
    ) -> Result<Self, SpoolError> {
        fs::create_dir_all(dir)?;
        let lock = Lock::take(dir)?;
        let lists = Frames::open(dir.join("lists"), |frame| match serde_json::from_slice(frame) {
            Ok(change) => changed(change),
            Err(error) => tracing::error!(%error, "a change of the filter's lists is not read"),
        })?;
        let counters = Frames::open(dir.join("counters"), |frame| {
            if let Some(counter) = Counter::decode(frame) {
                counted(counter);
            }
        })?;
        Ok(Self { lists: Mutex::new(lists), counters: Mutex::new(counters), _lock: lock })
    }
}

impl Store for FileStore {
    fn change(&self, change: &Change) -> io::Result<()> {
        let mut frame = Vec::new();
        put_frame(&mut frame, &serde_json::to_vec(change)?);
        lock(&self.lists).append(&frame)
    }

    fn count(&self, counters: &[Counter]) -> io::Result<()> {
        let mut frames = Vec::new();
        for counter in counters {
            put_frame(&mut frames, &counter.encode());
        }
        lock(&self.counters).append(&frames)
    }

    fn sync(&self) -> io::Result<()> {
        let file = lock(&self.lists).file.try_clone()?;
        file.sync_data()
    }

    fn has_grown(&self) -> (bool, bool) {
        (lock(&self.lists).has_grown(), lock(&self.counters).has_grown())
    }

    fn replace_changes(&self, all: &mut dyn Iterator<Item = Change>) -> io::Result<()> {
        let mut all = all.filter_map(|change| serde_json::to_vec(&change).ok());
        lock(&self.lists).replace(&mut all)
    }

    fn replace_counters(&self, all: &mut dyn Iterator<Item = Counter>) -> io::Result<()> {
        lock(&self.counters).replace(&mut all.map(|counter| counter.encode()))
    }
}

fn lock(frames: &Mutex<Frames>) -> std::sync::MutexGuard<'_, Frames> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file of frames that is appended to.
#[derive(Debug)]
struct Frames {
    path: PathBuf,
    file: File,
    length: u64,
    compact: u64,
}

impl Frames {
    /// Reads all whole frames, and cuts off what follows.
    fn open(path: PathBuf, mut each: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let whole = file.metadata()?.len();
        let mut input = io::BufReader::new(&mut file);
        let mut length = 0_u64;
        let mut frame = Vec::new();
        while let Some(octets) = read_frame(&mut input, &mut frame)? {
            each(&frame);
            length = length.saturating_add(octets);
        }
        drop(input);
        if length < whole {
            let cut = whole.saturating_sub(length);
            tracing::warn!(file = %path.display(), octets = cut, "a torn end was cut off");
            file.set_len(length)?;
        }
        Ok(Self { path, file, length, compact: 0 })
    }

    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(frames);
        if written.is_err() {
            // Half a frame would hide all that follow.
            self.file.set_len(self.length)?;
        } else {
            let octets = u64::try_from(frames.len()).unwrap_or(u64::MAX);
            self.length = self.length.saturating_add(octets);
        }
        written
    }

    fn has_grown(&self) -> bool {
        self.length > SMALL_BYTES && self.length > self.compact.saturating_mul(GROWTH)
    }

    fn replace(&mut self, contents: &mut dyn Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        let mut output = BufWriter::new(File::create(&aside)?);
        let (mut frame, mut length) = (Vec::new(), 0_u64);
        for content in contents {
            frame.clear();
            put_frame(&mut frame, &content);
            output.write_all(&frame)?;
            length = length.saturating_add(u64::try_from(frame.len()).unwrap_or(0));
        }
        output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(&aside, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        self.file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        (self.length, self.compact) = (length, length);
        Ok(())
    }
}

fn put_frame(output: &mut Vec<u8>, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    output.extend_from_slice(&length.to_le_bytes());
    output.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
    output.extend_from_slice(content);
}

/// One whole frame and the octets it takes; `None` where there is none.
fn read_frame(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut number = || -> io::Result<Option<u32>> {
        let mut octets = [0; 4];
        match input.read_exact(&mut octets) {
            Ok(()) => Ok(Some(u32::from_le_bytes(octets))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    };
    let (Some(length), Some(sum)) = (number()?, number()?) else { return Ok(None) };
    if usize::try_from(length).is_ok_and(|length| length > MAX_FRAME_BYTES) {
        return Ok(None);
    }
    frame.clear();
    let read = input.take(u64::from(length)).read_to_end(frame)?;
    let is_whole = u32::try_from(read).is_ok_and(|read| read == length);
    if !is_whole || crc32c::crc32c(frame) != sum {
        return Ok(None);
    }
    Ok(Some(u64::from(length).saturating_add(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path) -> (FileStore, Vec<Change>, usize) {
        let (mut changes, mut counters) = (Vec::new(), 0);
        let store = FileStore::open(dir, |change| changes.push(change), |_| counters += 1).unwrap();
        (store, changes, counters)
    }

    fn removed(asn: u32) -> Change {
        Change::Removed(ListKind::Blocked, Subject::Asn(asn))
    }

    #[test]
    fn what_was_kept_is_there_again_whatever_the_end_looks_like() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let (store, _, _) = load(dir);
        for asn in 0..3 {
            store.change(&removed(asn)).unwrap();
        }
        assert!(matches!(FileStore::open(dir, |_| {}, |_| {}), Err(SpoolError::InUse { .. })));
        drop(store);
        let whole = fs::read(dir.join("lists")).unwrap();
        for cut in 0..whole.len() {
            fs::write(dir.join("lists"), &whole[..cut]).unwrap();
            let (store, changes, _) = load(dir);
            let expected: Vec<_> = (0..3).map(removed).take(changes.len()).collect();
            assert_eq!(changes, expected);
            store.change(&removed(9)).unwrap();
            drop(store);
            let (_, after, _) = load(dir);
            assert_eq!(after.last(), Some(&removed(9)), "cut at {cut}");
        }
        let mut damaged = whole.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        fs::write(dir.join("lists"), damaged).unwrap();
        assert_eq!(load(dir).1.len(), 2);
        fs::write(dir.join("lists"), [0xff; 40]).unwrap();
        assert_eq!(load(dir).1.len(), 0);
    }

    #[test]
    fn grown_files_are_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _, _) = load(folder.path());
        while !store.has_grown().0 {
            store.change(&removed(1)).unwrap();
        }
        store.replace_changes(&mut std::iter::once(removed(7))).unwrap();
        store.change(&removed(8)).unwrap();
        assert!(!store.has_grown().0);
        drop(store);
        assert_eq!(load(folder.path()).1, [removed(7), removed(8)]);
    }
}
