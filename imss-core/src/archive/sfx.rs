//! Where an archive starts that may unpack itself.
//!
//! In: content and a format's signature. Out: the places of the signature: the start, or anywhere in
//! a program. Elsewhere a signature in the middle says nothing.

use memchr::memmem;

/// Places looked at. The program before the archive may hold the signature as data, a few times.
const MAX_PLACES: usize = 8;

/// The places of `signature`: only the start unless `content` is a program.
pub(super) fn places(content: &[u8], signature: &[u8]) -> Vec<usize> {
    if content.starts_with(signature) {
        return vec![0];
    }
    if !is_program(content) {
        return Vec::new();
    }
    memmem::find_iter(content, signature).take(MAX_PLACES).collect()
}

/// Whether `content` starts as programs of Windows, Linux or macOS do, or as a shell script.
fn is_program(content: &[u8]) -> bool {
    let heads: [&[u8]; 6] =
        [b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!/"];
    heads.iter().any(|head| content.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_found_in_programs() {
        let cases: [(&str, &[u8], &[usize]); 4] = [
            ("at the start, and only there", b"SIG....SIG", &[0]),
            ("in a program", b"MZ..SIG.SIG", &[4, 8]),
            ("in a script", b"#!/bin/sh\nSIG", &[10]),
            ("in a text", b"a text about SIG", &[]),
        ];
        for (name, content, expected) in cases {
            assert_eq!(places(content, b"SIG"), expected, "{name}");
        }
    }
}
