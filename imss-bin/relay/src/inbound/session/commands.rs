//! What each command does (RFC 5321 §4.1.1, §4.1.4).

use imss_core::envelope::{
    ForwardPath, MailParameters, ParameterError, RcptParameters, Recipient, ReversePath, Syntax,
};

use super::super::command::{Command, Path};
use super::super::reply::{self, Reply};
use super::super::xclient::Kind;
use super::check::Pending;
use super::transfer::Transfer;
use super::{Event, Hello, Phase, Session};

/// Octets of the name in EHLO and HELO.
const MAX_NAME_BYTES: usize = 255;

impl Session {
    /// Does what `command` says. `is_last` tells whether the client waits for the reply.
    pub(super) fn run(&mut self, command: Command<'_>, is_last: bool) -> Event<'static> {
        match command {
            Command::Helo(name) => self.hello(Hello::Helo, name),
            Command::Ehlo(name) => self.hello(Hello::Ehlo, name),
            Command::Mail(path) => self.mail(path),
            Command::Rcpt(path) => self.rcpt(path),
            Command::Data => self.data(is_last),
            Command::Bdat { octets, is_last } => self.bdat(octets, is_last),
            Command::Rset => {
                let event = self.idle(&Reply::new(250, (2, 0, 0), "Ok"));
                self.abandon_or(event)
            }
            Command::Noop => self.idle(&Reply::new(250, (2, 0, 0), "Ok")),
            Command::Vrfy => self.idle(&reply::cannot_verify()),
            Command::Help => self.idle(&reply::help()),
            Command::Expn => self.reject(&reply::no_lists()),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::Xclient(arguments) => self.other(Kind::Client, arguments),
            Command::Xforward(arguments) => self.other(Kind::Forward, arguments),
            Command::Quit => {
                self.close_with(&Reply::new(221, (2, 0, 0), "Bye"));
                Event::Quit
            }
        }
    }

    fn hello(&mut self, hello: Hello, name: &str) -> Event<'static> {
        let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        // A client whose name is UTF-8 or longer than a domain can be is no mail server.
        if !is_printable || name.len() > MAX_NAME_BYTES {
            return self.reject(&reply::bad_name());
        }
        self.greeting = Some(hello);
        self.client.helo.clear();
        self.client.helo.push_str(name);
        let reply = match hello {
            Hello::Helo => Reply::plain(250, self.settings.hostname.clone()),
            Hello::Ehlo => self.capabilities(),
        };
        let event = self.ask(Pending::Hello { reply });
        self.abandon_or(event)
    }

    fn capabilities(&self) -> Reply {
        let (host, size) = (&self.settings.hostname, self.settings.limits.message_bytes);
        let tls = if self.offers_tls { "STARTTLS\n" } else { "" };
        let (auth, others) = (self.mechanisms(), self.other_offers());
        Reply::plain(
            250,
            format!(
                "{host}\nPIPELINING\nSIZE {size}\n{tls}ENHANCEDSTATUSCODES\n8BITMIME\nDSN\n\
                 SMTPUTF8\nCHUNKING{auth}{others}"
            ),
        )
    }

