//! Each document in `tests/data/docs` gives the listing in its `expected.txt`: types, members, text,
//! links, what acts, what was not read.
//!
//! `UPDATE_GOLDEN=1` rewrites the listings for review.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::{expected, listing};

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
    expected::compare(&golden, &all);
}
