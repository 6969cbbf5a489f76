//! Signature sets: versioned, signed bundles of digest lists and rules.
//!
//! A bundle is a folder (or a place on a web server) with `manifest.json`, `manifest.sig` and the files
//! that the manifest names. The signature (Ed25519, base64) is over the manifest's octets, and the
//! manifest holds the SHA-256 of every file: nothing is used that a known key did not sign.
//!
//! A new version is fetched aside, checked, loaded by the engines aside, and only then made the current
//! one; the one before stays for a [roll-back](store::Store::roll_back). Mail is scanned without a
//! pause, by one version or the other.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod bundle;
pub mod source;
pub mod store;
pub mod update;

pub use bundle::{Bundle, BundleError, Key, SigningKey};
pub use source::{FetchError, Source};
pub use store::{Store, StoreError};

/// A version of a set: numbers between dots, compared one by one, so that `1.10` is newer than `1.9`
/// and `2.1.1` newer than `2.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Vec<u64>);

/// The text is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version: write up to 8 numbers with dots between them, such as 2026.11.3")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
            // One spelling for one number.
            let plain = part == "0" || !part.starts_with('0');
            part.parse().ok().filter(|_| digits && plain).ok_or(VersionError)
        };
        let numbers: Vec<u64> = text.split('.').map(number).collect::<Result<_, _>>()?;
        if numbers.len() <= 8 { Ok(Self(numbers)) } else { Err(VersionError) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.pad(&numbers.join("."))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_versions_count() {
        let cases = [
            ("1", "2", Ordering::Less),
            ("1.9", "1.10", Ordering::Less),
            ("2.1", "2.1.1", Ordering::Less),
            ("2026.11.22.3", "2026.11.22.3", Ordering::Equal),
            ("2.0", "1.99", Ordering::Greater),
        ];
        for (one, other, expected) in cases {
            let version = |text: &str| text.parse::<Version>().unwrap();
            assert_eq!(version(one).cmp(&version(other)), expected, "{one} {other}");
        }
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in ["", ".", "1.", "v1", "1.-2", "01", "1.2.3.4.5.6.7.8.9", "1/2", "../1", "+1"] {
            assert_eq!(text.parse::<Version>(), Err(VersionError), "{text}");
        }
    }
}
