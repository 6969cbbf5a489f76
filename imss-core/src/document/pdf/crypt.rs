//! The standard security handler (ISO 32000-2 §7.6): passwords to keys, and octets decrypted.
//!
//! In: the encryption dictionary, the file identifier and candidates for the password. Out: a
//! [`Key`], or that none fits. The empty password comes first: such files open without a prompt.
//!
//! Damaged ciphertext gives garbage, not an error; lengths that fit no block are cut.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use md5::{Digest, Md5};
use rc4::{KeyInit, Rc4, StreamCipher};
use sha2::{Sha256, Sha384, Sha512};

use super::object::{Dict, Value};
use crate::limits::{Budget, Limit};

/// Steps of deriving a key from one password.
const TRY: u64 = 600_000;

/// What fills a password up to 32 octets (§7.6.4.3.2).
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08,
    0x2e, 0x2e, 0x00, 0xb6, 0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    None,
    Rc4,
    Aes128,
    Aes256,
}

/// What decrypts a file.
#[derive(Debug)]
pub(super) struct Key {
    key: Vec<u8>,
    texts: Cipher,
    streams: Cipher,
    /// Whether metadata streams are encrypted too.
    pub(super) metadata: bool,
    /// The password that fitted.
    pub(super) password: String,
}

impl Key {
    /// The key of a file: `None` if no password fits or the handler is another one.
    pub(super) fn find<'a>(
        dict: &Dict,
        id: &[u8],
        passwords: impl Iterator<Item = &'a str>,
        budget: &mut Budget<'_>,
    ) -> Result<Option<Self>, Limit> {
        let Some(handler) = Handler::read(dict, id) else { return Ok(None) };
        for password in std::iter::once("").chain(passwords) {
            budget.charge_work(TRY)?;
            if let Some(key) = handler.key(password.as_bytes()) {
                let (texts, streams) = (handler.texts, handler.streams);
                let metadata = handler.metadata;
                return Ok(Some(Self { key, texts, streams, metadata, password: password.into() }));
            }
        }
        Ok(None)
    }

    /// A string of an object.
    pub(super) fn text(&self, object: (u32, u16), data: &[u8]) -> Vec<u8> {
        self.decrypt(self.texts, object, data)
    }

    /// A stream of an object.
    pub(super) fn stream(&self, object: (u32, u16), data: &[u8]) -> Vec<u8> {
        self.decrypt(self.streams, object, data)
    }

    fn decrypt(&self, cipher: Cipher, (number, generation): (u32, u16), data: &[u8]) -> Vec<u8> {
        if matches!(cipher, Cipher::None | Cipher::Aes256) {
            return if cipher == Cipher::None { data.to_vec() } else { aes(&self.key, data) };
        }
        let mut hash = Md5::new();
        hash.update(&self.key);
        hash.update(number.to_le_bytes().get(..3).unwrap_or_default());
        hash.update(generation.to_le_bytes());
        if cipher == Cipher::Aes128 {
            hash.update(b"sAlT");
        }
        let hash = hash.finalize();
        let length = self.key.len().saturating_add(5).min(16);
        let key = hash.get(..length).unwrap_or_default();
        if cipher == Cipher::Aes128 { aes(key, data) } else { rc4(key, data) }
    }
}

/// The encryption dictionary.
struct Handler<'a> {
    revision: i64,
    length: usize,
    owner: &'a [u8],
    user: &'a [u8],
    owner_key: &'a [u8],
    user_key: &'a [u8],
    permissions: [u8; 4],
    metadata: bool,
    id: &'a [u8],
    texts: Cipher,
    streams: Cipher,
}

impl<'a> Handler<'a> {
    fn read(dict: &'a Dict, id: &'a [u8]) -> Option<Self> {
        if dict.name(b"Filter").is_some_and(|filter| filter != b"Standard") {
            return None;
        }
        let text = |key: &[u8]| match dict.get(key) {
            Some(Value::Text(text)) => &**text,
            _ => &[],
        };
        let integer = |key: &[u8]| dict.get(key).and_then(Value::integer);
        let version = integer(b"V").unwrap_or(0);
        let bits = integer(b"Length").filter(|bits| (40..=256).contains(bits)).unwrap_or(40);
        let (texts, streams) = match version {
            4 | 5 => (filter(dict, b"StrF"), filter(dict, b"StmF")),
            _ => (Cipher::Rc4, Cipher::Rc4),
        };
        let bits = match version {
            1 => 40,
            4 => 128,
            _ => bits,
        };
        let [.., a, b, c, d] = integer(b"P").unwrap_or(0).to_be_bytes();
        Some(Self {
            revision: integer(b"R").unwrap_or(2),
            length: usize::try_from(bits / 8).unwrap_or(5).min(16),
            owner: text(b"O"),
            user: text(b"U"),
            owner_key: text(b"OE"),
            user_key: text(b"UE"),
            permissions: [d, c, b, a],
            metadata: dict.get(b"EncryptMetadata") != Some(&Value::Bool(false)),
            id,
            texts,
            streams,
        })
    }

    fn key(&self, password: &[u8]) -> Option<Vec<u8>> {
        if self.revision >= 5 {
            return self.key_256(password);
        }
        self.user(password).or_else(|| self.user(&self.owner_to_user(password)))
    }

