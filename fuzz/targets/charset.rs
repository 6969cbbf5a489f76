#![no_main]
//! Any octets become text, by any label: a first line is the label, the rest is decoded.

use imss_core::charset::{alternative, decode, fold, is_known};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&octet| octet == b'\n').unwrap_or(0);
    let label = std::str::from_utf8(&input[..end]).ok();
    let octets = input.get(end + 1..).unwrap_or_default();
    for label in [None, label] {
        let first = decode(octets, label);
        assert_eq!(first, decode(octets, label));
        assert!(is_known(first.charset), "{}", first.charset);
        let other = alternative(octets, label, &first);
        assert_ne!(other.as_ref(), Some(&first.text));
        for text in [Some(first.text), other].into_iter().flatten() {
            assert!(text.len() <= 8 * octets.len() + 16, "{} octets of text", text.len());
            let _ = fold(&text);
        }
    }
});
