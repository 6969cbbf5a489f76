//! Word fields (ECMA-376 part 1, 17.16): an instruction and what it shows.
//!
//! In: an instruction, put together from all its runs, and its result. Out: links and facts.

use crate::document::sink::Sink;
use crate::document::{ActiveKind, LinkKind, TextKind};

/// Reports what a field does.
pub(crate) fn report(instruction: &str, result: &str, sink: &mut Sink<'_, '_>) {
    let instruction = instruction.trim();
    let (name, rest) = instruction
        .split_once(|c: char| c.is_whitespace() || c == '"' || c == '\\')
        .unwrap_or((instruction, ""));
    let name = name.to_ascii_uppercase();
    if matches!(
        name.as_str(),
        "" | "PAGE" | "NUMPAGES" | "PAGEREF" | "SECTIONPAGES" | "SEQ" | "REF"
    ) {
        return;
    }
    sink.text(TextKind::Formula, instruction);
    let target = || argument(rest);
    match name.as_str() {
        "DDE" | "DDEAUTO" => sink.active(ActiveKind::Dde, rest.trim()),
        "HYPERLINK" => sink.link(LinkKind::Click, &target(), result),
        "INCLUDEPICTURE" | "INCLUDETEXT" | "INCLUDE" | "IMPORT" | "RD" => {
            sink.remote(ActiveKind::RemoteContent, &name, &target());
        }
        // LINK class "file" item: the class comes first.
        "LINK" => {
            let place = rest.trim_start();
            let place = place.split_once(char::is_whitespace).map_or("", |(_, place)| place);
            sink.remote(ActiveKind::OleLink, &name, &argument(place));
        }
        "DATABASE" => sink.active(ActiveKind::RemoteContent, instruction),
        _ => {}
    }
}

/// What a field gives to the field around it: `QUOTE 99 109 100` is `cmd`.
pub(crate) fn value(instruction: &str, result: &str) -> String {
    let mut words = instruction.split_whitespace();
    if !words.next().is_some_and(|name| name.eq_ignore_ascii_case("QUOTE")) {
        return result.to_owned();
    }
    let decoded: Option<String> = words
        .clone()
        .map(|word| {
            let number = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => word.parse().ok(),
            };
            number.and_then(char::from_u32)
        })
        .collect();
    decoded.unwrap_or_else(|| words.collect::<Vec<_>>().join(" ").replace('"', ""))
}

/// The first argument, quoted or not; a switch is none. A doubled backslash is one.
fn argument(rest: &str) -> String {
    let rest = rest.trim_start();
    let raw = match rest.strip_prefix(['"', '\u{201c}']) {
        Some(quoted) => quoted.split(['"', '\u{201d}']).next().unwrap_or_default(),
        None if rest.starts_with('\\') && !rest.starts_with("\\\\") => "",
        None => rest.split_whitespace().next().unwrap_or_default(),
    };
    match raw.strip_prefix("\\\\\\\\") {
        Some(share) => format!("\\\\{}", share.replace("\\\\", "\\")),
        None if raw.starts_with("\\\\") => raw.to_owned(),
        None => raw.replace("\\\\", "\\"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let cases = [
            ("quoted", " \"http://a.example/x y\" \\d", "http://a.example/x y"),
            ("bare", "http://a.example/ \\* MERGEFORMAT", "http://a.example/"),
            ("share", "\"\\\\\\\\host\\\\share\"", "\\\\host\\share"),
            ("drive", "\"C:\\\\a\\\\b.doc\"", "C:\\a\\b.doc"),
            ("a place in the document", " \\l \"top\"", ""),
        ];
        for (name, rest, expected) in cases {
            assert_eq!(argument(rest), expected, "{name}");
        }
    }

    #[test]
    fn quoted_numbers() {
        assert_eq!(value("QUOTE 99 109 100", ""), "cmd");
        assert_eq!(value("QUOTE 0x63 0x6D", ""), "cm");
        assert_eq!(value(" QUOTE \"cmd\"", ""), "cmd");
        assert_eq!(value("IF 1 = 1 a", "a"), "a");
    }
}