    /// Algorithms 2 and 6: the key, if `password` is the user's.
    fn user(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut hash = Md5::new();
        hash.update(padded(password));
        hash.update(self.owner.get(..32).unwrap_or(self.owner));
        hash.update(self.permissions);
        hash.update(self.id);
        if self.revision >= 4 && !self.metadata {
            hash.update([0xff; 4]);
        }
        let mut key = hash.finalize().to_vec();
        key.truncate(self.length);
        if self.revision >= 3 {
            for _ in 0..50 {
                key = Md5::digest(&key).to_vec();
                key.truncate(self.length);
            }
        }
        if self.revision < 3 {
            return (!self.user.is_empty() && rc4(&key, &PADDING) == self.user).then_some(key);
        }
        let mut check = Md5::new();
        check.update(PADDING);
        check.update(self.id);
        let mut check = check.finalize().to_vec();
        for round in 0..20_u8 {
            check = rc4(&key.iter().map(|octet| octet ^ round).collect::<Vec<_>>(), &check);
        }
        (self.user.get(..16) == Some(&check)).then_some(key)
    }

    /// Algorithm 7: the user's password, if `password` is the owner's.
    fn owner_to_user(&self, password: &[u8]) -> Vec<u8> {
        let mut key = Md5::digest(padded(password)).to_vec();
        if self.revision >= 3 {
            for _ in 0..50 {
                key = Md5::digest(&key).to_vec();
            }
        }
        key.truncate(self.length);
        let mut text = self.owner.get(..32).unwrap_or_default().to_vec();
        let rounds = if self.revision >= 3 { 20_u8 } else { 1 };
        for round in (0..rounds).rev() {
            text = rc4(&key.iter().map(|octet| octet ^ round).collect::<Vec<_>>(), &text);
        }
        text
    }

    /// Algorithm 2.A.
    fn key_256(&self, password: &[u8]) -> Option<Vec<u8>> {
        let password = password.get(..127).unwrap_or(password);
        let all = self.user.get(..48)?;
        for (check, wrapped, more) in
            [(self.user, self.user_key, &[][..]), (self.owner, self.owner_key, all)]
        {
            let (hash, salts) = check.get(..48)?.split_at_checked(32)?;
            let (validation, salt) = salts.split_at_checked(8)?;
            if self.hash(password, validation, more) == hash {
                let key = self.hash(password, salt, more);
                let mut file = wrapped.get(..32)?.to_vec();
                cbc_256(&key, &[0; 16], &mut file)?;
                return Some(file);
            }
        }
        None
    }

    /// Algorithm 2.B; of revision 5 only its first step.
    fn hash(&self, password: &[u8], salt: &[u8], more: &[u8]) -> Vec<u8> {
        let mut key = Sha256::digest([password, salt, more].concat()).to_vec();
        if self.revision == 5 {
            return key;
        }
        for round in 0..512_usize {
            let mut block = [password, &key, more].concat().repeat(64);
            let (Some(aes), Some(iv)) = (key.get(..16), key.get(16..32)) else { return key };
            let Ok(mut cipher) = cbc::Encryptor::<aes::Aes128>::new_from_slices(aes, iv) else {
                return key;
            };
            for chunk in block.as_chunks_mut::<16>().0 {
                cipher.encrypt_block(chunk.into());
            }
            let sum: u32 = block.iter().take(16).map(|&octet| u32::from(octet)).sum();
            key = match sum % 3 {
                0 => Sha256::digest(&block).to_vec(),
                1 => Sha384::digest(&block).to_vec(),
                _ => Sha512::digest(&block).to_vec(),
            };
            let last = usize::from(block.last().copied().unwrap_or(0));
            if round >= 63 && last <= round.saturating_sub(31) {
                break;
            }
        }
        key.truncate(32);
        key
    }
}

/// The cipher of a crypt filter (§7.6.6).
fn filter(dict: &Dict, key: &[u8]) -> Cipher {
    let name = dict.name(key).unwrap_or(b"Identity");
    let filters = dict.get(b"CF").and_then(Value::dict);
    let filter = filters.and_then(|filters| filters.get(name)).and_then(Value::dict);
    match filter.and_then(|filter| filter.name(b"CFM")) {
        Some(b"V2") => Cipher::Rc4,
        Some(b"AESV2") => Cipher::Aes128,
        Some(b"AESV3") => Cipher::Aes256,
        _ => Cipher::None,
    }
}

fn padded(password: &[u8]) -> Vec<u8> {
    password.iter().chain(&PADDING).copied().take(32).collect()
}

fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Ok(mut cipher) = Rc4::new_from_slice(key) {
        cipher.apply_keystream(&mut data);
    }
    data
}

/// CBC with the vector in front and padding behind.
fn aes(key: &[u8], data: &[u8]) -> Vec<u8> {
    let Some((iv, rest)) = data.split_first_chunk::<16>() else { return Vec::new() };
    let mut data = rest.to_vec();
    data.truncate(rest.len() & !15);
    let done =
        if key.len() == 32 { cbc_256(key, iv, &mut data) } else { cbc_128(key, iv, &mut data) };
    if done.is_none() {
        return Vec::new();
    }
    let padding = data.last().copied().map_or(0, usize::from);
    if (1..=16).contains(&padding) {
        data.truncate(data.len().saturating_sub(padding));
    }
    data
}

fn cbc_256(key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()> {
    let mut cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(key, iv).ok()?;
    for chunk in data.as_chunks_mut::<16>().0 {
        cipher.decrypt_block(chunk.into());
    }
    Some(())
}

fn cbc_128(key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()> {
    let mut cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(key, iv).ok()?;
    for chunk in data.as_chunks_mut::<16>().0 {
        cipher.decrypt_block(chunk.into());
    }
    Some(())
}
