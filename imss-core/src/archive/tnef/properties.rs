//! MAPI properties as TNEF stores them (MS-OXTNEF §2.1.3.4).
//!
//! In: the octets of `attMessageProps` or `attAttachment`. Out: identifiers with values, those that
//! hold text or octets. What cannot be read ends the list.

use bytes::Bytes;

use super::le;
use crate::limits::{Budget, Limit};

/// A value.
pub(super) enum Value {
    /// Octets in the message's charset.
    Narrow(Bytes),
    /// Text.
    Wide(String),
    /// Octets.
    Binary(Bytes),
    /// An object, with its interface identifier before it.
    Object(Bytes),
}

impl Value {
    /// Spellings of the text; none for octets.
    pub(super) fn text(&self) -> Vec<String> {
        match self {
            Self::Narrow(octets) => {
                let text = octets.split(|&octet| octet == 0).next().unwrap_or_default();
                super::spellings(text, false)
            }
            Self::Wide(text) => vec![text.clone()],
            Self::Binary(_) | Self::Object(_) => Vec::new(),
        }
    }
}

/// Reads all properties.
///
/// # Errors
///
/// When the budget is used up.
pub(super) fn read_properties(
    data: &Bytes,
    budget: &mut Budget<'_>,
) -> Result<Vec<(u16, Value)>, Limit> {
    let mut reader = Reader { data, at: 0 };
    let mut list = Vec::new();
    let count = reader.number().unwrap_or(0);
    for _ in 0..count {
        budget.charge_work(50)?;
        if reader.property(budget, &mut list)?.is_none() {
            break;
        }
    }
    Ok(list)
}

struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u32> {
        let number = le::u32_at(self.data, self.at)?;
        self.at = self.at.checked_add(4)?;
        Some(number)
    }

    fn octets(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        if end > self.data.len() {
            return None;
        }
        let octets = self.data.slice(self.at..end);
        self.at = end.checked_next_multiple_of(4)?;
        Some(octets)
    }

    /// Reads one property; `None` at the end.
    fn property(
        &mut self,
        budget: &mut Budget<'_>,
        list: &mut Vec<(u16, Value)>,
    ) -> Result<Option<()>, Limit> {
        let Some(tag) = self.number() else { return Ok(None) };
        let [low, high, id_low, id_high] = tag.to_le_bytes();
        let (kind, id) = (u16::from_le_bytes([low, high]), u16::from_le_bytes([id_low, id_high]));
        if id >= 0x8000 && self.name().is_none() {
            return Ok(None);
        }
        let many = kind & 0x1000 != 0;
        let kind = kind & 0x0fff;
        let sized = matches!(kind, 0x0d | 0x1e | 0x1f | 0x102);
        let count = if many || sized { self.number() } else { Some(1) };
        let Some(count) = count else { return Ok(None) };
        for _ in 0..count {
            budget.charge_work(10)?;
            let length = if sized { self.number() } else { fixed(kind) };
            let length = length.and_then(|length| usize::try_from(length).ok());
            let Some(octets) = length.and_then(|length| self.octets(length)) else {
                return Ok(None);
            };
            match kind {
                0x1e => list.push((id, Value::Narrow(octets))),
                0x1f => {
                    let text = encoding_rs::UTF_16LE.decode_without_bom_handling(&octets).0;
                    list.push((id, Value::Wide(text.trim_end_matches('\0').to_owned())));
                }
                0x0d => list.push((id, Value::Object(octets))),
                0x102 => list.push((id, Value::Binary(octets))),
                _ => {}
            }
        }
        Ok(Some(()))
    }

    /// Skips the name of a named property.
    fn name(&mut self) -> Option<()> {
        self.octets(16)?;
        if self.number()? == 0 {
            self.number()?;
        } else {
            let length = usize::try_from(self.number()?).ok()?;
            self.octets(length)?;
        }
        Some(())
    }
}

/// Octets of a value of fixed size.
fn fixed(kind: u16) -> Option<u32> {
    match kind {
        1 => Some(0),
        2 | 3 | 4 | 0x0a | 0x0b => Some(4),
        5 | 6 | 7 | 0x14 | 0x40 => Some(8),
        0x48 => Some(16),
        _ => None,
    }
}
