//! XML parts with elements cut out, all other octets as they were.
//!
//! In: a part and a judge of its elements. Out: the part without those elements and without
//! containers that they leave empty; `None` if nothing goes. A part that is not well-formed to its end,
//! or not in an encoding that extends ASCII, is an error.

use std::collections::BTreeSet;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::CleanError;

/// Elements that may not stand empty where they are.
const CONTAINERS: [&str; 8] = [
    "oleObjects",
    "controls",
    "externalReferences",
    "definedNames",
    "AlternateContent",
    "Choice",
    "Fallback",
    "subDoc",
];
/// Elements inside elements.
const MAX_DEPTH: usize = 2_000;

/// The start of an element.
pub(super) struct Element<'e>(&'e BytesStart<'e>);

impl Element<'_> {
    /// Its name without a prefix.
    pub(super) fn local(&self) -> String {
        self.0.local_name().as_ref().to_owned()
    }

    /// The value of an attribute, whatever its prefix; empty if there is none.
    pub(super) fn attribute(&self, name: &str) -> String {
        let mut all = self.0.attributes();
        let attributes = all.with_checks(false).flatten();
        let mut values = attributes.filter(|one| one.key.local_name().as_ref() == name);
        values.next().map(|one| unescaped(&one.value)).unwrap_or_default()
    }

    /// Whether an attribute with a prefix is one of these identifiers.
    pub(super) fn references(&self, identifiers: &BTreeSet<String>) -> bool {
        let mut all = self.0.attributes();
        let mut attributes = all.with_checks(false).flatten();
        attributes
            .any(|one| one.key.prefix().is_some() && identifiers.contains(&unescaped(&one.value)))
    }
}

/// One relationship (ECMA-376 part 2 §6.5.3).
pub(super) struct Relation {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) external: bool,
}

impl Relation {
    pub(super) fn of(element: &Element<'_>) -> Option<Self> {
        (element.local() == "Relationship").then(|| Self {
            id: element.attribute("Id"),
            kind: element.attribute("Type"),
            target: element.attribute("Target"),
            external: element.attribute("TargetMode").eq_ignore_ascii_case("external"),
        })
    }
}

/// The member that `target` names in a part in `folder`.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut steps: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            _ => steps.push(step),
        }
    }
    steps.retain(|step| !step.is_empty());
    steps.join("/")
}

/// Whether one of these words occurs in the part.
pub(super) fn mentions(part: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| memchr::memmem::find(part, word.as_bytes()).is_some())
}

/// Whether an element carries a DDE command by itself.
pub(super) fn is_dde(element: &Element<'_>) -> bool {
    element.local() == "fldSimple" && starts_dde(&element.attribute("instr"))
}

