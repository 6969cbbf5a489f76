//! Encryption of Word, Excel and PowerPoint 97 to 2003: RC4, RC4 of the system's crypto library,
//! and Excel's XOR ([MS-OFFCRYPTO] 2.3.5 to 2.3.7).
//!
//! In: the encryption header. Out: a key that decrypts the octets of a numbered block. A header
//! that makes no sense gives no key.

use rc4::{KeyInit, Rc4, StreamCipher};

use super::hash::Hash;
use super::{MAX_TRIES, Opened, try_passwords};
use crate::archive::Passwords;
use crate::archive::le::{length, u16_at, u32_at};
use crate::limits::{Budget, Limit};

/// Steps that one try costs.
const TRY_STEPS: u64 = 2000;

/// An encryption header.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    kind: Kind,
    salt: &'a [u8],
    verifier: &'a [u8],
    verifier_hash: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// MD5, 40 bits.
    Plain,
    /// SHA-1, so many octets.
    Api(usize),
}

impl<'a> Locked<'a> {
    /// Reads a header that starts with its version.
    pub(crate) fn read(header: &'a [u8]) -> Option<Self> {
        match (u16_at(header, 0)?, u16_at(header, 2)?) {
            (1, 1) => Some(Self {
                kind: Kind::Plain,
                salt: header.get(4..20)?,
                verifier: header.get(20..36)?,
                verifier_hash: header.get(36..52)?,
            }),
            (2..=4, 2) => {
                let header_octets = length(u32_at(header, 8)?.into());
                let bits = u32_at(header, 12 + 16)?;
                let octets = if bits == 0 { 5 } else { length(bits.into()) / 8 };
                let rest = header.get(12_usize.checked_add(header_octets)?..)?;
                Some(Self {
                    kind: Kind::Api(octets.clamp(1, 20)),
                    salt: rest.get(4..20)?,
                    verifier: rest.get(20..36)?,
                    verifier_hash: rest.get(40..60)?,
                })
            }
            _ => None,
        }
    }

    /// Tries every candidate.
    pub(crate) fn open(
        &self,
        passwords: &Passwords,
        budget: &mut Budget<'_>,
    ) -> Result<Opened<Key>, Limit> {
        try_passwords(passwords, MAX_TRIES, |password| {
            budget.charge_work(TRY_STEPS)?;
            let key = self.key(password);
            let mut hidden = [self.verifier, self.verifier_hash].concat();
            key.apply(0, &mut hidden);
            let (verifier, hash) = hidden.split_at_checked(16).unwrap_or_default();
            let own = if self.kind == Kind::Plain { Hash::Md5 } else { Hash::Sha1 };
            Ok((own.of(&[verifier]) == hash).then_some(key))
        })
    }

    fn key(&self, password: &str) -> Key {
        let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
        match self.kind {
            Kind::Plain => {
                let hash = Hash::Md5.of(&[&password]);
                let part = [hash.get(..5).unwrap_or_default(), self.salt].concat();
                let base = Hash::Md5.of(&[&part.repeat(16)]);
                Key::Plain(base.into_iter().take(5).collect())
            }
            Kind::Api(octets) => Key::Api(Hash::Sha1.of(&[self.salt, &password]), octets),
        }
    }
}

/// What decrypts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The base of the keys of RC4.
    Plain(Vec<u8>),
    /// The base of the keys of RC4 of the crypto library, and their octets.
    Api(Vec<u8>, usize),
    /// Excel's XOR array.
    Xor([u8; 16]),
}

impl Key {
    /// Decrypts `data`, which starts at the begin of block `block`. XOR has no blocks.
    pub(crate) fn apply(&self, block: u32, data: &mut [u8]) {
        let number = block.to_le_bytes();
        let key = match self {
            Self::Plain(base) => Hash::Md5.of(&[base, &number]),
            Self::Api(base, octets) => {
                let mut key = Hash::Sha1.of(&[base, &number]);
                key.truncate(*octets);
                if *octets == 5 {
                    key.resize(16, 0);
                }
                key
            }
            Self::Xor(_) => return,
        };
        if let Ok(mut cipher) = Rc4::new_from_slice(&key) {
            cipher.apply_keystream(data);
        }
    }

    /// Decrypts a stream whose blocks of `octets` are numbered from 0.
    pub(crate) fn stream(&self, data: &mut [u8], octets: usize) {
        for (number, block) in (0_u32..).zip(data.chunks_mut(octets.max(1))) {
            self.apply(number, block);
        }
    }
}

/// The array for Excel's XOR if a candidate fits `verifier` ([MS-OFFCRYPTO] 2.3.7.1, 2.3.7.2).
pub(crate) fn xor_key(
    key: u16,
    verifier: u16,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> Result<Opened<Key>, Limit> {
    try_passwords(passwords, MAX_TRIES, |password| {
        budget.charge_work(TRY_STEPS)?;
        let octets = encoding_rs::WINDOWS_1252.encode(password).0.into_owned();
        let fits = (1..=15).contains(&octets.len()) && xor_verifier(&octets) == verifier;
        Ok(fits.then(|| Key::Xor(xor_array(&octets, key))))
    })
}

fn xor_verifier(password: &[u8]) -> u16 {
    let count = u8::try_from(password.len()).unwrap_or(u8::MAX);
    let mut verifier = 0_u16;
    for octet in password.iter().rev().copied().chain([count]) {
        let high = u16::from(verifier & 0x4000 != 0);
        verifier = ((verifier << 1) & 0x7fff) | high;
        verifier ^= u16::from(octet);
    }
    verifier ^ 0xce4b
}

/// What fills the array behind the password.
const PAD: [u8; 15] =
    [0xbb, 0xff, 0xff, 0xba, 0xff, 0xff, 0xb9, 0x80, 0x00, 0xbe, 0x0f, 0x00, 0xbf, 0x0f, 0x00];

/// Password and padding, each octet hidden by a half of the key and rotated.
fn xor_array(password: &[u8], key: u16) -> [u8; 16] {
    let mut array = [0; 16];
    let [low, high] = key.to_le_bytes();
    let octets = password.iter().chain(&PAD);
    for (place, (slot, octet)) in array.iter_mut().zip(octets).enumerate() {
        let half = if place % 2 == 0 { low } else { high };
        *slot = (octet ^ half).rotate_right(1);
    }
    array
}
