//! PDF files (ISO 32000-2) → text in reading order, properties, links, what acts, files inside.
//!
//! In: octets with `%PDF` somewhere at their start, or built like a PDF file. Out: [`Piece`]s:
//! first the text of the pages, then what the objects hold besides, in the order of the file.
//!
//! The file is scanned for objects instead of followed from its cross-reference table, so replaced
//! and unreachable ones are looked at too ([`store`]). Text of replaced pages is
//! [`TextKind::Revision`]. Encrypted files are read if the password is empty or known, and are
//! [`UnpackError::Encrypted`] otherwise.

mod bidi;
mod cmap;
mod content;
mod crypt;
mod facts;
mod fax;
mod files;
mod filter;
mod font;
mod layout;
pub(crate) mod object;
mod pages;
pub(crate) mod store;
mod text_string;
mod xml;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use memchr::memmem;

use self::filter::Decoded;
use self::store::Store;
use super::sink::Values;
use super::{Active, ActiveKind, Extractor, Link, LinkKind, Piece, TextKind};
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Missing, Source, UnpackError};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Where the header may start (Annex H of older editions; readers still accept it).
const HEADER_WITHIN: usize = 1024;
/// Octets outside of objects that nothing explains, from which on they are reported.
const MIN_JUNK: usize = 64;
/// White space between objects that only pads.
const MIN_PADDING: usize = 64 << 10;

/// The extractor.
#[derive(Debug)]
pub(crate) struct Pdf;

impl Extractor for Pdf {
    fn name(&self) -> &'static str {
        "pdf"
    }

    fn recognises(&self, content: &[u8], detected: &FileType, _: &[Member]) -> bool {
        let head = content.get(..HEADER_WITHIN).unwrap_or(content);
        if detected.media_type == "application/pdf"
            || memmem::find(head, b"%PDF").is_some()
            || memmem::find(head, b"%FDF").is_some()
        {
            return true;
        }
        let tail = content.get(content.len().saturating_sub(2048)..).unwrap_or_default();
        let start = content.get(..66 << 10).unwrap_or(content);
        memmem::find(start, b" obj").is_some()
            && memmem::find(start, b"endobj").is_some()
            && [&b"startxref"[..], b"trailer", b"endobj"]
                .iter()
                .any(|word| memmem::find(tail, word).is_some())
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let store = Store::read(source.content, source.passwords, budget)?;
        if store.objects.is_empty() {
            return Err(UnpackError::Malformed { offset: 0, detail: "no objects" });
        }
        let mut reader = Reader {
            store: &store,
            budget,
            out,
            trouble: store.trouble.clone(),
            seen: HashSet::new(),
            handed: HashSet::new(),
            labels: HashMap::new(),
            values: Values::default(),
        };
        reader.anomalies(source.content);
        if store.locked {
            reader.trouble = Some(UnpackError::Encrypted("document"));
        } else {
            reader.pages()?;
        }
        reader.facts()?;
        reader.files()?;
        reader.trouble.map_or(Ok(()), Err)
    }
}

/// A file being read.
struct Reader<'a, 'b> {
    store: &'a Store,
    budget: &'a mut Budget<'b>,
    out: &'a mut dyn FnMut(Piece),
    /// The first thing that could not be read.
    trouble: Option<UnpackError>,
    /// Facts, texts, properties and links that were reported: replaced objects repeat them.
    seen: HashSet<String>,
    /// Streams that were handed over.
    handed: HashSet<usize>,
    /// The text under the links of the pages, by their target.
    labels: HashMap<Box<[u8]>, String>,
    /// The octets of properties and links.
    values: Values,
}

impl Reader<'_, '_> {
    fn decode(&mut self, place: usize) -> Result<Decoded, Limit> {
        let decoded = self.store.decode(place, self.budget)?;
        if let Some(Missing { reason: GapReason::Limit(limit), .. }) = decoded.missing {
            self.trouble.get_or_insert(UnpackError::Limit(limit));
        }
        Ok(decoded)
    }

