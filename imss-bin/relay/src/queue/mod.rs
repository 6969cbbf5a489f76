//! The queue: accepted messages until each recipient's copy has its disposition.
//!
//! In: [`Accepted`] messages and an administrator's commands. Out: [`Job`](crate::outbound::Job)s for
//! the [`Deliverer`], files in the [`Quarantine`], one [`Event`] per disposition. Every
//! change is in the journal before it is told to anybody but the next hop.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imss_core::ids::QueueId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::outbound::Deliverer;
use crate::quarantine::Quarantine;
use crate::spool::journal::{Class, Journal, Options, Urgency};
use crate::spool::lock::Lock;
use crate::spool::record::{Change, encode};
use crate::spool::recovery::recover;
use crate::spool::storage::{Disk, Storage};
use crate::spool::writer::{BodyStore, BodyWriter};
use crate::spool::{Accepted, SpoolError};

mod bodies;
mod commands;
mod compact;
mod index;
mod lanes;
mod observe;
mod settle;
mod view;
mod worker;

use index::{Entry, Index};

pub use observe::{Cause, Disposition, Event, Hooks, Notifier, Observer, Report, Reported, Silent};
pub use view::{QueueCounts, QueueEntry, QueueRecipient, RecipientState};

/// How the queue works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pauses between attempts; the last one repeats.
    pub retry: Vec<Duration>,
    /// Age at which a message is given up.
    pub expire: Duration,
    /// Age at which the reverse-path is told that a message is late; `None` for never.
    pub delay_notice: Option<Duration>,
    /// Jobs at once for one destination.
    pub per_destination: usize,
    /// Jobs at once in all.
    pub jobs: usize,
    /// Octets of small fresh messages kept in memory.
    pub cache_bytes: usize,
    /// Octets after which a new segment begins.
    pub segment_bytes: u64,
    /// Octets kept back for recording deliveries on a full disk.
    pub reserve_bytes: u64,
    /// How long running jobs may take at the end.
    pub grace: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the journal is written.
    pub storage: Arc<dyn Storage>,
}

/// Tells the time. Tests have one that they set, and call [`Queue::wake`] after.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since 1970 (UTC).
    fn unix_millis(&self) -> u64;
}

/// The clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        Self {
            retry: [1, 5, 15, 30, 60].map(minutes).to_vec(),
            expire: minutes(5 * 24 * 60),
            delay_notice: Some(minutes(4 * 60)),
            per_destination: 20,
            jobs: 500,
            cache_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            reserve_bytes: 4 << 20,
            grace: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            storage: Arc::new(Disk),
        }
    }
}

/// What was found at the start.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Messages that are not done.
    pub messages: u64,
    /// Octets cut off the end of the journal: writes that were never confirmed.
    pub torn_bytes: u64,
    /// Unreadable places in the journal. Mail may be missing; copies of the segments are kept.
    pub damaged: Vec<PathBuf>,
    /// Messages whose body file is missing or cut. They are not in the queue any more.
    pub without_body: Vec<QueueId>,
    /// Files of unaccepted bodies that were removed.
    pub orphans: u64,
}

