//! One bundle: its manifest, signature and files.
//!
//! In: octets from anywhere. Out: a [`Bundle`] that a known key signed and whose files are the signed
//! ones, or a [`BundleError`] that says what is wrong.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der as PrivateKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64_simd::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Version;

/// Where the manifest and its signature lie in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// See [`MANIFEST`].
pub const SIGNATURE: &str = "manifest.sig";

/// Largest manifest, in octets.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Largest file of a bundle, in octets.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most files of a bundle.
const MAX_FILES: usize = 1_000;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The set's name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its files.
    pub files: Vec<File>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name in the bundle: letters, digits, `-`, `_` and `.`, no folders.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its octets.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// What a file of a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A list of SHA-256 digests.
    Digests,
    /// YARA rules.
    Yara,
}

impl Kind {
    /// The kind that a file of that name has, by its extension.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension {
            "sha256" | "txt" => Some(Self::Digests),
            "yar" | "yara" => Some(Self::Yara),
            _ => None,
        }
    }
}

/// A bundle that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The manifest's octets, as signed.
    pub manifest_octets: Vec<u8>,
    /// The signature, in base64.
    pub signature: Vec<u8>,
    /// The files' octets, in the order of the manifest.
    pub files: Vec<Vec<u8>>,
}

/// Why a bundle is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No known key signed the manifest.
    #[error("the signature of {MANIFEST} is not by a key in `[signatures] keys`")]
    Signature,
    /// The manifest is not one.
    #[error("{MANIFEST}: {0}")]
    Manifest(String),
    /// A file is not the signed one.
    #[error("{0} is not the file that was signed")]
    File(String),
    /// A key cannot be read.
    #[error("not an Ed25519 key in base64")]
    Key,
}

/// A public key: 32 octets, written in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl std::str::FromStr for Key {
    type Err = BundleError;

    fn from_str(text: &str) -> Result<Self, BundleError> {
        let octets = STANDARD.decode_to_vec(text.trim()).map_err(|_| BundleError::Key)?;
        octets.try_into().map(Self).map_err(|_| BundleError::Key)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&STANDARD.encode_to_string(self.0))
    }
}

/// A private key, for those who make bundles.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`BundleError::Key`] if the system gives no random octets.
    pub fn generate() -> Result<Self, BundleError> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| BundleError::Key)
    }

    /// Reads what [`SigningKey::to_text`] wrote.
    ///
    /// # Errors
    ///
    /// [`BundleError::Key`].
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let octets = STANDARD.decode_to_vec(text.trim()).map_err(|_| BundleError::Key)?;
        Ed25519KeyPair::from_pkcs8(&octets).map(Self).map_err(|_| BundleError::Key)
    }

    /// The key in base64 (PKCS #8). Keep it secret.
    ///
    /// # Errors
    ///
    /// [`BundleError::Key`] if the library cannot write it.
    pub fn to_text(&self) -> Result<String, BundleError> {
        let octets: PrivateKey<'_> = self.0.as_der().map_err(|_| BundleError::Key)?;
        Ok(STANDARD.encode_to_string(octets.as_ref()))
    }

    /// The key that checks its signatures.
    ///
    /// # Errors
    ///
    /// [`BundleError::Key`]: never for a key of this kind.
    pub fn public(&self) -> Result<Key, BundleError> {
        self.0.public_key().as_ref().try_into().map(Key).map_err(|_| BundleError::Key)
    }

    /// The signature over a manifest, in base64.
    #[must_use]
    pub fn sign(&self, manifest: &[u8]) -> String {
        STANDARD.encode_to_string(self.0.sign(manifest))
    }
}

/// Reads a manifest that one of `keys` signed.
///
/// # Errors
///
/// [`BundleError`].
pub fn manifest(octets: &[u8], signature: &[u8], keys: &[Key]) -> Result<Manifest, BundleError> {
    let signature =
        STANDARD.decode_to_vec(signature.trim_ascii()).map_err(|_| BundleError::Signature)?;
    let signed = |key: &Key| UnparsedPublicKey::new(&ED25519, key.0).verify(octets, &signature);
    if !keys.iter().any(|key| signed(key).is_ok()) {
        return Err(BundleError::Signature);
    }
    let manifest: Manifest =
        serde_json::from_slice(octets).map_err(|error| BundleError::Manifest(error.to_string()))?;
    check(&manifest)?;
    Ok(manifest)
}

/// Holds what was signed against what can be used.
fn check(manifest: &Manifest) -> Result<(), BundleError> {
    let wrong = |reason: String| Err(BundleError::Manifest(reason));
    let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if manifest.name.is_empty() || manifest.name.len() > 64 || !manifest.name.bytes().all(letters) {
        return wrong(format!("{:?} is not a name: use a-z, 0-9 and hyphens", manifest.name));
    }
    if manifest.files.is_empty() || manifest.files.len() > MAX_FILES {
        return wrong(format!("{} files: name 1 to {MAX_FILES}", manifest.files.len()));
    }
    for (place, file) in manifest.files.iter().enumerate() {
        let letters = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        let plain = !file.name.starts_with('.') && file.name.bytes().all(letters);
        if file.name.is_empty() || file.name.len() > 128 || !plain {
            return wrong(format!("{:?} is not a file name without folders", file.name));
        }
        if [MANIFEST, SIGNATURE].contains(&file.name.as_str())
            || manifest.files.iter().take(place).any(|other| other.name == file.name)
        {
            return wrong(format!("{} occurs twice", file.name));
        }
        if file.bytes > MAX_FILE_BYTES {
            return wrong(format!("{} has over {} MiB", file.name, MAX_FILE_BYTES >> 20));
        }
    }
    Ok(())
}

/// Whether `octets` are the signed ones.
///
/// # Errors
///
/// [`BundleError::File`].
pub fn check_file(file: &File, octets: &[u8]) -> Result<(), BundleError> {
    let is_signed = octets.len() as u64 == file.bytes && digest(octets) == file.sha256;
    if is_signed { Ok(()) } else { Err(BundleError::File(file.name.clone())) }
}

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn digest(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}
