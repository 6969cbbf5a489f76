//! What the queue knows of each message without reading it: envelopes, states, places in the journal.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imss_core::envelope::{ForwardPath, ReversePath};
use imss_core::ids::QueueId;

use super::observe::Disposition;
use super::view::{QueueCounts, QueueEntry, QueueRecipient, RecipientState};
use crate::spool::body::Body;
use crate::spool::journal::Position;
use crate::spool::record::{Change, Place};
use crate::spool::{Accepted, CopyRecord, Destination};

/// One message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: QueueId,
    pub(super) received_unix_millis: u64,
    pub(super) size: u64,
    /// Whether its body has a file of its own.
    pub(super) has_file: bool,
    pub(super) position: Position,
    pub(super) copies: Vec<CopyState>,
}

/// One copy of it.
#[derive(Debug)]
pub(super) struct CopyState {
    pub(super) reverse_path: ReversePath,
    pub(super) destination: Destination,
    pub(super) held: Option<String>,
    /// When it was released, in milliseconds since 1970; 0 if it never was held.
    pub(super) released_unix_millis: u64,
    pub(super) slots: Vec<Slot>,
}

/// One recipient of a copy.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) path: ForwardPath,
    pub(super) phase: Phase,
    pub(super) attempts: u32,
    pub(super) next_unix_millis: u64,
    pub(super) delay_told: bool,
    pub(super) last: String,
    /// Why its destination is not sent to, if it waits for that.
    pub(super) paused: Option<Arc<Pause>>,
}

/// A destination is not sent to for a while, because one job found that it fails for all.
#[derive(Debug)]
pub(super) struct Pause {
    /// When it ends; 0 once an administrator has ended it.
    pub(super) until_unix_millis: AtomicU64,
    pub(super) reason: String,
}

/// Destinations whose pauses end.
#[derive(Debug, Default)]
pub(super) enum Forgive {
    #[default]
    Nobody,
    /// Those that these messages wait for.
    Messages(HashSet<QueueId>),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for its time.
    Waiting,
    /// Waits for its destination.
    Ready,
    /// Is being tried.
    Active,
    /// Has its disposition.
    Done,
}

/// Something an administrator or the policy did, which the worker tells the observer.
#[derive(Debug)]
pub(super) struct News {
    pub(super) id: QueueId,
    pub(super) reverse_path: ReversePath,
    pub(super) recipient: ForwardPath,
    pub(super) size: u64,
    pub(super) received_unix_millis: u64,
    /// Why it is held; `None` if it was deleted.
    held: Option<String>,
}

impl News {
    pub(super) fn disposition(&self) -> Disposition<'_> {
        match &self.held {
            Some(reason) => Disposition::Held { reason },
            None => Disposition::Deleted,
        }
    }
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) entries: BTreeMap<QueueId, Entry>,
    /// Messages the worker has to look at.
    pub(super) touched: Vec<QueueId>,
    /// What the worker has to tell.
    pub(super) news: Vec<News>,
    /// Whose pauses the worker is to forget.
    pub(super) forgive: Forgive,
    cache: HashMap<QueueId, Arc<Accepted>>,
    cache_order: VecDeque<QueueId>,
    cache_used: usize,
    cache_bytes: usize,
    /// Octets of live records by segment.
    live: BTreeMap<u64, u64>,
    bytes: u64,
}

impl CopyState {
    fn new(copy: &CopyRecord) -> Self {
        let slot = |path: ForwardPath| Slot {
            path,
            phase: Phase::Waiting,
            attempts: 0,
            next_unix_millis: 0,
            delay_told: false,
            last: String::new(),
            paused: None,
        };
        let mut slots: Vec<Slot> =
            copy.recipients.iter().map(|recipient| slot(recipient.path.clone())).collect();
        let held = match &copy.destination {
            Destination::Hold { reason } => Some(reason.clone()),
            _ => None,
        };
        if slots.is_empty() && is_store(&copy.destination) {
            // Something must be left to do, or the copy would never be stored.
            slots.push(slot(ForwardPath::Postmaster));
        }
        Self {
            reverse_path: copy.reverse_path.clone(),
            destination: copy.destination.clone(),
            held,
            released_unix_millis: 0,
            slots,
        }
    }
}

