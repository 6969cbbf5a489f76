//! One SMTP session, without sockets, clock or waiting.
//!
//! In: the octets the client sent, in pieces of any size ([`Session::step`]). Out: replies, as
//! octets to send ([`Session::output`]), and [`Event`]s for whoever drives it: a message
//! begins, here are octets of it, it is complete. The replies and messages that come out do not
//! depend on how the input was cut.
//!
//! The driver must send the output before it waits for input, and must answer [`Event::Check`] with
//! [`Session::resume`] and [`Event::End`] with [`Session::answer`]. Nothing of a transaction outlives it: RSET, EHLO, HELO, STARTTLS, the end
//! of the message and every refusal of content drop all of it at once.

use std::net::IpAddr;
use std::sync::Arc;

use imss_core::envelope::{Client, Envelope, MailParameters, Recipient, ReversePath};

use super::command::{Command, CommandError};
use super::reply::{self, Reply};
use super::settings::{LineEnds, Settings};
use super::{Mode, Protocol};

mod check;
mod commands;
mod login;
mod others;
mod transfer;

use check::Pending;
use login::Login;
use transfer::Transfer;

/// Octets of a command line, with its line end. RFC 5321 §4.5.3.1.4 wants 512, and its extensions
/// less than 1,300 together.
const MAX_LINE_BYTES: usize = 2_048;
/// Octets of a line in an AUTH exchange, with its line end (RFC 4954 §4).
const MAX_RESPONSE_BYTES: usize = 12_288;

/// One session. See the module.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    mode: Mode,
    client: Client,
    /// Who is connected, whoever it speaks for.
    peer: IpAddr,
    /// What XFORWARD said of the client of the next message.
    forwarded: Option<Client>,
    is_trusted: bool,
    is_early: bool,
    offers_tls: bool,
    phase: Phase,
    greeting: Option<Hello>,
    pending: Option<Pending>,
    login: Option<Box<Login>>,
    exporter: Option<[u8; 32]>,
    transaction: Option<Transaction>,
    transfer: Option<Transfer>,
    counts: Counts,
    output: Vec<u8>,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing; call again with the rest of the input.
    Continue,
    /// The input is used up, or its rest is the beginning of a line: send the output, read more.
    More,
    /// Ask [`Session::stage`] whether it may go on, and bring the answer to [`Session::resume`].
    Check,
    /// Ask whether [`Session::claim`] is true, and bring the answer to [`Session::logged_in`].
    Login,
    /// A message begins: make a place for its body.
    Begin,
    /// Octets of the message, in order.
    Content(&'a [u8]),
    /// The message will not be taken: drop its body.
    Abandon,
    /// The message is complete. Call [`Session::answer`] before the next step.
    End(Box<Complete>),
    /// Send the output, throw away all input that came before the handshake, do it, and call
    /// [`Session::secured`].
    StartTls,
    /// The client said goodbye: send the output and close. A body that was begun is dropped.
    Quit,
    /// We end it. As [`Event::Quit`], but the client may still be sending: without reading that
    /// for a while, the reply could be lost on its way.
    Close,
}

/// A complete message, except for its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The envelope.
    pub envelope: Envelope,
    /// How it came in.
    pub protocol: Protocol,
    /// What the listener is for.
    pub mode: Mode,
}

/// What [`Session::step`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Octets of the input that are used up.
    pub consumed: usize,
    /// What to do.
    pub event: Event<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before a command line.
    Command,
    /// Inside a command line that is too long.
    Overlong,
    /// Before leave to go on.
    Check,
    /// Before a line of an AUTH exchange.
    Auth,
    /// Before the end of an AUTH exchange.
    Login,
    /// Inside a message.
    Content,
    /// After a message, before its reply.
    Answer,
    /// Between the reply to STARTTLS and the handshake.
    Handshake,
    /// After the last reply.
    Closed,
}

/// How the client introduced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    Helo,
    Ehlo,
}

