//! The sender filter: who may hand over mail, decided before the first octet of a message.
//!
//! In: the stages of sessions, what messages turned out to be, commands. Out: leave to go on, or the
//! reply the client gets instead; one [`Record`] for every decision. The judgement itself (windows,
//! lists, greylisting) is in `imss_scan::reputation`, without clock or I/O; here are the clock, the
//! DNS, the files and the settings.
//!
//! A part that is off costs nothing; with every part off and empty lists a check is two loads. A
//! fault of ours (a file that cannot be written, a list that does not answer) lets mail pass and is
//! told: the filter saves work, the scanner judges.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use imss_scan::reputation::dns::Client as DnsClient;
use imss_scan::reputation::lists::{Entry, ListKind, Lists};
use imss_scan::reputation::source::{Source, SourceKey};
use imss_scan::reputation::tracker::Tracker;
use tokio_util::sync::CancellationToken;

use crate::ids::unix_millis;
use crate::inbound::relaying::RelayRules;
use crate::observe::DailyLines;
use crate::spool::SpoolError;

mod check;
pub mod checks;
pub mod command;
pub mod counter;
mod geo;
pub mod known;
mod learn;
pub mod record;
pub mod settings;
pub mod store;
pub mod template;
mod zones;

pub use geo::GeoError;
pub use record::Record;
pub use settings::{Part, Settings, State};

use counter::{Counter, Known, Sender};
use geo::Geo;
use settings::States;
use store::{Change, FileStore, Store};
pub use zones::Health;
use zones::Zones;

