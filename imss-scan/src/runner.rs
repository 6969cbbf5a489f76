//! A bounded pool of threads for work that must end: parsing, unpacking and scanning of one
//! message, away from the network loop.
//!
//! In: a job, and what to call with its result. Out: exactly one call with the result, or with the
//! reason there is none. Callers may be async or not: the callback runs on a thread of the pool
//! and should only pass the result on.
//!
//! At its deadline a job's [`StopFlag`] is set, and a job that watches it ends with what it has. A
//! job that does not end within the grace after that is given up: its caller hears
//! [`RunError::TimedOut`], its thread is left behind and replaced. A panic ends the job only.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use imss_core::limits::StopFlag;

/// Threads left behind, per thread of the pool, before they are no longer replaced.
const MAX_STUCK_PER_THREAD: usize = 8;
/// Jobs that may wait, per thread of the pool.
const QUEUE_PER_THREAD: usize = 64;
/// Unpackers and parsers recurse to a bounded depth; this is ample for it.
const STACK_BYTES: usize = 8 << 20;

/// A bounded pool of threads. Dropping it lets running and waiting jobs end.
pub struct Runner {
    shared: Arc<Shared>,
}

/// Why a job gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The job panicked.
    #[error("crashed: {0}")]
    Crashed(String),
    /// The job ignored its deadline.
    #[error("did not end in time")]
    TimedOut,
    /// Too many jobs wait already. The job was not begun.
    #[error("too many jobs are waiting")]
    Overloaded,
}

/// What the pool has done and is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunnerStats {
    /// Jobs waiting for a thread.
    pub queued: usize,
    /// Jobs running, those given up not counted.
    pub running: usize,
    /// Threads left behind that have not ended yet.
    pub stuck: usize,
    /// Jobs that gave a result.
    pub finished: u64,
    /// Jobs whose stop flag was set at their deadline.
    pub stopped: u64,
    /// Jobs that panicked.
    pub crashed: u64,
    /// Jobs given up, each leaving a thread behind.
    pub timed_out: u64,
    /// Jobs refused because too many were waiting.
    pub overloaded: u64,
}

/// How a pool is dimensioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerSettings {
    /// Jobs that run at the same time. At least one.
    pub threads: usize,
    /// Time a job has before its stop flag is set.
    pub deadline: Duration,
    /// Time it has after that to end by itself.
    pub grace: Duration,
    /// Jobs that may wait.
    pub queue: usize,
}

impl RunnerSettings {
    /// `threads` jobs at once, `deadline` each, as much again (one second at least) to notice it,
    /// and 64 waiting jobs per thread.
    #[must_use]
    pub fn new(threads: usize, deadline: Duration) -> Self {
        Self {
            threads: threads.max(1),
            deadline,
            grace: deadline.max(Duration::from_secs(1)),
            queue: threads.max(1).saturating_mul(QUEUE_PER_THREAD),
        }
    }
}

impl Runner {
    /// A pool with the defaults of [`RunnerSettings::new`].
    #[must_use]
    pub fn new(threads: usize, deadline: Duration) -> Self {
        Self::with_settings(RunnerSettings::new(threads, deadline))
    }

    /// A pool dimensioned by hand.
    #[must_use]
    pub fn with_settings(settings: RunnerSettings) -> Self {
        // A deadline of nothing would keep the watchdog spinning.
        let deadline = settings.deadline.max(Duration::from_millis(1));
        let shared = Arc::new(Shared {
            settings: RunnerSettings { threads: settings.threads.max(1), deadline, ..settings },
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            end: Condvar::new(),
        });
        Shared::add_threads(&shared);
        Self { shared }
    }

