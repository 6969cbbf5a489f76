//! Drives one session over a socket: reads much at once, sends all replies of a batch in one
//! write, keeps time, and stops when told to.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imss_core::envelope::Client;
use imss_core::ids::QueueId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::auth::LoginAnswer;
use super::buffer::Buffer;
use super::server::{Listener, Shared, TlsUse};
use super::session::{Complete, Event, Session};
use super::settings::{Settings, Timeouts};
use super::slots::Slot;
use super::{Acceptor, Leave, Received, Reply, SessionEvent, Stage, TlsStore, haproxy, reply};
use crate::spool::SpoolError;
use crate::spool::body::Body;
use crate::spool::writer::BodyWriter;

/// Pieces of content below this are gathered before they are written.
const SMALL_BYTES: usize = 256;
/// How much is gathered.
const GATHERED_BYTES: usize = 8 << 10;
/// How long, and how much, we read from a client that we are done with, so that it reads our last
/// reply before the reset that unread octets would cause.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
/// What channel binding exports (RFC 9266 §2).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// Longest delay of a failure to log in.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// One connection.
pub(super) struct Connection<A> {
    session: Session,
    settings: Arc<Settings>,
    listener: Arc<Listener>,
    shared: Arc<Shared<A>>,
    buffer: Buffer,
    body: Option<Incoming>,
    /// When the message on its way must be complete.
    message_deadline: Instant,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// For good.
    Gone,
    /// It goes on inside TLS.
    Handshake,
}

/// Serves a connection to its end. The slots are free again when this returns.
pub(super) async fn serve<A: Acceptor>(
    mut connection: Connection<A>,
    stream: TcpStream,
    slots: [Slot; 2],
) {
    let cut = connection.shared.cut.clone();
    let ip = connection.session.client().ip;
    let mut slots = Some(slots);
    tokio::select! {
        result = connection.run(stream, &mut slots) => if let Err(error) = result {
            tracing::debug!(client = %ip, %error, "connection lost");
        },
        () = cut.cancelled() => tracing::warn!(client = %ip, "connection cut while stopping"),
    }
    connection.left();
    drop(slots);
}

impl<A: Acceptor> Connection<A> {
    pub(super) fn new(
        client: Client,
        settings: Arc<Settings>,
        listener: Arc<Listener>,
        shared: Arc<Shared<A>>,
    ) -> Self {
        let offers_tls = matches!(listener.tls, TlsUse::StartTls(_));
        Self {
            session: Session::new(Arc::clone(&settings), listener.mode, client, offers_tls),
            settings,
            listener,
            shared,
            buffer: Buffer::default(),
            body: None,
            message_deadline: Instant::now(),
        }
    }

