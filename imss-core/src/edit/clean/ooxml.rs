//! An Office Open XML package without macros, controls, embedded objects, DDE and what it loads from
//! outside (ECMA-376 part 2, [MS-OFFMACRO]).
//!
//! In: a package. Out: the package without those parts, their relationships, and the elements that
//! name them; embedded packages are cleaned in turn. Every other member keeps its compressed octets.
//! The main content type stays, so that the file still fits its name.
//!
//! Parts in XLSB's binary format cannot be edited: if one names what goes, the package is not cleaned.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::parts::{self, Relation};
use super::zip::{Archive, Fate};
use super::{CleanError, Cleaned};
use crate::limits::Budget;

/// Relationship types whose targets outside are loaded when the document is opened.
const LOADED: [&str; 7] = [
    "/attachedtemplate",
    "/oleobject",
    "/frame",
    "/subdocument",
    "/control",
    "/package",
    "/afchunk",
];

/// Removes what acts.
pub(super) fn clean(content: &Bytes, budget: &mut Budget<'_>) -> Result<Cleaned, CleanError> {
    let mut archive = Archive::read(content)?;
    let names = archive.names()?;
    let mut package = Package::default();
    let mut fates: Vec<Fate> = names.iter().map(|_| Fate::Kept).collect();
    for (place, name) in names.iter().enumerate() {
        budget.charge_work(1_000)?;
        if let Some(fate) = package.member(&mut archive, place, name, budget)?
            && let Some(own) = fates.get_mut(place)
        {
            *own = fate;
        }
    }
    // Relationships first: they say which identifiers the parts must not name any more.
    for relations in [true, false] {
        for (place, name) in names.iter().enumerate() {
            let lower = name.to_ascii_lowercase();
            let is_xml = lower.ends_with(".xml") || lower.ends_with(".rels");
            let Some(Fate::Kept) = fates.get(place) else { continue };
            if lower.ends_with(".rels") != relations || !(is_xml || package.names_gone(&lower)) {
                continue;
            }
            if !is_xml {
                return Err(CleanError::Unsupported("a binary workbook with such parts"));
            }
            let part = archive.content(place, budget)?;
            budget.charge_work((part.len() as u64).saturating_mul(4))?;
            let edited = package.part(&lower, &part)?;
            if let (Some(edited), Some(fate)) = (edited, fates.get_mut(place)) {
                *fate = Fate::Replaced(edited);
            }
        }
    }
    if package.removed.is_empty() {
        return Ok(Cleaned { content: content.clone(), removed: Vec::new() });
    }
    Ok(Cleaned { content: archive.write(fates)?, removed: package.removed })
}

/// What is known of a package while it is cleaned.
#[derive(Default)]
struct Package {
    /// Members that go, in lower case.
    dropped: BTreeSet<String>,
    /// By part: the relationship identifiers that go.
    gone: BTreeMap<String, BTreeSet<String>>,
    removed: Vec<String>,
}

impl Package {
    /// The fate of a member by its name or content; `None` if it stays for now.
    fn member(
        &mut self,
        archive: &mut Archive<'_>,
        place: usize,
        name: &str,
        budget: &mut Budget<'_>,
    ) -> Result<Option<Fate>, CleanError> {
        let lower = name.to_ascii_lowercase();
        let file = lower.rsplit('/').next().unwrap_or_default();
        let stem = file.split('.').next().unwrap_or_default();
        let what = if stem.starts_with("vbaproject") || stem == "vbadata" {
            "VBA project"
        } else if lower.contains("/macrosheets/") || lower.contains("/intlmacrosheets/") {
            "Excel 4 macros"
        } else if lower.contains("/activex/")
            || lower.contains("/ctrlprops/") && file.ends_with(".bin")
        {
            "ActiveX control"
        } else if lower.ends_with('/') {
            return Ok(None);
        } else if lower.contains("/embeddings/") && !lower.contains("/_rels/") {
            let inside = Bytes::from(archive.content(place, budget)?);
            let detected = crate::filetype::detect(&inside);
            if detected.media_type.starts_with("application/vnd.openxmlformats") {
                return match clean(&inside, budget) {
                    Ok(cleaned) if cleaned.removed.is_empty() => Ok(None),
                    Ok(cleaned) => {
                        let lines = cleaned.removed.iter().map(|what| format!("{name}: {what}"));
                        self.removed.extend(lines);
                        Ok(Some(Fate::Replaced(cleaned.content.into())))
                    }
                    Err(error) => Err(error),
                };
            }
            "embedded object"
        } else if lower.contains("/externallinks/") && file.ends_with(".xml") {
            let link = archive.content(place, budget)?;
            if !parts::mentions(&link, &["ddeLink", "oleLink"]) {
                return Ok(None);
            }
            "DDE link"
        } else {
            return Ok(None);
        };
        self.dropped.insert(lower.clone());
        // A part's relationships go with it; they are not worth a line.
        if let Some((folder, file)) = lower.rsplit_once('/') {
            self.dropped.insert(format!("{folder}/_rels/{file}.rels"));
        }
        if !file.ends_with(".rels") {
            self.removed.push(format!("{what} {name}"));
        }
        Ok(Some(Fate::Dropped))
    }

    /// Whether the part has relationships that go, other than to its macros.
    fn names_gone(&self, lower: &str) -> bool {
        self.gone.get(lower).is_some_and(|gone| !gone.is_empty())
    }

    /// A part or its relationships without what goes; `None` if nothing changes.
    fn part(&mut self, lower: &str, part: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
        if lower == "[content_types].xml" {
            return parts::without(part, &mut |element| {
                let name = element.attribute("PartName").to_ascii_lowercase();
                self.dropped.contains(name.trim_start_matches('/'))
            });
        }
        if lower.ends_with(".rels") {
            return self.relations(lower, part);
        }
        let nothing = BTreeSet::new();
        let gone = self.gone.get(lower).unwrap_or(&nothing);
        let macros_gone = self.dropped.iter().any(|name| name.contains("macrosheets/"));
        let mut dde = 0_usize;
        let edited = parts::without(part, &mut |element| {
            let names_gone = !gone.is_empty() && element.references(gone);
            let starts = macros_gone
                && element.local() == "definedName"
                && element.attribute("name").to_ascii_lowercase().contains("auto_");
            let is_dde = parts::is_dde(element);
            dde = dde.saturating_add(usize::from(is_dde));
            names_gone || starts || is_dde
        })?;
        let fields = parts::without_dde(edited.as_deref().unwrap_or(part))?;
        if dde > 0 || fields.is_some() {
            self.removed.push(format!("DDE in {lower}"));
        }
        Ok(fields.or(edited))
    }

    fn relations(&mut self, lower: &str, part: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
        let owner = lower.replacen("_rels/", "", 1);
        let owner = owner.strip_suffix(".rels").unwrap_or(&owner).to_owned();
        let folder = owner.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (dropped, removed, gone) = (&self.dropped, &mut self.removed, &mut self.gone);
        parts::without(part, &mut |element| {
            let Some(relation) = Relation::of(element) else { return false };
            let kind = relation.kind.to_ascii_lowercase();
            let goes = if relation.external {
                let loaded = LOADED.iter().any(|suffix| kind.ends_with(suffix));
                if loaded {
                    removed.push(format!("link to {} loaded when opened", relation.target));
                }
                loaded
            } else {
                dropped.contains(&parts::resolve(folder, &relation.target).to_ascii_lowercase())
            };
            // Macros hang on their relationship alone.
            if goes && !kind.ends_with("/vbaproject") {
                gone.entry(owner.clone()).or_default().insert(relation.id);
            }
            goes
        })
    }
}
