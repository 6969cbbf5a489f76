//! The filters of streams (ISO 32000-2 §7.4) undone, one after the other.
//!
//! In: a stream's octets, its dictionary's filters. Out: what they hold, as far as it could be
//! decoded, and the picture format at the end of the chain, which is left as it is.
//!
//! Output is charged as it grows and measured against the stream's own octets, so that a chain of
//! filters cannot hide a bomb. A broken stream gives what came before the break.

use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::object::{Dict, Value, hexadecimal, is_space};
use crate::archive::Missing;
use crate::archive::drain::drain;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Filters of one stream.
const MAX_FILTERS: usize = 12;
/// Octets between two charges.
const CHUNK: usize = 64 << 10;

/// What a stream holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) missing: Option<Missing>,
    /// The filter that was left alone: `DCTDecode`, `JPXDecode`, `CCITTFaxDecode`, `JBIG2Decode`.
    pub(super) picture: Option<Vec<u8>>,
}

/// Undoes `filters`: names with their parameters.
pub(super) fn decode(
    raw: Vec<u8>,
    filters: &[(Vec<u8>, Dict)],
    budget: &mut Budget<'_>,
) -> Result<Decoded, Limit> {
    let input = raw.len() as u64;
    let mut decoded = Decoded { bytes: raw, ..Decoded::default() };
    for (name, parameters) in filters.iter().take(MAX_FILTERS) {
        budget.charge_work(decoded.bytes.len() as u64 / 2)?;
        let data = std::mem::take(&mut decoded.bytes);
        let mut sink = Sink { bytes: Vec::new(), input, charged: 0, budget };
        let result = match name.as_slice() {
            b"FlateDecode" | b"Fl" => {
                let (bytes, missing) = flate(&data, input, sink.budget);
                sink.bytes = bytes;
                decoded.missing = missing.or(decoded.missing.take());
                Ok(())
            }
            b"LZWDecode" | b"LZW" => {
                let early = parameters.get(b"EarlyChange").and_then(Value::integer) != Some(0);
                lzw(&data, early, &mut sink)
            }
            b"ASCII85Decode" | b"A85" => ascii85(&data, &mut sink),
            b"ASCIIHexDecode" | b"AHx" => {
                let end = memchr::memchr(b'>', &data).unwrap_or(data.len());
                sink.push(&hexadecimal(data.get(..end).unwrap_or_default()))
            }
            b"RunLengthDecode" | b"RL" => run_length(&data, &mut sink),
            b"Crypt" => {
                sink.bytes = data;
                Ok(())
            }
            _ => {
                decoded.bytes = data;
                decoded.picture = Some(name.clone());
                return Ok(decoded);
            }
        };
        decoded.bytes = std::mem::take(&mut sink.bytes);
        if let Err(limit) = result {
            decoded.missing = Some(Missing::new(GapReason::Limit(limit), format!("{limit} limit")));
            decoded.bytes.truncate(CHUNK);
        }
        if let Some(limit) = decoded.missing.as_ref().and_then(Missing::final_limit) {
            return Err(limit);
        }
        if decoded.missing.as_ref().is_some_and(|gap| matches!(gap.reason, GapReason::Limit(_))) {
            return Ok(decoded);
        }
        unpredict(&mut decoded.bytes, parameters);
    }
    if filters.len() > MAX_FILTERS {
        decoded.missing = Some(Missing::new(GapReason::Unsupported, "a chain of filters"));
    }
    Ok(decoded)
}

/// Output that is charged as it grows.
struct Sink<'a, 'b> {
    bytes: Vec<u8>,
    input: u64,
    charged: usize,
    budget: &'a mut Budget<'b>,
}

impl Sink<'_, '_> {
    fn push(&mut self, more: &[u8]) -> Result<(), Limit> {
        self.bytes.extend_from_slice(more);
        let new = self.bytes.len().saturating_sub(self.charged);
        if new < CHUNK {
            return Ok(());
        }
        self.budget.charge_bytes(new as u64)?;
        self.charged = self.bytes.len();
        if self.charged as u64 > self.budget.limits().max_entity_bytes {
            return Err(Limit::EntityBytes);
        }
        self.budget.check_ratio(self.input, self.charged as u64)
    }
}

/// RFC 1950; without its header if there is none, and whatever its checksum says.
fn flate(data: &[u8], input: u64, budget: &mut Budget<'_>) -> (Vec<u8>, Option<Missing>) {
    let spaces = data.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    let data = data.get(spaces.min(2)..).unwrap_or_default();
    let mut room = Vec::new();
    let drained = drain(|| Ok(ZlibDecoder::new(data)), input, budget, &mut room);
    let broken = |missing: &Missing| missing.reason == GapReason::Malformed;
    if !drained.bytes.is_empty() || !drained.missing.as_ref().is_some_and(broken) {
        return (drained.bytes, drained.missing);
    }
    for skipped in [2, 0] {
        let raw = data.get(skipped..).unwrap_or_default();
        let mut first = [0];
        if DeflateDecoder::new(raw).read(&mut first).is_ok_and(|read| read > 0) {
            let drained = drain(|| Ok(DeflateDecoder::new(raw)), input, budget, &mut room);
            return (drained.bytes, drained.missing);
        }
    }
    (drained.bytes, drained.missing)
}

