//! What is kept instead of a password, and the few primitives behind it.
//!
//! In: a password. Out: a [`Verifier`] as SCRAM defines it (RFC 5803), which proves a password and
//! gives none away; it serves PLAIN and LOGIN too. For CRAM-MD5, which cannot do with less than the
//! password, a [`Sealed`] one: AES-256-GCM under the node's key, bound to the user's name.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64_simd::STANDARD;
use md5::{Digest, Md5};
use unicode_normalization::UnicodeNormalization;

use super::Password;

/// Rounds of PBKDF2 for new passwords.
const ITERATIONS: u32 = 120_000;
/// Rounds that are accepted in a file: what a login may cost.
const MAX_ITERATIONS: u32 = 4_000_000;
const MAX_SALT_BYTES: usize = 64;
const SALT_BYTES: usize = 16;
/// Octets of SHA-256.
pub(super) const KEY_BYTES: usize = 32;

/// A key or digest of SHA-256.
pub(super) type Key = [u8; KEY_BYTES];

/// Salt, rounds and the two keys of SCRAM-SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

/// The system gives no random numbers, or a primitive fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed")]
pub struct CryptoError;

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

impl Verifier {
    /// A verifier for a new password, with a salt of its own.
    ///
    /// # Errors
    ///
    /// [`CryptoError`].
    pub fn new(password: &Password) -> Result<Self, CryptoError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt)?;
        let iterations = NonZeroU32::new(ITERATIONS).ok_or(CryptoError)?;
        Ok(Self::derive(password, &salt, iterations))
    }

    /// The verifier that `password` has with this salt. Slow on purpose.
    pub(super) fn derive(password: &Password, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted: Key = [0; KEY_BYTES];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, password.octets(), &mut salted);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: sha256(&hmac_sha256(&salted, b"Client Key")),
            server_key: hmac_sha256(&salted, b"Server Key"),
        }
    }

    /// Whether it was made from `password`. Takes as long for a wrong one.
    #[must_use]
    pub fn matches(&self, password: &Password) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        is_same(&other.stored_key, &self.stored_key)
    }

    /// A verifier that nothing matches, with a salt that `name` always gets: who asks for a name
    /// that is not there cannot tell.
    pub(super) fn of_nobody(secret: &Key, name: &str) -> Self {
        let digest = hmac_sha256(secret, name.as_bytes());
        let salt = digest.get(..SALT_BYTES).unwrap_or_default().to_vec();
        let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        let stored_key = hmac_sha256(secret, &digest);
        Self { iterations, salt, stored_key, server_key: digest }
    }

    /// Reads `SCRAM-SHA-256$ROUNDS:SALT$STORED-KEY:SERVER-KEY`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rounds, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text: &str| Key::try_from(decode(text)?).ok();
        let iterations = rounds.parse().ok().filter(|n: &NonZeroU32| n.get() <= MAX_ITERATIONS)?;
        let salt = decode(salt).filter(|salt| (1..=MAX_SALT_BYTES).contains(&salt.len()))?;
        Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |octets: &[u8]| STANDARD.encode_to_string(octets);
        let (salt, stored) = (text(&self.salt), text(&self.stored_key));
        let server = text(&self.server_key);
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} rounds)", self.iterations)
    }
}

/// A password under the node's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// The node's key for [`Sealed`] passwords.
pub struct SealKey(RandomizedNonceKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// A new key, as text for its file.
    ///
    /// # Errors
    ///
    /// [`CryptoError`].
    pub fn generate() -> Result<String, CryptoError> {
        let mut octets = [0; KEY_BYTES];
        rand::fill(&mut octets)?;
        Ok(STANDARD.encode_to_string(octets))
    }

    /// Reads what [`SealKey::generate`] gave; `None` unless it is 32 octets in base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, &decode(text.trim())?).ok().map(Self)
    }

    /// Encrypts the password of `name`.
    ///
    /// # Errors
    ///
    /// [`CryptoError`].
    pub fn seal(&self, name: &str, password: &Password) -> Result<Sealed, CryptoError> {
        let mut text = password.octets().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut text)?;
        let mut all = nonce.as_ref().to_vec();
        all.append(&mut text);
        Ok(Sealed(all))
    }

    /// Decrypts what [`SealKey::seal`] gave for the same name.
    #[must_use]
    pub fn open(&self, name: &str, sealed: &Sealed) -> Option<Password> {
        let (nonce, text) = sealed.0.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let clear = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).ok()?;
        std::str::from_utf8(clear).ok().map(|clear| Password(clear.to_owned()))
    }
}

impl Sealed {
    pub(super) fn parse(text: &str) -> Option<Self> {
        decode(text).filter(|octets| octets.len() > NONCE_LEN).map(Self)
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode_to_string(&self.0))
    }
}

/// 144 random bits, printable; `None` if the system has none.
#[must_use]
pub fn nonce() -> Option<String> {
    let mut octets = [0; 18];
    rand::fill(&mut octets).ok()?;
    Some(STANDARD.encode_to_string(octets))
}

pub(super) fn random_key() -> Result<Key, CryptoError> {
    let mut key = [0; KEY_BYTES];
    rand::fill(&mut key)?;
    Ok(key)
}

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    Key::try_from(tag.as_ref()).unwrap_or_default()
}

pub(super) fn sha256(message: &[u8]) -> Key {
    Key::try_from(digest::digest(&digest::SHA256, message).as_ref()).unwrap_or_default()
}

/// HMAC-MD5 (RFC 2104), for CRAM-MD5 and nothing else.
pub(super) fn hmac_md5(password: &Password, message: &[u8]) -> [u8; 16] {
    const BLOCK: usize = 64;
    let mut key = [0_u8; BLOCK];
    let short = password.octets();
    let hashed = Md5::digest(short);
    let source = if short.len() > BLOCK { hashed.as_slice() } else { short };
    for (place, octet) in key.iter_mut().zip(source) {
        *place = *octet;
    }
    let inner = Md5::new().chain_update(key.map(|octet| octet ^ 0x36)).chain_update(message);
    let outer = Md5::new().chain_update(key.map(|octet| octet ^ 0x5C));
    outer.chain_update(inner.finalize()).finalize().into()
}

pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok()
}

/// SASLprep without its refusals: control characters are harmless here, since nothing is shown.
pub(super) fn prepare(text: &str) -> String {
    let blank = |c: char| if c != '\n' && c.is_whitespace() && !c.is_ascii() { ' ' } else { c };
    let is_seen = |c: &char| {
        !matches!(*c, '\u{AD}' | '\u{34F}' | '\u{1806}' | '\u{180B}'..='\u{180D}'
            | '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
    };
    text.chars().filter(is_seen).map(blank).nfkc().collect()
}
