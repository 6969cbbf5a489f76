//! `imss scan`.

use super::{eicar, imss, lines, write};

const CLEAN: &str = "From: a@example.net\r\nSubject: hello\r\n\r\nHello.\r\n";

#[test]
fn exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "clean.eml", CLEAN);
    write(folder.path(), "eicar.com", eicar());
    let cases: [(&str, &[&str], i32); 6] = [
        ("nothing found", &["scan", "clean.eml"], 0),
        ("found", &["scan", "eicar.com"], 1),
        ("found in a folder", &["scan", "."], 1),
        ("no such file", &["scan", "none.eml"], 2),
        ("unreadable beats found", &["scan", "eicar.com", "none.eml"], 2),
        ("nothing to do", &["scan"], 2),
    ];
    for (name, arguments, expected) in cases {
        let (code, out, err) = imss(folder.path(), arguments);
        assert_eq!(code, expected, "{name}\n{out}{err}");
    }
}

#[test]
fn json_has_the_documented_keys_in_order() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "eicar.com", eicar());
    let (_, out, _) = imss(folder.path(), &["scan", "--jsonl", "eicar.com"]);
    let keys = [
        "path",
        "verdict",
        "action",
        "score",
        "findings",
        "gaps",
        "rules",
        "entities",
        "elapsed_us",
    ];
    let places: Vec<_> = keys.iter().map(|key| out.find(&format!("\"{key}\":"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{out}");
    let report = &lines(&out)[0];
    assert_eq!(report["path"], "eicar.com");
    assert_eq!(report["verdict"], "infected");
    assert_eq!(report["action"], "quarantine");
    let finding = &report["findings"][0];
    for key in ["kind", "name", "engine", "entity", "detail", "score"] {
        assert!(!finding[key].is_null(), "{key} in {finding}");
    }
}

#[test]
fn a_jailed_scan_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "clean.eml", CLEAN);
    write(folder.path(), "eicar.com", eicar());
    write(
        folder.path(),
        "japanese.eml",
        "Subject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\r\n\r\n日本語\r\n",
    );
    for number in 0..40 {
        let attached = format!("{CLEAN}begin 644 {number}.txt\r\n#86)C\r\n`\r\nend\r\n");
        write(folder.path(), &format!("{number}.eml"), attached);
    }
    let reports = |arguments: &[&str]| {
        let (code, out, err) = imss(folder.path(), arguments);
        assert_eq!(code, 1, "{out}{err}");
        let mut reports = lines(&out);
        for report in &mut reports {
            report.as_object_mut().expect("an object").remove("elapsed_us");
        }
        reports
    };
    let (free, jailed) =
        (reports(&["scan", "--jsonl", "."]), reports(&["scan", "--jail", "--jsonl", "."]));
    assert_eq!(free.len(), 43);
    assert_eq!(free, jailed);
}

#[test]
fn order_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..40 {
        write(folder.path(), &format!("{number:02}.eml"), CLEAN.repeat(1 + number % 7 * 50));
    }
    let paths = |jobs| {
        let (_, out, _) = imss(folder.path(), &["scan", "--jsonl", "--jobs", jobs, "."]);
        let reports = lines(&out);
        reports.into_iter().map(|report| report["path"].to_string()).collect::<Vec<_>>()
    };
    let one = paths("1");
    assert_eq!(one.len(), 40);
    assert!(one.is_sorted());
    assert_eq!(one, paths("8"));
}

#[test]
fn an_mbox_is_scanned_message_by_message() {
    let folder = tempfile::tempdir().unwrap();
    let from = "From a@example.net Thu Jan  1 00:00:00 1970\n";
    let bad = format!("Subject: x\n\n{}\n", eicar());
    write(folder.path(), "mail.mbox", format!("{from}{CLEAN}\n{from}{bad}\n{from}{CLEAN}"));
    let (code, out, _) = imss(folder.path(), &["scan", "--jsonl", "mail.mbox"]);
    let reports = lines(&out);
    let seen: Vec<_> = reports.iter().map(|r| (r["path"].clone(), r["verdict"].clone())).collect();
    assert_eq!(code, 1);
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1], ("mail.mbox#2".into(), "infected".into()));
}

#[test]
fn a_policy_with_a_mistake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "clean.eml", CLEAN);
    write(folder.path(), "policy.toml", "[[rule]]\nnam = \"x\"\n");
    let (code, out, err) = imss(folder.path(), &["scan", "--policy", "policy.toml", "clean.eml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("policy.toml:2:1"), "{err}");
}
