//! Takes back the space of old segments.
//!
//! Only the oldest segment is ever removed. Records about a message always lie behind the message, so
//! once the oldest segment's live messages are written again at the head, nothing in it is needed:
//! its other records are about messages that lay in it, or in segments that are gone already. Removing
//! a younger one would bring delivered mail back to life.
//!
//! A message is written again together with the changes that make it what it is then, in one record,
//! while the index is locked; later changes lie behind that record. Reading the journal from any
//! oldest segment on gives the same queue.
//!
//! The oldest segment is carried over when the segments take more than twice what lives in them, so
//! each octet is written about twice at most, however long a few messages stay.

use std::sync::{Arc, mpsc};

use imss_core::ids::QueueId;

use super::{Inner, bodies};
use crate::spool::SpoolError;
use crate::spool::journal::{Class, Position, Urgency};
use crate::spool::record::encode;

/// Messages carried over at once.
const BATCH: usize = 64;

/// Removes old segments as long as that is worth it. Blocks. Returns how many.
pub(super) fn compact(inner: &Arc<Inner>) -> Result<u64, SpoolError> {
    let mut removed = 0_u64;
    while let Some(number) = candidate(inner) {
        carry_over(inner, number)?;
        barrier(inner)?;
        if inner.index().live_bytes(Some(number)) > 0 {
            return Ok(removed);
        }
        inner.journal.remove(number)?;
        removed = removed.saturating_add(1);
    }
    Ok(removed)
}

/// The oldest segment, if it is worth removing.
pub(super) fn candidate(inner: &Inner) -> Option<u64> {
    let segments = inner.journal.segments();
    let (_newest, sealed) = segments.split_last()?;
    let oldest = sealed.first()?;
    let octets = |one: &Arc<_>| -> u64 { length(one) };
    let sealed_bytes: u64 = sealed.iter().map(octets).sum();
    let index = inner.index();
    if index.live_bytes(Some(oldest.number)) == 0 {
        return Some(oldest.number);
    }
    let allowed = index.live_bytes(None).saturating_mul(2);
    let allowed = allowed.saturating_add(inner.settings.segment_bytes);
    (sealed_bytes > allowed).then_some(oldest.number)
}

fn length(segment: &crate::spool::journal::Segment) -> u64 {
    segment.length.load(std::sync::atomic::Ordering::Relaxed)
}

/// Writes the live messages of a segment again.
fn carry_over(inner: &Arc<Inner>, number: u64) -> Result<(), SpoolError> {
    let residents = inner.index().residents(number);
    for batch in residents.chunks(BATCH) {
        let (tell, told) = mpsc::channel();
        for id in batch {
            carry_one(inner, *id, number, &tell)?;
        }
        drop(tell);
        for outcome in told {
            outcome?;
        }
    }
    Ok(())
}

fn carry_one(
    inner: &Arc<Inner>,
    id: QueueId,
    number: u64,
    tell: &mpsc::Sender<Result<(), SpoolError>>,
) -> Result<(), SpoolError> {
    let position = inner.index().entries.get(&id).map(|entry| entry.position.clone());
    let Some(position) = position.filter(|position| position.segment.number == number) else {
        return Ok(());
    };
    let message = bodies::read(&inner.bodies, id, &position)?;
    let index = inner.index();
    let Some(entry) = index.entries.get(&id) else { return Ok(()) };
    let record = encode(&[message], &entry.changes())?;
    let (owner, tell) = (Arc::clone(inner), tell.clone());
    let done = move |outcome: Result<Position, SpoolError>| {
        let outcome = outcome.map(|position| owner.index().moved(id, &position));
        let _ = tell.send(outcome);
    };
    // Still under the lock: what changes later lies behind this record.
    inner.journal.append(record, Class::Mail, Urgency::Now, Some(Box::new(done)));
    drop(index);
    Ok(())
}

/// Waits until everything handed in before is durable. A notice about a message in the old segment
/// may still be on its way.
fn barrier(inner: &Arc<Inner>) -> Result<(), SpoolError> {
    let (tell, told) = mpsc::channel();
    let done = move |outcome: Result<Position, SpoolError>| {
        let _ = tell.send(outcome.map(|_| ()));
    };
    let record = encode(&[], &[])?;
    inner.journal.append(record, Class::Update, Urgency::Now, Some(Box::new(done)));
    told.recv().unwrap_or(Err(SpoolError::Closed))
}
