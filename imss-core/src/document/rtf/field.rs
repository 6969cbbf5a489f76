//! Field instructions of word processors (ECMA-376 part 1, §17.16): what they load and run.
//!
//! In: an instruction such as `HYPERLINK "http://…" \l "x"`, and the text it shows. Out: links and
//! facts. Linear.

use super::super::{Active, ActiveKind, Link, LinkKind, Piece};

/// The longest target that is kept (see [`Link::target`]).
const LONGEST: usize = 4096;

/// What the field of `instruction` points to and runs.
pub(crate) fn pieces(instruction: &str, label: &str, out: &mut dyn FnMut(Piece)) {
    let words = words(instruction);
    let mut arguments = words.iter().skip(1).map(String::as_str);
    let keyword = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let mut link = |kind, target: &str| {
        let target: String = target.chars().take(LONGEST / 4).collect();
        let label = if label.trim() == target { String::new() } else { label.trim().to_owned() };
        out(Piece::Link(Link { kind, target, label }));
    };
    match keyword.as_str() {
        "HYPERLINK" => {
            if let Some(target) = arguments.find(|word| !word.is_empty() && !word.starts_with('\\'))
            {
                link(LinkKind::Click, target);
            }
        }
        "INCLUDEPICTURE" | "INCLUDETEXT" | "INCLUDE" | "IMPORT" | "RD" => {
            if let Some(target) = arguments.find(|word| !is_switch(word)) {
                link(LinkKind::Load, target);
                if is_remote(target) {
                    out(Piece::Active(Active::new(ActiveKind::RemoteContent, target)));
                }
            }
        }
        "LINK" => {
            let target = arguments.filter(|word| !is_switch(word)).nth(1).unwrap_or_default();
            link(LinkKind::Load, target);
            out(Piece::Active(Active::new(ActiveKind::OleLink, instruction.trim())));
        }
        "DDE" | "DDEAUTO" => {
            let command: Vec<&str> = arguments.collect();
            out(Piece::Active(Active::new(ActiveKind::Dde, command.join(" "))));
        }
        _ => {}
    }
}

/// Whether a target is on another machine.
pub(crate) fn is_remote(target: &str) -> bool {
    let target = target.trim_start().to_ascii_lowercase().replace('\\', "/");
    target.starts_with("//") || target.contains("://") || target.starts_with("mhtml:")
}

fn is_switch(word: &str) -> bool {
    word.starts_with('\\') && !word.starts_with("\\\\")
}

/// The text of a `QUOTE` field, which spells characters as numbers; `None` for other fields.
pub(crate) fn quoted(instruction: &str) -> Option<String> {
    let words = words(instruction);
    if !words.first()?.eq_ignore_ascii_case("QUOTE") {
        return None;
    }
    let spelled = words.iter().skip(1).map(|word| {
        let code = word
            .strip_prefix("0x")
            .map_or_else(|| word.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok());
        code.and_then(char::from_u32).map_or_else(|| word.clone(), String::from)
    });
    Some(spelled.collect())
}

/// The words of an instruction; quotation marks hold spaces, `\\` is a backslash.
fn words(instruction: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut is_quoted, mut has_word) = (String::new(), false, false);
    let mut letters = instruction.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\u{201c}' | '\u{201d}' => {
                is_quoted = !is_quoted;
                has_word = true;
            }
            '\\' if matches!(letters.peek(), Some('"' | '\\')) && (is_quoted || has_word) => {
                word.extend(letters.next());
            }
            letter if letter.is_whitespace() && !is_quoted => {
                if has_word {
                    words.push(std::mem::take(&mut word));
                }
                has_word = false;
            }
            letter => {
                word.push(letter);
                has_word = true;
            }
        }
    }
    if has_word {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::super::pieces::Found;
    use super::*;

    #[test]
    fn fields_point_and_run() {
        let cases: [(&str, &str, &[&str], &[&str]); 7] = [
            (
                "a link",
                "HYPERLINK \"http://a/?b c\" \\o \"tip\"",
                &["Click:http://a/?b c:here"],
                &[],
            ),
            ("unquoted", " hyperlink http://a", &["Click:http://a:here"], &[]),
            (
                "a picture",
                "INCLUDEPICTURE \"http://a/p\" \\d",
                &["Load:http://a/p:here"],
                &["RemoteContent:http://a/p"],
            ),
            ("a picture of its own", "INCLUDEPICTURE \"p.png\"", &["Load:p.png:here"], &[]),
            (
                "DDE",
                "DDEAUTO c:\\\\windows\\\\cmd.exe \"/k calc\"",
                &[],
                &["Dde:c:\\\\windows\\\\cmd.exe /k calc"],
            ),
            (
                "a linked object",
                "LINK Excel.Sheet \"\\\\\\\\h\\\\x.xls\" R1",
                &["Load:\\\\h\\x.xls:here"],
                &["OleLink:LINK Excel.Sheet \\\"\\\\\\\\\\\\\\\\h\\\\\\\\x.xls\\\" R1"],
            ),
            ("a page number", "PAGE \\* MERGEFORMAT", &[], &[]),
        ];
        for (name, instruction, links, active) in cases {
            let mut found = Found { pieces: Vec::new(), result: Ok(()) };
            pieces(instruction, "here", &mut |piece| found.pieces.push(piece));
            assert_eq!(found.links(), links, "{name}");
            assert_eq!(found.active(), active, "{name}");
        }
        assert_eq!(quoted("QUOTE 100 0x64 101"), Some("dde".to_owned()));
        assert_eq!(quoted("PAGE"), None);
    }
}
