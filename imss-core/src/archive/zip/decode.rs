//! One zip entry's packed octets → its content.
//!
//! Stored entries are shared, not copied; deflate is decoded directly; the other methods go through
//! the zip crate, which sees one made-up archive with just this entry, so that there is one reader
//! of directories (ours) and none that could disagree with it. Checksums are not judged: mail
//! readers differ in whether they do, and the content is there.

use std::io::Read;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::DeflateDecoder;

use super::crypt;
use super::headers::{LOCAL, Storage};
use crate::archive::drain::{Drained, Pace, drain, drain_at};
use crate::archive::le::{u16_at, u32_at};
use crate::archive::passwords::may_try;
use crate::archive::{Missing, Passwords, stream};
use crate::finding::GapReason;
use crate::limits::{Budget, Limit, RATIO_FROM};
use crate::recycle;

/// Largest dictionary that an LZMA entry gets, in octets. Larger claims are cut to it: allocation
/// must not follow a claim.
const MAX_DICTIONARY: u32 = 32 << 20;

/// Largest model that a PPMd entry gets, in MiB. It cannot be decoded with a smaller one than claimed.
const MAX_PPMD_MIB: u16 = 64;

/// Entries of one archive on which all passwords are tried in vain before only the known one is.
const MAX_LOCKED: usize = 3;

/// What one entry gave.
pub(super) struct Decoded {
    pub(super) content: Bytes,
    pub(super) missing: Option<Missing>,
    /// Packed octets that were used.
    pub(super) used: usize,
}

/// Decodes entries, one after the other. An archive may have ten thousand of them, so room and tables
/// are kept.
pub(super) struct Decoder<'a> {
    inflate: DeflateDecoder<Reader<Bytes>>,
    chunk: Vec<u8>,
    passwords: &'a Passwords,
    /// The password that opened an entry: it opens the others, as a rule.
    known: Option<Vec<u8>>,
    /// Entries that no password opened.
    locked: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder for one archive.
    pub(super) fn new(passwords: &'a Passwords) -> Self {
        let inflate = DeflateDecoder::new(Bytes::new().reader());
        Self { inflate, chunk: Vec::new(), passwords, known: None, locked: 0 }
    }

    /// Decodes `packed`.
    pub(super) fn decode(
        &mut self,
        storage: &Storage,
        packed: &Bytes,
        budget: &mut Budget<'_>,
    ) -> Decoded {
        let used = packed.len();
        if storage.is_encrypted() {
            let decoded = self.decrypted(storage, packed, budget);
            return Decoded { used, ..decoded };
        }
        let (input, chunk) = (packed.len() as u64, &mut self.chunk);
        let drained = match storage.method {
            0 => return stored(packed, budget),
            8 => return self.deflated(packed, budget),
            95 => drain_at(Pace::Bits, || Ok(stream::xz(packed)), input, budget, chunk),
            20 | 93 => drain(|| stream::zstd(packed), input, budget, chunk),
            98 if ppmd_memory(packed) > MAX_PPMD_MIB => {
                Drained::nothing(GapReason::Unsupported, "PPMd model over 64 MiB")
            }
            1..=6 | 9 | 12 | 14 | 98 => through_crate(storage, packed, budget, chunk),
            other => Drained::nothing(GapReason::Unsupported, format!("zip method {other}")),
        };
        Decoded { content: recycle::bytes(drained.bytes), missing: drained.missing, used }
    }

    /// Tries passwords on an encrypted entry. What one opens counts only if a checksum proves it.
    fn decrypted(&mut self, storage: &Storage, packed: &Bytes, budget: &mut Budget<'_>) -> Decoded {
        let passwords = self.passwords;
        let more = if self.locked < MAX_LOCKED { usize::MAX } else { 0 };
        let others = passwords.iter().take(more).flat_map(crypt::spellings);
        let mut cost = crypt::cost(storage);
        for word in self.known.clone().into_iter().chain(others) {
            let Some(try_cost) = cost.filter(|&cost| may_try(budget, cost)) else { break };
            let Some((plain, content)) = crypt::decrypt(storage, packed, &word) else { continue };
            let decoded = self.decode(&plain, &content.into(), budget);
            if crypt::is_proven(storage, &decoded.content) {
                self.known = Some(word);
                return decoded;
            }
            // A decoder was run for nothing: that may not happen often.
            let wasted = (packed.len() as u64).saturating_add(decoded.content.len() as u64);
            cost = Some(try_cost.saturating_add(wasted));
        }
        self.locked = self.locked.saturating_add(1);
        let missing = Some(Missing::new(GapReason::Encrypted, "encrypted"));
        Decoded { content: Bytes::new(), missing, used: packed.len() }
    }

    fn deflated(&mut self, packed: &Bytes, budget: &mut Budget<'_>) -> Decoded {
        self.inflate.reset(packed.clone().reader());
        let inflate = &mut self.inflate;
        let drained = drain(|| Ok(&mut *inflate), packed.len() as u64, budget, &mut self.chunk);
        let used = usize::try_from(inflate.total_in()).unwrap_or(packed.len());
        if drained.missing.as_ref().is_some_and(|missing| missing.reason == GapReason::Crash) {
            self.inflate = DeflateDecoder::new(Bytes::new().reader());
        }
        Decoded { content: recycle::bytes(drained.bytes), missing: drained.missing, used }
    }
}

