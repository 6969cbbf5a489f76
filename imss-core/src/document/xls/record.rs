//! A workbook stream → its records ([MS-XLS] 2.1.4).
//!
//! In: the stream. Out: records in order, each body shared with the stream. Bodies that continue
//! in the next record are read with their own iterator, since where they break means something.

use crate::archive::le::len16_at;

/// The number of records that continue the one before.
pub(super) const CONTINUE: u16 = 0x3c;

/// A record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// What it is.
    pub(super) id: u16,
    /// Where its header is in the stream.
    pub(super) offset: usize,
    /// What it says.
    pub(super) body: &'a [u8],
}

/// The records of a stream.
#[derive(Debug)]
pub(super) struct Records<'a> {
    stream: &'a [u8],
    at: usize,
    cut: Option<usize>,
}

impl<'a> Records<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self { stream, at: 0, cut: None }
    }

    /// Where a record was cut short, if one was.
    pub(super) fn cut(&self) -> Option<usize> {
        self.cut
    }

    /// The bodies of the records that continue the last one, which are taken.
    pub(super) fn continued(&mut self) -> Vec<&'a [u8]> {
        let mut bodies = Vec::new();
        while len16_at(self.stream, self.at) == Some(usize::from(CONTINUE)) {
            let Some(record) = self.next() else { break };
            bodies.push(record.body);
        }
        bodies
    }

    pub(super) fn next(&mut self) -> Option<Record<'a>> {
        let offset = self.at;
        let id = crate::archive::le::u16_at(self.stream, offset)?;
        let octets = len16_at(self.stream, offset + 2)?;
        let start = offset + 4;
        let end = start + octets;
        // Zeros fill the stream's last sector.
        if id == 0 && octets == 0 {
            return None;
        }
        if end > self.stream.len() {
            self.cut = Some(offset);
        }
        let body = self.stream.get(start..end.min(self.stream.len())).unwrap_or_default();
        self.at = end;
        Some(Record { id, offset, body })
    }
}
