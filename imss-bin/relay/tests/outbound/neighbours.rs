//! Destinations that hang, greylist or lie, in one queue with one that works: mail for that one goes.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::envelope::{
    ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::ids::QueueId;
use imss_relay::outbound::{NextHop, Outbound, Settings, Tls, TlsLevel};
use imss_relay::quarantine::Quarantine;
use imss_relay::queue::{self, Event, Hooks, Observer, Queue, Silent};
use imss_relay::spool::body::Body;
use imss_relay::spool::{Accepted, CopyRecord, Destination, Summary};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::Step::{Data, DataThenClose, Reply, Say};
use crate::support::{MESSAGE, Scripted, Step, resolver, settings};

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn disposition(&self, event: &Event<'_>) {
        let line = format!("{} {}", event.recipient, event.disposition.as_str());
        self.0.lock().expect("no panic").push(line);
    }
}

impl Seen {
    /// Waits until `line` was seen so often.
    async fn wait(&self, line: &str, count: usize) {
        for _ in 0..3_000 {
            if self.0.lock().expect("no panic").iter().filter(|one| *one == line).count() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} times {line:?} expected, got {:?}", self.0.lock().expect("no panic"));
    }
}

fn message(number: u16, to: &str) -> Accepted {
    let parameters = RcptParameters::default();
    let path = ForwardPath::parse(to, Syntax::LAX).expect(to);
    Accepted {
        id: QueueId::new(1_800_000_000_000, 1, number),
        received_unix_millis: queue::Clock::unix_millis(&queue::SystemClock),
        body: Body::Memory(Bytes::from_static(MESSAGE.as_bytes())),
        copies: vec![CopyRecord {
            reverse_path: ReversePath::Null,
            parameters: MailParameters::default(),
            recipients: vec![Recipient { path, parameters }],
            rope: Rope::original(MESSAGE.len() as u64),
            destination: Destination::NextHop,
            summary: Summary::default(),
        }],
        record: Bytes::new(),
    }
}

/// Accepts connections on every loopback address and never says a word.
async fn silent() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    port
}

/// A queue that delivers by `settings`, and what was seen of it.
struct Running {
    queue: Queue,
    seen: Arc<Seen>,
    stop: CancellationToken,
    worker: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(settings: Settings, jobs: usize) -> Self {
        let tls = Tls::unverified(TlsLevel::Off).expect("TLS");
        let outbound = Arc::new(Outbound::new(settings, resolver(), tls));
        let folder = tempfile::tempdir().expect("a folder");
        let grace = Duration::from_millis(10);
        let settings = queue::Settings { jobs, grace, ..queue::Settings::default() };
        let (queue, _) = Queue::open(&folder.path().join("spool"), settings).expect("a spool");
        let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
        let hooks = Hooks { observer: Arc::clone(&seen) as _, notifier: Arc::new(Silent) };
        let worker = {
            let (queue, stop) = (queue.clone(), stop.clone());
            let store = Quarantine::new(folder.path());
            tokio::spawn(async move { queue.run(outbound, store, hooks, stop).await })
        };
        Self { queue, seen, stop, worker, _folder: folder }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.worker.await.expect("the worker ends");
    }
}

/// By MX to servers that are silent, besides those domains that have a server of their own.
async fn beside_silent(servers: &[(&str, &Scripted)]) -> Settings {
    let mut settings = settings("mx");
    settings.mx_port = silent().await;
    settings.timeouts.greeting = Duration::from_secs(600);
    settings.pool.idle = Duration::ZERO;
    for (domain, server) in servers {
        let hop: NextHop = server.hop("smtp").parse().expect("a next hop");
        settings.routing.by_domain.insert((*domain).to_owned(), hop);
    }
    settings
}

fn talk(end: Step) -> Vec<Step> {
    let ok = "250 ok\r\n";
    vec![Say("220 x\r\n"), Reply(ok), Reply(ok), Reply(ok), Reply("354 go\r\n"), end]
}

/// Fifty that hang, with more mail than there are deliveries, and then one that nobody knows yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_new_finds_room() {
    let good = Scripted::start(vec![talk(Data("250 ok\r\n"))]).await;
    let settings = beside_silent(&[("good.example", &good)]).await;
    let running = Running::start(settings, queue::Settings::default().jobs);
    let hanging = (0..600_u16).map(|n| message(100 + n, &format!("u@[127.0.0.{}]", 10 + n % 50)));
    running.queue.submit(hanging.collect()).await.expect("stored");
    for number in 1..20 {
        running.queue.submit(vec![message(number, "u@good.example")]).await.expect("stored");
    }
    running.seen.wait("u@good.example delivered", 19).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_works_is_not_kept_waiting() {
    let ok = "250 ok\r\n";
    let good = Scripted::start(vec![talk(Data(ok))]).await;
    let liar = Scripted::start(vec![talk(DataThenClose)]).await;
    let grey = Scripted::start(vec![vec![
        Say("220 x\r\n"),
        Reply(ok),
        Reply(ok),
        Reply("451 4.7.1 come back\r\n"),
        Reply("503 no\r\n"),
    ]])
    .await;
    let servers = [("good.example", &good), ("liar.example", &liar), ("grey.example", &grey)];
    let running = Running::start(beside_silent(&servers).await, 8);
    let (queue, seen) = (&running.queue, &running.seen);
    queue.submit(vec![message(1, "u@good.example")]).await.expect("stored");
    seen.wait("u@good.example delivered", 1).await;
    for (number, to) in [(2, "u@liar.example"), (3, "u@grey.example")] {
        queue.submit(vec![message(number, to)]).await.expect("stored");
        seen.wait(&format!("{to} deferred"), 1).await;
    }
    // Forty that hang, three messages for each: many more than there are jobs.
    let hanging = (0..120_u16).map(|n| message(100 + n, &format!("u@[127.0.0.{}]", 10 + n % 40)));
    queue.submit(hanging.collect()).await.expect("stored");
    for number in 10..30 {
        queue.submit(vec![message(number, "u@good.example")]).await.expect("stored");
    }
    seen.wait("u@good.example delivered", 21).await;
    running.stop().await;
}
