//! A property set stream → names and values ([MS-OLEPS]).
//!
//! In: the stream `\x05SummaryInformation` and its kin. Out: properties that are text or numbers.
//! What is cut short or of another type is left out; every list is bounded by the stream's length.

use std::collections::HashMap;

use crate::archive::le::{length, u16_at, u32_at, u64_at};
use crate::document::codepage;

/// Properties read from one section.
const MAX_PROPERTIES: usize = 1000;
/// Longest value, in octets.
const MAX_VALUE: usize = 64 << 10;

/// The first octets of the format identifiers.
const SUMMARY: u32 = 0xf29f_85e0;
const DOCUMENT_SUMMARY: u32 = 0xd5cd_d502;

/// The properties of a stream, named in lower case; those that a user added keep their own names
/// after `custom:`; and whether there were more, or longer ones.
pub(super) fn read(stream: &[u8]) -> (Vec<(String, String)>, bool) {
    let sections = u32_at(stream, 24).unwrap_or_default().min(2);
    let (mut found, mut is_cut) = (Vec::new(), false);
    for section in 0..length(sections.into()) {
        let at = 28 + section * 20;
        let (Some(format), Some(offset)) = (u32_at(stream, at), u32_at(stream, at + 16)) else {
            break;
        };
        if let Some(section) = stream.get(length(offset.into())..) {
            is_cut |= read_section(section, format, &mut found);
        }
    }
    (found, is_cut)
}

/// Tells whether there were more properties than are read, or longer ones.
fn read_section(section: &[u8], format: u32, found: &mut Vec<(String, String)>) -> bool {
    let count = length(u32_at(section, 4).unwrap_or_default().into());
    let mut is_cut = count > MAX_PROPERTIES && section.len() > MAX_PROPERTIES * 8;
    let pairs = (0..count.min(MAX_PROPERTIES)).map_while(|place| {
        let at = 8 + place * 8;
        Some((u32_at(section, at)?, length(u32_at(section, at + 4)?.into())))
    });
    let pairs: Vec<(u32, usize)> = pairs.collect();
    let offset = |id| pairs.iter().find(|(own, _)| *own == id).map(|(_, offset)| *offset);
    let page = offset(1).and_then(|at| u16_at(section, at.checked_add(4)?));
    let page = page.map_or(codepage::WESTERN, u32::from);
    let names = offset(0).map(|at| dictionary(section, at, page)).unwrap_or_default();
    for (id, at) in pairs {
        let name = match (format, names.get(&id)) {
            (_, Some(name)) => format!("custom:{name}"),
            (SUMMARY, None) => summary_name(id).to_owned(),
            (DOCUMENT_SUMMARY, None) => document_name(id).to_owned(),
            (_, None) => summary_name(id).to_owned(),
        };
        is_cut |= is_long(section, at);
        let value = value(section, at, page).filter(|value| !value.trim().is_empty());
        if let Some(value) = value.filter(|_| !name.is_empty() && id > 1) {
            found.push((name, value));
        }
    }
    is_cut
}

fn summary_name(id: u32) -> &'static str {
    match id {
        2 => "title",
        3 => "subject",
        4 => "author",
        5 => "keywords",
        6 => "comments",
        7 => "template",
        8 => "last-author",
        9 => "revision",
        12 => "created",
        13 => "saved",
        18 => "application",
        _ => "",
    }
}

fn document_name(id: u32) -> &'static str {
    match id {
        2 => "category",
        3 => "presentation-format",
        14 => "manager",
        15 => "company",
        26 => "content-type",
        27 => "content-status",
        28 => "language",
        _ => "",
    }
}

/// Whether a value is a text longer than is read.
fn is_long(section: &[u8], at: usize) -> bool {
    let octets = || {
        let unit = match u32_at(section, at)? & 0xffff {
            8 | 30 => 1,
            31 => 2,
            _ => return None,
        };
        let start = at.checked_add(8)?;
        let claimed = length(u32_at(section, at.checked_add(4)?)?.into()).saturating_mul(unit);
        Some(claimed.min(section.len().saturating_sub(start)))
    };
    octets().is_some_and(|octets| octets > MAX_VALUE)
}

/// A value that is text or a number.
fn value(section: &[u8], at: usize, page: u32) -> Option<String> {
    let (kind, at) = (u32_at(section, at)?, at.checked_add(4)?);
    let counted = |unit: usize| {
        let octets = length(u32_at(section, at)?.into()).saturating_mul(unit).min(MAX_VALUE);
        let from = at.checked_add(4)?;
        section.get(from..from.checked_add(octets)?.min(section.len()))
    };
    let text = match kind & 0xffff {
        2 => return u16_at(section, at).map(|number| number.cast_signed().to_string()),
        3 => return u32_at(section, at).map(|number| number.cast_signed().to_string()),
        5 => return u64_at(section, at).map(|bits| f64::from_bits(bits).to_string()),
        11 => return u16_at(section, at).map(|flag| (flag != 0).to_string()),
        30 | 8 => codepage::decode(counted(1)?, page),
        31 => codepage::decode(counted(2)?, 1200),
        64 => return u64_at(section, at).filter(|ticks| *ticks != 0).and_then(date),
        _ => return None,
    };
    Some(text.split('\0').next().unwrap_or_default().trim().to_owned())
}

/// 100 ns ticks since 1601 as a date in RFC 3339; `None` for what no calendar has.
fn date(ticks: u64) -> Option<String> {
    let seconds = (ticks / 10_000_000).checked_sub(11_644_473_600)?;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date of a day number: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let z = days.checked_add(719_468)?;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The names of properties that a user added: no more than there are properties.
fn dictionary(section: &[u8], at: usize, page: u32) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    let count = u32_at(section, at).map_or(0, |count| length(count.into())).min(MAX_PROPERTIES);
    let mut at = at.saturating_add(4);
    for _ in 0..count {
        let (Some(id), Some(letters)) =
            (u32_at(section, at), u32_at(section, at.saturating_add(4)))
        else {
            break;
        };
        let wide = page == 1200;
        let octets = length(letters.into()).saturating_mul(if wide { 2 } else { 1 });
        let from = at.saturating_add(8);
        let Some(name) = section.get(from..from.saturating_add(octets)) else { break };
        let name = codepage::decode(name, page);
        names.insert(id, name.trim_end_matches('\0').to_owned());
        let padded = if wide { octets.next_multiple_of(4) } else { octets };
        at = from.saturating_add(padded);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(116_444_736_000_000_000).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(date(125_911_584_000_000_000).as_deref(), Some("2000-01-01T00:00:00Z"));
        assert_eq!(date(1), None);
        assert!(date(u64::MAX).is_some());
    }
}
