//! `imss update` and `imss bundle`: only what a known key signed is used, and what does not work leaves
//! the version before.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use super::{imss, lines, write};

/// SHA-256 of "harmless".
const HARMLESS: &str = "98fc5211ecf54bc9bd57f0045e0d0ee488c5472c94ee22cc1580b081d04cc4ac";

/// A node that trusts a new key, and a folder for bundles.
fn node() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (code, key, err) = imss(folder.path(), &["bundle", "keygen", "key"]);
    assert_eq!(code, 0, "{err}");
    let config = format!(
        "data-dir = \"data\"\n[signatures]\nkeys = [\"{}\"]\nsource = \"set\"\n",
        key.trim()
    );
    write(folder.path(), "imss.toml", config);
    fs::create_dir(folder.path().join("set")).unwrap();
    folder
}

/// Signs a set with one list in it.
fn sign(folder: &Path, version: &str, list: &str) {
    write(folder, "set/list.sha256", list);
    let arguments =
        ["bundle", "sign", "set", "--key", "key", "--name", "base", "--set-version", version];
    let (code, out, err) = imss(folder, &arguments);
    assert_eq!((code, out.as_str()), (0, &*format!("base {version}: 1 files signed\n")), "{err}");
}

fn list() -> String {
    format!("{HARMLESS} Test.Harmless\n")
}

fn update(folder: &Path, more: &[&str]) -> (i32, String, String) {
    imss(folder, &[&["update", "--config", "imss.toml"], more].concat())
}

/// The version in use and the one before.
fn installed(folder: &Path) -> (String, String) {
    let (code, out, err) = update(folder, &["--list", "--json"]);
    assert_eq!(code, 0, "{err}");
    let sets = &lines(&out)[0];
    let word = |key: &str| sets[0][key].as_str().unwrap_or_default().to_owned();
    (word("current"), word("previous"))
}

#[test]
fn versions_come_and_go() {
    let folder = node();
    let path = folder.path();
    sign(path, "1.9", &list());
    let (code, out, err) = update(path, &[]);
    assert_eq!((code, out.as_str()), (0, "base 1.9 is in use\n"), "{err}");
    assert_eq!(update(path, &[]).1, "base 1.9 is current\n");
    sign(path, "1.10", &list());
    assert_eq!(update(path, &[]).1, "base 1.10 is in use, after 1.9\n", "minor versions count");
    sign(path, "1.8", &list());
    assert_eq!(update(path, &[]).1, "base 1.10 is current\n", "older is not taken");
    assert_eq!(update(path, &["--older"]).1, "base 1.8 is in use, after 1.10\n");
    assert_eq!(installed(path), ("1.8".to_owned(), "1.10".to_owned()));
    let (code, out, err) = update(path, &["--roll-back", "base"]);
    assert_eq!((code, out.as_str()), (0, "base 1.10 is in use, after 1.8\n"), "{err}");
    let (code, _, err) = update(path, &["--roll-back", "none"]);
    assert_eq!(code, 1);
    assert!(err.contains("no signature set none is installed"), "{err}");
}

#[test]
fn what_is_wrong_changes_nothing() {
    type Harm = fn(&Path);
    let cases: [(&str, Harm, &str); 8] = [
        ("a changed file", |set| append(&set.join("list.sha256"), b"\n"), "longer than it may be"),
        (
            "another file",
            |set| {
                let text = fs::read_to_string(set.join("list.sha256")).unwrap();
                write(set, "list.sha256", text.replace("Harmless", "Harmlest"));
            },
            "list.sha256 is not the file that was signed",
        ),
        ("a changed manifest", |set| append(&set.join("manifest.json"), b" "), "signature"),
        ("a changed signature", |set| write(set, "manifest.sig", "AAAA"), "signature"),
        ("no signature", |set| fs::remove_file(set.join("manifest.sig")).unwrap(), "manifest.sig"),
        ("a missing file", |set| fs::remove_file(set.join("list.sha256")).unwrap(), "list.sha256"),
        ("nothing there", |set| fs::remove_dir_all(set).unwrap(), "manifest.json"),
        (
            "a list with a mistake",
            |set| sign(set.parent().unwrap(), "2", "not a digest\n"),
            "cannot be used, and 1 stays",
        ),
    ];
    for (name, harm, expected) in cases {
        let folder = node();
        sign(folder.path(), "1", &list());
        assert_eq!(update(folder.path(), &[]).0, 0, "{name}");
        sign(folder.path(), "2", &list());
        harm(&folder.path().join("set"));
        let (code, out, err) = update(folder.path(), &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{name}: {err}");
        assert!(err.contains(expected), "{name}: {err}");
        assert_eq!(installed(folder.path()).0, "1", "{name}");
        let (code, _, err) = imss(folder.path(), &["check", "--config", "imss.toml"]);
        assert_eq!(code, 0, "{name}: the node still starts: {err}");
    }
}

#[test]
fn only_known_keys_count() {
    let folder = node();
    sign(folder.path(), "1", &list());
    let (code, other, _) = imss(folder.path(), &["bundle", "keygen", "other"]);
    assert_eq!(code, 0);
    let config = |keys: &str| format!("data-dir = \"data\"\n[signatures]\nkeys = [{keys}]\n");
    write(folder.path(), "imss.toml", config(&format!("\"{}\"", other.trim())));
    let (code, _, err) = update(folder.path(), &["--from", "set"]);
    assert_eq!(code, 1);
    assert!(err.contains("not by a key in `[signatures] keys`"), "{err}");
    write(folder.path(), "imss.toml", config(""));
    let (code, _, err) = update(folder.path(), &["--from", "set"]);
    assert_eq!(code, 2);
    assert!(err.contains("names no key"), "{err}");
    let (code, _, err) = imss(folder.path(), &["bundle", "keygen", "key"]);
    assert_eq!(code, 1, "a key is never overwritten: {err}");
}

#[test]
fn a_web_server_is_a_source() {
    let folder = node();
    sign(folder.path(), "3.1", &list());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let set = folder.path().join("set");
    // Three files, then nothing is there any more.
    let server = std::thread::spawn(move || {
        for _ in 0..4 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 2_048];
            let length = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let name = text.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
            let (status, body) = match fs::read(set.join(&name)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    let (code, out, err) = update(folder.path(), &["--from", &address]);
    assert_eq!((code, out.as_str()), (0, "base 3.1 is in use\n"), "{err}");
    let (code, _, err) = update(folder.path(), &["--from", &format!("{address}/none")]);
    assert_eq!(code, 1);
    assert!(err.contains("404 Not Found"), "{err}");
    server.join().unwrap();
    let (code, _, err) = update(folder.path(), &["--from", &address]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(installed(folder.path()).0, "3.1", "a dead server changes nothing");
}

fn append(path: &Path, octets: &[u8]) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(octets).unwrap();
}
