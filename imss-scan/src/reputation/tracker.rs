//! A table of a bounded number of values by a 64-bit key; the one untouched for longest goes first.
//!
//! In: keys. Out: values, in constant time. Memory grows with what is kept, in steps of
//! `CHUNK` values, never by doubling; [`Tracker::bytes`] says how much it is. Changed values are
//! remembered until [`Tracker::take_changed`] collects them, so that storing them costs what
//! changed and not what there is.

use std::collections::HashMap;
use std::mem::size_of;

/// Values allocated at once.
const CHUNK: usize = 1_024;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// The table. See the module.
#[derive(Debug)]
pub struct Tracker<V> {
    index: HashMap<u64, u32>,
    chunks: Vec<Vec<Slot<V>>>,
    capacity: usize,
    newest: u32,
    oldest: u32,
    changed: Vec<u32>,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    newer: u32,
    older: u32,
    is_changed: bool,
    value: V,
}

impl<V: Default> Tracker<V> {
    /// A table of at most `capacity` values (at least one, at most 2³¹).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashMap::new(),
            chunks: Vec::new(),
            capacity: capacity.clamp(1, 1 << 31),
            newest: NONE,
            oldest: NONE,
            changed: Vec::new(),
        }
    }

    /// Changes the value of `key`; a new one if there is none, in the place of the oldest if the
    /// table is full.
    pub fn update<R>(&mut self, key: u64, change: impl FnOnce(&mut V) -> R) -> R {
        let place = match self.index.get(&key) {
            Some(place) => *place,
            None => self.insert(key),
        };
        self.unlink(place);
        self.link(place);
        let mut newly_changed = false;
        let result = match self.slot_mut(place) {
            Some(slot) => {
                newly_changed = !std::mem::replace(&mut slot.is_changed, true);
                change(&mut slot.value)
            }
            // Cannot be: every place of the index has its slot.
            None => change(&mut V::default()),
        };
        if newly_changed {
            self.changed.push(place);
        }
        result
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<&V> {
        let place = *self.index.get(&key)?;
        self.slot(place).map(|slot| &slot.value)
    }

    /// Calls `each` with every value that was changed since the last call.
    pub fn take_changed(&mut self, mut each: impl FnMut(u64, &V)) {
        for place in std::mem::take(&mut self.changed) {
            if let Some(slot) = self.slot_mut(place) {
                slot.is_changed = false;
                each(slot.key, &slot.value);
            }
        }
    }

    /// All values, the one untouched for longest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let first = self.slot(self.oldest);
        let newer = |slot: &&Slot<V>| self.slot(slot.newer);
        std::iter::successors(first, newer).map(|slot| (slot.key, &slot.value))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Octets of memory the table has allocated, without what values point to.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A hash table has one control octet per place and is at most seven eighths full.
        let places = self.index.capacity().div_ceil(7).saturating_mul(8).next_power_of_two();
        let index = places.saturating_mul(size_of::<(u64, u32)>().saturating_add(1));
        let slots: usize = self.chunks.iter().map(Vec::capacity).sum();
        let slots = slots.saturating_mul(size_of::<Slot<V>>());
        let changed = self.changed.capacity().saturating_mul(size_of::<u32>());
        let chunks = self.chunks.capacity().saturating_mul(size_of::<Vec<Slot<V>>>());
        index.saturating_add(slots).saturating_add(changed).saturating_add(chunks)
    }

    /// A place for `key`, not linked.
    fn insert(&mut self, key: u64) -> u32 {
        let place =
            if self.index.len() < self.capacity { self.append(key) } else { self.reuse(key) };
        self.index.insert(key, place);
        place
    }

    fn append(&mut self, key: u64) -> u32 {
        let place = u32::try_from(self.index.len()).unwrap_or(NONE);
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK.min(self.capacity)));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let value = V::default();
            chunk.push(Slot { key, newer: NONE, older: NONE, is_changed: false, value });
        }
        place
    }

    fn reuse(&mut self, key: u64) -> u32 {
        let place = self.oldest;
        self.unlink(place);
        if let Some(slot) = self.slot_mut(place) {
            let evicted = std::mem::replace(&mut slot.key, key);
            slot.value = V::default();
            self.index.remove(&evicted);
        }
        place
    }

    fn unlink(&mut self, place: u32) {
        let Some(slot) = self.slot_mut(place) else { return };
        let (newer, older) = (slot.newer, slot.older);
        (slot.newer, slot.older) = (NONE, NONE);
        if self.newest == place {
            self.newest = older;
        }
        if self.oldest == place {
            self.oldest = newer;
        }
        if let Some(slot) = self.slot_mut(newer) {
            slot.older = older;
        }
        if let Some(slot) = self.slot_mut(older) {
            slot.newer = newer;
        }
    }

    /// Makes the unlinked `place` the newest.
    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        if let Some(slot) = self.slot_mut(place) {
            slot.older = before;
        }
        match self.slot_mut(before) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
    }

    fn slot(&self, place: u32) -> Option<&Slot<V>> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn slot_mut(&mut self, place: u32) -> Option<&mut Slot<V>> {
        let place = usize::try_from(place).ok()?;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::source::Source;
    use super::*;

    fn keys(table: &Tracker<u32>) -> Vec<u64> {
        table.iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn the_one_untouched_for_longest_goes() {
        let mut table = Tracker::<u32>::new(2);
        for key in [1, 2, 1, 3] {
            table.update(key, |value| *value += 1);
        }
        assert_eq!(keys(&table), [1, 3]);
        assert_eq!((table.get(1), table.get(2), table.get(3)), (Some(&2), None, Some(&1)));
        let mut changed = Vec::new();
        table.take_changed(|key, value| changed.push((key, *value)));
        changed.sort_unstable();
        assert_eq!(changed, [(1, 2), (3, 1)]);
        table.take_changed(|_, _| panic!("nothing changed since"));
    }

    #[test]
    fn a_million_sources_cost_less_than_200_mb() {
        let mut table = Tracker::<Source>::new(1_000_000);
        for key in 0..1_000_000 {
            table.update(key, |source| source.throttle.until_secs = 1);
        }
        // Stored as it goes, as the relay does: what waits to be stored is small.
        table.take_changed(|_, _| {});
        assert_eq!(table.len(), 1_000_000);
        assert!(table.bytes() < 200_000_000, "{} octets", table.bytes());
        table.update(1_000_000, |_| {});
        assert_eq!(table.len(), 1_000_000, "and no more than that");
    }

    proptest! {
        #[test]
        fn as_a_simple_queue_would(
            touched in prop::collection::vec(0_u64..40, 0..400),
            capacity in 1_usize..30,
        ) {
            let mut table = Tracker::<u32>::new(capacity);
            let mut model: VecDeque<(u64, u32)> = VecDeque::new();
            for key in touched {
                table.update(key, |value| *value += 1);
                let known = model.iter().position(|(other, _)| *other == key);
                let count = known.and_then(|place| model.remove(place)).map_or(0, |(_, n)| n);
                if model.len() == capacity {
                    model.pop_front();
                }
                model.push_back((key, count + 1));
            }
            let all: Vec<_> = table.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert_eq!(all, Vec::from(model));
            prop_assert!(table.len() <= capacity);
        }
    }
}
