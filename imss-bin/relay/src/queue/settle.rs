//! One job, from the index to the journal: what was tried, what came of it, who is told.

use std::sync::Arc;

use imss_core::ids::QueueId;

use super::index::Phase;
use super::lanes::{LaneKey, Parcel, millis, pause};
use super::{Cause, Disposition, Event, Hooks, Inner, Report, Reported, bodies};
use crate::outbound::{Attempt, Deliverer, Failure, Handover, Job, Scope};
use crate::quarantine::Quarantine;
use crate::spool::body::Content;
use crate::spool::record::{Change, Place};
use crate::spool::{Accepted, CopyRecord, Destination, SpoolError};

/// What all jobs need.
pub(super) struct Context<D> {
    pub(super) inner: Arc<Inner>,
    pub(super) deliverer: Arc<D>,
    pub(super) quarantine: Quarantine,
    pub(super) hooks: Hooks,
}

/// What a job does.
pub(super) enum Work {
    /// Tries to deliver. The number is how many pauses the destination has had in a row.
    Try(u32),
    /// Takes this failure for the attempt, without one.
    Fail(Failure),
}

/// A parcel with what it takes to send it.
struct Packed {
    message: Arc<Accepted>,
    destination: Destination,
    places: Vec<Taken>,
    /// When it came in, or was released.
    since_unix_millis: u64,
}

/// One recipient of a parcel, as it was when the job began.
struct Taken {
    place: Place,
    attempts: u32,
    delay_told: bool,
}

/// Does the work and records what came of it. Returns the failure if the whole destination failed.
pub(super) async fn work<D: Deliverer>(
    context: &Context<D>,
    key: &LaneKey,
    parcel: &Parcel,
    work: Work,
) -> Option<Failure> {
    let packed = match pack(&context.inner, parcel).await {
        Ok(packed) => packed?,
        Err(error) => {
            tracing::error!(id = %parcel.id, error = &error as &dyn std::error::Error,
                "a queued message cannot be read");
            postpone(&context.inner, parcel, &error);
            return None;
        }
    };
    let copy = packed.message.copies.get(usize::from(parcel.copy))?;
    if matches!(key, LaneKey::Store) {
        store(context, &packed, copy).await;
        return None;
    }
    let (attempts, failures) = match work {
        Work::Try(failures) => (attempt(context, &packed, copy).await, failures),
        Work::Fail(failure) => (vec![Attempt::Transient(failure); packed.places.len()], 0),
    };
    let failed = attempts.iter().find_map(|attempt| match attempt {
        Attempt::Transient(failure) if failure.scope == Scope::Destination => Some(failure.clone()),
        _ => None,
    });
    settle(context, &packed, copy, attempts, failures).await;
    failed
}

/// Takes the recipients that are still to be sent to.
async fn pack(inner: &Arc<Inner>, parcel: &Parcel) -> Result<Option<Packed>, SpoolError> {
    let id = parcel.id;
    let cached = inner.index().recall(id);
    let message = match cached {
        Some(message) => Some(message),
        None => {
            let inner = Arc::clone(inner);
            let load = tokio::task::spawn_blocking(move || bodies::load(&inner, id));
            load.await.map_err(|_| SpoolError::Closed)??
        }
    };
    let Some(message) = message else { return Ok(None) };
    let mut index = inner.index();
    let Some(entry) = index.entries.get_mut(&id) else { return Ok(None) };
    let Some(copy) = entry.copies.get_mut(usize::from(parcel.copy)) else { return Ok(None) };
    let mut places = Vec::new();
    for recipient in &parcel.recipients {
        let Some(slot) = copy.slots.get_mut(usize::from(*recipient)) else { continue };
        if slot.phase != Phase::Ready {
            continue;
        }
        if copy.held.is_some() {
            slot.phase = Phase::Waiting;
            continue;
        }
        slot.phase = Phase::Active;
        slot.paused = None;
        let place = Place { id, copy: parcel.copy, recipient: *recipient };
        places.push(Taken { place, attempts: slot.attempts, delay_told: slot.delay_told });
    }
    let destination = copy.destination.clone();
    let since_unix_millis = message.received_unix_millis.max(copy.released_unix_millis);
    let packed = Packed { message, destination, places, since_unix_millis };
    Ok((!packed.places.is_empty()).then_some(packed))
}