impl Entry {
    pub(super) fn new<'a>(
        id: QueueId,
        received_unix_millis: u64,
        (size, has_file): (u64, bool),
        copies: impl IntoIterator<Item = &'a CopyRecord>,
        position: Position,
    ) -> Self {
        let copies = copies.into_iter().map(CopyState::new).collect();
        Self { id, received_unix_millis, size, has_file, position, copies }
    }

    pub(super) fn slot(&mut self, copy: u16, recipient: u16) -> Option<&mut Slot> {
        self.copies.get_mut(usize::from(copy))?.slots.get_mut(usize::from(recipient))
    }

    /// The slots that are not done, with their places.
    pub(super) fn pending(&self) -> impl Iterator<Item = (Place, &CopyState, &Slot)> {
        let id = self.id;
        (0_u16..).zip(&self.copies).flat_map(move |(copy, state)| {
            let pending = |(_, slot): &(u16, &Slot)| slot.phase != Phase::Done;
            (0_u16..)
                .zip(&state.slots)
                .filter(pending)
                .map(move |(recipient, slot)| (Place { id, copy, recipient }, state, slot))
        })
    }

    /// One piece of news for each recipient: of a held copy, or of any if the message is deleted.
    pub(super) fn news(&self, deleted: bool) -> Vec<News> {
        let concerns = |copy: &CopyState| deleted || copy.held.is_some();
        self.pending()
            .filter(|(_, copy, _)| concerns(copy))
            .map(|(_, copy, slot)| News {
                id: self.id,
                reverse_path: copy.reverse_path.clone(),
                recipient: slot.path.clone(),
                size: self.size,
                received_unix_millis: self.received_unix_millis,
                held: copy.held.clone().filter(|_| !deleted),
            })
            .collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.pending().next().is_none()
    }

    /// The changes that turn the message as it was accepted into what it is now.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (copy, state) in (0_u16..).zip(&self.copies) {
            for (recipient, slot) in (0_u16..).zip(&state.slots) {
                let place = Place { id: self.id, copy, recipient };
                if slot.phase == Phase::Done {
                    changes.push(Change::Done(place));
                } else if slot.attempts > 0 {
                    changes.push(slot.deferred(place));
                }
            }
            let id = self.id;
            match &state.destination {
                Destination::Via(hop) => {
                    changes.push(Change::Routed { id, copy, next_hop: Some(hop.clone()) });
                }
                Destination::NextHop => {
                    changes.push(Change::Routed { id, copy, next_hop: None });
                }
                _ => {}
            }
            changes.push(match &state.held {
                Some(reason) => Change::Held { id, copy, reason: reason.clone() },
                None => Change::Released { id, copy, at_unix_millis: state.released_unix_millis },
            });
        }
        changes
    }

    pub(super) fn view(&self, subject: String) -> QueueEntry {
        let recipients = self.pending().map(|(place, copy, slot)| view_slot(place, copy, slot));
        let recipients: Vec<QueueRecipient> = recipients.collect();
        let all: usize = self.copies.iter().map(|copy| copy.slots.len()).sum();
        QueueEntry {
            id: self.id,
            received_unix_millis: self.received_unix_millis,
            size: self.size,
            reverse_path: self
                .copies
                .first()
                .map_or(ReversePath::Null, |copy| copy.reverse_path.clone()),
            subject,
            done: all.saturating_sub(recipients.len()),
            recipients,
        }
    }

    /// Makes one change. What is done stays done.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Done(place) => {
                if let Some(slot) = self.slot(place.copy, place.recipient) {
                    slot.phase = Phase::Done;
                }
            }
            Change::Deferred { place, attempts, next_unix_millis, delay_told, last } => {
                let slot = self.slot(place.copy, place.recipient);
                if let Some(slot) = slot.filter(|slot| slot.phase != Phase::Done) {
                    slot.phase = Phase::Waiting;
                    slot.attempts = *attempts;
                    slot.next_unix_millis = *next_unix_millis;
                    slot.delay_told = *delay_told;
                    slot.last.clone_from(last);
                }
            }
            Change::Held { copy, reason, .. } => {
                if let Some(copy) = self.copies.get_mut(usize::from(*copy)) {
                    copy.held = Some(reason.clone());
                }
            }
            Change::Released { copy, at_unix_millis, .. } => {
                if let Some(copy) = self.copies.get_mut(usize::from(*copy)) {
                    copy.held = None;
                    if *at_unix_millis > 0 {
                        copy.released_unix_millis = *at_unix_millis;
                    }
                    if matches!(copy.destination, Destination::Hold { .. }) {
                        copy.destination = Destination::NextHop;
                    }
                }
            }
            Change::Routed { copy, next_hop, .. } => {
                let copy = self.copies.get_mut(usize::from(*copy));
                if let Some(copy) = copy.filter(|copy| !is_store(&copy.destination)) {
                    let routed = next_hop.clone().map_or(Destination::NextHop, Destination::Via);
                    copy.destination = routed;
                }
            }
            Change::Deleted(_) => {
                for slot in self.copies.iter_mut().flat_map(|copy| &mut copy.slots) {
                    slot.phase = Phase::Done;
                }
            }
        }
    }
}

