//! Collects what an extractor finds, within the limits.
//!
//! In: text, links and facts as they are read. Out: [`Piece`]s. Text past
//! [`Limits::max_text_bytes`](crate::limits::Limits) is dropped after one piece that shows that there
//! was more; the first defect is kept for the end, and reading goes on after it. The octets of properties
//! and links count too: some file formats can name one long value ten thousand times ([`Values`]).

use bytes::Bytes;

use super::{Active, ActiveKind, Link, LinkKind, Piece, TextKind};
use crate::archive::{Member, UnpackError};
use crate::limits::{Budget, Limit};

/// Octets of a link's target. Its start says where it leads.
const MAX_TARGET: usize = 4 << 10;
/// Octets of a link's label.
const MAX_LABEL: usize = 1 << 10;
/// Octets of a property's value.
const MAX_VALUE: usize = 64 << 10;
/// Links, properties and facts of one document, each.
const MAX_FACTS: usize = 10_000;
/// Octets of the properties and links of one document.
const MAX_VALUES: usize = 16 << 20;

/// The octets of a document's properties and links.
#[derive(Debug, Default)]
pub(crate) struct Values {
    octets: usize,
    is_full: bool,
}

impl Values {
    /// Whether one more value of `octets` fits; charges the message with it. Once one does not, none does.
    pub(crate) fn fits(&mut self, octets: usize, budget: &mut Budget<'_>) -> Result<bool, Limit> {
        let sum = self.octets.saturating_add(octets);
        if self.is_full || sum > MAX_VALUES {
            self.is_full = true;
            budget.left_out("properties and links past 16 MiB");
            return Ok(false);
        }
        let charged = budget.charge_bytes(u64::try_from(octets).unwrap_or(u64::MAX));
        self.is_full = charged.is_err();
        self.octets = sum;
        charged.map(|()| true)
    }

    /// Whether a value did not fit.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }
}

/// Where an extractor puts what it finds.
pub(crate) struct Sink<'a, 'b> {
    /// The message's account.
    pub(crate) budget: &'a mut Budget<'b>,
    out: &'a mut dyn FnMut(Piece),
    room: usize,
    is_full: bool,
    facts: usize,
    values: Values,
    problem: Option<UnpackError>,
}

impl<'a, 'b> Sink<'a, 'b> {
    /// A sink for one document.
    pub(crate) fn new(budget: &'a mut Budget<'b>, out: &'a mut dyn FnMut(Piece)) -> Self {
        let room = budget.limits().max_text_bytes;
        Self {
            budget,
            out,
            room,
            is_full: false,
            facts: 0,
            values: Values::default(),
            problem: None,
        }
    }

    /// Whether more text would only be dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// A line of text.
    pub(crate) fn text(&mut self, kind: TextKind, text: &str) {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.is_empty() || self.is_full {
            return;
        }
        if text.len() > self.room {
            self.is_full = true;
            let end = text.floor_char_boundary(self.room.saturating_add(8));
            let cut = text.get(..end).unwrap_or_default();
            return (self.out)(Piece::Text { kind, text: cut.to_owned() });
        }
        self.room = self.room.saturating_sub(text.len());
        (self.out)(Piece::Text { kind, text: text.to_owned() });
    }

    /// A property; empty values are left out.
    pub(crate) fn property(&mut self, name: &str, value: &str) {
        let value = value.trim();
        if !value.is_empty() && self.fact() {
            if value.len() > MAX_VALUE {
                self.budget.left_out("the end of a property past 64 KiB");
            }
            let (name, value) = (cut(name, MAX_LABEL), cut(value, MAX_VALUE));
            if self.values_fit(name.len().saturating_add(value.len())) {
                let (name, value) = (name.to_lowercase(), value.to_owned());
                (self.out)(Piece::Property { name, value });
            }
        }
    }

    /// Something outside.
    pub(crate) fn link(&mut self, kind: LinkKind, target: &str, label: &str) {
        let (target, label) = (target.trim(), label.trim());
        if target.is_empty() || target.starts_with('#') || !self.fact() {
            return;
        }
        let target = cut(target, MAX_TARGET);
        let label = if label == target { "" } else { cut(label, MAX_LABEL) };
        if self.values_fit(target.len().saturating_add(label.len())) {
            let (target, label) = (target.to_owned(), label.to_owned());
            (self.out)(Piece::Link(Link { kind, target, label }));
        }
    }

    /// Something that acts.
    pub(crate) fn active(&mut self, kind: ActiveKind, detail: &str) {
        if self.fact() {
            let detail = detail.split_whitespace().take(200).collect::<Vec<_>>().join(" ");
            (self.out)(Piece::Active(Active::new(kind, detail)));
        }
    }

    /// Content that is loaded when the document is opened.
    pub(crate) fn remote(&mut self, kind: ActiveKind, what: &str, target: &str) {
        self.link(LinkKind::Load, target, "");
        self.active(kind, &format!("{what} {target}"));
    }

