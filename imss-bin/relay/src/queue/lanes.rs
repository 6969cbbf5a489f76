//! Who may be sent to now: one lane per destination, with a limit of jobs, perhaps a rate, and a pause
//! after failures that concern the whole destination. After a pause one job goes first, to try.
//!
//! A destination has few jobs until one of them came to an end without such a failure, and all
//! destinations of which that is not known share half of the jobs, those that failed last a quarter.
//! Those that work share three quarters. Where half of a share is used, a destination that uses it
//! already gets hardly more: however many there are that hang, mail for others finds room.
//!
//! Plain data, no clock: every call is told the time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use imss_core::ids::QueueId;

use super::index::Pause;
use crate::outbound::{DestinationKey, LaneLimits};

/// Jobs at once that write to the quarantine or the archive.
const STORE_JOBS: usize = 4;

/// Jobs at once for a destination that is not known to work.
const UNPROVEN_JOBS: usize = 3;
/// How long a destination counts as working after its lane is gone.
const PROVEN_MILLIS: u64 = 10 * 60 * 1_000;
/// Destinations remembered as working.
const MAX_PROVEN: usize = 20_000;

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

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes that may start a job, in turn.
    runnable: VecDeque<LaneKey>,
    /// Ends of pauses.
    pauses: BTreeSet<(u64, LaneKey)>,
    limit: usize,
    /// Jobs at once for all destinations that are not known to work.
    unproven: Share,
    /// The same for those of them that failed last.
    failing: Share,
    /// Jobs at once for all destinations that work.
    proven_share: Share,
    /// Destinations whose lanes are gone, and when they last worked.
    proven: HashMap<LaneKey, u64>,
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
    /// Whether it is known to work.
    proven: bool,
    limits: LaneLimits,
    /// When its rate allows the next job.
    not_before: u64,
    /// How its running jobs began: so many while it was not known to work.
    unproven_running: usize,
    /// And so many while it failed.
    failing_running: usize,
}

/// Jobs that several destinations share.
#[derive(Debug, Default)]
struct Share {
    limit: usize,
    /// What one of them may have when half of it is used.
    in_crowd: usize,
    running: usize,
    /// Lanes that wait for one of them to end.
    waiting: VecDeque<LaneKey>,
}

impl Share {
    fn new(limit: usize, in_crowd: usize) -> Self {
        Self { limit: limit.max(1), in_crowd, ..Self::default() }
    }

    /// Whether a lane that has `running` jobs may have another.
    fn has_room(&self, running: usize) -> bool {
        // One that is alone takes nothing from anybody.
        let is_crowded = self.running >= (self.limit / 2).max(1) && self.running > running;
        self.running < self.limit && !(is_crowded && running >= self.in_crowd)
    }

    fn begin(&mut self) {
        self.running = self.running.saturating_add(1);
    }

    /// A job has ended: those who wait may try.
    fn end(&mut self, runnable: &mut VecDeque<LaneKey>) {
        self.running = self.running.saturating_sub(1);
        runnable.append(&mut self.waiting);
    }
}

impl Lanes {
    /// At most `limit` jobs for a destination, of `jobs` in all.
    pub(super) fn new(limit: usize, jobs: usize, retry: Vec<Duration>) -> Self {
        Self {
            limit: limit.max(1),
            unproven: Share::new(jobs / 2, 1),
            failing: Share::new(jobs / 4, 1),
            proven_share: Share::new(jobs.saturating_sub(jobs / 4), UNPROVEN_JOBS),
            retry,
            ..Self::default()
        }
    }

