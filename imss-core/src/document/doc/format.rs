//! Which text of a Word document is hidden or deleted ([MS-DOC] 2.8.5, 2.9.33, 2.6.1).
//!
//! In: the table of character formats and its pages. Out: ranges of the main stream, in order.
//! A page that makes no sense hides nothing: text is never lost here.

use std::ops::Range;

use super::fib::Fib;
use crate::archive::le::{length, u16_at, u32_at};
use crate::document::TextKind;
use crate::limits::{Budget, Limit};

/// Octets of a page of formats.
const PAGE: usize = 512;

/// Octets of the main stream that are not shown, and why.
pub(super) type Marks = Vec<(Range<usize>, TextKind)>;

/// The marks, sorted by place.
pub(super) fn hidden(
    fib: &Fib,
    main: &[u8],
    table: &[u8],
    budget: &mut Budget<'_>,
) -> Result<Marks, Limit> {
    let mut marks = Marks::new();
    let Some(bins) = fib.formats.clone().and_then(|range| table.get(range)) else {
        return Ok(marks);
    };
    let number_octets = if fib.is_old { 2 } else { 4 };
    let count = bins.len().saturating_sub(4) / (4 + number_octets);
    // No file needs more pages than it has.
    let count = count.min(main.len() / PAGE + 1);
    for place in 0..count {
        budget.charge_work(64)?;
        let at = (count_of(bins, number_octets) + 1) * 4 + place * number_octets;
        let number = if fib.is_old {
            u16_at(bins, at).map(u32::from)
        } else {
            u32_at(bins, at).map(|number| number & 0x3f_ffff)
        };
        let start = number.and_then(|number| length(number.into()).checked_mul(PAGE));
        let page = start.and_then(|start| main.get(start..start.checked_add(PAGE)?));
        if let Some(page) = page {
            read_page(page, fib.is_old, &mut marks);
        }
    }
    marks.sort_by_key(|(range, _)| range.start);
    Ok(marks)
}

fn count_of(bins: &[u8], number_octets: usize) -> usize {
    bins.len().saturating_sub(4) / (4 + number_octets)
}

fn read_page(page: &[u8], is_old: bool, marks: &mut Marks) {
    let count = usize::from(page.last().copied().unwrap_or_default()).min(101);
    for place in 0..count {
        let range = || {
            let (start, end) = (u32_at(page, place * 4)?, u32_at(page, place * 4 + 4)?);
            (start < end).then(|| length(start.into())..length(end.into()))
        };
        let offset = page.get((count + 1) * 4 + place).copied().map_or(0, usize::from) * 2;
        let Some(range) = range().filter(|_| offset != 0) else { continue };
        let octets = page.get(offset).copied().map_or(0, usize::from);
        let format = page.get(offset + 1..(offset + 1 + octets).min(page.len() - 1));
        if let Some(kind) = format.and_then(|format| kind(format, is_old)) {
            marks.push((range, kind));
        }
    }
}

/// What a list of character properties hides.
fn kind(mut properties: &[u8], is_old: bool) -> Option<TextKind> {
    let mut found = None;
    while !properties.is_empty() {
        let (code, operand) = if is_old {
            let (code, rest) = properties.split_first()?;
            (u16::from(*code), rest)
        } else {
            (u16_at(properties, 0)?, properties.get(2..)?)
        };
        let is_set = operand.first().is_some_and(|octet| octet & 1 != 0);
        match (is_old, code) {
            (false, 0x083c | 0x0818) | (true, 92) if is_set => found = Some(TextKind::Hidden),
            (false, 0x0800) | (true, 65) if is_set => return Some(TextKind::Revision),
            _ => {}
        }
        let octets = if is_old { old_octets(code, operand)? } else { octets(code, operand)? };
        properties = operand.get(octets..)?;
    }
    found
}

/// Octets of a property's operand, by its code ([MS-DOC] 2.2.5.1).
fn octets(code: u16, operand: &[u8]) -> Option<usize> {
    Some(match code >> 13 {
        0 | 1 => 1,
        2 | 4 | 5 => 2,
        3 => 4,
        7 => 3,
        _ if code == 0xd608 => u16_at(operand, 0).map(usize::from)?.saturating_add(1),
        _ => operand.first().copied().map(usize::from)?.saturating_add(1),
    })
}

/// The same for Word 6, whose codes do not tell; `None` for codes that are not for characters.
fn old_octets(code: u16, operand: &[u8]) -> Option<usize> {
    Some(match code {
        65..=67 | 73 | 75 | 81 | 85..=92 | 94 | 98 | 102 | 104 | 106 | 113..=118 | 122 => 1,
        69 | 80 | 84 | 93 | 96 | 97 | 99 | 101 | 107 | 109..=112 => 2,
        70 => 4,
        68 | 95 | 103 | 105 | 108 | 119 | 120 => {
            operand.first().copied().map(usize::from)?.saturating_add(1)
        }
        72 | 82 => 3,
        100 => 5,
        _ => return None,
    })
}
