//! The text of documents and nothing else, as the text tools give it: no embedded files are opened,
//! nothing is judged. `entities` shows everything.
//!
//! `cargo run -p imss-examples --example document_text FILE...`.

use std::io::Write;

use bytes::Bytes;
use imss_core::archive::{Member, Passwords, Source, Unpacked, unpackers};
use imss_core::document::{Piece, extractors};
use imss_core::filetype;
use imss_core::limits::{Budget, Limits};

/// A text in RTF, read if no file is named.
const SAMPLE: &[u8] =
    br"{\rtf1\ansi{\info{\title Plan}}Meeting at \b ten\b0, \u26481?\u20140?\par}";

fn main() -> anyhow::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if paths.is_empty() {
        read(Bytes::from_static(SAMPLE), &mut out)?;
    }
    for path in paths {
        read(std::fs::read(&path)?.into(), &mut out)?;
    }
    Ok(out.flush()?)
}

/// Writes the text of one document, and why it ends early if it does.
fn read(content: Bytes, out: &mut impl Write) -> anyhow::Result<()> {
    let detected = filetype::detect(&content);
    let (limits, passwords) = (Limits::default(), Passwords::none());
    let mut budget = Budget::new(&limits);
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    // Documents are containers first: the streams of an OLE file, the parts of a package.
    let mut members: Vec<Member> = Vec::new();
    for unpacker in unpackers().iter().filter(|own| own.recognises(&content, &detected)) {
        let result = unpacker.unpack(&source, &mut budget, &mut |found| {
            if let Unpacked::Member(member) = found {
                members.push(member);
            }
        });
        if let Err(error) = result {
            writeln!(out, "[{}: {:?}]", unpacker.name(), error.reason())?;
        }
    }
    for extractor in extractors() {
        if !extractor.recognises(&content, &detected, &members) {
            continue;
        }
        let mut texts = Vec::new();
        let result = extractor.extract(&source, &members, &mut budget, &mut |piece| {
            if let Piece::Text { text, .. } = piece {
                texts.push(text);
            }
        });
        for text in texts {
            writeln!(out, "{text}")?;
        }
        if let Err(error) = result {
            writeln!(out, "[{}: {:?}]", extractor.name(), error.reason())?;
        }
    }
    Ok(())
}