    async fn run(
        &mut self,
        mut stream: TcpStream,
        slots: &mut Option<[Slot; 2]>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let ip = self.session.client().ip;
        if self.settings.proxy_from.iter().any(|network| network.contains(&ip)) {
            self.learn_client(&mut stream, slots).await?;
        }
        let listener = Arc::clone(&self.listener);
        match &listener.tls {
            TlsUse::Implicit(store) => {
                let mut stream = self.handshake(stream, store).await?;
                self.session.greet();
                self.converse(&mut stream).await?;
            }
            TlsUse::Off | TlsUse::StartTls(_) => {
                self.greet(&stream).await;
                let ended = self.converse(&mut stream).await?;
                if let (Ended::Handshake, TlsUse::StartTls(store)) = (ended, &listener.tls) {
                    let mut stream = self.handshake(stream, store).await?;
                    self.converse(&mut stream).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads the PROXY header, and not an octet of what follows: that may be a TLS handshake.
    async fn learn_client(
        &mut self,
        stream: &mut TcpStream,
        slots: &mut Option<[Slot; 2]>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + self.timeouts().handshake;
        let header = loop {
            let known = self.buffer.octets();
            if let Some(header) = haproxy::read(known).map_err(io::Error::other)? {
                break header;
            }
            let missing = haproxy::missing(known);
            let space = self.buffer.space().get_mut(..missing).unwrap_or_default();
            let read = timeout_at(deadline, stream.read(space));
            match unless_stopped(&self.shared.stop, read).await??? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                octets => self.buffer.add(octets),
            }
        };
        self.buffer.clear();
        let Some(ip) = header.client else { return Ok(()) };
        self.session.speaks_for(Client::new(ip));
        let is_trusted = self.session.role().is_trusted;
        let everywhere = self.shared.settings.load();
        let passed = slots.take().map(|[all, here]| {
            let all = all.pass_to(ip, is_trusted, &everywhere.limits)?;
            Ok([all, here.pass_to(ip, is_trusted, &self.settings.limits)?])
        });
        match passed.transpose() {
            Ok(passed) => *slots = passed,
            Err(reply) => self.session.close_with(&reply),
        }
        Ok(())
    }

    /// Tells that the session is over.
    fn left(&self) {
        let (client, role) = (self.session.client(), self.session.role());
        let (messages, errors) = self.session.counted();
        let event = SessionEvent::Disconnected { client, role, messages, errors };
        self.shared.acceptor.observe(event);
    }

    /// Greets, unless the client talks first where it must not.
    async fn greet(&mut self, stream: &TcpStream) {
        if self.session.is_closed() {
            return;
        }
        let ends = self.settings.early_talker_wait;
        let (client, role) = (self.session.client(), self.session.role());
        let asked = self.shared.acceptor.listens_first(client, role);
        if let Some(wait) = ends.max(asked) {
            // A client that has left did not speak.
            let mut octet = [0];
            let heard = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => {
                    return self.session.close_with(&reply::stopping());
                }
                heard = timeout(wait, stream.peek(&mut octet)) => heard,
            };
            if matches!(heard, Ok(Ok(1..))) {
                if ends.is_some() {
                    return self.session.close_with(&reply::early_talker());
                }
                self.session.spoke_early();
            }
        }
        self.session.greet();
    }

    async fn handshake(
        &mut self,
        stream: TcpStream,
        store: &TlsStore,
    ) -> io::Result<TlsStream<TcpStream>> {
        // What came before the handshake was not protected by it: anybody on the way could have
        // put it there (the STARTTLS injection of CVE-2011-0411).
        self.buffer.clear();
        let limit = self.timeouts().handshake;
        let handshake = timeout(limit, store.acceptor().accept(stream));
        let stream = unless_stopped(&self.shared.stop, handshake).await???;
        let connection = stream.get_ref().1;
        // RFC 9266 §4.2 wants TLS 1.3, or an extension of 1.2 that cannot be asked for here.
        let exporter = Some(connection)
            .filter(|it| it.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3))
            .and_then(|it| it.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok());
        self.session.secured(describe(connection));
        if let Some(exporter) = exporter {
            self.session.bind_channel(exporter);
        }
        Ok(stream)
    }

    /// Talks until the session ends or goes on inside TLS.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Octets alone are no progress: a command must be complete in time.
        let mut command_deadline = Instant::now() + self.timeouts().command;
        let mut has_progress = false;
        loop {
            let step = self.session.step(self.buffer.octets());
            let consumed = step.consumed;
            match step.event {
                Event::More => {
                    self.buffer.consume(consumed);
                    if std::mem::take(&mut has_progress) {
                        command_deadline = Instant::now() + self.timeouts().command;
                    }
                    self.send(stream).await?;
                    if self.receive(stream, command_deadline).await? == Input::End {
                        return Ok(Ended::Gone);
                    }
                    continue;
                }
                Event::Continue => {}
                Event::Check => self.check().await,
                Event::Login => self.login().await,
                Event::Begin => self.begin(),
                Event::Content(content) => {
                    if let Some(body) = &mut self.body
                        && let Err(error) = body.write(content).await
                    {
                        self.body = None;
                        self.session.refuse(reply::spool_failed(&error));
                    }
                }
                Event::Abandon => self.body = None,
                Event::End(complete) => {
                    let reply = self.finish(*complete).await;
                    self.session.answer(&reply);
                }
                Event::StartTls => {
                    self.body = None;
                    return self.send(stream).await.map(|()| Ended::Handshake);
                }
                Event::Quit => return self.send(stream).await.map(|()| Ended::Gone),
                Event::Close => {
                    self.body = None;
                    self.send(stream).await?;
                    linger(stream).await;
                    return Ok(Ended::Gone);
                }
            }
            has_progress = true;
            self.buffer.consume(consumed);
        }
    }

