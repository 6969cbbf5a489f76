//! YARA rules and digest lists: from `imss scan`, from the configuration, and from a signature set.

use std::fs;
use std::path::Path;

use super::{imss, lines, write};

const RULES: &str = r#"
rule Found_Word {
  meta:
    class = "hacking-tool"
    name = "Example.Word"
    description = "a word in a document"
  strings:
    $a = "a word in the document"
  condition:
    $a
}
"#;

/// A zip archive without compression of these members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let offset = archive.len();
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        head.extend(crc32(content).to_le_bytes());
        head.extend(octets(content.len(), 4));
        head.extend(octets(content.len(), 4));
        head.extend(octets(name.len(), 2));
        head.extend([0, 0]);
        archive.extend(b"PK\x03\x04");
        archive.extend(&head);
        archive.extend(name.as_bytes());
        archive.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(octets(offset, 4));
        directory.extend(name.as_bytes());
    }
    let (start, count) = (archive.len(), members.len());
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend(octets(count, 2));
    archive.extend(octets(count, 2));
    archive.extend(octets(directory.len(), 4));
    archive.extend(octets(start, 4));
    archive.extend([0, 0]);
    archive
}

/// The low octets of a number, the lowest first.
fn octets(number: usize, count: usize) -> Vec<u8> {
    number.to_le_bytes()[..count].to_vec()
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

/// A Word document in a zip archive, as a file.
fn document_in_archive() -> Vec<u8> {
    let body = b"<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/\
        wordprocessingml/2006/main\"><w:body><w:p><w:r><w:t>a word in the document</w:t></w:r>\
        </w:p></w:body></w:document>";
    let types = b"<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/\
        2006/content-types\"><Override PartName=\"/word/document.xml\" ContentType=\"application/\
        vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml\"/></Types>";
    let document = zip(&[("[Content_Types].xml", types), ("word/document.xml", body)]);
    zip(&[("letter.docx", &document)])
}

/// What `imss scan` found: class and name.
fn found(folder: &Path, more: &[&str]) -> Vec<(String, String)> {
    let (code, out, err) = imss(folder, &[&["scan", "a.zip", "--jsonl"], more].concat());
    assert!(code < 2, "{err}");
    let report = &lines(&out)[0];
    let all = report["findings"].as_array().unwrap_or_else(|| panic!("{out}")).clone();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|finding| (word(&finding["kind"]), word(&finding["name"]))).collect()
}

#[test]
fn rules_and_digests_are_used_by_scan() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "a.zip", document_in_archive());
    write(path, "rules.yar", RULES);
    let has = |all: &[(String, String)], kind: &str, name: &str| {
        all.iter().any(|(a, b)| (a.as_str(), b.as_str()) == (kind, name))
    };
    assert!(!has(&found(path, &[]), "hacking-tool", "Example.Word"));
    let all = found(path, &["--yara", "rules.yar"]);
    assert!(has(&all, "hacking-tool", "Example.Word"), "{all:?}");

    let digest = imss_digest(&document_in_archive());
    write(path, "list.sha256", format!("{digest} Test.Archive\n"));
    let all = found(path, &["--digests", "list.sha256", "--yara", "rules.yar"]);
    assert!(has(&all, "malware", "Test.Archive"), "{all:?}");
    assert!(has(&all, "hacking-tool", "Example.Word"), "{all:?}");

    write(path, "rules.yar", "rule x {\n  condition: $no\n}");
    let (code, _, err) = imss(path, &["scan", "a.zip", "--yara", "rules.yar"]);
    assert_eq!(code, 2);
    assert!(err.contains("rules.yar:2:14"), "{err}");
}

fn imss_digest(octets: &[u8]) -> String {
    imss_relay::signatures::bundle::digest(octets)
}

#[test]
fn check_shows_the_place_of_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "imss.toml", "data-dir = \"data\"\n[scan]\nyara = [\"rules.yar\"]\n");
    write(folder.path(), "rules.yar", RULES);
    let check = || imss(folder.path(), &["check", "--config", "imss.toml"]);
    let (code, _, err) = check();
    assert_eq!(code, 0, "{err}");
    write(folder.path(), "rules.yar", "rule x {\n  condition: $no\n}");
    let (code, _, err) = check();
    assert_eq!(code, 2);
    assert!(err.contains("rules.yar:2:14"), "{err}");
}

#[test]
fn rules_of_a_set_are_compiled_before_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_, key, _) = imss(path, &["bundle", "keygen", "key"]);
    let config = format!("data-dir = \"data\"\n[signatures]\nkeys = [\"{}\"]\n", key.trim());
    write(path, "imss.toml", config);
    fs::create_dir(path.join("set")).unwrap();
    let publish = |version: &str, rules: &str| {
        write(path, "set/ours.yar", rules);
        let sign =
            ["bundle", "sign", "set", "--key", "key", "--name", "base", "--set-version", version];
        let (code, _, err) = imss(path, &sign);
        assert_eq!(code, 0, "{err}");
        imss(path, &["update", "--config", "imss.toml", "--from", "set"])
    };
    let (code, out, err) = publish("1", RULES);
    assert_eq!((code, out.as_str()), (0, "base 1 is in use\n"), "{err}");
    let (code, _, err) = publish("2", "rule x {\n  condition: $no\n}");
    assert_eq!(code, 1);
    assert!(err.contains("cannot be used, and 1 stays"), "{err}");
    assert!(err.contains("ours.yar:2:14"), "{err}");
}
