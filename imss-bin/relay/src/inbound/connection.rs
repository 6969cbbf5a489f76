//! Drives one session over a socket: reads much at once, sends all replies of a batch in one
//! write, keeps time, and stops when told to.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imss_core::envelope::Client;
use imss_core::ids::QueueId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::server::{Listener, Shared, TlsUse};
use super::session::{Complete, Event, Session};
use super::settings::{Settings, Timeouts};
use super::slots::Slot;
use super::{Acceptor, Received, Reply, TlsStore, reply};
use crate::spool::SpoolError;
use crate::spool::body::Body;
use crate::spool::writer::BodyWriter;

/// Octets read at once; more than the longest command line.
const BUFFER_BYTES: usize = 64 << 10;
/// Pieces of content below this are gathered before they are written.
const SMALL_BYTES: usize = 256;
/// How much is gathered.
const GATHERED_BYTES: usize = 8 << 10;
/// How long, and how much, we read from a client that we are done with, so that it reads our last
/// reply before the reset that unread octets would cause.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

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

/// Serves a connection to its end. The slot is free again when this returns.
pub(super) async fn serve<A: Acceptor>(connection: Connection<A>, stream: TcpStream, slot: Slot) {
    let cut = connection.shared.cut.clone();
    let ip = connection.session.client().ip;
    tokio::select! {
        result = connection.run(stream) => if let Err(error) = result {
            tracing::debug!(client = %ip, %error, "connection lost");
        },
        () = cut.cancelled() => tracing::warn!(client = %ip, "connection cut while stopping"),
    }
    drop(slot);
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

    async fn run(mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
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

    /// Greets, unless the client talks first where it must not.
    async fn greet(&mut self, stream: &TcpStream) {
        if let Some(wait) = self.settings.early_talker_wait
            && timeout(wait, stream.readable()).await.is_ok()
        {
            self.session.close_with(&reply::early_talker());
        } else {
            self.session.greet();
        }
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
        let stream = timeout(limit, store.acceptor().accept(stream)).await??;
        self.session.secured(describe(stream.get_ref().1));
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
        let received = Received { id, envelope, body, received_at_unix_millis, protocol, mode };
        self.shared.acceptor.accept(received).await
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
                if !is_receiving {
                    let admitted = self.shared.acceptor.admit(self.session.client());
                    self.session.set_shed(admitted.err());
                }
                Ok(if octets == 0 { Input::End } else { Input::More })
            }
            Err(_elapsed) => {
                self.session.close_with(&reply::timed_out());
                Ok(Input::More)
            }
        }
    }

    fn timeouts(&self) -> &Timeouts {
        if self.shared.slots.is_crowded(&self.settings.limits) {
            &self.settings.timeouts_under_load
        } else {
            &self.settings.timeouts
        }
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

/// Octets that were received and not consumed yet.
struct Buffer {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    fn consume(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets).min(self.end);
    }

    /// Where to read to. What is left, never more than a command line, moves to the front.
    fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.octets.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    fn add(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets).min(self.octets.len());
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self { octets: vec![0; BUFFER_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }
}
