//! A driver without sockets, an acceptor that keeps what it gets, and a client for real sockets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use imss_core::envelope::{Client, Envelope, ForwardPath};
use imss_core::ids::QueueId;
use imss_relay::inbound::auth::LoginAnswer;
use imss_relay::inbound::auth::exchange::Claim;
use imss_relay::inbound::server::TlsUse;
use imss_relay::inbound::session::{Event, Session};
use imss_relay::inbound::{
    Acceptor, Leave, Listener, Mode, Protocol, Received, Reply, Server, SessionEvent, Settings,
    Stage,
};
use imss_relay::spool::writer::BodyWriter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Settings with `ours.example` as our domain and nobody trusted.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings { hostname: "mx.ours.example".to_owned(), ..Settings::default() };
    settings.relaying.domains.insert("ours.example").unwrap();
    settings
}

/// What came of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// All replies, as sent.
    pub(crate) replies: String,
    /// Messages that came in whole, with their envelopes.
    pub(crate) messages: Vec<(Envelope, Protocol, Vec<u8>)>,
    /// Whether we ended the session.
    pub(crate) is_closed: bool,
}

impl Outcome {
    /// The codes of the replies, one per reply.
    pub(crate) fn codes(&self) -> Vec<&str> {
        let is_final = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        self.replies.lines().filter(is_final).map(|line| &line[..3]).collect()
    }
}

/// Runs `input` through a session, as pieces that end at `cuts`.
pub(crate) fn talk(settings: &Settings, client: &str, input: &[u8], cuts: &[usize]) -> Outcome {
    talk_with(settings, client, input, cuts, |_| Ok(()))
}

/// As [`talk`], with what is answered at each stage.
pub(crate) fn talk_with(
    settings: &Settings,
    client: &str,
    input: &[u8],
    cuts: &[usize],
    verdict: impl Fn(Stage<'_>) -> Result<(), Reply>,
) -> Outcome {
    let client = Client::new(client.parse().unwrap());
    let mut session = Session::new(Arc::new(settings.clone()), Mode::Edge, client, true);
    let mut outcome = Outcome::default();
    let mut body: Option<Vec<u8>> = None;
    let mut buffer = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        buffer.extend_from_slice(&input[from..cut]);
        from = cut;
        loop {
            let step = session.step(&buffer);
            let mut is_waiting = false;
            match step.event {
                Event::Continue => {}
                Event::Check => {
                    session.resume(verdict(session.stage().unwrap()).map(|()| Leave::default()))
                }
                Event::More => is_waiting = true,
                Event::Login => {
                    let users = settings.auth.users.as_ref().unwrap();
                    let answer = match session.claim().unwrap() {
                        Claim::Proven { name } => LoginAnswer::Right(name.clone()),
                        Claim::Password { name, password } if users.is_right(name, password) => {
                            LoginAnswer::Right(name.clone())
                        }
                        Claim::Password { .. } | Claim::Wrong { .. } => LoginAnswer::Wrong,
                    };
                    session.logged_in(answer);
                }
                Event::Begin => assert!(body.replace(Vec::new()).is_none(), "a body is open"),
                Event::Content(content) => body.as_mut().unwrap().extend_from_slice(content),
                Event::Abandon => assert!(body.take().is_some(), "no body is open"),
                Event::End(complete) => {
                    let body = body.take().unwrap();
                    outcome.messages.push((complete.envelope, complete.protocol, body));
                    session.answer(&Reply::new(250, (2, 0, 0), "Taken"));
                }
                Event::StartTls => {
                    // As after a handshake: what came before it is gone.
                    body = None;
                    buffer.clear();
                    session.secured("TLSv1.3 TLS13_AES_256_GCM_SHA384".to_owned());
                    break;
                }
                Event::Quit | Event::Close => outcome.is_closed = true,
            }
            let consumed = step.consumed;
            buffer.drain(..consumed.min(buffer.len()));
            if is_waiting || outcome.is_closed {
                break;
            }
        }
        if outcome.is_closed {
            break;
        }
    }
    outcome.replies = String::from_utf8(std::mem::take(session.output())).unwrap();
    outcome
}

