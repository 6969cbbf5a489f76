//! The journal: records appended to segments, many per sync.
//!
//! In: encoded records. Out: an outcome for each, on the committer's thread. One thread writes: it
//! takes all records that wait, writes them with one call, syncs once, then answers them all. The
//! next batch gathers during that sync, so the batch grows with the load and nobody waits for a timer.
//!
//! - [`Class::Mail`] is new mail: refused when space runs out.
//! - [`Class::Update`] records what already happened. On a full disk it may use the reserve, and if
//!   even that is gone it stays in memory, in order, until there is space. While the reserve is not
//!   whole, new mail is refused.
//!
//! A failed write is cut off again and leaves the journal as it was. After a failed sync (or a failed
//! cut) nobody knows what the disk holds: the journal refuses everything until the next start.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::SpoolError;
use super::storage::Storage;

mod committer;

use committer::Committer;

/// How long an update may wait for its sync.
const LAZY: Duration = Duration::from_secs(1);

/// How the journal works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The spool's folder.
    pub dir: PathBuf,
    /// Octets after which a new segment begins.
    pub segment_bytes: u64,
    /// Octets kept back for updates.
    pub reserve_bytes: u64,
}

/// The journal. Dropping it writes and syncs what waits.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// One segment, for reading. The file stays readable after the segment is removed.
#[derive(Debug)]
pub struct Segment {
    /// Its number; greater is newer.
    pub number: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// The open file.
    pub file: Arc<File>,
    /// Octets written so far.
    pub length: AtomicU64,
}

/// Where a record lies.
#[derive(Debug, Clone)]
pub struct Position {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Octets from its start.
    pub offset: u64,
    /// Octets with the record's header.
    pub length: u32,
}

/// What a record is, when space runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// New mail, or mail carried over from an old segment: can be refused.
    Mail,
    /// Something that already happened.
    Update,
}

/// When the outcome must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// As soon as the disk can.
    Now,
    /// With the next sync, or within a second.
    Lazy,
}

/// Called on the committer's thread with the record's place once it is durable.
pub type Done = Box<dyn FnOnce(Result<Position, SpoolError>) + Send>;

/// One record on its way.
pub(crate) struct Submission {
    pub(crate) record: Vec<u8>,
    pub(crate) class: Class,
    pub(crate) urgency: Urgency,
    pub(crate) done: Option<Done>,
}

/// What sessions and the committer share.
#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    poisoned: AtomicBool,
    full: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    waiting: Vec<Submission>,
    closed: bool,
    idle: bool,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts a journal whose first new segment has the number `next`; `sealed` are the older ones.
    /// Nothing is written before the first record.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Io`] if the thread cannot start.
    pub fn start(
        options: Options,
        storage: Arc<dyn Storage>,
        sealed: Vec<Arc<Segment>>,
        next: u64,
    ) -> Result<Self, SpoolError> {
        let segments = sealed.into_iter().map(|segment| (segment.number, segment)).collect();
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            segments: Mutex::new(segments),
            poisoned: AtomicBool::new(false),
            full: AtomicBool::new(false),
        });
        let mut committer = Committer::new(options, storage, Arc::clone(&shared), next);
        let thread = std::thread::Builder::new()
            .name("imss-commit".to_owned())
            .spawn(move || committer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands in a record from [`encode`](super::record::encode). Records are written in the order of
    /// these calls. `done` must be short and must not call the journal's [`Journal::close`].
    pub fn append(&self, record: Vec<u8>, class: Class, urgency: Urgency, done: Option<Done>) {
        let refusal = if self.shared.poisoned.load(Ordering::Acquire) {
            Some(SpoolError::Poisoned)
        } else {
            let mut inbox = lock(&self.shared.inbox);
            if inbox.closed {
                Some(SpoolError::Closed)
            } else {
                inbox.waiting.push(Submission { record, class, urgency, done });
                if inbox.idle {
                    self.shared.wake.notify_one();
                }
                return;
            }
        };
        if let (Some(error), Some(done)) = (refusal, done) {
            done(Err(error));
        }
    }

    /// Writes and syncs what waits, then stops. Blocks. Later records are answered
    /// [`SpoolError::Closed`].
    pub fn close(&self) {
        lock(&self.shared.inbox).closed = true;
        self.shared.wake.notify_one();
        let thread = lock(&self.thread).take();
        // The last owner may be an answer that the committer itself gives: it ends by itself then.
        let own = std::thread::current().id();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != own) {
            // A committer that panicked has answered nobody, and the sessions see that.
            let _ = thread.join();
        }
    }

    /// Removes a segment's file. It must not be the newest one.
    ///
    /// # Errors
    ///
    /// As the file system says; the segment counts as removed all the same.
    pub fn remove(&self, number: u64) -> Result<(), SpoolError> {
        let segment = lock(&self.shared.segments).remove(&number);
        if let Some(segment) = segment {
            std::fs::remove_file(&segment.path)?;
        }
        Ok(())
    }

    /// All segments, oldest first. The last one may be written still.
    #[must_use]
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        lock(&self.shared.segments).values().cloned().collect()
    }

    /// Octets of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let segments = lock(&self.shared.segments);
        segments.values().map(|segment| segment.length.load(Ordering::Relaxed)).sum()
    }

    /// The error that every record would get now, if there is one.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Poisoned`] or [`SpoolError::Closed`].
    pub fn check(&self) -> Result<(), SpoolError> {
        if self.shared.poisoned.load(Ordering::Acquire) {
            return Err(SpoolError::Poisoned);
        }
        if lock(&self.shared.inbox).closed { Err(SpoolError::Closed) } else { Ok(()) }
    }

    /// Whether new mail can be accepted, as far as the last batch has shown.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.shared.poisoned.load(Ordering::Acquire) && !self.shared.full.load(Ordering::Acquire)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Everything that waits, and whether the journal is closed. Waits for the first record, at most
    /// until `deadline`.
    fn take(&self, deadline: Option<Instant>) -> (Vec<Submission>, bool) {
        let mut inbox = lock(&self.inbox);
        while inbox.waiting.is_empty() && !inbox.closed {
            inbox.idle = true;
            inbox = match deadline {
                None => self.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.wake.wait_timeout(inbox, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inbox.idle = false;
        (std::mem::take(&mut inbox.waiting), inbox.closed)
    }
}

/// A lock whose holder panicked holds plain data that is whole between statements here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