    /// A file inside.
    pub(crate) fn embedded(&mut self, name: &str, content: Bytes) -> Result<(), Limit> {
        let member = self.member(name, content)?;
        (self.out)(Piece::Embedded(member));
        Ok(())
    }

    /// Something inside that cannot be read, as an entity of its own.
    pub(crate) fn missing(&mut self, member: Member) -> Result<(), Limit> {
        self.budget.charge_entity()?;
        (self.out)(Piece::Embedded(member));
        Ok(())
    }

    /// Code inside.
    pub(crate) fn code(&mut self, name: &str, text: impl Into<Bytes>) -> Result<(), Limit> {
        let member = self.member(name, text.into())?;
        (self.out)(Piece::Code(member));
        Ok(())
    }

    /// Keeps the first defect; limits that end everything are handed back.
    pub(crate) fn note(&mut self, result: Result<(), UnpackError>) -> Result<(), Limit> {
        match result {
            Err(UnpackError::Limit(limit)) => return Err(limit),
            Err(error) => {
                self.problem.get_or_insert(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Says that something was passed over because of a bound, and that reading went on.
    pub(crate) fn left_out(&mut self, limit: Limit) {
        self.problem.get_or_insert(UnpackError::Limit(limit));
    }

    /// The first defect.
    pub(crate) fn finish(self) -> Result<(), UnpackError> {
        self.problem.map_or(Ok(()), Err)
    }

    fn fact(&mut self) -> bool {
        self.facts = self.facts.saturating_add(1);
        let fits = self.facts <= MAX_FACTS;
        if !fits {
            self.budget.left_out("links, properties and facts past 10,000");
        }
        fits
    }

    fn values_fit(&mut self, octets: usize) -> bool {
        match self.values.fits(octets, self.budget) {
            Ok(fits) => fits,
            Err(limit) => {
                self.left_out(limit);
                false
            }
        }
    }

    fn member(&mut self, name: &str, content: Bytes) -> Result<Member, Limit> {
        self.budget.charge_entity()?;
        let claimed_size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.budget.charge_bytes(claimed_size)?;
        let names =
            if name.is_empty() { Vec::new() } else { vec![cut(name, MAX_LABEL).to_owned()] };
        Ok(Member { names, claimed_size, content, missing: None })
    }
}

/// At most `max` octets of `text`.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// Base64 → octets, whatever stands between them; `None` if that is not base64.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    decoded(text, |octet| octet)
}

/// The same, with `-` and `_` for the last two letters (RFC 4648 §5), or with `+` and `/`.
pub(crate) fn base64_url(text: &str) -> Option<Vec<u8>> {
    decoded(text, |octet| match octet {
        b'-' => b'+',
        b'_' => b'/',
        octet => octet,
    })
}

/// Decodes where the letters are put, since they may be most of a large message.
fn decoded(text: &str, letter: impl Fn(u8) -> u8) -> Option<Vec<u8>> {
    let mut clean = Vec::with_capacity(text.len());
    let letters = text.bytes().map(letter);
    clean.extend(letters.filter(|octet| octet.is_ascii_alphanumeric() || b"+/".contains(octet)));
    // One sign too many cannot be part of an octet.
    clean.truncate(clean.len().saturating_sub(usize::from(clean.len() % 4 == 1)));
    let length = base64_simd::forgiving_decode_inplace(&mut clean).ok()?.len();
    clean.truncate(length);
    clean.shrink_to_fit();
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn properties_and_links_are_bounded_together() {
        let limits = Limits::default();
        let value = "v".repeat(MAX_VALUE);
        let mut budget = Budget::new(&limits);
        let before = budget.bytes_left();
        let mut octets = 0_usize;
        let mut out = |piece| match piece {
            Piece::Property { name, value } => octets += name.len() + value.len(),
            Piece::Link(link) => octets += link.target.len() + link.label.len(),
            _ => {}
        };
        let mut sink = Sink::new(&mut budget, &mut out);
        for _ in 0..4_000 {
            sink.property("name", &value);
            sink.link(LinkKind::Click, &value, "label");
        }
        assert_eq!(sink.finish(), Ok(()));
        assert!(octets <= MAX_VALUES && octets > MAX_VALUES - 2 * MAX_VALUE, "{octets}");
        assert_eq!(before - budget.bytes_left(), octets as u64);
        assert_eq!(budget.take_left_out(), ["properties and links past 16 MiB"]);
    }

    #[test]
    fn values_count_in_the_message() {
        let limits = Limits { max_total_bytes: 100, ..Limits::small() };
        let mut budget = Budget::new(&limits);
        let mut out = |_| {};
        let mut sink = Sink::new(&mut budget, &mut out);
        sink.property("name", &"v".repeat(97));
        assert_eq!(sink.finish(), Err(UnpackError::Limit(Limit::TotalBytes)));
    }
}
