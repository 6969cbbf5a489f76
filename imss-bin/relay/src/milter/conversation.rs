//! Drives one milter session over a socket: reads frames, keeps time, has messages judged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::codec::{self, Answer, BODY_BYTES, MAX_FRAME_BYTES};
use super::express::{Orders, express};
use super::session::{Complete, Event, Session, write_reply};
use crate::gateway::Gateway;
use crate::hand_back::{HandedBack, Kept, hand_back};
use crate::ids::unix_millis;
use crate::inbound::intake::Intake;
use crate::inbound::{Acceptor, Mode, Protocol, Received, Settings};
use crate::outbound::source::Source;
use crate::pipeline;
use crate::spool::body::Content;

/// How often a mail server that waits for a judgement hears that there is one to come.
const PROGRESS: Duration = Duration::from_secs(15);
/// Octets read at once.
const READ_BYTES: usize = 64 << 10;

/// One connection.
pub(super) struct Conversation {
    session: Session,
    gateway: Arc<Gateway>,
    settings: Arc<Settings>,
    intake: Option<Intake>,
    stop: CancellationToken,
}

impl Conversation {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        settings: Arc<Settings>,
        stop: CancellationToken,
    ) -> Self {
        let session = Session::new(settings.limits.recipients);
        Self { session, gateway, settings, intake: None, stop }
    }

    /// Talks until one of both has enough.
    pub(super) async fn run<S>(mut self, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer: Vec<u8> = Vec::new();
        let mut consumed = 0_usize;
        loop {
            let frame = codec::read(buffer.get(consumed..).unwrap_or_default());
            let Some((length, command)) = frame.map_err(io::Error::other)? else {
                buffer.drain(..consumed);
                consumed = 0;
                self.send(&mut stream).await?;
                if !self.receive(&mut stream, &mut buffer).await? {
                    return Ok(());
                }
                continue;
            };
            consumed = consumed.saturating_add(length);
            match self.session.obey(command) {
                Event::Continue => {}
                Event::Begin => self.begin(),
                Event::Content(content) => {
                    if let Some(intake) = &mut self.intake {
                        intake.write(&content).await;
                    }
                }
                Event::Abandon => self.intake = None,
                Event::End(last, complete) => {
                    if let Some(intake) = &mut self.intake {
                        intake.write(&last).await;
                    }
                    self.send(&mut stream).await?;
                    self.finish(*complete, &mut stream).await?;
                }
                Event::Close => return Ok(()),
            }
        }
    }

    fn begin(&mut self) {
        let admitted = self.gateway.admit();
        self.intake = admitted.is_ok().then(|| {
            let id = self.gateway.next_id();
            Intake::new(id, self.gateway.body_writer(id), &self.settings)
        });
        self.session.begin(admitted);
    }

    /// Has a whole message judged, and tells the mail server.
    async fn finish<S>(&mut self, complete: Complete, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(intake) = self.intake.take() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let gateway = Arc::clone(&self.gateway);
        let mut complete = complete;
        let client = &mut complete.envelope.client;
        client.is_ours = client.login.is_some() || self.settings.relaying.trusts(client.ip);
        let judging = judge(intake, complete, &gateway);
        tokio::pin!(judging);
        let mut clock = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let decided = loop {
            tokio::select! {
                decided = &mut judging => break decided,
                _ = clock.tick() => {
                    Answer::Progress.write_to(self.session.output());
                    self.send(stream).await?;
                }
            }
        };
        let output = self.session.output();
        match decided {
            HandedBack::Refused(reply) => write_reply(&reply, output),
            HandedBack::Ours => Answer::Discard.write_to(output),
            HandedBack::Goes(orders) => {
                output.extend_from_slice(&orders.frames);
                if let Some(body) = orders.body {
                    self.send_body(body, stream).await?;
                }
                Answer::Continue.write_to(self.session.output());
            }
        }
        self.send(stream).await
    }

    /// A body that cannot be read to its end closes the connection: the mail server has not heard that
    /// it may go on, and tries again later.
    async fn send_body<S>(&mut self, body: Content, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut source = Source::new(&body);
        while let Some(chunk) = source.next().await {
            for part in chunk?.chunks(BODY_BYTES) {
                Answer::ReplaceBody(part).write_to(self.session.output());
                self.send(stream).await?;
            }
        }
        Ok(())
    }

    async fn send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let all = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        timeout(self.settings.timeouts.write, all).await??;
        output.clear();
        Ok(())
    }

    /// Reads once; `false` at the end. A mail server may be silent as long as its client may, but a
    /// frame or a message that was begun must go on.
    async fn receive<S>(&mut self, stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let timeouts = &self.settings.timeouts;
        let is_idle = buffer.is_empty() && !self.session.is_receiving();
        let limit = if buffer.is_empty() { timeouts.message } else { timeouts.data_block };
        buffer.reserve(READ_BYTES);
        let mut part = stream.take(u64::try_from(MAX_FRAME_BYTES).unwrap_or(u64::MAX));
        let read = timeout_at(Instant::now() + limit, part.read_buf(buffer));
        tokio::select! {
            biased;
            read = read => Ok(read?? > 0),
            () = self.stop.cancelled(), if is_idle => Ok(false),
        }
    }
}

/// The whole way of one message.
async fn judge(intake: Intake, complete: Complete, gateway: &Gateway) -> HandedBack<Orders> {
    let id = intake.id();
    let body = match intake.finish().await {
        Ok(body) => body,
        Err(reply) => return HandedBack::Refused(reply),
    };
    metrics::counter!("imss_messages_received_total").increment(1);
    let Complete { envelope, queue_id, outline } = complete;
    let (tls, smtputf8) = (envelope.client.tls.is_some(), envelope.parameters.smtputf8);
    tracing::info!(%id, mail_server = queue_id, "a message from a mail server that asks");
    let received = Arc::new(Received {
        id,
        envelope,
        body,
        received_at_unix_millis: unix_millis(),
        protocol: protocol(tls, smtputf8),
        mode: Mode::Milter,
        hostname: gateway.hostname().to_owned(),
        traced_login: None,
    });
    let outgoing = match pipeline::examine(&received, gateway).await {
        Ok(outgoing) => outgoing,
        Err(reply) => return HandedBack::Refused(reply),
    };
    let express = |kept: &Kept<'_>| express(kept, &outline, &received.body);
    hand_back(&received, &outgoing, gateway, express).await
}

fn protocol(tls: bool, smtputf8: bool) -> Protocol {
    match (tls, smtputf8) {
        (true, true) => Protocol::Utf8Smtps,
        (false, true) => Protocol::Utf8Smtp,
        (true, false) => Protocol::Esmtps,
        (false, false) => Protocol::Esmtp,
    }
}
