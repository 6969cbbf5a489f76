//! A row of cells while it is read. In: values in order. Out: a line for what is shown, one for what
//! is hidden, one for the formulas.

use crate::document::TextKind;
use crate::document::sink::Sink;
use crate::limits::Limit;

/// Octets of one line; the rest of the row goes on the next.
const MAX_LINE: usize = 64 << 10;

/// One row.
#[derive(Default)]
pub(crate) struct Row {
    /// The row is hidden.
    pub(crate) hidden: bool,
    /// The whole sheet is.
    in_hidden_sheet: bool,
    shown: String,
    covered: String,
    formulas: String,
}

impl Row {
    /// The first row of a sheet.
    pub(crate) fn new(in_hidden_sheet: bool) -> Self {
        Self { in_hidden_sheet, ..Self::default() }
    }

    /// Adds a cell. Its octets are charged, since one shared string may be in every cell.
    pub(crate) fn add(
        &mut self,
        value: &str,
        hidden: bool,
        sink: &mut Sink<'_, '_>,
    ) -> Result<(), Limit> {
        sink.budget.charge_work(u64::try_from(value.len()).unwrap_or(u64::MAX))?;
        if value.is_empty() || sink.is_full() {
            return Ok(());
        }
        let line = if hidden { &mut self.covered } else { &mut self.shown };
        push(line, value);
        if line.len() > MAX_LINE {
            self.flush(sink);
        }
        Ok(())
    }

    /// Adds a formula.
    pub(crate) fn formula(
        &mut self,
        place: &str,
        formula: &str,
        sink: &mut Sink<'_, '_>,
    ) -> Result<(), Limit> {
        sink.budget.charge_work(u64::try_from(formula.len()).unwrap_or(u64::MAX))?;
        if !sink.is_full() {
            push(&mut self.formulas, place);
            self.formulas.extend([":=", formula]);
        }
        if self.formulas.len() > MAX_LINE {
            self.flush(sink);
        }
        Ok(())
    }

    /// Ends the row.
    pub(crate) fn emit(&mut self, sink: &mut Sink<'_, '_>) {
        self.flush(sink);
        self.hidden = false;
    }

    fn flush(&mut self, sink: &mut Sink<'_, '_>) {
        let kind = if self.in_hidden_sheet { TextKind::Hidden } else { TextKind::Shown };
        sink.text(kind, &self.shown);
        sink.text(TextKind::Hidden, &self.covered);
        sink.text(TextKind::Formula, &self.formulas);
        self.shown.clear();
        self.covered.clear();
        self.formulas.clear();
    }
}

/// The column of a place such as `AB12`, from 0.
pub(crate) fn column_of(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let column = letters.fold(0_usize, |column, letter| {
        let digit = usize::from(letter.to_ascii_uppercase().saturating_sub(b'A')).saturating_add(1);
        column.saturating_mul(26).saturating_add(digit)
    });
    column.checked_sub(1)
}

fn push(line: &mut String, value: &str) {
    if !line.is_empty() {
        line.push('\t');
    }
    line.push_str(value);
}
