//! One SMTP transaction over loopback: received, unpacked, scanned, judged, answered. Nothing is
//! stored, so this is the processor's share of a message, client included.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use divan::counter::BytesCount;
use imss_core::entity::Entities;
use imss_core::ids::QueueId;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;
use imss_policy::{Facts, Policy};
use imss_relay::inbound::relaying::RelayRules;
use imss_relay::inbound::server::TlsUse;
use imss_relay::inbound::settings::SessionLimits;
use imss_relay::inbound::{
    Acceptor, Leave, Listener, Mode, Received, Reply, Server, Settings, Stage,
};
use imss_relay::spool::writer::BodyWriter;
use imss_scan::{Answers, Input, Scanner};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn main() {
    divan::main();
}

struct Judge {
    policy: Policy,
    scanner: Scanner,
    counter: AtomicU16,
}

impl Acceptor for Judge {
    fn next_id(&self) -> QueueId {
        QueueId::new(1, 0, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    async fn check(&self, _: Stage<'_>) -> Result<Leave, Reply> {
        Ok(Leave::default())
    }

    fn body_writer(&self, _: QueueId) -> BodyWriter {
        BodyWriter::in_memory()
    }

    async fn accept(&self, received: Received) -> Reply {
        let (limits, stop) = (Limits::default(), StopFlag::new());
        let envelope = &received.envelope;
        let raw = received.body.read(0..received.body.len()).expect("in memory");
        let message = Message::parse(raw, &limits);
        let entities = Entities::extract(&message, &limits, &stop);
        let routes = self.policy.routes(envelope);
        let wanted = routes.selection();
        let input = Input { envelope, message: &message, entities: &entities, wanted, stop: &stop };
        let scan = self.scanner.scan(&input, &Answers::default());
        let facts = Facts { envelope, message: &message, entities: &entities };
        let decisions = self.policy.decide(&routes, &facts, &scan.findings);
        Reply::new(250, (2, 0, 0), decisions.verdict.to_string())
    }
}

#[divan::bench(args = ["text", "html", "attachment"])]
fn relay(bencher: divan::Bencher<'_, '_>, shape: &str) {
    let raw = common::message(shape);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (server, mut client) = runtime.block_on(async {
        let server = start();
        let client = Smtp::connect(server.addresses()[0]).await;
        (server, client)
    });
    let reply = runtime.block_on(client.send(&raw));
    assert_eq!(reply, "250 2.0.0 clean\r\n", "{shape}");
    bencher.counter(BytesCount::new(raw.len())).bench_local(|| {
        runtime.block_on(client.send(divan::black_box(&raw)));
    });
    drop(server);
}

fn start() -> Server {
    let (policy, scanner) = common::builtin();
    let judge = Judge { policy, scanner, counter: AtomicU16::new(0) };
    let trusted_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    let settings = Settings {
        relaying: RelayRules { trusted_networks, ..RelayRules::default() },
        limits: SessionLimits { messages: u32::MAX, ..SessionLimits::default() },
        ..Settings::default()
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener { address, mode: Mode::Edge, tls: TlsUse::Off, settings: None };
    Server::start(vec![listener], settings, Arc::new(judge)).expect("a free port")
}

struct Smtp(BufReader<TcpStream>);

impl Smtp {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let mut smtp = Self(BufReader::new(stream));
        smtp.reply().await;
        smtp.write(b"EHLO a.example\r\n").await;
        smtp.reply().await;
        smtp
    }

    /// One transaction, pipelined. The shapes have no line that begins with a dot.
    async fn send(&mut self, raw: &[u8]) -> String {
        let envelope = b"MAIL FROM:<taro@example.net>\r\nRCPT TO:<hanako@example.com>\r\nDATA\r\n";
        self.write(envelope).await;
        for _ in 0..3 {
            self.reply().await;
        }
        self.write(raw).await;
        self.write(b".\r\n").await;
        self.reply().await
    }

    async fn write(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).await.expect("the server reads");
    }

    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("the server answers");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }
}