/// Keeps what it accepts.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    pub(crate) counter: AtomicU16,
    pub(crate) messages: Mutex<Vec<(Received, Vec<u8>)>>,
    /// What `check` says, after a pause, at the stages whose names begin with the word.
    pub(crate) refused: Mutex<Option<(&'static str, Reply)>>,
    /// How long `check` takes.
    pub(crate) check_takes: std::time::Duration,
    /// What `observe` was told.
    pub(crate) events: Mutex<Vec<String>>,
    /// What every `check` at the connection and at `MAIL FROM` says.
    pub(crate) shed: Mutex<Option<Reply>>,
    /// How long `accept` takes.
    pub(crate) accept_takes: std::time::Duration,
    /// Bodies go to a folder that is not there.
    pub(crate) has_no_disk: bool,
}

impl Acceptor for Keeper {
    fn next_id(&self) -> QueueId {
        QueueId::new(1, 2, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    fn check(&self, stage: Stage<'_>) -> impl Future<Output = Result<Leave, Reply>> + Send {
        let name = format!("{stage:?}");
        let refused = self.refused.lock().unwrap().clone();
        let refused = refused.filter(|(word, _)| name.starts_with(word)).map(|(_, reply)| reply);
        let is_shed = matches!(stage, Stage::Connect { .. } | Stage::Mail { .. });
        let shed = self.shed.lock().unwrap().clone().filter(|_| is_shed);
        async move {
            if !self.check_takes.is_zero() {
                tokio::time::sleep(self.check_takes).await;
            }
            refused.or(shed).map_or(Ok(Leave::default()), Err)
        }
    }

    async fn verify(&self, recipient: &ForwardPath) -> Result<(), Reply> {
        let is_known = !recipient.to_string().starts_with("unknown");
        if is_known { Ok(()) } else { Err(Reply::new(550, (5, 1, 1), "No such mailbox here")) }
    }

    fn observe(&self, event: SessionEvent<'_>) {
        let text = match event {
            SessionEvent::RecipientRefused { recipient, reply, .. } => {
                format!("refused {recipient}: {}", reply.code)
            }
            SessionEvent::RecipientAccepted { before, .. } => format!("accepted after {before}"),
            SessionEvent::LoginFailed { .. } => "login failed".to_owned(),
            SessionEvent::Answered { reply, .. } => format!("answered {}", reply.code),
            SessionEvent::Disconnected { messages, errors, .. } => {
                format!("left after {messages} messages, {errors} errors")
            }
        };
        self.events.lock().unwrap().push(text);
    }

    fn body_writer(&self, id: QueueId) -> BodyWriter {
        if self.has_no_disk {
            let nowhere = std::path::PathBuf::from("/nonexistent/folder");
            let store = imss_relay::spool::writer::BodyStore::new(nowhere);
            return store.with_memory_bytes(10).writer(id);
        }
        BodyWriter::in_memory()
    }

    fn accept(&self, received: Received) -> impl Future<Output = Reply> + Send {
        let takes = self.accept_takes;
        async move {
            tokio::time::sleep(takes).await;
            let content = received.body.read(0..received.body.len()).unwrap().to_vec();
            self.messages.lock().unwrap().push((received, content));
            Reply::new(250, (2, 0, 0), "Taken")
        }
    }
}

/// A server at a free port of 127.0.0.1.
pub(crate) fn start(settings: Settings, keeper: &Arc<Keeper>, tls: TlsUse) -> (Server, SocketAddr) {
    let listener =
        Listener { address: ([127, 0, 0, 1], 0).into(), mode: Mode::Edge, tls, settings: None };
    let server = Server::start(vec![listener], settings, Arc::clone(keeper)).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

/// A client that says what it is told.
pub(crate) struct Talker<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talker<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next reply, all its lines; empty when the server has closed.
    pub(crate) async fn reply(&mut self) -> String {
        loop {
            if let Some(reply) = self.take_reply() {
                return reply;
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more).await {
                Ok(0) => return String::new(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return String::new();
                }
                read => self.buffer.extend_from_slice(&more[..read.unwrap()]),
            }
        }
    }

    /// Sends a line and reads the reply.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    fn take_reply(&mut self) -> Option<String> {
        let text = std::str::from_utf8(&self.buffer).unwrap();
        let mut length = 0;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            length += line.len();
            if line.as_bytes()[3] == b' ' {
                let reply = text[..length].to_owned();
                self.buffer.drain(..length);
                return Some(reply);
            }
        }
        None
    }
}
