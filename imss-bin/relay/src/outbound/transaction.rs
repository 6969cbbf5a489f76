//! One mail transaction in an open session: MAIL, RCPT, DATA, and what each reply means.
//!
//! In: a [`Mail`]. Out: one [`Fate`] per recipient, in order. Commands are sent together if the server
//! offers PIPELINING (RFC 2920). After any surprise the session is not used again.

use std::borrow::Cow;
use std::fmt::Write as _;

use imss_core::edit::legal::Survey;
use imss_core::envelope::{
    BodyType, DsnReturn, ForwardPath, MailParameters, Mailbox, Notify, Recipient, ReversePath,
};

use super::data::Stuffer;
use super::reply::ServerReply;
use super::session::{Capabilities, Protocol, Session};
use super::settings::Timeouts;
use super::source::Source;
use super::wire::WireError;
use super::{Failure, Scope};
use crate::spool::body::Content;

/// What is sent, and for whom.
#[derive(Debug)]
pub(super) struct Mail<'a> {
    pub(super) reverse_path: &'a ReversePath,
    pub(super) parameters: &'a MailParameters,
    pub(super) recipients: Vec<&'a Recipient>,
    pub(super) content: &'a Content,
    /// What its octets demand.
    pub(super) survey: Survey,
    /// Whether somebody has signed its fields.
    pub(super) signed: bool,
}

/// How far a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Mail,
    Rcpt,
    /// DATA is sent, no content yet.
    Data,
    /// Content is sent, perhaps all of it.
    End,
}

/// What became of one recipient in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// A 2yz reply after the end of the data.
    Accepted(ServerReply),
    /// Any other reply.
    Refused(ServerReply, Stage),
    /// The session broke.
    Lost(String, Stage),
    /// We did not even ask.
    Unfit(Failure),
}

/// Octets of commands sent before their replies are read. Well below what two sockets buffer, so
/// that neither side waits for the other to read.
const WINDOW_BYTES: usize = 16 << 10;
/// Data is sent in pieces of about this size.
const BLOCK_BYTES: usize = 64 << 10;

impl Session {
    /// Runs one transaction. Gives one fate per recipient.
    pub(super) async fn transaction(&mut self, mail: &Mail<'_>, timeouts: &Timeouts) -> Vec<Fate> {
        self.messages = self.messages.saturating_add(1);
        let mut run = Run::new(self, mail);
        if run.recipients.iter().any(|recipient| recipient.fate.is_none())
            && let Err(error) = run.exchange(mail, timeouts).await
        {
            run.lose(&error);
        }
        let unfinished = || Fate::Lost("the transaction ended early".to_owned(), Stage::End);
        run.recipients.into_iter().map(|one| one.fate.unwrap_or_else(unfinished)).collect()
    }
}

/// A transaction on its way.
struct Run<'s> {
    session: &'s mut Session,
    stage: Stage,
    /// The server has an open transaction.
    mail_accepted: bool,
    recipients: Vec<RunRecipient>,
}

struct RunRecipient {
    fate: Option<Fate>,
    accepted: bool,
}

/// A command whose reply is due.
#[derive(Clone, Copy)]
enum Due {
    Mail,
    Rcpt(usize),
    Data,
}

impl<'s> Run<'s> {
    fn new(session: &'s mut Session, mail: &Mail<'_>) -> Self {
        let fate = |recipient: &&Recipient| unfit(session, mail, recipient).map(Fate::Unfit);
        let recipients = mail
            .recipients
            .iter()
            .map(|recipient| RunRecipient { fate: fate(recipient), accepted: false })
            .collect();
        Self { session, stage: Stage::Mail, mail_accepted: false, recipients }
    }