    /// Runs `job` on a thread of the pool and calls `done` once with its result.
    ///
    /// `done` hears [`RunError::Overloaded`] at once, on the calling thread, if too many jobs wait
    /// or the system gives no thread.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&StopFlag) -> T + Send + 'static,
        done: impl FnOnce(Result<T, RunError>) + Send + 'static,
    ) {
        let task = Task::new(job, done);
        Shared::add_threads(&self.shared);
        let mut state = self.shared.lock();
        let room = state.queue.len() < self.shared.settings.queue && state.threads > 0;
        if room {
            state.queue.push_back(task);
            drop(state);
            self.shared.work.notify_one();
        } else {
            state.stats.overloaded = state.stats.overloaded.saturating_add(1);
            drop(state);
            (task.give_up)(RunError::Overloaded);
        }
    }

    /// What the pool has done and is doing.
    #[must_use]
    pub fn stats(&self) -> RunnerStats {
        let state = self.shared.lock();
        RunnerStats {
            queued: state.queue.len(),
            running: state.running.len(),
            stuck: state.stuck,
            ..state.stats
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.end.notify_all();
    }
}

/// A job and its callback, with the result's type erased.
struct Task {
    work: Box<dyn FnOnce(&StopFlag) -> Ending + Send>,
    give_up: Box<dyn FnOnce(RunError) + Send>,
}

/// How a job ended, for the statistics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Finished,
    Crashed,
}

impl Task {
    fn new<T: Send + 'static>(
        job: impl FnOnce(&StopFlag) -> T + Send + 'static,
        done: impl FnOnce(Result<T, RunError>) + Send + 'static,
    ) -> Self {
        // Whoever takes the callback first calls it: the worker, or the watchdog that gave up.
        let slot = Arc::new(Mutex::new(Some(done)));
        let watched = Arc::clone(&slot);
        let call = |slot: &Mutex<Option<_>>, result: Result<T, RunError>| {
            let done = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(done) = done {
                let _ = catch_unwind(AssertUnwindSafe(|| call_once(done, result)));
            }
        };
        Self {
            work: Box::new(move |stop| {
                let result = catch_unwind(AssertUnwindSafe(|| job(stop)));
                let ending = if result.is_ok() { Ending::Finished } else { Ending::Crashed };
                call(&slot, result.map_err(|panic| RunError::Crashed(panic_text(&*panic))));
                ending
            }),
            give_up: Box::new(move |reason| call(&watched, Err(reason))),
        }
    }
}

fn call_once<A>(callback: impl FnOnce(A), argument: A) {
    callback(argument);
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(200).flat_map(char::escape_debug).collect()
}

struct Shared {
    settings: RunnerSettings,
    state: Mutex<State>,
    work: Condvar,
    end: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Task>,
    running: Vec<Running>,
    /// Threads of the pool, those left behind not counted.
    threads: usize,
    stuck: usize,
    watched: bool,
    closed: bool,
    next_job: u64,
    stats: RunnerStats,
}

/// A job that a thread is busy with.
struct Running {
    job: u64,
    since: Instant,
    stop: StopFlag,
    give_up: Box<dyn FnOnce(RunError) + Send>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what is missing of the pool's threads and its watchdog. What the system refuses is
    /// tried again with the next job.
    fn add_threads(shared: &Arc<Self>) {
        let mut state = shared.lock();
        let max_stuck = shared.settings.threads.saturating_mul(MAX_STUCK_PER_THREAD);
        while state.threads < shared.settings.threads && state.stuck < max_stuck {
            let pool = Arc::clone(shared);
            if !spawn("imss-scan", move || pool.serve()) {
                break;
            }
            state.threads = state.threads.saturating_add(1);
        }
        if !state.watched {
            let pool = Arc::clone(shared);
            state.watched = spawn("imss-scan-watch", move || Self::watch(&pool));
        }
    }

