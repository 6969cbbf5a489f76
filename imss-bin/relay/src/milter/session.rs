//! The milter conversation without sockets or clock: commands in, answers and events out.
//!
//! In: [`Command`]s in the order the mail server sends them. Out: answers in [`Session::output`] and
//! an [`Event`] per command. The content of a message comes out as the message that the mail server
//! has: each field's octets as they are, folds as CRLF.
//!
//! Nothing of a message, a client or a connection is kept for the next one. A command that has no
//! place where it comes is [`Event::Close`]: the mail server then does what its settings say.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};

use super::codec::{Answer, Command, Offer, VERSION, Words, actions, steps};
use super::macros::Macros;
use crate::inbound::reply::Reply;

/// What we want to be allowed to do.
const ACTIONS: u32 = actions::ADD_FIELDS
    | actions::CHANGE_BODY
    | actions::ADD_RECIPIENTS
    | actions::DELETE_RECIPIENTS
    | actions::CHANGE_FIELDS
    | actions::QUARANTINE
    | actions::CHOOSE_MACROS;
/// What we do without. Replies are due to MAIL, RCPT and the end of the message only.
const STEPS: u32 = steps::NO_UNKNOWN
    | steps::NO_DATA
    | steps::NO_REPLY_CONNECT
    | steps::NO_REPLY_HELO
    | steps::NO_REPLY_FIELD
    | steps::NO_REPLY_END_OF_FIELDS
    | steps::NO_REPLY_BODY
    | steps::LEADING_SPACE;
/// The macros we want: at the connection, HELO, MAIL, and the end of the message.
const MACROS: [(u32, &str); 4] = [
    (0, "j {client_addr} {daemon_name}"),
    (1, "{tls_version} {cipher}"),
    (2, "i {auth_authen}"),
    (5, "i"),
];
/// Fields whose places are remembered. A message with more can be judged, but not changed in place.
const MAX_FIELDS: usize = 10_000;
/// Longest name that a client may have.
const MAX_HELO_BYTES: usize = 255;

/// One connection.
#[derive(Debug)]
pub struct Session {
    max_recipients: usize,
    agreed: Option<Offer>,
    macros: Macros,
    ip: Option<IpAddr>,
    helo: String,
    transaction: Option<Transaction>,
    output: Vec<u8>,
}

/// What a command means for who drives the session.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing but an answer, if there is one.
    Continue,
    /// A message begins. Answer with [`Session::begin`].
    Begin,
    /// Content of the message.
    Content(Cow<'a, [u8]>),
    /// The message is complete with this content. Then comes whatever was decided, and the session is
    /// ready for the next one.
    End(Cow<'a, [u8]>, Box<Complete>),
    /// The message is not coming.
    Abandon,
    /// The end.
    Close,
}

/// One whole message, without its content.
#[derive(Debug, PartialEq, Eq)]
pub struct Complete {
    /// Its envelope.
    pub envelope: Envelope,
    /// What the mail server calls it; may be empty.
    pub queue_id: String,
    /// What it needs to be changed in place.
    pub outline: Outline,
}

/// Where the parts of a message are that a mail server changes one by one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// What may be done ([`actions`]).
    pub actions: u32,
    /// Whether values are sent with the blank after the colon.
    pub leading_space: bool,
    /// Each recipient of the envelope as the mail server wrote it, once or more.
    pub recipients: Vec<Vec<Vec<u8>>>,
    /// The fields, in order; `None` if there were too many or one could not be named.
    pub fields: Option<Vec<Field>>,
    /// Octets of the header section with the empty line after it.
    pub header_bytes: u64,
}

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Vec<u8>,
    /// Where it starts in the message.
    pub start: u64,
    /// Where it ends, its last line end included.
    pub end: u64,
}

#[derive(Debug)]
struct Transaction {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Recipient>,
    outline: Outline,
    /// The empty line after the header section was there.
    in_body: bool,
}

