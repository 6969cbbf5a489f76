//! A process that is killed again and again under load. Every message it confirmed is delivered or
//! still queued afterwards; a message can be delivered twice only where the kill fell between the
//! delivery and its record.
//!
//! The child is this test binary, run with one ignored test and an environment variable.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use imss_core::envelope::ForwardPath;
use imss_relay::outbound::{Attempt, Deliverer, DestinationKey, Job, NextHop};
use imss_relay::quarantine::Quarantine;
use imss_relay::queue::{Hooks, Queue, Settings, Silent};
use tokio_util::sync::CancellationToken;

use crate::support::{bytes_of, delivered, id, plain, settings};

const VARIABLE: &str = "IMSS_TEST_SPOOL";
const ROUNDS: u32 = 12;
const SUBMITTERS: u32 = 8;
/// Messages above 256 KiB now and then, so that files are part of it.
const LARGE_EVERY: u32 = 40;

fn body(number: u32) -> Vec<u8> {
    let length = if number.is_multiple_of(LARGE_EVERY) { 300_000 } else { 500 + number % 3000 };
    format!("{number:>10}").into_bytes().into_iter().cycle().take(length as usize).collect()
}

fn small_segments() -> Settings {
    Settings { segment_bytes: 256 << 10, cache_bytes: 64 << 10, ..settings() }
}

/// Appends the number of each delivered message to a file, as a next hop would keep the message.
struct Ledger(File);

impl Deliverer for Ledger {
    async fn deliver(&self, job: Job) -> Vec<Attempt> {
        (&self.0).write_all(format!("{}\n", job.id).as_bytes()).expect("the ledger is writable");
        job.recipients.iter().map(|_| delivered()).collect()
    }

    fn destination(
        &self,
        _: &imss_core::envelope::ReversePath,
        recipient: &ForwardPath,
    ) -> DestinationKey {
        DestinationKey::new(&NextHop::Mx, recipient)
    }
}

fn ledger(dir: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(dir.join("ledger")).unwrap()
}

/// Submits numbers from the first one on and prints each that was confirmed, until it is killed.
#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(dir) = std::env::var_os(VARIABLE).map(std::path::PathBuf::from) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (queue, _) = Queue::open(&dir.join("spool"), small_segments()).unwrap();
        let first = std::fs::read_to_string(dir.join("first")).unwrap().parse::<u32>().unwrap();
        let next = Arc::new(AtomicU32::new(first));
        let hooks = Hooks { observer: Arc::new(Silent), notifier: Arc::new(Silent) };
        let worker = queue.clone();
        let (deliverer, store) = (Arc::new(Ledger(ledger(&dir))), Quarantine::new(&dir));
        tokio::spawn(async move {
            worker.run(deliverer, store, hooks, CancellationToken::new()).await;
        });
        let submit = |queue: Queue, next: Arc<AtomicU32>| async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = queue.submit(vec![plain(number, &body(number))]).await {
                    eprintln!("message {number}: {error}");
                    std::process::exit(1);
                }
                // One write each, so that no line is cut but the last.
                std::io::stderr().write_all(format!("ok {number}\n").as_bytes()).unwrap();
            }
        };
        for _ in 0..SUBMITTERS {
            tokio::spawn(submit(queue.clone(), Arc::clone(&next)));
        }
        std::future::pending::<()>().await;
    });
}

#[test]
fn what_was_confirmed_survives_any_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut confirmed = HashSet::new();
    let mut first = 1_u32;
    for round in 0..ROUNDS {
        std::fs::write(dir.path().join("first"), first.to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut other = Vec::new();
        for line in lines.map_while(Result::ok) {
            match line.strip_prefix("ok ").and_then(|number| number.parse::<u32>().ok()) {
                Some(number) => {
                    confirmed.insert(number);
                    first = first.max(number + 1);
                }
                None => other.push(line),
            }
            // A different number of confirmations each round: the kill falls anywhere.
            if confirmed.len() as u32 >= (round + 1) * 60 + round * round {
                let _ = child.kill();
            }
        }
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the child was killed, not broken: {other:?}");
        // Numbers that were taken but not confirmed are not used again.
        first += 2 * SUBMITTERS;
    }

    let (queue, recovered) = Queue::open(&dir.path().join("spool"), small_segments()).unwrap();
    assert!(recovered.damaged.is_empty(), "{recovered:?}");
    assert!(recovered.without_body.is_empty(), "{recovered:?}");
    let queued: HashSet<_> = queue.list(usize::MAX).into_iter().map(|entry| entry.id).collect();
    let mut deliveries: HashMap<String, u32> = HashMap::new();
    for line in std::fs::read_to_string(dir.path().join("ledger")).unwrap().lines() {
        *deliveries.entry(line.to_owned()).or_default() += 1;
    }
    for number in &confirmed {
        let id = id(*number);
        let delivered = deliveries.contains_key(&id.to_string());
        assert!(delivered || queued.contains(&id), "message {number} is lost");
    }
    for entry in queue.list(usize::MAX) {
        let message = queue.read(entry.id).unwrap();
        let bytes = bytes_of(&message);
        let text = String::from_utf8_lossy(&bytes[..10.min(bytes.len())]).trim().to_owned();
        let written: u32 = text.parse().expect("the body begins with its number");
        assert_eq!(entry.id, id(written), "the body is the right one");
        assert_eq!(bytes, body(written), "message {written} is whole");
    }
    let twice = deliveries.values().filter(|count| **count > 1).count();
    let deliveries: u32 = deliveries.values().sum();
    println!("{} confirmed, {deliveries} deliveries, {twice} twice", confirmed.len());
    // Jobs that one kill can catch between delivery and record: those of one destination.
    assert!(twice as u32 <= ROUNDS * 200, "{twice} messages were delivered twice");
}
