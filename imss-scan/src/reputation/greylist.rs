//! Greylisting: the first try of an unknown triplet (source, sender, recipient) is put off, a real
//! mail server comes again (RFC 6647).
//!
//! In: triplets with their time. Out: whether this try passes. A source whose mail has passed often
//! enough is approved and no longer put off; an administrator can approve one at once.

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GreySettings {
    /// A try sooner than this after the first is put off again, in seconds.
    pub delay_secs: u32,
    /// A try later than this after the first is a first one, in seconds.
    pub retry_secs: u32,
    /// How long a triplet that passed is remembered after its last message, in seconds.
    pub keep_secs: u32,
    /// After so many triplets that passed a source is approved.
    pub approve_after: u16,
    /// How long a source stays approved after its last message, in seconds.
    pub approved_secs: u32,
}

/// What is known of a triplet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Triplet {
    /// The first try; 0 is none.
    pub first_secs: u32,
    /// The last try.
    pub last_secs: u32,
    /// Whether it has passed.
    pub has_passed: bool,
}

/// What is known of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its triplets that passed.
    pub passes: u16,
    /// Approved until then; 0 is not.
    pub approved_until_secs: u32,
}

/// What becomes of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// The source is approved.
    Approved,
    /// The triplet passed before.
    Known,
    /// It waited long enough: it passes from now on.
    Passed,
    /// It is put off; a try from then on passes.
    Wait {
        /// In seconds since 1970.
        until_secs: u32,
        /// Whether it is the first try.
        is_first: bool,
    },
}

impl Standing {
    /// Approves the source for as long as `settings` says.
    pub fn approve(&mut self, settings: &GreySettings, now_secs: u32) {
        self.passes = self.passes.max(settings.approve_after);
        self.approved_until_secs = now_secs.saturating_add(settings.approved_secs);
    }

    /// Whether the source is approved.
    #[must_use]
    pub fn is_approved(&self, now_secs: u32) -> bool {
        self.approved_until_secs > now_secs
    }

    /// One try of `triplet` at `now_secs`.
    pub fn attempt(
        &mut self,
        triplet: &mut Triplet,
        settings: &GreySettings,
        now_secs: u32,
    ) -> Tried {
        if self.is_approved(now_secs) {
            self.approve(settings, now_secs);
            return Tried::Approved;
        }
        let since_last = now_secs.saturating_sub(triplet.last_secs);
        let since_first = now_secs.saturating_sub(triplet.first_secs);
        if triplet.has_passed && since_last <= settings.keep_secs {
            triplet.last_secs = now_secs;
            return Tried::Known;
        }
        let is_first =
            triplet.has_passed || triplet.first_secs == 0 || since_first > settings.retry_secs;
        if is_first {
            *triplet = Triplet { first_secs: now_secs, last_secs: now_secs, has_passed: false };
        }
        triplet.last_secs = now_secs;
        let until_secs = triplet.first_secs.saturating_add(settings.delay_secs);
        if now_secs < until_secs {
            return Tried::Wait { until_secs, is_first };
        }
        triplet.has_passed = true;
        self.passes = self.passes.saturating_add(1);
        if self.passes >= settings.approve_after {
            self.approve(settings, now_secs);
        }
        Tried::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_795_000_000;
    const SETTINGS: GreySettings = GreySettings {
        delay_secs: 300,
        retry_secs: 10_000,
        keep_secs: 100_000,
        approve_after: 2,
        approved_secs: 1_000_000,
    };

    #[test]
    fn tries_of_one_triplet() {
        let wait = |from: u32, is_first| Tried::Wait { until_secs: NOW + from + 300, is_first };
        let cases: [(&str, &[(u32, Tried)]); 4] = [
            (
                "a mail server",
                &[
                    (0, wait(0, true)),
                    (200, wait(0, false)),
                    (300, Tried::Passed),
                    (301, Tried::Known),
                ],
            ),
            ("too late", &[(0, wait(0, true)), (10_001, wait(10_001, true))]),
            (
                "forgotten",
                &[(0, wait(0, true)), (300, Tried::Passed), (100_301, wait(100_301, true))],
            ),
            (
                "remembered while it is used",
                &[
                    (0, wait(0, true)),
                    (300, Tried::Passed),
                    (90_000, Tried::Known),
                    (180_000, Tried::Known),
                ],
            ),
        ];
        for (name, tries) in cases {
            let (mut source, mut triplet) = (Standing::default(), Triplet::default());
            for (at, expected) in tries {
                let tried = source.attempt(&mut triplet, &SETTINGS, NOW + at);
                assert_eq!(tried, *expected, "{name}, {at}");
            }
        }
    }

    #[test]
    fn a_source_is_approved() {
        let mut source = Standing::default();
        for start in [0, 1_000] {
            let mut triplet = Triplet::default();
            source.attempt(&mut triplet, &SETTINGS, NOW + start);
            let tried = source.attempt(&mut triplet, &SETTINGS, NOW + start + 300);
            assert_eq!(tried, Tried::Passed);
        }
        let mut other = Triplet::default();
        assert_eq!(source.attempt(&mut other, &SETTINGS, NOW + 2_000), Tried::Approved);
        let late = NOW + 2_000 + 1_000_000;
        assert!(matches!(source.attempt(&mut other, &SETTINGS, late), Tried::Wait { .. }));
        source.approve(&SETTINGS, late);
        assert_eq!(source.attempt(&mut other, &SETTINGS, late), Tried::Approved, "at once");
    }
}