impl Slot {
    fn deferred(&self, place: Place) -> Change {
        Change::Deferred {
            place,
            attempts: self.attempts,
            next_unix_millis: self.next_unix_millis,
            delay_told: self.delay_told,
            last: self.last.clone(),
        }
    }
}

impl Index {
    pub(super) fn new(cache_bytes: usize) -> Self {
        Self { cache_bytes, ..Self::default() }
    }

    /// Adds a message, or puts it in the place of what was known of it.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.remove(entry.id);
        let live = self.live.entry(entry.position.segment.number).or_default();
        *live = live.saturating_add(u64::from(entry.position.length));
        self.bytes = self.bytes.saturating_add(entry.size);
        self.entries.insert(entry.id, entry);
    }

    /// Makes a change. Returns the message if that was its last: it is not in the index any more.
    pub(super) fn apply(&mut self, change: &Change) -> Option<Entry> {
        let entry = self.entries.get_mut(&change.id())?;
        entry.apply(change);
        if entry.is_done() { self.remove(change.id()) } else { None }
    }

    pub(super) fn remove(&mut self, id: QueueId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(entry.size);
        self.dead(&entry.position);
        if let Some(message) = self.cache.remove(&id) {
            self.cache_used = self.cache_used.saturating_sub(cost(&message));
        }
        Some(entry)
    }

    /// The message's record lies elsewhere now.
    pub(super) fn moved(&mut self, id: QueueId, position: &Position) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let old = std::mem::replace(&mut entry.position, position.clone());
        let live = self.live.entry(position.segment.number).or_default();
        *live = live.saturating_add(u64::from(position.length));
        self.dead(&old);
    }

    /// Keeps a fresh small message in memory, and lets older ones go.
    pub(super) fn remember(&mut self, message: Accepted) {
        let cost = cost(&message);
        if !matches!(message.body, Body::Memory(_)) || cost > self.cache_bytes {
            return;
        }
        while self.cache_used.saturating_add(cost) > self.cache_bytes {
            let Some(oldest) = self.cache_order.pop_front() else { break };
            if let Some(message) = self.cache.remove(&oldest) {
                self.cache_used = self.cache_used.saturating_sub(self::cost(&message));
            }
        }
        // Names of messages that are done would pile up in the order.
        if self.cache_order.len() > self.cache.len().saturating_mul(2).saturating_add(1024) {
            let cache = &self.cache;
            self.cache_order.retain(|id| cache.contains_key(id));
        }
        self.cache_used = self.cache_used.saturating_add(cost);
        self.cache_order.push_back(message.id);
        self.cache.insert(message.id, Arc::new(message));
    }

    pub(super) fn recall(&self, id: QueueId) -> Option<Arc<Accepted>> {
        self.cache.get(&id).cloned()
    }

    /// Octets of live records in a segment, or in all.
    pub(super) fn live_bytes(&self, segment: Option<u64>) -> u64 {
        match segment {
            Some(number) => self.live.get(&number).copied().unwrap_or(0),
            None => self.live.values().sum(),
        }
    }

    /// The messages whose records lie in a segment.
    pub(super) fn residents(&self, segment: u64) -> Vec<QueueId> {
        let resides = |entry: &&Entry| entry.position.segment.number == segment;
        self.entries.values().filter(resides).map(|entry| entry.id).collect()
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let mut counts = QueueCounts {
            messages: u64::try_from(self.entries.len()).unwrap_or(u64::MAX),
            bytes: self.bytes,
            oldest_unix_millis: self.entries.values().map(|one| one.received_unix_millis).min(),
            ..QueueCounts::default()
        };
        for (_, copy, _) in self.entries.values().flat_map(Entry::pending) {
            counts.recipients = counts.recipients.saturating_add(1);
            counts.held = counts.held.saturating_add(u64::from(copy.held.is_some()));
        }
        counts
    }

    fn dead(&mut self, position: &Position) {
        let number = position.segment.number;
        if let Some(live) = self.live.get_mut(&number) {
            *live = live.saturating_sub(u64::from(position.length));
            if *live == 0 {
                self.live.remove(&number);
            }
        }
    }
}

