//! Reads a decoder to its end within the budget.
//!
//! In: a decoder over foreign data. Out: what it gave, and why that is not everything. A panic, an
//! error and a limit are all a [`Missing`]; only limits of the whole message end the archive.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Missing;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Octets between two looks at the limits.
const CHUNK: usize = 64 << 10;

/// What a decoder gave.
pub(super) struct Drained {
    /// The output. After a limit only the first chunk is kept, enough to identify it: a bomb must
    /// not stay in memory.
    pub(super) bytes: Vec<u8>,
    /// Why it is not everything.
    pub(super) missing: Option<Missing>,
}

impl Drained {
    /// Nothing, for `reason`.
    pub(super) fn nothing(reason: GapReason, detail: impl Into<String>) -> Self {
        Self { bytes: Vec::new(), missing: Some(Missing::new(reason, detail)) }
    }
}

impl Missing {
    /// Why something is missing.
    pub(super) fn new(reason: GapReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The limit that nothing else in the message can pass either, if that is the reason.
    pub(super) fn final_limit(&self) -> Option<Limit> {
        match self.reason {
            GapReason::Limit(limit @ (Limit::TotalBytes | Limit::Time | Limit::Entities)) => {
                Some(limit)
            }
            _ => None,
        }
    }
}

/// Runs `open` and reads what it opens. `input` is the count of compressed octets; `chunk` is room to
/// read into, worth keeping for the next call.
pub(super) fn drain<R: Read>(
    open: impl FnOnce() -> std::io::Result<R>,
    input: u64,
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Drained {
    let mut bytes = Vec::new();
    // The buffer is only ever appended to, so after a panic it holds whole reads.
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut source = open().map_err(|error| broken(&error))?;
        read_all(&mut source, input, budget, (&mut *chunk, &mut bytes))
    }));
    let missing = match run {
        Ok(Ok(())) => None,
        Ok(Err(missing)) => Some(missing),
        Err(_) => Some(Missing::new(GapReason::Crash, "the decoder crashed")),
    };
    if missing.as_ref().is_some_and(|missing| matches!(missing.reason, GapReason::Limit(_))) {
        bytes.truncate(CHUNK);
        bytes.shrink_to_fit();
    }
    Drained { bytes, missing }
}

fn read_all(
    source: &mut dyn Read,
    input: u64,
    budget: &mut Budget<'_>,
    (chunk, bytes): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<(), Missing> {
    let limit = |limit: Limit| Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
    chunk.resize(CHUNK, 0);
    loop {
        let read = match source.read(chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(&error)),
        };
        budget.charge_bytes(read as u64).map_err(limit)?;
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if bytes.len() as u64 > budget.limits().max_entity_bytes {
            return Err(limit(Limit::EntityBytes));
        }
        budget.check_ratio(input, bytes.len() as u64).map_err(limit)?;
    }
}

fn broken(error: &std::io::Error) -> Missing {
    let reason = match error.kind() {
        std::io::ErrorKind::Unsupported => GapReason::Unsupported,
        _ => GapReason::Malformed,
    };
    let text: String = error.to_string().chars().take(200).collect();
    Missing::new(reason, text.escape_debug().to_string())
}
