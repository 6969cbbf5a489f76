//! Compressed streams → content, by our unpackers and by the decoder alone: bytes of content a second.
//!
//! The unpackers charge a budget for every octet, and look for bombs, names and what follows.

use std::io::{Read, Write};

use bytes::Bytes;
use divan::counter::BytesCount;
use imss_core::archive::{Passwords, Source, Unpacked, unpackers};
use imss_core::filetype;
use imss_core::limits::{Budget, Limits};

fn main() {
    divan::main();
}

const FORMATS: [&str; 4] = ["gzip", "bzip2", "xz", "zstd"];
/// Octets of content: few where only the answers are proven, unoptimised.
const SIZE: usize = if cfg!(debug_assertions) { 128 << 10 } else { 8 << 20 };

/// Text of words that come back, as text does.
fn content() -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % bound
    };
    let mut content = Vec::with_capacity(SIZE + 16);
    while content.len() < SIZE {
        // The square makes some words much more frequent than others.
        let word = (next(60) * next(60)) + next(7);
        content.extend(format!("{word:x}{:x} ", word * 31 % 97).bytes());
    }
    content.truncate(SIZE);
    content
}

fn packed(format: &str) -> Vec<u8> {
    let content = content();
    let done = match format {
        "gzip" => {
            let mut writer =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(&content).and_then(|()| writer.finish())
        }
        "bzip2" => {
            let mut writer =
                bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            writer.write_all(&content).and_then(|()| writer.finish())
        }
        "xz" => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            lzma_rust2::XzWriter::new(Vec::new(), options).and_then(|mut writer| {
                writer.write_all(&content)?;
                writer.finish()
            })
        }
        _ => zstd::encode_all(content.as_slice(), 3),
    };
    done.expect("writing to memory works")
}

#[divan::bench(args = FORMATS)]
fn unpacker(bencher: divan::Bencher<'_, '_>, format: &str) {
    let packed = Bytes::from(packed(format));
    let detected = filetype::detect(&packed);
    let recognises = |own: &&&dyn imss_core::archive::Unpacker| own.recognises(&packed, &detected);
    let unpacker = unpackers().iter().find(recognises).expect("an unpacker opens it");
    let (passwords, limits) = (Passwords::none(), Limits::default());
    let source =
        Source { content: &packed, detected: &detected, names: &[], passwords: &passwords };
    let run = || {
        let mut content = Bytes::new();
        let mut budget = Budget::new(&limits);
        let result = unpacker.unpack(&source, &mut budget, &mut |found| {
            if let Unpacked::Member(member) = found {
                content = member.content;
            }
        });
        assert!(result.is_ok());
        content
    };
    assert_eq!(run(), content(), "{format}");
    bencher.counter(BytesCount::new(SIZE)).bench(run);
}

#[divan::bench(args = FORMATS)]
fn decoder(bencher: divan::Bencher<'_, '_>, format: &str) {
    let packed = packed(format);
    let run = || {
        let mut content = Vec::new();
        let packed = divan::black_box(packed.as_slice());
        let read = match format {
            "gzip" => flate2::bufread::MultiGzDecoder::new(packed).read_to_end(&mut content),
            "bzip2" => bzip2::bufread::MultiBzDecoder::new(packed).read_to_end(&mut content),
            "xz" => lzma_rust2::XzReader::new(packed, true).read_to_end(&mut content),
            _ => {
                zstd::Decoder::with_buffer(packed).and_then(|mut own| own.read_to_end(&mut content))
            }
        };
        assert!(read.is_ok());
        content
    };
    assert_eq!(run().len(), SIZE, "{format}");
    bencher.counter(BytesCount::new(SIZE)).bench(run);
}
