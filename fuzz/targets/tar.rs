#![no_main]
//! An attachment that says it is a tar archive costs no more than the limits allow.

#[path = "../common/attached.rs"]
mod attached;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| attached::check("a.tar", "application/x-tar", content));