/// The message cannot be read now: another attempt later.
fn postpone(inner: &Arc<Inner>, parcel: &Parcel, error: &SpoolError) {
    let next_unix_millis = inner.now().saturating_add(millis(pause(&inner.settings.retry, 0)));
    let mut index = inner.index();
    let Some(entry) = index.entries.get_mut(&parcel.id) else { return };
    for recipient in &parcel.recipients {
        if let Some(slot) = entry.slot(parcel.copy, *recipient) {
            slot.phase = Phase::Waiting;
            slot.next_unix_millis = next_unix_millis;
            slot.last = error.to_string();
        }
    }
}

async fn attempt<D: Deliverer>(
    context: &Context<D>,
    packed: &Packed,
    copy: &CopyRecord,
) -> Vec<Attempt> {
    let recipients = packed.places.iter().filter_map(|taken| recipient(copy, taken.place));
    let job = Job {
        id: packed.message.id,
        reverse_path: copy.reverse_path.clone(),
        parameters: copy.parameters.clone(),
        recipients: recipients.cloned().collect(),
        content: content(packed, copy),
        next_hop: match &packed.destination {
            Destination::Via(next_hop) => Some(next_hop.clone()),
            _ => None,
        },
    };
    let mut attempts = context.deliverer.deliver(job).await;
    let missing = Failure::own((4, 3, 0), "no attempt was reported", Scope::Recipient);
    attempts.resize(packed.places.len(), Attempt::Transient(missing));
    attempts
}

/// What one attempt means for its recipient.
struct Outcome {
    change: Change,
    reported: Option<Cause>,
    expired: bool,
    next_unix_millis: u64,
}

async fn settle<D: Deliverer>(
    context: &Context<D>,
    packed: &Packed,
    copy: &CopyRecord,
    attempts: Vec<Attempt>,
    failures: u32,
) {
    let inner = &context.inner;
    let outcomes: Vec<Outcome> = packed
        .places
        .iter()
        .zip(&attempts)
        .map(|(taken, attempt)| outcome(inner, packed, copy, taken, attempt, failures))
        .collect();
    let notices = notices(context, packed, copy, &attempts, &outcomes).await;
    let told = notices.iter().map(|notice| notice.id).next();
    let changes: Vec<Change> = outcomes.iter().map(|outcome| outcome.change.clone()).collect();
    if let Err(error) = inner.change(&changes, notices) {
        // Only a notice too large for a record can do this; the fate itself must be recorded.
        tracing::error!(id = %packed.message.id, %error, "a notification was dropped");
        let _ = inner.change(&changes, Vec::new());
    }
    for ((taken, attempt), outcome) in packed.places.iter().zip(&attempts).zip(&outcomes) {
        let disposition = match attempt {
            Attempt::Delivered { host, reply, .. } => Disposition::Delivered { host, reply },
            Attempt::Transient(failure) if !outcome.expired => {
                Disposition::Deferred { failure, next_unix_millis: outcome.next_unix_millis }
            }
            Attempt::Transient(failure) | Attempt::Permanent(failure) => Disposition::Failed {
                failure,
                expired: outcome.expired,
                notice: outcome.reported.and(told),
            },
        };
        observe(context, packed, copy, taken.place, disposition);
    }
}

