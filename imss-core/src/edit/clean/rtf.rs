//! An RTF document without objects, remote templates and fields that start or load something
//! (RTF 1.9.1).
//!
//! In: a document. Out: the document without `\object` groups (what they show stays), without groups
//! of object data outside of them, `\template`, and instructions of DDE and include fields. Binary
//! data (`\bin`) is skipped by its length. A document whose groups never close loses its end with
//! the group.

use std::ops::Range;

use bytes::Bytes;

use super::{CleanError, Cleaned};
use crate::limits::Budget;

/// Destinations of object data, which some documents hide outside of `\object`.
const OBJECT: [&str; 7] =
    ["object", "objdata", "objocx", "objemb", "objautlink", "objupdate", "objhtml"];
/// Fields that start or load something.
const FIELDS: [&str; 5] = ["DDE", "DDEAUTO", "INCLUDETEXT", "IMPORT", "LINK"];
/// Groups inside groups.
const MAX_DEPTH: usize = 10_000;

/// One open group.
#[derive(Default)]
struct Group {
    start: usize,
    what: Option<&'static str>,
    is_result: bool,
    /// The text of a field instruction.
    instruction: Option<String>,
    /// Parts of it that are shown.
    shown: Vec<Range<usize>>,
}

/// Removes what acts.
pub(super) fn clean(content: &Bytes, budget: &mut Budget<'_>) -> Result<Cleaned, CleanError> {
    budget.charge_work((content.len() as u64).saturating_mul(2))?;
    let mut cutter =
        Cutter { content, open: vec![Group::default()], cuts: Vec::new(), removed: Vec::new() };
    let mut at = 0;
    while let Some(&octet) = content.get(at) {
        at = match octet {
            b'{' => {
                if cutter.open.len() >= MAX_DEPTH {
                    return Err(CleanError::Limit(crate::limits::Limit::Layers));
                }
                cutter.open.push(Group { start: at, ..Group::default() });
                at.saturating_add(1)
            }
            b'}' => {
                at = at.saturating_add(1);
                cutter.close(at);
                at
            }
            b'\\' => cutter.control(at),
            _ => {
                cutter.text(octet);
                at.saturating_add(1)
            }
        };
    }
    while cutter.open.len() > 1 {
        cutter.close(content.len());
    }
    if cutter.open.first().is_some_and(|all| all.what.is_some()) {
        return Err(CleanError::Malformed("an object that is in no group"));
    }
    let (cuts, removed) = (cutter.cuts, cutter.removed);
    let mut out = Vec::with_capacity(content.len());
    let mut from = 0;
    for (cut, shown) in cuts {
        out.extend_from_slice(content.get(from..cut.start).unwrap_or_default());
        for range in shown {
            out.extend_from_slice(content.get(range).unwrap_or_default());
        }
        from = cut.end;
    }
    out.extend_from_slice(content.get(from..).unwrap_or_default());
    Ok(Cleaned { content: out.into(), removed })
}

struct Cutter<'a> {
    content: &'a [u8],
    open: Vec<Group>,
    /// What goes, in order, and what is shown of it.
    cuts: Vec<(Range<usize>, Vec<Range<usize>>)>,
    removed: Vec<String>,
}

impl Cutter<'_> {
    /// Ends the innermost group at `end`; a surplus brace ends nothing.
    fn close(&mut self, end: usize) {
        if self.open.len() < 2 {
            return;
        }
        let Some(group) = self.open.pop() else { return };
        let field = group.instruction.as_deref().map(|text| {
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_matches('"')
                .to_ascii_uppercase()
        });
        let field = field.filter(|word| FIELDS.contains(&word.as_str()));
        let what = group.what.map(str::to_owned).or(field.map(|word| format!("{word} field")));
        let range = group.start..end;
        if let Some(what) = what {
            // What was cut inside goes with it.
            self.cuts.retain(|(cut, _)| cut.start < range.start);
            self.cuts.push((range, group.shown));
            self.removed.push(what);
            return;
        }
        if let Some(text) = group.instruction
            && let Some(outer) = self.open.last_mut().and_then(|outer| outer.instruction.as_mut())
        {
            outer.push_str(&text);
        }
        let holds_cuts = self.cuts.iter().any(|(cut, _)| cut.start >= range.start);
        if let Some(outer) = self.open.last_mut() {
            if group.is_result && !holds_cuts {
                outer.shown.push(range);
            } else if !group.is_result {
                outer.shown.extend(group.shown);
            }
        }
    }

    /// Reads a control word or symbol; tells where it ends.
    fn control(&mut self, at: usize) -> usize {
        let rest = self.content.get(at.saturating_add(1)..).unwrap_or_default();
        let length = rest.iter().take(40).take_while(|octet| octet.is_ascii_alphabetic()).count();
        if length == 0 {
            if let [b'\'', high, low, ..] = rest {
                if let Some(octet) = crate::message::transfer::hex_pair(*high, *low) {
                    self.text(octet);
                }
                return at.saturating_add(4);
            }
            return at.saturating_add(2);
        }
        let word = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned();
        let number = rest.get(length..).unwrap_or_default();
        let is_number = |octet: &&u8| octet.is_ascii_digit() || **octet == b'-';
        let digits = number.iter().take(12).take_while(is_number).count();
        let value = std::str::from_utf8(number.get(..digits).unwrap_or_default()).unwrap_or("");
        let mut end = at.saturating_add(1).saturating_add(length).saturating_add(digits);
        if self.content.get(end) == Some(&b' ') {
            end = end.saturating_add(1);
        }
        if word == "bin" {
            return end.saturating_add(value.parse().unwrap_or(0)).min(self.content.len());
        }
        self.word(&word);
        end
    }

    fn word(&mut self, word: &str) {
        let inside_object = self.open.iter().any(|group| group.what.is_some());
        let Some(group) = self.open.last_mut() else { return };
        match word {
            "result" => group.is_result = true,
            "template" => group.what = Some("remote template"),
            "fldinst" => group.instruction = Some(String::new()),
            _ if OBJECT.contains(&word) && !inside_object => group.what = Some("embedded object"),
            // A group inside an instruction is part of it.
            _ => {}
        }
    }

    fn text(&mut self, octet: u8) {
        if matches!(octet, b'\r' | b'\n' | 0) {
            return;
        }
        let mut groups = self.open.iter_mut().rev().take(8);
        if let Some(text) = groups.find_map(|group| group.instruction.as_mut())
            && text.len() < 1_000
        {
            text.push(char::from(octet));
        }
    }
}