    fn mail(&mut self, argument: Path<'_>) -> Event<'static> {
        if let Some(reply) = self.mail_is_unwelcome() {
            return self.reject(&reply);
        }
        let max_bytes = self.settings.limits.message_bytes;
        let Some(parameters) = self.without_auth(argument.parameters) else {
            return self.reject(&reply::bad_parameter(ParameterError::Syntax));
        };
        let parameters = match MailParameters::parse(&parameters, max_bytes) {
            Ok(parameters) => parameters,
            Err(error) => return self.reject(&reply::bad_parameter(error)),
        };
        match ReversePath::parse(argument.path, self.syntax(parameters.smtputf8)) {
            Ok(reverse_path) if !self.may_send_as(&reverse_path) => {
                self.reject(&reply::not_your_address())
            }
            Ok(reverse_path) => self.ask(Pending::Mail { reverse_path, parameters }),
            Err(error) => self.reject(&reply::bad_reverse_path(error)),
        }
    }

    fn mail_is_unwelcome(&self) -> Option<Reply> {
        if self.greeting.is_none() {
            return Some(reply::hello_first());
        }
        if self.transaction.is_some() {
            return Some(reply::nested_mail());
        }
        if self.settings.requires_tls && self.client.tls.is_none() {
            return Some(reply::tls_first());
        }
        if self.settings.auth.is_required && self.client.login.is_none() {
            return Some(reply::login_first());
        }
        if self.counts.messages >= self.settings.limits.messages {
            return Some(reply::too_many_messages());
        }
        None
    }

    fn rcpt(&mut self, argument: Path<'_>) -> Event<'static> {
        match self.recipient(argument) {
            Ok(recipient) if self.knows(&recipient) => self.accept(&reply::recipient_ok()),
            Ok(recipient) => self.ask(Pending::Rcpt { recipient }),
            // RFC 5321 §4.5.3.1.10 lets the client go on, with the recipients it has.
            Err(reply) if reply.code == 452 => self.accept(&reply),
            Err(reply) => self.reject(&reply),
        }
    }

    fn recipient(&self, argument: Path<'_>) -> Result<Recipient, Reply> {
        let transaction = self.transaction.as_ref().ok_or_else(reply::mail_first)?;
        if self.transfer.is_some() {
            return Err(reply::chunks_first());
        }
        let utf8 = transaction.parameters.smtputf8;
        let parameters =
            RcptParameters::parse(argument.parameters, utf8).map_err(reply::bad_parameter)?;
        let path = ForwardPath::parse(argument.path, self.syntax(utf8))
            .map_err(reply::bad_forward_path)?;
        self.settings
            .relaying
            .check(self.is_trusted, argument.path, &path)
            .map_err(reply::denied)?;
        if transaction.recipients.len() >= self.settings.limits.recipients {
            return Err(reply::too_many_recipients());
        }
        Ok(Recipient { path, parameters })
    }

    /// Whether the transaction has this recipient already.
    fn knows(&self, recipient: &Recipient) -> bool {
        let all = self.transaction.as_ref().map(|transaction| &transaction.recipients);
        all.is_some_and(|all| all.iter().any(|known| known.path == recipient.path))
    }

    fn data(&mut self, is_last: bool) -> Event<'static> {
        let refusal = match &self.transaction {
            None => Some(reply::mail_first()),
            Some(_) if self.transfer.is_some() => Some(reply::chunks_first()),
            Some(transaction) if transaction.recipients.is_empty() => Some(reply::no_recipients()),
            Some(transaction) => transaction.refusal.clone(),
        };
        match refusal {
            None => {
                self.transfer = Some(Transfer::by_data(&self.settings));
                self.phase = Phase::Content;
                Reply::plain(354, "End data with <CRLF>.<CRLF>").write_to(&mut self.output);
                Event::Begin
            }
            // The client did not wait for our 354 (RFC 2920 §3.1). What it takes for content we
            // would read as commands, and whoever wrote the message could write them.
            Some(refusal) if !is_last && self.settings.close_on_early_data => {
                refusal.write_to(&mut self.output);
                self.close_with(&reply::out_of_step());
                Event::Close
            }
            Some(refusal) => self.reject(&refusal),
        }
    }

    /// BDAT. A chunk is read even if it is refused, since the client sends it unasked.
    fn bdat(&mut self, octets: u64, is_last: bool) -> Event<'static> {
        let is_first = self.transfer.is_none();
        let refusal = match &self.transaction {
            None => Some(reply::mail_first()),
            Some(transaction) if transaction.recipients.is_empty() => Some(reply::no_recipients()),
            Some(transaction) => transaction.refusal.clone(),
        };
        let settings = &self.settings;
        let transfer = self.transfer.get_or_insert_with(|| Transfer::by_bdat(settings));
        let is_refused = refusal.is_some();
        if let Some(refusal) = refusal {
            transfer.refuse(refusal);
        }
        transfer.begin_chunk(octets, is_last);
        self.phase = Phase::Content;
        if is_first && !is_refused { Event::Begin } else { Event::Continue }
    }

    fn start_tls(&mut self) -> Event<'static> {
        if !self.offers_tls {
            return self.reject(&reply::no_tls(self.client.tls.is_some()));
        }
        self.phase = Phase::Handshake;
        self.drop_transaction();
        Reply::new(220, (2, 0, 0), "Ready to start TLS").write_to(&mut self.output);
        Event::StartTls
    }

    /// Replies to a command that brings no message nearer.
    pub(super) fn idle(&mut self, reply: &Reply) -> Event<'static> {
        reply.write_to(&mut self.output);
        self.counts.idle = self.counts.idle.saturating_add(1);
        if self.counts.idle <= self.settings.limits.idle_commands {
            return Event::Continue;
        }
        self.close_with(&reply::too_many_idle_commands());
        Event::Close
    }

    /// Ends the transaction; tells the driver if it had begun a body.
    fn abandon_or(&mut self, event: Event<'static>) -> Event<'static> {
        let had_body = self.transfer.is_some();
        self.drop_transaction();
        // What else is to be done, the next step says again.
        let is_over = matches!(event, Event::Close | Event::Quit);
        if had_body && !is_over { Event::Abandon } else { event }
    }

    fn syntax(&self, utf8: bool) -> Syntax {
        Syntax { utf8, lax_dots: self.settings.allow_bad_dots }
    }
}
