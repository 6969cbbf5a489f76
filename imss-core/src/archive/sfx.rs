//! Where an archive starts that may unpack itself.
//!
//! In: content and a format's signature. Out: the place where an archive starts: anywhere in a
//! program. Elsewhere a signature in the middle says nothing. Signatures that can be no archive cost
//! nothing and are passed over, however many there are; of those that may be one, a bounded number is
//! read, and a program with more of them is told as such.

use memchr::memmem;

use crate::limits::Budget;

/// Places that are read as a header. Programs hold a signature as data a few times, and nearly never
/// with octets behind it that may be a header.
const MAX_PLACES: usize = 64;

/// What a search for an archive came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// An archive starts here.
    At(usize),
    /// None was found among the first places, and there are more.
    TooMany,
}

impl Start {
    /// Where to unpack; nowhere if that was not found, which becomes a gap.
    pub(super) fn place(found: Option<Self>, budget: &mut Budget<'_>) -> Option<usize> {
        match found {
            Some(Self::At(place)) => Some(place),
            Some(Self::TooMany) => {
                budget.left_out("archives in a program past 64 places where one may start");
                None
            }
            None => Some(0),
        }
    }
}

/// The first archive in a program: where `signature` is found `before` octets behind its start,
/// `may_start` holds, which costs next to nothing, and then `starts`.
pub(super) fn search(
    content: &[u8],
    (signature, before): (&[u8], usize),
    may_start: impl Fn(&[u8]) -> bool,
    starts: impl Fn(&[u8]) -> bool,
) -> Option<Start> {
    if !is_program(content) {
        return None;
    }
    let places = memmem::find_iter(content, signature).filter_map(|at| at.checked_sub(before));
    let places = places.filter(|&at| content.get(at..).is_some_and(&may_start));
    for (number, at) in places.enumerate() {
        if number >= MAX_PLACES {
            return Some(Start::TooMany);
        }
        if content.get(at..).is_some_and(&starts) {
            return Some(Start::At(at));
        }
    }
    None
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
        let decoys = |count: usize| [b"MZ".to_vec(), b".SIG-".repeat(count), b".SIG+".to_vec()];
        let cases: [(&str, Vec<u8>, Option<Start>); 6] = [
            ("in a program", b"MZ..SIG+.SIG+".to_vec(), Some(Start::At(3))),
            ("in a script", b"#!/bin/sh\n.SIG+".to_vec(), Some(Start::At(10))),
            ("in a text", b"a text about .SIG+".to_vec(), None),
            ("what can be none is free", [b"MZ".to_vec(), b".SIG ".repeat(999)].concat(), None),
            ("behind as many as are read", decoys(63).concat(), Some(Start::At(317))),
            ("behind more", decoys(64).concat(), Some(Start::TooMany)),
        ];
        let may_start = |rest: &[u8]| matches!(rest.get(4), Some(b'+' | b'-'));
        for (name, content, expected) in cases {
            let found = search(&content, (b"SIG", 1), may_start, |rest| rest.get(4) == Some(&b'+'));
            assert_eq!(found, expected, "{name}");
        }
    }
}
