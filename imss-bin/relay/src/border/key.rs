//! Private keys for signatures: RSA (RFC 6376, RFC 8301) and Ed25519 (RFC 8463).
//!
//! In: a PEM file, PKCS #1 or PKCS #8. Out: signatures. A file that holds no such key, or an RSA key
//! shorter than 1024 bits, is an error that says what to do.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::SignError;

/// Octets of the shortest RSA modulus that others accept (RFC 8301 §3.2).
const MIN_MODULUS: usize = 128;

/// A key that signs.
pub(crate) enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read, or is not PEM.
    #[error("{}: no private key in PEM form: {reason}; `openssl genpkey` makes one", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A secret for tags that cannot be used.
    #[error("{}: no secret: {reason}; `openssl rand -hex 32` makes one", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Not a key that signs mail.
    #[error(
        "{}: not an RSA key of 1024 bits or more and not an Ed25519 key; \
         make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

impl PrivateKey {
    /// Reads a key.
    pub(crate) fn load(path: &Path) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_file(path)
            .map_err(|error| KeyError::Pem { path: path.to_owned(), reason: error.to_string() })?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(rsa),
            PrivateKeyDer::Pkcs8(key) => {
                let octets = key.secret_pkcs8_der();
                RsaKeyPair::from_pkcs8(octets).ok().map(rsa).or_else(|| {
                    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(octets).ok()?;
                    Some(Self::Ed25519(Box::new(pair)))
                })
            }
            _ => None,
        };
        let long_enough = |key: &Self| match key {
            Self::Rsa(pair) => pair.public_modulus_len() >= MIN_MODULUS,
            Self::Ed25519(_) => true,
        };
        key.filter(long_enough).ok_or_else(|| KeyError::Kind { path: path.to_owned() })
    }

    /// `a=`.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa-sha256",
            Self::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// Signs `data`.
    pub(crate) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| SignError::Key)?;
                Ok(signature)
            }
            // What is signed is the digest (RFC 8463 §3).
            Self::Ed25519(pair) => Ok(pair.sign(&Sha256::digest(data)).as_ref().to_vec()),
        }
    }
}

fn rsa(pair: RsaKeyPair) -> PrivateKey {
    PrivateKey::Rsa(Box::new(pair))
}
