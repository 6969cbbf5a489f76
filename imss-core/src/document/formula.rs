//! Formulas of spreadsheets → the facts in them: DDE, links, what is loaded.
//!
//! In: a formula as text, in any of the notations of Excel, OpenDocument and CSV. Out: links and
//! facts. A formula that is none gives nothing. Work is linear in its length.

use super::sink::{Sink, cut};
use super::{ActiveKind, LinkKind};

/// Octets of a service.
const MAX_NAME: usize = 1_000;
/// Octets, or letters, of a topic and of the arguments of one call: spreadsheets refuse longer formulas.
const MAX_FORMULA: usize = 8_192;

/// Reports what `formula` does.
pub(crate) fn report(formula: &str, sink: &mut Sink<'_, '_>) {
    if let Some(command) = dde(formula) {
        sink.active(ActiveKind::Dde, command);
    }
    if !formula.contains('(') {
        return;
    }
    let calls = calls(formula);
    if calls.len() >= MAX_CALLS {
        sink.budget.left_out("calls of a formula past 64");
    }
    for call in calls {
        let first = call.arguments.first().map_or("", String::as_str);
        let second = call.arguments.get(1).map_or("", String::as_str);
        match call.name.as_str() {
            "HYPERLINK" => sink.link(LinkKind::Click, first, second),
            "DDE" => sink.active(ActiveKind::Dde, &call.arguments.join("|")),
            "WEBSERVICE" | "IMPORTXML" | "IMPORTDATA" | "IMPORTHTML" | "IMPORTFEED"
            | "IMPORTRANGE" | "IMAGE"
                if !first.is_empty() =>
            {
                sink.remote(ActiveKind::RemoteContent, &call.name, first);
            }
            _ => {}
        }
    }
}

/// The DDE reference in a formula, `service|topic!item`.
///
/// The service is a name, the topic a name or quoted; a text constant with such characters is none.
pub(crate) fn dde(formula: &str) -> Option<&str> {
    let mut quoted = false;
    for (at, character) in formula.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '|' if !quoted => {
                let from = formula.floor_char_boundary(at.saturating_sub(MAX_NAME));
                let before = formula.get(from..at)?;
                let topic = cut(formula.get(at.saturating_add(1)..)?, MAX_FORMULA);
                if let Some(length) = reference(before, topic) {
                    return formula.get(at.saturating_sub(length)..);
                }
            }
            _ => {}
        }
    }
    None
}

/// How long the service before the bar is, if a reference is around it.
fn reference(before: &str, topic: &str) -> Option<usize> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '\\' | '/' | ':');
    let service = if let Some(inner) = before.trim_end().strip_suffix('\'') {
        inner.rsplit('\'').next().unwrap_or_default()
    } else {
        let name = before.trim_end();
        name.rsplit(|c| !is_name(c)).next().unwrap_or_default()
    };
    if service.is_empty() || !service.chars().any(char::is_alphabetic) {
        return None;
    }
    let blank = before.ends_with(' ') || topic.starts_with(' ');
    let topic = topic.trim_start();
    let end = match topic.strip_prefix('\'') {
        Some(quoted) => quoted.find('\'')?.saturating_add(2),
        // Without quotation marks only what programs write counts, not prose with bars.
        None if blank => return None,
        None => topic.find(|c: char| !is_name(c) && !matches!(c, '[' | ']' | '-'))?,
    };
    if end == 0 || !topic.get(end..)?.trim_start().starts_with('!') {
        return None;
    }
    let quotes = usize::from(before.trim_end().ends_with('\''));
    let blanks = before.len().saturating_sub(before.trim_end().len());
    Some(service.len().saturating_add(quotes).saturating_add(blanks))
}

/// A function call whose first arguments are text constants.
struct Call {
    name: String,
    arguments: Vec<String>,
}

/// Most calls looked at in one formula.
const MAX_CALLS: usize = 64;