    fn active(&mut self, kind: ActiveKind, detail: &str) {
        if self.is_new(&format!("{kind:?} {detail}")) {
            (self.out)(Piece::Active(Active::new(kind, detail)));
        }
    }

    fn text(&mut self, kind: TextKind, text: String) {
        if !text.trim().is_empty() && self.is_new(&format!("text {text}")) {
            (self.out)(Piece::Text { kind, text });
        }
    }

    fn property(&mut self, name: &str, value: String) {
        let name: String = name.chars().take(100).collect::<String>().to_lowercase();
        if value.trim().is_empty() {
            return;
        }
        let octets = name.len().saturating_add(value.len());
        if self.is_new_value(format!("property {name} {value}"), octets) {
            (self.out)(Piece::Property { name, value });
        }
    }

    fn link(&mut self, kind: LinkKind, raw: &[u8]) {
        let target: String = text_string::text(raw).chars().take(4096).collect();
        let target = target.get(..target.floor_char_boundary(4096)).unwrap_or_default().to_owned();
        if target.is_empty() {
            return;
        }
        let label = self.labels.get(raw).filter(|label| **label != target).cloned();
        let label = label.unwrap_or_default();
        let octets = target.len().saturating_add(label.len());
        if self.is_new_value(format!("link {kind:?} {target}"), octets) {
            (self.out)(Piece::Link(Link { kind, target, label }));
        }
    }

    /// Whether a property or link is new and there is room for it.
    fn is_new_value(&mut self, what: String, octets: usize) -> bool {
        if self.seen.contains(&what) {
            return false;
        }
        match self.values.fits(octets, self.budget) {
            Ok(fits) => fits && self.seen.insert(what),
            Err(limit) => {
                self.trouble.get_or_insert(UnpackError::Limit(limit));
                false
            }
        }
    }

    fn is_new(&mut self, what: &str) -> bool {
        self.seen.insert(what.to_owned())
    }

    /// Octets before, between and behind the objects.
    fn anomalies(&mut self, content: &[u8]) {
        let header = content.get(..HEADER_WITHIN).unwrap_or(content);
        let header = memmem::find(header, b"%PDF").or_else(|| memmem::find(header, b"%FDF"));
        match header {
            Some(at)
                if !content.get(..at).unwrap_or_default().trim_ascii().is_empty() && at > 3 =>
            {
                self.junk(0, format!("{at} octets before the header"));
            }
            None => self.junk(0, "no header".to_owned()),
            _ => {}
        }
        let last =
            memmem::rfind(content, b"%%EOF").map_or(content.len(), |at| at.saturating_add(5));
        let tail = content.get(last..).unwrap_or_default();
        let solid = tail.iter().filter(|&&octet| !object::is_space(octet)).count();
        if solid >= 16 {
            self.junk(last, format!("{solid} octets behind the end"));
        }
        let mut before = 0;
        for extent in self.store.extents() {
            let gap = content.get(before..extent.start).unwrap_or_default();
            if gap.len() >= MIN_PADDING || before > 0 && is_junk(gap) {
                self.junk(before, format!("{} octets between objects", gap.len()));
                return;
            }
            before = before.max(extent.end);
        }
    }

    fn junk(&mut self, offset: usize, detail: String) {
        let kind = AnomalyKind::TrailingData;
        (self.out)(Piece::Anomaly { kind, offset: offset as u64, detail });
    }
}

/// Whether octets between two objects are neither comments nor the words of the structure.
fn is_junk(gap: &[u8]) -> bool {
    if gap.len() < MIN_JUNK {
        return false;
    }
    let words = [&b"xref"[..], b"trailer", b"startxref", b"%%EOF"];
    let explained = words.iter().any(|word| memmem::find(gap, word).is_some());
    let lines = gap.split(|octet| matches!(octet, b'\r' | b'\n'));
    let solid: usize = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.starts_with(b"%") && !matches!(*line, b"endstream" | b"endobj"))
        .map(<[u8]>::len)
        .sum();
    !explained && solid >= MIN_JUNK
}