/// §7.4.4: codes of 9 to 12 bits, most significant first.
fn lzw(data: &[u8], early: bool, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    // Each entry is a range of what was put out: the previous sequence and one octet more.
    let mut table: Vec<(usize, usize)> = Vec::with_capacity(4096);
    let (mut bits, mut held, mut width) = (0_u32, 0_u32, 9_u32);
    let mut previous: Option<(usize, usize)> = None;
    for &octet in data {
        bits = (bits << 8 | u32::from(octet)) & 0x00ff_ffff;
        held = held.saturating_add(8);
        if held < width {
            continue;
        }
        held = held.saturating_sub(width);
        let code = bits >> held & ((1 << width) - 1);
        if code == 256 {
            (width, previous) = (9, None);
            table.clear();
            continue;
        }
        if code == 257 {
            break;
        }
        let start = sink.bytes.len();
        if let Ok(octet) = u8::try_from(code) {
            sink.push(&[octet])?;
        } else {
            let place = usize::try_from(code.saturating_sub(258)).unwrap_or(usize::MAX);
            // A code that is about to be made: the previous sequence and its first octet.
            let fresh = previous.map(|(at, length)| (at, length.saturating_add(1)));
            let Some((at, length)) = table.get(place).copied().or(fresh) else { break };
            for place in at..at.saturating_add(length) {
                let Some(&octet) = sink.bytes.get(place) else { break };
                sink.push(&[octet])?;
            }
        }
        if let Some((at, length)) = previous
            && table.len() < 4096 - 258
        {
            table.push((at, length.saturating_add(1)));
        }
        previous = Some((start, sink.bytes.len().saturating_sub(start)));
        let next = table.len().saturating_add(258).saturating_add(usize::from(early));
        width = match next {
            2048.. => 12,
            1024.. => 11,
            512.. => 10,
            _ => 9,
        };
    }
    Ok(())
}

/// §7.4.3.
fn ascii85(data: &[u8], sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let (mut group, mut count) = (0_u32, 0_usize);
    for &octet in data.strip_prefix(b"<~").unwrap_or(data) {
        match octet {
            b'z' if count == 0 => sink.push(&[0; 4])?,
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(octet.saturating_sub(b'!')));
                count = count.saturating_add(1);
                if count == 5 {
                    sink.push(&group.to_be_bytes())?;
                    (group, count) = (0, 0);
                }
            }
            b'~' => break,
            octet if is_space(octet) => {}
            _ => {}
        }
    }
    if count > 1 {
        for _ in count..5 {
            group = group.wrapping_mul(85).wrapping_add(84);
        }
        let kept = count.saturating_sub(1);
        sink.push(group.to_be_bytes().get(..kept).unwrap_or_default())?;
    }
    Ok(())
}

/// §7.4.5.
fn run_length(data: &[u8], sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        match length {
            128 => break,
            0..=127 => {
                let taken = usize::from(length).saturating_add(1).min(after.len());
                let (run, after) = after.split_at(taken);
                sink.push(run)?;
                rest = after;
            }
            _ => {
                let Some((&octet, after)) = after.split_first() else { break };
                let run = [octet; 128];
                let count = 257_usize.saturating_sub(usize::from(length));
                sink.push(run.get(..count).unwrap_or_default())?;
                rest = after;
            }
        }
    }
    Ok(())
}

/// Undoes a predictor (§7.4.4.4) in place.
fn unpredict(bytes: &mut Vec<u8>, parameters: &Dict) {
    let integer = |key: &[u8], default| {
        let value = parameters.get(key).and_then(Value::length);
        value.filter(|value| (1..=1 << 20).contains(value)).unwrap_or(default)
    };
    let predictor = integer(b"Predictor", 1);
    let (colors, depth) = (integer(b"Colors", 1).min(64), integer(b"BitsPerComponent", 8).min(16));
    let sample = colors.saturating_mul(depth).div_ceil(8).max(1);
    let row = integer(b"Columns", 1).saturating_mul(colors).saturating_mul(depth).div_ceil(8);
    match predictor {
        2 if depth == 8 => {
            for line in bytes.chunks_mut(row.max(1)) {
                for at in sample..line.len() {
                    let left = line.get(at.saturating_sub(sample)).copied().unwrap_or(0);
                    if let Some(octet) = line.get_mut(at) {
                        *octet = octet.wrapping_add(left);
                    }
                }
            }
        }
        10.. => *bytes = png(bytes, row.max(1), sample),
        _ => {}
    }
}

/// Undoes PNG's filters: each row has the one it uses in front.
fn png(bytes: &[u8], row: usize, sample: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut above = vec![0_u8; row];
    for line in bytes.chunks(row.saturating_add(1)) {
        let Some((&kind, data)) = line.split_first() else { break };
        let mut own = vec![0_u8; row];
        for (at, &octet) in data.iter().enumerate() {
            let before = at.checked_sub(sample);
            let left = before.and_then(|at| own.get(at)).copied().unwrap_or(0);
            let up = above.get(at).copied().unwrap_or(0);
            let corner = before.and_then(|at| above.get(at)).copied().unwrap_or(0);
            let guess = match kind {
                1 => left,
                2 => up,
                3 => left.midpoint(up),
                4 => paeth(left, up, corner),
                _ => 0,
            };
            if let Some(slot) = own.get_mut(at) {
                *slot = octet.wrapping_add(guess);
            }
        }
        plain.extend_from_slice(own.get(..data.len()).unwrap_or_default());
        above = own;
    }
    plain
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let guess = a.saturating_add(b).saturating_sub(c);
    let [da, db, dc] = [a, b, c].map(|value| guess.abs_diff(value));
    if da <= db && da <= dc {
        left
    } else if db <= dc {
        up
    } else {
        corner
    }
}
