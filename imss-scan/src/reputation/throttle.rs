//! How much one source or sender may send, and how slowly an unknown source starts.
//!
//! In: connections and messages with their time. Out: whether this one is too many, and until when
//! the next are refused.

use super::window::Window;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The window, in seconds.
    pub window_secs: u32,
    /// Connections in it; `None` is any number.
    pub max_connections: Option<u32>,
    /// Messages in it; `None` is any number.
    pub max_messages: Option<u32>,
    /// How long one who exceeds it is refused, in seconds.
    pub block_secs: u32,
}

/// What is counted of one source or sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Connections.
    pub connections: Window<1>,
    /// Messages.
    pub messages: Window<1>,
    /// Refused until then; 0 is not.
    pub until_secs: u32,
}

/// One who sent too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Refused until then.
    pub until_secs: u32,
    /// Whether this event is the one too many, or came after it.
    pub is_new: bool,
}

impl Throttle {
    /// Counts a connection.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]: it is one too many, or comes while connections are refused.
    pub fn connection(&mut self, allowed: &Allowance, now_secs: u32) -> Result<(), Exceeded> {
        self.refused(now_secs)?;
        self.connections.add(allowed.window_secs, now_secs, 0, 1);
        let [counted] = self.connections.totals(allowed.window_secs, now_secs);
        self.judge(counted, allowed.max_connections, allowed, now_secs)
    }

    /// Counts a message.
    ///
    /// # Errors
    ///
    /// [`Exceeded`].
    pub fn message(&mut self, allowed: &Allowance, now_secs: u32) -> Result<(), Exceeded> {
        self.refused(now_secs)?;
        self.messages.add(allowed.window_secs, now_secs, 0, 1);
        let [counted] = self.messages.totals(allowed.window_secs, now_secs);
        self.judge(counted, allowed.max_messages, allowed, now_secs)
    }

    /// Whether everything is refused at `now_secs`.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], with `is_new` false.
    pub fn refused(&self, now_secs: u32) -> Result<(), Exceeded> {
        if self.until_secs <= now_secs {
            return Ok(());
        }
        Err(Exceeded { until_secs: self.until_secs, is_new: false })
    }

    /// Forgets everything: a fresh start.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    fn judge(
        &mut self,
        counted: u32,
        max: Option<u32>,
        allowed: &Allowance,
        now_secs: u32,
    ) -> Result<(), Exceeded> {
        if max.is_none_or(|max| counted <= max) {
            return Ok(());
        }
        let until_secs = now_secs.saturating_add(allowed.block_secs);
        // After the block it starts from nothing, or the same window would refuse it again.
        *self = Self { until_secs, ..Self::default() };
        Err(Exceeded { until_secs, is_new: true })
    }
}

/// How an unknown source may grow: so many messages in its first period, and so many times more in
/// each that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// A period, in seconds.
    pub period_secs: u32,
    /// Messages in the first period.
    pub first: u32,
    /// The factor from one period to the next, at least 1.
    pub factor: u32,
    /// Periods after which a source is no longer unknown.
    pub periods: u32,
}

/// What is counted of an unknown source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlowStart {
    /// When the source was first seen; 0 is never.
    pub first_secs: u32,
    /// The period that is counted.
    pub period: u16,
    /// Messages in it.
    pub count: u16,
}

impl SlowStart {
    /// Counts a message.
    ///
    /// # Errors
    ///
    /// When the next period begins, in seconds: this one is full.
    pub fn message(&mut self, growth: &Growth, now_secs: u32) -> Result<(), u32> {
        if self.first_secs == 0 {
            self.first_secs = now_secs;
        }
        let length = growth.period_secs.max(1);
        let period = now_secs.saturating_sub(self.first_secs) / length;
        if period >= growth.periods {
            return Ok(());
        }
        let short = u16::try_from(period).unwrap_or(u16::MAX);
        if self.period != short {
            (self.period, self.count) = (short, 0);
        }
        let allowed = growth.first.saturating_mul(growth.factor.saturating_pow(period));
        if u32::from(self.count) >= allowed {
            let end = period.saturating_add(1).saturating_mul(length);
            return Err(self.first_secs.saturating_add(end));
        }
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_795_000_000;

    #[test]
    fn connections_and_messages() {
        let allowed = Allowance {
            window_secs: 60,
            max_connections: Some(2),
            max_messages: Some(3),
            block_secs: 600,
        };
        let mut one = Throttle::default();
        assert_eq!([one.connection(&allowed, NOW), one.connection(&allowed, NOW)], [Ok(()); 2]);
        let until_secs = NOW + 600;
        let too_many = Err(Exceeded { until_secs, is_new: true });
        assert_eq!(one.connection(&allowed, NOW), too_many);
        let refused = Err(Exceeded { until_secs, is_new: false });
        assert_eq!(one.message(&allowed, NOW + 599), refused, "all of it");
        assert_eq!(one.connection(&allowed, NOW + 600), Ok(()), "by itself");
        for _ in 0..3 {
            assert_eq!(one.message(&allowed, NOW + 601), Ok(()));
        }
        assert!(one.message(&allowed, NOW + 602).is_err());
        one.release();
        assert_eq!(one.message(&allowed, NOW + 602), Ok(()), "by an administrator");
        let none = Allowance { max_connections: None, max_messages: None, ..allowed };
        assert!((0..1000).all(|_| one.connection(&none, NOW).is_ok()));
    }

    #[test]
    fn an_unknown_source_grows() {
        let growth = Growth { period_secs: 100, first: 2, factor: 3, periods: 3 };
        let mut source = SlowStart::default();
        let mut sent = |from: u32, tries: u32| {
            (0..tries).filter(|_| source.message(&growth, NOW + from).is_ok()).count()
        };
        let cases = [
            ("first period", 0, 2),
            ("still the first", 99, 0),
            ("second", 100, 6),
            ("third", 250, 18),
            ("known", 300, 100),
        ];
        for (name, from, expected) in cases {
            assert_eq!(sent(from, 100), expected, "{name}");
        }
        let mut other = SlowStart::default();
        let all: Vec<_> = (0..3).map(|_| other.message(&growth, NOW)).collect();
        assert_eq!(all, [Ok(()), Ok(()), Err(NOW + 100)]);
    }
}
