//! Counters as they are stored: one source, one sender or one triplet in some octets.
//!
//! In: values. Out: octets, and back. Octets that are none of ours give `None`.

use imss_scan::reputation::greylist::{Standing, Triplet};
use imss_scan::reputation::profile::Profile;
use imss_scan::reputation::source::Source;
use imss_scan::reputation::throttle::{SlowStart, Throttle};
use imss_scan::reputation::window::Window;

/// What is remembered of a reverse-path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// How much it sent.
    pub throttle: Throttle,
    /// The address, once it was refused.
    pub address: Option<Box<str>>,
}

/// What is remembered of a triplet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its tries.
    pub triplet: Triplet,
    /// Who waits, until it passes.
    pub waiting: Option<Box<Waiting>>,
}

/// A sender that is put off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The source.
    pub source: u64,
    /// The reverse-path.
    pub sender: Box<str>,
    /// The forward-path.
    pub recipient: Box<str>,
}

/// One stored value, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counter {
    /// A source.
    Source(u64, Source),
    /// A reverse-path.
    Sender(u64, Sender),
    /// A triplet.
    Triplet(u64, Known),
}

impl Counter {
    /// The octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(160));
        match self {
            Self::Source(key, source) => {
                out.0.push(1);
                out.u64(*key);
                source.profile.0.iter().for_each(|window| out.window(window));
                out.throttle(&source.throttle);
                out.u32(source.slow_start.first_secs);
                out.u16(source.slow_start.period);
                out.u16(source.slow_start.count);
                out.u16(source.standing.passes);
                out.u32(source.standing.approved_until_secs);
            }
            Self::Sender(key, sender) => {
                out.0.push(2);
                out.u64(*key);
                out.throttle(&sender.throttle);
                out.text(sender.address.as_deref().unwrap_or_default());
            }
            Self::Triplet(key, Known { triplet, waiting }) => {
                out.0.push(3);
                out.u64(*key);
                out.u32(triplet.first_secs);
                out.u32(triplet.last_secs);
                out.0.push(u8::from(triplet.has_passed));
                if let Some(waiting) = waiting {
                    out.u64(waiting.source);
                    out.text(&waiting.sender);
                    out.text(&waiting.recipient);
                }
            }
        }
        out.0
    }

    /// The value of stored octets.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let mut input = Reader(octets);
        let (kind, key) = (input.u8()?, input.u64()?);
        let counter = match kind {
            1 => Self::Source(key, input.source()?),
            2 => {
                let throttle = input.throttle()?;
                let address = Some(input.text()?).filter(|text| !text.is_empty());
                Self::Sender(key, Sender { throttle, address })
            }
            3 => {
                let (first_secs, last_secs) = (input.u32()?, input.u32()?);
                let has_passed = input.u8()? != 0;
                let waiting = if input.0.is_empty() { None } else { Some(input.waiting()?) };
                let triplet = Triplet { first_secs, last_secs, has_passed };
                Self::Triplet(key, Known { triplet, waiting })
            }
            _ => return None,
        };
        input.0.is_empty().then_some(counter)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn window<const LANES: usize>(&mut self, window: &Window<LANES>) {
        let (newest, lanes) = window.parts();
        self.u32(newest);
        lanes.iter().flatten().for_each(|count| self.u16(*count));
    }

    fn throttle(&mut self, throttle: &Throttle) {
        self.window(&throttle.connections);
        self.window(&throttle.messages);
        self.u32(throttle.until_secs);
    }

    /// Paths are at most some hundred octets; a longer text is cut.
    fn text(&mut self, text: &str) {
        let text = text.get(..text.floor_char_boundary(4_096)).unwrap_or_default();
        self.u16(u16::try_from(text.len()).unwrap_or(0));
        self.0.extend_from_slice(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn window<const LANES: usize>(&mut self) -> Option<Window<LANES>> {
        let newest = self.u32()?;
        let (_, mut lanes) = Window::<LANES>::default().parts();
        for count in lanes.iter_mut().flatten() {
            *count = self.u16()?;
        }
        Some(Window::from_parts((newest, lanes)))
    }

    fn throttle(&mut self) -> Option<Throttle> {
        let (connections, messages) = (self.window()?, self.window()?);
        Some(Throttle { connections, messages, until_secs: self.u32()? })
    }

    fn source(&mut self) -> Option<Source> {
        let mut profile = Profile::default();
        for window in &mut profile.0 {
            *window = self.window()?;
        }
        let throttle = self.throttle()?;
        let (first_secs, period, count) = (self.u32()?, self.u16()?, self.u16()?);
        let slow_start = SlowStart { first_secs, period, count };
        let (passes, approved_until_secs) = (self.u16()?, self.u32()?);
        let standing = Standing { passes, approved_until_secs };
        Some(Source { profile, throttle, slow_start, standing })
    }

    fn text(&mut self) -> Option<Box<str>> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok().map(Into::into)
    }

    fn waiting(&mut self) -> Option<Box<Waiting>> {
        let (source, sender, recipient) = (self.u64()?, self.text()?, self.text()?);
        Some(Box::new(Waiting { source, sender, recipient }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut source = Source::default();
        source.profile.0[2].add(3_600, 1_795_000_000, 1, 7);
        source.throttle.until_secs = 9;
        source.slow_start = SlowStart { first_secs: 1, period: 2, count: 3 };
        source.standing = Standing { passes: 4, approved_until_secs: 5 };
        let sender = Sender { throttle: source.throttle, address: Some("ü@a.example".into()) };
        let triplet = Triplet { first_secs: 1, last_secs: 2, has_passed: true };
        let waiting = Waiting { source: 3, sender: "".into(), recipient: "b@c".into() };
        for counter in [
            Counter::Source(u64::MAX, source),
            Counter::Sender(1, sender),
            Counter::Sender(2, Sender::default()),
            Counter::Triplet(3, Known { triplet, waiting: Some(Box::new(waiting)) }),
            Counter::Triplet(4, Known { triplet, waiting: None }),
        ] {
            let octets = counter.encode();
            assert_eq!(Counter::decode(&octets), Some(counter.clone()));
            let cut = octets.get(..octets.len() - 1).unwrap();
            assert_ne!(Counter::decode(cut), Some(counter));
        }
        assert_eq!(Counter::decode(&[]), None);
    }
}