impl Session {
    /// A new one, with at most `max_recipients` for one message.
    #[must_use]
    pub fn new(max_recipients: usize) -> Self {
        Self {
            max_recipients,
            agreed: None,
            macros: Macros::default(),
            ip: None,
            helo: String::new(),
            transaction: None,
            output: Vec::new(),
        }
    }

    /// Takes one command.
    pub fn obey<'a>(&mut self, command: Command<'a>) -> Event<'a> {
        let Some(agreed) = self.agreed else {
            let Command::Negotiate(offer) = command else { return Event::Close };
            return self.negotiate(offer);
        };
        match command {
            Command::Negotiate(_) | Command::Quit => Event::Close,
            Command::Macros(step, values) => {
                self.macros.set(step, values);
                Event::Continue
            }
            Command::Connect(ip) => {
                self.forget_client();
                self.macros.connected();
                self.ip = ip;
                self.go_on(agreed, steps::NO_REPLY_CONNECT)
            }
            Command::Helo(name) => {
                self.helo = printable(name, MAX_HELO_BYTES);
                self.go_on(agreed, steps::NO_REPLY_HELO)
            }
            Command::Mail(words) => self.mail(words),
            Command::Rcpt(words) => self.rcpt(words),
            Command::Data | Command::Unknown => self.go_on(agreed, 0),
            Command::Field { name, value } => self.field(agreed, name, value),
            Command::EndOfFields => match self.transaction.as_mut() {
                Some(transaction) if !transaction.in_body => {
                    let content = transaction.end_fields();
                    self.go_on(agreed, steps::NO_REPLY_END_OF_FIELDS);
                    Event::Content(Cow::Borrowed(content))
                }
                _ => Event::Close,
            },
            Command::Body(piece) => {
                let Some(transaction) = self.transaction.as_mut() else { return Event::Close };
                let content = transaction.body(piece);
                self.go_on(agreed, steps::NO_REPLY_BODY);
                Event::Content(content)
            }
            Command::EndOfMessage(piece) => self.end(piece),
            Command::Abort => {
                self.forget_message();
                Event::Abandon
            }
            Command::QuitForAnother => {
                self.forget_client();
                self.macros.forget();
                Event::Abandon
            }
        }
    }

    /// Answers [`Event::Begin`]: the message is welcome, or not now.
    pub fn begin(&mut self, admitted: Result<(), Reply>) {
        match admitted {
            Ok(()) => Answer::Continue.write_to(&mut self.output),
            Err(reply) => {
                self.transaction = None;
                write_reply(&reply, &mut self.output);
            }
        }
    }

    /// What is to be sent, to be emptied after sending.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether a message is on its way.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.transaction.is_some()
    }

    /// Who the client is, as far as it is known.
    #[must_use]
    pub fn client(&self) -> Client {
        let version = self.macros.get("tls_version").filter(|version| !version.is_empty());
        let cipher = self.macros.get("cipher").filter(|cipher| !cipher.is_empty());
        let told = self
            .macros
            .get("client_addr")
            .and_then(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse::<IpAddr>().ok());
        // Mail that was made on the mail server's own machine has no address.
        let ip = self.ip.or(told).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Client {
            ip: ip.to_canonical(),
            helo: self.helo.clone(),
            name: None,
            tls: version.map(|version| format!("{version} {}", cipher.unwrap_or("unknown"))),
            is_ours: false,
            login: self
                .macros
                .get("auth_authen")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }

    fn negotiate(&mut self, offer: Offer) -> Event<'static> {
        if offer.version < 2 {
            return Event::Close;
        }
        let agreed = Offer {
            version: offer.version.min(VERSION),
            actions: offer.actions & ACTIONS,
            steps: offer.steps & STEPS,
        };
        let chooses = agreed.actions & actions::CHOOSE_MACROS != 0;
        let macros: &[(u32, &str)] = if chooses { &MACROS } else { &[] };
        Answer::Negotiate(agreed, macros).write_to(&mut self.output);
        self.agreed = Some(agreed);
        Event::Continue
    }

    fn mail(&mut self, words: Words<'_>) -> Event<'static> {
        self.transaction = None;
        let (path, parameters) = path_and_parameters(words);
        let own = self.macros.get("j").unwrap_or_default();
        let Ok(reverse_path) = qualified(&path, own, |text| ReversePath::parse(text, Syntax::LAX))
        else {
            let reply = Reply::new(553, (5, 1, 7), "The sender's address cannot be understood");
            write_reply(&reply, &mut self.output);
            return Event::Continue;
        };
        let known = |word: &&str| MailParameters::parse(word, u64::MAX).is_ok();
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).filter(known).collect();
        let parameters = MailParameters::parse(&parameters.join(" "), u64::MAX);
        let agreed = self.agreed.map_or((0, 0), |agreed| (agreed.actions, agreed.steps));
        self.transaction = Some(Transaction {
            reverse_path,
            parameters: parameters.unwrap_or_default(),
            recipients: Vec::new(),
            outline: Outline {
                actions: agreed.0,
                leading_space: agreed.1 & steps::LEADING_SPACE != 0,
                fields: Some(Vec::new()),
                ..Outline::default()
            },
            in_body: false,
        });
        Event::Begin
    }

    fn rcpt(&mut self, words: Words<'_>) -> Event<'static> {
        let own = self.macros.get("j").unwrap_or_default().to_owned();
        let Some(transaction) = self.transaction.as_mut() else { return Event::Close };
        let reply = transaction.rcpt(words, &own, self.max_recipients);
        match reply {
            Ok(()) => Answer::Continue.write_to(&mut self.output),
            Err(reply) => write_reply(&reply, &mut self.output),
        }
        Event::Continue
    }

    fn field<'a>(&mut self, agreed: Offer, name: &[u8], value: &[u8]) -> Event<'a> {
        let Some(transaction) = self.transaction.as_mut().filter(|one| !one.in_body) else {
            return Event::Close;
        };
        let content = transaction.field(name, value);
        self.go_on(agreed, steps::NO_REPLY_FIELD);
        Event::Content(Cow::Owned(content))
    }

    fn end<'a>(&mut self, piece: &'a [u8]) -> Event<'a> {
        let client = self.client();
        let Some(mut transaction) = self.transaction.take() else { return Event::Close };
        let queue_id = printable(self.macros.get("i").unwrap_or_default().as_bytes(), 100);
        self.forget_message();
        if transaction.recipients.is_empty() {
            return Event::Close;
        }
        let last = transaction.body(piece);
        let Transaction { reverse_path, parameters, recipients, outline, .. } = transaction;
        let envelope = Envelope { client, reverse_path, parameters, recipients };
        Event::End(last, Box::new(Complete { envelope, queue_id, outline }))
    }

    /// Answers, unless it was agreed that `silent` is not answered.
    fn go_on(&mut self, agreed: Offer, silent: u32) -> Event<'static> {
        if agreed.steps & silent == 0 {
            Answer::Continue.write_to(&mut self.output);
        }
        Event::Continue
    }

    fn forget_message(&mut self) {
        self.transaction = None;
        self.macros.forget_message();
    }

    fn forget_client(&mut self) {
        self.forget_message();
        self.ip = None;
        self.helo.clear();
    }
}

