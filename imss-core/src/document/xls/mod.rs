//! Excel 2.0 to 2003 workbooks ([MS-XLS]): cells, names, comments, links and Excel 4.0 macros.
//!
//! In: the streams of an OLE file. Out: a piece of text a row, with hidden sheets, rows and columns
//! told apart; formulas that hold text; links; and macro sheets as code, a formula a line.
//!
//! Records are read once, in order. A record that makes no sense is passed over, a stream that
//! ends inside one is said. Encrypted workbooks are opened with
//! [`office_crypt`](super::office_crypt) or said to be locked.

mod cells;
mod crypt;
mod formula;
mod links;
mod record;
mod strings;

use bytes::Bytes;

use self::cells::Reader;
use self::record::Records;
use super::ole::base;
use super::{Extractor, Piece};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// The `xls` extractor.
#[derive(Debug)]
pub(super) struct Xls;

impl Extractor for Xls {
    fn name(&self) -> &'static str {
        "xls"
    }

    fn recognises(&self, content: &[u8], _detected: &FileType, members: &[Member]) -> bool {
        members.iter().any(is_workbook) || is_bare(content)
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        if is_bare(source.content) {
            return workbook(source.content, source, budget, out);
        }
        let mut result = Ok(());
        for book in members.iter().filter(|member| is_workbook(member)) {
            match workbook(&book.content, source, budget, out) {
                Ok(()) => {}
                Err(error @ UnpackError::Limit(_)) => return Err(error),
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// Whether it is a stream that holds a workbook; the beginning decides, the name may be anything in
/// a file that hides its macros.
fn is_workbook(member: &Member) -> bool {
    let name = base(member);
    (name.eq_ignore_ascii_case("Workbook") || name.eq_ignore_ascii_case("Book"))
        && member.content.first() == Some(&9)
}

/// Whether it is a sheet of Excel 2 to 4, or a workbook stream by itself, which Excel opens too.
fn is_bare(content: &[u8]) -> bool {
    matches!(content, [9, 0 | 2 | 4 | 8, 4..=16, 0, _, 0 | 2 | 3 | 4 | 5 | 6, kind, 0 | 1, ..]
        if matches!(kind, 0 | 5 | 6 | 0x10 | 0x20 | 0x40))
}

fn workbook(
    stream: &Bytes,
    source: &Source<'_>,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let Some(stream) = crypt::opened(stream, source, budget, out)? else { return Ok(()) };
    let mut reader = Reader::new(out);
    let mut records = Records::new(&stream);
    while let Some(record) = records.next() {
        budget.charge_work((record.body.len() as u64).saturating_add(16))?;
        reader.record(&record, &mut records, budget)?;
    }
    reader.finish(budget)?;
    match records.cut() {
        Some(offset) => {
            Err(UnpackError::Malformed { offset: offset as u64, detail: "a record is cut short" })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests;
