//! Shortcuts: Windows `.lnk` files (MS-SHLLINK) and their kin in text.
//!
//! In: octets. Out: the command as a fact, what it loads and opens as links, and what is appended as a
//! file. A block that does not fit ends the reading with what there is.

mod link;
mod text;

use bytes::Bytes;

use super::rtf::field::is_remote;
use super::sink::Sink;
use super::{Active, ActiveKind, Extractor, Link, LinkKind, Piece, TextKind};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// The header's size and class identifier.
const MAGIC: &[u8] = &[0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
/// Octets after the last block that are worth a report.
const TRAILING: usize = 16;
/// White space in a row that pushes arguments out of sight.
const PADDING: usize = 64;
/// Octets of a text shortcut that are read.
const LONGEST_TEXT: usize = 1 << 20;

/// The extractor of `.lnk` files.
pub(super) struct Lnk;

impl Extractor for Lnk {
    fn name(&self) -> &'static str {
        "lnk"
    }

    fn recognises(&self, content: &[u8], _: &FileType, _: &[Member]) -> bool {
        content.starts_with(MAGIC)
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        budget.charge_work(source.content.len().min(1 << 20) as u64)?;
        let link = link::Link::read(source.content, budget);
        let target = link.targets.first().cloned().unwrap_or_default();
        let command = format!("{target} {}", link.arguments);
        if !command.trim().is_empty() {
            out(Piece::Active(Active::new(ActiveKind::Launch, command.trim())));
            out(Piece::Text { kind: TextKind::Formula, text: command.trim().to_owned() });
        }
        let blanks = link.arguments.split(|letter: char| !letter.is_whitespace());
        if blanks.map(|run| run.chars().count()).max().unwrap_or_default() >= PADDING {
            let detail = "arguments behind white space";
            out(Piece::Active(Active::new(ActiveKind::Obfuscation, detail)));
        }
        named(&link, budget, out)?;
        if let Some(limit) = link.limit {
            return Err(UnpackError::Limit(limit));
        }
        let Some(end) = link.end else {
            let offset = source.content.len() as u64;
            return Err(UnpackError::Malformed {
                offset,
                detail: "a block of the shortcut is cut",
            });
        };
        appended(source.content, end, budget, out)
    }
}

/// What a shortcut names: targets, icons and the rest.
fn named(
    link: &link::Link,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let mut sink = Sink::new(budget, out);
    for target in &link.targets {
        sink.property("target", target);
    }
    for target in link.targets.iter().filter(|target| is_remote(target)) {
        sink.link(LinkKind::Click, target, "");
    }
    sink.property("arguments", &link.arguments);
    sink.property("working-directory", &link.directory);
    sink.property("description", &link.description);
    sink.property("machine", &link.machine);
    for icon in &link.icons {
        sink.property("icon", icon);
        if is_remote(icon) {
            sink.link(LinkKind::Load, icon, "");
            sink.active(ActiveKind::RemoteContent, icon);
        }
    }
    sink.text(TextKind::Shown, &link.description);
    sink.finish()
}

/// What lies behind the last block: a file that the command cuts out.
fn appended(
    content: &Bytes,
    end: usize,
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let rest = content.slice(end.min(content.len())..);
    if rest.len() < TRAILING || rest.iter().all(|octet| *octet == 0) {
        return Ok(());
    }
    budget.charge_entity()?;
    budget.charge_bytes(rest.len() as u64)?;
    out(Piece::Anomaly {
        kind: AnomalyKind::TrailingData,
        offset: end as u64,
        detail: format!("{} octets after the shortcut", rest.len()),
    });
    let (names, claimed_size) = (vec!["appended".to_owned()], rest.len() as u64);
    out(Piece::Embedded(Member { names, claimed_size, content: rest, missing: None }));
    Ok(())
}

fn to(kind: LinkKind, target: &str) -> Link {
    Link { kind, target: target.chars().take(1024).collect(), label: String::new() }
}

/// What a program that shows the shortcut loads from another machine.
fn load(target: &str, out: &mut dyn FnMut(Piece)) {
    if is_remote(target) {
        out(Piece::Link(to(LinkKind::Load, target)));
        out(Piece::Active(Active::new(ActiveKind::RemoteContent, target)));
    }
}

/// The extractor of shortcuts that are text.
pub(super) struct TextShortcut;

impl Extractor for TextShortcut {
    fn name(&self) -> &'static str {
        "shortcut"
    }

    fn recognises(&self, content: &[u8], detected: &FileType, _: &[Member]) -> bool {
        matches!(
            detected.extension,
            "url" | "desktop" | "library-ms" | "search-ms" | "settingcontent-ms" | "slk" | "iqy"
        ) || text::kind(content).is_some()
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let octets = source.content.get(..source.content.len().min(LONGEST_TEXT));
        let octets = octets.unwrap_or_default();
        budget.charge_work((octets.len() as u64).saturating_mul(8))?;
        let content = crate::charset::decode(octets, None).text;
        text::pieces(&content, text::kind(octets).unwrap_or_default(), out);
        if octets.len() < source.content.len() {
            return Err(UnpackError::Limit(crate::limits::Limit::Text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
