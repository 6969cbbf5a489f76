//! Opens an SMTP or LMTP session: connection, greeting, EHLO, STARTTLS, AUTH.
//!
//! In: a server by name or socket path, with the addresses to try. Out: a [`Session`] ready for
//! transactions, or the [`Failure`] of the last address. A server that does not know EHLO gets HELO.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::reply::{RawReply, ServerReply};
use super::sasl::{self, Credentials, Login, Mechanism, Offered};
use super::settings::Settings;
use super::tls::seen::{Trouble, TroubleKind};
use super::tls::{Need, Tls};
use super::wire::{Wire, WireError};
use super::{Failure, Scope};

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Smtp,
    /// SMTP with TLS from the first octet.
    Smtps,
    /// RFC 2033.
    Lmtp,
}

/// What the server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) pipelining: bool,
    pub(super) eight_bit_mime: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) starttls: bool,
    pub(super) size: bool,
    /// Ways to log in.
    pub(super) auth: Offered,
    /// The largest message, if the server says one.
    pub(super) max_size: Option<u64>,
}

/// An open session between transactions.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) protocol: Protocol,
    pub(super) capabilities: Capabilities,
    /// Whether TLS is on.
    pub(super) secured: bool,
    /// `name[address]:port`, or a path.
    pub(super) host: Arc<str>,
    /// The first word of the greeting: what the server calls itself.
    pub(super) greeting_name: String,
    /// Transactions begun.
    pub(super) messages: u32,
    /// Whether another transaction may follow.
    pub(super) reusable: bool,
}

/// Where to connect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A host by name, at one of its addresses.
    Tcp { name: &'a str, address: SocketAddr },
    /// A socket in the file system.
    Unix(&'a Path),
}

/// What is noticed while a session is opened, for TLS reports.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The server's address.
    pub(super) ip: Option<IpAddr>,
    /// Our address.
    pub(super) own_ip: Option<IpAddr>,
    /// What the server calls itself.
    pub(super) helo: Option<String>,
    /// What became of TLS; `None` if it did not come to that.
    pub(super) outcome: Option<Result<(), Trouble>>,
}

/// Opens sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opener<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tls: &'a Tls,
    pub(super) protocol: Protocol,
    pub(super) need: &'a Need,
}

/// Why no session came about.
enum OpenError {
    /// Connection or protocol.
    Wire(WireError),
    /// A reply that says no.
    Refused(ServerReply),
    /// TLS is required and not to be had.
    NoTls(String),
    /// We cannot log in.
    NoLogin(String),
}

