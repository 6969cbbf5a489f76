//! Who is believed: anybody, known authorities, or whom TLSA records vouch for (RFC 6698, RFC 7672 §3).
//!
//! In: the certificates of a handshake. Out: yes, or the reason why not. A certificate that cannot be
//! read matches no record.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::dane::{Association, Data, Selector, Usage};
use super::seen::Doubt;

/// Certificates looked at in one chain.
const MAX_CHAIN: usize = 16;

/// A verifier that knows the system's authorities and `roots`.
///
/// # Errors
///
/// There are none, or one of `roots` is no certificate.
pub(super) fn authorities(
    roots: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = Arc::new(provider::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider)?;
    Ok(Arc::new(verifier))
}

/// Takes any certificate: as everybody does towards MX, where names prove nothing without DNSSEC
/// (RFC 7672 §1.3). It keeps out who listens, not who stands in between.
#[derive(Debug)]
pub(super) struct AnyCertificate(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by a key that nobody vouches for proves nothing; checking it would only fail on
    // certificates too odd to be read.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes any certificate, and says what known authorities make of it.
#[derive(Debug)]
pub(super) struct Lenient {
    authorities: Arc<dyn ServerCertVerifier>,
    any: AnyCertificate,
    doubt: Arc<Doubt>,
}

impl Lenient {
    pub(super) fn new(authorities: Arc<dyn ServerCertVerifier>, doubt: Arc<Doubt>) -> Self {
        let any = AnyCertificate(Arc::new(provider::default_provider()));
        Self { authorities, any, doubt }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if let Err(error) = checked {
            self.doubt.set(error);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any.supported_verify_schemes()
    }
}

/// Takes certificates that TLSA records vouch for.
#[derive(Debug)]
pub(super) struct DaneVerifier {
    associations: Arc<[Association]>,
    provider: Arc<CryptoProvider>,
}

impl DaneVerifier {
    pub(super) fn new(associations: Arc<[Association]>) -> Self {
        Self { associations, provider: Arc::new(provider::default_provider()) }
    }

    /// Certificates that a record with usage 2 makes trust anchors: those of the chain that match,
    /// and those that a record holds whole.
    fn anchors(&self, chain: &[CertificateDer<'_>]) -> RootCertStore {
        let mut anchors = RootCertStore::empty();
        for association in self.associations.iter().filter(|one| one.usage == Usage::Anchor) {
            for certificate in chain.iter().take(MAX_CHAIN) {
                if association.matches(certificate) {
                    // What is no certificate cannot vouch for anything.
                    let _ = anchors.add(certificate.clone().into_owned());
                }
            }
            if let (Selector::Certificate, Data::Whole(octets)) =
                (association.selector, &association.data)
            {
                let _ = anchors.add(CertificateDer::from(octets.clone()));
            }
        }
        anchors
    }
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Usage 3: names and dates do not count (RFC 7672 §3.1.1).
        let leaf = |one: &&Association| one.usage == Usage::EndEntity;
        if self.associations.iter().filter(leaf).any(|one| one.matches(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        let anchors = self.anchors(intermediates);
        if anchors.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Association {
    /// Whether it is about this certificate.
    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let octets: &[u8] = match self.selector {
            Selector::Certificate => certificate,
            Selector::Key => {
                let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
                key = parsed.subject_public_key_info();
                &key
            }
        };
        match &self.data {
            Data::Whole(whole) => whole == octets,
            Data::Sha256(digest) => {
                digest::digest(&digest::SHA256, octets).as_ref() == digest.as_slice()
            }
            Data::Sha512(digest) => {
                digest::digest(&digest::SHA512, octets).as_ref() == digest.as_slice()
            }
        }
    }
}
