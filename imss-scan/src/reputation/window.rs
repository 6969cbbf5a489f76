//! Counts of the last minutes or hours, in a few octets.
//!
//! In: events with their time. Out: how many there were in the window that ends now. The window is
//! cut into [`PIECES`] pieces of equal length; the oldest piece leaves as a whole. So everything of
//! the last three quarters of the window is counted, and nothing older than the window ever is.
//!
//! A clock that steps back by less than the window adds to the newest piece; one that steps back
//! further, or a window whose length was changed, starts from nothing.

/// Pieces of a window.
pub const PIECES: u32 = 4;

/// Counts of `LANES` kinds of events over one window. Counts stop at 65,535 a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window<const LANES: usize> {
    /// The number of the newest piece since 1970.
    newest: u32,
    lanes: [[u16; PIECES as usize]; LANES],
}

impl<const LANES: usize> Default for Window<LANES> {
    fn default() -> Self {
        Self { newest: 0, lanes: [[0; PIECES as usize]; LANES] }
    }
}

impl<const LANES: usize> Window<LANES> {
    /// Counts `count` events of the kind `lane` at `now_secs`. An unknown kind is not counted.
    pub fn add(&mut self, window_secs: u32, now_secs: u32, lane: usize, count: u16) {
        self.advance(piece(window_secs, now_secs));
        let place = self.newest % PIECES;
        let slot = usize::try_from(place)
            .ok()
            .and_then(|place| self.lanes.get_mut(lane).and_then(|pieces| pieces.get_mut(place)));
        if let Some(slot) = slot {
            *slot = slot.saturating_add(count);
        }
    }

    /// The counts of each kind in the window that ends at `now_secs`.
    #[must_use]
    pub fn totals(&self, window_secs: u32, now_secs: u32) -> [u32; LANES] {
        let mut seen = *self;
        seen.advance(piece(window_secs, now_secs));
        seen.lanes.map(|pieces| pieces.iter().copied().map(u32::from).sum())
    }

    /// The octets of a stored window, and back by [`Window::from_parts`].
    #[must_use]
    pub fn parts(&self) -> (u32, [[u16; PIECES as usize]; LANES]) {
        (self.newest, self.lanes)
    }

    /// A window as [`Window::parts`] gave it.
    #[must_use]
    pub fn from_parts((newest, lanes): (u32, [[u16; PIECES as usize]; LANES])) -> Self {
        Self { newest, lanes }
    }

    fn advance(&mut self, piece: u32) {
        let back = self.newest.saturating_sub(piece);
        let forward = piece.saturating_sub(self.newest);
        if back >= PIECES || forward >= PIECES {
            *self = Self { newest: piece, ..Self::default() };
            return;
        }
        for _ in 0..forward {
            self.newest = self.newest.saturating_add(1);
            let place = usize::try_from(self.newest % PIECES).unwrap_or(0);
            for pieces in &mut self.lanes {
                if let Some(slot) = pieces.get_mut(place) {
                    *slot = 0;
                }
            }
        }
    }
}

fn piece(window_secs: u32, now_secs: u32) -> u32 {
    now_secs / (window_secs / PIECES).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_leave() {
        let mut window = Window::<2>::default();
        window.add(400, 1_000, 0, 1);
        window.add(400, 1_050, 1, 2);
        let cases = [
            ("both at once", 1_050, [1, 2]),
            ("within three quarters", 1_299, [1, 2]),
            ("out after the whole", 1_400, [0, 0]),
            ("a step back", 900, [1, 2]),
            ("far back", 10, [0, 0]),
        ];
        for (name, now, expected) in cases {
            assert_eq!(window.totals(400, now), expected, "{name}");
        }
        window.add(400, 1_050, 0, u16::MAX);
        assert_eq!(window.totals(400, 1_050), [65_535, 2], "counts stop");
        assert_eq!(window.totals(4_000, 1_050), [0, 0], "another length starts anew");
        window.add(400, 1_050, 7, 1);
        assert_eq!(Window::from_parts(window.parts()), window);
    }

    proptest! {
        #[test]
        fn never_more_than_the_window_never_less_than_three_quarters(
            pauses in prop::collection::vec(0_u32..200, 1..200),
            window_secs in 4_u32..1_000,
            wait in 0_u32..1_500,
        ) {
            let mut window = Window::<1>::default();
            let mut times = Vec::new();
            let mut now = 1_800_000_000_u32;
            for pause in pauses {
                now += pause;
                window.add(window_secs, now, 0, 1);
                times.push(now);
            }
            now += wait;
            let whole = (window_secs / PIECES) * PIECES;
            let newer_than = |age: u32| {
                u32::try_from(times.iter().filter(|time| now - **time < age).count()).unwrap()
            };
            let [counted] = window.totals(window_secs, now);
            prop_assert!(counted <= newer_than(whole));
            prop_assert!(counted >= newer_than(whole / PIECES * (PIECES - 1)));
        }
    }
}
