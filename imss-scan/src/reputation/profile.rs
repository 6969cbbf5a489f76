//! What a source sent lately, and when that is too much.
//!
//! In: what each message and each refused recipient showed. Out: the rule that was broken, if one
//! was. Each rule counts in a window of its own: of all messages (the volume) those that were bad
//! (the hits). It is broken when the volume reaches a minimum and the share of hits a rate. A
//! broken rule starts anew, so that an administrator who releases a source gives it a fresh start.

use super::window::Window;

/// The rules, in the order of their windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Messages with the verdict spam or phish.
    Spam,
    /// Messages with malware.
    Virus,
    /// Recipients that do not exist, or that are more than a letter has. It counts recipients, where
    /// the others count messages.
    Harvest,
    /// Messages with the null reverse-path.
    Bounce,
}

impl RuleKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spam, Self::Virus, Self::Harvest, Self::Bounce];

    /// The word in settings and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Virus => "virus",
            Self::Harvest => "harvest",
            Self::Bounce => "bounce",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What it counts.
    pub kind: RuleKind,
    /// The window, in seconds.
    pub window_secs: u32,
    /// Messages in the window below which it is never broken.
    pub min_volume: u32,
    /// The share of bad messages, in percent, from which it is broken.
    pub rate_percent: u32,
    /// How long a source that breaks it is blocked, in seconds; `None` is for good.
    pub block_secs: Option<u32>,
    /// Whether a blocked source reads 4yz and may come again, or 5yz.
    pub is_transient: bool,
}

/// What one message, or one recipient, showed. `None` is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observation {
    /// Whether it was spam.
    pub spam: Option<bool>,
    /// Whether it held malware.
    pub virus: Option<bool>,
    /// Whether the recipient was a guess.
    pub harvest: Option<bool>,
    /// Whether its reverse-path was null.
    pub bounce: Option<bool>,
}

/// The windows of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Profile(pub [Window<2>; 4]);

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// Messages in the window.
    pub volume: u32,
    /// Bad ones of them.
    pub hits: u32,
}

impl Profile {
    /// Counts what was seen at `now_secs`; the first of `rules` that is broken by it.
    pub fn learn(&mut self, rules: &[Rule], seen: Observation, now_secs: u32) -> Option<Broken> {
        let mut broken = None;
        for rule in rules {
            let Some(is_bad) = seen.of(rule.kind) else { continue };
            let Some(window) = self.0.get_mut(place(rule.kind)) else { continue };
            window.add(rule.window_secs, now_secs, 0, 1);
            window.add(rule.window_secs, now_secs, 1, u16::from(is_bad));
            let [volume, hits] = window.totals(rule.window_secs, now_secs);
            let is_broken = is_bad
                && volume >= rule.min_volume
                && u64::from(hits).saturating_mul(100)
                    >= u64::from(volume).saturating_mul(u64::from(rule.rate_percent));
            if is_broken {
                *window = Window::default();
                broken = broken.or(Some(Broken { rule: *rule, volume, hits }));
            }
        }
        broken
    }

    /// Volume and hits of `rule` in its window.
    #[must_use]
    pub fn counts(&self, rule: &Rule, now_secs: u32) -> (u32, u32) {
        let window = self.0.get(place(rule.kind)).copied().unwrap_or_default();
        let [volume, hits] = window.totals(rule.window_secs, now_secs);
        (volume, hits)
    }
}

impl Observation {
    fn of(self, kind: RuleKind) -> Option<bool> {
        match kind {
            RuleKind::Spam => self.spam,
            RuleKind::Virus => self.virus,
            RuleKind::Harvest => self.harvest,
            RuleKind::Bounce => self.bounce,
        }
    }
}

fn place(kind: RuleKind) -> usize {
    RuleKind::ALL.iter().position(|other| *other == kind).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u32 = 3_600;
    const NOW: u32 = 1_795_000_000;

    fn rule(kind: RuleKind) -> Rule {
        let block_secs = Some(HOUR);
        let (min_volume, rate_percent) = (4, 50);
        Rule { kind, window_secs: HOUR, min_volume, rate_percent, block_secs, is_transient: true }
    }

    fn message(spam: bool) -> Observation {
        Observation { spam: Some(spam), ..Observation::default() }
    }

    /// After which message the spam rule is broken; messages come `pause` seconds apart.
    fn broken_after(messages: &[bool], pause: u32) -> Option<usize> {
        let mut profile = Profile::default();
        let mut now = NOW;
        for (count, spam) in messages.iter().enumerate() {
            now += pause;
            let broken = profile.learn(&[rule(RuleKind::Spam)], message(*spam), now);
            if broken.is_some() {
                return Some(count + 1);
            }
        }
        None
    }

    #[test]
    fn when_a_rule_is_broken() {
        let (bad, good) = (true, false);
        let cases: [(&str, &[bool], u32, Option<usize>); 6] = [
            ("below the minimum volume", &[bad, bad, bad], 1, None),
            ("at the minimum", &[bad, bad, bad, bad], 1, Some(4)),
            ("at the rate", &[good, good, bad, bad], 1, Some(4)),
            ("below the rate", &[good, good, good, bad], 1, None),
            ("a good message breaks nothing", &[bad, bad, bad, good], 1, None),
            ("spread over more than the window", &[bad; 20], HOUR, None),
        ];
        for (name, messages, pause, expected) in cases {
            assert_eq!(broken_after(messages, pause), expected, "{name}");
        }
    }

    #[test]
    fn a_broken_rule_starts_anew() {
        let mut profile = Profile::default();
        let rules = [rule(RuleKind::Spam), rule(RuleKind::Virus)];
        for _ in 0..3 {
            assert_eq!(profile.learn(&rules, message(true), NOW), None);
        }
        let broken = profile.learn(&rules, message(true), NOW).unwrap();
        assert_eq!((broken.rule.kind, broken.volume, broken.hits), (RuleKind::Spam, 4, 4));
        assert_eq!(profile.counts(&rules[0], NOW), (0, 0));
        assert_eq!(profile.counts(&rules[1], NOW), (0, 0), "what was not seen is not counted");
        assert_eq!(profile.learn(&rules, message(true), NOW), None);
    }
}
