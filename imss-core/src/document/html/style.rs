//! What styles hide (CSS 2.2 §11.2, §15.7; CSS Color 4).
//!
//! In: the declarations of a `style` attribute, or a style sheet. Out: a [`Look`], the names of
//! classes and elements that are not shown, and the addresses that are loaded. Only rules outside of
//! media queries count, and only selectors of one class, identifier or both with an element name;
//! what is not understood hides nothing.

use std::collections::HashMap;

use memchr::{memchr, memchr2, memmem};

/// Rules of a page that are kept.
const MAX_RULES: usize = 10_000;
/// Selectors of one rule.
const MAX_SELECTORS: usize = 256;
/// Pixels that nobody reads.
const TINY: f32 = 1.0;

/// What is declared of an element: `None` is not declared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Look {
    /// `display: none`, no height, fully transparent: nothing inside can undo it.
    pub(super) gone: Option<bool>,
    /// `visibility: hidden`.
    pub(super) unseen: Option<bool>,
    /// Letters of no size.
    pub(super) tiny: Option<bool>,
    /// Colour of letters, red green blue.
    pub(super) ink: Option<u32>,
    /// Colour behind them.
    pub(super) paper: Option<u32>,
}

impl Look {
    /// Reads declarations.
    pub(super) fn read(style: &str) -> Self {
        let mut look = Self::default();
        for declaration in Declarations(style) {
            look.declare(declaration.0, declaration.1);
        }
        look
    }

    /// What this declares goes before `other`.
    pub(super) fn over(self, other: Self) -> Self {
        Self {
            gone: self.gone.or(other.gone),
            unseen: self.unseen.or(other.unseen),
            tiny: self.tiny.or(other.tiny),
            ink: self.ink.or(other.ink),
            paper: self.paper.or(other.paper),
        }
    }

    fn declare(&mut self, name: &str, value: &str) {
        let mut lower = [0_u8; 16];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"display" => {
                self.gone = Some(is(value, "none") || self.gone == Some(true) && is(value, ""))
            }
            b"opacity" | b"max-height" if number(value).is_some_and(|size| size <= 0.0) => {
                self.gone = Some(true);
            }
            b"visibility" => {
                self.unseen = Some(is(value, "hidden") || is(value, "collapse"));
            }
            b"font-size" => self.tiny = size(value).map(|size| size <= TINY),
            b"font" => {
                let sizes = value
                    .split([' ', '/'])
                    .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                // Weights are numbers without a unit.
                let mut sizes = sizes.filter(|word| *word == "0" || !word.ends_with('0'));
                self.tiny = sizes.find_map(size).map(|size| size <= TINY).or(self.tiny);
            }
            b"color" => self.ink = color(value),
            b"background-color" | b"bgcolor" => self.paper = color(value),
            b"background" => self.paper = value.split_ascii_whitespace().find_map(color),
            _ => {}
        }
    }
}

/// The style sheets of a page.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// By selector: `.name`, `#name`, or with the element before.
    rules: HashMap<String, Look>,
    /// Rules were left out.
    pub(super) is_cut: bool,
}

impl Sheet {
    /// Adds a style sheet; calls `load` with each address in it.
    pub(super) fn add<'a>(&mut self, css: &'a str, load: &mut dyn FnMut(&'a str)) {
        addresses(css, load);
        let mut rest = css;
        while let Some(open) = memchr2(b'{', b';', rest.as_bytes()) {
            let (selectors, body) = rest.split_at_checked(open).unwrap_or((rest, ""));
            let is_rule = body.starts_with('{');
            let body = body.get(1..).unwrap_or_default();
            if !is_rule {
                // `@import ...;`
                rest = body;
                continue;
            }
            let selectors = without_comments(selectors);
            let (length, after) =
                if selectors.starts_with('@') { block_end(body) } else { rule_end(body) };
            if !selectors.starts_with('@') {
                self.rule(selectors, body.get(..length).unwrap_or_default());
            }
            rest = body.get(after..).unwrap_or_default();
        }
    }

