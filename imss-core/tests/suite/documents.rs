//! Each document in `tests/data/docs` gives the listing in its `expected.txt`: types, members, text,
//! links, what acts, what was not read.
//!
//! `UPDATE_GOLDEN=1` rewrites the listings for review.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::listing;

#[test]
fn documents_give_their_listings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/docs/golden");
    let golden = folder.join("expected.txt");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| *path != golden && !path.ends_with("README.md"));
    files.sort();
    assert!(files.len() >= 100, "found {} documents", files.len());
    let mut all = String::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy();
        let listing = listing::list(&name, &fs::read(&path).unwrap());
        writeln!(all, "== {name}\n{listing}").unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(&golden, &all).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default().replace("\r\n", "\n");
    let changes = changes(&expected, &all);
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
