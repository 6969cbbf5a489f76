//! Reads a decoder to its end within the budget.
//!
//! In: a decoder over foreign data. Out: what it gave, and why that is not everything. A panic, an
//! error and a limit are all a [`Missing`]; only limits of the whole message end the archive.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Missing;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};
use crate::recycle;

/// Octets between two looks at the limits.
const CHUNK: usize = 64 << 10;

/// Octets that are kept of what the message may no longer hold.
const HEAD: usize = 512;

/// Octets that are taken for granted to come out of as many that went in.
const MAX_GUESS: usize = 4 << 20;

/// What opening a stream costs, in steps.
const OPEN: u64 = 400;

/// What an octet that is sorted or modelled costs, in steps.
const MODELLED: u64 = 6;
/// What an octet of input costs where the output is nearly all runs.
const SORTED: u64 = 2_000;

/// What an octet of output costs, in steps (see [`Limits::max_work`](crate::limits::Limits::max_work)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Copies from a window: deflate, zstd, LZ4.
    Copies,
    /// Bit by bit: LZMA.
    Bits,
    /// Sorts: bzip2. As costly as a model, but for runs of one octet, which are packed before they are
    /// sorted.
    Sorts,
    /// Models: PPMd.
    Models,
}

impl Pace {
    /// What `octets` of output cost, got from a stream of `input` octets.
    ///
    /// Measured with libbz2 in steps per octet: text 6 to 9, tables 3, zeros 0.7; zlib 0.5 to 1. Zeros
    /// are told by their ratio: what is packed that small has next to nothing to sort.
    fn steps(self, octets: u64, input: u64) -> u64 {
        match self {
            Self::Copies => octets / 2,
            Self::Bits => octets.saturating_mul(2),
            Self::Sorts => octets
                .saturating_add(input.saturating_mul(SORTED))
                .min(octets.saturating_mul(MODELLED)),
            Self::Models => octets.saturating_mul(MODELLED),
        }
    }
}

/// What a decoder gave.
pub(crate) struct Drained {
    /// The output. After a limit only its start is kept: a bomb must not stay in memory.
    pub(crate) bytes: Vec<u8>,
    /// Why it is not everything.
    pub(crate) missing: Option<Missing>,
}

impl Drained {
    /// Nothing, for `reason`.
    pub(crate) fn nothing(reason: GapReason, detail: impl Into<String>) -> Self {
        Self { bytes: Vec::new(), missing: Some(Missing::new(reason, detail)) }
    }
}

impl Missing {
    /// Why something is missing.
    pub(crate) fn new(reason: GapReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The limit that nothing else in the message can pass either, if that is the reason.
    pub(crate) fn final_limit(&self) -> Option<Limit> {
        match self.reason {
            GapReason::Limit(limit @ (Limit::TotalBytes | Limit::Time | Limit::Entities)) => {
                Some(limit)
            }
            _ => None,
        }
    }
}

/// Runs `open` and reads what it opens, which copies from a window. See [`drain_at`].
pub(crate) fn drain<R: Read>(
    open: impl FnOnce() -> std::io::Result<R>,
    input: u64,
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Drained {
    drain_at(Pace::Copies, open, input, budget, chunk)
}

/// Runs `open` and reads what it opens. `input` is the count of compressed octets; `chunk` is room to
/// read into, worth keeping for the next call.
pub(crate) fn drain_at<R: Read>(
    pace: Pace,
    open: impl FnOnce() -> std::io::Result<R>,
    input: u64,
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Drained {
    // Without work left not even the first chunk is decoded: there may be ten thousand streams.
    if let Err(limit) = budget.charge_work(OPEN) {
        return Drained::nothing(GapReason::Limit(limit), format!("{limit} limit"));
    }
    let mut output = Output::default();
    // After a panic the output holds whole reads.
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut source = open().map_err(|error| broken(&error))?;
        read_all(&mut source, (pace, input), budget, (&mut *chunk, &mut output))
    }));
    let missing = match run {
        Ok(Ok(())) => None,
        Ok(Err(missing)) => Some(missing),
        Err(_) => Some(Missing::new(GapReason::Crash, "the decoder crashed")),
    };
    let mut bytes = output.into_bytes();
    bytes.truncate(missing.as_ref().map_or(usize::MAX, kept));
    recycle::trim(&mut bytes);
    Drained { bytes, missing }
}

/// Octets of an output that are kept, by why it is not everything. After a limit they are enough to
/// identify it, and few where nothing more was paid for: there may be thousands of such members.
pub(crate) fn kept(missing: &Missing) -> usize {
    match missing.reason {
        _ if missing.final_limit().is_some() => HEAD,
        GapReason::Limit(_) => CHUNK,
        _ => usize::MAX,
    }
}

/// Octets, and room behind them that is already cleared.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    filled: usize,
}

impl Output {
    fn append(&mut self, octets: &[u8]) {
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(octets);
        self.filled = self.bytes.len();
    }

    /// Room for more. `input` octets are decoded in all: it rarely becomes fewer.
    fn room(&mut self, input: u64) -> &mut [u8] {
        if self.filled >= self.bytes.len() {
            let wanted = self.filled.saturating_add(CHUNK);
            if self.bytes.capacity() < wanted {
                let input = usize::try_from(input).unwrap_or(usize::MAX).min(MAX_GUESS);
                recycle::grow(&mut self.bytes, wanted.saturating_mul(2).max(input));
            }
            self.bytes.resize(wanted, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}

fn read_all(
    source: &mut dyn Read,
    (pace, input): (Pace, u64),
    budget: &mut Budget<'_>,
    (chunk, output): (&mut Vec<u8>, &mut Output),
) -> Result<(), Missing> {
    chunk.resize(CHUNK, 0);
    loop {
        // Most members are small: they go through room that is kept, and get exactly what they
        // need. Of the others everything is decoded to where it stays.
        let small = output.filled < CHUNK;
        let room = if small { chunk.as_mut_slice() } else { output.room(input) };
        let read = match source.read(room) {
            Ok(0) => return Ok(()),
            Ok(read) => read.min(room.len()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(&error)),
        };
        if small {
            output.append(chunk.get(..read).unwrap_or_default());
        } else {
            output.filled = output.filled.saturating_add(read);
        }
        charge(read, (pace, input), output.filled, budget)?;
    }
}

fn charge(
    read: usize,
    (pace, input): (Pace, u64),
    total: usize,
    budget: &mut Budget<'_>,
) -> Result<(), Missing> {
    let limit = |limit: Limit| Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
    let total = total as u64;
    budget.charge_bytes(read as u64).map_err(limit)?;
    let before = pace.steps(total.saturating_sub(read as u64), input);
    budget.charge_work(pace.steps(total, input).saturating_sub(before)).map_err(limit)?;
    if total > budget.limits().max_entity_bytes {
        return Err(limit(Limit::EntityBytes));
    }
    budget.check_ratio(input, total).map_err(limit)
}

fn broken(error: &std::io::Error) -> Missing {
    let reason = match error.kind() {
        std::io::ErrorKind::Unsupported => GapReason::Unsupported,
        _ => GapReason::Malformed,
    };
    let text: String = error.to_string().chars().take(200).collect();
    Missing::new(reason, text.escape_debug().to_string())
}
