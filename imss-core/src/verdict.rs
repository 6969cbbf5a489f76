//! A message's class, and the points it is built from.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message's class. The order is the order of precedence: the greatest one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was looked at and nothing was found.
    Clean,
    /// Solicited bulk: newsletters, marketing, notifications.
    Graymail,
    /// A rule of the policy matched and acted, and nothing worse is known.
    Policy,
    /// Something could not be looked at, and nothing worse is known.
    Unscannable,
    /// Unsolicited bulk.
    Spam,
    /// Likely malicious by structure or behaviour, without a signature.
    Suspicious,
    /// An attempt to obtain secrets or money by pretence.
    Phish,
    /// Malware was found.
    Infected,
}

impl Verdict {
    /// The word used in logs, JSON and policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Graymail => "graymail",
            Self::Policy => "policy",
            Self::Unscannable => "unscannable",
            Self::Spam => "spam",
            Self::Suspicious => "suspicious",
            Self::Phish => "phish",
            Self::Infected => "infected",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Points, in exact hundredths, so that the reasons add up to the score to the last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Score(i64);

impl Score {
    /// No points.
    pub const ZERO: Self = Self(0);

    /// Whole points.
    #[must_use]
    pub const fn points(points: i32) -> Self {
        Self(points as i64 * 100)
    }

    /// Hundredths of a point.
    #[must_use]
    pub const fn hundredths(hundredths: i64) -> Self {
        Self(hundredths)
    }

    /// The value in hundredths of a point.
    #[must_use]
    pub const fn as_hundredths(self) -> i64 {
        self.0
    }

    /// The nearest score to `points`; not-a-number is zero, and more than a million is a million.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a range that i64 holds")]
    pub fn from_f64(points: f64) -> Self {
        Self((points.clamp(-1e6, 1e6) * 100.0).round() as i64)
    }

    /// The value as a fraction, for output only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people and JSON, never compared")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Score {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        match part {
            0 => write!(f, "{sign}{whole}"),
            _ if part % 10 == 0 => write!(f, "{sign}{whole}.{}", part / 10),
            _ => write!(f, "{sign}{whole}.{part:02}"),
        }
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::from_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_as_people_write_them() {
        for (hundredths, text) in [(0, "0"), (500, "5"), (550, "5.5"), (-125, "-1.25"), (5, "0.05")]
        {
            assert_eq!(Score::hundredths(hundredths).to_string(), text);
        }
        assert_eq!(Score::from_f64(f64::NAN), Score::ZERO);
        assert_eq!(Score::from_f64(4.35), Score::hundredths(435));
    }

    #[test]
    fn the_worst_class_is_the_greatest() {
        assert!(Verdict::Infected > Verdict::Phish);
        assert!(Verdict::Unscannable > Verdict::Policy);
        assert!(Verdict::Clean < Verdict::Graymail);
    }
}
