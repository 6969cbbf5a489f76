//! Names for things: transactions, entities, queries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Our name for one mail transaction (the *queue ID*): 16 characters of Crockford base32.
///
/// 48 bits of milliseconds since 1970, then 16 bits that tell the node apart, then a 16-bit
/// counter: IDs sort by time, and the time can be read back with [`QueueId::unix_millis`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u128);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl QueueId {
    /// Puts an ID together. Only the low 48 bits of `unix_millis` are kept.
    #[must_use]
    pub fn new(unix_millis: u64, node: u16, counter: u16) -> Self {
        let millis = u128::from(unix_millis & 0xFFFF_FFFF_FFFF);
        Self(millis << 32 | u128::from(node) << 16 | u128::from(counter))
    }

    /// When the transaction began, in milliseconds since 1970 (UTC).
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0 >> 32).unwrap_or(u64::MAX)
    }

    /// The ID as ten octets, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 10] {
        let [_, _, _, _, _, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// The inverse of [`QueueId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes.iter().fold(0, |all, byte| all << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 16];
        for (index, place) in text.iter_mut().enumerate() {
            let five = (self.0 >> (75 - 5 * index)) & 31;
            *place = ALPHABET.get(usize::try_from(five).unwrap_or(0)).copied().unwrap_or(b'0');
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The text is not a queue ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a queue ID: expected 16 characters of 0-9 and A-Z without I, L, O and U")]
pub struct QueueIdError;

impl FromStr for QueueId {
    type Err = QueueIdError;

    fn from_str(text: &str) -> Result<Self, QueueIdError> {
        if text.len() != 16 {
            return Err(QueueIdError);
        }
        let mut value = 0_u128;
        for byte in text.bytes() {
            let upper = byte.to_ascii_uppercase();
            let five = ALPHABET.iter().position(|c| *c == upper).ok_or(QueueIdError)?;
            value = value << 5 | u128::try_from(five).map_err(|_| QueueIdError)?;
        }
        Ok(Self(value))
    }
}

impl Serialize for QueueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QueueId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An entity's place in [`Entities`](crate::entity::Entities). The message itself is number 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EntityId(pub u32);

impl EntityId {
    /// The message as a whole.
    pub const MESSAGE: Self = Self(0);

    /// The position in [`Entities`](crate::entity::Entities).
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A question's place in a [`ScanPlan`](crate::plan::ScanPlan).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryId(pub u32);

impl QueryId {
    /// The position in [`ScanPlan::queries`](crate::plan::ScanPlan).
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_survive_text_and_bytes() {
        for (millis, node, counter) in
            [(0, 0, 0), (1_795_353_600_000, 513, 65_535), (u64::MAX, 1, 2)]
        {
            let id = QueueId::new(millis, node, counter);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(QueueId::from_bytes(id.to_bytes()), id);
            assert_eq!(id.unix_millis(), millis & 0xFFFF_FFFF_FFFF);
        }
    }

    #[test]
    fn queue_ids_sort_by_time() {
        let early = QueueId::new(1_000, 9, 9).to_string();
        let late = QueueId::new(1_001, 0, 0).to_string();
        assert!(early < late, "{early} {late}");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "0", "0123456789ABCDEFG", "0123456789ABCDEU", "../../etc/passwd"] {
            assert_eq!(text.parse::<QueueId>(), Err(QueueIdError), "{text}");
        }
    }
}