    /// What the rules say of an element.
    pub(super) fn look(&self, element: &str, class: &str, id: &str) -> Look {
        let mut found = Look::default();
        if self.rules.is_empty() || (class.is_empty() && id.is_empty()) {
            return found;
        }
        let mut key = String::new();
        let mut ask = |mark: &str, name: &str| {
            for element in ["", element] {
                key.clear();
                key.extend([element, mark, name]);
                if let Some(look) = self.rules.get(&key) {
                    found = look.over(found);
                }
            }
        };
        class.split_ascii_whitespace().take(32).for_each(|name| ask(".", name));
        if !id.is_empty() {
            ask("#", id);
        }
        found
    }

    fn rule(&mut self, selectors: &str, body: &str) {
        let look = Look::read(body);
        if look == Look::default() {
            return;
        }
        for (place, selector) in selectors.split(',').enumerate() {
            if place >= MAX_SELECTORS {
                self.is_cut = true;
                break;
            }
            let selector = selector.trim();
            let mark = selector.find(['.', '#']);
            let simple = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
            let Some((element, name)) = mark.and_then(|mark| selector.split_at_checked(mark))
            else {
                continue;
            };
            let word = name.get(1..).unwrap_or_default();
            if !word.is_empty() && word.chars().all(simple) && element.chars().all(simple) {
                if self.rules.len() >= MAX_RULES {
                    self.is_cut = true;
                    break;
                }
                let known = self.rules.entry(selector.to_owned()).or_default();
                *known = look.over(*known);
            }
        }
    }
}

/// Calls `load` with each address in a style: `url(...)` and `@import "..."`.
pub(super) fn addresses<'a>(css: &'a str, load: &mut dyn FnMut(&'a str)) {
    let mut rest = css;
    while let Some(at) = memchr(b'(', rest.as_bytes()) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        rest = after.get(1..).unwrap_or_default();
        let is_url = before.len().checked_sub(3).and_then(|start| before.get(start..));
        if is_url.is_some_and(|word| word.eq_ignore_ascii_case("url")) {
            let inner = rest.trim_start();
            let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''));
            let start = inner.get(usize::from(quote.is_some())..).unwrap_or_default();
            let end = start.find(quote.unwrap_or(')')).unwrap_or(start.len());
            let (address, tail) = start.split_at_checked(end).unwrap_or((start, ""));
            load(address.trim());
            rest = tail;
        }
    }
    let mut rest = css;
    while let Some(at) = memmem::find(rest.as_bytes(), b"@import") {
        rest = rest.get(at.saturating_add(7)..).unwrap_or_default();
        let inner = rest.trim_start();
        if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let address = inner.get(1..).unwrap_or_default();
            load(address.split([quote, '\n']).next().unwrap_or_default());
        }
    }
}

/// `name: value` pairs.
struct Declarations<'a>(&'a str);

impl<'a> Iterator for Declarations<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let end = memchr(b';', self.0.as_bytes()).unwrap_or(self.0.len());
            let (one, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
            self.0 = rest.get(1..).unwrap_or_default();
            if let Some(colon) = memchr(b':', one.as_bytes()) {
                let (name, value) = one.split_at_checked(colon).unwrap_or((one, ""));
                return Some((
                    without_comments(name),
                    value.get(1..).unwrap_or_default().trim_ascii(),
                ));
            }
        }
        None
    }
}

/// The text after comments and the marks around style sheets in old pages.
fn without_comments(text: &str) -> &str {
    let mut text = text.trim_ascii();
    loop {
        let rest = if let Some(comment) = text.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else if let Some(rest) = text.strip_prefix("<!--").or_else(|| text.strip_prefix("-->")) {
            rest
        } else {
            return text;
        };
        text = rest.trim_ascii();
    }
}

/// Where the declarations of a rule end and the next rule starts.
fn rule_end(body: &str) -> (usize, usize) {
    let end = memchr(b'}', body.as_bytes()).unwrap_or(body.len());
    (end, end.saturating_add(1))
}

