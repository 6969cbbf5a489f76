//! What any OLE compound file may hold besides its document: properties, objects, encryption.
//!
//! In: the members of an OLE file, whatever program wrote it. Out: its properties ([MS-OLEPS]),
//! packed files, links of objects, and classes that matter. Encrypted packages are opened by
//! [`office_crypt`](super::office_crypt).
//!
//! A structure that makes no sense is passed over: the stream itself is a member.

mod properties;

use std::collections::HashSet;

use super::active::{Active, ActiveKind};
use super::office_crypt::package;
use super::ole_object::{self, Moniker};
use super::{Extractor, Link, LinkKind, Piece};
use crate::archive::le::u32_at;
use crate::archive::{Member, Missing, Source, UnpackError, ole};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;

/// The `ole-objects` extractor.
#[derive(Debug)]
pub(super) struct OleObjects;

impl Extractor for OleObjects {
    fn name(&self) -> &'static str {
        "ole-objects"
    }

    fn recognises(&self, content: &[u8], _detected: &FileType, members: &[Member]) -> bool {
        ole::is_compound(content) && !members.is_empty()
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut said = Said { facts: HashSet::new(), out };
        for member in members {
            stream(member, budget, &mut said)?;
        }
        for (_, class) in ole::classes(source.content, budget)? {
            if let Some(active) = ole_object::class(&class).and_then(ole_object::Class::active) {
                said.class(active);
            }
        }
        package(source, members, budget, said.out)
    }
}

/// Says each fact once.
struct Said<'a> {
    facts: HashSet<(ActiveKind, String)>,
    out: &'a mut dyn FnMut(Piece),
}

impl Said<'_> {
    /// A class; a packed file or a link says more than its class.
    fn class(&mut self, active: Active) {
        let says_more = matches!(active.kind, ActiveKind::OlePackage | ActiveKind::OleLink)
            && self.facts.iter().any(|(kind, _)| *kind == active.kind);
        if !says_more {
            self.active(active);
        }
    }

    fn active(&mut self, active: Active) {
        if self.facts.insert((active.kind, active.detail.clone())) {
            (self.out)(Piece::Active(active));
        }
    }
}

/// The last part of a member's path.
pub(super) fn base(member: &Member) -> &str {
    let path = member.names.first().map_or("", String::as_str);
    path.rsplit('/').next().unwrap_or(path)
}

fn stream(
    member: &Member,
    budget: &mut Budget<'_>,
    said: &mut Said<'_>,
) -> Result<(), UnpackError> {
    let is_root = member.names.first().is_some_and(|path| !path.contains('/'));
    match base(member) {
        "\u{1}Ole10Native" | "\u{1}OLE10Native" => {
            budget.charge_work(member.content.len() as u64 / 8)?;
            packed(member, budget, said)?;
        }
        "\u{1}Ole" => {
            budget.charge_work(member.content.len() as u64)?;
            let is_link = u32_at(&member.content, 4).is_some_and(|flags| flags & 1 != 0);
            if links(&member.content, is_link, said) {
                budget.left_out("addresses of one object past 1,000");
            }
        }
        "\u{1}CompObj" => {
            let (id, name) = ole_object::comp_obj(&member.content);
            let by_id = id.as_ref().and_then(ole_object::class);
            let class = by_id.or_else(|| ole_object::class_named(&name));
            if let Some(active) = class.and_then(ole_object::Class::active) {
                said.class(active);
            }
        }
        "Equation Native" => said.active(Active::new(ActiveKind::ExploitedClass, "Equation.3")),
        "\u{5}SummaryInformation"
        | "\u{5}DocumentSummaryInformation"
        | "\u{5}HwpSummaryInformation"
            if is_root =>
        {
            budget.charge_work(member.content.len() as u64)?;
            let (found, is_cut) = properties::read(&member.content);
            if is_cut {
                budget.left_out("properties past 1,000, or the end of one past 64 KiB");
            }
            for (name, value) in found {
                (said.out)(Piece::Property { name, value });
            }
        }
        _ => {}
    }
    Ok(())
}

fn packed(
    member: &Member,
    budget: &mut Budget<'_>,
    said: &mut Said<'_>,
) -> Result<(), UnpackError> {
    let Some(packed) = ole_object::native(&member.content) else { return Ok(()) };
    let name = packed.names.first().cloned().unwrap_or_default();
    said.active(Active::new(ActiveKind::OlePackage, name));
    if packed.content.is_empty() && packed.claimed_size == 0 {
        let link = LinkKind::Click;
        (said.out)(Piece::Link(Link { kind: link, target: packed.command, label: String::new() }));
        return Ok(());
    }
    budget.charge_entity()?;
    budget.charge_bytes(packed.content.len() as u64)?;
    let is_short = (packed.content.len() as u64) < packed.claimed_size;
    let missing = is_short.then(|| {
        let detail = format!("{} of {} octets", packed.content.len(), packed.claimed_size);
        Missing { reason: GapReason::Malformed, detail }
    });
    let (names, claimed_size, content) = (packed.names, packed.claimed_size, packed.content);
    (said.out)(Piece::Embedded(Member { names, claimed_size, content, missing }));
    Ok(())
}

/// What an object is linked to; tells whether there was more.
fn links(stream: &[u8], is_link: bool, said: &mut Said<'_>) -> bool {
    let (found, is_cut) = ole_object::monikers(stream);
    for moniker in found {
        let target = moniker.target().to_owned();
        if is_link || !matches!(moniker, Moniker::File(_)) {
            said.active(Active::new(ActiveKind::OleLink, &target));
            if !matches!(moniker, Moniker::Code(_)) {
                let link = Link { kind: LinkKind::Load, target, label: String::new() };
                (said.out)(Piece::Link(link));
            }
        }
    }
    is_cut
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests;
