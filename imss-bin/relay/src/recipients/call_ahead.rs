//! Asks the next hop whether it would take a recipient: `MAIL FROM:<>`, `RCPT TO`, and no message.
//!
//! In: a mailbox. Out: what the next hop says, or what it said lately. Only servers that the
//! settings name are asked, never the MX of a domain: a call to strangers is abuse. Where mail goes
//! into Maildirs, or by MX, nobody can tell who exists, and everybody does.
//!
//! A reply is read within one bound of time and length, whatever the server sends. 5yz to `RCPT TO`
//! means unknown, unless its status says policy (5.7): that would be a quarrel between the two
//! servers, and is not held against the recipient.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use imss_core::envelope::{ForwardPath, Mailbox, ReversePath};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Answer, CallAheadSettings, Directory, Known, key};
use crate::outbound::{NextHop, Routing, Server};

/// Questions at once.
const QUESTIONS_AT_ONCE: usize = 20;
/// How long a next hop that could not be asked is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// Lines of one reply.
const MAX_LINES: usize = 64;
/// Octets of a line of a reply.
const MAX_LINE_BYTES: u64 = 2_048;

/// The next hops as a directory.
#[derive(Debug)]
pub struct CallAhead {
    settings: CallAheadSettings,
    routing: Routing,
    answers: Mutex<HashMap<String, (bool, Instant)>>,
    /// Next hops that could not be asked, until when, and why.
    silent: Mutex<HashMap<NextHop, (Instant, String)>>,
    places: Arc<Semaphore>,
}

impl CallAhead {
    /// Asks the next hops of `routing`.
    #[must_use]
    pub fn new(settings: CallAheadSettings, routing: Routing) -> Self {
        Self {
            settings,
            routing,
            answers: Mutex::default(),
            silent: Mutex::default(),
            places: Arc::new(Semaphore::new(QUESTIONS_AT_ONCE)),
        }
    }

    /// Answers that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn find_out(&self, mailbox: &Mailbox) -> Known {
        let next_hop =
            self.routing.next_hop(&ReversePath::Null, &ForwardPath::Mailbox(mailbox.clone()));
        let (servers, hello) = match next_hop {
            NextHop::Smtp { servers, .. } => (servers, "EHLO"),
            NextHop::Lmtp { servers, .. } => (servers, "LHLO"),
            _ => return Known::Yes,
        };
        let name = mailbox.domain().ascii_name().unwrap_or_default();
        let key = key(mailbox.local_part(), &name);
        if let Some(known) = self.remembered(&key) {
            return if known { Known::Yes } else { Known::No };
        }
        if let Some(reason) = self.is_silent(next_hop) {
            return Known::CannotTell(reason);
        }
        let Ok(_place) = self.places.acquire().await else {
            return Known::CannotTell("stopping".to_owned());
        };
        let asked =
            timeout(self.settings.timeout, self.ask_any(&servers.in_turn(), hello, mailbox)).await;
        match asked.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
            // That says nothing of other recipients.
            Ok(Known::CannotTell(reason)) => Known::CannotTell(format!("{next_hop}: {reason}")),
            Err(reason) => {
                let reason = format!("{next_hop}: {reason}");
                let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
                let until = Instant::now() + LEFT_ALONE;
                // As many as the settings name next hops.
                silent.insert(next_hop.clone(), (until, reason.clone()));
                Known::CannotTell(reason)
            }
            Ok(known) => {
                self.remember(key, known == Known::Yes);
                known
            }
        }
    }

    /// Asks the servers in order, until one can tell.
    ///
    /// # Errors
    ///
    /// Why none of them can tell of any recipient.
    async fn ask_any(
        &self,
        servers: &[Server],
        hello: &str,
        mailbox: &Mailbox,
    ) -> Result<Known, String> {
        let mut last = Err("no server to ask".to_owned());
        for server in servers {
            let asked = match server {
                Server::Tcp { host, port } => {
                    match TcpStream::connect((host.as_str(), *port)).await {
                        Ok(stream) => self.ask(stream, hello, mailbox).await,
                        Err(error) => Err(error),
                    }
                }
                Server::Unix { path } => match UnixStream::connect(path).await {
                    Ok(stream) => self.ask(stream, hello, mailbox).await,
                    Err(error) => Err(error),
                },
            };
            match asked {
                Ok(known @ Known::CannotTell(_)) => last = Ok(known),
                Ok(known) => return Ok(known),
                Err(error) if last.is_err() => last = Err(error.to_string()),
                Err(_) => {}
            }
        }
        last
    }

    async fn ask<S>(&self, stream: S, hello: &str, mailbox: &Mailbox) -> io::Result<Known>
    where
        S: tokio::io::AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = BufReader::new(stream);
        let utf8 = if mailbox.local_part().is_ascii() { "" } else { " SMTPUTF8" };
        let steps = [
            (String::new(), "220"),
            (format!("{hello} {}\r\n", self.settings.hostname), "2"),
            (format!("MAIL FROM:<>{utf8}\r\n"), "2"),
        ];
        for (command, expected) in steps {
            stream.write_all(command.as_bytes()).await?;
            let line = reply(&mut stream).await?;
            if !line.starts_with(expected) {
                // A server without SMTPUTF8 can tell of others.
                let is_about_one = !utf8.is_empty() && command.starts_with("MAIL");
                let said = clean(&line);
                return if is_about_one {
                    Ok(Known::CannotTell(said))
                } else {
                    Err(io::Error::other(said))
                };
            }
        }
        stream.write_all(format!("RCPT TO:<{mailbox}>\r\n").as_bytes()).await?;
        let line = reply(&mut stream).await?;
        // What it says to QUIT changes nothing.
        let _ = stream.write_all(b"QUIT\r\n").await;
        Ok(verdict(&line))
    }

    fn remembered(&self, key: &str) -> Option<bool> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, until) = answers.get(key)?;
        (*until > Instant::now()).then_some(*known)
    }

    fn remember(&self, key: String, known: bool) {
        let settings = &self.settings;
        let lasts = if known { settings.known_for } else { settings.unknown_for };
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= settings.answers {
            answers.retain(|_, (_, until)| *until > now);
        }
        // Names that are guessed must not push out those that exist.
        if answers.len() >= settings.answers {
            answers.retain(|_, (known, _)| *known);
        }
        if answers.len() < settings.answers {
            answers.insert(key, (known, now + lasts));
        }
    }

    fn is_silent(&self, next_hop: &NextHop) -> Option<String> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, reason) = silent.get(next_hop)?;
        (*until > Instant::now()).then(|| reason.clone())
    }
}

impl Directory for CallAhead {
    fn look_up<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a> {
        Box::pin(self.find_out(mailbox))
    }
}

/// What the last line of the reply to `RCPT TO` means.
fn verdict(line: &str) -> Known {
    let is_policy = line.get(4..).is_some_and(|text| text.starts_with("5.7."));
    match line.as_bytes().first() {
        Some(b'2') => Known::Yes,
        Some(b'5') if !is_policy => Known::No,
        _ => Known::CannotTell(clean(line)),
    }
}

/// The last line of a reply.
async fn reply(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    for _ in 0..MAX_LINES {
        let mut line = Vec::new();
        stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let code = line.get(..3).is_some_and(|code| code.bytes().all(|b| b.is_ascii_digit()));
        if !code || !line.ends_with('\n') {
            return Err(io::Error::other("what it says is no reply"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
    Err(io::Error::other("its reply does not end"))
}

/// For logs: printable, and not long.
fn clean(line: &str) -> String {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    line.chars().take(200).map(printable).collect()
}
