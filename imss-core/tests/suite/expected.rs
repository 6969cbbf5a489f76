//! Listings of many files held against a golden file, file by file.

use std::fs;
use std::path::Path;

/// Fails with the lines that differ. `UPDATE_GOLDEN=1` rewrites `golden` instead.
pub(crate) fn compare(golden: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let written = fs::write(golden, found);
        return assert!(written.is_ok(), "{}: {written:?}", golden.display());
    }
    let expected = fs::read_to_string(golden).unwrap_or_default().replace("\r\n", "\n");
    let changes = changes(&expected, found);
    assert!(changes.is_empty(), "other listings (- expected, + found):\n{changes}");
}

/// The listings that differ: lines that only one of the two has.
fn changes(expected: &str, found: &str) -> String {
    let sections = |all: &str| -> Vec<(String, Vec<String>)> {
        let parts = all.trim_start_matches("== ").split("\n== ").filter(|part| !part.is_empty());
        let lines = parts.map(|part| part.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.map(|lines| (lines.first().cloned().unwrap_or_default(), lines)).collect()
    };
    let (expected, found) = (sections(expected), sections(found));
    let lines_of = |all: &[(String, Vec<String>)], name: &str| {
        all.iter().find(|(other, _)| other == name).map(|(_, lines)| lines.clone())
    };
    let gone = expected.iter().filter(|(name, _)| lines_of(&found, name).is_none());
    let mut out: String = gone.map(|(name, _)| format!("- {name}\n")).collect();
    for (name, lines) in &found {
        let before = lines_of(&expected, name).unwrap_or_default();
        if before == *lines {
            continue;
        }
        let minus = before.iter().filter(|line| !lines.contains(line));
        let plus = lines.iter().filter(|line| !before.contains(line));
        out += &format!("== {name}\n");
        out.extend(minus.map(|line| format!("- {line}\n")));
        out.extend(plus.map(|line| format!("+ {line}\n")));
    }
    out
}
