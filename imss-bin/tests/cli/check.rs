//! `imss check`.

use super::{imss, write};

#[test]
fn every_mistake_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "hostnam = \"x\"\n[limits]\nrecipients = \"many\"\n");
    let (code, out, err) = imss(folder.path(), &["check", "--config", "imss.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    for expected in [
        "imss.toml:1:1 (hostnam)",
        "did you mean `hostname`?",
        "imss.toml:3:14 (limits.recipients)",
        "2 mistakes",
    ] {
        assert!(err.contains(expected), "{expected} in {err}");
    }
}

#[test]
fn the_policy_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "policy = \"policy.toml\"\ndata-dir = \"data\"\n");
    write(folder.path(), "policy.toml", "= \n");
    let (code, _, err) = imss(folder.path(), &["check", "--config", "imss.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("policy.toml:1:"), "{err}");
}

#[test]
fn without_mistakes_it_says_what_holds() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "data-dir = \"data\"\n");
    let (code, out, err) = imss(folder.path(), &["check", "--config", "imss.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("edge on 127.0.0.1:2525"), "{out}");
    assert!(!folder.path().join("data").exists(), "nothing is made");
}
