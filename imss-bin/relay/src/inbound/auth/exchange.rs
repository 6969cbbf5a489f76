//! One AUTH exchange: challenges and responses, until it is clear who the client says it is.
//!
//! In: decoded responses. Out: a [`Turn`]. A password is handed on and not looked at here; the
//! other mechanisms prove it on the spot. Malformed responses end the exchange.

use super::scram::{Channel, Scram};
use super::users::Users;
use super::verifier;
use super::{Mechanism, Password};

/// Octets of a login name.
const MAX_NAME_BYTES: usize = 255;

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Send this, in base64, and read a response.
    Challenge(Vec<u8>),
    /// The client has said who it is.
    Claim(Claim),
    /// The response cannot be read; the exchange is over.
    Malformed,
}

/// Who the client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A name, and a password that must be compared.
    Password {
        /// The login name.
        name: String,
        /// The password.
        password: Password,
    },
    /// A name, and the proof was right.
    Proven {
        /// The login name.
        name: String,
    },
    /// A name, and the proof was wrong.
    Wrong {
        /// The login name.
        name: String,
    },
}

/// What an exchange needs to know of its session.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who may log in.
    pub users: &'a Users,
    /// Our name.
    pub hostname: &'a str,
    /// The exporter of the TLS connection (RFC 9266).
    pub exporter: Option<&'a [u8]>,
    /// Whether a mechanism with channel binding was offered.
    pub offers_plus: bool,
}

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword { name: String },
    CramMd5 { challenge: String },
    ScramFirst { is_plus: bool, nonce: String },
    ScramFinal(Box<Scram>),
    ScramDone { name: String },
    Over,
}

impl Exchange {
    /// Begins an exchange; `nonce` was never used before.
    #[must_use]
    pub fn new(mechanism: Mechanism, nonce: String, hostname: &str) -> Self {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
            Mechanism::CramMd5 => State::CramMd5 { challenge: format!("<{nonce}@{hostname}>") },
            Mechanism::ScramSha256 => State::ScramFirst { is_plus: false, nonce },
            Mechanism::ScramSha256Plus => State::ScramFirst { is_plus: true, nonce },
        };
        Self { state }
    }

    /// The first turn: with the initial response, or without one.
    pub fn begin(&mut self, initial: Option<&[u8]>, context: &Context<'_>) -> Turn {
        match (&self.state, initial) {
            // The server speaks first here (RFC 4954 §4): an initial response is a mistake.
            (State::CramMd5 { .. }, Some(_)) => Turn::Malformed,
            (State::CramMd5 { challenge }, None) => Turn::Challenge(challenge.clone().into_bytes()),
            (State::LoginName, None) => Turn::Challenge(b"Username:".to_vec()),
            (_, None) => Turn::Challenge(Vec::new()),
            (_, Some(response)) => self.respond(response, context),
        }
    }

    /// The next turn.
    pub fn respond(&mut self, response: &[u8], context: &Context<'_>) -> Turn {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => plain(response).unwrap_or(Turn::Malformed),
            State::LoginName => match name(response) {
                Some(name) => {
                    self.state = State::LoginPassword { name };
                    Turn::Challenge(b"Password:".to_vec())
                }
                None => Turn::Malformed,
            },
            State::LoginPassword { name } => password(name, response).unwrap_or(Turn::Malformed),
            State::CramMd5 { challenge } => {
                cram_md5(response, &challenge, context.users).unwrap_or(Turn::Malformed)
            }
            State::ScramFirst { is_plus, nonce } => {
                let channel = Channel {
                    exporter: context.exporter,
                    is_plus,
                    offers_plus: context.offers_plus,
                };
                let Some((scram, first)) = Scram::begin(response, channel, context.users, &nonce)
                else {
                    return Turn::Malformed;
                };
                self.state = State::ScramFinal(Box::new(scram));
                Turn::Challenge(first.into_bytes())
            }
            State::ScramFinal(scram) => match scram.finish(response) {
                Ok((name, last)) => {
                    self.state = State::ScramDone { name };
                    Turn::Challenge(last.into_bytes())
                }
                Err(name) => Turn::Claim(Claim::Wrong { name }),
            },
            State::ScramDone { name } if response.is_empty() => Turn::Claim(Claim::Proven { name }),
            State::ScramDone { .. } | State::Over => Turn::Malformed,
        }
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616 §2). Nobody acts for another here.
fn plain(response: &[u8]) -> Option<Turn> {
    let mut fields = response.split(|octet| *octet == 0);
    let (other, own, secret) = (fields.next()?, fields.next()?, fields.next()?);
    let is_other = !other.is_empty() && !other.eq_ignore_ascii_case(own);
    if is_other || fields.next().is_some() {
        return None;
    }
    password(name(own)?, secret)
}

fn name(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
    (fits && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn password(name: String, octets: &[u8]) -> Option<Turn> {
    let password = Password::new(std::str::from_utf8(octets).ok()?);
    (!password.is_empty()).then_some(Turn::Claim(Claim::Password { name, password }))
}

/// `name digest` (RFC 2195 §2).
fn cram_md5(response: &[u8], challenge: &str, users: &Users) -> Option<Turn> {
    let text = std::str::from_utf8(response).ok()?;
    let (claimed, digest) = text.rsplit_once(' ')?;
    let name = name(claimed.as_bytes())?;
    let secret = users.cram_password(&name);
    let is_right = secret.is_some_and(|secret| {
        let expected = verifier::hmac_md5(&secret, challenge.as_bytes());
        let expected: String = expected.iter().map(|octet| format!("{octet:02x}")).collect();
        verifier::is_same(expected.as_bytes(), digest.to_ascii_lowercase().as_bytes())
    });
    Some(Turn::Claim(if is_right { Claim::Proven { name } } else { Claim::Wrong { name } }))
}
