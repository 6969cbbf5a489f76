//! The server's certificate and key, read from files and replaced without a restart.
//!
//! In: two PEM files. Out: what a handshake needs. A file that cannot be used changes nothing:
//! the certificate in use stays, and the error says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate with its key, as the listeners use it.
#[derive(Debug)]
pub struct TlsStore {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check the path and that this user may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error(
        "{path} is not a PEM file ({source}); convert it with `openssl x509` or `openssl pkey`"
    )]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate file holds none.
    #[error(
        "no certificate in {path}; it wants the server's certificate and its intermediates, each \
         between BEGIN CERTIFICATE and END CERTIFICATE"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key file holds none.
    #[error(
        "no private key in {path}; it wants one, without a passphrase, between BEGIN PRIVATE KEY \
         and END PRIVATE KEY"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in {key} does not belong to the first certificate in {certificate}; use the key \
         it was requested with, and put the server's certificate before its intermediates"
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The TLS library refuses certificate or key.
    #[error("{certificate} with {key} cannot be used: {source}")]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What it says.
        source: rustls::Error,
    },
}

impl TlsStore {
    /// Reads certificate chain and key.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(load(&certificate, &key)?);
        Ok(Self { certificate, key, current })
    }

    /// Reads the files again; handshakes from now on use what they hold.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]. What was in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.certificate, &self.key)?));
        Ok(())
    }

    /// For one handshake.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let text = read(certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::NotPem { path: certificate.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { path: key.to_owned() },
        source => TlsError::NotPem { path: key.to_owned(), source },
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |source| match source {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        source => {
            TlsError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source }
        }
    };
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ours = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).unwrap();
        let certificate = write("cert.pem", &ours.cert.pem());
        let key = write("key.pem", &ours.signing_key.serialize_pem());
        let wrong_key = write("other.pem", &other.signing_key.serialize_pem());
        let empty = write("empty.pem", "");
        let broken = write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n");
        let missing = folder.path().join("missing.pem");
        let cases = [
            ("wrong key", &certificate, &wrong_key, "does not belong"),
            ("no certificate", &empty, &key, "no certificate in"),
            ("certificate and key swapped", &key, &certificate, "no certificate in"),
            ("no key", &certificate, &empty, "no private key in"),
            ("broken", &broken, &key, "not a PEM file"),
            ("missing", &missing, &key, "cannot read"),
        ];
        for (name, certificate, key, expected) in cases {
            let error = TlsStore::open(certificate.clone(), key.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        let store = TlsStore::open(certificate.clone(), key).unwrap();
        std::fs::write(&certificate, "").unwrap();
        assert!(store.reload().is_err());
        std::fs::write(&certificate, ours.cert.pem()).unwrap();
        store.reload().unwrap();
    }
}
