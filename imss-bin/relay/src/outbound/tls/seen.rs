//! What became of TLS towards other servers, in the words of TLS reports (RFC 8460 §4.3).
//!
//! In: the errors of handshakes, look-ups and policies. Out: one [`SeenSession`] per session with a
//! server that was chosen by MX. Texts come from certificates and servers: they are bounded, and
//! printable.

use std::error::Error;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rustls::CertificateError;
use serde::{Deserialize, Serialize};

/// Characters of a reason that are kept.
const MAX_REASON: usize = 200;
/// Lines and hosts of a policy that are kept.
pub(super) const MAX_LINES: usize = 20;
/// Octets of one of them.
const MAX_LINE: usize = 255;

/// Who is told about sessions.
pub trait TlsObserver: Send + Sync {
    /// A session was opened, or was not, for TLS's sake.
    fn session(&self, seen: SeenSession);
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSession {
    /// The recipients' domain, in ASCII.
    pub domain: String,
    /// What was applied.
    pub policy: SeenPolicy,
    /// What went wrong; `None` is a session with TLS as demanded.
    pub failure: Option<SeenFailure>,
}

/// A policy as reports describe it (RFC 8460 §4.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenPolicy {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its records or lines.
    pub lines: Vec<String>,
    /// The hosts that it names, for MTA-STS.
    pub hosts: Vec<String>,
}

/// Kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Neither.
    NoPolicyFound,
}

/// A failed session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenFailure {
    /// What went wrong.
    pub trouble: Trouble,
    /// The server's name.
    pub host: String,
    /// What the server calls itself.
    pub helo: Option<String>,
    /// The server's address.
    pub ip: Option<IpAddr>,
    /// Our address.
    pub own_ip: Option<IpAddr>,
}

/// What went wrong, and the details in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trouble {
    /// Its class.
    pub kind: TroubleKind,
    /// In words; printable and bounded.
    pub reason: String,
}

/// Result types (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// STARTTLS was not offered, or refused.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate's time is over.
    CertificateExpired,
    /// Nobody vouches for the certificate.
    CertificateNotTrusted,
    /// Anything else in a handshake, or a host that the policy does not name.
    ValidationFailure,
    /// None of the TLSA records can be used.
    TlsaInvalid,
    /// DNSSEC gave no valid answer.
    DnssecInvalid,
    /// DANE is demanded here, and there are no records.
    DaneRequired,
    /// The MTA-STS policy could not be fetched.
    StsPolicyFetchError,
    /// What was fetched is no policy.
    StsPolicyInvalid,
    /// The policy's web server has a certificate that does not hold.
    StsWebpkiInvalid,
}

impl SeenPolicy {
    /// A policy, of which the first lines and hosts are kept, up to a length.
    #[must_use]
    pub fn new(
        kind: PolicyKind,
        lines: impl IntoIterator<Item = String>,
        hosts: impl IntoIterator<Item = String>,
    ) -> Self {
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(MAX_LINE));
            text
        };
        Self {
            kind,
            lines: lines.into_iter().take(MAX_LINES).map(cut).collect(),
            hosts: hosts.into_iter().take(MAX_LINES).map(cut).collect(),
        }
    }

    /// No policy.
    #[must_use]
    pub fn none() -> Self {
        Self { kind: PolicyKind::NoPolicyFound, lines: Vec::new(), hosts: Vec::new() }
    }
}

impl Trouble {
    pub(in crate::outbound) fn new(kind: TroubleKind, reason: &str) -> Self {
        let printable = reason.chars().filter(|c| !c.is_control());
        Self { kind, reason: printable.take(MAX_REASON).collect() }
    }

    /// What an error of a handshake means.
    pub(in crate::outbound) fn of_handshake(error: &(dyn Error + 'static)) -> Self {
        let kind = tls_error(error).map_or(TroubleKind::ValidationFailure, kind_of);
        Self::new(kind, &error.to_string())
    }
}

/// What an error of the TLS library means.
pub(super) fn kind_of(error: &rustls::Error) -> TroubleKind {
    let rustls::Error::InvalidCertificate(error) = error else {
        return TroubleKind::ValidationFailure;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TroubleKind::CertificateExpired
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TroubleKind::CertificateHostMismatch
        }
        _ => TroubleKind::CertificateNotTrusted,
    }
}

/// The error of the TLS library at the bottom of `error`.
pub(super) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // A chain of causes has no end that anybody promises.
    let mut cause = Some(error);
    for _ in 0..16 {
        let here = cause?;
        if let Some(found) = here.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides what it carries: its source is that one's source.
        let carried = here.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match carried {
            Some(carried) => Some(carried),
            None => here.source(),
        };
    }
    None
}

/// Where a verifier that lets everybody pass says what it thinks.
#[derive(Debug, Default)]
pub(in crate::outbound) struct Doubt(Mutex<Option<rustls::Error>>);

impl Doubt {
    pub(super) fn set(&self, error: rustls::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(in crate::outbound) fn take(&self) -> Option<Trouble> {
        let error = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Trouble::of_handshake(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_of_handshakes() {
        let invalid = |error| rustls::Error::InvalidCertificate(error);
        let cases = [
            ("expired", invalid(CertificateError::Expired), TroubleKind::CertificateExpired),
            (
                "another name",
                invalid(CertificateError::NotValidForName),
                TroubleKind::CertificateHostMismatch,
            ),
            (
                "unknown authority",
                invalid(CertificateError::UnknownIssuer),
                TroubleKind::CertificateNotTrusted,
            ),
            ("revoked", invalid(CertificateError::Revoked), TroubleKind::CertificateNotTrusted),
            (
                "no common version",
                rustls::Error::General("x".to_owned()),
                TroubleKind::ValidationFailure,
            ),
        ];
        for (name, error, expected) in cases {
            let carried = io::Error::new(io::ErrorKind::InvalidData, error);
            let twice = io::Error::other(carried);
            assert_eq!(Trouble::of_handshake(&twice).kind, expected, "{name}");
        }
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(Trouble::of_handshake(&closed).kind, TroubleKind::ValidationFailure);
    }

    #[test]
    fn policies_are_bounded() {
        let long = || vec!["\u{e4}".repeat(1_000); 1_000];
        let policy = SeenPolicy::new(PolicyKind::Tlsa, long(), long());
        for kept in [policy.lines, policy.hosts] {
            assert_eq!(kept, vec!["\u{e4}".repeat(127); MAX_LINES]);
        }
    }

    #[test]
    fn reasons_are_bounded() {
        let trouble = Trouble::new(TroubleKind::ValidationFailure, &"a\r\n".repeat(1_000));
        assert_eq!(trouble.reason, "a".repeat(MAX_REASON));
    }
}