#[derive(Debug)]
struct Transaction {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Recipient>,
    /// What the client gets when it begins the message.
    refusal: Option<Reply>,
}

#[derive(Debug, Default)]
struct Counts {
    messages: u32,
    errors: u32,
    /// Recipients of the transaction who are to be sent to by themselves.
    apart: usize,
    idle: u32,
    login_failures: u32,
}

impl Session {
    /// A session with the client at `client.ip`. `offers_tls` says whether STARTTLS is there.
    #[must_use]
    pub fn new(settings: Arc<Settings>, mode: Mode, client: Client, offers_tls: bool) -> Self {
        let is_trusted = settings.relaying.trusts(client.ip);
        Self {
            settings,
            mode,
            peer: client.ip,
            client,
            forwarded: None,
            is_trusted,
            is_early: false,
            offers_tls,
            phase: Phase::Command,
            greeting: None,
            pending: None,
            login: None,
            exporter: None,
            transaction: None,
            transfer: None,
            counts: Counts::default(),
            output: Vec::with_capacity(512),
        }
    }

    /// Begins with the greeting, once [`Session::step`] has asked whether the client is welcome.
    pub fn greet(&mut self) {
        if self.phase != Phase::Closed {
            self.ask(Pending::Connect);
        }
    }

    /// Whether nothing more is answered.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The client spoke before its turn.
    pub fn spoke_early(&mut self) {
        self.is_early = true;
    }

