//! Hands out queue IDs: by time, and never the same twice.

use std::sync::atomic::{AtomicU16, Ordering};

use imss_core::ids::QueueId;
use jiff::Timestamp;

/// A source of queue IDs for one process.
#[derive(Debug)]
pub struct QueueIds {
    node: u16,
    counter: AtomicU16,
}

impl QueueIds {
    /// A source whose IDs differ from those of other nodes and earlier starts: 16 random bits and
    /// the time keep them apart.
    #[must_use]
    pub fn new() -> Self {
        let mut seed = [0; 4];
        if getrandom::fill(&mut seed).is_err() {
            // Without randomness the process number still tells two starts apart.
            seed = std::process::id().to_le_bytes();
        }
        let [a, b, c, d] = seed;
        Self {
            node: u16::from_le_bytes([a, b]),
            counter: AtomicU16::new(u16::from_le_bytes([c, d])),
        }
    }

    /// An ID that was never given before.
    #[must_use]
    pub fn next(&self) -> QueueId {
        QueueId::new(unix_millis(), self.node, self.counter.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for QueueIds {
    fn default() -> Self {
        Self::new()
    }
}

/// Now, in milliseconds since 1970 (UTC).
#[must_use]
pub fn unix_millis() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_is_given_twice() {
        let ids = QueueIds::new();
        let given: HashSet<_> = (0..50_000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 50_000);
    }
}