impl From<WireError> for OpenError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl Opener<'_> {
    /// Opens a session with `target`.
    pub(super) async fn open(
        &self,
        target: Target<'_>,
        notes: &mut Notes,
    ) -> Result<Session, Failure> {
        let host = match target {
            Target::Tcp { name, address } if name.parse::<IpAddr>().is_ok() => {
                format!("[{}]:{}", address.ip(), address.port())
            }
            Target::Tcp { name, address } => format!("{name}[{}]:{}", address.ip(), address.port()),
            Target::Unix(path) => path.display().to_string(),
        };
        let host: Arc<str> = host.into();
        let first = self.try_open(target, &host, self.need, notes).await;
        let opened = match first {
            // Half-broken TLS is worse than none when none would do: begin anew in clear.
            Err((OpenError::Wire(error), true)) if self.need.may_be_clear() => {
                tracing::debug!(%host, %error, "TLS failed; another try in clear");
                self.try_open(target, &host, &Need::Clear, &mut Notes::default()).await
            }
            other => other,
        };
        let mut session = opened.map_err(|(error, _)| failure(&host, error))?;
        if let Some(credentials) = self.credentials(target) {
            let logged_in = self.log_in(&mut session, credentials).await;
            logged_in.map_err(|error| failure(&host, error))?;
        }
        Ok(session)
    }

    /// Opens a session. An error tells whether it came after STARTTLS was accepted.
    async fn try_open(
        &self,
        target: Target<'_>,
        host: &Arc<str>,
        need: &Need,
        notes: &mut Notes,
    ) -> Result<Session, (OpenError, bool)> {
        let before_tls = |error: OpenError| (error, false);
        let mut session = self.greet(target, host, notes).await.map_err(before_tls)?;
        if *need == Need::Clear || session.secured {
            return Ok(session);
        }
        let refusal = if session.capabilities.starttls {
            let limit = self.settings.timeouts.hello;
            let reply = session.wire.command("STARTTLS", limit).await;
            let reply = reply.map_err(|error| before_tls(error.into()))?;
            if reply.is_positive() {
                let secured = self.upgrade(session, target, need, notes).await;
                return secured.map_err(|error| (error, true));
            }
            format!("STARTTLS refused: {}", reply.to_server_reply())
        } else {
            "STARTTLS is not offered".to_owned()
        };
        notes.outcome = Some(Err(Trouble::new(TroubleKind::StarttlsNotSupported, &refusal)));
        if !need.may_be_clear() {
            return Err(before_tls(OpenError::NoTls(refusal)));
        }
        Ok(session)
    }

    async fn greet(
        &self,
        target: Target<'_>,
        host: &Arc<str>,
        notes: &mut Notes,
    ) -> Result<Session, OpenError> {
        let timeouts = &self.settings.timeouts;
        let connected = timeout(timeouts.connect, connect(target, notes)).await;
        let mut wire =
            connected.map_err(|_| WireError::TimedOut(timeouts.connect))?.map_err(WireError::Io)?;
        let secured = self.protocol == Protocol::Smtps;
        if secured {
            wire = self.handshake(wire, target, self.need, notes).await?;
        }
        let greeting = wire.reply(timeouts.greeting).await?;
        if greeting.code != 220 {
            return Err(OpenError::Refused(greeting.to_server_reply()));
        }
        let greeting = greeting.to_server_reply();
        let greeting_name = greeting.text.split(' ').next().unwrap_or_default().to_lowercase();
        notes.helo = Some(greeting_name.chars().take(255).collect());
        let mut session = Session {
            wire,
            protocol: self.protocol,
            capabilities: Capabilities::default(),
            secured,
            host: Arc::clone(host),
            greeting_name,
            messages: 0,
            reusable: true,
        };
        self.hello(&mut session).await?;
        Ok(session)
    }

    async fn hello(&self, session: &mut Session) -> Result<(), OpenError> {
        let limit = self.settings.timeouts.hello;
        let hostname = &self.settings.hostname;
        let verb = if self.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let reply = session.wire.command(&format!("{verb} {hostname}"), limit).await?;
        if reply.is_positive() {
            session.capabilities = capabilities(&reply);
            return Ok(());
        }
        if self.protocol == Protocol::Lmtp || reply.code / 100 != 5 {
            return Err(OpenError::Refused(reply.to_server_reply()));
        }
        let reply = session.wire.command(&format!("HELO {hostname}"), limit).await?;
        if !reply.is_positive() {
            return Err(OpenError::Refused(reply.to_server_reply()));
        }
        Ok(())
    }

    async fn upgrade(
        &self,
        session: Session,
        target: Target<'_>,
        need: &Need,
        notes: &mut Notes,
    ) -> Result<Session, OpenError> {
        let wire = self.handshake(session.wire, target, need, notes).await?;
        let capabilities = Capabilities::default();
        let mut session = Session { wire, capabilities, secured: true, ..session };
        self.hello(&mut session).await?;
        Ok(session)
    }

    async fn handshake(
        &self,
        wire: Wire,
        target: Target<'_>,
        need: &Need,
        notes: &mut Notes,
    ) -> Result<Wire, OpenError> {
        let name = match target {
            Target::Tcp { name, address } => ServerName::try_from(name.to_owned())
                .unwrap_or_else(|_| ServerName::IpAddress(address.ip().into())),
            Target::Unix(_) => {
                return Err(OpenError::NoTls("no TLS over a socket file".to_owned()));
            }
        };
        let is_test = *need == Need::Testing;
        let (config, doubt) = match is_test.then(|| self.tls.lenient()).flatten() {
            Some((config, doubt)) => (Some(config), Some(doubt)),
            None => (self.tls.config(need), None),
        };
        let config = config.ok_or_else(|| {
            OpenError::NoTls("no certificate authority is known on this machine".to_owned())
        })?;
        let limit = self.settings.timeouts.hello;
        let secured = wire.start_tls(config, name, limit).await;
        notes.outcome = Some(match &secured {
            Ok(_) => doubt.and_then(|doubt| doubt.take()).map_or(Ok(()), Err),
            Err(WireError::Tls(error)) => Err(Trouble::of_handshake(error)),
            Err(other) => Err(Trouble::new(TroubleKind::ValidationFailure, &other.to_string())),
        });
        Ok(secured?)
    }

    /// With whom to log in at `target`, if we are to.
    fn credentials(&self, target: Target<'_>) -> Option<&Credentials> {
        let Target::Tcp { name, address } = target else { return None };
        self.settings.credentials_for(name, address.port())
    }

    async fn log_in(
        &self,
        session: &mut Session,
        credentials: &Credentials,
    ) -> Result<(), OpenError> {
        let limit = self.settings.timeouts.hello;
        let no = |text: String| OpenError::NoLogin(text);
        let mechanism = Mechanism::best(session.capabilities.auth, session.secured);
        let mechanism = mechanism
            .ok_or_else(|| no("the server offers no way to log in that is safe here".to_owned()))?;
        let nonce: [u8; 18] = random().map_err(|error| no(error.to_string()))?;
        let mut login = Login::new(mechanism, credentials, sasl::encode(&nonce));
        let mut line = format!("AUTH {}", mechanism.name());
        if let Some(initial) = login.initial() {
            line = format!("{line} {}", sasl::encode(&initial));
        }
        // No mechanism has more rounds than this.
        for _ in 0..4 {
            let reply = session.wire.command(&line, limit).await?;
            if reply.is_positive() {
                return login.finish(None).map_err(|error| no(error.to_string()));
            }
            if reply.code != 334 {
                return Err(no(format!("login refused: {}", reply.to_server_reply())));
            }
            let said = reply.lines().next().and_then(sasl::decode);
            let said = said.ok_or_else(|| no("a challenge that is no base64".to_owned()))?;
            line = sasl::encode(&login.answer(&said).map_err(|error| no(error.to_string()))?);
        }
        Err(no("the server does not come to an end".to_owned()))
    }
}

