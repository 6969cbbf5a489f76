//! AUTH (RFC 4954): who may log in, and how.
//!
//! In: what a client answers to challenges. Out: a login name, or no. [`exchange`] speaks the
//! mechanisms and knows neither sockets nor clock; [`users`] holds verifiers, from which no
//! password can be read; [`verifier`] makes and compares them. A password is looked at off the
//! network loop, since deriving a key from it is slow on purpose.

use std::sync::Arc;
use std::time::Duration;

pub mod exchange;
mod guessers;
mod scram;
pub mod users;
pub mod verifier;

pub use users::Users;

/// What a listener does about AUTH.
#[derive(Debug, Clone)]
pub struct AuthRules {
    /// Who may log in; `None` offers no AUTH.
    pub users: Option<Arc<Users>>,
    /// Mechanisms, in the order in which they are offered.
    pub mechanisms: Vec<Mechanism>,
    /// Whether mail is taken only after AUTH.
    pub is_required: bool,
    /// Offer AUTH without TLS too.
    pub in_clear: bool,
    /// Whether the reverse-path must be the login, or one that the user may use.
    pub own_senders: bool,
    /// Whether the trace field names the login.
    pub is_traced: bool,
    /// Failures before the connection ends with 421.
    pub failures: u32,
    /// How long a failure waits for its reply; the second twice as long, and so on.
    pub delay: Duration,
    /// Where nonces come from.
    pub nonce: fn() -> Option<String>,
}

impl Default for AuthRules {
    fn default() -> Self {
        Self {
            users: None,
            mechanisms: vec![
                Mechanism::ScramSha256Plus,
                Mechanism::ScramSha256,
                Mechanism::Plain,
                Mechanism::Login,
            ],
            is_required: false,
            in_clear: false,
            own_senders: false,
            is_traced: false,
            failures: 3,
            delay: Duration::from_secs(2),
            nonce: verifier::nonce,
        }
    }
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// What Outlook speaks; never more than a draft.
    Login,
    /// RFC 2195. Needs a secret that can be decrypted; for devices that know nothing better.
    CramMd5,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection (RFC 9266).
    ScramSha256Plus,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Plain, Self::Login, Self::CramMd5, Self::ScramSha256, Self::ScramSha256Plus];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// The mechanism of that name, in any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str().eq_ignore_ascii_case(name))
    }
}

/// Whether a client is who it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginAnswer {
    /// It is: the login name.
    Right(String),
    /// It is not.
    Wrong,
    /// Nobody had the time to find out; the client may try again.
    Unknown,
}

/// A password on its way to be compared. Neither logs nor error texts can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password as SASLprep leaves it (RFC 4013): blanks of any kind are one kind, invisible
    /// characters are gone, look-alikes of one character are that character.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(verifier::prepare(text))
    }

    fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it is empty, which no password is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests;
