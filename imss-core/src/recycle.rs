//! Room for large contents, used again from one content to the next. Memory that the system gives
//! anew is cleared page by page, which costs as much as decoding into it.
//!
//! In: contents that nobody holds any more. Out: empty room for the next. Nothing of an old content
//! shows: room has a length of zero. At most [`MAX_KEPT`] octets are kept, whatever is read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Octets of room that is kept for later, in all.
pub const MAX_KEPT: usize = 24 << 20;

/// Octets of the smallest room that is worth keeping.
const MIN_KEPT: usize = 256 << 10;

/// Empty room for `wanted` octets at least, and at most half as much again if it was used before.
#[must_use]
pub fn room(wanted: usize) -> Vec<u8> {
    if wanted >= MIN_KEPT {
        let mut shelf = shelf();
        if let Some(used) = shelf.take(wanted) {
            return used;
        }
        // What does not fit now makes place for what does: the two together would be more memory
        // than the contents need.
        let left = shelf.octets.saturating_sub(wanted);
        let dropped = shelf.keep(left);
        drop(shelf);
        drop(dropped);
    }
    Vec::with_capacity(wanted)
}

/// Moves what `bytes` holds to room for `wanted` octets, if it has less.
pub fn grow(bytes: &mut Vec<u8>, wanted: usize) {
    if bytes.capacity() < wanted {
        let mut larger = room(wanted);
        larger.extend_from_slice(bytes);
        give_back(std::mem::replace(bytes, larger));
    }
}

/// A content whose room is kept for another when nobody holds it any more.
#[must_use]
pub fn bytes(mut content: Vec<u8>) -> Bytes {
    trim(&mut content);
    if content.capacity() < MIN_KEPT { content.into() } else { Bytes::from_owner(Content(content)) }
}

/// Gives up much room to spare: it would be held as long as the content, and nobody counts it.
pub fn trim(content: &mut Vec<u8>) {
    if content.capacity() > fit(content.len()) {
        content.shrink_to_fit();
    }
}

/// Keeps room that nobody needs any more for later.
pub fn give_back(content: Vec<u8>) {
    if (MIN_KEPT..=MAX_KEPT).contains(&content.capacity()) {
        let dropped = shelf().put(content);
        // Giving memory back to the system takes a while: not with the lock held.
        drop(dropped);
    }
}

/// Octets of the largest room for a content of `length`.
fn fit(length: usize) -> usize {
    length.saturating_add(length / 2)
}

struct Content(Vec<u8>);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { rooms: VecDeque::new(), octets: 0 });

fn shelf() -> MutexGuard<'static, Shelf> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Empty rooms, the oldest first.
struct Shelf {
    rooms: VecDeque<Vec<u8>>,
    octets: usize,
}

impl Shelf {
    /// The smallest room that fits.
    fn take(&mut self, wanted: usize) -> Option<Vec<u8>> {
        let fits = wanted..=fit(wanted);
        let found =
            self.rooms.iter().enumerate().filter(|(_, room)| fits.contains(&room.capacity()));
        let (place, _) = found.min_by_key(|(_, room)| room.capacity())?;
        let room = self.rooms.remove(place)?;
        self.octets = self.octets.saturating_sub(room.capacity());
        Some(room)
    }

    /// Puts a room on the shelf. What it has no space for is returned.
    fn put(&mut self, mut room: Vec<u8>) -> Vec<Vec<u8>> {
        room.clear();
        self.octets = self.octets.saturating_add(room.capacity());
        self.rooms.push_back(room);
        self.keep(MAX_KEPT)
    }

    /// Keeps `most` octets and returns the rest: the oldest go first.
    fn keep(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut dropped = Vec::new();
        while self.octets > most
            && let Some(oldest) = self.rooms.pop_front()
        {
            self.octets = self.octets.saturating_sub(oldest.capacity());
            dropped.push(oldest);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf_of(sizes: &[usize]) -> Shelf {
        let mut shelf = Shelf { rooms: VecDeque::new(), octets: 0 };
        for size in sizes {
            assert!(shelf.put(Vec::with_capacity(*size)).is_empty());
        }
        shelf
    }

    #[test]
    fn the_smallest_room_that_fits_is_taken() {
        let (k, m) = (1 << 10, 1 << 20);
        let cases = [
            ("just right", 900 * k, Some(m)),
            ("as large as wanted", m, Some(m)),
            ("nothing so large", 9 * m, None),
            ("all much too large or too small", 400 * k, None),
            ("the smaller of two", 3 * m, Some(3 * m)),
        ];
        for (name, wanted, expected) in cases {
            let mut shelf = shelf_of(&[4 * m, m, 3 * m, 300 * k]);
            let before = shelf.octets;
            let taken = shelf.take(wanted).map(|room| room.capacity());
            assert_eq!(taken, expected, "{name}");
            assert_eq!(before - shelf.octets, expected.unwrap_or(0), "{name}");
        }
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let mut shelf = shelf_of(&[MAX_KEPT / 2, MAX_KEPT / 4]);
        let dropped = shelf.put(Vec::with_capacity(MAX_KEPT / 2));
        assert_eq!(dropped.iter().map(Vec::capacity).collect::<Vec<_>>(), [MAX_KEPT / 2]);
        assert_eq!(shelf.octets, MAX_KEPT / 4 + MAX_KEPT / 2);
    }

    #[test]
    fn old_content_never_shows() {
        let mut shelf = shelf_of(&[]);
        shelf.put(vec![7; MIN_KEPT]);
        let room = shelf.take(MIN_KEPT).unwrap();
        assert!(room.is_empty() && room.capacity() >= MIN_KEPT);
    }

    #[test]
    fn contents_are_what_they_were() {
        for size in [0, 1, MIN_KEPT - 1, MIN_KEPT, 3 * MIN_KEPT] {
            let mut content = room(size);
            content.extend((0..=250_u8).cycle().take(size));
            let copy = content.clone();
            grow(&mut content, size * 2);
            assert!(content.capacity() >= size * 2);
            let content = bytes(content);
            assert!(content == copy, "{size}");
            assert!(content.slice(size / 2..) == copy[size / 2..], "{size}");
        }
    }
}
