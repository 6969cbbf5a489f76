#![no_main]
//! Any octets have a type, the same each time, and any claim is held against it. A first line is
//! the name and the label that claim it.

use imss_core::filetype::{all, claim, detect, identify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&octet| octet == b'\n').unwrap_or(0);
    let line = String::from_utf8_lossy(&input[..end]);
    for content in [input, input.get(end + 1..).unwrap_or_default()] {
        let detected = detect(content);
        assert_eq!(detected, detect(content));
        assert!(!detected.name.is_empty() && detected.media_type.contains('/'));
        let identified = identify(content);
        assert!(!identified.also.contains(&identified.main), "its own twin");
        let _ = all(content);
        let (name, label) = line.split_once(' ').unwrap_or((&line, ""));
        let label = Some(label).filter(|label| !label.is_empty());
        if let Some(mismatch) = claim(&[name.to_owned()], label, &detected) {
            assert!(!mismatch.detail.is_empty());
        }
    }
});
