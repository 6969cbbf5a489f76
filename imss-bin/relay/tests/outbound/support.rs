//! Jobs, clients, and a server that follows a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use imss_core::edit::Rope;
use imss_core::envelope::{
    ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::ids::QueueId;
use imss_relay::outbound::{Attempt, Job, NextHop, Outbound, Settings, Tls, TlsLevel};
use imss_relay::spool::body::{Body, Content};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const MESSAGE: &str = "Subject: test\r\n\r\nHello\r\n.dot\r\n";

pub(crate) fn job(recipients: &[&str], raw: impl Into<Bytes>) -> Job {
    let raw = raw.into();
    let rope = Rope::original(raw.len() as u64);
    let recipient = |text: &&str| Recipient {
        path: ForwardPath::parse(text, Syntax::LAX).expect(text),
        parameters: RcptParameters::default(),
    };
    Job {
        id: QueueId::new(1, 2, 3),
        reverse_path: ReversePath::parse("sender@example.net", Syntax::LAX).expect("a path"),
        parameters: MailParameters::default(),
        recipients: recipients.iter().map(recipient).collect(),
        content: Content { body: Body::Memory(raw), rope },
        next_hop: None,
    }
}

pub(crate) fn resolver() -> TokioResolver {
    TokioResolver::builder_tokio().expect("resolv.conf").build().expect("a resolver")
}

pub(crate) fn settings(next_hop: &str) -> Settings {
    let mut settings = Settings::new("own.example", next_hop.parse::<NextHop>().expect("a hop"));
    let short = Duration::from_secs(5);
    settings.timeouts.greeting = short;
    settings.timeouts.command = short;
    settings.timeouts.data_end = short;
    settings
}

pub(crate) fn client(settings: Settings) -> Outbound {
    Outbound::new(settings, resolver(), Tls::unverified(TlsLevel::Opportunistic).expect("TLS"))
}

/// A short form: `ok HANDOVER`, `later 4.2.1`, `never 5.1.1`.
pub(crate) fn short(attempts: &[Attempt]) -> Vec<String> {
    let one = |attempt: &Attempt| match attempt {
        Attempt::Delivered { handover, .. } => format!("ok {handover:?}"),
        Attempt::Transient(failure) => format!("later {}", failure.status()),
        Attempt::Permanent(failure) => format!("never {}", failure.status()),
    };
    attempts.iter().map(one).collect()
}

/// What a scripted server does next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends these bytes without waiting.
    Say(&'static str),
    /// Reads a line and replies.
    Reply(&'static str),
    /// Reads the data to its end, then replies.
    Data(&'static str),
    /// Reads the data to its end, then closes.
    DataThenClose,
    /// Closes.
    Close,
    /// Reads a line and stays silent.
    Hang,
}

/// A server that plays one script per connection (the last one again and again) and records what it
/// was sent.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let script = scripts[number.min(scripts.len() - 1)].clone();
                number += 1;
                tokio::spawn(play(stream, script, Arc::clone(&record)));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn hop(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// All lines received, over all connections.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

async fn play(stream: TcpStream, script: Vec<Step>, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    for step in script {
        let (wants_line, wants_data, reply) = match step {
            Step::Say(text) => (false, false, Some(text)),
            Step::Reply(text) => (true, false, Some(text)),
            Step::Data(text) => (true, true, Some(text)),
            Step::DataThenClose => (true, true, None),
            Step::Close => (false, false, None),
            Step::Hang => (true, false, Some("")),
        };
        loop {
            if !wants_line {
                break;
            }
            line.clear();
            if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let text = String::from_utf8_lossy(&line).replace("\r\n", "");
            seen.lock().expect("no panic").push(text.clone());
            if !wants_data || text == "." {
                break;
            }
        }
        let Some(reply) = reply else { return };
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
    // Stay until the client goes.
    let _ = stream.read_to_end(&mut line).await;
}