    /// Asks whether the session may go on.
    async fn check(&mut self) {
        let limit = self.timeouts().check;
        let acceptor = &self.shared.acceptor;
        let verdict = match self.session.stage() {
            // A future that is ready costs no timer.
            Some(stage) => timeout(limit, ask(acceptor.as_ref(), &self.settings, stage))
                .await
                .unwrap_or_else(|_elapsed| Err(reply::check_timed_out())),
            None => Ok(Leave::default()),
        };
        let event = match &verdict {
            Ok(_) => self.session.accepted(),
            Err(reply) => {
                tracing::debug!(client = %self.session.client().ip, %reply, "refused");
                self.session.refused(reply)
            }
        };
        if let Some(event) = event {
            acceptor.observe(event);
        }
        self.session.resume(verdict);
    }

    /// Finds out whether the client is who it says. A failure takes its time, so that guessing does.
    async fn login(&mut self) {
        let limit = self.timeouts().check;
        let client = self.session.client().ip;
        let answer = match (self.session.claim().cloned(), &self.settings.auth.users) {
            (Some(claim), Some(users)) => {
                timeout(limit, users.verify(claim, client)).await.unwrap_or(LoginAnswer::Unknown)
            }
            _ => LoginAnswer::Unknown,
        };
        if answer == LoginAnswer::Unknown {
            tracing::info!(%client, "login put off");
            metrics::counter!("imss_logins_put_off_total").increment(1);
        }
        if answer == LoginAnswer::Wrong {
            let failures = self.session.login_failures().saturating_add(1);
            let delay = self.settings.auth.delay.saturating_mul(failures).min(LONGEST_DELAY);
            tracing::info!(%client, failures, "login refused");
            metrics::counter!("imss_login_failures_total").increment(1);
            let (client, role) = (self.session.client(), self.session.role());
            self.shared.acceptor.observe(SessionEvent::LoginFailed { client, role });
            // Told to stop, we wait no longer.
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.shared.stop.cancelled() => {}
            }
        }
        self.session.logged_in(answer);
    }

    fn begin(&mut self) {
        let id = self.shared.acceptor.next_id();
        let writer = self.shared.acceptor.body_writer(id);
        self.body = Some(Incoming { id, writer, gathered: Vec::new() });
        self.message_deadline = Instant::now() + self.timeouts().message;
    }

    /// Hands the message on; the reply to it.
    async fn finish(&mut self, complete: Complete) -> Reply {
        let Some(incoming) = self.body.take() else { return reply::local_error() };
        let id = incoming.id;
        let body = match incoming.finish().await {
            Ok(body) => body,
            Err(error) => return reply::spool_failed(&error),
        };
        let Complete { envelope, protocol, mode } = complete;
        let received_at_unix_millis = unix_millis();
        let login = envelope.client.login.as_ref();
        let received = Received {
            id,
            traced_login: login.filter(|_| self.settings.auth.is_traced).cloned(),
            envelope,
            body,
            received_at_unix_millis,
            protocol,
            mode,
            hostname: self.settings.hostname.clone(),
        };
        // On the heap, so that a client that waits for nothing does not carry it.
        let reply = Box::pin(self.shared.acceptor.accept(received)).await;
        let (client, role) = (self.session.client(), self.session.role());
        let answered = SessionEvent::Answered { client, role, id, reply: &reply };
        self.shared.acceptor.observe(answered);
        reply
    }

    /// Sends what the session has to say.
    async fn send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        let limit = self.timeouts().write;
        let output = self.session.output();
        let all = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        timeout(limit, all).await??;
        output.clear();
        Ok(())
    }

    /// Reads once. A client that is too slow, or waits while we stop, gets a reply and the end.
    async fn receive<S>(&mut self, stream: &mut S, command_deadline: Instant) -> io::Result<Input>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let is_receiving = self.session.is_receiving();
        let deadline = if is_receiving {
            self.message_deadline.min(Instant::now() + self.timeouts().data_block)
        } else {
            command_deadline
        };
        if is_receiving {
            self.buffer.make_room();
        } else {
            self.buffer.shrink();
        }
        let read = timeout_at(deadline, stream.read(self.buffer.space()));
        let read = tokio::select! {
            biased;
            read = read => read,
            () = self.shared.stop.cancelled(), if !is_receiving => {
                self.session.close_with(&reply::stopping());
                return Ok(Input::More);
            }
        };
        match read {
            Ok(octets) => {
                let octets = octets?;
                self.buffer.add(octets);
                Ok(if octets == 0 { Input::End } else { Input::More })
            }
            Err(_elapsed) => {
                self.session.close_with(&reply::timed_out());
                Ok(Input::More)
            }
        }
    }

    fn timeouts(&self) -> &Timeouts {
        if self.shared.slots.is_crowded(&self.shared.settings.load().limits) {
            &self.settings.timeouts_under_load
        } else {
            &self.settings.timeouts
        }
    }
}

