//! The one task that decides what is sent when. Jobs run in tasks of their own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imss_core::envelope::{ForwardPath, ReversePath};
use imss_core::ids::QueueId;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::index::{Entry, Forgive, Index, News, Pause, Phase, is_store};
use super::lanes::{LaneKey, Lanes, Parcel, millis};
use super::settle::{Context, Work, broken, work};
use super::{Event, Hooks, Inner, compact};
use crate::outbound::{Deliverer, DestinationKey, Failure, LaneLimits};
use crate::quarantine::Quarantine;
use crate::spool::Destination;

/// How often the journal is looked at for space to take back.
const COMPACT_EVERY: Duration = Duration::from_secs(1);
/// The longest sleep: the clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(30);

struct Worker<D> {
    context: Arc<Context<D>>,
    lanes: Lanes,
    timers: BTreeSet<(u64, QueueId)>,
    jobs: JoinSet<Option<Failure>>,
    running: HashMap<Id, Running>,
    compacting: Arc<AtomicBool>,
    compacted_at: Instant,
}

struct Running {
    key: LaneKey,
    parcel: Parcel,
    /// Whether it takes one of its lane's places.
    in_lane: bool,
}

pub(super) async fn run<D: Deliverer>(
    inner: Arc<Inner>,
    deliverer: Arc<D>,
    quarantine: Quarantine,
    hooks: Hooks,
    stop: CancellationToken,
) {
    let settings = inner.settings.clone();
    let mut worker = Worker {
        context: Arc::new(Context { inner, deliverer, quarantine, hooks }),
        lanes: Lanes::new(settings.per_destination, settings.jobs, settings.retry),
        timers: BTreeSet::new(),
        jobs: JoinSet::new(),
        running: HashMap::new(),
        compacting: Arc::default(),
        compacted_at: Instant::now(),
    };
    let inner = Arc::clone(&worker.context.inner);
    loop {
        worker.schedule();
        let sleep = worker.sleep();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = worker.jobs.join_next_with_id() => worker.ended(ended),
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
    let rest = async { while worker.jobs.join_next().await.is_some() {} };
    if tokio::time::timeout(settings.grace, rest).await.is_err() {
        tracing::warn!(jobs = worker.jobs.len(), "deliveries were cut off; they are tried again");
        worker.jobs.shutdown().await;
    }
}

impl<D: Deliverer> Worker<D> {
    /// Everything that can be done now.
    fn schedule(&mut self) {
        let context = Arc::clone(&self.context);
        let now = context.inner.now();
        let news = {
            let mut index = context.inner.index();
            for id in std::mem::take(&mut index.touched) {
                self.evaluate(&mut index, id, now);
            }
            while let Some((due, id)) = self.timers.first().copied().filter(|one| one.0 <= now) {
                self.timers.remove(&(due, id));
                self.evaluate(&mut index, id, now);
            }
            match std::mem::take(&mut index.forgive) {
                Forgive::Nobody => {}
                Forgive::Messages(ids) => self.lanes.forgive(now, |one| ids.contains(&one.id)),
                Forgive::All => self.lanes.forgive_all(now),
            }
            std::mem::take(&mut index.news)
        };
        for one in news {
            self.tell(&one, now);
        }
        self.lanes.resume(now);
        // What cannot be recorded is not done: it would be done again after the next start.
        if context.inner.journal.check().is_err() {
            return;
        }
        while self.jobs.len() < context.inner.settings.jobs {
            let Some((key, parcel, failures)) = self.lanes.start(now) else { break };
            self.spawn(key, parcel, Work::Try(failures), true);
        }
        self.compact();
    }

    /// Puts what is due of a message into its lanes, and sets the timer for the rest.
    fn evaluate(&mut self, index: &mut Index, id: QueueId, now: u64) {
        let Some(entry) = index.entries.get_mut(&id) else { return };
        let (parcels, next) =
            due_parcels(entry, now, |from, to| self.context.deliverer.destination(from, to));
        for (key, parcel) in parcels {
            if let Some(pause) = self.lanes.pause(&key, now) {
                set_pause(index, &parcel, &pause);
            }
            let deliverer = &self.context.deliverer;
            self.lanes.push(&key, parcel, now, || match &key {
                LaneKey::Destination(destination) => deliverer.limits(destination),
                LaneKey::Store => LaneLimits::default(),
            });
        }
        if let Some(next) = next {
            self.timers.insert((next, id));
        }
    }

    fn spawn(&mut self, key: LaneKey, parcel: Parcel, task: Work, in_lane: bool) {
        let context = Arc::clone(&self.context);
        let running = Running { key: key.clone(), parcel: parcel.clone(), in_lane };
        let job = async move { work(&context, &key, &parcel, task).await };
        let id = self.jobs.spawn(job).id();
        self.running.insert(id, running);
    }

    fn ended(&mut self, ended: Result<(Id, Option<Failure>), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, failure)) => (id, Ok(failure)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(Running { key, parcel, in_lane }) = self.running.remove(&id) else { return };
        let inner = Arc::clone(&self.context.inner);
        let now = inner.now();
        let failed = outcome.as_ref().is_ok_and(Option::is_some);
        if in_lane && let Some(pause) = self.lanes.finish(&key, failed, now) {
            if let LaneKey::Destination(destination) = &key {
                let observer = &self.context.hooks.observer;
                observer.backed_off(destination.as_str(), pause.as_secs());
            }
            if let Ok(Some(failure)) = &outcome {
                self.fail_old(&key, failure, now);
                self.explain(&key, failure);
            }
        }
        let mut index = inner.index();
        if outcome.is_err() {
            let ready = set_phase(&mut index, &parcel, Phase::Active, Phase::Ready);
            drop(index);
            // A second breakdown leaves the message alone until the next start.
            if in_lane && ready {
                self.spawn(key, parcel.clone(), Work::Fail(broken(parcel.id)), false);
            }
            return;
        }
        self.evaluate(&mut index, parcel.id, now);
    }

    /// A destination pauses: what waits for it and is too old, or late and nobody was told, shares the
    /// failure without an attempt of its own.
    fn fail_old(&mut self, key: &LaneKey, failure: &Failure, now: u64) {
        let inner = Arc::clone(&self.context.inner);
        let settings = &inner.settings;
        let index = inner.index();
        let is_old = |parcel: &Parcel| {
            let Some(entry) = index.entries.get(&parcel.id) else { return true };
            let copy = entry.copies.get(usize::from(parcel.copy));
            let released = copy.map_or(0, |copy| copy.released_unix_millis);
            let age = now.saturating_sub(entry.received_unix_millis.max(released));
            let late = settings.delay_notice.is_some_and(|after| age >= millis(after));
            let told = entry.pending().all(|(_, _, slot)| slot.delay_told);
            age >= millis(settings.expire) || (late && !told)
        };
        let old = self.lanes.withdraw(key, is_old);
        drop(index);
        for parcel in old {
            self.spawn(key.clone(), parcel, Work::Fail(failure.clone()), false);
        }
    }

    /// A destination pauses: those who wait for it know why.
    fn explain(&mut self, key: &LaneKey, failure: &Failure) {
        let inner = Arc::clone(&self.context.inner);
        let Some((pause, waiting)) = self.lanes.explain(key, failure.to_string()) else { return };
        let mut index = inner.index();
        waiting.iter().for_each(|parcel| set_pause(&mut index, parcel, &pause));
    }

    fn tell(&self, news: &News, now: u64) {
        self.context.hooks.observer.disposition(&Event {
            id: news.id,
            reverse_path: &news.reverse_path,
            recipient: &news.recipient,
            size: news.size,
            delay_millis: now.saturating_sub(news.received_unix_millis),
            disposition: news.disposition(),
        });
    }

    fn compact(&mut self) {
        if self.compacted_at.elapsed() < COMPACT_EVERY || self.compacting.load(Ordering::Acquire) {
            return;
        }
        self.compacted_at = Instant::now();
        let inner = Arc::clone(&self.context.inner);
        if compact::candidate(&inner).is_none() {
            return;
        }
        self.compacting.store(true, Ordering::Release);
        let compacting = Arc::clone(&self.compacting);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = compact::compact(&inner) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old segments of the spool stay for now"
                );
            }
            compacting.store(false, Ordering::Release);
        });
    }

    fn sleep(&self) -> Duration {
        let timer = self.timers.first().map(|(due, _)| *due);
        let due = timer.into_iter().chain(self.lanes.next_end()).min();
        let now = self.context.inner.now();
        let left = due.map(|due| Duration::from_millis(due.saturating_sub(now)));
        left.unwrap_or(MAX_SLEEP).min(MAX_SLEEP)
    }
}

