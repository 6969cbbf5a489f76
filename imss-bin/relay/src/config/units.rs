//! Sizes and times as people write them: `50 MiB`, `5 minutes`.

use std::time::Duration;

/// Units of size, and their octets.
const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("bytes", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
/// Units of time, and their milliseconds. A plural `s` may follow the long ones.
const TIMES: [(&str, u64); 11] = [
    ("ms", 1),
    ("millisecond", 1),
    ("s", 1_000),
    ("second", 1_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("week", 604_800_000),
];

/// Octets of a size such as `50 MiB`; `None` if `text` is not one.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, octets) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*octets)
}

/// A time such as `5 minutes`; `None` if `text` is not one.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let single = unit.strip_suffix('s').filter(|single| single.len() > 2).unwrap_or(unit);
    let (_, millis) = TIMES.iter().find(|(name, _)| *name == single)?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = (text.get(..end)?, text.get(end..)?);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("50 MiB", Some(50 << 20)),
            ("50MB", Some(50_000_000)),
            ("1 gib", Some(1 << 30)),
            ("7 bytes", Some(7)),
            ("50", None),
            ("MiB", None),
            ("-1 MiB", None),
            ("1.5 MiB", None),
            ("99999999999999999999 B", None),
            ("18446744073709551615 GiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("5 minutes", Some(300_000)),
            ("1 minute", Some(60_000)),
            ("250ms", Some(250)),
            ("5 days", Some(432_000_000)),
            ("30 s", Some(30_000)),
            ("2h", Some(7_200_000)),
            ("5", None),
            ("5 fortnights", None),
            ("", None),
            ("99999999999999999999 s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
