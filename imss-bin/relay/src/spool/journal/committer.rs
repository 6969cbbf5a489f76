//! The one thread that writes the journal.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::super::SpoolError;
use super::super::record::{Marker, SEGMENT_HEADER_BYTES, segment_header, set_marker};
use super::super::storage::{Storage, Writable};
use super::{Class, Done, LAZY, Options, Position, Segment, Shared, Submission, Urgency, lock};

/// Records in one write: the kernel takes up to 1024 slices.
const MAX_SLICES: usize = 1024;
/// Octets in one batch, so that the first of a long queue does not wait for the last.
const MAX_BATCH_BYTES: usize = 16 << 20;

pub(super) struct Committer {
    options: Options,
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    next: u64,
    head: Option<Head>,
    /// Updates that found no space, oldest first.
    stuck: VecDeque<Submission>,
    /// Written records whose sync is due, with their owners.
    unsynced: Vec<(Done, Position)>,
    /// When the first unsynced octet was written.
    dirty_since: Option<Instant>,
    reserve_is_whole: bool,
}

struct Head {
    writable: Box<dyn Writable>,
    segment: Arc<Segment>,
    marker: Marker,
    length: u64,
}

impl Committer {
    pub(super) fn new(
        options: Options,
        storage: Arc<dyn Storage>,
        shared: Arc<Shared>,
        next: u64,
    ) -> Self {
        Self {
            options,
            storage,
            shared,
            next,
            head: None,
            stuck: VecDeque::new(),
            unsynced: Vec::new(),
            dirty_since: None,
            reserve_is_whole: false,
        }
    }

    pub(super) fn run(&mut self) {
        // One may be left from before a crash; it says nothing about the space there is now.
        let _ = std::fs::remove_file(self.options.dir.join("probe"));
        self.refill_reserve();
        loop {
            let lazy = self.dirty_since.map(|since| since + LAZY);
            let retry = (!self.stuck.is_empty() || self.is_full()).then(|| Instant::now() + LAZY);
            let deadline = lazy.into_iter().chain(retry).min();
            let (submissions, closed) = self.shared.take(deadline);
            if self.is_full() && self.stuck.is_empty() {
                self.look_for_space();
            }
            self.commit(submissions);
            if closed {
                self.finish();
                return;
            }
        }
    }

    /// Writes `submissions` in batches and syncs if one of them cannot wait, or has waited enough.
    fn commit(&mut self, submissions: Vec<Submission>) {
        let mut waiting: VecDeque<Submission> = std::mem::take(&mut self.stuck);
        waiting.extend(submissions);
        let mut urgent = false;
        while !waiting.is_empty() {
            if self.is_poisoned() {
                refuse(waiting.drain(..), &SpoolError::Poisoned);
                break;
            }
            let batch = next_batch(&mut waiting);
            urgent |= batch.iter().any(|one| one.urgency == Urgency::Now);
            self.write_batch(batch);
        }
        let overdue = self.dirty_since.is_some_and(|since| since.elapsed() >= LAZY);
        if self.dirty_since.is_some() && (urgent || overdue) {
            self.sync();
        }
    }

    fn finish(&mut self) {
        if self.dirty_since.is_some() && !self.is_poisoned() {
            self.sync();
        }
        let rest = lock(&self.shared.inbox).waiting.split_off(0);
        refuse(std::mem::take(&mut self.stuck).into_iter().chain(rest), &SpoolError::Closed);
    }

    fn write_batch(&mut self, mut batch: Vec<Submission>) {
        if !self.reserve_is_whole {
            let error = io::Error::from(io::ErrorKind::StorageFull);
            refuse_mail(&mut batch, &error.into());
        }
        let has_mail = batch.iter().any(|submission| !is_update(submission));
        let Err(error) = self.try_write(&mut batch) else {
            if has_mail {
                self.set_full(false);
            }
            return;
        };
        let out_of_space = error.is_disk_full();
        // First, so that whoever is refused sees it.
        self.set_full(out_of_space);
        refuse_mail(&mut batch, &error);
        if self.is_poisoned() || batch.is_empty() {
            return refuse(batch, &error);
        }
        // Only what already happened is left; it must not be forgotten.
        if self.try_write(&mut batch).is_ok() {
            return;
        }
        if out_of_space && self.reserve_is_whole {
            tracing::warn!("the spool is full: recording deliveries in the reserve");
            self.release_reserve();
            if self.try_write(&mut batch).is_ok() {
                return;
            }
        }
        self.set_full(true);
        self.stuck.extend(batch);
    }

