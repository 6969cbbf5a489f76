//! An OpenDocument package without macros, events that start them, OLE objects, DDE and what it loads
//! from outside (ODF 1.3 parts 2 and 3).
//!
//! In: a package. Out: the package without those members, their entries in the manifest, and the
//! elements that name them, in the document and in those inside it. Every other member keeps its
//! compressed octets. Signatures of macros go with the macros.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::parts::{self, Element};
use super::zip::{Archive, Fate};
use super::{CleanError, Cleaned};
use crate::document::ole1::COMPOUND;
use crate::limits::Budget;

/// Folders of macros and their dialogs, in lower case.
const FOLDERS: [&str; 3] = ["basic/", "scripts/", "dialogs/"];
/// Elements that start or fetch something by themselves, wherever they point.
const ACTIVE: [(&str, &str); 8] = [
    ("scripts", "macros"),
    ("event-listeners", "events"),
    ("dde-source", "DDE link"),
    ("dde-links", "DDE link"),
    ("dde-connection-decls", "DDE link"),
    ("applet", "applet"),
    ("plugin", "plugin"),
    ("floating-frame", "page loaded when opened"),
];
/// Elements that fetch what they name, if that is outside.
const LOADED: [&str; 3] = ["section-source", "table-source", "object"];
/// Places that run something.
const SCRIPTS: [&str; 4] = ["vnd.sun.star.script:", "macro:", "javascript:", "vbscript:"];
/// The list of a package's members.
const MANIFEST: &str = "meta-inf/manifest.xml";

/// Removes what acts.
pub(super) fn clean(content: &Bytes, budget: &mut Budget<'_>) -> Result<Cleaned, CleanError> {
    let mut archive = Archive::read(content)?;
    let names = archive.names()?;
    let mut dropped = BTreeSet::new();
    let mut removed = Vec::new();
    let mut fates = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        budget.charge_work(1_000)?;
        let lower = name.to_ascii_lowercase();
        let what = member(&mut archive, place, &lower, budget)?;
        fates.push(if what.is_some() { Fate::Dropped } else { Fate::Kept });
        if let Some(what) = what {
            if !lower.ends_with('/') {
                removed.push(format!("{what} {name}"));
            }
            dropped.insert(lower);
        }
    }
    // The manifest last: it depends on all others.
    for is_manifest in [false, true] {
        for (place, name) in names.iter().enumerate() {
            let lower = name.to_ascii_lowercase();
            let Some(Fate::Kept) = fates.get(place) else { continue };
            if !lower.ends_with(".xml") || (lower == MANIFEST) != is_manifest {
                continue;
            }
            let part = archive.content(place, budget)?;
            budget.charge_work((part.len() as u64).saturating_mul(4))?;
            let folder = lower.rsplit_once('/').map_or("", |(folder, _)| folder);
            let edited = parts::without(&part, &mut |element| {
                if is_manifest {
                    let path = element.attribute("full-path").to_ascii_lowercase();
                    let path = path.trim_start_matches('/');
                    return element.local() == "file-entry"
                        && (dropped.contains(path)
                            || !removed.is_empty()
                                && FOLDERS.iter().any(|own| path.starts_with(own)));
                }
                let what = acts(element, folder, &dropped);
                removed.extend(what.map(|what| format!("{what} in {name}")));
                what.is_some()
            })?;
            if let (Some(edited), Some(fate)) = (edited, fates.get_mut(place)) {
                *fate = Fate::Replaced(edited);
            }
        }
    }
    if removed.is_empty() {
        return Ok(Cleaned { content: content.clone(), removed });
    }
    Ok(Cleaned { content: archive.write(fates)?, removed })
}

/// What a member is that goes.
fn member(
    archive: &mut Archive<'_>,
    place: usize,
    lower: &str,
    budget: &mut Budget<'_>,
) -> Result<Option<&'static str>, CleanError> {
    // Documents inside have folders of their own.
    let inner = lower.split_once('/').map_or("", |(_, inner)| inner);
    if FOLDERS.iter().any(|own| lower.starts_with(own) || inner.starts_with(own)) {
        return Ok(Some("macro"));
    }
    if lower == "meta-inf/macrosignatures.xml" {
        return Ok(Some("signature"));
    }
    let is_object = lower.rsplit('/').next().is_some_and(|file| file.starts_with("object "));
    let is_ole = is_object && archive.content(place, budget)?.starts_with(COMPOUND);
    Ok(is_ole.then_some("OLE object"))
}

/// What an element does by itself.
fn acts(element: &Element<'_>, folder: &str, dropped: &BTreeSet<String>) -> Option<&'static str> {
    let local = element.local();
    if let Some((_, what)) = ACTIVE.iter().find(|(name, _)| *name == local) {
        return Some(what);
    }
    let target = element.attribute("href").trim().to_ascii_lowercase();
    if SCRIPTS.iter().any(|script| target.starts_with(script)) {
        return Some("link that runs a script");
    }
    if local == "object-ole" && dropped.contains(&parts::resolve(folder, &target)) {
        return Some("OLE object");
    }
    let is_outside =
        target.contains("://") || target.starts_with("\\\\") || target.starts_with("//");
    (LOADED.contains(&local.as_str()) && is_outside).then_some("link loaded when opened")
}
