//! Encrypted zip entries and a password → the packed octets: traditional encryption (APPNOTE 6.1)
//! and WinZip's AES ("AES Encryption Information: Encryption Specification AE-1 and AE-2").
//!
//! In: how the entry is stored, its octets, and a password. Out: how it is stored below the
//! encryption, and those octets; `None` if the password is wrong as far as can be told here. The
//! traditional check is one octet, so content must prove it: see [`is_proven`].

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use encoding_rs::{GBK, SHIFT_JIS};
use sha1::{Digest, Sha1};

use super::headers::{Aes, Storage};

/// Octets before a traditionally encrypted content.
const HEADER: usize = 12;
/// Octets of an authentication code.
const CODE: usize = 10;
/// Rounds of PBKDF2.
const ROUNDS: usize = 1_000;
/// What one try costs, in steps.
const TRADITIONAL_COST: u64 = 200;
const AES_COST: u64 = 120_000;

/// What one try of a password costs; `None` if no password could help (strong encryption).
pub(super) fn cost(storage: &Storage) -> Option<u64> {
    match (storage.flags & 0x2040 == 0, storage.method, storage.aes) {
        (true, 99, Some(_)) => Some(AES_COST),
        (true, method, _) if method != 99 => Some(TRADITIONAL_COST),
        _ => None,
    }
}

/// A password as octets: UTF-8, and as Japanese and Chinese Windows would have it.
pub(super) fn spellings(word: &str) -> Vec<Vec<u8>> {
    let mut spellings = vec![word.as_bytes().to_vec()];
    if !word.is_ascii() {
        for charset in [SHIFT_JIS, GBK] {
            let (octets, _, failed) = charset.encode(word);
            if !failed {
                spellings.push(octets.into_owned());
            }
        }
    }
    spellings
}

/// Whether `content` is what the entry holds. WinZip's code has proven it before.
pub(super) fn is_proven(storage: &Storage, content: &[u8]) -> bool {
    if storage.method == 99 {
        return true;
    }
    let mut sum = flate2::Crc::new();
    sum.update(content);
    sum.sum() == storage.crc && content.len() as u64 == storage.size
}

/// Decrypts `packed`.
pub(super) fn decrypt(
    storage: &Storage,
    packed: &[u8],
    password: &[u8],
) -> Option<(Storage, Vec<u8>)> {
    let mut plain = Storage { flags: storage.flags & !1, aes: None, ..*storage };
    let content = match storage.aes {
        Some(aes) if storage.method == 99 => {
            plain.method = aes.method;
            // Never decrypt twice.
            (aes.method != 99).then_some(())?;
            with_aes(aes, packed, password)?
        }
        _ => traditional(storage, packed, password)?,
    };
    plain.packed = content.len() as u64;
    Some((plain, content))
}

fn traditional(storage: &Storage, packed: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = packed.split_at_checked(HEADER)?;
    let mut keys = Keys::new(password);
    let check = header.iter().map(|&octet| keys.decrypt(octet)).last()?;
    let [_, _, _, by_crc] = storage.crc.to_le_bytes();
    let [_, by_time] = storage.time.to_le_bytes();
    // Bit 3 says that the checksum was not known yet; writers differ in whether they heed it.
    let fits = check == by_crc || check == by_time;
    fits.then(|| rest.iter().map(|&octet| keys.decrypt(octet)).collect())
}

/// The three keys of APPNOTE 6.1.5.
struct Keys(u32, u32, u32);

impl Keys {
    fn new(password: &[u8]) -> Self {
        let mut keys = Self(0x1234_5678, 0x2345_6789, 0x3456_7890);
        password.iter().for_each(|&octet| keys.update(octet));
        keys
    }

    fn decrypt(&mut self, octet: u8) -> u8 {
        let [low, high, ..] = (self.2 | 2).to_le_bytes();
        let mask = u32::from(u16::from_le_bytes([low, high]));
        let [_, mask, ..] = mask.wrapping_mul(mask ^ 1).to_le_bytes();
        let plain = octet ^ mask;
        self.update(plain);
        plain
    }

    fn update(&mut self, octet: u8) {
        self.0 = crc(self.0, octet);
        let [low, ..] = self.0.to_le_bytes();
        self.1 = self.1.wrapping_add(u32::from(low)).wrapping_mul(134_775_813).wrapping_add(1);
        let [.., high] = self.1.to_le_bytes();
        self.2 = crc(self.2, high);
    }
}

fn crc(sum: u32, octet: u8) -> u32 {
    let [low, ..] = sum.to_le_bytes();
    (sum >> 8) ^ CRC_TABLE.get(usize::from(low ^ octet)).copied().unwrap_or(0)
}

/// The table of CRC-32, reflected polynomial 0xEDB88320.
static CRC_TABLE: [u32; 256] = crc_table();

