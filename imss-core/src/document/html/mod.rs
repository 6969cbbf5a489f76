//! HTML, XHTML and SVG pages, and the scripts in markup of Windows (`.hta`, `.wsf`, `.sct`).
//!
//! In: a page as text. Out: what a reader sees and what is hidden from him, addresses with their
//! labels, forms, scripts as code, what `data:` addresses and scripts carry as files, and facts about
//! what acts. Follows the HTML standard (§13.2) in one pass without a tree.
//!
//! Any input gives text; what is not closed goes to the end, as in browsers. Work is linear, and
//! output stops at a bound.

mod address;
mod element;
mod open;
mod page;
mod reader;
mod references;
mod report;
mod style;
mod token;
mod writer;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use memchr::memmem;

use self::reader::{Reader, Syntax};
use super::sink::Sink;
use super::{Extractor, Piece, TextKind};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::{Budget, Limit};

/// Pages inside pages (`srcdoc`) that are read, and how deep.
const MAX_PAGES: usize = 100;
const MAX_DEPTH: usize = 4;
/// Tags between two charges.
const STRIDE: usize = 1_024;
/// What a tag costs besides its octets.
const STEPS: usize = 16;

/// Reads pages.
pub(super) struct Html;

impl Extractor for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn recognises(&self, _content: &[u8], detected: &FileType, _members: &[Member]) -> bool {
        matches!(detected.extension, "html" | "xhtml" | "svg" | "hta" | "wsf" | "sct")
    }

    fn reads_text(&self) -> bool {
        true
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let text: Bytes = match simdutf8::basic::from_utf8(source.content) {
            Ok(_) => source.content.clone(),
            Err(_) => String::from_utf8_lossy(source.content).into_owned().into(),
        };
        let is_xml = matches!(source.detected.extension, "xhtml" | "svg" | "wsf" | "sct");
        let syntax = if is_xml { Syntax::Xml } else { Syntax::Html };
        // The text of script files is their source.
        let shows = !matches!(source.detected.extension, "wsf" | "sct");
        let mut sink = Sink::new(budget, out);
        let mut inner = read(&text, syntax, shows, &mut sink)?;
        let mut pages = 0_usize;
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for page in inner {
                pages = pages.saturating_add(1);
                if pages > MAX_PAGES {
                    return Err(UnpackError::Limit(Limit::Layers));
                }
                next.extend(read(&page.into(), Syntax::Html, true, &mut sink)?);
            }
            inner = next;
        }
        if !inner.is_empty() {
            return Err(UnpackError::Limit(Limit::Layers));
        }
        sink.finish()
    }
}

/// Reads one page in UTF-8 and hands over what it holds, but for the pages inside.
fn read(
    octets: &Bytes,
    syntax: Syntax,
    shows: bool,
    sink: &mut Sink<'_, '_>,
) -> Result<Vec<String>, Limit> {
    let text = simdutf8::basic::from_utf8(octets).unwrap_or_default();
    sink.budget.charge_work(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    // One octet more than is kept shows that there was more.
    let max = sink.budget.limits().max_text_bytes.saturating_add(8);
    let mut reader = Reader::new(text, syntax, if shows { max } else { 0 });
    let mut steps = 0_usize;
    while reader.step() {
        steps = steps.saturating_add(1);
        if steps.is_multiple_of(STRIDE) {
            let work = STRIDE.saturating_mul(STEPS).saturating_add(reader.take_work());
            sink.budget.charge_work(u64::try_from(work).unwrap_or(u64::MAX))?;
        }
    }
    report::report(reader.finish(), octets, shows, sink)
}

/// The text of `page`, hidden text after what is shown, and whether it was cut at `max_bytes`.
///
/// # Examples
///
/// ```
/// # use imss_core::document::html::to_text;
/// let (text, cut) = to_text("<p>Fish &amp; <b>chips</b></p><script>no()</script>", 1000);
/// assert_eq!((text.trim(), cut), ("Fish & chips", false));
/// ```
#[must_use]
pub fn to_text(page: &str, max_bytes: usize) -> (String, bool) {
    let mut reader = Reader::new(page, Syntax::Html, max_bytes);
    while reader.step() {}
    let [(_, mut text, mut cut), others @ ..] = reader.finish().texts;
    for (kind, other, other_cut) in others {
        if kind == TextKind::Hidden && !other.is_empty() {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&other);
        }
        cut |= other_cut;
    }
    cut |= text.len() > max_bytes;
    text.truncate(text.floor_char_boundary(max_bytes));
    (text, cut)
}

/// The charset that a page declares for itself in its first kilobyte.
pub(crate) fn declared_charset(page: &[u8]) -> Option<String> {
    let head = page.get(..page.len().min(2048)).unwrap_or_default().to_ascii_lowercase();
    let at = memmem::find(&head, b"<meta").and_then(|meta| {
        meta.checked_add(memmem::find(head.get(meta..)?, b"charset")?)?.checked_add(7)
    })?;
    let rest = head.get(at..)?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let usable = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte);
    let length = rest.iter().take(64).take_while(|byte| usable(byte)).count();
    let name = rest.get(..length).filter(|name| !name.is_empty())?;
    Some(crate::charset::latin1(name))
}