    /// Adds a parcel. `limits` are those of its destination, asked for when its lane begins.
    pub(super) fn push(
        &mut self,
        key: &LaneKey,
        parcel: Parcel,
        now: u64,
        limits: impl FnOnce() -> LaneLimits,
    ) {
        let proven = &mut self.proven;
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| {
            let worked = proven.remove(key);
            let is_recent = |at: u64| now.saturating_sub(at) < PROVEN_MILLIS;
            let proven = *key == LaneKey::Store || worked.is_some_and(is_recent);
            Lane { proven, limits: limits(), ..Lane::default() }
        });
        lane.ready.push_back(parcel);
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
            let is_failing = !lane.proven && lane.failures > 0;
            let full = if key == LaneKey::Store {
                None
            } else if lane.proven {
                Some(&mut self.proven_share).filter(|share| !share.has_room(lane.running))
            } else if is_failing && !self.failing.has_room(lane.failing_running) {
                Some(&mut self.failing)
            } else {
                Some(&mut self.unproven).filter(|share| !share.has_room(lane.unproven_running))
            };
            if let Some(share) = full {
                lane.listed = true;
                share.waiting.push_back(key);
                continue;
            }
            let Some(parcel) = lane.ready.pop_front() else { continue };
            lane.running = lane.running.saturating_add(1);
            if is_failing {
                lane.failing_running = lane.failing_running.saturating_add(1);
                self.failing.begin();
            }
            if !lane.proven {
                lane.unproven_running = lane.unproven_running.saturating_add(1);
                self.unproven.begin();
            } else if key != LaneKey::Store {
                self.proven_share.begin();
            }
            if let Some(pause) = lane.limits.pause {
                lane.not_before = now.saturating_add(millis(pause));
                self.pauses.insert((lane.not_before, key.clone()));
            }
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
        if lane.failing_running > 0 {
            lane.failing_running = lane.failing_running.saturating_sub(1);
            self.failing.end(&mut self.runnable);
        }
        if lane.unproven_running > 0 {
            lane.unproven_running = lane.unproven_running.saturating_sub(1);
            self.unproven.end(&mut self.runnable);
        } else if *key != LaneKey::Store {
            self.proven_share.end(&mut self.runnable);
        }
        let mut begun = None;
        lane.proven = !failed || *key == LaneKey::Store;
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
        if lane.ready.is_empty()
            && lane.running == 0
            && lane.failures == 0
            && lane.not_before <= now
        {
            self.lanes.remove(key);
            if self.proven.len() >= MAX_PROVEN {
                self.proven.retain(|_, at| now.saturating_sub(*at) < PROVEN_MILLIS);
            }
            if self.proven.len() < MAX_PROVEN && *key != LaneKey::Store {
                self.proven.insert(key.clone(), now);
            }
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
                self.tidy(&key, now);
            }
        }
    }

    /// Forgets a lane that was kept for its rate only.
    fn tidy(&mut self, key: &LaneKey, now: u64) {
        let idle = |lane: &Lane| {
            lane.ready.is_empty()
                && lane.running == 0
                && lane.failures == 0
                && lane.not_before <= now
        };
        if self.lanes.get(key).is_some_and(idle) {
            self.lanes.remove(key);
        }
    }

    /// Ends all pauses. Rates still hold.
    pub(super) fn forgive_all(&mut self, now: u64) {
        self.forgive_lanes(self.lanes.keys().cloned().collect(), now);
    }

    /// Ends the pauses of the lanes in which a parcel that `wanted` picks waits.
    pub(super) fn forgive(&mut self, now: u64, wanted: impl Fn(&Parcel) -> bool) {
        let waits = |lane: &Lane| lane.ready.iter().any(&wanted);
        let keys = self.lanes.iter().filter(|(_, lane)| waits(lane));
        let keys = keys.map(|(key, _)| key.clone()).collect();
        self.forgive_lanes(keys, now);
    }

    fn forgive_lanes(&mut self, keys: Vec<LaneKey>, now: u64) {
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
            LaneKey::Destination(_) => {
                let most = if self.proven { limit } else { limit.min(UNPROVEN_JOBS) };
                self.limits.jobs.map_or(most, |jobs| most.min(jobs.max(1)))
            }
        };
        self.paused_until <= now && self.not_before <= now && self.running < limit
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
        (Lanes::new(2, 100, retry), LaneKey::Destination(key))
    }

    fn push(lanes: &mut Lanes, key: &LaneKey, counter: u16) {
        lanes.push(key, parcel(counter), 0, LaneLimits::default);
    }

    fn destination(domain: &str) -> LaneKey {
        let path = format!("u@{domain}");
        let path = ForwardPath::parse(&path, Default::default()).expect("an address");
        LaneKey::Destination(DestinationKey::new(&NextHop::Mx, &path))
    }

    fn parcel(counter: u16) -> Parcel {
        Parcel { id: QueueId::new(1, 1, counter), copy: 0, recipients: vec![0] }
    }

    #[test]
    fn no_more_jobs_than_the_limit() {
        let (mut lanes, key) = lanes();
        (0..3).for_each(|counter| push(&mut lanes, &key, counter));
        assert!(lanes.start(0).is_some());
        assert!(lanes.start(0).is_some());
        assert!(lanes.start(0).is_none(), "two run");
        lanes.finish(&key, false, 0);
        assert_eq!(lanes.start(0).map(|(_, parcel, _)| parcel), Some(parcel(2)));
    }

    #[test]
    fn a_pause_then_one_to_try() {
        let (mut lanes, key) = lanes();
        (0..5).for_each(|counter| push(&mut lanes, &key, counter));
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
        (0..2).for_each(|counter| push(&mut lanes, &key, counter));
        lanes.start(0);
        lanes.finish(&key, true, 0);
        lanes.forgive_all(0);
        assert!(lanes.start(0).is_some());
    }

    #[test]
    fn destinations_that_hang_leave_room() {
        let mut lanes = Lanes::new(20, 10, Vec::new());
        let good = destination("good.example");
        push(&mut lanes, &good, 0);
        lanes.start(0);
        lanes.finish(&good, false, 0);
        for counter in 1..100 {
            push(&mut lanes, &destination(&format!("dead{counter}.example")), counter);
        }
        (1..4).for_each(|counter| push(&mut lanes, &good, counter));
        let started: Vec<LaneKey> =
            std::iter::from_fn(|| lanes.start(0).map(|(key, _, _)| key)).collect();
        let to_good = started.iter().filter(|key| **key == good).count();
        assert_eq!(
            (started.len(), to_good),
            (8, 3),
            "half of ten for the unknown, and all for the good"
        );
        let dead = started.iter().find(|key| **key != good).expect("one of them").clone();
        lanes.finish(&dead, true, 0);
        assert!(lanes.start(0).is_some(), "the next of them");
        assert!(lanes.start(0).is_none());
    }

    /// When all pauses are over.
    const LATER: u64 = u64::MAX / 2;

    /// Starts all that may start, and says how many of them go to `key`.
    fn started_to(lanes: &mut Lanes, key: &LaneKey) -> usize {
        let started = std::iter::from_fn(|| lanes.start(LATER).map(|(key, _, _)| key));
        started.filter(|one| one == key).count()
    }

    #[test]
    fn one_that_nobody_knows_finds_room_beside_many_that_hang() {
        let hanging = |n: u16| destination(&format!("hangs{n}.example"));
        let good = destination("good.example");
        let settings = crate::queue::Settings::default();
        let fresh = || Lanes::new(settings.per_destination, settings.jobs, Vec::new());
        // Fifty with more mail than there are jobs.
        let fill = |lanes: &mut Lanes| {
            for number in 0..50 {
                (0..50).for_each(|one| push(lanes, &hanging(number), number * 50 + one));
            }
        };
        let mut unknown = fresh();
        fill(&mut unknown);
        let mut known = fresh();
        for number in 0..50 {
            push(&mut known, &hanging(number), number);
            known.start(0);
            known.finish(&hanging(number), false, 0);
        }
        fill(&mut known);
        let mut failing = fresh();
        for number in 0..300 {
            push(&mut failing, &hanging(number), number);
            push(&mut failing, &hanging(number), number);
            failing.start(0);
            failing.finish(&hanging(number), true, 0);
        }
        failing.resume(LATER);
        for (name, lanes) in [
            ("that nobody knows", &mut unknown),
            ("that worked", &mut known),
            ("that failed", &mut failing),
        ] {
            assert_eq!(started_to(lanes, &good), 0, "{name}");
            (0..5).for_each(|one| push(lanes, &good, 9_000 + one));
            assert!(started_to(lanes, &good) > 0, "{name}");
            lanes.finish(&good, false, 0);
            assert!(started_to(lanes, &good) > 0, "{name}: the next, once it works");
        }
    }

    #[test]
    fn few_jobs_until_one_worked() {
        let mut lanes = Lanes::new(20, 100, Vec::new());
        let key = destination("new.example");
        (0..20).for_each(|counter| push(&mut lanes, &key, counter));
        let start = |lanes: &mut Lanes| std::iter::from_fn(|| lanes.start(0)).count();
        assert_eq!(start(&mut lanes), UNPROVEN_JOBS);
        lanes.finish(&key, false, 0);
        assert_eq!(start(&mut lanes), 20 - UNPROVEN_JOBS);
    }

    #[test]
    fn no_faster_than_the_rate() {
        let mut lanes = Lanes::new(20, 100, Vec::new());
        let key = destination("slow.example");
        let limits = || LaneLimits { jobs: None, pause: Some(Duration::from_millis(10)) };
        (0..3).for_each(|counter| lanes.push(&key, parcel(counter), 0, limits));
        assert!(lanes.start(0).is_some());
        assert!(lanes.start(0).is_none(), "ten milliseconds between two");
        lanes.finish(&key, false, 1);
        assert_eq!(lanes.next_end(), Some(10));
        lanes.resume(10);
        assert!(lanes.start(10).is_some());
        assert!(lanes.start(10).is_none());
    }
}