/// Sources are spread over so many locks.
const SHARDS: usize = 16;
/// Reverse-paths that are remembered.
const MAX_SENDERS: usize = 100_000;
/// How often counters are stored and what has ended is removed.
const TICK: Duration = Duration::from_secs(2);

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Its files.
    #[error("sender filter: {0}")]
    Files(#[from] SpoolError),
    /// Countries and autonomous systems.
    #[error("sender filter: {0}")]
    Geo(#[from] GeoError),
}

/// What a filter works with besides its settings.
#[derive(Default)]
pub struct Surroundings {
    /// Our name.
    pub hostname: String,
    /// The domains we take mail for, and the networks that may send anywhere.
    pub relaying: RelayRules,
    /// Who asks the DNS.
    pub dns: Option<DnsClient>,
    /// The time in seconds since 1970; the system's if `None`.
    pub clock: Option<Box<dyn Fn() -> u32 + Send + Sync>>,
    /// The folder of the log; `None` writes none.
    pub log_dir: Option<std::path::PathBuf>,
}

/// The filter. See the module.
pub struct Filter {
    active: ArcSwap<Active>,
    memory: Memory,
    zones: Zones,
    store: Box<dyn Store>,
    log: Option<DailyLines>,
    around: Surroundings,
    /// Whether storing failed the last time: told once.
    is_store_broken: AtomicBool,
}

/// What holds at the moment: swapped, never changed.
struct Active {
    settings: Settings,
    /// What commands said of the parts.
    switched: [Option<State>; 7],
    /// The states that follow.
    states: States,
    /// The entries of the settings.
    fixed: Lists,
    geo: Geo,
}

/// What is remembered.
struct Memory {
    lists: RwLock<Lists>,
    sources: Vec<Mutex<Tracker<Source>>>,
    senders: Mutex<Tracker<Sender>>,
    triplets: Mutex<Tracker<Known>>,
}

impl Filter {
    /// Opens the filter whose state lies in `dir`.
    ///
    /// # Errors
    ///
    /// [`FilterError`].
    pub fn open(dir: &Path, settings: Settings, around: Surroundings) -> Result<Self, FilterError> {
        let memory = Memory::new(&settings);
        let mut switched = [None; 7];
        let store = FileStore::open(
            dir,
            |change| memory.restore_change(change, &mut switched),
            |counter| memory.restore_counter(counter),
        )?;
        memory.settle();
        let log = match &around.log_dir {
            Some(dir) => Some(DailyLines::open(dir, record::FILTER).map_err(SpoolError::from)?),
            None => None,
        };
        let filter = Self {
            active: ArcSwap::from_pointee(Active::new(settings, switched)?),
            memory,
            zones: Zones::default(),
            store: Box::new(store),
            log,
            around,
            is_store_broken: AtomicBool::new(false),
        };
        filter.compact(true, true);
        Ok(filter)
    }

    /// Reads what the files of new settings say, without using it yet.
    ///
    /// # Errors
    ///
    /// [`GeoError`].
    pub fn prepare(settings: &Settings) -> Result<(), GeoError> {
        Geo::open(settings.country_file.as_deref(), settings.asn_file.as_deref()).map(|_| ())
    }

    /// Goes by `settings` from now on. What commands switched stays switched.
    ///
    /// # Errors
    ///
    /// [`GeoError`]; then the old settings stay.
    pub fn reconfigure(&self, settings: Settings) -> Result<(), GeoError> {
        let switched = self.active.load().switched;
        self.active.store(std::sync::Arc::new(Active::new(settings, switched)?));
        Ok(())
    }

    /// Stores counters, ends entries and looks at DNS lists until `stop`, and once more then.
    pub async fn run(self: std::sync::Arc<Self>, stop: CancellationToken) {
        let mut clock = tokio::time::interval(TICK);
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                _ = clock.tick() => false,
            };
            let filter = std::sync::Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || filter.tick()).await {
                tracing::error!(%error, "the sender filter's state was not stored");
            }
            if is_last {
                break;
            }
            self.check_zones().await;
        }
        if let Some(log) = &self.log {
            log.sync();
        }
    }

    /// Stores what changed, and ends what has ended.
    pub fn tick(&self) {
        let now = self.now();
        for entry in self.write_lists(|lists| lists.expire(now)) {
            self.keep(&Change::Removed(entry.list, entry.subject.clone()));
            self.write(Record {
                detail: entry.note.to_string(),
                ..Record::new(Part::Lists, entry.subject.to_string(), "expired")
            });
        }
        let (grown_lists, grown_counters) = self.store.has_grown();
        self.compact(grown_lists, grown_counters);
        if !grown_counters {
            for counters in self.memory.changed() {
                self.stored(self.store.count(&counters));
            }
        }
        self.stored(self.store.sync());
    }

    async fn check_zones(&self) {
        let active = self.active.load_full();
        let Some(client) = &self.around.dns else { return };
        if active.states.of(Part::Dns) == State::Off || active.settings.dns.zones.is_empty() {
            return;
        }
        for record in self.zones.check(&active.settings.dns, client, self.now()).await {
            self.write(record);
        }
    }

    /// Writes whole files anew.
    fn compact(&self, lists: bool, counters: bool) {
        if lists {
            let held = self.memory.lists.read().unwrap_or_else(PoisonError::into_inner);
            let entries = [ListKind::Approved, ListKind::Blocked].into_iter();
            let entries = entries.flat_map(|kind| held.iter(kind)).cloned().map(Change::Put);
            let active = self.active.load();
            let switched = Part::ALL.into_iter().zip(active.switched);
            let switched = switched
                .filter(|(_, state)| state.is_some())
                .map(|(part, state)| Change::Switched(part, state));
            self.stored(self.store.replace_changes(&mut entries.chain(switched)));
        }
        if counters {
            let mut all = self.memory.all();
            self.stored(self.store.replace_counters(&mut all));
        }
    }

    /// Keeps a change; a disk that refuses is told, and the change holds until the end of the process.
    fn keep(&self, change: &Change) {
        self.stored(self.store.change(change));
    }

    fn stored(&self, result: io::Result<()>) {
        match result {
            Ok(()) => self.is_store_broken.store(false, Ordering::Relaxed),
            Err(error) => {
                metrics::counter!("imss_filter_store_errors_total").increment(1);
                if !self.is_store_broken.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the sender filter's state cannot be written");
                }
            }
        }
    }

    fn now(&self) -> u32 {
        match &self.around.clock {
            Some(clock) => clock(),
            None => u32::try_from(unix_millis() / 1_000).unwrap_or(u32::MAX),
        }
    }

    fn write(&self, record: Record) {
        record.write(self.log.as_ref());
    }

    fn put(&self, entry: Entry) {
        // Under the lock: a file written anew in between would not have the entry.
        self.write_lists(|lists| {
            self.keep(&Change::Put(entry.clone()));
            lists.put(entry);
        });
    }

    fn write_lists<R>(&self, change: impl FnOnce(&mut Lists) -> R) -> R {
        change(&mut self.memory.lists.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_lists<R>(&self, read: impl FnOnce(&Lists) -> R) -> R {
        read(&self.memory.lists.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn source<R>(&self, key: SourceKey, change: impl FnOnce(&mut Source) -> R) -> R {
        match self.memory.shard(key) {
            Some(mut shard) => shard.update(key.number(), change),
            None => change(&mut Source::default()),
        }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Active {
    fn new(settings: Settings, switched: [Option<State>; 7]) -> Result<Self, GeoError> {
        let geo = Geo::open(settings.country_file.as_deref(), settings.asn_file.as_deref())?;
        let mut states = settings.states;
        for (state, switch) in states.0.iter_mut().zip(switched) {
            *state = switch.unwrap_or(*state);
        }
        let mut fixed = Lists::default();
        let named =
            [(ListKind::Approved, &settings.approved), (ListKind::Blocked, &settings.blocked)];
        for (list, subjects) in named {
            for subject in subjects {
                fixed.put(Entry {
                    list,
                    subject: subject.clone(),
                    added_secs: 0,
                    until_secs: None,
                    note: "".into(),
                    by: "settings".into(),
                    is_transient: false,
                });
            }
        }
        Ok(Self { settings, switched, states, fixed, geo })
    }

    fn key(&self, ip: IpAddr) -> SourceKey {
        SourceKey::new(ip, self.settings.ipv6_prefix)
    }

    fn is_known(&self, ip: IpAddr) -> bool {
        known::contains(&self.settings.known_hosts, ip)
    }
}

impl Memory {
    fn new(settings: &Settings) -> Self {
        let each = settings.max_sources.div_ceil(SHARDS);
        Self {
            lists: RwLock::default(),
            sources: (0..SHARDS).map(|_| Mutex::new(Tracker::new(each))).collect(),
            senders: Mutex::new(Tracker::new(MAX_SENDERS)),
            triplets: Mutex::new(Tracker::new(settings.greylist.max_triplets)),
        }
    }

    fn shard(&self, key: SourceKey) -> Option<MutexGuard<'_, Tracker<Source>>> {
        // The lower bits of an IPv6 network are often zero, those of an IPv4 address are not.
        let mixed = key.number() ^ (key.number() >> 32);
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        let place = usize::try_from(spread).unwrap_or(0) % SHARDS;
        self.sources.get(place).map(lock)
    }

    fn restore_change(&self, change: Change, switched: &mut [Option<State>; 7]) {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Put(entry) => lists.put(entry),
            Change::Removed(list, subject) => {
                lists.remove(list, &subject);
            }
            Change::Switched(part, state) => set(switched, part, state),
        }
    }

    fn restore_counter(&self, counter: Counter) {
        match counter {
            Counter::Source(key, source) => {
                if let Some(mut shard) = self.shard(SourceKey::from_number(key)) {
                    shard.update(key, |place| *place = source);
                }
            }
            Counter::Sender(key, sender) => {
                lock(&self.senders).update(key, |place| *place = sender)
            }
            Counter::Triplet(key, known) => {
                lock(&self.triplets).update(key, |place| *place = known)
            }
        }
    }

    /// Counts nothing as changed.
    fn settle(&self) {
        self.sources.iter().for_each(|shard| lock(shard).take_changed(|_, _| {}));
        lock(&self.senders).take_changed(|_, _| {});
        lock(&self.triplets).take_changed(|_, _| {});
    }

    /// What changed since the last time, in batches.
    fn changed(&self) -> impl Iterator<Item = Vec<Counter>> {
        let sources = self.sources.iter().map(|shard| {
            let mut batch = Vec::new();
            lock(shard).take_changed(|key, source| batch.push(Counter::Source(key, *source)));
            batch
        });
        let others = std::iter::once_with(|| {
            let mut batch = Vec::new();
            lock(&self.senders)
                .take_changed(|key, sender| batch.push(Counter::Sender(key, sender.clone())));
            lock(&self.triplets)
                .take_changed(|key, known| batch.push(Counter::Triplet(key, known.clone())));
            batch
        });
        sources.chain(others).filter(|batch| !batch.is_empty())
    }

    /// Everything, shard by shard.
    fn all(&self) -> impl Iterator<Item = Counter> {
        let sources = self.sources.iter().flat_map(|shard| {
            let mut shard = lock(shard);
            shard.take_changed(|_, _| {});
            shard.iter().map(|(key, source)| Counter::Source(key, *source)).collect::<Vec<_>>()
        });
        let others = std::iter::once_with(|| {
            let (mut senders, mut triplets) = (lock(&self.senders), lock(&self.triplets));
            senders.take_changed(|_, _| {});
            triplets.take_changed(|_, _| {});
            let senders = senders.iter().map(|(key, one)| Counter::Sender(key, one.clone()));
            let triplets = triplets.iter().map(|(key, one)| Counter::Triplet(key, one.clone()));
            senders.chain(triplets).collect::<Vec<_>>()
        });
        sources.chain(others.flatten())
    }
}

fn set(switched: &mut [Option<State>; 7], part: Part, state: Option<State>) {
    let place = Part::ALL.iter().position(|other| *other == part);
    if let Some(slot) = place.and_then(|place| switched.get_mut(place)) {
        *slot = state;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