    /// A thread of the pool: one job after the other, until the pool closes or gives it up.
    fn serve(&self) {
        while let Some((job, work, stop)) = self.next() {
            let ending = work(&stop);
            if !self.finish(job, ending) {
                return;
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "one caller, three values")]
    fn next(&self) -> Option<(u64, Box<dyn FnOnce(&StopFlag) -> Ending + Send>, StopFlag)> {
        let mut state = self.lock();
        loop {
            if let Some(Task { work, give_up }) = state.queue.pop_front() {
                let (job, stop) = (state.next_job, StopFlag::new());
                state.next_job = job.wrapping_add(1);
                let since = Instant::now();
                state.running.push(Running { job, since, stop: stop.clone(), give_up });
                return Some((job, work, stop));
            }
            if state.closed {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Books the end of a job. False if the thread was replaced meanwhile and must end.
    fn finish(&self, job: u64, ending: Ending) -> bool {
        let mut state = self.lock();
        let place = state.running.iter().position(|running| running.job == job);
        let Some(place) = place else {
            state.stuck = state.stuck.saturating_sub(1);
            if state.threads >= self.settings.threads {
                return false;
            }
            state.threads = state.threads.saturating_add(1);
            return true;
        };
        let running = state.running.swap_remove(place);
        match ending {
            Ending::Finished => state.stats.finished = state.stats.finished.saturating_add(1),
            Ending::Crashed => state.stats.crashed = state.stats.crashed.saturating_add(1),
        }
        drop(state);
        // The callback's other half may own anything, so it goes without the lock.
        drop(running);
        true
    }

    /// The watchdog: sets stop flags at the deadline, gives up after the grace.
    ///
    /// A job that begins while it sleeps cannot be due before it wakes, since it never sleeps
    /// longer than one deadline. So beginning a job costs no wake-up.
    fn watch(shared: &Arc<Self>) {
        let mut state = shared.lock();
        loop {
            if state.closed && state.running.is_empty() && state.queue.is_empty() {
                return;
            }
            let now = Instant::now();
            for late in shared.take_overdue(&mut state, now) {
                drop(state);
                let _ = catch_unwind(AssertUnwindSafe(|| (late.give_up)(RunError::TimedOut)));
                Self::add_threads(shared);
                state = shared.lock();
            }
            if state.threads == 0 && !state.queue.is_empty() {
                state = shared.refuse_waiting(state);
            }
            let sleep = shared.until_next(&state, now);
            state = match shared.end.wait_timeout(state, sleep) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Sets the flags of jobs past their deadline; returns those past their grace.
    fn take_overdue(&self, state: &mut State, now: Instant) -> Vec<Running> {
        let end = self.settings.deadline.saturating_add(self.settings.grace);
        let mut stopped = 0_u64;
        for running in &state.running {
            let late = now.saturating_duration_since(running.since) >= self.settings.deadline;
            if late && !running.stop.is_stopped() {
                running.stop.stop();
                stopped = stopped.saturating_add(1);
            }
        }
        state.stats.stopped = state.stats.stopped.saturating_add(stopped);
        let over = |running: &mut Running| now.saturating_duration_since(running.since) >= end;
        let overdue: Vec<_> = state.running.extract_if(.., over).collect();
        let count = overdue.len();
        state.threads = state.threads.saturating_sub(count);
        state.stuck = state.stuck.saturating_add(count);
        let given_up = u64::try_from(count).unwrap_or(u64::MAX);
        state.stats.timed_out = state.stats.timed_out.saturating_add(given_up);
        overdue
    }

    /// Tells all waiting jobs that nobody will take them: every thread is stuck.
    fn refuse_waiting<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waiting = std::mem::take(&mut state.queue);
        let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        state.stats.overloaded = state.stats.overloaded.saturating_add(count);
        drop(state);
        for task in waiting {
            let _ = catch_unwind(AssertUnwindSafe(|| (task.give_up)(RunError::Overloaded)));
        }
        self.lock()
    }

    fn until_next(&self, state: &State, now: Instant) -> Duration {
        let end = self.settings.deadline.saturating_add(self.settings.grace);
        let next = state.running.iter().map(|running| {
            let age = now.saturating_duration_since(running.since);
            let due = if running.stop.is_stopped() { end } else { self.settings.deadline };
            due.saturating_sub(age)
        });
        next.min().unwrap_or(self.settings.deadline).min(self.settings.deadline)
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body).is_ok()
}

#[cfg(test)]
mod tests;
