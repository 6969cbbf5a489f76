//! Counts for how many recipients a signature was seen: a signed message can be sent again to anybody.
//!
//! In: the signature's octets and the recipients of its message. Out: the recipients so far. Memory is
//! bounded: two generations of hashes; when the younger one is full the older one is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Signatures per generation.
const KEPT: usize = 1 << 15;

/// Signatures and their recipients.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Random, so that nobody can choose signatures that count together.
    hasher: RandomState,
    young: HashMap<u64, u32>,
    old: HashMap<u64, u32>,
}

impl Replay {
    /// Adds `recipients` to those of `signature`, and gives the sum.
    pub(super) fn count(&mut self, signature: &str, recipients: u32) -> u32 {
        let key = self.hasher.hash_one(signature);
        let before = self.young.get(&key).copied().or_else(|| self.old.remove(&key)).unwrap_or(0);
        if self.young.len() >= KEPT && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let sum = before.saturating_add(recipients);
        self.young.insert(key, sum);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_add_up_and_memory_does_not() {
        let mut replay = Replay::default();
        assert_eq!(replay.count("a", 3), 3);
        for number in 0..KEPT {
            replay.count(&number.to_string(), 1);
        }
        assert_eq!(replay.count("a", 2), 5, "one generation later it is still known");
        for number in 0..5 * KEPT {
            replay.count(&format!("n{number}"), 1);
        }
        assert_eq!(replay.count("a", 1), 1, "forgotten");
        assert!(replay.young.len().max(replay.old.len()) <= KEPT);
    }
}
