//! Standard encryption of Office 2007: AES, SHA-1, 50,000 rounds ([MS-OFFCRYPTO] 2.3.4.5 to 2.3.4.9).
//!
//! In: the streams `EncryptionInfo` and `EncryptedPackage`. Out: the package. Information that is
//! cut short opens nothing.

use bytes::Bytes;

use super::hash::{Aes, Hash};
use super::{MAX_SLOW_TRIES, Opened, try_passwords};
use crate::archive::Passwords;
use crate::archive::le::{length, u32_at};
use crate::limits::{Budget, Limit};

/// Opens `data`; `None` if `info` makes no sense.
pub(super) fn open(
    info: &[u8],
    data: &Bytes,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> Result<Option<Opened<Vec<u8>>>, Limit> {
    let Some(locked) = read(info) else { return Ok(None) };
    let opened = try_passwords(passwords, MAX_SLOW_TRIES, |password| {
        let state = Hash::Sha1.spin(locked.salt, password, 50_000, budget)?;
        let state = Hash::Sha1.of(&[&state, &0_u32.to_le_bytes()]);
        Ok(key(&state, locked.key_octets).filter(|key| locked.fits(key)))
    })?;
    let (key, is_default) = match opened {
        Opened::With(key, is_default) => (key, is_default),
        Opened::Locked => return Ok(Some(Opened::Locked)),
    };
    budget.charge_bytes(data.len() as u64)?;
    let mut package = data.to_vec();
    key.blocks(&mut package);
    Ok(Some(Opened::With(package, is_default)))
}

struct Locked<'a> {
    salt: &'a [u8],
    verifier: &'a [u8],
    verifier_hash: &'a [u8],
    key_octets: usize,
}

impl Locked<'_> {
    fn fits(&self, key: &Aes) -> bool {
        let (mut verifier, mut hash) = (self.verifier.to_vec(), self.verifier_hash.to_vec());
        key.blocks(&mut verifier);
        key.blocks(&mut hash);
        hash.starts_with(&Hash::Sha1.of(&[&verifier]))
    }
}

fn read(info: &[u8]) -> Option<Locked<'_>> {
    let header_octets = length(u32_at(info, 8)?.into());
    let key_bits = length(u32_at(info, 12 + 16)?.into());
    let verifier = info.get(12_usize.checked_add(header_octets)?..)?;
    let salt_octets = length(u32_at(verifier, 0)?.into());
    let salt = verifier.get(4..20).filter(|_| salt_octets == 16)?;
    let (verifier, verifier_hash) = (verifier.get(20..36)?, verifier.get(40..72)?);
    Some(Locked { salt, verifier, verifier_hash, key_octets: key_bits / 8 })
}

fn key(state: &[u8], octets: usize) -> Option<Aes> {
    let half = |fill: u8| {
        let mut pad = [fill; 64];
        for (octet, hidden) in pad.iter_mut().zip(state) {
            *octet ^= hidden;
        }
        Hash::Sha1.of(&[&pad])
    };
    let both = [half(0x36), half(0x5c)].concat();
    Aes::new(both.get(..octets)?)
}