fn stored(packed: &Bytes, budget: &mut Budget<'_>) -> Decoded {
    let size = packed.len() as u64;
    let charged = budget.charge_bytes(size).err();
    let limit = charged.or((size > budget.limits().max_entity_bytes).then_some(Limit::EntityBytes));
    let missing =
        limit.map(|limit| Missing::new(GapReason::Limit(limit), format!("{limit} limit")));
    Decoded { content: packed.clone(), missing, used: packed.len() }
}

/// The local header of a made-up archive that holds only this entry, with honest sizes.
fn header(storage: &Storage, packed: usize, budget: &Budget<'_>) -> Option<[u8; 31]> {
    // Some decoders of old methods produce everything at once, so the claim is cut to what may be
    // produced at all.
    let packed = packed as u64;
    let plausible = packed.saturating_mul(budget.limits().max_ratio).max(RATIO_FROM);
    let most = plausible.min(budget.limits().max_entity_bytes).min(budget.bytes_left());
    let size = storage.size.min(most.saturating_add(1)).min(u64::from(u32::MAX) - 1);
    let mut header = [0; 31];
    let mut at = 0_usize;
    let mut put = |octets: &[u8]| {
        let end = at.saturating_add(octets.len());
        if let Some(place) = header.get_mut(at..end) {
            place.copy_from_slice(octets);
        }
        at = end;
    };
    put(LOCAL);
    put(&63_u16.to_le_bytes());
    // Bits 1 and 2 steer the decoders of methods 6 and 14.
    put(&(storage.flags & 6).to_le_bytes());
    put(&storage.method.to_le_bytes());
    put(&[0; 4]);
    put(&storage.crc.to_le_bytes());
    put(&u32::try_from(packed).ok()?.to_le_bytes());
    put(&u32::try_from(size).ok()?.to_le_bytes());
    put(&1_u16.to_le_bytes());
    put(&0_u16.to_le_bytes());
    put(b"x");
    Some(header)
}

fn through_crate(
    storage: &Storage,
    packed: &Bytes,
    budget: &mut Budget<'_>,
    chunk: &mut Vec<u8>,
) -> Drained {
    let Some(header) = header(storage, packed.len(), budget) else {
        return Drained::nothing(GapReason::Unsupported, "entry over 4 GiB");
    };
    let packed = with_small_dictionary(storage, packed);
    let input = packed.len() as u64;
    let mut source = Read::chain(header.as_slice(), packed.as_ref());
    let source = &mut source;
    let pace = if matches!(storage.method, 12 | 98) { Pace::Models } else { Pace::Bits };
    let mut drained = drain_at(
        pace,
        move || {
            ::zip::read::read_zipfile_from_stream(source)
                .map_err(into_io)?
                .ok_or_else(|| std::io::Error::other("no entry"))
        },
        input,
        budget,
        chunk,
    );
    forgive_checksum(storage, &mut drained);
    drained
}

/// The size of the model that a PPMd entry claims, in MiB (APPNOTE 5.11.3).
fn ppmd_memory(packed: &[u8]) -> u16 {
    u16_at(packed, 0).map_or(0, |parameters| ((parameters >> 4) & 0xff).saturating_add(1))
}

/// Cuts the dictionary size that an LZMA entry claims (APPNOTE 5.8.8).
fn with_small_dictionary(storage: &Storage, packed: &Bytes) -> Bytes {
    let claimed = u32_at(packed, 5).unwrap_or(0);
    if storage.method != 14 || claimed <= MAX_DICTIONARY {
        return packed.clone();
    }
    let mut copy = packed.to_vec();
    if let Some(place) = copy.get_mut(5..9) {
        place.copy_from_slice(&MAX_DICTIONARY.to_le_bytes());
    }
    copy.into()
}

/// A complete content whose checksum alone is wrong is complete.
fn forgive_checksum(storage: &Storage, drained: &mut Drained) {
    let checksum = drained
        .missing
        .as_ref()
        .is_some_and(|missing| missing.detail.to_ascii_lowercase().contains("checksum"));
    if checksum && drained.bytes.len() as u64 == storage.size {
        drained.missing = None;
    }
}

fn into_io(error: ::zip::result::ZipError) -> std::io::Error {
    match error {
        ::zip::result::ZipError::Io(error) => error,
        ::zip::result::ZipError::UnsupportedArchive(what) => {
            std::io::Error::new(std::io::ErrorKind::Unsupported, what)
        }
        other => std::io::Error::new(std::io::ErrorKind::InvalidData, other.to_string()),
    }
}
