//! The digests and block ciphers that documents name, behind one function each.

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256, Block};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::limits::{Budget, Limit};

/// Rounds of a key derivation between two looks at the limits.
const ROUNDS: u32 = 1000;
/// Steps that one round of a digest costs.
const ROUND_STEPS: u64 = 80;

/// A digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The digest of that name ([MS-OFFCRYPTO] 2.3.4.10).
    pub(super) fn named(name: &str) -> Option<Self> {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        match name.to_ascii_uppercase().as_str() {
            "MD5" => Some(Self::Md5),
            "SHA1" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA384" => Some(Self::Sha384),
            "SHA512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The digest of `parts` after each other.
    pub(super) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Md5 => digest::<Md5>(parts),
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// Salt and password, then `rounds` times number and digest ([MS-OFFCRYPTO] 2.3.4.7, 2.3.4.11).
    pub(super) fn spin(
        self,
        salt: &[u8],
        password: &str,
        rounds: u32,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<u8>, Limit> {
        let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let first = self.of(&[salt, &password]);
        match self {
            Self::Md5 => spin::<Md5>(first, rounds, budget),
            Self::Sha1 => spin::<Sha1>(first, rounds, budget),
            Self::Sha256 => spin::<Sha256>(first, rounds, budget),
            Self::Sha384 => spin::<Sha384>(first, rounds, budget),
            Self::Sha512 => spin::<Sha512>(first, rounds, budget),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().to_vec()
}

fn spin<D: Digest>(first: Vec<u8>, rounds: u32, budget: &mut Budget<'_>) -> Result<Vec<u8>, Limit> {
    let mut state = first;
    for round in 0..rounds {
        if round % ROUNDS == 0 {
            budget.charge_work(u64::from(ROUNDS.min(rounds - round)) * ROUND_STEPS)?;
        }
        let next = D::new().chain_update(round.to_le_bytes()).chain_update(&state).finalize();
        state.clear();
        state.extend_from_slice(&next);
    }
    Ok(state)
}

/// An AES key of any length.
pub(super) enum Aes {
    Short(Box<Aes128>),
    Middle(Box<Aes192>),
    Long(Box<Aes256>),
}

impl Aes {
    /// `None` unless `key` has 16, 24 or 32 octets.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(|key| Self::Short(Box::new(key))),
            24 => Aes192::new_from_slice(key).ok().map(|key| Self::Middle(Box::new(key))),
            32 => Aes256::new_from_slice(key).ok().map(|key| Self::Long(Box::new(key))),
            _ => None,
        }
    }

    /// Decrypts whole blocks by themselves (ECB); a rest stays as it is.
    pub(super) fn blocks(&self, data: &mut [u8]) {
        let (blocks, _) = Block::slice_as_chunks_mut(data);
        match self {
            Self::Short(key) => key.decrypt_blocks(blocks),
            Self::Middle(key) => key.decrypt_blocks(blocks),
            Self::Long(key) => key.decrypt_blocks(blocks),
        }
    }

    /// Decrypts whole blocks that are chained (CBC); a rest stays as it is.
    pub(super) fn chained(&self, data: &mut [u8], start: &[u8]) {
        let encrypted = data.to_vec();
        self.blocks(data);
        let whole = data.len() / 16 * 16;
        // Each block hides the one before it, the first one the start.
        let before = start.iter().take(16).chain(&encrypted);
        for (octet, hidden) in data.iter_mut().take(whole).zip(before) {
            *octet ^= hidden;
        }
    }
}
