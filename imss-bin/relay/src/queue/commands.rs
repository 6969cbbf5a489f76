//! What an administrator can ask of the queue. Commands that change something are in the journal when
//! they return, and on stable storage a second later.

use std::sync::Arc;

use imss_core::ids::QueueId;

use super::bodies;
use super::index::{CopyState, Entry, Forgive, is_store};
use super::view::{QueueCounts, QueueEntry};
use super::{CommandError, Queue};
use crate::outbound::NextHop;
use crate::spool::record::Change;
use crate::spool::{Accepted, Destination};

impl Queue {
    /// Messages, oldest first, at most `limit`.
    #[must_use]
    pub fn list(&self, limit: usize) -> Vec<QueueEntry> {
        let index = self.inner.index();
        index.entries.values().take(limit).map(|entry| entry.view(String::new())).collect()
    }

    /// One message, with its subject. Blocks on a file.
    ///
    /// # Errors
    ///
    /// - [`CommandError::NoSuchMessage`]
    /// - [`CommandError::Spool`] if its record cannot be read.
    pub fn show(&self, id: QueueId) -> Result<QueueEntry, CommandError> {
        let message = self.read(id)?;
        let subject = message.copies.first().map(|copy| copy.summary.subject.clone());
        let index = self.inner.index();
        let entry = index.entries.get(&id).ok_or(CommandError::NoSuchMessage(id))?;
        Ok(entry.view(subject.unwrap_or_default()))
    }

    /// One message as it was accepted, with its bytes. Blocks on a file.
    ///
    /// # Errors
    ///
    /// As [`Queue::show`].
    pub fn read(&self, id: QueueId) -> Result<Arc<Accepted>, CommandError> {
        bodies::load(&self.inner, id)?.ok_or(CommandError::NoSuchMessage(id))
    }

    /// Tries a message now, whatever its next attempt is; held copies stay held. Pauses of destinations
    /// end, also for other messages.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoSuchMessage`]
    pub fn retry(&self, id: QueueId) -> Result<(), CommandError> {
        let mut index = self.inner.index();
        let entry = index.entries.get_mut(&id).ok_or(CommandError::NoSuchMessage(id))?;
        make_due(entry);
        index.touched.push(id);
        index.forgive = Forgive::All;
        drop(index);
        self.wake();
        Ok(())
    }

    /// Tries everything now and forgets all back-off. Returns how many messages there are.
    pub fn flush(&self) -> usize {
        let mut index = self.inner.index();
        index.entries.values_mut().for_each(make_due);
        index.touched = index.entries.keys().copied().collect();
        index.forgive = Forgive::All;
        let count = index.touched.len();
        drop(index);
        self.wake();
        count
    }

    /// Tries everything for one destination now and forgets its back-off. A destination is a recipient
    /// domain, or a next hop that `route` gave. Returns how many messages there are.
    pub fn flush_destination(&self, destination: &str) -> usize {
        let mut index = self.inner.index();
        let wanted = destination.to_lowercase();
        let mut touched = Vec::new();
        for entry in index.entries.values_mut() {
            let mut any = false;
            for copy in entry.copies.iter_mut().filter(|copy| !is_store(&copy.destination)) {
                let via = match &copy.destination {
                    Destination::Via(next_hop) => next_hop.to_string() == wanted,
                    _ => false,
                };
                for slot in &mut copy.slots {
                    if via || slot.path.domain_name() == Some(wanted.as_str()) {
                        slot.next_unix_millis = 0;
                        any = true;
                    }
                }
            }
            if any {
                touched.push(entry.id);
            }
        }
        let count = touched.len();
        index.forgive = Forgive::Messages(touched.iter().copied().collect());
        index.touched.extend(touched);
        drop(index);
        self.wake();
        count
    }

    /// Keeps a message until it is released. What is being sent just now is not stopped.
    ///
    /// # Errors
    ///
    /// - [`CommandError::NoSuchMessage`]
    /// - [`CommandError::Spool`] if the journal is closed.
    pub fn hold(&self, id: QueueId, reason: &str) -> Result<(), CommandError> {
        let reason = reason.to_owned();
        self.each_copy(id, |copy, _| Change::Held { id, copy, reason: reason.clone() })?;
        let mut index = self.inner.index();
        let news = index.entries.get(&id).map(|entry| entry.news(false));
        index.news.extend(news.into_iter().flatten());
        Ok(())
    }

    /// Lets a held message go. A copy that policy held goes to its next hop. From now on a held copy is as
    /// old as its release: time in which nobody tried does not count against it.
    ///
    /// # Errors
    ///
    /// As [`Queue::hold`].
    pub fn release(&self, id: QueueId) -> Result<(), CommandError> {
        let now = self.inner.now();
        self.each_copy(id, |copy, state| {
            // What was not held gets no new age by a release.
            let at_unix_millis = if state.held.is_some() { now } else { 0 };
            Change::Released { id, copy, at_unix_millis }
        })
    }

    /// Removes a message without telling its reverse-path.
    ///
    /// # Errors
    ///
    /// As [`Queue::hold`].
    pub fn delete(&self, id: QueueId) -> Result<(), CommandError> {
        self.inner.journal.check()?;
        {
            let mut index = self.inner.index();
            let entry = index.entries.get(&id).ok_or(CommandError::NoSuchMessage(id))?;
            let news = entry.news(true);
            index.news.extend(news);
        }
        self.inner.change(&[Change::Deleted(id)], Vec::new())?;
        self.wake();
        Ok(())
    }

    /// Sends what is left of a message to another next hop, or by the routing again, and tries it now.
    /// Copies on their way to the quarantine or the archive are not changed.
    ///
    /// # Errors
    ///
    /// As [`Queue::hold`].
    pub fn route(&self, id: QueueId, next_hop: Option<&NextHop>) -> Result<(), CommandError> {
        self.each_copy(id, |copy, _| Change::Routed { id, copy, next_hop: next_hop.cloned() })?;
        self.retry(id)
    }

    /// Whether new mail can be accepted: the journal works and its reserve is whole. Cheap.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.inner.journal.is_healthy()
    }

    /// The queue in numbers.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        let counts = self.inner.index().counts();
        let journal = &self.inner.journal;
        QueueCounts { journal_bytes: journal.bytes(), healthy: journal.is_healthy(), ..counts }
    }

    fn each_copy(
        &self,
        id: QueueId,
        change: impl Fn(u16, &CopyState) -> Change,
    ) -> Result<(), CommandError> {
        self.inner.journal.check()?;
        let changes: Vec<Change> = {
            let index = self.inner.index();
            let entry = index.entries.get(&id).ok_or(CommandError::NoSuchMessage(id))?;
            let copies = (0_u16..).zip(&entry.copies);
            copies
                .filter(|(_, copy)| !is_store(&copy.destination))
                .map(|(copy, state)| change(copy, state))
                .collect()
        };
        self.inner.change(&changes, Vec::new())?;
        self.inner.index().touched.push(id);
        self.wake();
        Ok(())
    }
}

fn make_due(entry: &mut Entry) {
    for slot in entry.copies.iter_mut().flat_map(|copy| &mut copy.slots) {
        slot.next_unix_millis = 0;
    }
}
