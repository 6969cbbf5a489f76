//! Agile encryption of Office 2010 and later ([MS-OFFCRYPTO] 2.3.4.10 to 2.3.4.15).
//!
//! In: the streams `EncryptionInfo`, an XML description, and `EncryptedPackage`. Out: the package.
//! A description without what is needed opens nothing.

use bytes::Bytes;
use memchr::memmem;

use super::hash::{Aes, Hash};
use super::{MAX_SLOW_TRIES, Opened, try_passwords};
use crate::archive::Passwords;
use crate::limits::{Budget, Limit};

/// Octets that are encrypted together.
const SEGMENT: usize = 4096;

/// Most rounds of a key derivation that are done; Office writes 100,000.
const MAX_ROUNDS: u32 = 1_000_000;

/// What the keys are derived for.
const VERIFIER_INPUT: [u8; 8] = [0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79];
const VERIFIER_VALUE: [u8; 8] = [0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e];
const KEY_VALUE: [u8; 8] = [0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6];

/// Opens `data`; `None` if `info` makes no sense.
pub(super) fn open(
    info: &[u8],
    data: &Bytes,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> Result<Option<Opened<Vec<u8>>>, Limit> {
    let Some(locked) = read(info) else { return Ok(None) };
    let opened = try_passwords(passwords, MAX_SLOW_TRIES, |password| {
        let state = locked.hash.spin(&locked.salt, password, locked.rounds, budget)?;
        Ok(locked.key(&state))
    })?;
    let (key, is_default) = match opened {
        Opened::With(key, is_default) => (key, is_default),
        Opened::Locked => return Ok(Some(Opened::Locked)),
    };
    budget.charge_bytes(data.len() as u64)?;
    let mut package = data.to_vec();
    for (number, segment) in (0_u32..).zip(package.chunks_mut(SEGMENT)) {
        let start = locked.data_hash.of(&[&locked.data_salt, &number.to_le_bytes()]);
        key.chained(segment, &sized(start, 16));
    }
    Ok(Some(Opened::With(package, is_default)))
}

struct Locked {
    data_hash: Hash,
    data_salt: Vec<u8>,
    hash: Hash,
    salt: Vec<u8>,
    rounds: u32,
    key_octets: usize,
    verifier_input: Vec<u8>,
    verifier_value: Vec<u8>,
    key_value: Vec<u8>,
}

impl Locked {
    /// The package's key, if `state` comes from the right password.
    fn key(&self, state: &[u8]) -> Option<Aes> {
        let open = |purpose: [u8; 8], hidden: &[u8]| {
            let key = sized(self.hash.of(&[state, &purpose]), self.key_octets);
            let mut octets = hidden.to_vec();
            Aes::new(&key)?.chained(&mut octets, &sized(self.salt.clone(), 16));
            Some(octets)
        };
        let input = open(VERIFIER_INPUT, &self.verifier_input)?;
        let value = open(VERIFIER_VALUE, &self.verifier_value)?;
        // Both are padded to whole blocks.
        let input = input.get(..self.salt.len()).unwrap_or(&input);
        if !value.starts_with(&self.hash.of(&[input])) {
            return None;
        }
        let key = open(KEY_VALUE, &self.key_value)?;
        Aes::new(key.get(..self.key_octets)?)
    }
}

/// Cut, or filled up as the specification says.
fn sized(mut octets: Vec<u8>, count: usize) -> Vec<u8> {
    octets.resize(count, 0x36);
    octets
}

fn read(info: &[u8]) -> Option<Locked> {
    let info = info.get(8..)?;
    let data = element(info, b"keyData")?;
    let key = element(info, b"encryptedKey")?;
    let is_aes = |of: &[u8]| attribute(of, "cipherAlgorithm").is_none_or(|name| name == "AES");
    let chained =
        |of: &[u8]| attribute(of, "cipherChaining").is_none_or(|name| name == "ChainingModeCBC");
    if ![data, key].into_iter().all(|of| is_aes(of) && chained(of)) {
        return None;
    }
    let bits: usize = attribute(key, "keyBits")?.parse().ok()?;
    let hash = |of: &[u8]| attribute(of, "hashAlgorithm").and_then(|name| Hash::named(&name));
    Some(Locked {
        data_hash: hash(data)?,
        data_salt: octets(data, "saltValue")?,
        hash: hash(key)?,
        salt: octets(key, "saltValue")?,
        rounds: attribute(key, "spinCount")?.parse().ok().filter(|rounds| *rounds <= MAX_ROUNDS)?,
        key_octets: bits / 8,
        verifier_input: octets(key, "encryptedVerifierHashInput")?,
        verifier_value: octets(key, "encryptedVerifierHashValue")?,
        key_value: octets(key, "encryptedKeyValue")?,
    })
}

/// The start tag of the first element of that local name.
fn element<'a>(description: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = |at: usize| description.get(at.checked_add(name.len())?..);
    let starts = memmem::find_iter(description, name).filter(|at| {
        let before = at.checked_sub(1).and_then(|at| description.get(at));
        let follows = after(*at).and_then(<[u8]>::first);
        matches!(before, Some(b'<' | b':')) && follows.is_some_and(u8::is_ascii_whitespace)
    });
    let tag = after(starts.take(1).next()?)?;
    tag.get(..memchr::memchr(b'>', tag)?)
}

fn attribute(tag: &[u8], name: &str) -> Option<String> {
    let tag = std::str::from_utf8(tag).ok()?;
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once('=') {
        let quote = after.trim_start().chars().next()?;
        let mut parts = after.trim_start().get(1..)?.splitn(2, quote);
        let value = parts.next()?;
        if before.trim() == name {
            return Some(value.to_owned());
        }
        rest = parts.next()?;
    }
    None
}

fn octets(tag: &[u8], name: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(attribute(tag, name)?).ok()
}
