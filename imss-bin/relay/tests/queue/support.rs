//! Messages, a clock that the test sets, a deliverer that does as it is told, and a disk that fails.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use imss_core::edit::{Piece, Rope};
use imss_core::envelope::{
    ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::ids::QueueId;
use imss_relay::outbound::{
    Attempt, Deliverer, DestinationKey, Failure, Handover, Job, NextHop, Scope,
};
use imss_relay::quarantine::Quarantine;
use imss_relay::queue::{Clock, Event, Hooks, Notifier, Observer, Queue, Report, Settings};
use imss_relay::spool::body::Body;
use imss_relay::spool::storage::{Disk, Storage, Writable};
use imss_relay::spool::{Accepted, CopyRecord, Destination, Summary};
use tokio_util::sync::CancellationToken;

/// When test messages come in.
pub(crate) const NOON: u64 = 1_795_353_600_000;

pub(crate) fn id(number: u32) -> QueueId {
    QueueId::new(NOON, (number >> 16) as u16, (number & 0xFFFF) as u16)
}

pub(crate) fn to(addresses: &[&str]) -> Vec<Recipient> {
    let recipient = |text: &&str| Recipient {
        path: ForwardPath::parse(text, Syntax::LAX).expect("an address"),
        parameters: RcptParameters::default(),
    };
    addresses.iter().map(recipient).collect()
}

pub(crate) fn copy(addresses: &[&str], destination: Destination) -> CopyRecord {
    CopyRecord {
        reverse_path: ReversePath::parse("author@example.org", Syntax::LAX).expect("an address"),
        parameters: MailParameters::default(),
        recipients: to(addresses),
        rope: Rope::original(0),
        destination,
        summary: Summary { subject: "A subject".to_owned(), ..Summary::default() },
    }
}

/// A message whose copies are a trace field and the body.
pub(crate) fn message(number: u32, body: &[u8], mut copies: Vec<CopyRecord>) -> Accepted {
    let length = body.len() as u64;
    for copy in &mut copies {
        let field = Bytes::from(format!("Received: number {number}\r\n"));
        let mut pieces = vec![Piece::Inserted(field)];
        pieces.extend((length > 0).then(|| Piece::Original(0..length)));
        copy.rope = Rope { pieces };
    }
    Accepted {
        id: id(number),
        received_unix_millis: NOON,
        body: Body::Memory(Bytes::copy_from_slice(body)),
        copies,
        record: Bytes::from_static(b"{\"verdict\":\"clean\"}"),
    }
}

/// A message for one recipient.
pub(crate) fn plain(number: u32, body: &[u8]) -> Accepted {
    message(number, body, vec![copy(&["user@example.com"], Destination::NextHop)])
}

pub(crate) fn bytes_of(message: &Accepted) -> Vec<u8> {
    let body = message.body.read(0..message.body.len()).expect("the body is readable");
    body.to_vec()
}

pub(crate) fn settings() -> Settings {
    Settings { reserve_bytes: 64 << 10, grace: Duration::from_secs(5), ..Settings::default() }
}

#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOON)))
    }

    pub(crate) fn advance(&self, queue: &Queue, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        queue.wake();
    }
}

impl Clock for TestClock {
    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a recipient's next attempts give; afterwards they are delivered.
pub(crate) type Script = HashMap<String, Vec<Attempt>>;

/// A job: the message, its recipients, the bytes.
pub(crate) type Delivery = (QueueId, Vec<String>, Vec<u8>);

/// Does as its script says and remembers everything.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) script: Mutex<Script>,
    pub(crate) jobs: Mutex<Vec<Delivery>>,
    pub(crate) running: AtomicI64,
    pub(crate) most_running: AtomicI64,
    pub(crate) pace: Duration,
}

impl Scripted {
    pub(crate) fn new(script: &[(&str, &[Attempt])]) -> Arc<Self> {
        let script = script.iter().map(|(to, attempts)| ((*to).to_owned(), attempts.to_vec()));
        Arc::new(Self { script: Mutex::new(script.collect()), ..Self::default() })
    }

    pub(crate) fn attempts_for(&self, address: &str) -> usize {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().filter(|(_, to, _)| to.iter().any(|one| one == address)).count()
    }
}

impl Deliverer for Scripted {
    async fn deliver(&self, job: Job) -> Vec<Attempt> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(self.pace).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let content: Vec<u8> =
            job.content.chunks().flat_map(|chunk| chunk.expect("a chunk").to_vec()).collect();
        let to: Vec<String> = job.recipients.iter().map(|one| one.path.to_string()).collect();
        self.jobs.lock().unwrap().push((job.id, to.clone(), content));
        let mut script = self.script.lock().unwrap();
        to.iter()
            .map(|to| match script.get_mut(to).filter(|attempts| !attempts.is_empty()) {
                Some(attempts) => attempts.remove(0),
                None => delivered(),
            })
            .collect()
    }

    fn destination(&self, _: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        DestinationKey::new(&NextHop::Mx, recipient)
    }
}