impl Transaction {
    fn rcpt(&mut self, words: Words<'_>, own: &str, max: usize) -> Result<(), Reply> {
        let written = words.iter().next().unwrap_or_default().to_vec();
        let (path, parameters) = path_and_parameters(words);
        let path = qualified(&path, own, |text| ForwardPath::parse(text, Syntax::LAX))
            .map_err(|_| Reply::new(553, (5, 1, 3), "The address cannot be understood"))?;
        if let Some(place) = self.recipients.iter().position(|known| known.path == path) {
            // Whoever adds the same recipient for ever is told so, too.
            let known = self.outline.recipients.get_mut(place).filter(|known| known.len() < max);
            known.ok_or_else(too_many_recipients)?.push(written);
            return Ok(());
        }
        if self.recipients.len() >= max {
            return Err(too_many_recipients());
        }
        let utf8 = self.parameters.smtputf8;
        let known = |word: &&str| RcptParameters::parse(word, utf8).is_ok();
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).filter(known).collect();
        let parameters = RcptParameters::parse(&parameters.join(" "), utf8).unwrap_or_default();
        self.recipients.push(Recipient { path, parameters });
        self.outline.recipients.push(vec![written]);
        Ok(())
    }

    /// The octets of one field.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut content = Vec::with_capacity(name.len().saturating_add(value.len()));
        content
            .extend(name.iter().map(|octet| if octet.is_ascii_control() { b'?' } else { *octet }));
        content.push(b':');
        if !self.outline.leading_space && !value.is_empty() {
            content.push(b' ');
        }
        // A line end in a value is a fold. One with nothing behind it would end the section here and
        // not at the mail server.
        let lines = value.split(|octet| matches!(octet, b'\r' | b'\n'));
        for (place, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if place > 0 {
                content.extend_from_slice(b"\r\n");
            }
            content.extend_from_slice(line);
        }
        content.extend_from_slice(b"\r\n");
        let start = self.outline.header_bytes;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.outline.header_bytes = start.saturating_add(length);
        let can_be_named =
            !name.is_empty() && name.iter().all(|o| o.is_ascii_graphic() && *o != b':');
        match &mut self.outline.fields {
            Some(fields) if can_be_named && fields.len() < MAX_FIELDS => {
                let name = name.to_vec();
                fields.push(Field { name, start, end: self.outline.header_bytes });
            }
            fields => *fields = None,
        }
        content
    }

    /// The empty line.
    fn end_fields(&mut self) -> &'static [u8] {
        self.in_body = true;
        self.outline.header_bytes = self.outline.header_bytes.saturating_add(2);
        b"\r\n"
    }

    /// A piece of the body, with the empty line in front if nobody sent it.
    fn body<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        if self.in_body {
            return Cow::Borrowed(piece);
        }
        Cow::Owned([self.end_fields(), piece].concat())
    }
}