/// Octets that nobody can guess.
fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

async fn connect(target: Target<'_>, notes: &mut Notes) -> std::io::Result<Wire> {
    match target {
        Target::Tcp { address, .. } => {
            let stream = TcpStream::connect(address).await?;
            notes.ip = Some(address.ip());
            notes.own_ip = stream.local_addr().ok().map(|own| own.ip());
            stream.set_nodelay(true)?;
            Ok(Wire::new(stream))
        }
        Target::Unix(path) => UnixStream::connect(path).await.map(Wire::new),
    }
}

/// Reads the lines after the first of a reply to EHLO.
fn capabilities(reply: &RawReply) -> Capabilities {
    let mut all = Capabilities::default();
    for line in reply.lines().skip(1) {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        match words.next() {
            Some("PIPELINING") => all.pipelining = true,
            Some("8BITMIME") => all.eight_bit_mime = true,
            Some("SMTPUTF8") => all.smtputf8 = true,
            Some("DSN") => all.dsn = true,
            Some("STARTTLS") => all.starttls = true,
            Some("AUTH") => words.for_each(|name| all.auth.add(name)),
            Some("SIZE") => {
                all.size = true;
                let max = words.next().and_then(|size| size.parse().ok());
                all.max_size = max.filter(|max| *max > 0);
            }
            _ => {}
        }
    }
    all
}

/// What a failed opening means. No mail was refused yet, so nearly everything is transient.
fn failure(host: &str, error: OpenError) -> Failure {
    let host = Some(host.to_owned());
    let scope = Scope::Destination;
    match error {
        OpenError::Wire(error) => {
            let enhanced = match error {
                WireError::Tls(_) => (4, 7, 5),
                WireError::Garbage(_) => (4, 5, 0),
                WireError::Io(_) => (4, 4, 1),
                WireError::Closed | WireError::TimedOut(_) => (4, 4, 2),
            };
            Failure { host, code: None, enhanced, text: error.to_string(), scope }
        }
        // The password may be put right before the mail is too old.
        OpenError::NoLogin(text) => Failure { host, code: None, enhanced: (4, 7, 8), text, scope },
        OpenError::NoTls(text) => Failure { host, code: None, enhanced: (4, 7, 4), text, scope },
        // 521 means: no mail here, ever (RFC 7504). Deviation: any other 5yz greeting is taken as
        // transient, because it is mostly a blocked client or a server in trouble, and waits well.
        OpenError::Refused(reply) if reply.code == 521 => Failure {
            host,
            code: Some(reply.code),
            enhanced: reply.enhanced.unwrap_or((5, 3, 2)),
            text: reply.text,
            scope,
        },
        OpenError::Refused(reply) => {
            let (class, subject, detail) = reply.enhanced_or_class();
            let enhanced = if class == 4 { (4, subject, detail) } else { (4, 3, 2) };
            let text = reply.to_string();
            Failure { host, code: Some(reply.code), enhanced, text, scope }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers() {
        let mut reply = RawReply::new(250);
        let lines =
            ["mx.example DSN", "pipelining", "SIZE 1000", "8BITMIME", "AUTH=PLAIN", "X-DSN"];
        lines.iter().for_each(|line| reply.push(line.as_bytes()));
        let mut auth = Offered::default();
        auth.add("PLAIN");
        let expected = Capabilities {
            auth,
            pipelining: true,
            eight_bit_mime: true,
            size: true,
            max_size: Some(1_000),
            ..Capabilities::default()
        };
        assert_eq!(capabilities(&reply), expected);
    }

    #[test]
    fn size_without_a_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999"] {
            let mut reply = RawReply::new(250);
            reply.push(b"mx.example");
            reply.push(line.as_bytes());
            let all = capabilities(&reply);
            assert!(all.size && all.max_size.is_none(), "{line}");
        }
    }
}