pub(crate) fn delivered() -> Attempt {
    Attempt::Delivered {
        host: "mx.example".to_owned(),
        reply: "250 ok".to_owned(),
        handover: Handover::RelayedWithDsn,
    }
}

pub(crate) fn later(scope: Scope) -> Attempt {
    Attempt::Transient(Failure::own((4, 4, 1), "not now", scope))
}

pub(crate) fn never() -> Attempt {
    Attempt::Permanent(Failure::own((5, 1, 1), "nobody here", Scope::Recipient))
}

/// Writes events down as `recipient word`, and builds notices to `author@example.org`.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) events: Mutex<Vec<String>>,
    pub(crate) reports: Mutex<Vec<Report>>,
}

impl Notes {
    pub(crate) fn hooks(self: &Arc<Self>) -> Hooks {
        Hooks { observer: Arc::clone(self) as _, notifier: Arc::clone(self) as _ }
    }

    /// Waits until so many events were noted, and gives them in alphabetical order.
    pub(crate) async fn wait(&self, count: usize) -> Vec<String> {
        for _ in 0..2000 {
            {
                let mut events = self.events.lock().unwrap().clone();
                if events.len() >= count {
                    events.sort();
                    return events;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} events expected, got {:?}", self.events.lock().unwrap());
    }
}

impl Observer for Notes {
    fn disposition(&self, event: &Event<'_>) {
        let line = format!("{} {}", event.recipient, event.disposition.as_str());
        self.events.lock().unwrap().push(line);
    }
}

impl Notifier for Notes {
    fn notice(&self, report: &Report) -> Option<Accepted> {
        let mut reports = self.reports.lock().unwrap();
        reports.push(report.clone());
        let copies = vec![CopyRecord {
            reverse_path: ReversePath::Null,
            ..copy(&[report.reverse_path.to_string().as_str()], Destination::NextHop)
        }];
        Some(message(90_000 + reports.len() as u32, b"a notice\r\n", copies))
    }
}

/// A queue that delivers, and what belongs to it.
pub(crate) struct Running {
    pub(crate) queue: Queue,
    pub(crate) notes: Arc<Notes>,
    stop: CancellationToken,
    worker: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(dir: &Path, settings: Settings, deliverer: &Arc<Scripted>) -> Self {
        let (queue, _) = Queue::open(&dir.join("spool"), settings).expect("the spool opens");
        let notes = Arc::new(Notes::default());
        let stop = CancellationToken::new();
        let worker = {
            let (queue, deliverer, stop) = (queue.clone(), Arc::clone(deliverer), stop.clone());
            let (hooks, store) = (notes.hooks(), Quarantine::new(dir));
            tokio::spawn(async move { queue.run(deliverer, store, hooks, stop).await })
        };
        Self { queue, notes, stop, worker }
    }

    /// Waits until the queue is empty.
    pub(crate) async fn drained(&self) {
        for _ in 0..2000 {
            if self.queue.counts().messages == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not drained: {:?}", self.queue.list(10));
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.worker.await.expect("the worker ends");
    }
}

/// A disk with so many octets left, and syncs that fail when they are told to.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    pub(crate) left: Arc<AtomicI64>,
    pub(crate) syncs_left: Arc<AtomicI64>,
}

impl Failing {
    pub(crate) fn new(left: i64) -> Arc<Self> {
        Arc::new(Self {
            left: Arc::new(AtomicI64::new(left)),
            syncs_left: Arc::new(AtomicI64::new(i64::MAX)),
        })
    }

    fn take(&self, octets: u64) -> io::Result<()> {
        let octets = octets as i64;
        if self.left.fetch_sub(octets, Ordering::SeqCst) < octets {
            self.left.fetch_add(octets, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Box<dyn Writable>,
    disk: Failing,
    length: u64,
}

impl Storage for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writable>> {
        Ok(Box::new(FailingFile { file: Disk.create(path)?, disk: self.clone(), length: 0 }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Disk.sync_dir(path)
    }

    /// The reserve is remembered by the file's length; its removal gives nothing back here.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        self.take(bytes)?;
        Disk.reserve(path, bytes)
    }
}

impl Writable for FailingFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let wanted: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let left = self.disk.left.load(Ordering::SeqCst).max(0) as u64;
        if wanted > left {
            // As real disks do: a part is written, then it fails.
            let part =
                slices.first().map_or(&[][..], |slice| &slice[..slice.len().min(left as usize)]);
            if part.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.disk.take(part.len() as u64)?;
            self.length = offset + part.len() as u64;
            return self.file.write_at(&[IoSlice::new(part)], offset);
        }
        self.disk.take(wanted)?;
        self.length = offset + wanted;
        self.file.write_at(slices, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.syncs_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let freed = self.length.saturating_sub(length) as i64;
        self.disk.left.fetch_add(freed, Ordering::SeqCst);
        self.length = length;
        self.file.truncate(length)
    }

    fn file(&self) -> Arc<File> {
        self.file.file()
    }
}
