//! The jail: reading hostile mail in processes that can do nothing else.
//!
//! In: a message. Out: its [`Entities`], found by `imss-worker`: a process with no network, no files,
//! bounded memory, and no way to start others. A worker that crashes, is taken over and tries
//! something forbidden, answers nonsense or does not end costs one message a
//! [`Gap`](imss_core::finding::Gap), and itself; the next message has a new one.
//!
//! Workers are kept between messages, up to [`JailSettings::messages_per_worker`] each: a new process
//! costs more than most messages do. What crashed a worker that was not new is tried once more on
//! a new one, so that nobody pays for the message before.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use imss_core::entity::Entities;
use imss_core::finding::GapReason;
use imss_core::limits::{Limit, Limits, StopFlag};
use imss_core::message::Message;
use serde::{Deserialize, Serialize};

pub mod confine;
mod process;
mod protocol;
pub mod worker;

use process::{Process, Program};

/// How messages are jailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailSettings {
    /// The worker program.
    pub program: PathBuf,
    /// Messages that one worker reads before it is replaced. One keeps messages wholly apart.
    pub messages_per_worker: u32,
}

impl Default for JailSettings {
    /// The program beside this one, replaced every 100 messages.
    fn default() -> Self {
        let beside = std::env::current_exe().unwrap_or_default().with_file_name("imss-worker");
        Self { program: beside, messages_per_worker: 100 }
    }
}

/// What gateway and worker must have in common: entities go between them as this version has them.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a worker must know before its first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// [`VERSION`] of the gateway.
    pub(crate) version: String,
    pub(crate) limits: Limits,
    pub(crate) passwords: Vec<String>,
}

/// Why a worker gave no entities.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JailError {
    /// The worker could not be started or spoken to.
    #[error("the worker cannot be started: {0}")]
    Start(std::io::Error),
    /// The worker ended while it read the message.
    #[error("the worker ended: {0}")]
    Ended(String),
    /// The worker tried what it must not, and was killed for it.
    #[error("the worker broke out: it made a forbidden system call")]
    Breach,
    /// The worker did not end in time.
    #[error("the worker did not end in time")]
    TimedOut,
    /// The worker's answer is not entities.
    #[error("the worker answered nonsense: {0}")]
    Nonsense(String),
}

impl JailError {
    /// The reason for the gap that is left.
    #[must_use]
    pub fn reason(&self) -> GapReason {
        match self {
            Self::Start(_) => GapReason::Engine,
            Self::TimedOut => GapReason::Limit(Limit::Time),
            Self::Ended(_) | Self::Breach | Self::Nonsense(_) => GapReason::Crash,
        }
    }
}

/// A pool of confined workers. Dropping it ends them.
#[derive(Debug)]
pub struct Jail {
    messages_per_worker: u32,
    program: Program,
    terms: Terms,
    idle: Mutex<Vec<Process>>,
    started: AtomicU64,
    failed: AtomicU64,
}

impl Jail {
    /// A jail whose workers read within `limits` and try `passwords`. Starts one worker, to know
    /// that it works.
    ///
    /// # Errors
    ///
    /// [`JailError`] if that worker does not come up.
    pub fn new(
        settings: JailSettings,
        limits: Limits,
        passwords: Vec<String>,
    ) -> Result<Self, JailError> {
        let terms = Terms { version: VERSION.to_owned(), limits, passwords };
        let program = Program::open(&settings.program)?;
        let first = Process::start(&program, &terms)?;
        Ok(Self {
            messages_per_worker: settings.messages_per_worker,
            program,
            terms,
            idle: Mutex::new(vec![first]),
            started: AtomicU64::new(1),
            failed: AtomicU64::new(0),
        })
    }

    /// Finds everything inside `message`. Blocks; once `stop` is set the worker ends with what it
    /// has, or is ended.
    ///
    /// # Errors
    ///
    /// [`JailError`]: the message was not read.
    pub fn extract(&self, message: &Message, stop: &StopFlag) -> Result<Entities, JailError> {
        let (mut process, is_used) = self.take()?;
        let mut result = process.extract(message.raw(), stop);
        if is_used && matches!(result, Err(JailError::Ended(_))) {
            process = self.start()?;
            result = process.extract(message.raw(), stop);
        }
        let entities = result.and_then(|wire| {
            Entities::from_wire(&wire, message.raw(), &self.terms.limits)
                .map_err(|error| JailError::Nonsense(error.to_string()))
        });
        match entities {
            Ok(_) => self.keep(process),
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        entities
    }

    /// Workers started so far, and messages that cost their worker.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.started.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// A worker, and whether it has read a message before.
    fn take(&self) -> Result<(Process, bool), JailError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(process) => {
                let is_used = process.messages() > 0;
                Ok((process, is_used))
            }
            None => Ok((self.start()?, false)),
        }
    }

    fn start(&self) -> Result<Process, JailError> {
        self.started.fetch_add(1, Ordering::Relaxed);
        Process::start(&self.program, &self.terms)
    }

    fn keep(&self, process: Process) {
        if process.messages() < self.messages_per_worker {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
    }
}
