//! Names of entities: the spellings to match, and one safe to show.
//!
//! In: names as decoded, hostile. Out: the same, and for each the form that an operating system or
//! a person makes of it: without invisible characters, trailing dots and blanks.

use crate::charset::is_invisible;

/// Longest name kept, in octets.
const MAX_BYTES: usize = 1024;

/// `names` and their bare forms, each once.
pub(super) fn spellings(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(names.len());
    let bare = names.iter().map(|name| bare(name)).filter(|name| !name.is_empty());
    for name in names.iter().map(|name| cut(name)).chain(bare) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// A name in quotes, everything but plain letters escaped.
pub(super) fn show(name: &str) -> String {
    let shown: String = name.chars().take(80).flat_map(char::escape_debug).take(200).collect();
    format!("\"{shown}\"")
}

fn bare(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !is_invisible(*c) && !c.is_control()).collect();
    cut(visible.trim().trim_end_matches(['.', ' ', '\u{3000}', '\u{A0}']))
}

/// The end of a long name matters: there is the extension.
fn cut(name: &str) -> String {
    let from = name.ceil_char_boundary(name.len().saturating_sub(MAX_BYTES));
    name.get(from..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_is_kept() {
        let cases: [(&str, &[&str], &[&str]); 4] = [
            ("plain", &["a.exe"], &["a.exe"]),
            ("trailing dots", &["a.exe. ."], &["a.exe. .", "a.exe"]),
            ("direction marks", &["a\u{202E}fdp.exe"], &["a\u{202E}fdp.exe", "afdp.exe"]),
            ("zero width", &["a.e\u{200B}xe"], &["a.e\u{200B}xe", "a.exe"]),
        ];
        for (name, given, expected) in cases {
            let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(spellings(&given), expected, "{name}");
        }
    }

    #[test]
    fn shown_names_are_escaped() {
        assert_eq!(show("a\u{202E}\"\n.exe"), "\"a\\u{202e}\\\"\\n.exe\"");
    }
}