fn outcome(
    inner: &Inner,
    packed: &Packed,
    copy: &CopyRecord,
    taken: &Taken,
    attempt: &Attempt,
    failures: u32,
) -> Outcome {
    let settings = &inner.settings;
    let now = inner.now();
    let since = packed.since_unix_millis;
    let age = now.saturating_sub(since);
    let until_unix_millis = since.saturating_add(millis(settings.expire));
    let notify = recipient(copy, taken.place).and_then(|recipient| recipient.parameters.notify);
    let is_wanted = |cause: Cause| match (cause, notify) {
        (Cause::Delivered | Cause::Relayed | Cause::Expanded, notify) => {
            notify.is_some_and(|one| one.success)
        }
        (Cause::Failed | Cause::Expired, notify) => notify.is_none_or(|one| one.failure),
        (Cause::Delayed { .. }, notify) => notify.is_none_or(|one| one.delay),
    };
    let done = |cause: Option<Cause>| Outcome {
        change: Change::Done(taken.place),
        reported: cause.filter(|cause| is_wanted(*cause)),
        expired: cause == Some(Cause::Expired),
        next_unix_millis: 0,
    };
    let failure = match attempt {
        Attempt::Delivered { handover: Handover::Final, .. } => {
            return done(Some(Cause::Delivered));
        }
        Attempt::Delivered { handover: Handover::Relayed, .. } => {
            return done(Some(Cause::Relayed));
        }
        Attempt::Delivered { handover: Handover::RelayedWithDsn, .. } => return done(None),
        Attempt::Permanent(_) => return done(Some(Cause::Failed)),
        Attempt::Transient(_) if now >= until_unix_millis => return done(Some(Cause::Expired)),
        Attempt::Transient(failure) => failure,
    };
    let earlier = if failure.scope == Scope::Destination { failures } else { taken.attempts };
    let next_unix_millis = now
        .saturating_add(millis(pause(&settings.retry, earlier)))
        .min(until_unix_millis.max(now.saturating_add(1)));
    let is_late = settings.delay_notice.is_some_and(|after| age >= millis(after));
    let delay = Cause::Delayed { until_unix_millis };
    Outcome {
        change: Change::Deferred {
            place: taken.place,
            attempts: taken.attempts.saturating_add(1),
            next_unix_millis,
            delay_told: taken.delay_told || is_late,
            last: failure.to_string(),
        },
        reported: (is_late && !taken.delay_told && is_wanted(delay)).then_some(delay),
        expired: false,
        next_unix_millis,
    }
}

/// The notifications that are due: one about failures, one about delays, one about successes.
async fn notices<D: Deliverer>(
    context: &Context<D>,
    packed: &Packed,
    copy: &CopyRecord,
    attempts: &[Attempt],
    outcomes: &[Outcome],
) -> Vec<Accepted> {
    // Never to the null reverse-path: a notification about a notification would not end.
    if copy.reverse_path.is_null() || outcomes.iter().all(|outcome| outcome.reported.is_none()) {
        return Vec::new();
    }
    let mut groups: [Vec<Reported>; 3] = Default::default();
    let [failed, delayed, successful] = &mut groups;
    for ((taken, attempt), outcome) in packed.places.iter().zip(attempts).zip(outcomes) {
        let (Some(cause), Some(recipient)) = (outcome.reported, recipient(copy, taken.place))
        else {
            continue;
        };
        let group = match cause {
            Cause::Failed | Cause::Expired => &mut *failed,
            Cause::Delayed { .. } => &mut *delayed,
            Cause::Delivered | Cause::Relayed | Cause::Expanded => &mut *successful,
        };
        let (recipient, attempt) = (recipient.clone(), attempt.clone());
        group.push(Reported { recipient, attempt, cause });
    }
    let report = Report {
        id: packed.message.id,
        reverse_path: copy.reverse_path.clone(),
        parameters: copy.parameters.clone(),
        received_unix_millis: packed.message.received_unix_millis,
        now_unix_millis: context.inner.now(),
        recipients: Vec::new(),
        content: content(packed, copy),
    };
    let notifier = Arc::clone(&context.hooks.notifier);
    let build = tokio::task::spawn_blocking(move || {
        let groups = groups.into_iter().filter(|recipients| !recipients.is_empty());
        groups
            .filter_map(|recipients| notifier.notice(&Report { recipients, ..report.clone() }))
            .collect::<Vec<Accepted>>()
    });
    let built = build.await.unwrap_or_else(|error| {
        tracing::error!(id = %packed.message.id, %error, "a notification could not be built");
        Vec::new()
    });
    match bodies::make_durable(&context.inner.bodies, built).await {
        Ok(notices) => notices,
        Err(error) => {
            tracing::error!(id = %packed.message.id, %error, "a notification could not be kept");
            Vec::new()
        }
    }
}