#[expect(
    clippy::indexing_slicing,
    reason = "the table has 256 places, and this runs at compile time"
)]
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0_u32;
    while place < 256 {
        let mut value = place;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 0 { value >> 1 } else { (value >> 1) ^ 0xedb8_8320 };
            bit += 1;
        }
        table[place as usize] = value;
        place += 1;
    }
    table
}

fn with_aes(aes: Aes, packed: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let key = match aes.strength {
        1 => 16,
        2 => 24,
        3 => 32,
        _ => return None,
    };
    let (salt, rest) = packed.split_at_checked(key / 2)?;
    let (verifier, rest) = rest.split_at_checked(2)?;
    let (content, code) = rest.split_at_checked(rest.len().checked_sub(CODE)?)?;
    let mac = Mac::new(password);
    // The verifier follows both keys: a wrong password costs only the block that holds it.
    let total = key.checked_mul(2)?.checked_add(2)?;
    let derived = derive(&mac, salt, total.checked_sub(2)?..total)?;
    (derived == verifier).then_some(())?;
    let keys = derive(&mac, salt, 0..key.checked_mul(2)?)?;
    let (key, signing) = keys.split_at_checked(key)?;
    let signed = Mac::new(signing).sign(&[content]);
    (signed.get(..CODE)? == code).then_some(())?;
    counter_mode(key, content)
}

/// Octets `range` of PBKDF2 with HMAC-SHA-1 (RFC 8018 §5.2).
fn derive(mac: &Mac, salt: &[u8], range: std::ops::Range<usize>) -> Option<Vec<u8>> {
    let first = range.start / 20;
    let mut derived = Vec::new();
    let mut block = first;
    while block.checked_mul(20)? < range.end {
        let number = u32::try_from(block.checked_add(1)?).ok()?.to_be_bytes();
        let mut last = mac.sign(&[salt, &number]);
        let mut sum = last;
        for _ in 1..ROUNDS {
            last = mac.sign(&[&last]);
            sum.iter_mut().zip(last).for_each(|(sum, octet)| *sum ^= octet);
        }
        derived.extend(sum);
        block = block.checked_add(1)?;
    }
    let skip = first.checked_mul(20)?;
    Some(derived.get(range.start.checked_sub(skip)?..range.end.checked_sub(skip)?)?.to_vec())
}

/// HMAC-SHA-1 (RFC 2104) with its key already mixed in.
struct Mac {
    inner: Sha1,
    outer: Sha1,
}

impl Mac {
    fn new(key: &[u8]) -> Self {
        let mut block = [0_u8; 64];
        let hashed: [u8; 20];
        let key = if key.len() > block.len() {
            hashed = Sha1::digest(key).into();
            hashed.as_slice()
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(place, &octet)| *place = octet);
        let inner = Sha1::new_with_prefix(block.map(|octet| octet ^ 0x36));
        let outer = Sha1::new_with_prefix(block.map(|octet| octet ^ 0x5c));
        Self { inner, outer }
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

type Encrypt = Box<dyn Fn(&mut aes::Block)>;

/// AES in counter mode, the counter little-endian and from 1.
fn counter_mode(key: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let encrypt: Encrypt = match key.len() {
        16 => {
            let cipher = Aes128::new_from_slice(key).ok()?;
            Box::new(move |block| cipher.encrypt_block(block))
        }
        24 => {
            let cipher = Aes192::new_from_slice(key).ok()?;
            Box::new(move |block| cipher.encrypt_block(block))
        }
        _ => {
            let cipher = Aes256::new_from_slice(key).ok()?;
            Box::new(move |block| cipher.encrypt_block(block))
        }
    };
    let mut plain = content.to_vec();
    let mut counter = 0_u128;
    for chunk in plain.chunks_mut(16) {
        counter = counter.wrapping_add(1);
        let mut block = Array::from(counter.to_le_bytes());
        encrypt(&mut block);
        chunk.iter_mut().zip(block).for_each(|(octet, mask)| *octet ^= mask);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_rfc_6070_shows() {
        // RFC 6070 has 1, 2 and 4,096 rounds; this is the same algorithm with the 1,000 used here.
        let derived = derive(&Mac::new(b"password"), b"salt", 0..20).unwrap();
        let whole = derive(&Mac::new(b"password"), b"salt", 0..66).unwrap();
        assert_eq!(derived, whole[..20]);
        assert_eq!(derive(&Mac::new(b"password"), b"salt", 64..66).unwrap(), whole[64..]);
        let signed = Mac::new(&[0x0b; 20]).sign(&[b"Hi ", b"There"]);
        assert_eq!(signed[..4], [0xb6, 0x17, 0x31, 0x86], "RFC 2202, test case 1");
    }

    #[test]
    fn passwords_are_spelled_for_windows() {
        assert_eq!(spellings("abc"), [b"abc".to_vec()]);
        assert_eq!(spellings("開").len(), 3);
    }
}
