#![no_main]
//! One format, named by the environment variable `FORMAT`: its unpacker or its extractor is given
//! the input whether it recognises it or not, and costs no more than the limits allow.
//!
//! An input that starts with `=== NAME` is a list of members, each after a line with its name: so
//! the streams and parts of office documents are mutated without breaking the container around them.
//! Any other input is the file itself. Every eighth is also read as an attachment of a message.
//!
//! A foreign decoder may panic, if it is caught. Code of the workspace may not, caught or not.

use std::panic::catch_unwind;
use std::sync::{LazyLock, Mutex, PoisonError};

use imss_core::archive::{Member, Passwords, Source, Unpacked, Unpacker, unpackers};
use imss_core::document::{Extractor, Piece, extractors};
use imss_core::entity::Entities;
use imss_core::filetype;
use imss_core::limits::{Budget, Limits, StopFlag};
use imss_core::message::Message;
use libfuzzer_sys::fuzz_target;

/// The format that this run reads.
struct Format {
    file: String,
    unpacker: Option<&'static dyn Unpacker>,
    extractor: Option<&'static dyn Extractor>,
}

static FORMAT: LazyLock<Format> = LazyLock::new(|| {
    let wanted = std::env::var("FORMAT").expect("FORMAT names a line of formats.txt");
    let mut lines = include_str!("../formats.txt").lines().map(str::split_whitespace);
    let ending = lines.find_map(|mut words| (words.next()? == wanted).then(|| words.next())?);
    let ending = ending.expect("a format of formats.txt");
    let format = Format {
        file: format!("a.{ending}"),
        unpacker: unpackers().iter().find(|unpacker| unpacker.name() == wanted).copied(),
        extractor: extractors().iter().find(|extractor| extractor.name() == wanted).copied(),
    };
    let is_shown = matches!(wanted.as_str(), "html" | "text");
    assert!(is_shown || format.unpacker.is_some() || format.extractor.is_some(), "no {wanted}");
    format
});

fuzz_target!(init: allow_foreign_panics(), |content: &[u8]| {
    // Whatever still gets here was caught by nobody.
    if catch_unwind(|| check(content)).is_err() {
        eprintln!("{}", LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner));
        std::process::abort();
    }
});

/// What the last foreign panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// libFuzzer's hook ends the process at every panic; this one only at those of the workspace.
fn allow_foreign_panics() {
    let strict = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !file.contains("/registry/src/") && !file.contains("/library/") {
            strict(panic);
        }
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

fn check(content: &[u8]) {
    let limits = Limits::small();
    if let Some(unpacker) = FORMAT.unpacker {
        unpack(unpacker, content, &limits);
    }
    if let Some(extractor) = FORMAT.extractor {
        extract(extractor, content, &limits);
    }
    let is_shown = FORMAT.unpacker.is_none() && FORMAT.extractor.is_none();
    let sum = content.iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet));
    if is_shown || sum.is_multiple_of(8) {
        attached(content, &limits);
    }
}

fn unpack(unpacker: &dyn Unpacker, content: &[u8], limits: &Limits) {
    let mut budget = Budget::new(limits);
    let members = members(&[unpacker], content, &mut budget);
    let total: usize = members.iter().map(|member| member.content.len()).sum();
    // A stream that is stored may be handed over as a part of the input, uncharged.
    assert!(total as u64 <= limits.max_total_bytes + content.len() as u64, "{total} octets");
    assert!(members.len() <= limits.max_entities, "{} members", members.len());
}

fn extract(extractor: &dyn Extractor, content: &[u8], limits: &Limits) {
    let mut budget = Budget::new(limits);
    let members = listed(content).unwrap_or_else(|| members(unpackers(), content, &mut budget));
    let bytes = content.to_vec().into();
    let detected = filetype::detect(content);
    let names = [FORMAT.file.clone()];
    let passwords = Passwords::none();
    let source =
        Source { content: &bytes, detected: &detected, names: &names, passwords: &passwords };
    let mut files = 0;
    let _ = extractor.recognises(content, &detected, &members);
    let _ = extractor.extract(&source, &members, &mut budget, &mut |piece| {
        files += usize::from(matches!(piece, Piece::Embedded(_) | Piece::Code(_)));
        if let Piece::Anomaly { detail, .. } = piece {
            assert!(detail.chars().count() <= 200 && !detail.chars().any(char::is_control));
        }
    });
    assert!(files <= limits.max_entities + members.len(), "{files} files");
}

/// What the unpackers that may be right for `content` find in it; a single one is always asked.
fn members(unpackers: &[&dyn Unpacker], content: &[u8], budget: &mut Budget<'_>) -> Vec<Member> {
    let bytes = content.to_vec().into();
    let detected = filetype::detect(content);
    let names = [FORMAT.file.clone()];
    let passwords = Passwords::configured(["infected"]);
    let source =
        Source { content: &bytes, detected: &detected, names: &names, passwords: &passwords };
    let mut members = Vec::new();
    for unpacker in unpackers {
        let is_known = unpacker.fits_names(&names) && unpacker.recognises(&bytes, &detected);
        if is_known || unpackers.len() == 1 {
            let _ = unpacker.unpack(&source, budget, &mut |found| {
                if let Unpacked::Member(member) = found {
                    members.push(member);
                }
            });
        }
    }
    members
}

/// The members that an input lists, each after a line `=== NAME`.
fn listed(content: &[u8]) -> Option<Vec<Member>> {
    let mut rest = content.strip_prefix(b"=== ")?;
    let mut members = Vec::new();
    while let Some(end) = rest.iter().position(|&octet| octet == b'\n') {
        let (name, after) = (&rest[..end], &rest[end + 1..]);
        let next = after.windows(5).position(|window| window == b"\n=== ");
        let content = &after[..next.unwrap_or(after.len())];
        members.push(Member {
            names: vec![String::from_utf8_lossy(name).into_owned()],
            claimed_size: content.len() as u64,
            content: content.to_vec().into(),
            missing: None,
        });
        let Some(next) = next else { break };
        rest = &after[next + 5..];
    }
    Some(members)
}

/// Sends `content` as an attachment, or as the body for what a message shows, and reads it.
fn attached(content: &[u8], limits: &Limits) {
    let is_shown = FORMAT.unpacker.is_none() && FORMAT.extractor.is_none();
    let file = &FORMAT.file;
    let kind = match file.as_str() {
        "a.html" if is_shown => "text/html".to_owned(),
        _ if is_shown => "text/plain".to_owned(),
        _ => format!("application/octet-stream; name={file}"),
    };
    let head = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n");
    let raw = [head.as_bytes(), content].concat();
    let message = Message::parse(raw.into(), limits);
    let entities = Entities::extract(&message, limits, &StopFlag::new());
    let total: u64 = entities.iter().map(|entity| entity.content.len() as u64).sum();
    assert!(total <= limits.max_total_bytes + 4 * content.len() as u64 + 4_096, "{total} octets");
    assert!(entities.len() <= limits.max_entities + 1);
    for gap in entities.gaps() {
        assert!(entities.get(gap.entity).is_some(), "a gap in nothing");
    }
    // The same bytes give the same tree.
    let again = Entities::extract(&message, limits, &StopFlag::new());
    let digests = |entities: &Entities| entities.iter().map(|e| *e.sha256()).collect::<Vec<_>>();
    assert_eq!(digests(&entities), digests(&again));
    for entity in entities.iter() {
        let _ = entity.text();
    }
}