/// What comes of `wait`, unless we stop first: nobody can be told why, and no message is on its way.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    wait: impl Future<Output = T>,
) -> io::Result<T> {
    tokio::select! {
        biased;
        done = wait => Ok(done),
        () = stop.cancelled() => Err(io::Error::other("stopped before the session began")),
    }
}

/// Whether the session may go on, and whether a recipient of ours exists.
async fn ask<A: Acceptor>(
    acceptor: &A,
    settings: &Settings,
    stage: Stage<'_>,
) -> Result<Leave, Reply> {
    let leave = acceptor.check(stage).await?;
    match stage {
        Stage::Rcpt { role, recipient, .. }
            if !role.mode.is_loopback_only() && settings.relaying.is_ours(recipient) =>
        {
            acceptor.verify(recipient).await.map(|()| leave)
        }
        _ => Ok(leave),
    }
}

/// What reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Something: octets, or the end of the session.
    More,
    /// The client has closed.
    End,
}

/// The body on its way.
struct Incoming {
    id: QueueId,
    writer: BodyWriter,
    /// Small pieces: a message of nothing but bare LFs comes octet by octet.
    gathered: Vec<u8>,
}

impl Incoming {
    async fn write(&mut self, content: &[u8]) -> Result<(), SpoolError> {
        if content.len() < SMALL_BYTES {
            self.gathered.extend_from_slice(content);
            if self.gathered.len() < GATHERED_BYTES {
                return Ok(());
            }
            return self.write_gathered().await;
        }
        self.write_gathered().await?;
        self.writer.write(content).await
    }

    async fn finish(mut self) -> Result<Body, SpoolError> {
        self.write_gathered().await?;
        self.writer.finish().await
    }

    async fn write_gathered(&mut self) -> Result<(), SpoolError> {
        if !self.gathered.is_empty() {
            self.writer.write(&self.gathered).await?;
            self.gathered.clear();
        }
        Ok(())
    }
}

/// Ends our side and reads the client's for a while.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drain = async {
        stream.shutdown().await?;
        let mut waste = vec![0; 4_096];
        let mut octets = 0_usize;
        while octets < LINGER_BYTES {
            match stream.read(&mut waste).await? {
                0 => break,
                more => octets = octets.saturating_add(more),
            }
        }
        io::Result::Ok(())
    };
    // The session is over, whatever comes of this.
    let _ = timeout(LINGER, drain).await;
}

/// TLS version and cipher suite, such as `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
fn describe(connection: &rustls::ServerConnection) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    format!("{version} {}", suite.unwrap_or("unknown"))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