    /// Reads from `input`, everything that was received and not consumed yet.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self.phase {
            Phase::Command | Phase::Auth => self.read_command(input),
            Phase::Overlong => self.skip_line(input),
            Phase::Content => self.read_content(input),
            Phase::Check => Step { consumed: 0, event: Event::Check },
            Phase::Login => Step { consumed: 0, event: Event::Login },
            // Without an answer or a handshake nothing goes on; the driver did not keep to the
            // rules, and the session stays where it is.
            Phase::Answer | Phase::Handshake => Step { consumed: 0, event: Event::More },
            Phase::Closed => Step { consumed: input.len(), event: Event::Close },
        }
    }

    /// Replies to the message that [`Event::End`] handed over.
    pub fn answer(&mut self, reply: &Reply) {
        if self.phase != Phase::Answer {
            return;
        }
        self.drop_transaction();
        self.counts.messages = self.counts.messages.saturating_add(1);
        self.counts.idle = 0;
        reply.write_to(&mut self.output);
        self.phase = if reply.closes() { Phase::Closed } else { Phase::Command };
    }

    /// Refuses the message that is coming in, for want of a place to put it. The driver has
    /// dropped the body; the client reads `reply` at the end of its data.
    pub fn refuse(&mut self, reply: Reply) {
        if let Some(transfer) = &mut self.transfer {
            transfer.refuse(reply);
        }
    }

    /// Goes on inside TLS; `tls` names version and cipher suite. All that was said before is
    /// forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, tls: String) {
        if self.phase == Phase::Closed {
            return;
        }
        self.drop_transaction();
        self.greeting = None;
        self.client.helo.clear();
        self.client.tls = Some(tls);
        self.login = None;
        if self.client.login.take().is_some() {
            self.is_trusted = self.settings.relaying.trusts(self.client.ip);
        }
        self.offers_tls = false;
        self.phase = Phase::Command;
    }

    /// Ends the session with `reply`, unasked: 421 when we stop or the client is too slow.
    pub fn close_with(&mut self, reply: &Reply) {
        self.pending = None;
        self.login = None;
        reply.write_to(&mut self.output);
        self.phase = Phase::Closed;
    }

    /// The replies to send, to be emptied after sending.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The client, as far as it is known.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Messages that were answered, and commands that were refused.
    #[must_use]
    pub fn counted(&self) -> (u32, u32) {
        (self.counts.messages, self.counts.errors)
    }

    /// Whether a message is on its way: its first octets were asked for, its end is not there.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.transfer.is_some()
    }

    fn read_command<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let is_auth = self.phase == Phase::Auth;
        let longest = if is_auth { MAX_RESPONSE_BYTES } else { MAX_LINE_BYTES };
        let Some(end) = memchr::memchr(b'\n', input.get(..longest).unwrap_or(input)) else {
            if input.len() < longest {
                return Step { consumed: 0, event: Event::More };
            }
            self.drop_login();
            self.phase = Phase::Overlong;
            return self.skip_line(input);
        };
        let consumed = end.saturating_add(1);
        let line = input.get(..end).unwrap_or_default();
        let is_last = consumed == input.len();
        let event = match line.strip_suffix(b"\r") {
            Some(line) if is_auth => self.respond(line),
            Some(line) => self.obey(line, is_last),
            // Only the end of a message must be exact; `printf 'QUIT\n' | nc` harms nobody.
            None if is_auth => self.respond(line),
            None if self.settings.line_ends == LineEnds::Normalise => self.obey(line, is_last),
            None => self.reject(&reply::bare_command_end()),
        };
        Step { consumed, event }
    }

    fn skip_line<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match memchr::memchr(b'\n', input) {
            None => Step { consumed: input.len(), event: Event::More },
            Some(end) => {
                self.phase = Phase::Command;
                let event = self.reject(&reply::line_too_long());
                Step { consumed: end.saturating_add(1), event }
            }
        }
    }

    fn obey(&mut self, line: &[u8], is_last: bool) -> Event<'static> {
        match Command::parse(line) {
            Ok(command) => self.run(command, is_last),
            Err(error @ (CommandError::OutOfStep | CommandError::Foreign)) => {
                self.close_with(&reply::bad_command(error));
                Event::Close
            }
            Err(error) => self.reject(&reply::bad_command(error)),
        }
    }

    fn accept(&mut self, reply: &Reply) -> Event<'static> {
        reply.write_to(&mut self.output);
        Event::Continue
    }

    /// Replies with 4yz or 5yz, and loses patience at last.
    fn reject(&mut self, reply: &Reply) -> Event<'static> {
        reply.write_to(&mut self.output);
        if reply.closes() {
            self.phase = Phase::Closed;
            return Event::Close;
        }
        // Nothing that a client does wrong: it cannot know who goes with whom.
        let comes_alone = reply.code == 452 && reply.enhanced == Some((4, 5, 3));
        if comes_alone && self.counts.apart < self.settings.limits.recipients {
            self.counts.apart = self.counts.apart.saturating_add(1);
            return Event::Continue;
        }
        self.counts.errors = self.counts.errors.saturating_add(1);
        if self.counts.errors < self.settings.limits.errors {
            return Event::Continue;
        }
        self.close_with(&reply::too_many_errors());
        Event::Close
    }

    fn drop_transaction(&mut self) {
        self.forwarded = None;
        self.transaction = None;
        self.transfer = None;
        self.counts.apart = 0;
    }

    fn protocol(&self, parameters: &MailParameters) -> Protocol {
        if self.client.login.is_some() {
            return match (parameters.smtputf8, self.client.tls.is_some()) {
                (true, true) => Protocol::Utf8Smtpsa,
                (true, false) => Protocol::Utf8Smtpa,
                (false, true) => Protocol::Esmtpsa,
                (false, false) => Protocol::Esmtpa,
            };
        }
        match (self.greeting, parameters.smtputf8, self.client.tls.is_some()) {
            (Some(Hello::Ehlo), true, true) => Protocol::Utf8Smtps,
            (Some(Hello::Ehlo), true, false) => Protocol::Utf8Smtp,
            (Some(Hello::Ehlo), false, true) => Protocol::Esmtps,
            (Some(Hello::Ehlo), false, false) => Protocol::Esmtp,
            (_, _, true) => Protocol::Smtps,
            (_, _, false) => Protocol::Smtp,
        }
    }
}
