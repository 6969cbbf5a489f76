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
const FOLDERS: [&str; 3] = ["basic", "scripts", "dialogs"];
/// Elements that start or fetch something by themselves, wherever they point.
const ACTIVE: [(&str, &str); 9] = [
    ("scripts", "macros"),
    ("event-listeners", "events"),
    ("dde-source", "DDE link"),
    ("dde-links", "DDE link"),
    ("dde-connection-decls", "DDE link"),
    ("object-ole", "OLE object"),
    ("applet", "applet"),
    ("plugin", "plugin"),
    ("floating-frame", "page loaded when opened"),
];
/// Elements that fetch what they name, if that is outside.
const LOADED: [&str; 10] = [
    "section-source",
    "table-source",
    "cell-range-source",
    "object",
    "image",
    "fill-image",
    "background-image",
    "audio",
    "sound",
    "video",
];
/// Places that run something.
const SCRIPTS: [&str; 4] = ["vnd.sun.star.script:", "macro:", "javascript:", "vbscript:"];
/// The list of a package's members.
const MANIFEST: &str = "meta-inf/manifest.xml";

/// Removes what acts.
pub(super) fn clean(content: &Bytes, budget: &mut Budget<'_>) -> Result<Cleaned, CleanError> {
    let mut archive = Archive::read(content)?;
    let names = archive.names()?;
    let mut package = Package::default();
    let mut fates: Vec<Fate> = names.iter().map(|_| Fate::Kept).collect();
    // The parts first: they say which members are objects. The manifest last: it lists what is left.
    for is_manifest in [false, true] {
        for (place, name) in names.iter().enumerate() {
            let lower = name.to_ascii_lowercase();
            if !lower.ends_with(".xml") || (lower == MANIFEST) != is_manifest {
                continue;
            }
            let part = archive.content(place, budget)?;
            budget.charge_work((part.len() as u64).saturating_mul(4))?;
            let edited = match is_manifest {
                true => package.manifest(&part)?,
                false => package.part(name, &part)?,
            };
            if let (Some(edited), Some(fate)) = (edited, fates.get_mut(place)) {
                *fate = Fate::Replaced(edited);
            }
        }
        for (place, name) in names.iter().enumerate().filter(|_| !is_manifest) {
            budget.charge_work(1_000)?;
            if let Some(what) = package.member(&mut archive, place, name, budget)?
                && let Some(fate) = fates.get_mut(place)
            {
                package.dropped.insert(name.to_ascii_lowercase());
                *fate = Fate::Dropped;
                if !name.ends_with('/') {
                    package.removed.push(format!("{what} {name}"));
                }
            }
        }
    }
    if package.removed.is_empty() {
        return Ok(Cleaned { content: content.clone(), removed: Vec::new() });
    }
    Ok(Cleaned { content: archive.write(fates)?, removed: package.removed })
}

/// What is known of a package while it is cleaned. Names are in lower case.
#[derive(Default)]
struct Package {
    /// Members that an element calls an OLE object.
    objects: BTreeSet<String>,
    dropped: BTreeSet<String>,
    removed: Vec<String>,
}

impl Package {
    /// A part without the elements that act; `None` if nothing changes.
    fn part(&mut self, name: &str, part: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        parts::without(part, &mut |element| {
            let what = acts(element);
            if element.local() == "object-ole" {
                let target = parts::resolve(folder, element.attribute("href").trim());
                self.objects.insert(target.to_ascii_lowercase());
            }
            self.removed.extend(what.map(|what| format!("{what} in {name}")));
            what.is_some()
        })
    }

    fn manifest(&self, part: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
        parts::without(part, &mut |element| {
            let path = element.attribute("full-path").to_ascii_lowercase();
            let path = path.trim_start_matches('/');
            // Folders are listed, too, though they are no members.
            let is_gone = self.dropped.contains(path) || !self.removed.is_empty() && is_macro(path);
            element.local() == "file-entry" && is_gone
        })
    }

    /// What a member is that goes.
    fn member(
        &self,
        archive: &mut Archive<'_>,
        place: usize,
        name: &str,
        budget: &mut Budget<'_>,
    ) -> Result<Option<&'static str>, CleanError> {
        let lower = name.to_ascii_lowercase();
        if is_macro(&lower) {
            return Ok(Some("macro"));
        }
        if lower == "meta-inf/macrosignatures.xml" {
            return Ok(Some("signature"));
        }
        if self.objects.contains(&lower) {
            return Ok(Some("OLE object"));
        }
        let is_object = lower.rsplit('/').next().is_some_and(|file| file.starts_with("object "));
        let is_ole = is_object && archive.content(place, budget)?.starts_with(COMPOUND);
        Ok(is_ole.then_some("OLE object"))
    }
}

/// Whether a member lies in a folder of macros, of the document or of one inside it.
fn is_macro(lower: &str) -> bool {
    let folders = lower.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').any(|folder| FOLDERS.contains(&folder))
}

/// What an element does by itself.
fn acts(element: &Element<'_>) -> Option<&'static str> {
    let local = element.local();
    if let Some((_, what)) = ACTIVE.iter().find(|(name, _)| *name == local) {
        return Some(what);
    }
    let target = element.attribute("href").trim().to_ascii_lowercase();
    if SCRIPTS.iter().any(|script| target.starts_with(script)) {
        return Some("link that runs a script");
    }
    (LOADED.contains(&local.as_str()) && is_outside(&target)).then_some("link loaded when opened")
}

/// Whether a link leaves the package: it has a scheme, a host or a root.
fn is_outside(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    target.starts_with(['/', '\\']) || !scheme.is_empty() && !scheme.contains(['/', '#', '?'])
}
