//! How connections to other servers are secured, and what each destination demands.
//!
//! In: a recipient's domain, a server, and what DNS and MTA-STS say. Out: a `Need`: what a session
//! with that server must have before mail goes over it. Whatever cannot be found out makes mail wait;
//! nothing here falls back to less than was demanded.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;

use super::route::names_of;
use dane::Association;
use seen::Doubt;
use sts::Sts;
use verify::{AnyCertificate, DaneVerifier, Lenient};

pub(super) mod dane;
pub mod seen;
pub mod sts;
mod verify;

/// How TLS is used.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Takes any certificate.
    unverified: Arc<ClientConfig>,
    /// Takes certificates of known authorities; `None` if there are none to know.
    verified: Option<Arc<ClientConfig>>,
    /// Who knows them.
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) policy: TlsPolicy,
    /// A resolver that validates (RFC 4035); `None` if nothing asks for DANE.
    pub(super) validating: Option<TokioResolver>,
    /// MTA-STS policies; `None` if nothing asks for them.
    pub(super) sts: Option<Arc<Sts>>,
}

/// Which level holds where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Where nothing is named.
    pub default: TlsLevel,
    /// By host of a next hop or by recipient domain, in lower case; `.example.com` for all below.
    pub by_name: HashMap<String, TlsLevel>,
}

/// When TLS is used, and what the server must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsLevel {
    /// Never.
    Off,
    /// When the server offers it; if it then fails, in clear over a new connection.
    Opportunistic,
    /// Always, with any certificate; otherwise the mail waits.
    Required,
    /// Always, with a certificate of a known authority for the server's name.
    Verified,
    /// As TLSA records say, if there are any (RFC 7672); else opportunistic.
    Dane,
    /// As TLSA records say; without them the mail waits.
    DaneOnly,
    /// As the domain's MTA-STS policy says, if it has one (RFC 8461); else opportunistic.
    MtaSts,
    /// DANE, else MTA-STS, else opportunistic (RFC 8461 §2).
    Auto,
}

/// What a session must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Need {
    /// Nothing: TLS is not used.
    Clear,
    /// TLS if it is to be had.
    Opportunistic,
    /// The same; the certificate is looked at for the report only (RFC 8461 §5).
    Testing,
    /// TLS.
    Required,
    /// TLS with a certificate of a known authority.
    Verified,
    /// TLS with a certificate that these records vouch for.
    Dane(Arc<[Association]>),
}

/// In the words of the configuration.
pub(crate) const LEVELS: [(&str, TlsLevel); 8] = [
    ("none", TlsLevel::Off),
    ("may", TlsLevel::Opportunistic),
    ("encrypt", TlsLevel::Required),
    ("verify", TlsLevel::Verified),
    ("dane", TlsLevel::Dane),
    ("dane-only", TlsLevel::DaneOnly),
    ("mta-sts", TlsLevel::MtaSts),
    ("auto", TlsLevel::Auto),
];

impl Tls {
    /// TLS at `level` for everybody, without lookups and without known authorities.
    ///
    /// # Errors
    ///
    /// The crypto library refuses its own defaults.
    pub fn unverified(level: TlsLevel) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Self {
            unverified: client_config(Arc::new(AnyCertificate(provider)))?,
            verified: None,
            authorities: None,
            policy: TlsPolicy { default: level, by_name: HashMap::new() },
            validating: None,
            sts: None,
        })
    }

    /// TLS by `policy`, with the system's authorities and `roots` besides.
    ///
    /// # Errors
    ///
    /// A root is no certificate, or the crypto library refuses its own defaults.
    pub fn by_policy(
        policy: TlsPolicy,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let authorities = match verify::authorities(roots.clone()) {
            Ok(verifier) => Some(verifier),
            // A machine without authorities can still send at every other level.
            Err(error) if roots.is_empty() => {
                tracing::warn!(%error, "no certificate authority is known: `verify` cannot succeed");
                None
            }
            Err(error) => return Err(error),
        };
        let verified = authorities.clone().map(client_config).transpose()?;
        let unverified = Self::unverified(policy.default)?;
        Ok(Self { verified, authorities, policy, ..unverified })
    }

    /// Sets the level of one host or domain.
    pub fn set_level(&mut self, name: &str, level: TlsLevel) {
        self.policy.by_name.insert(name.to_lowercase(), level);
    }

    /// Looks for TLSA records with `resolver`, which must validate.
    #[must_use]
    pub fn with_dane(mut self, resolver: TokioResolver) -> Self {
        self.validating = Some(resolver);
        self
    }

    /// Asks `sts` for policies.
    #[must_use]
    pub fn with_sts(mut self, sts: Arc<Sts>) -> Self {
        self.sts = Some(sts);
        self
    }

    /// The settings of a handshake that fails on nothing, and where it says what it thinks of the
    /// certificate. `None` if no authority is known.
    pub(super) fn lenient(&self) -> Option<(Arc<ClientConfig>, Arc<Doubt>)> {
        let doubt = Arc::new(Doubt::default());
        let verifier = Lenient::new(self.authorities.clone()?, Arc::clone(&doubt));
        Some((client_config(Arc::new(verifier)).ok()?, doubt))
    }

    /// The settings of a handshake for this need. `None` if it cannot be met on this machine.
    pub(super) fn config(&self, need: &Need) -> Option<Arc<ClientConfig>> {
        match need {
            Need::Clear | Need::Opportunistic | Need::Testing | Need::Required => {
                Some(Arc::clone(&self.unverified))
            }
            Need::Verified => self.verified.clone(),
            Need::Dane(associations) => {
                let verifier = DaneVerifier::new(Arc::clone(associations));
                client_config(Arc::new(verifier)).ok()
            }
        }
    }
}

impl Need {
    /// Whether a session in clear does too, where TLS fails.
    pub(super) fn may_be_clear(&self) -> bool {
        matches!(self, Self::Clear | Self::Opportunistic | Self::Testing)
    }
}

impl TlsPolicy {
    /// The level for `name`, if one is named.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TlsLevel> {
        if self.by_name.is_empty() {
            return None;
        }
        let name = name.to_lowercase();
        names_of(&name).find_map(|name| self.by_name.get(name)).copied()
    }

    /// All levels that are used somewhere.
    pub fn levels(&self) -> impl Iterator<Item = TlsLevel> {
        self.by_name.values().copied().chain([self.default])
    }
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self { default: TlsLevel::Opportunistic, by_name: HashMap::new() }
    }
}

impl TlsLevel {
    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("", |(word, _)| word)
    }

    /// Whether TLSA records are looked for.
    #[must_use]
    pub fn asks_dane(self) -> bool {
        matches!(self, Self::Dane | Self::DaneOnly | Self::Auto)
    }

    /// Whether MTA-STS policies are looked for.
    #[must_use]
    pub fn asks_sts(self) -> bool {
        matches!(self, Self::MtaSts | Self::Auto)
    }
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
