//! Each file of `tests/data/corpus/files.tar.xz`, some 900 messages, documents and archives of other
//! projects, gives the listing in `expected.txt`: types, members, text, links, what acts, what was
//! not read.
//!
//! The archive is opened with our own readers. `UPDATE_GOLDEN=1` rewrites the listings for review.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use bytes::Bytes;
use imss_core::archive::{Member, Passwords, Source, Unpacked, unpackers};
use imss_core::filetype;
use imss_core::limits::{Budget, Limits};

use crate::{expected, listing};

/// How many files there are.
const FILES: usize = 896;

#[test]
fn files_of_other_projects_give_their_listings() {
    let members = members();
    assert_eq!(members.len(), FILES);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let listings: Vec<String> = thread::scope(|scope| {
        let pieces = members.chunks(members.len().div_ceil(threads));
        let running: Vec<_> = pieces.map(|piece| scope.spawn(|| list(piece))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    expected::compare(&folder().join("expected.txt"), &listings.concat());
}

fn list(members: &[Member]) -> String {
    let mut out = String::new();
    for member in members {
        let path = member.names.first().map_or("", String::as_str);
        let (folder, name) = path.split_once('/').unwrap_or_default();
        let is_message = folder == "mime" && matches!(extension(name), "eml" | "msg" | "txt");
        let listed = if is_message { format!("{name}.eml") } else { name.to_owned() };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "== {name}\n{}", listing::list(&listed, &member.content));
    }
    out
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus")
}

/// The files, in the order of the archive.
fn members() -> Vec<Member> {
    let packed = fs::read(folder().join("files.tar.xz")).unwrap_or_default();
    unpack(packed.into()).pop().map_or(Vec::new(), |stream| unpack(stream.content))
}

/// The members of an archive, all of them whole.
fn unpack(content: Bytes) -> Vec<Member> {
    let limits = Limits { max_total_bytes: 1 << 30, max_ratio: 1_000_000, ..Limits::default() };
    let (detected, passwords) = (filetype::detect(&content), Passwords::none());
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    let unpacker = unpackers().iter().find(|own| own.recognises(&content, &detected));
    let unpacker = unpacker.unwrap_or_else(|| panic!("nobody opens {}", detected.name));
    let mut members = Vec::new();
    let result = unpacker.unpack(&source, &mut Budget::new(&limits), &mut |found| match found {
        Unpacked::Member(member) => members.push(member),
        Unpacked::Anomaly { detail, .. } => panic!("{detail}"),
    });
    assert_eq!(result, Ok(()));
    assert!(members.iter().all(|member| member.missing.is_none()));
    members
}
