//! Which charset undeclared octets are in.
//!
//! In: octets. Out: an encoding, always one. ISO-2022-JP shows by its shifts, UTF-8 by being valid,
//! UTF-16 by its zeros, Shift_JIS and EUC-JP by their kana; the rest is chardetng's statistics.
//! Only the first 64 KiB are looked at.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memchr_iter;

const SAMPLE_BYTES: usize = 64 << 10;

/// Guesses the charset.
pub(super) fn guess(octets: &[u8]) -> &'static Encoding {
    let sample = octets.get(..octets.len().min(SAMPLE_BYTES)).unwrap_or_default();
    if let Some(encoding) = utf16(sample) {
        return encoding;
    }
    if has_japanese_shift(sample) && sample.is_ascii() {
        return ISO_2022_JP;
    }
    match simdutf8::compat::from_utf8(sample) {
        Ok(_) => return UTF_8,
        // The sample may end inside a character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => return UTF_8,
        Err(_) => {}
    }
    if let Some(encoding) = japanese(sample) {
        return encoding;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(sample, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Whether ISO-2022-JP shifts occur (RFC 1468).
pub(super) fn has_japanese_shift(octets: &[u8]) -> bool {
    memchr_iter(0x1B, octets).any(|at| {
        matches!(
            octets.get(at.saturating_add(1)..),
            Some([b'$', b'@' | b'A' | b'B' | b'(', ..] | [b'(', b'I' | b'J', ..])
        )
    })
}

/// Text in UTF-16 is full of zeros, all on the same side.
pub(super) fn utf16(sample: &[u8]) -> Option<&'static Encoding> {
    let pairs = sample.len() / 2;
    memchr::memchr(0, sample).filter(|_| pairs >= 4)?;
    let (mut high, mut low) = (0_usize, 0_usize);
    for pair in sample.chunks_exact(2) {
        high = high.saturating_add(usize::from(pair.first() == Some(&0)));
        low = low.saturating_add(usize::from(pair.get(1) == Some(&0)));
    }
    match (high, low) {
        (0, low) if low > pairs / 2 => Some(UTF_16LE),
        (high, 0) if high > pairs / 2 => Some(UTF_16BE),
        _ => None,
    }
}

/// Shift_JIS or EUC-JP, if one of them gives Japanese: kana are in nearly every phrase.
fn japanese(sample: &[u8]) -> Option<&'static Encoding> {
    let score = |encoding: &'static Encoding| {
        let text = encoding.decode_without_bom_handling_and_without_replacement(sample);
        let text = text.or_else(|| {
            // A character cut off at the sample's end is no error.
            let shorter = sample.get(..sample.len().checked_sub(1)?)?;
            encoding.decode_without_bom_handling_and_without_replacement(shorter)
        })?;
        let special = text.chars().filter(|c| !c.is_ascii()).count();
        let kana = text.chars().filter(|c| ('\u{3041}'..='\u{30FE}').contains(c)).count();
        (kana.saturating_mul(5) >= special && kana > 0).then_some(kana)
    };
    match (score(SHIFT_JIS), score(EUC_JP)) {
        (Some(sjis), Some(euc)) => Some(if sjis > euc { SHIFT_JIS } else { EUC_JP }),
        (Some(_), None) => Some(SHIFT_JIS),
        (None, Some(_)) => Some(EUC_JP),
        (None, None) => None,
    }
}
