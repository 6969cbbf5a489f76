//! LZW with codes that grow: compress (`.Z`), and what ARC and ZOO made of it.
//!
//! In: packed octets and the variant. Out: a reader of the content. Memory is fixed: a table of
//! 65,536 codes. A code that is not in the table yet is an error.

use std::io::{Error, ErrorKind, Read};

/// Bits of the first codes.
const FIRST_BITS: u32 = 9;
/// The code that empties the table, where the variant has one.
const CLEAR: usize = 256;

/// A variant of the format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    /// Bits of the longest codes, at most 16.
    pub(super) max_bits: u32,
    /// Whether [`CLEAR`] empties the table.
    pub(super) clears: bool,
    /// Whether codes are written in groups of eight, and a change of width starts a new group.
    pub(super) groups: bool,
    /// The code that ends the content.
    pub(super) end: Option<usize>,
}

/// Decodes one content.
pub(super) struct Lzw<'a> {
    input: &'a [u8],
    variant: Variant,
    /// Where the next code starts, and where the current group started, in bits.
    at: usize,
    group: usize,
    bits: u32,
    /// For each code above 255 the code before it and its last octet.
    table: Vec<(u16, u8)>,
    previous: Option<usize>,
    /// The first octet of what the previous code stood for.
    first: u8,
    /// Decoded octets that were not read yet, last one first.
    stack: Vec<u8>,
    ended: bool,
}

impl<'a> Lzw<'a> {
    /// A decoder of `input`.
    pub(super) fn new(input: &'a [u8], variant: Variant) -> Self {
        Self {
            input,
            variant,
            at: 0,
            group: 0,
            bits: FIRST_BITS,
            table: Vec::new(),
            previous: None,
            first: 0,
            stack: Vec::new(),
            ended: false,
        }
    }

    /// The first code that stands for more than one octet.
    fn base(&self) -> usize {
        let end = self.variant.end.map_or(0, |end| end.saturating_add(1));
        let clear = if self.variant.clears { CLEAR.saturating_add(1) } else { CLEAR };
        end.max(clear)
    }

    fn next_code(&mut self) -> Option<usize> {
        let next = self.base().saturating_add(self.table.len());
        let highest = 1_usize.checked_shl(self.bits)?;
        if self.previous.is_some() && next >= highest && self.bits < self.variant.max_bits {
            self.align();
            self.bits = self.bits.saturating_add(1);
        }
        let width = usize::try_from(self.bits).ok()?;
        let end = self.at.checked_add(width)?;
        if end > self.input.len().checked_mul(8)? {
            return None;
        }
        let from = self.at / 8;
        let octet = |place: usize| {
            let octet = from.checked_add(place).and_then(|at| self.input.get(at));
            octet.copied().map_or(0, usize::from)
        };
        let window = octet(0) | octet(1) << 8 | octet(2) << 16;
        self.at = end;
        Some((window >> ((end.checked_sub(width)?) % 8)) & (highest_code(self.bits)))
    }

    /// Skips what is left of a group of eight codes.
    fn align(&mut self) {
        if self.variant.groups {
            let group = usize::try_from(self.bits).unwrap_or(1).saturating_mul(8);
            let used = self.at.saturating_sub(self.group);
            self.at = self.group.saturating_add(used.div_ceil(group).saturating_mul(group));
        }
        self.group = self.at;
    }

    /// Decodes one code to the stack. Tells whether there was one.
    fn decode(&mut self) -> std::io::Result<bool> {
        let Some(code) = self.next_code() else { return Ok(false) };
        if self.variant.end == Some(code) {
            return Ok(false);
        }
        if self.variant.clears && code == CLEAR {
            self.align();
            self.table.clear();
            self.bits = FIRST_BITS;
            self.previous = None;
            return Ok(true);
        }
        let base = self.base();
        let next = base.saturating_add(self.table.len());
        let corrupt = || Error::new(ErrorKind::InvalidData, "code that does not exist yet");
        let Some(previous) = self.previous else {
            self.first = u8::try_from(code).map_err(|_| corrupt())?;
            self.stack.push(self.first);
            self.previous = Some(code);
            return Ok(true);
        };
        let mut walk = code;
        if code >= next {
            // The only code that may be used before it is complete is the very next.
            if code > next {
                return Err(corrupt());
            }
            self.stack.push(self.first);
            walk = previous;
        }
        while walk > 0xff {
            let entry = walk.checked_sub(base).and_then(|place| self.table.get(place));
            let &(before, last) = entry.ok_or_else(corrupt)?;
            self.stack.push(last);
            walk = usize::from(before);
        }
        self.first = u8::try_from(walk).map_err(|_| corrupt())?;
        self.stack.push(self.first);
        if next <= highest_code(self.variant.max_bits) {
            self.table.push((u16::try_from(previous).map_err(|_| corrupt())?, self.first));
        }
        self.previous = Some(code);
        Ok(true)
    }
}

fn highest_code(bits: u32) -> usize {
    1_usize.checked_shl(bits).map_or(usize::MAX, |past| past.saturating_sub(1))
}

impl Read for Lzw<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0_usize;
        while let Some(place) = room.get_mut(filled) {
            match self.stack.pop() {
                Some(octet) => {
                    *place = octet;
                    filled = filled.saturating_add(1);
                }
                None if self.ended => break,
                None => match self.decode() {
                    Ok(more) => self.ended = !more,
                    // What was decoded before is content; the error comes again.
                    Err(_) if filled > 0 => {
                        self.at = self.at.saturating_sub(usize::try_from(self.bits).unwrap_or(0));
                        break;
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: Variant = Variant { max_bits: 16, clears: true, groups: true, end: None };

    fn decoded(input: &[u8], variant: Variant) -> std::io::Result<Vec<u8>> {
        let mut output = Vec::new();
        Lzw::new(input, variant).read_to_end(&mut output)?;
        Ok(output)
    }

    /// Codes of nine bits, lowest first.
    fn packed(codes: &[usize]) -> Vec<u8> {
        let mut bits = codes.iter().flat_map(|code| (0..9).map(move |bit| (code >> bit) & 1 == 1));
        let mut octets = Vec::new();
        while let Some(first) = bits.next() {
            let mut octet = u8::from(first);
            for place in 1..8 {
                octet |= u8::from(bits.next().unwrap_or(false)) << place;
            }
            octets.push(octet);
        }
        octets
    }

    #[test]
    fn codes_decode() {
        let zoo = Variant { max_bits: 13, clears: true, groups: false, end: Some(257) };
        type Case<'a> = (&'a str, Vec<u8>, Variant, Option<&'a [u8]>);
        let cases: [Case<'_>; 5] = [
            ("octets", packed(&[97, 98, 99]), UNIX, Some(b"abc")),
            ("the code just being made", packed(&[97, 257, 258]), UNIX, Some(b"aaaaaa")),
            ("a code from the future", packed(&[97, 300]), UNIX, None),
            ("an end", packed(&[97, 257, 98]), zoo, Some(b"a")),
            ("nothing", Vec::new(), UNIX, Some(b"")),
        ];
        for (name, input, variant, expected) in cases {
            assert_eq!(decoded(&input, variant).ok().as_deref(), expected, "{name}");
        }
    }
}