/// Moves a copy into the quarantine or the archive. There it may lie already, from before a crash.
async fn store<D: Deliverer>(context: &Context<D>, packed: &Packed, copy: &CopyRecord) {
    let inner = &context.inner;
    let Some(first) = packed.places.first().map(|taken| taken.place) else { return };
    let (store, area) = match &packed.destination {
        Destination::Archive { area } => (context.quarantine.archive(), area.clone()),
        Destination::Quarantine { area } => (context.quarantine.clone(), area.clone()),
        Destination::NextHop | Destination::Via(_) | Destination::Hold { .. } => return,
    };
    let (message, now) = (Arc::clone(&packed.message), inner.now());
    let put = tokio::task::spawn_blocking(move || store.put(&message, first.copy, &area, now));
    let failure = match put.await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let failure = failure.map(|text| Failure::own((4, 3, 0), text, Scope::Message));
    let mut changes = Vec::new();
    let mut next_unix_millis = 0;
    for taken in &packed.places {
        changes.push(match &failure {
            None => Change::Done(taken.place),
            Some(failure) => {
                let wait = millis(pause(&inner.settings.retry, taken.attempts));
                next_unix_millis = inner.now().saturating_add(wait);
                Change::Deferred {
                    place: taken.place,
                    attempts: taken.attempts.saturating_add(1),
                    next_unix_millis,
                    delay_told: taken.delay_told,
                    last: failure.to_string(),
                }
            }
        });
    }
    if let Err(error) = inner.change(&changes, Vec::new()) {
        tracing::error!(id = %packed.message.id, %error, "a disposition was not recorded");
    }
    for taken in &packed.places {
        let disposition = match (&failure, &packed.destination) {
            (Some(failure), _) => Disposition::Deferred { failure, next_unix_millis },
            (None, Destination::Archive { area }) => Disposition::Archived { area },
            (None, Destination::Quarantine { area }) => Disposition::Quarantined { area },
            (None, _) => continue,
        };
        observe(context, packed, copy, taken.place, disposition);
    }
}

fn observe<D>(
    context: &Context<D>,
    packed: &Packed,
    copy: &CopyRecord,
    place: Place,
    disposition: Disposition<'_>,
) {
    let Some(recipient) = recipient(copy, place) else { return };
    let received = packed.message.received_unix_millis;
    context.hooks.observer.disposition(&Event {
        id: place.id,
        reverse_path: &copy.reverse_path,
        recipient: &recipient.path,
        size: copy.rope.len(),
        delay_millis: context.inner.now().saturating_sub(received),
        disposition,
    });
}

fn recipient(copy: &CopyRecord, place: Place) -> Option<&imss_core::envelope::Recipient> {
    copy.recipients.get(usize::from(place.recipient))
}

fn content(packed: &Packed, copy: &CopyRecord) -> Content {
    Content { body: packed.message.body.clone(), rope: copy.rope.clone() }
}

/// A failure of ours for a message whose job broke down.
pub(super) fn broken(id: QueueId) -> Failure {
    tracing::error!(%id, "a delivery job broke down");
    Failure::own((4, 3, 0), "internal error during the attempt", Scope::Message)
}