pub(super) fn is_store(destination: &Destination) -> bool {
    matches!(destination, Destination::Quarantine { .. } | Destination::Archive { .. })
}

/// Octets of memory, about.
fn cost(message: &Accepted) -> usize {
    let inserted = |piece: &imss_core::edit::Piece| match piece {
        imss_core::edit::Piece::Inserted(bytes) => bytes.len().saturating_add(64),
        imss_core::edit::Piece::Original(_) => 64,
    };
    let copies = message.copies.iter().map(|copy| {
        let pieces: usize = copy.rope.pieces.iter().map(inserted).sum();
        pieces.saturating_add(copy.recipients.len().saturating_mul(200)).saturating_add(500)
    });
    usize::try_from(message.body.len())
        .unwrap_or(usize::MAX)
        .saturating_add(message.record.len())
        .saturating_add(copies.sum())
}

fn view_slot(place: Place, copy: &CopyState, slot: &Slot) -> QueueRecipient {
    let pause = slot.paused.as_ref().filter(|_| slot.phase == Phase::Ready);
    let until = pause.map_or(0, |pause| pause.until_unix_millis.load(Ordering::Relaxed));
    let reason = pause.map(|pause| pause.reason.clone());
    let state = match slot.phase {
        Phase::Active => RecipientState::Active,
        _ if copy.held.is_some() => RecipientState::Held,
        _ if slot.attempts > 0 || pause.is_some() => RecipientState::Deferred,
        _ => RecipientState::Queued,
    };
    let to = match &copy.destination {
        Destination::Via(next_hop) => Some(next_hop.to_string()),
        Destination::Quarantine { area } | Destination::Archive { area } => Some(area.clone()),
        Destination::NextHop | Destination::Hold { .. } => None,
    };
    QueueRecipient {
        recipient: slot.path.clone(),
        copy: place.copy,
        state,
        to,
        attempts: slot.attempts,
        next_unix_millis: (state != RecipientState::Held)
            .then_some(slot.next_unix_millis.max(until)),
        last: match &copy.held {
            Some(reason) if slot.last.is_empty() => Some(reason.clone()),
            _ => Some(slot.last.clone()).filter(|last| !last.is_empty()).or(reason),
        },
    }
}
