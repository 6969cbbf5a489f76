//! Other mail readers against ours: whatever one of them hands to its user must be among our
//! entities, or mail could carry to them what nobody scanned.
//!
//! Each message in `tests/data/mime`, and variants of it with every defect that readers disagree
//! about, is read by Python's `email` (both policies), Perl's `MIME::Parser` and us. Python 3 and
//! the Debian package `libmime-tools-perl` must be there. What we miss of a broken message is no
//! failure if we say that readers disagree about it, as policy must then answer; but such cases
//! must stay few. `readers/read.mjs` does the same with Node's `mailparser`, by hand.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test, on input of its own"
)]

mod compare;
mod mutate;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use compare::{Kind, Ours};

/// Cases that are still missed, with the reason why each group is harmless. No new ones may come.
const KNOWN: &str = include_str!("known.txt");

/// Random variants of each message.
const RANDOM: usize = 12;

#[test]
fn nothing_that_another_reader_shows_is_missing() {
    let cases = cases();
    let folder = tempfile::tempdir().unwrap();
    for (number, (_, raw)) in cases.iter().enumerate() {
        fs::write(folder.path().join(format!("{number:05}")), raw).unwrap();
    }
    let readers = [("python3", "read.py"), ("perl", "read.pl")];
    let mut found = String::new();
    for (program, script) in readers {
        found += &run(program, script, folder.path());
    }
    let ours: Vec<Ours> = cases.iter().map(|(_, raw)| Ours::read(raw)).collect();
    let mut missed: BTreeMap<String, String> = BTreeMap::new();
    let (mut held, mut told) = (0_usize, 0_usize);
    for line in found.lines() {
        let (number, reader, kind, value) = parse(line);
        held += 1;
        let Some(ours) = ours.get(number).filter(|ours| !ours.have(kind, &value)) else {
            continue;
        };
        if ours.is_ambiguous {
            told += 1;
        } else {
            let shown: String = String::from_utf8_lossy(&value).chars().take(60).collect();
            let case = format!("{}: {reader}", cases[number].0);
            if !KNOWN.lines().any(|line| line == case) {
                missed.insert(case, format!("{kind:?} {shown:?}"));
            }
        }
    }
    println!(
        "{} messages, {held} findings of other readers, {told} missed and said, {} missed",
        cases.len(),
        missed.len()
    );
    for (case, what) in &missed {
        println!("{case}: {what}");
    }
    assert!(held > cases.len(), "the other readers found next to nothing");
    assert!(missed.is_empty(), "{} missed", missed.len());
    assert!(told * 200 < held, "{told} of {held} missed and said");
}

/// All messages and their variants, by name.
fn cases() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mime");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    let mut cases = Vec::new();
    for (cases_of, path) in files.iter().enumerate() {
        let seed = cases_of;
        let name = path.file_stem().unwrap().to_string_lossy();
        let raw = mutate::replace(&fs::read(path).unwrap(), b"\r\n", b"\n");
        let seed = u64::try_from(seed).unwrap() * 7919 + 1;
        // Every variant is made of every second message, to stay within seconds.
        let variants = mutate::variants(&raw, seed, RANDOM).into_iter().enumerate();
        let chosen = variants.filter(|(place, _)| *place == 0 || (place + cases_of) % 2 == 0);
        for (_, (variant, changed)) in chosen {
            cases.push((format!("{name}: {variant}"), changed));
        }
    }
    cases
}

fn run(program: &str, script: &str, folder: &Path) -> String {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/readers").join(script);
    let output = Command::new(program).arg(&script).arg(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}", script.display());
    String::from_utf8(output.stdout).unwrap()
}

fn parse(line: &str) -> (usize, &str, Kind, Vec<u8>) {
    let mut fields = line.split('\t');
    let mut next = || fields.next().expect("four fields a line");
    let (number, reader, kind, value) = (next(), next(), next(), next());
    let kind = match kind {
        "content" => Kind::Content,
        "text" => Kind::Text,
        _ => Kind::Name,
    };
    let value = base64_simd::STANDARD.decode_to_vec(value.as_bytes()).unwrap();
    (number.parse().unwrap(), reader, kind, value)
}