/// The same for a block with rules inside.
fn block_end(body: &str) -> (usize, usize) {
    let (mut depth, mut at) = (1_usize, 0_usize);
    while let Some(found) = memchr2(b'{', b'}', body.as_bytes().get(at..).unwrap_or_default()) {
        let here = at.saturating_add(found);
        let opens = body.as_bytes().get(here) == Some(&b'{');
        depth = if opens { depth.saturating_add(1) } else { depth.saturating_sub(1) };
        at = here.saturating_add(1);
        if depth == 0 {
            return (here, at);
        }
    }
    (body.len(), body.len())
}

/// Whether a value is `word`, with or without `!important`.
fn is(value: &str, word: &str) -> bool {
    value.split('!').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(word)
}

/// The number at the start of a value.
fn number(value: &str) -> Option<f32> {
    let length = value.bytes().take_while(|octet| octet.is_ascii_digit() || *octet == b'.').count();
    value.get(..length)?.parse().ok()
}

/// A font size in pixels, as far as it matters.
fn size(value: &str) -> Option<f32> {
    let number = number(value)?;
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let unit = value.trim_start_matches(digits).get(..2).unwrap_or_default();
    Some(match unit {
        "em" | "re" | "ex" | "vw" | "vh" => number * 16.0,
        "pt" => number * 4.0 / 3.0,
        _ if value.trim_start_matches(digits).starts_with('%') => number * 0.16,
        _ => number,
    })
}

/// A colour as red, green and blue.
pub(super) fn color(value: &str) -> Option<u32> {
    let value = value.split('!').next()?.trim_ascii();
    if let Some(digits) = value.strip_prefix('#') {
        let code = u32::from_str_radix(digits, 16).ok()?;
        return match digits.len() {
            3 => Some((code & 0xf00) * 0x1100 + (code & 0xf0) * 0x110 + (code & 0xf) * 0x11),
            6 => Some(code),
            _ => None,
        };
    }
    if let Some(inner) = value.strip_prefix("rgb(") {
        let mut parts =
            inner.trim_end_matches(')').split(',').map(|part| part.trim().parse::<u8>().ok());
        let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
        return Some(u32::from_be_bytes([0, red, green, blue]));
    }
    match value.to_ascii_lowercase().as_str() {
        "white" => Some(0xff_ffff),
        "black" => Some(0),
        "red" => Some(0xff_0000),
        "yellow" => Some(0xff_ff00),
        "blue" => Some(0xff),
        "gray" | "grey" => Some(0x80_8080),
        "silver" => Some(0xc0_c0c0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets() {
        let css = "<!-- /* note */ .a, p.b { display:none } #c{font-size:0px;color:#fff}
            @import 'x.css'; @media (max-width:600px){ .d{display:none!important} .e{} }
            .f .g {display:none} .h{background:url( \"y.png\" )} -->";
        let mut loaded = Vec::new();
        let mut sheet = Sheet::default();
        sheet.add(css, &mut |address| loaded.push(address));
        assert_eq!(loaded, ["y.png", "x.css"]);
        let cases = [
            ("class", ("div", "x a", ""), true),
            ("element and class", ("p", "b", ""), true),
            ("another element", ("div", "b", ""), false),
            ("only on small screens", ("div", "d", ""), false),
            ("a longer path", ("div", "g", ""), false),
        ];
        for (name, (element, class, id), gone) in cases {
            assert_eq!(sheet.look(element, class, id).gone == Some(true), gone, "{name}");
        }
        assert_eq!(sheet.look("td", "", "c").tiny, Some(true));
    }

    #[test]
    fn colors() {
        let cases = [
            ("#fff", Some(0xff_ffff)),
            ("#1a2B3c", Some(0x1a_2b3c)),
            ("#123", Some(0x11_2233)),
            ("rgb(255, 255, 255)", Some(0xff_ffff)),
            ("White !important", Some(0xff_ffff)),
            ("inherit", None),
            ("rgb(1,2)", None),
        ];
        for (value, expected) in cases {
            assert_eq!(color(value), expected, "{value}");
        }
    }
}