    async fn exchange(&mut self, mail: &Mail<'_>, timeouts: &Timeouts) -> Result<(), WireError> {
        let go = self.envelope(mail, timeouts).await?;
        if !go {
            let stage = self.stage;
            self.settle(|| Fate::Lost("the server is closing the connection".to_owned(), stage));
            if self.session.reusable && self.mail_accepted {
                let reset = self.session.wire.command("RSET", timeouts.hello).await;
                self.session.reusable = reset.is_ok_and(|reply| reply.is_positive());
            }
            return Ok(());
        }
        if self.session.wire.has_unread() {
            return Err(WireError::Garbage("a reply nobody asked for"));
        }
        self.stage = Stage::End;
        if let Err(error) = self.content(mail.content, timeouts).await? {
            // Without the final dot the server forgets it all.
            self.session.reusable = false;
            let text = format!("cannot read the message: {error}");
            self.settle(|| Fate::Unfit(Failure::own((4, 3, 0), text.clone(), Scope::Message)));
            return Ok(());
        }
        self.end(timeouts).await?;
        self.session.reusable &= !self.session.wire.has_unread();
        Ok(())
    }

    /// MAIL, RCPT and DATA. True if the server waits for the data.
    async fn envelope(&mut self, mail: &Mail<'_>, timeouts: &Timeouts) -> Result<bool, WireError> {
        let asked = self.recipients.iter().enumerate().filter(|(_, one)| one.fate.is_none());
        let asked = asked.map(|(index, _)| Due::Rcpt(index));
        let all: Vec<Due> = std::iter::once(Due::Mail).chain(asked).chain([Due::Data]).collect();
        let mut left = all.as_slice();
        while !left.is_empty() {
            let (window, rest) =
                left.split_at_checked(self.fill(left, mail)).unwrap_or((left, &[]));
            left = rest;
            self.session.wire.flush(timeouts.command).await?;
            let mut go = false;
            for due in window {
                go = self.read_due(*due, timeouts).await?;
            }
            let anyone = self.recipients.iter().any(|one| one.accepted);
            match left.first() {
                None if go && !anyone => {
                    // Deviation: RFC 2920 §3.1 would send an empty message here. If we and the
                    // server differ about who was accepted, somebody would receive it.
                    self.session.reusable = false;
                    return Ok(false);
                }
                None => return Ok(go && self.session.reusable),
                Some(Due::Data) if !anyone => return Ok(false),
                _ if self.recipients.iter().all(|one| one.fate.is_some()) => return Ok(false),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Puts commands into the output: one, or a window of them. Says how many.
    fn fill(&mut self, due: &[Due], mail: &Mail<'_>) -> usize {
        let mut count: usize = 0;
        for next in due {
            let capabilities = self.session.capabilities;
            let out = &mut self.session.wire.output;
            if count > 0 && (!capabilities.pipelining || out.len() >= WINDOW_BYTES) {
                break;
            }
            let line = match next {
                Due::Mail => Cow::Owned(mail_command(mail, self.session)),
                Due::Rcpt(index) => match mail.recipients.get(*index) {
                    Some(recipient) => Cow::Owned(rcpt_command(recipient, self.session)),
                    None => break,
                },
                Due::Data => Cow::Borrowed("DATA\r\n"),
            };
            self.session.wire.output.extend_from_slice(line.as_bytes());
            count = count.saturating_add(1);
        }
        count
    }

    /// Reads the reply to one command. True if it is the 354 to DATA.
    async fn read_due(&mut self, due: Due, timeouts: &Timeouts) -> Result<bool, WireError> {
        let (stage, limit) = match due {
            Due::Mail => (Stage::Mail, timeouts.command),
            Due::Rcpt(_) => (Stage::Rcpt, timeouts.command),
            Due::Data => (Stage::Data, timeouts.data_start),
        };
        let reply = self.session.wire.reply(limit).await?;
        self.stage = self.stage.max(stage);
        self.mail_accepted |= stage == Stage::Mail && reply.is_positive();
        if reply.code == 421 {
            self.session.reusable = false;
        }
        match due {
            Due::Mail if !reply.is_positive() => {
                let reply = reply.to_server_reply();
                self.settle(|| Fate::Refused(reply.clone(), Stage::Mail));
            }
            Due::Rcpt(index) => {
                if let Some(one) = self.recipients.get_mut(index).filter(|one| one.fate.is_none()) {
                    one.accepted = reply.is_positive();
                    if !one.accepted {
                        one.fate = Some(Fate::Refused(reply.to_server_reply(), Stage::Rcpt));
                    }
                }
            }
            Due::Data if reply.code == 354 => return Ok(true),
            Due::Data => {
                let reply = reply.to_server_reply();
                self.settle(|| Fate::Refused(reply.clone(), Stage::Data));
            }
            Due::Mail => {}
        }
        Ok(false)
    }

    /// Sends the content and the end of the data. The inner error is the spool's.
    async fn content(
        &mut self,
        content: &Content,
        timeouts: &Timeouts,
    ) -> Result<std::io::Result<()>, WireError> {
        let mut stuffer = Stuffer::new();
        let mut source = Source::new(content);
        while let Some(chunk) = source.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Err(error)),
            };
            for block in chunk.chunks(BLOCK_BYTES) {
                stuffer.push(block, &mut self.session.wire.output);
                if self.session.wire.output.len() >= BLOCK_BYTES {
                    self.send_block(timeouts).await?;
                }
            }
        }
        stuffer.finish(&mut self.session.wire.output);
        self.send_block(timeouts).await.map(Ok)
    }