/// A handle to the queue; clones share it.
#[derive(Debug, Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    bodies: PathBuf,
    store: BodyStore,
    journal: Journal,
    index: Mutex<Index>,
    /// Wakes the worker.
    wake: Notify,
    /// Held as long as the journal: fields are dropped in order.
    _lock: Lock,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No such message.
    #[error("{0} is not in the queue")]
    NoSuchMessage(QueueId),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Queue {
    /// Opens the spool in `dir` (created if absent), reads it, and locks it against other processes.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`SpoolError::InUse`], or [`SpoolError::Io`] if the spool cannot be read or made. Damage is
    /// no error: see [`Recovered`].
    pub fn open(dir: &Path, settings: Settings) -> Result<(Self, Recovered), SpoolError> {
        std::fs::create_dir_all(dir)?;
        let lock = Lock::take(dir)?;
        let mut index = Index::new(settings.cache_bytes);
        let recovery =
            recover(dir, |segment, located| bodies::replay(&mut index, segment, &located))?;
        let bodies = dir.join("bodies");
        let without_body = bodies::drop_lost(&mut index, &bodies)?;
        let recovered = Recovered {
            messages: u64::try_from(index.entries.len()).unwrap_or(u64::MAX),
            torn_bytes: recovery.torn_bytes,
            damaged: recovery.damaged,
            without_body,
            orphans: bodies::remove_orphans(&index, &bodies)?,
        };
        index.touched = index.entries.keys().copied().collect();
        let options = Options {
            dir: dir.to_owned(),
            segment_bytes: settings.segment_bytes,
            reserve_bytes: settings.reserve_bytes,
        };
        let storage = Arc::clone(&settings.storage);
        let journal = Journal::start(options, storage, recovery.segments, recovery.next)?;
        let inner = Inner {
            store: BodyStore::new(bodies.clone()),
            settings,
            bodies,
            journal,
            index: Mutex::new(index),
            wake: Notify::new(),
            _lock: lock,
        };
        Ok((Self { inner: Arc::new(inner) }, recovered))
    }

    /// A writer for the body of a message to come.
    #[must_use]
    pub fn body_writer(&self, id: QueueId) -> BodyWriter {
        self.inner.store.writer(id)
    }

    /// Accepts `messages`, all or none, with one commit. Returns after they are on stable storage.
    /// If the caller goes away before, they are accepted or not as if it had stayed.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`]. Nothing was accepted then, and files of bodies are gone with `messages`.
    pub async fn submit(&self, messages: Vec<Accepted>) -> Result<(), SpoolError> {
        let messages = bodies::make_durable(&self.inner.bodies, messages).await?;
        let record = encode(&messages, &[])?;
        let (tell, told) = tokio::sync::oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let done = Box::new(move |outcome: Result<_, _>| {
            let outcome = outcome.map(|position| inner.admit(messages, &position));
            // Let go first: whoever drops its queue after the answer has let go of the lock then.
            drop(inner);
            // The session may be gone; the mail is accepted all the same.
            let _ = tell.send(outcome);
        });
        self.inner.journal.append(record, Class::Mail, Urgency::Now, Some(done));
        told.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Delivers until `stop` is cancelled, then lets running jobs finish for at most
    /// [`Settings::grace`], syncs and closes. Call it once.
    pub async fn run<D: Deliverer>(
        &self,
        deliverer: Arc<D>,
        quarantine: Quarantine,
        hooks: Hooks,
        stop: CancellationToken,
    ) {
        worker::run(Arc::clone(&self.inner), deliverer, quarantine, hooks, stop).await;
        self.close().await;
    }

    /// Looks at the clock again, now.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Takes back the space of old segments, as far as that is worth it. [`Queue::run`] does it too.
    /// Blocks. Returns how many segments were removed.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`]; what could not be removed stays in use.
    pub fn compact(&self) -> Result<u64, SpoolError> {
        compact::compact(&self.inner)
    }

    /// Syncs and closes the journal; nothing more is accepted. [`Queue::run`] does it at its end.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        // It fails only if the runtime goes down, and then the journal's drop does the same.
        let _ = tokio::task::spawn_blocking(move || inner.journal.close()).await;
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.settings.clock.unix_millis()
    }

    /// Takes durable messages into the index. Runs on the committer's thread.
    fn admit(&self, messages: Vec<Accepted>, position: &crate::spool::journal::Position) {
        let mut index = self.index();
        for message in messages {
            let has_file = bodies::keep_file(&message.body);
            let body = (message.body.len(), has_file);
            let (id, received) = (message.id, message.received_unix_millis);
            let entry = Entry::new(id, received, body, &message.copies, position.clone());
            if !entry.is_done() {
                index.news.extend(entry.news(false));
                index.insert(entry);
                index.touched.push(id);
                index.remember(message);
            }
        }
        drop(index);
        self.wake.notify_one();
    }

    /// Makes `changes` in the index and hands them to the journal, with `notices` in the same
    /// record. The index stays locked for both, so that the journal has them in the same order.
    fn change(
        self: &Arc<Self>,
        changes: &[Change],
        notices: Vec<Accepted>,
    ) -> Result<(), SpoolError> {
        let record = encode(&notices, changes)?;
        let mut index = self.index();
        let mut files = Vec::new();
        for change in changes {
            let gone = index.apply(change).filter(|entry| entry.has_file);
            files.extend(gone.map(|entry| self.bodies.join(entry.id.to_string())));
        }
        let urgency = if notices.is_empty() { Urgency::Lazy } else { Urgency::Now };
        let done: Option<crate::spool::journal::Done> = if files.is_empty() && notices.is_empty() {
            None
        } else {
            let inner = Arc::clone(self);
            Some(Box::new(move |outcome| {
                let Ok(position) = outcome else { return };
                inner.admit(notices, &position);
                bodies::remove_files(files);
            }))
        };
        self.journal.append(record, Class::Update, urgency, done);
        Ok(())
    }
}
