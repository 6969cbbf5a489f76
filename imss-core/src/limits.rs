//! How much work one message may cost, and the running account of it.
//!
//! [`Limits`] is configuration: every field has a unit and a default. A [`Budget`] is one
//! message's account against them, passed by `&mut` through every parser and unpacker. Reaching a
//! limit is never an error that hides content: the caller records it as a
//! [`Gap`](crate::finding::Gap), and policy must say what happens then.
//!
//! This crate reads no clock. Whoever runs the work sets the [`StopFlag`] when time is up, and
//! every loop over input asks [`Budget::check_stop`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

/// Upper bounds on what reading one message may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Octets of one message as received. Default 52,428,800 (50 MiB).
    pub max_message_bytes: u64,
    /// Header fields in one header section. Default 5,000.
    pub max_header_fields: usize,
    /// Octets of one header section. Default 1 MiB.
    pub max_header_bytes: usize,
    /// Entities of any kind found in one message. Default 10,000.
    pub max_entities: usize,
    /// Nesting depth, counting every multipart, attached message and archive. Default 32.
    pub max_layers: usize,
    /// Decoded octets of a single entity. Default 268,435,456 (256 MiB).
    pub max_entity_bytes: u64,
    /// Octets produced by decoding and unpacking, summed over the message. Default 256 MiB. A small
    /// message gets less: 16 times its size, but at least 64 MiB (see [`Budget::for_message`]).
    pub max_total_bytes: u64,
    /// Output octets per input octet of a compressed stream, once the output is past 24 MiB: honest
    /// disk images, logs and tables shrink to nearly nothing, and what is smaller is bounded by
    /// `max_total_bytes` anyway. Default 200.
    pub max_ratio: u64,
    /// Octets of text kept for searching per entity; the rest is searched raw. Default 16 MiB.
    pub max_text_bytes: usize,
    /// Steps of parsing documents, summed over the message. A step is about what reading one octet
    /// costs (5 ns): an object, a cell or a glyph is some dozens. Default 400,000,000, about 2 s.
    pub max_work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 50 << 20,
            max_header_fields: 5_000,
            max_header_bytes: 1 << 20,
            max_entities: 10_000,
            max_layers: 32,
            max_entity_bytes: 256 << 20,
            max_total_bytes: 256 << 20,
            max_ratio: 200,
            max_text_bytes: 16 << 20,
            max_work: 400_000_000,
        }
    }
}

