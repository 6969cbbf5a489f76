//! The disk under the data directory fills up: mail is refused for now, sessions stay in step, what
//! was accepted is delivered, and when there is space again mail is accepted again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sink::{ClosedPort, Sink};
use crate::support::{Client, Gateway, Home, Setup, in_front, is_our_trace, letter, wait_until};

/// Large enough for the spool's reserve, small enough to fill.
const DISK_BYTES: usize = 32 << 20;

/// A file system of its own, in memory. Needs root.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={DISK_BYTES}");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output()
            .unwrap();
        assert!(output.status.success(), "a file system in memory needs root: {output:?}");
        Self(at.to_owned())
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all space but so much.
    fn fill(&self, leave: u64) {
        let taken = self.free().saturating_sub(leave);
        fs::write(self.0.join("ballast"), vec![1; usize::try_from(taken).unwrap()]).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn content(number: usize, length: usize) -> Vec<u8> {
    let line = format!("line of message {number}\r\n");
    letter(&format!("m{number}"), line.repeat(length / line.len() + 1).trim_end())
}

/// Sends messages over one connection until one is refused: how many were accepted before.
fn until_refused(client: &mut Client, from: usize, length: usize) -> usize {
    for number in from..from + 2000 {
        let reply =
            client.mail("alice@elsewhere.example", &["bob@ours.example"], &content(number, length));
        let reply = reply.unwrap();
        if !reply.starts_with("250 2.0.0 ") {
            assert!(reply.starts_with("452 4.3.1 "), "message {number}: {reply}");
            // The session goes on where it is: every command has its own reply.
            assert!(client.say("NOOP").unwrap().starts_with("250"));
            assert!(client.say("RSET").unwrap().starts_with("250"));
            assert!(client.say("VRFY bob").unwrap().starts_with("252"));
            return number - from;
        }
    }
    panic!("the disk does not get full");
}

fn check(sink: &Sink, sent: &[(usize, usize)]) {
    let delivered = sink.wait_for(sent.len());
    for (number, length) in sent {
        let original = content(*number, *length);
        let times = delivered
            .iter()
            .filter(|message| in_front(&message.data, &original).is_some_and(is_our_trace));
        assert_eq!(times.count(), 1, "message {number} of {length} octets");
    }
    assert_eq!(delivered.len(), sent.len());
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let next_hop = ClosedPort::new();
    let home = Home::new(&Setup {
        next_hop: &format!("smtp://{}", next_hop.address),
        tables: "[queue]\nretry = [\"1 second\"]",
        ..Setup::default()
    });
    let disk = Disk::mount(&home.data());
    let gateway = Gateway::start(&home);
    let mut sent = Vec::new();
    let mut client = gateway.connect();
    // Some small ones, then large ones with files of their own, until the disk is full.
    for number in 0..20 {
        client.accepted("alice@elsewhere.example", &["bob@ours.example"], &content(number, 1000));
        sent.push((number, 1000));
    }
    let large = until_refused(&mut client, 20, 1 << 20);
    assert!(large > 3, "full too early: {large}");
    sent.extend((20..20 + large).map(|number| (number, 1 << 20)));
    // Now all that is left.
    disk.fill(64 << 10);
    let first = 20 + large + 1;
    let count = until_refused(&mut client, first, 3000);
    let (status, why) = gateway.get("/health/ready");
    assert!(status.contains(" 503 "), "{status} {why}");
    // New sessions are sent away at once, to another gateway or until later.
    let refused = Client::connect(gateway.smtp()).map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("421 4.3.1 "), "{refused}");
    sent.extend((first..first + count).map(|number| (number, 3000)));
    // Deliveries are recorded on a full disk too.
    let sink = next_hop.open();
    sink.wait_for(sent.len());
    home.wait_for_empty_queue();
    disk.empty();
    wait_until("mail is accepted again", || {
        let (status, _) = gateway.get("/health/ready");
        status.contains(" 200 ")
    });
    let last = first + count + 1;
    let mut client = gateway.connect();
    for number in last..last + 5 {
        client.accepted(
            "alice@elsewhere.example",
            &["bob@ours.example"],
            &content(number, 400_000),
        );
        sent.push((number, 400_000));
    }
    check(&sink, &sent);
    home.wait_for_empty_queue();
    gateway.stop();
    // Nothing was told twice and nothing is left, to the next start either.
    let gateway = Gateway::start(&home);
    assert!(home.queue().is_empty());
    assert!(!gateway.said().contains("damaged"), "{}", gateway.said());
    gateway.stop();
    check(&sink, &sent);
}
