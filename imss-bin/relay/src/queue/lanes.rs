//! Who may be sent to now: one lane per destination, with a limit of jobs and a pause after failures
//! that concern the whole destination. After a pause one job goes first, to try.
//!
//! Plain data, no clock: every call is told the time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use imss_core::ids::QueueId;

use super::index::Pause;
use crate::outbound::DestinationKey;

/// Jobs at once that write to the quarantine or the archive.
const STORE_JOBS: usize = 4;

/// A lane's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LaneKey {
    /// The quarantine and the archive.
    Store,
    /// A next hop.
    Destination(DestinationKey),
}

/// Recipients of one copy who go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) id: QueueId,
    pub(super) copy: u16,
    pub(super) recipients: Vec<u16>,
}

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes that may start a job, in turn.
    runnable: VecDeque<LaneKey>,
    /// Ends of pauses.
    pauses: BTreeSet<(u64, LaneKey)>,
    limit: usize,
    retry: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Lane {
    ready: VecDeque<Parcel>,
    running: usize,
    failures: u32,
    paused_until: u64,
    /// What those who wait are told about the pause.
    pause: Option<Arc<Pause>>,
    listed: bool,
}

impl Lanes {
    pub(super) fn new(limit: usize, retry: Vec<Duration>) -> Self {
        let (lanes, runnable, pauses) = Default::default();
        Self { lanes, runnable, pauses, limit: limit.max(1), retry }
    }

    pub(super) fn push(&mut self, key: &LaneKey, parcel: Parcel, now: u64) {
        self.lanes.entry(key.clone()).or_default().ready.push_back(parcel);
        self.list(key, now);
    }

    /// The next job, if one may start; and how many pauses its destination has had in a row.
    pub(super) fn start(&mut self, now: u64) -> Option<(LaneKey, Parcel, u32)> {
        while let Some(key) = self.runnable.pop_front() {
            let limit = self.limit;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.listed = false;
            if !lane.may_start(&key, limit, now) {
                continue;
            }
            let Some(parcel) = lane.ready.pop_front() else { continue };
            lane.running = lane.running.saturating_add(1);
            let failures = lane.failures;
            self.list(&key, now);
            return Some((key, parcel, failures));
        }
        None
    }

    /// A job has ended. `failed` says that the whole destination failed. Returns the pause that begins
    /// with that, if none was running.
    pub(super) fn finish(&mut self, key: &LaneKey, failed: bool, now: u64) -> Option<Duration> {
        let lane = self.lanes.get_mut(key)?;
        lane.running = lane.running.saturating_sub(1);
        let mut begun = None;
        if !failed {
            lane.failures = 0;
        } else if lane.paused_until <= now {
            // Others that were under way with the first failure find the pause running.
            let pause = pause(&self.retry, lane.failures);
            lane.failures = lane.failures.saturating_add(1);
            lane.paused_until = now.saturating_add(millis(pause));
            self.pauses.insert((lane.paused_until, key.clone()));
            begun = Some(pause);
        }
        if lane.ready.is_empty() && lane.running == 0 && lane.failures == 0 {
            self.lanes.remove(key);
        } else {
            self.list(key, now);
        }
        begun
    }

    /// Notes why a lane pauses. Returns the pause and who waits for its end.
    pub(super) fn explain(
        &mut self,
        key: &LaneKey,
        reason: String,
    ) -> Option<(Arc<Pause>, &VecDeque<Parcel>)> {
        let lane = self.lanes.get_mut(key)?;
        let until_unix_millis = AtomicU64::new(lane.paused_until);
        let pause = Arc::new(Pause { until_unix_millis, reason });
        lane.pause = Some(Arc::clone(&pause));
        Some((pause, &lane.ready))
    }

    /// The pause that whoever comes to a lane now waits for.
    pub(super) fn pause(&self, key: &LaneKey, now: u64) -> Option<Arc<Pause>> {
        let lane = self.lanes.get(key).filter(|lane| lane.paused_until > now)?;
        lane.pause.clone()
    }

    /// Lets lanes go whose pauses are over.
    pub(super) fn resume(&mut self, now: u64) {
        while let Some((end, _)) = self.pauses.first() {
            if *end > now {
                return;
            }
            if let Some((_, key)) = self.pauses.pop_first() {
                self.list(&key, now);
            }
        }
    }