fn calls(formula: &str) -> Vec<Call> {
    let mut found = Vec::new();
    let mut quoted = false;
    for (at, character) in formula.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted && found.len() < MAX_CALLS => {
                let before = formula.get(..at).unwrap_or_default().trim_end();
                let name = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                if is_interesting(name) {
                    let inside = formula.get(at.saturating_add(1)..).unwrap_or_default();
                    found.push(Call {
                        name: name.to_ascii_uppercase(),
                        arguments: arguments(inside),
                    });
                }
            }
            _ => {}
        }
    }
    found
}

fn is_interesting(name: &str) -> bool {
    let names = ["HYPERLINK", "DDE", "WEBSERVICE", "IMAGE"];
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("IMPORT"))
}

/// Up to three arguments; constants that are joined with `&` are one, references are left out.
fn arguments(inside: &str) -> Vec<String> {
    let (mut all, mut current) = (Vec::new(), String::new());
    let (mut quoted, mut depth) = (false, 0_usize);
    let mut characters = inside.chars().take(MAX_FORMULA).peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                current.push('"');
            }
            '"' => quoted = !quoted,
            _ if quoted => current.push(character),
            '(' => depth = depth.saturating_add(1),
            ')' if depth == 0 => break,
            ')' => depth = depth.saturating_sub(1),
            ',' | ';' if depth == 0 => {
                all.push(std::mem::take(&mut current));
                if all.len() >= 3 {
                    return all;
                }
            }
            _ => {}
        }
    }
    all.push(current);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Piece;
    use crate::limits::{Budget, Limits};

    #[test]
    fn dde_references() {
        let cases = [
            ("a program", "=cmd|'/c calc.exe'!A0", Some("cmd|'/c calc.exe'!A0")),
            ("after a sum", "=1+cmd|'/c calc'!A0", Some("cmd|'/c calc'!A0")),
            ("with a space", "@SUM(1)*cmd|' /C calc'!A0", Some("cmd|' /C calc'!A0")),
            ("a quoted program", "='cmd'|'/c x'!A0", Some("cmd'|'/c x'!A0")),
            ("a bare topic", "=Excel|Book1!R1C1", Some("Excel|Book1!R1C1")),
            ("a negative number", "-12.5", None),
            ("a text constant", "=\"cmd|'/c calc'!A0\"", None),
            ("a text with a bar", "=A1&\" | \"&B1", None),
            ("a table in prose", "-a | b | c!", None),
            ("absolute value", "=|-1|", None),
        ];
        for (name, formula, expected) in cases {
            assert_eq!(dde(formula), expected, "{name}");
        }
    }

    #[test]
    fn functions() {
        let cases = [
            ("a link", "HYPERLINK(\"http://a.example/\",\"Open\")", 1, 0),
            ("a joined link", "HYPERLINK(\"http://\"&\"a.example/\"&A1)", 1, 0),
            ("a place in the book", "HYPERLINK(\"#Sheet2!A1\",\"Go\")", 0, 0),
            ("a request", "_xlfn.WEBSERVICE(\"http://a.example/?\"&A1)", 1, 1),
            ("DDE as a function", "of:=DDE(\"soffice\";\"/a.ods\";\"A1\")", 0, 1),
            ("a sum", "SUM(A1:A3)", 0, 0),
            ("the name in a text", "\"HYPERLINK(\"\"x\"\")\"", 0, 0),
        ];
        for (name, formula, links, active) in cases {
            let limits = Limits::small();
            let mut budget = Budget::new(&limits);
            let mut pieces = Vec::new();
            let mut out = |piece| pieces.push(piece);
            report(formula, &mut Sink::new(&mut budget, &mut out));
            let count = |wanted: fn(&Piece) -> bool| pieces.iter().filter(|&p| wanted(p)).count();
            assert_eq!(count(|piece| matches!(piece, Piece::Link(_))), links, "{name}");
            assert_eq!(count(|piece| matches!(piece, Piece::Active(_))), active, "{name}");
        }
    }
}
