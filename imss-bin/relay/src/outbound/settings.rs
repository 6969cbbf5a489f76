//! Settings of the client: names, time limits, connection reuse, TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::route::{NextHop, Routing};

/// Everything the client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO and in file names; an MX with this name is ourselves.
    pub hostname: String,
    /// Which next hop serves which domain.
    pub routing: Routing,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Connection reuse.
    pub pool: PoolSettings,
    /// How many MX hosts are tried for one attempt. Default 5.
    pub max_mx_hosts: usize,
    /// The port of MX hosts. Default 25.
    pub mx_port: u16,
}

impl Settings {
    /// The defaults, for this host name and next hop.
    #[must_use]
    pub fn new(hostname: impl Into<String>, next_hop: NextHop) -> Self {
        Self {
            hostname: hostname.into(),
            routing: Routing::all_to(next_hop),
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
            max_mx_hosts: 5,
            mx_port: 25,
        }
    }
}

/// How long each phase may take (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening the connection, per address. Default 30 s.
    pub connect: Duration,
    /// The greeting. Default 5 min.
    pub greeting: Duration,
    /// EHLO, STARTTLS with its handshake, RSET. Default 1 min.
    pub hello: Duration,
    /// MAIL and RCPT. Default 5 min.
    pub command: Duration,
    /// The reply to DATA. Default 2 min.
    pub data_start: Duration,
    /// Each piece of the data. Default 3 min.
    pub data_block: Duration,
    /// The reply to the end of the data. Default 10 min.
    pub data_end: Duration,
    /// The reply to QUIT. Default 5 s: nothing depends on it.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(300),
            hello: Duration::from_secs(60),
            command: Duration::from_secs(300),
            data_start: Duration::from_secs(120),
            data_block: Duration::from_secs(180),
            data_end: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}

/// How connections are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// How long an unused connection is kept. Default 10 s; zero turns reuse off.
    pub idle: Duration,
    /// Connections to one server at a time, used and unused. Default 20.
    pub max_per_server: usize,
    /// Messages over one connection. Default 1,000.
    pub max_messages: u32,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), max_per_server: 20, max_messages: 1_000 }
    }
}

/// How TLS is used.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The rustls settings.
    pub config: Arc<ClientConfig>,
    /// When it is used.
    pub level: TlsLevel,
}

/// When TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsLevel {
    /// Never.
    Off,
    /// When the server offers it; if it then fails, in clear over a new connection.
    Opportunistic,
    /// Always; otherwise the mail waits.
    Required,
}

impl Tls {
    /// TLS at `level`, with any certificate: as everybody does towards MX, where names prove nothing
    /// without DNSSEC (RFC 7672 §1.3). It keeps out who listens, not who stands in between.
    ///
    /// # Errors
    ///
    /// The crypto library refuses its own defaults.
    pub fn unverified(level: TlsLevel) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), level })
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by a key that nobody vouches for proves nothing; checking it would only fail on
    // certificates too odd to be read.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
