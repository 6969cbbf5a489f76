//! The byte level of a connection: buffered commands out, bounded replies in, every step with a limit.
//!
//! In: command text without surprises (the caller's values are valid by type). Out: [`RawReply`]s.
//! A line of more than 4 KiB, more than 128 lines, an impossible code or an endless reply is
//! [`WireError::Garbage`]; a bare LF ends a line as well as CRLF does.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::reply::{RawReply, parse_line};

/// What a connection runs over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Transport for T {}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The end of the stream where a reply was due.
    #[error("connection closed by the server")]
    Closed,
    /// The system said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Too slow.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Something came that is no reply, or that nobody asked for.
    #[error("not an SMTP reply: {0}")]
    Garbage(&'static str),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
}

const MAX_LINE_BYTES: usize = 4 << 10;
const MAX_LINES: usize = 128;
const READ_BYTES: usize = 4 << 10;

/// A connection with its buffers.
pub(super) struct Wire {
    stream: Box<dyn Transport>,
    input: BytesMut,
    /// Commands or data not yet sent.
    pub(super) output: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: impl Transport + 'static) -> Self {
        Self { stream: Box::new(stream), input: BytesMut::new(), output: Vec::new() }
    }

    /// Puts a TLS session on top.
    ///
    /// Plain text that came with the reply to STARTTLS was put there by somebody in between: it is
    /// an error (CVE-2011-0411, and response injection alike).
    pub(super) async fn start_tls(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<Self, WireError> {
        if !self.input.is_empty() {
            return Err(WireError::Garbage("plain text after the reply to STARTTLS"));
        }
        let handshake = TlsConnector::from(config).connect(name, self.stream);
        let stream = timeout(limit, handshake)
            .await
            .map_err(|_| WireError::TimedOut(limit))?
            .map_err(WireError::Tls)?;
        Ok(Self::new(stream))
    }

    /// Sends what is in `output`.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<(), WireError> {
        let sent = timeout(limit, async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        });
        let sent = sent.await.map_err(|_| WireError::TimedOut(limit))?;
        self.output.clear();
        Ok(sent?)
    }

    /// Sends one command and reads its reply.
    pub(super) async fn command(
        &mut self,
        command: &str,
        limit: Duration,
    ) -> Result<RawReply, WireError> {
        self.output.extend_from_slice(command.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.flush(limit).await?;
        self.reply(limit).await
    }

    /// Reads one reply. `limit` counts for the whole of it, so a server that drips bytes gains nothing.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<RawReply, WireError> {
        timeout(limit, self.read_reply()).await.map_err(|_| WireError::TimedOut(limit))?
    }

    async fn read_reply(&mut self) -> Result<RawReply, WireError> {
        let mut reply: Option<RawReply> = None;
        for _ in 0..MAX_LINES {
            let line = self.read_line().await?;
            let (code, last, text) =
                parse_line(&line).ok_or(WireError::Garbage("a line without reply code"))?;
            let reply = reply.get_or_insert_with(|| RawReply::new(code));
            if reply.code / 100 != code / 100 {
                return Err(WireError::Garbage("lines with different codes"));
            }
            reply.code = code;
            reply.push(text);
            if last {
                return Ok(std::mem::replace(reply, RawReply::new(code)));
            }
        }
        Err(WireError::Garbage("a reply of too many lines"))
    }

    async fn read_line(&mut self) -> Result<BytesMut, WireError> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr(b'\n', self.input.get(searched..).unwrap_or_default()) {
                let mut line = self.input.split_to(searched.saturating_add(at));
                self.input.advance(1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len().saturating_sub(1));
                }
                return Ok(line);
            }
            searched = self.input.len();
            if searched > MAX_LINE_BYTES {
                return Err(WireError::Garbage("an over-long line"));
            }
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// Whether the server has sent something that nobody asked for, as far as it was read.
    pub(super) fn has_unread(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether an unused connection is still good: open, and the server silent.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        self.input.is_empty()
            && Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Says goodbye and closes, without waiting longer than `limit`.
    pub(super) async fn quit(mut self, limit: Duration) {
        let _ = self.command("QUIT", limit).await;
        let _ = timeout(limit, self.stream.shutdown()).await;
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("unread", &self.input.len()).finish_non_exhaustive()
    }
}