impl Limits {
    /// Tight bounds for fuzz targets and tests: everything ends in milliseconds.
    #[must_use]
    pub fn small() -> Self {
        Self {
            max_message_bytes: 1 << 20,
            max_header_fields: 200,
            max_header_bytes: 64 << 10,
            max_entities: 100,
            max_layers: 8,
            max_entity_bytes: 1 << 20,
            max_total_bytes: 4 << 20,
            max_ratio: 100,
            max_text_bytes: 256 << 10,
            max_work: 4_000_000,
        }
    }
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::max_message_bytes`].
    MessageBytes,
    /// [`Limits::max_header_fields`] or [`Limits::max_header_bytes`].
    Header,
    /// [`Limits::max_entities`].
    Entities,
    /// [`Limits::max_layers`].
    Layers,
    /// [`Limits::max_entity_bytes`].
    EntityBytes,
    /// [`Limits::max_total_bytes`].
    TotalBytes,
    /// [`Limits::max_ratio`].
    Ratio,
    /// [`Limits::max_text_bytes`].
    Text,
    /// [`Limits::max_work`].
    Work,
    /// A bound that a reader has of its own, such as 10,000 links of one document; the gap names it.
    Facts,
    /// The deadline of the run, set from outside through a [`StopFlag`].
    Time,
}

impl Limit {
    /// The word used in logs, records and policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageBytes => "message-bytes",
            Self::Header => "header",
            Self::Entities => "entities",
            Self::Layers => "layers",
            Self::EntityBytes => "entity-bytes",
            Self::TotalBytes => "total-bytes",
            Self::Ratio => "ratio",
            Self::Text => "text",
            Self::Work => "work",
            Self::Facts => "facts",
            Self::Time => "time",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells a running extraction or scan that its time is up. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work that watches this flag to end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work should end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What any message may expand to, however small it is.
const SMALL_MESSAGE_TOTAL_BYTES: u64 = 64 << 20;
/// What a message may expand to, per octet of it.
const TOTAL_PER_OCTET: u64 = 16;

/// Octets of output up to which any ratio is plausible.
pub(crate) const RATIO_FROM: u64 = 24 << 20;

/// One message's running account against its [`Limits`].
#[derive(Debug)]
pub struct Budget<'a> {
    limits: &'a Limits,
    max_total_bytes: u64,
    stop: StopFlag,
    entities: usize,
    total_bytes: u64,
    work: u64,
    left_out: Vec<&'static str>,
}

impl<'a> Budget<'a> {
    /// A fresh account that nobody stops.
    #[must_use]
    pub fn new(limits: &'a Limits) -> Self {
        Self::with_stop(limits, StopFlag::new())
    }

    /// A fresh account that ends early once `stop` is set.
    #[must_use]
    pub fn with_stop(limits: &'a Limits, stop: StopFlag) -> Self {
        Self {
            limits,
            max_total_bytes: limits.max_total_bytes,
            stop,
            entities: 0,
            total_bytes: 0,
            work: 0,
            left_out: Vec::new(),
        }
    }

    /// An account for a message of `octets`: what it may expand to grows with its size, so that a
    /// bomb of some kilobytes cannot take the memory that a large message may need.
    #[must_use]
    pub fn for_message(limits: &'a Limits, stop: StopFlag, octets: u64) -> Self {
        let fair = octets.saturating_mul(TOTAL_PER_OCTET).max(SMALL_MESSAGE_TOTAL_BYTES);
        Self { max_total_bytes: limits.max_total_bytes.min(fair), ..Self::with_stop(limits, stop) }
    }

    /// Counts one more entity.
    ///
    /// # Errors
    ///
    /// [`Limit::Entities`] when it would be one too many, [`Limit::Time`] when time is up.
    pub fn charge_entity(&mut self) -> Result<(), Limit> {
        self.check_stop()?;
        if self.entities >= self.limits.max_entities {
            return Err(Limit::Entities);
        }
        self.entities = self.entities.saturating_add(1);
        Ok(())
    }

    /// Counts `bytes` octets of decoded output.
    ///
    /// # Errors
    ///
    /// [`Limit::TotalBytes`] when the message's total passes its bound, [`Limit::Time`] when time
    /// is up.
    pub fn charge_bytes(&mut self, bytes: u64) -> Result<(), Limit> {
        self.check_stop()?;
        let total = self.total_bytes.saturating_add(bytes);
        if total > self.max_total_bytes {
            return Err(Limit::TotalBytes);
        }
        self.total_bytes = total;
        Ok(())
    }

    /// Counts `steps` of work that produces no octets, or far fewer than it costs: see
    /// [`Limits::max_work`]. Unlike time it is the same on every machine, so a scan can be replayed.
    ///
    /// # Errors
    ///
    /// [`Limit::Work`] once the message's work passes its bound, [`Limit::Time`] when time is up.
    pub fn charge_work(&mut self, steps: u64) -> Result<(), Limit> {
        self.check_stop()?;
        self.work = self.work.saturating_add(steps);
        if self.work > self.limits.max_work { Err(Limit::Work) } else { Ok(()) }
    }

    /// Says that a reader left something out because of a bound of its own, and what. Whoever runs
    /// the reader makes a gap of it: see [`Limit::Facts`].
    pub fn left_out(&mut self, what: &'static str) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// What was left out since this was asked last.
    pub fn take_left_out(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.left_out)
    }

    /// Whether a stream that gave `output` octets for `input` octets is still plausible.
    ///
    /// # Errors
    ///
    /// [`Limit::Ratio`] once the output is past 24 MiB and the ratio above its bound.
    pub fn check_ratio(&self, input: u64, output: u64) -> Result<(), Limit> {
        if output > RATIO_FROM && output / input.max(1) > self.limits.max_ratio {
            return Err(Limit::Ratio);
        }
        Ok(())
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    ///
    /// [`Limit::Time`] once the stop flag is set.
    pub fn check_stop(&self) -> Result<(), Limit> {
        if self.stop.is_stopped() { Err(Limit::Time) } else { Ok(()) }
    }

    /// The bounds of this account.
    #[must_use]
    pub fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// Steps that may still be done: see [`Budget::charge_work`].
    #[must_use]
    pub fn work_left(&self) -> u64 {
        self.limits.max_work.saturating_sub(self.work)
    }

    /// The flag that ends this account, for work that cannot ask the account itself.
    #[must_use]
    pub fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }

    /// Octets that may still be produced.
    #[must_use]
    pub fn bytes_left(&self) -> u64 {
        self.max_total_bytes.saturating_sub(self.total_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_counted_to_the_bound() {
        let limits = Limits { max_entities: 2, ..Limits::small() };
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.charge_entity(), Ok(()));
        assert_eq!(budget.charge_entity(), Ok(()));
        assert_eq!(budget.charge_entity(), Err(Limit::Entities));
    }

    #[test]
    fn a_refused_charge_is_not_booked() {
        let limits = Limits { max_total_bytes: 10, ..Limits::small() };
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.charge_bytes(11), Err(Limit::TotalBytes));
        assert_eq!(budget.charge_bytes(10), Ok(()));
        assert_eq!(budget.bytes_left(), 0);
    }

    #[test]
    fn what_a_message_may_expand_to_grows_with_it() {
        let limits = Limits::default();
        for (octets, total) in [(0, 64 << 20), (10 << 20, 160 << 20), (40 << 20, 256 << 20)] {
            let budget = Budget::for_message(&limits, StopFlag::new(), octets);
            assert_eq!(budget.bytes_left(), total, "{octets}");
        }
    }

    #[test]
    fn small_outputs_may_have_any_ratio() {
        let limits = Limits::small();
        let budget = Budget::new(&limits);
        assert_eq!(budget.check_ratio(1, RATIO_FROM), Ok(()));
        assert_eq!(budget.check_ratio(1, RATIO_FROM + 1), Err(Limit::Ratio));
        assert_eq!(budget.check_ratio(1 << 20, 100 << 20), Ok(()));
    }

    #[test]
    fn a_stop_ends_every_charge() {
        let limits = Limits::small();
        let stop = StopFlag::new();
        let mut budget = Budget::with_stop(&limits, stop.clone());
        stop.stop();
        assert_eq!(budget.charge_entity(), Err(Limit::Time));
        assert_eq!(budget.charge_bytes(1), Err(Limit::Time));
    }
}