/// The part without the elements that `goes` names.
pub(super) fn without(
    part: &[u8],
    goes: &mut dyn FnMut(&Element<'_>) -> bool,
) -> Result<Option<Vec<u8>>, CleanError> {
    let mut cuts = Vec::new();
    // For each open element: where it starts, whether it goes, its children, and those that stay.
    let mut open: Vec<(usize, bool, usize, usize)> = Vec::new();
    walk(part, &mut |event, range| match event {
        Event::Start(start) => {
            let inside = open.last().is_some_and(|(_, goes, ..)| *goes);
            open.push((range.start, inside || goes(&Element(start)), 0, 0));
        }
        Event::Empty(start) => {
            let inside = open.last().is_some_and(|(_, goes, ..)| *goes);
            let goes = !inside && goes(&Element(start));
            if goes {
                cuts.push(range);
            }
            if let Some((.., children, kept)) = open.last_mut() {
                *children = children.saturating_add(1);
                *kept = kept.saturating_add(usize::from(!goes));
            }
        }
        Event::End(end) => {
            let Some((start, own, children, kept)) = open.pop() else { return };
            let local = end.local_name();
            let is_container = CONTAINERS.iter().any(|one| *one == local.as_ref());
            let goes = own || is_container && children > 0 && kept == 0;
            if goes && !open.last().is_some_and(|(_, goes, ..)| *goes) {
                cuts.retain(|cut: &Range<usize>| cut.start < start);
                cuts.push(start..range.end);
            }
            if let Some((.., children, kept)) = open.last_mut() {
                *children = children.saturating_add(1);
                *kept = kept.saturating_add(usize::from(!goes));
            }
        }
        _ => {}
    })?;
    Ok(cut(part, &cuts))
}

/// The part with the instructions of DDE fields and DDE formulas left out (ECMA-376 part 1
/// §17.16.5.15); what they showed last stays.
pub(super) fn without_dde(part: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
    if !mentions(part, &["instrText", "fldChar", "<f>", "<f "]) {
        return Ok(None);
    }
    let mut cuts = Vec::new();
    // For each open field: its instruction, and where its pieces are.
    let mut fields: Vec<(String, Vec<Range<usize>>)> = Vec::new();
    let mut inside = String::new();
    let end_field = |field: Option<(String, Vec<Range<usize>>)>, cuts: &mut Vec<_>| {
        if let Some((_, places)) = field.filter(|(text, _)| starts_dde(text)) {
            cuts.extend(places);
        }
    };
    walk(part, &mut |event, range| match event {
        Event::Start(start) | Event::Empty(start) => {
            let element = Element(start);
            inside = if matches!(event, Event::Start(_)) { element.local() } else { String::new() };
            if element.local() == "fldChar" {
                match element.attribute("fldCharType").as_str() {
                    "begin" => fields.push((String::new(), Vec::new())),
                    "end" => end_field(fields.pop(), &mut cuts),
                    _ => {}
                }
            }
        }
        Event::End(_) => inside.clear(),
        Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
            let text = part.get(range.clone()).unwrap_or_default();
            if inside == "instrText" {
                // Word reads the instruction of a nested field as part of the outer one.
                for (instruction, places) in &mut fields {
                    instruction.push_str(&String::from_utf8_lossy(text));
                    places.push(range.clone());
                }
            } else if inside == "f" && is_dde_formula(&String::from_utf8_lossy(text)) {
                cuts.push(range);
            }
        }
        _ => {}
    })?;
    while let Some(field) = fields.pop() {
        end_field(Some(field), &mut cuts);
    }
    cuts.sort_by_key(|cut| cut.start);
    cuts.dedup();
    Ok(cut(part, &cuts))
}

fn starts_dde(instruction: &str) -> bool {
    let word = instruction.split_whitespace().next().unwrap_or_default();
    let word = word.trim_matches(['"', '\\']).to_ascii_lowercase();
    word == "dde" || word == "ddeauto"
}

/// `server|topic!item`, outside of text in double quotes.
fn is_dde_formula(formula: &str) -> bool {
    let formula = formula.replace("&quot;", "\"").replace("&apos;", "'");
    let outside: String = formula.split('"').step_by(2).collect();
    outside.split_once('|').is_some_and(|(_, rest)| rest.contains('!'))
}

/// Hands every event with its place to `each`.
fn walk(part: &[u8], each: &mut dyn FnMut(&Event<'_>, Range<usize>)) -> Result<(), CleanError> {
    if part.contains(&0) {
        return Err(CleanError::Unsupported("a document in UTF-16"));
    }
    let broken = CleanError::Malformed("a part is not well-formed");
    let mut reader = Reader::from_reader(part);
    let mut depth = 0_usize;
    loop {
        let start = position(&reader);
        let event = reader.read_event().map_err(|_| broken.clone())?;
        match &event {
            Event::Eof if depth == 0 => return Ok(()),
            Event::Eof => return Err(broken),
            Event::Start(_) => depth = depth.saturating_add(1),
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(CleanError::Limit(crate::limits::Limit::Layers));
        }
        each(&event, start..position(&reader));
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// `part` without the ranges, which are in order.
fn cut(part: &[u8], cuts: &[Range<usize>]) -> Option<Vec<u8>> {
    if cuts.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(part.len());
    let mut at = 0;
    for cut in cuts {
        out.extend_from_slice(part.get(at..cut.start).unwrap_or_default());
        at = at.max(cut.end);
    }
    out.extend_from_slice(part.get(at..).unwrap_or_default());
    Some(out)
}

fn unescaped(value: &str) -> String {
    quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), |text| text.into_owned())
}
