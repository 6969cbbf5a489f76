//! `imss queue`, `imss quarantine` and `imss explain` on the files of a node that does not run.

use std::fs;

use super::{imss, write};

/// A node with an empty spool.
fn node() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "data-dir = \"data\"\n");
    fs::create_dir_all(folder.path().join("data/spool")).unwrap();
    folder
}

#[test]
fn an_empty_node() {
    let folder = node();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["queue", "list"], 0, "the queue is empty\n"),
        (&["queue", "list", "--json"], 0, "[]\n"),
        (&["quarantine", "list"], 0, "nothing is held\n"),
        (&["quarantine", "list", "--json"], 0, "[]\n"),
        (&["queue", "retry", "--all"], 0, "to be tried now: 0\n"),
        (&["queue", "show", "06A3F1S2QW000123"], 1, ""),
        (&["explain", "06A3F1S2QW000123"], 1, ""),
    ];
    for (arguments, expected, stdout) in cases {
        let arguments: Vec<_> =
            arguments.iter().copied().chain(["--config", "imss.toml"]).collect();
        let (code, out, err) = imss(folder.path(), &arguments);
        assert_eq!((code, out.as_str()), (expected, stdout), "{arguments:?}\n{err}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let folder = node();
    let arguments =
        ["queue", "delete", "06A3F1S2QW000123", "06A3F1S2QW000124", "--config", "imss.toml"];
    let (code, out, err) = imss(folder.path(), &arguments);
    assert_eq!((code, out.as_str()), (1, "deleted: 0\n"));
    assert!(err.contains("06A3F1S2QW000123 is not in the queue"), "{err}");
    assert!(err.contains("06A3F1S2QW000124 is not in the queue"), "{err}");
}

#[test]
fn a_wrong_id_is_wrong_usage() {
    let folder = node();
    let (code, _, err) = imss(folder.path(), &["queue", "show", "../../etc", "-c", "imss.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("not a queue ID"), "{err}");
}

#[test]
fn without_a_node_it_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "data-dir = \"data\"\n");
    let (code, _, err) = imss(folder.path(), &["queue", "list", "--config", "imss.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("data holds no spool"), "{err}");
}