    /// Sends a piece of the data. A server that closed early may have said why.
    async fn send_block(&mut self, timeouts: &Timeouts) -> Result<(), WireError> {
        let Err(error) = self.session.wire.flush(timeouts.data_block).await else {
            return Ok(());
        };
        self.session.reusable = false;
        if let Ok(reply) = self.session.wire.reply(timeouts.quit).await
            && !reply.is_positive()
        {
            let reply = reply.to_server_reply();
            self.settle(|| Fate::Refused(reply.clone(), Stage::End));
        }
        Err(error)
    }

    /// Reads the reply to the end of the data: one, or with LMTP one per accepted recipient.
    async fn end(&mut self, timeouts: &Timeouts) -> Result<(), WireError> {
        let fate = |reply: ServerReply| match reply.is_positive() {
            true => Fate::Accepted(reply),
            false => Fate::Refused(reply, Stage::End),
        };
        if self.session.protocol != Protocol::Lmtp {
            let reply = self.session.wire.reply(timeouts.data_end).await?;
            self.session.reusable &= reply.code != 421;
            let fate = fate(reply.to_server_reply());
            self.settle(|| fate.clone());
            return Ok(());
        }
        for one in self.recipients.iter_mut().filter(|one| one.accepted && one.fate.is_none()) {
            let reply = self.session.wire.reply(timeouts.data_end).await?;
            self.session.reusable &= reply.code != 421;
            one.fate = Some(fate(reply.to_server_reply()));
        }
        Ok(())
    }

    /// Gives everybody without a fate this one.
    fn settle(&mut self, fate: impl Fn() -> Fate) {
        for one in self.recipients.iter_mut().filter(|one| one.fate.is_none()) {
            one.fate = Some(fate());
        }
    }

    fn lose(&mut self, error: &WireError) {
        self.session.reusable = false;
        let stage = self.stage;
        self.settle(|| Fate::Lost(error.to_string(), stage));
    }
}

/// Why this recipient cannot get this message from this server.
fn unfit(session: &Session, mail: &Mail<'_>, recipient: &Recipient) -> Option<Failure> {
    let size = mail.content.len();
    if let Some(max) = session.capabilities.max_size.filter(|max| size > *max) {
        let text = format!("message of {size} octets, the server takes {max}");
        return Some(Failure::own((5, 3, 4), text, Scope::Message));
    }
    if session.capabilities.smtputf8 {
        return None;
    }
    let needs_utf8 = |mailbox: Option<&Mailbox>| {
        mailbox.is_some_and(|mailbox| mailbox.needs_utf8() && ascii(mailbox).is_none())
    };
    let text = "a non-ASCII address, the server does not offer SMTPUTF8";
    if needs_utf8(mail.reverse_path.mailbox()) {
        return Some(Failure::own((5, 6, 7), text, Scope::Message));
    }
    needs_utf8(recipient.path.mailbox()).then(|| Failure::own((5, 6, 7), text, Scope::Recipient))
}

