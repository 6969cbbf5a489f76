//! The worker program on disk: replaced under a running gateway, and of another version.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_relay::jail::{Jail, JailSettings};

const WORKER: &str = env!("CARGO_BIN_EXE_imss-worker");

#[test]
fn a_worker_replaced_on_disk_is_used_after_the_next_start_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("imss-worker");
    fs::copy(WORKER, &program).unwrap();
    let settings = JailSettings { program: program.clone(), messages_per_worker: 1 };
    let jail = Jail::new(settings.clone(), Limits::default(), Vec::new()).unwrap();
    // As a package manager does it.
    let new = folder.path().join("imss-worker.new");
    fs::write(&new, "of another version").unwrap();
    fs::rename(&new, &program).unwrap();
    let message = Message::parse("Subject: x\r\n\r\nHello\r\n".into(), &Limits::default());
    for number in 0..3 {
        let entities = jail.extract(&message, &StopFlag::new());
        assert_eq!(entities.map(|found| found.len()).unwrap(), 2, "message {number}");
    }
    assert_eq!(jail.counts(), (3, 0), "one worker a message");
    assert!(Jail::new(settings, Limits::default(), Vec::new()).is_err());
}

#[test]
fn a_worker_of_another_version_says_so() {
    let mut child = Command::new(WORKER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let terms = serde_json::json!({
        "version": "0.0.0", "limits": Limits::default(), "passwords": [],
    });
    let terms = terms.to_string();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"T").unwrap();
    input.write_all(&(terms.len() as u64).to_be_bytes()).unwrap();
    input.write_all(terms.as_bytes()).unwrap();
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    let text = String::from_utf8_lossy(&answer[9..]);
    assert_eq!(answer[0], b'F');
    assert!(text.contains("the gateway is 0.0.0: install the imss-worker"), "{text}");
}