/// Appends `reply` as the mail server is to give it.
pub(super) fn write_reply(reply: &Reply, output: &mut Vec<u8>) {
    let mut lines = Vec::new();
    let reply = if (400..600).contains(&reply.code) {
        reply.clone()
    } else {
        Reply::new(451, (4, 3, 0), "Local error")
    };
    // The mail server decides itself when it hangs up: a reply that says so would be untrue.
    let code = if reply.code == 421 { 451 } else { reply.code };
    Reply { code, ..reply }.write_to(&mut lines);
    // Mail servers undo this.
    let doubled =
        lines.split_inclusive(|octet| *octet == b'%').fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(part);
            if part.ends_with(b"%") {
                all.push(b'%');
            }
            all
        });
    Answer::Reply(doubled.strip_suffix(b"\r\n").unwrap_or(&doubled)).write_to(output);
}

fn too_many_recipients() -> Reply {
    Reply::new(452, (4, 5, 3), "Too many recipients")
}

/// What stands between the brackets, and the parameters.
fn path_and_parameters(words: Words<'_>) -> (String, Vec<String>) {
    let mut words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    let path = words.next().unwrap_or_default();
    let path = path.trim();
    let inner = path.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(path);
    (inner.to_owned(), words.collect())
}

/// Reads a path; one without a domain, as local programs write it, is of this mail server.
fn qualified<T, E>(path: &str, own: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, E> {
    parse(path).or_else(|error| {
        if path.contains('@') || own.is_empty() {
            return Err(error);
        }
        parse(&format!("{path}@{own}"))
    })
}

/// Text that can stand in a log and a field.
fn printable(octets: &[u8], max: usize) -> String {
    let shown = |octet: &u8| if octet.is_ascii_graphic() { char::from(*octet) } else { '?' };
    octets.iter().take(max).map(shown).collect()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