/// The mailbox without UTF-8, if only its domain has any.
fn ascii(mailbox: &Mailbox) -> Option<String> {
    let domain = mailbox.domain().name().filter(|_| mailbox.local_part().is_ascii())?;
    let domain = idna::domain_to_ascii(domain).ok()?;
    Some(format!("{}@{domain}", mailbox.local_part()))
}

fn push_path(line: &mut String, mailbox: &Mailbox, smtputf8: bool) {
    let ascii = if smtputf8 || !mailbox.needs_utf8() { None } else { ascii(mailbox) };
    // Writing to a String cannot fail.
    let _ = match ascii {
        Some(ascii) => write!(line, "<{ascii}>"),
        None => write!(line, "<{mailbox}>"),
    };
}

fn mail_command(mail: &Mail<'_>, session: &Session) -> String {
    let capabilities = session.capabilities;
    let (parameters, mut line) = (mail.parameters, "MAIL FROM:".to_owned());
    let needs_utf8 = parameters.smtputf8
        || mail.reverse_path.mailbox().is_some_and(Mailbox::needs_utf8)
        || mail.recipients.iter().filter_map(|r| r.path.mailbox()).any(Mailbox::needs_utf8);
    match mail.reverse_path {
        ReversePath::Null => line.push_str("<>"),
        ReversePath::Mailbox(mailbox) => push_path(&mut line, mailbox, capabilities.smtputf8),
    }
    if capabilities.size {
        let _ = write!(line, " SIZE={}", mail.content.len());
    }
    let is_eight_bit =
        parameters.body == Some(BodyType::EightBitMime) || mail.survey.is_eight_bit();
    if capabilities.eight_bit_mime && is_eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if capabilities.smtputf8 && needs_utf8 {
        line.push_str(" SMTPUTF8");
    }
    if capabilities.dsn {
        match parameters.ret {
            Some(DsnReturn::Full) => line.push_str(" RET=FULL"),
            Some(DsnReturn::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) =
            parameters.envid.as_deref().filter(|text| is_parameter(text, capabilities))
        {
            let _ = write!(line, " ENVID={envid}");
        }
    }
    line.push_str("\r\n");
    line
}

fn rcpt_command(recipient: &Recipient, session: &Session) -> String {
    let mut line = "RCPT TO:".to_owned();
    match &recipient.path {
        ForwardPath::Postmaster => line.push_str("<Postmaster>"),
        ForwardPath::Mailbox(mailbox) => {
            push_path(&mut line, mailbox, session.capabilities.smtputf8);
        }
    }
    let capabilities = session.capabilities;
    if capabilities.dsn {
        if let Some(notify) = recipient.parameters.notify {
            let _ = write!(line, " NOTIFY={}", notify_value(notify));
        }
        let orcpt = recipient.parameters.orcpt.as_deref();
        if let Some(orcpt) = orcpt.filter(|text| is_parameter(text, capabilities)) {
            let _ = write!(line, " ORCPT={orcpt}");
        }
    }
    line.push_str("\r\n");
    line
}

fn notify_value(notify: Notify) -> String {
    let chosen =
        [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<_> = chosen.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

/// Whether a parameter value can stand in a command: the type allows any text.
fn is_parameter(text: &str, capabilities: Capabilities) -> bool {
    let fine = |c: char| ('!'..='~').contains(&c) || (capabilities.smtputf8 && is_utf8(c));
    (1..=500).contains(&text.len()) && text.chars().all(fine)
}

fn is_utf8(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}
