//! The elements that are open while a page is read, outermost first.
//!
//! In: tags in order. Out: how the text inside looks, and which elements a tag ends. What is nested
//! deeper than a bound looks like the last element kept; a tag ends no element that is too far out.

use super::element::Element;

/// Open elements that are kept; those further inside look like the last one. No text is lost there:
/// at worst it counts as shown where it is hidden, or the other way round.
const MAX_OPEN: usize = 2_048;
/// Open elements that a tag is looked for in.
const MAX_LOOKED_AT: usize = 256;

/// How text is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) gone: bool,
    pub(super) unseen: bool,
    pub(super) tiny: bool,
    /// Letters in the colour of what is behind them.
    pub(super) blended: bool,
    pub(super) reading: bool,
    pub(super) dropped: bool,
}

impl State {
    pub(super) fn is_hidden(self) -> bool {
        self.gone || self.unseen || self.tiny || self.blended
    }
}

/// An element that is not closed yet.
#[derive(Debug, Clone, Copy)]
struct Open<'a> {
    name: &'a str,
    element: Element,
    state: State,
}

/// The open elements.
#[derive(Debug, Default)]
pub(super) struct Stack<'a> {
    open: Vec<Open<'a>>,
    /// Their names, shortened to what is compared at once: a page may hold a million end tags that
    /// end nothing.
    keys: Vec<u64>,
    /// How many of them are pictures.
    pictures: usize,
    /// Names compared in vain since that was last asked.
    misses: usize,
}

impl<'a> Stack<'a> {
    /// Opens an element, unless too many are open.
    pub(super) fn push(&mut self, name: &'a str, element: Element, state: State) {
        if self.open.len() < MAX_OPEN {
            self.open.push(Open { name, element, state });
            self.keys.push(key(name));
            self.pictures = self.pictures.saturating_add(usize::from(element == Element::Svg));
        }
    }

    /// Ends the innermost element with that name.
    pub(super) fn end(&mut self, name: &str) {
        let wanted = key(name);
        let first = self.keys.len().saturating_sub(MAX_LOOKED_AT);
        let near = self.keys.get(first..).unwrap_or_default();
        if !near.contains(&wanted) {
            return;
        }
        let is_it = |open: &Open<'_>| open.name.eq_ignore_ascii_case(name);
        match self.open.get(first..).unwrap_or_default().iter().rposition(is_it) {
            Some(place) => self.close(first.saturating_add(place)),
            None => self.misses = self.misses.saturating_add(MAX_LOOKED_AT),
        }
    }

    /// Ends elements that a browser ends when another starts.
    pub(super) fn end_implied(&mut self, next: Element) {
        if !next.may_end() {
            return;
        }
        let mut place = None;
        for (index, open) in self.open.iter().enumerate().rev().take(MAX_LOOKED_AT) {
            let in_table = matches!(open.element, Element::Cell | Element::Row);
            if next.ends(open.element) {
                place = Some(index);
                if !in_table {
                    break;
                }
            } else if open.element == Element::Table
                || open.element.is_scope() && !matches!(next, Element::Cell | Element::Row)
            {
                break;
            }
            self.misses = self.misses.saturating_add(1);
        }
        if let Some(place) = place {
            self.close(place);
        }
    }

    /// Comparisons since this was last asked.
    pub(super) fn take_misses(&mut self) -> usize {
        std::mem::take(&mut self.misses)
    }

    /// How text looks here.
    pub(super) fn state(&self) -> State {
        self.open.last().map_or_else(State::default, |open| open.state)
    }

    /// Whether a picture is open.
    pub(super) fn in_picture(&self) -> bool {
        self.pictures > 0
    }

    fn close(&mut self, keep: usize) {
        let ended = self.open.get(keep..).unwrap_or_default();
        let pictures = ended.iter().filter(|open| open.element == Element::Svg).count();
        self.pictures = self.pictures.saturating_sub(pictures);
        self.open.truncate(keep);
        self.keys.truncate(keep);
    }
}

/// The length of a name and its first octets, in lower case: equal for equal names.
fn key(name: &str) -> u64 {
    let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
    name.bytes()
        .take(7)
        .fold(length, |key, octet| key.wrapping_shl(8) | u64::from(octet.to_ascii_lowercase()))
}