    /// Ends all pauses.
    pub(super) fn forgive(&mut self, now: u64) {
        self.pauses.clear();
        let keys: Vec<LaneKey> = self.lanes.keys().cloned().collect();
        for key in keys {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.paused_until = 0;
                lane.failures = 0;
                if let Some(pause) = lane.pause.take() {
                    pause.until_unix_millis.store(0, Ordering::Relaxed);
                }
            }
            self.list(&key, now);
        }
    }

    /// Takes the parcels out of a lane that `wanted` picks.
    pub(super) fn withdraw(
        &mut self,
        key: &LaneKey,
        mut wanted: impl FnMut(&Parcel) -> bool,
    ) -> Vec<Parcel> {
        let Some(lane) = self.lanes.get_mut(key) else { return Vec::new() };
        let (taken, left) = lane.ready.drain(..).partition::<Vec<_>, _>(|parcel| wanted(parcel));
        lane.ready = left.into();
        taken
    }

    /// When the first pause ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.pauses.first().map(|(end, _)| *end)
    }

    fn list(&mut self, key: &LaneKey, now: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !lane.listed && !lane.ready.is_empty() && lane.may_start(key, self.limit, now) {
            lane.listed = true;
            self.runnable.push_back(key.clone());
        }
    }
}

impl Lane {
    fn may_start(&self, key: &LaneKey, limit: usize, now: u64) -> bool {
        let limit = match key {
            LaneKey::Store => STORE_JOBS,
            LaneKey::Destination(_) if self.failures > 0 => 1,
            LaneKey::Destination(_) => limit,
        };
        self.paused_until <= now && self.running < limit
    }
}

/// The pause after `failures` earlier ones.
pub(super) fn pause(retry: &[Duration], failures: u32) -> Duration {
    let at = usize::try_from(failures).unwrap_or(usize::MAX);
    retry.get(at).or(retry.last()).copied().unwrap_or(Duration::from_secs(60))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::NextHop;
    use imss_core::envelope::ForwardPath;

    fn lanes() -> (Lanes, LaneKey) {
        let key = DestinationKey::new(&NextHop::Mx, &ForwardPath::Postmaster);
        let retry = [1, 2].map(Duration::from_millis).to_vec();
        (Lanes::new(2, retry), LaneKey::Destination(key))
    }

    fn parcel(counter: u16) -> Parcel {
        Parcel { id: QueueId::new(1, 1, counter), copy: 0, recipients: vec![0] }
    }

    #[test]
    fn no_more_jobs_than_the_limit() {
        let (mut lanes, key) = lanes();
        (0..3).for_each(|counter| lanes.push(&key, parcel(counter), 0));
        assert!(lanes.start(0).is_some());
        assert!(lanes.start(0).is_some());
        assert!(lanes.start(0).is_none(), "two run");
        lanes.finish(&key, false, 0);
        assert_eq!(lanes.start(0).map(|(_, parcel, _)| parcel), Some(parcel(2)));
    }

    #[test]
    fn a_pause_then_one_to_try() {
        let (mut lanes, key) = lanes();
        (0..5).for_each(|counter| lanes.push(&key, parcel(counter), 0));
        lanes.start(0);
        lanes.start(0);
        assert_eq!(lanes.finish(&key, true, 10), Some(Duration::from_millis(1)));
        assert_eq!(lanes.finish(&key, true, 10), None, "the pause is running already");
        assert!(lanes.start(10).is_none(), "paused");
        lanes.resume(11);
        assert!(lanes.start(11).is_some());
        assert!(lanes.start(11).is_none(), "one tries");
        assert_eq!(lanes.finish(&key, true, 12), Some(Duration::from_millis(2)), "longer");
        assert_eq!(lanes.next_end(), Some(14));
        lanes.resume(14);
        lanes.start(14);
        lanes.finish(&key, false, 15);
        assert!(lanes.start(15).is_some());
        assert!(lanes.start(15).is_none(), "that was the last");
    }

    #[test]
    fn forgiving_ends_pauses() {
        let (mut lanes, key) = lanes();
        (0..2).for_each(|counter| lanes.push(&key, parcel(counter), 0));
        lanes.start(0);
        lanes.finish(&key, true, 0);
        lanes.forgive(0);
        assert!(lanes.start(0).is_some());
    }
}
