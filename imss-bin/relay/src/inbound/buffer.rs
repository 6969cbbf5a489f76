//! What a connection has read and the session has not used up yet.
//!
//! It is as small as a command between messages and as large as a good read inside one: thousands of
//! clients that wait cost little, and a message that streams is read in large pieces.

/// Octets read at once inside a message; more than the longest command line.
const BUFFER_BYTES: usize = 64 << 10;
/// Octets read at once between messages: a client that waits costs no more than it must.
const IDLE_BYTES: usize = 4 << 10;

/// Octets that were received and not consumed yet.
#[derive(Default)]
pub(super) struct Buffer {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets).min(self.end);
    }

    /// Where to read to. What is left, never more than a line, moves to the front.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.octets.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        if self.end == self.octets.len() {
            self.grow_to(self.end.saturating_mul(2).clamp(IDLE_BYTES, BUFFER_BYTES));
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    /// Makes it as large as messages want it.
    pub(super) fn make_room(&mut self) {
        self.grow_to(BUFFER_BYTES);
    }

    fn grow_to(&mut self, octets: usize) {
        if self.octets.len() < octets {
            let mut larger = std::mem::take(&mut self.octets).into_vec();
            larger.resize(octets, 0);
            self.octets = larger.into_boxed_slice();
        }
    }

    /// Gives back what only messages need, if nothing is left to read.
    pub(super) fn shrink(&mut self) {
        if self.octets.len() > IDLE_BYTES && self.start == self.end {
            *self = Self::default();
        }
    }

    pub(super) fn add(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets).min(self.octets.len());
    }
}