/// What is due of a message, by lane; and when the rest is.
fn due_parcels(
    entry: &mut Entry,
    now: u64,
    destination: impl Fn(&ReversePath, &ForwardPath) -> DestinationKey,
) -> (Vec<(LaneKey, Parcel)>, Option<u64>) {
    let mut parcels: Vec<(LaneKey, Parcel)> = Vec::new();
    let mut next = None;
    let id = entry.id;
    for (copy, state) in (0_u16..).zip(&mut entry.copies).filter(|(_, copy)| copy.held.is_none()) {
        for (recipient, slot) in (0_u16..).zip(&mut state.slots) {
            if slot.phase != Phase::Waiting {
                continue;
            }
            if slot.next_unix_millis > now {
                next = Some(next.unwrap_or(u64::MAX).min(slot.next_unix_millis));
                continue;
            }
            let key = match &state.destination {
                store if is_store(store) => LaneKey::Store,
                Destination::Via(next_hop) => {
                    LaneKey::Destination(DestinationKey::new(next_hop, &slot.path))
                }
                _ => LaneKey::Destination(destination(&state.reverse_path, &slot.path)),
            };
            slot.phase = Phase::Ready;
            let fits = |one: &&mut (LaneKey, Parcel)| one.0 == key && one.1.copy == copy;
            match parcels.iter_mut().rev().find(fits) {
                Some((_, parcel)) => parcel.recipients.push(recipient),
                None => parcels.push((key, Parcel { id, copy, recipients: vec![recipient] })),
            }
        }
    }
    (parcels, next)
}

fn set_pause(index: &mut Index, parcel: &Parcel, pause: &Arc<Pause>) {
    let Some(entry) = index.entries.get_mut(&parcel.id) else { return };
    for recipient in &parcel.recipients {
        if let Some(slot) = entry.slot(parcel.copy, *recipient) {
            slot.paused = Some(Arc::clone(pause));
        }
    }
}

/// Moves the recipients of a parcel from one phase to another. Returns whether there were any.
fn set_phase(index: &mut Index, parcel: &Parcel, from: Phase, to: Phase) -> bool {
    let Some(entry) = index.entries.get_mut(&parcel.id) else { return false };
    let mut any = false;
    for recipient in &parcel.recipients {
        let slot = entry.slot(parcel.copy, *recipient);
        if let Some(slot) = slot.filter(|slot| slot.phase == from) {
            slot.phase = to;
            any = true;
        }
    }
    any
}
