//! Collects what an extractor finds, within the limits.
//!
//! In: text, links and facts as they are read. Out: [`Piece`]s. Text past
//! [`Limits::max_text_bytes`](crate::limits::Limits) is dropped after one piece that shows that there
//! was more; the first defect is kept for the end, and reading goes on after it.

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

/// Where an extractor puts what it finds.
pub(crate) struct Sink<'a, 'b> {
    /// The message's account.
    pub(crate) budget: &'a mut Budget<'b>,
    out: &'a mut dyn FnMut(Piece),
    room: usize,
    is_full: bool,
    facts: usize,
    problem: Option<UnpackError>,
}

impl<'a, 'b> Sink<'a, 'b> {
    /// A sink for one document.
    pub(crate) fn new(budget: &'a mut Budget<'b>, out: &'a mut dyn FnMut(Piece)) -> Self {
        let room = budget.limits().max_text_bytes;
        Self { budget, out, room, is_full: false, facts: 0, problem: None }
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
            let name = cut(name, MAX_LABEL).to_lowercase();
            (self.out)(Piece::Property { name, value: cut(value, MAX_VALUE).to_owned() });
        }
    }

    /// Something outside.
    pub(crate) fn link(&mut self, kind: LinkKind, target: &str, label: &str) {
        let (target, label) = (target.trim(), label.trim());
        if target.is_empty() || target.starts_with('#') || !self.fact() {
            return;
        }
        let target = cut(target, MAX_TARGET).to_owned();
        let label = if label == target { "" } else { cut(label, MAX_LABEL) };
        (self.out)(Piece::Link(Link { kind, target, label: label.to_owned() }));
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
