//! The header of a Word document and its piece table ([MS-DOC] 2.5, 2.8.35, 2.9.38).
//!
//! In: the main stream and the table stream. Out: where the text lies, in reading order, and how
//! many characters each region has. Word 6 and 95 keep the same in other places.

use std::ops::Range;

use crate::archive::le::{length, u16_at, u32_at};
use crate::document::codepage;

/// What a run of the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Shown,
    Comment,
    Hidden,
}

/// Pieces of one text.
const MAX_PIECES: usize = 1 << 20;

/// A run of text in the main stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextPiece {
    /// Its first octet.
    pub(super) start: usize,
    /// Characters.
    pub(super) count: usize,
    /// Two octets a character, else one.
    pub(super) is_wide: bool,
}

impl TextPiece {
    pub(super) fn octets(&self) -> usize {
        self.count.saturating_mul(if self.is_wide { 2 } else { 1 })
    }
}

/// What the header says.
#[derive(Debug, Clone)]
pub(super) struct Fib {
    /// Word 6 or 95: no table stream, text in the writer's code page.
    pub(super) is_old: bool,
    /// The code page of text with one octet a character.
    pub(super) page: u32,
    /// The text in reading order.
    pub(super) pieces: Vec<TextPiece>,
    /// Pieces were left out.
    pub(super) is_cut: bool,
    /// Regions of the text in order, and their characters.
    pub(super) regions: Vec<(Region, usize)>,
    /// Where the table of character formats is.
    pub(super) formats: Option<Range<usize>>,
    /// Where the associated strings are.
    pub(super) strings: Option<Range<usize>>,
    /// Where the authors of comments and of changes are.
    pub(super) commenters: Option<Range<usize>>,
    pub(super) revisers: Option<Range<usize>>,
}

impl Fib {
    /// `None` if this is no Word document, or one before Word 6.
    pub(super) fn read(main: &[u8], table: &[u8]) -> Option<Self> {
        let (magic, version) = (u16_at(main, 0)?, u16_at(main, 2)?);
        if !(matches!(magic, 0xa5ec | 0xa5dc | 0xa697 | 0xa698 | 0xa699) || version >= 100) {
            return None;
        }
        let is_old = version < 0xc1;
        let table = if is_old { main } else { table };
        let range = |at: usize| {
            let (start, octets) = (u32_at(main, at)?, u32_at(main, at.checked_add(4)?)?);
            let start = length(start.into());
            let end = start.checked_add(length(octets.into()))?;
            (octets > 0 && start < table.len()).then_some(start..end.min(table.len()))
        };
        let counts_at = if is_old { 0x34 } else { 0x4c };
        let kinds = [
            Region::Shown,
            Region::Shown,
            Region::Shown,
            Region::Hidden,
            Region::Comment,
            Region::Shown,
            Region::Shown,
            Region::Shown,
        ];
        let count = |place: usize| u32_at(main, counts_at + place * 4).unwrap_or_default();
        let counts = kinds.into_iter().enumerate().map(|(place, kind)| (kind, count(place)));
        // A count above what fits is garbage.
        let regions = counts.map(|(kind, count)| (kind, length(count.into()).min(main.len())));
        let mut fib = Self {
            is_old,
            page: codepage::of_language(u16_at(main, 6)?),
            pieces: Vec::new(),
            is_cut: false,
            regions: regions.collect(),
            formats: range(if is_old { 0xb8 } else { 0xfa }),
            strings: if is_old { None } else { range(0x19a) },
            commenters: if is_old { None } else { range(0x1ba) },
            revisers: if is_old { None } else { range(0x232) },
        };
        let clx = range(if is_old { 0x160 } else { 0x1a2 }).and_then(|range| table.get(range));
        let found = clx.map(|clx| pieces(clx, main.len(), is_old));
        (fib.pieces, fib.is_cut) = found.unwrap_or_default();
        if fib.pieces.is_empty() {
            fib.pieces.extend(one_piece(main, fib.regions.iter().map(|(_, count)| count).sum()));
        }
        Some(fib)
    }
}

/// Text without a piece table lies in one run.
fn one_piece(main: &[u8], characters: usize) -> Option<TextPiece> {
    let start = length(u32_at(main, 0x18)?.into());
    let end = length(u32_at(main, 0x1c)?.into()).min(main.len());
    let octets = end.checked_sub(start).filter(|octets| *octets > 0)?;
    let is_wide = characters > 0 && octets >= characters.saturating_mul(2);
    Some(TextPiece { start, count: if is_wide { octets / 2 } else { octets }, is_wide })
}

/// Reads the piece table, which follows any number of format exceptions; tells whether there were
/// more pieces than a text can have.
fn pieces(clx: &[u8], text_end: usize, is_old: bool) -> (Vec<TextPiece>, bool) {
    let mut at = 0;
    while clx.get(at) == Some(&1) {
        let octets = u16_at(clx, at.saturating_add(1)).map_or(usize::MAX, usize::from);
        at = at.saturating_add(3).saturating_add(octets);
    }
    if clx.get(at) != Some(&2) {
        return (Vec::new(), false);
    }
    let octets = u32_at(clx, at.saturating_add(1)).map_or(0, |octets| length(octets.into()));
    let start = at.saturating_add(5);
    let table = clx.get(start..start.saturating_add(octets).min(clx.len())).unwrap_or_default();
    let listed = table.len().saturating_sub(4) / 12;
    let count = listed.min(MAX_PIECES);
    let piece = |place: usize| {
        let first = u32_at(table, place * 4)?;
        let count = u32_at(table, place * 4 + 4)?.checked_sub(first)?;
        let field = u32_at(table, (count_end(table) + place * 8).checked_add(2)?)?;
        let is_wide = !is_old && field & 0x4000_0000 == 0;
        let start = length((field & 0x3fff_ffff).into());
        let start = if is_wide || is_old { start } else { start / 2 };
        let left = text_end.checked_sub(start)?;
        let most = if is_wide { left / 2 } else { left };
        Some(TextPiece { start, count: length(count.into()).min(most), is_wide })
    };
    // Pieces that overlap could repeat the stream without end.
    let mut room = text_end.saturating_mul(4);
    let mut is_cut = listed > count;
    let known = (0..count).filter_map(piece).take_while(|piece| {
        let fits = piece.octets() <= room;
        room = room.saturating_sub(piece.octets());
        is_cut |= !fits;
        fits
    });
    (known.collect(), is_cut)
}

/// Where the character positions end.
fn count_end(table: &[u8]) -> usize {
    (table.len().saturating_sub(4) / 12 + 1) * 4
}