    /// Writes the batch after the last good record, or leaves the segment as it was. An empty batch
    /// is written.
    fn try_write(&mut self, batch: &mut Vec<Submission>) -> Result<(), SpoolError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.head.as_ref().is_none_or(|head| head.length >= self.options.segment_bytes) {
            self.begin_segment()?;
        }
        let Some(head) = self.head.as_mut() else { return Err(SpoolError::Closed) };
        for submission in batch.iter_mut() {
            set_marker(&mut submission.record, head.marker);
        }
        let records: Vec<&[u8]> = batch.iter().map(|one| one.record.as_slice()).collect();
        if let Err(error) = write_all(head.writable.as_mut(), &records, head.length) {
            if let Err(cut) = head.writable.truncate(head.length) {
                tracing::error!(%error, %cut, "the spool has a half-written record that stays");
                self.poison();
            }
            return Err(error.into());
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        for submission in batch.drain(..) {
            let length = u32::try_from(submission.record.len()).unwrap_or(u32::MAX);
            let position =
                Position { segment: Arc::clone(&head.segment), offset: head.length, length };
            head.length = head.length.saturating_add(u64::from(length));
            self.unsynced.extend(submission.done.map(|done| (done, position)));
        }
        head.segment.length.store(head.length, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) {
        let synced = self.head.as_mut().map_or(Ok(()), |head| head.writable.sync());
        if let Err(error) = &synced {
            tracing::error!(%error, "a sync of the spool failed: nothing more is accepted");
            self.poison();
        }
        self.dirty_since = None;
        for (done, position) in self.unsynced.drain(..) {
            done(if synced.is_ok() { Ok(position) } else { Err(SpoolError::Poisoned) });
        }
    }

    /// Syncs the segment that is full and begins the next one. If that fails, the old one goes on.
    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        if self.dirty_since.is_some() {
            self.sync();
            if self.is_poisoned() {
                return Err(SpoolError::Poisoned);
            }
        }
        match self.new_segment() {
            Ok(head) => {
                self.next = self.next.saturating_add(1);
                lock(&self.shared.segments).insert(head.segment.number, Arc::clone(&head.segment));
                self.head = Some(head);
                Ok(())
            }
            Err(error) if self.head.is_some() => {
                tracing::warn!(%error, "no new segment in the spool: the old one grows");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn new_segment(&self) -> io::Result<Head> {
        let mut marker: Marker = [0; 8];
        getrandom::fill(&mut marker).map_err(|error| io::Error::other(error.to_string()))?;
        let segments = self.options.dir.join("segments");
        let path = segments.join(format!("{:016}.seg", self.next));
        let begin = || {
            let mut writable = self.storage.create(&path)?;
            write_all(writable.as_mut(), &[&segment_header(self.next, marker)], 0)?;
            self.storage.sync_dir(&segments)?;
            Ok(writable)
        };
        let writable = begin().inspect_err(|_: &io::Error| {
            // The number is used again, so nothing may lie there.
            let _ = std::fs::remove_file(&path);
        })?;
        let length = u64::try_from(SEGMENT_HEADER_BYTES).unwrap_or(u64::MAX);
        let segment = Arc::new(Segment {
            number: self.next,
            path,
            file: writable.file(),
            length: AtomicU64::new(length),
        });
        Ok(Head { writable, segment, marker, length })
    }

    /// Mail is accepted again when the reserve is whole and as much again is free.
    fn look_for_space(&mut self) {
        if !self.reserve_is_whole {
            return self.refill_reserve();
        }
        let probe = self.options.dir.join("probe");
        if self.storage.reserve(&probe, self.options.reserve_bytes).is_ok() {
            let _ = std::fs::remove_file(probe);
            self.set_full(false);
        }
    }

    fn refill_reserve(&mut self) {
        let path = self.options.dir.join("reserve");
        match self.storage.reserve(&path, self.options.reserve_bytes) {
            Ok(()) => {
                self.reserve_is_whole = true;
                self.set_full(false);
            }
            Err(error) => {
                if !self.is_full() {
                    tracing::warn!(%error, "no space for the spool's reserve: mail is refused");
                }
                self.set_full(true);
            }
        }
    }

    fn release_reserve(&mut self) {
        let _ = std::fs::remove_file(self.options.dir.join("reserve"));
        self.reserve_is_whole = false;
        self.set_full(true);
    }

    fn poison(&self) {
        self.shared.poisoned.store(true, Ordering::Release);
    }

    fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    fn set_full(&self, full: bool) {
        self.shared.full.store(full, Ordering::Release);
    }
}

fn next_batch(waiting: &mut VecDeque<Submission>) -> Vec<Submission> {
    let mut bytes = 0_usize;
    let mut count = 0_usize;
    for submission in waiting.iter().take(MAX_SLICES) {
        bytes = bytes.saturating_add(submission.record.len());
        if count > 0 && bytes > MAX_BATCH_BYTES {
            break;
        }
        count = count.saturating_add(1);
    }
    waiting.drain(..count).collect()
}

/// Answers the new mail in a batch with `error` and leaves the updates.
fn refuse_mail(batch: &mut Vec<Submission>, error: &SpoolError) {
    let (updates, mail) = std::mem::take(batch).into_iter().partition::<Vec<_>, _>(is_update);
    *batch = updates;
    refuse(mail, error);
}

fn is_update(submission: &Submission) -> bool {
    submission.class == Class::Update
}

fn refuse(submissions: impl IntoIterator<Item = Submission>, error: &SpoolError) {
    for submission in submissions {
        if let Some(done) = submission.done {
            done(Err(error.clone()));
        }
    }
}

/// Writes all of `records` one after the other from `offset` on.
fn write_all(writable: &mut dyn Writable, records: &[&[u8]], mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = records.iter().map(|record| IoSlice::new(record)).collect();
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match writable.write_at(left, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset = offset.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
