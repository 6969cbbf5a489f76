//! The envelope: who connects, the reverse-path, the forward-paths and their parameters
//! (RFC 5321 §2.3.1). Types that cannot be wrong: what parses is valid, so nobody checks again.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod mailbox;
pub mod params;

pub use mailbox::{Domain, ForwardPath, Mailbox, PathError, ReversePath, Syntax};
pub use params::{BodyType, DsnReturn, MailParameters, Notify, ParameterError, RcptParameters};

/// One mail transaction as the client announced it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who connected.
    pub client: Client,
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// The parameters of `MAIL FROM`.
    #[serde(default)]
    pub parameters: MailParameters,
    /// `RCPT TO`, in order, without repetitions.
    pub recipients: Vec<Recipient>,
}

/// The SMTP client of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// What it called itself in EHLO or HELO; printable, at most 255 octets. Empty if it said
    /// nothing.
    #[serde(default)]
    pub helo: String,
    /// The name of its address, if that name was found to have this address. A domain; nobody asked, or it
    /// is not so, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The TLS version and cipher suite, such as `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The name it logged in with by AUTH (RFC 4954).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Whether it may send to anybody: it is in a trusted network, or logged in. Its mail is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_ours: bool,
}

impl Client {
    /// The client at an address, of which nothing else is known.
    #[must_use]
    pub fn new(ip: IpAddr) -> Self {
        Self { ip, helo: String::new(), name: None, tls: None, login: None, is_ours: false }
    }
}

/// One `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The forward-path.
    pub path: ForwardPath,
    /// Its parameters.
    #[serde(default)]
    pub parameters: RcptParameters,
}
