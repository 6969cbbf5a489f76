//! An encrypted workbook → one that can be read ([MS-XLS] 2.2.10).
//!
//! In: the stream. Out: the same stream with the bodies of its records decrypted. Record headers,
//! and records that programs need before they know the password, are never encrypted.

use bytes::Bytes;

use super::record::Records;
use crate::archive::le::u16_at;
use crate::archive::{Source, UnpackError};
use crate::document::Piece;
use crate::document::office_crypt::{Key, Locked, Opened, default_password, locked, xor_key};
use crate::limits::Budget;

/// The record that says how the others are encrypted.
const FILE_PASS: u16 = 0x2f;
/// Octets that a key decrypts before the next number is needed.
const BLOCK: usize = 1024;

/// The stream as it can be read; `None` if no password fits, which is said.
pub(super) fn opened(
    stream: &Bytes,
    source: &Source<'_>,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<Option<Bytes>, UnpackError> {
    let mut records = Records::new(stream);
    let mut first = std::iter::from_fn(|| records.next());
    let Some(pass) =
        first.by_ref().take_while(|record| record.id != 0x0a).find(|own| own.id == FILE_PASS)
    else {
        return Ok(Some(stream.clone()));
    };
    let is_new = u16_at(stream, 4) == Some(0x600);
    let kind = if is_new { u16_at(pass.body, 0) } else { Some(0) };
    let fields = if is_new { 2 } else { 0 };
    let found = match kind {
        Some(0) => {
            let key = u16_at(pass.body, fields).unwrap_or_default();
            let verifier = u16_at(pass.body, fields + 2).unwrap_or_default();
            Some(xor_key(key, verifier, source.passwords, budget)?)
        }
        _ => {
            let locked = pass.body.get(2..).and_then(Locked::read);
            locked.map(|locked| locked.open(source.passwords, budget)).transpose()?
        }
    };
    let Some(Opened::With(key, is_default)) = found else {
        budget.charge_entity()?;
        out(locked(source.names, stream.len() as u64, "no password fits"));
        return Ok(None);
    };
    if is_default {
        out(default_password());
    }
    budget.charge_bytes(stream.len() as u64)?;
    budget.charge_work(stream.len() as u64 * 8)?;
    Ok(Some(decrypted(stream, &key).into()))
}

fn decrypted(stream: &[u8], key: &Key) -> Vec<u8> {
    let mut whole = stream.to_vec();
    if !matches!(key, Key::Xor(_)) {
        key.stream(&mut whole, BLOCK);
    }
    let mut plain = stream.to_vec();
    let mut records = Records::new(stream);
    while let Some(record) = records.next() {
        let start = record.offset + 4;
        // BOF, FILEPASS, USREXCL, FILELOCK, INTERFACEHDR, RRDINFO, RRDHEAD.
        let clear = match record.id {
            0x809 | 0x409 | 0x209 | 0x9 | FILE_PASS | 0x194 | 0x195 | 0xe1 | 0x196 | 0x138 => {
                record.body.len()
            }
            0x85 => 4,
            _ => 0,
        };
        let range = start + clear.min(record.body.len())..start + record.body.len();
        let Some(target) = plain.get_mut(range.clone()) else { continue };
        if let Key::Xor(array) = key {
            // The array starts at a place that the record's end tells.
            let first = start + record.body.len() + clear;
            for (octet, place) in target.iter_mut().zip(first..) {
                *octet = octet.rotate_left(3) ^ array.get(place % 16).copied().unwrap_or_default();
            }
        } else if let Some(own) = whole.get(range) {
            target.copy_from_slice(own);
        }
    }
    plain
}
