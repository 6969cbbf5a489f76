//! Tables as text (RFC 4180) that spreadsheets open: cells that are formulas.
//!
//! In: text with separated values. Out: links and facts of its formulas; the text itself is the
//! entity's own. A program treats a cell as a formula if it starts with `=`, `+`, `-` or `@`; a
//! number with a sign is none.

use super::sink::Sink;
use super::{Extractor, Piece, formula};
use crate::archive::{Member, Source, UnpackError};
use crate::charset;
use crate::filetype::{FileType, TypeGroup};
use crate::limits::Budget;

/// Tables as text.
pub(super) struct Csv;

impl Extractor for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn recognises(&self, content: &[u8], detected: &FileType, _: &[Member]) -> bool {
        // Any text may be called `.csv`, and a single formula looks like nothing.
        let has = |needle: &[u8]| memchr::memmem::find(content, needle).is_some();
        detected.extension == "csv"
            || detected.group == TypeGroup::Text
                && (has(b"|") && has(b"!") || has(b"WEBSERVICE(") || has(b"HYPERLINK("))
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        // What acts is a call or a DDE command: most tables hold neither.
        if memchr::memchr2(b'(', b'|', source.content).is_none() {
            return Ok(());
        }
        let mut sink = Sink::new(budget, out);
        let size = source.content.len().min(sink.budget.limits().max_text_bytes);
        sink.budget.charge_work(u64::try_from(size).unwrap_or(u64::MAX).saturating_mul(16))?;
        let text = charset::decode(source.content.get(..size).unwrap_or_default(), None).text;
        let is_table = is_table(source);
        let may_act = |line: &&str| memchr::memchr2(b'(', b'|', line.as_bytes()).is_some();
        for line in text.lines().filter(may_act) {
            for cell in cells(line) {
                let Some(formula) = formula_of(&cell) else { continue };
                if formula::dde(formula).is_some() || is_table {
                    formula::report(formula, &mut sink);
                }
            }
        }
        sink.finish()
    }
}

/// Whether the name or the look says that a spreadsheet opens it.
fn is_table(source: &Source<'_>) -> bool {
    let named = source.names.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        [".csv", ".tsv", ".tab"].iter().any(|extension| name.ends_with(extension))
    });
    named || source.detected.extension == "csv"
}

/// The formula in a cell, if a program would take it for one.
fn formula_of(cell: &str) -> Option<&str> {
    let cell = cell.trim_start_matches(['\u{feff}', ' ', '\t']);
    let rest = cell.strip_prefix(['=', '+', '-', '@'])?;
    let is_number = rest.trim().chars().all(|c| c.is_ascii_digit() || ",.-+eE%() ".contains(c));
    (!is_number).then_some(cell)
}

/// The cells of a line: separated by a comma, semicolon or tab, quoted with `""` inside.
///
/// Which separator a program uses depends on the machine, so any of the three ends a cell unless it
/// stands in quotation marks, double or single.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let (mut quoted, mut in_topic) = (false, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() => quoted = true,
            '\'' if cell.ends_with('|') || in_topic => {
                in_topic = !in_topic;
                cell.push('\'');
            }
            ',' | ';' | '\t' if !quoted && !in_topic && !is_open_call(&cell) => {
                cells.push(std::mem::take(&mut cell));
            }
            _ => cell.push(character),
        }
    }
    cells.push(cell);
    cells
}

/// Whether the cell is a formula with an open parenthesis, whose separators may not be quoted.
fn is_open_call(cell: &str) -> bool {
    cell.len() < 200
        && cell.trim_start().starts_with('=')
        && cell.matches('(').count() > cell.matches(')').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::ActiveKind::{Dde, RemoteContent};
    use crate::document::harness::single;

    #[test]
    fn formulas_and_their_twins() {
        let cases: [(&str, &str, &[_]); 9] = [
            ("a command", "a,b\n1,=cmd|'/c calc'!A0\n3,4\n", &[Dde]),
            ("quoted", "a,b\n1,\"=cmd|'/c calc'!A0\"\n3,4\n", &[Dde]),
            ("a separator inside", "=cmd|'/c a,b;c'!A0", &[Dde]),
            ("at sign", "@SUM(1+1)*cmd|' /C calc'!A0,x\n", &[Dde]),
            (
                "a request",
                "a,b\n1,\"=WEBSERVICE(\"\"http://a.example/\"\")\"\n3,4\n5,6\n",
                &[RemoteContent],
            ),
            ("numbers", "a,b\n-1,+2.5\n=3,(4)|\n", &[]),
            ("telephone", "name,phone\nx,+81 (3) 1234 | 5678!\n", &[]),
            ("prose", "+ one | two (three)!\n- a|b\n", &[]),
            ("a sum", "a,b\n1,=SUM(A1:A2)\n", &[]),
        ];
        for (name, content, expected) in cases {
            let content = content.as_bytes();
            if !Csv.recognises(content, &crate::filetype::detect(content), &[]) {
                assert!(expected.is_empty(), "{name}");
                continue;
            }
            let found = single(&Csv, content);
            let kinds: Vec<_> = found.active().iter().map(|(kind, _)| *kind).collect();
            assert_eq!(kinds, expected, "{name}");
        }
    }

    #[test]
    fn links() {
        let found = single(&Csv, b"a,b\n1,\"=HYPERLINK(\"\"http://a.example/\"\")\"\n3,4\n5,6\n");
        assert_eq!(found.links().first().map(|link| link.1), Some("http://a.example/"));
    }
}
