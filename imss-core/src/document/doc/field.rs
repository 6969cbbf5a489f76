//! A field's instruction → what it points to and what it does.
//!
//! In: the instruction as written, such as ` HYPERLINK "http://…" \o "tip" `, and the text shown for
//! it. Out: links and active facts. Fields that only compute or format give nothing.

use super::is_remote;
use crate::document::active::{Active, ActiveKind};
use crate::document::ole_object::class_named;
use crate::document::{Link, LinkKind, Piece};

/// Longest target, in octets.
const MAX_TARGET: usize = 4096;

/// Reads one field.
pub(super) fn read(instruction: &str, shown: &str, out: &mut dyn FnMut(Piece)) {
    let words = words(instruction);
    let Some((name, arguments)) = words.split_first() else { return };
    let first = arguments.iter().find(|word| !word.starts_with('\\')).cloned().unwrap_or_default();
    let rest = arguments.join(" ");
    let active = |kind, detail: &str| Piece::Active(Active::new(kind, detail));
    match name.to_ascii_uppercase().as_str() {
        "DDE" | "DDEAUTO" => out(active(ActiveKind::Dde, &rest)),
        "HYPERLINK" => {
            let local = arguments.windows(2).find_map(|pair| match pair {
                [switch, place] if switch.eq_ignore_ascii_case("\\l") => Some(place.as_str()),
                _ => None,
            });
            let has_target = arguments.first().is_some_and(|word| !word.starts_with("\\l"));
            let target = match (has_target, local) {
                (true, Some(local)) if first != local => format!("{first}#{local}"),
                (true, _) => first,
                (false, local) => format!("#{}", local.unwrap_or_default()),
            };
            link(LinkKind::Click, target, shown, out);
        }
        "INCLUDETEXT" | "INCLUDEPICTURE" | "INCLUDE" | "IMPORT" | "RD" | "AUTOTEXT" => {
            if is_remote(&first) {
                out(active(ActiveKind::RemoteContent, &first));
            }
            link(LinkKind::Load, first, "", out);
        }
        "LINK" => {
            // The class, then the file.
            let file = arguments.get(1).cloned().unwrap_or_default();
            out(active(ActiveKind::OleLink, &rest));
            link(LinkKind::Load, file, "", out);
        }
        "EMBED" | "CONTROL" => {
            if let Some(fact) = class_named(&first).and_then(|class| class.active()) {
                // A packed file is said where it lies.
                if fact.kind != ActiveKind::OlePackage {
                    out(Piece::Active(fact));
                }
            } else if name.eq_ignore_ascii_case("CONTROL") {
                out(active(ActiveKind::ActiveX, &first));
            }
        }
        _ => {}
    }
}

fn link(kind: LinkKind, mut target: String, shown: &str, out: &mut dyn FnMut(Piece)) {
    target.truncate(target.floor_char_boundary(MAX_TARGET));
    if target.len() > 1 {
        let shown = shown.trim();
        let label = if shown == target { String::new() } else { shown.to_owned() };
        out(Piece::Link(Link { kind, target, label }));
    }
}

/// The words of an instruction. Quotes, also typographic ones, hold blanks; a backslash before a
/// quote or a backslash inside them is taken away.
fn words(instruction: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut letters = instruction.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '“' | '”' => {
                is_quoted = !is_quoted;
                was_quoted = true;
            }
            '\\' if is_quoted && matches!(letters.peek(), Some('\\' | '"')) => {
                word.extend(letters.next());
            }
            c if c.is_whitespace() && !is_quoted => {
                if !word.is_empty() || was_quoted {
                    words.push(std::mem::take(&mut word));
                }
                was_quoted = false;
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() || was_quoted {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let cases = [
            (
                " DDEAUTO c:\\\\windows\\\\cmd.exe \"/k calc\" ",
                "Dde c:\\\\\\\\windows\\\\\\\\cmd.exe /k calc",
            ),
            (" HYPERLINK \"http://a.test/x y\" \\o \"tip\"", "Click http://a.test/x y here"),
            (" HYPERLINK  \\l \"_Toc1\" ", "Click #_Toc1 here"),
            (" HYPERLINK \"http://a\" \\l \"b\"", "Click http://a#b here"),
            (
                " INCLUDEPICTURE \"http://a/b.png\" \\d",
                "RemoteContent http://a/b.png; Load http://a/b.png ",
            ),
            (" INCLUDETEXT \"C:\\\\a.doc\" ", "Load C:\\a.doc "),
            (" EMBED Equation.3  ", "ExploitedClass Equation.3"),
            (" PAGE  \\* MERGEFORMAT ", ""),
        ];
        for (instruction, expected) in cases {
            let mut found = Vec::new();
            read(instruction, "here", &mut |piece| match piece {
                Piece::Active(fact) => found.push(format!("{:?} {}", fact.kind, fact.detail)),
                Piece::Link(link) => {
                    found.push(format!("{:?} {} {}", link.kind, link.target, link.label));
                }
                _ => {}
            });
            assert_eq!(found.join("; "), expected, "{instruction}");
        }
    }
}
