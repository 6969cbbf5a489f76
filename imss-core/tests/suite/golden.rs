//! Each message in `tests/data/mime` gives the tree beside it, with LF and with CRLF.
//!
//! `UPDATE_GOLDEN=1` rewrites the trees for review.

use std::fs;
use std::path::Path;

use imss_core::entity::Entities;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

#[test]
fn messages_give_their_trees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mime");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    assert!(files.len() >= 40, "found {} messages", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let raw = fs::read(&path).unwrap();
        let lf = tree(&raw);
        assert_eq!(tree(&with_crlf(&raw)), lf, "{}: CRLF and LF differ", path.display());
        let golden = path.with_extension("tree");
        if update {
            fs::write(&golden, &lf).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != lf {
            wrong.push(format!("{}:\n{lf}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the message says and holds, one thing a line.
fn tree(raw: &[u8]) -> String {
    let limits = Limits::default();
    let message = Message::parse(raw.to_vec().into(), &limits);
    let entities = Entities::extract(&message, &limits, &StopFlag::new());
    let mut out = format!("subject {:?}\n", message.subject());
    for author in message.addresses("From") {
        out += &format!("from {:?} <{}>\n", author.name, author.address);
    }
    out += "parts\n";
    for line in message.outline().to_string().lines() {
        out += &format!("  {line}\n");
    }
    out += "entities\n";
    for entity in &entities {
        let path = entities.path(entity.id);
        out += &format!("  {} {path} {:?} {:?}\n", entity.id, entity.role, entity.names);
        if let Some(text) = entity.text() {
            let start: String = text.folded.chars().take(60).collect();
            out += &format!("    {} {start:?}\n", text.charset);
        }
    }
    for anomaly in entities.anomalies() {
        out += &format!("anomaly {:?} in {}\n", anomaly.kind, anomaly.entity);
    }
    for gap in entities.gaps() {
        out += &format!("gap {:?} in {}: {}\n", gap.reason, gap.entity, gap.detail);
    }
    out
}

fn with_crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => out.extend([text.strip_suffix(b"\r").unwrap_or(text), b"\r\n"].concat()),
            None => out.extend_from_slice(line),
        }
    }
    out
}
