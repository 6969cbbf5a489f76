//! Splits a page into tags and text (HTML §13.2.5).
//!
//! In: a page as text. Out: [`Token`]s, and for elements without markup inside their content as it
//! stands. Follows the states of the standard where readers could be led to see something else:
//! bogus comments, attributes without quotes, repeated attributes, comments in scripts.
//!
//! What is not closed goes to the end, as in browsers. Conditional comments of Outlook are read as
//! if they were none, since it shows what is inside. Work is linear.

use memchr::{memchr, memchr2, memmem};

/// A piece of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text with its references.
    Text(&'a str),
    /// Text without references (CDATA).
    Literal(&'a str),
    /// A start tag; its attributes are [`Tokens::attributes`].
    Start { name: &'a str, closed: bool },
    /// An end tag.
    End(&'a str),
    /// A comment, a declaration, or what browsers take for one.
    Comment,
}

/// An attribute as written: name, value.
pub(super) type Attribute<'a> = (&'a str, &'a str);

/// Attributes of one tag that are looked at.
const MAX_ATTRIBUTES: usize = 1_000;

/// A page being read.
pub(super) struct Tokens<'a> {
    page: &'a str,
    at: usize,
    end: usize,
    /// Where reading goes on after a conditional comment.
    resume: Option<usize>,
    attributes: Vec<Attribute<'a>>,
    /// Attributes were left out.
    pub(super) is_cut: bool,
    /// Whether CDATA sections exist here: in XML and in pictures.
    pub(super) foreign: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(page: &'a str) -> Self {
        let end = page.len();
        let attributes = Vec::new();
        Self { page, at: 0, end, resume: None, attributes, is_cut: false, foreign: false }
    }

    /// The attributes of the last start tag.
    pub(super) fn attributes(&self) -> &[Attribute<'a>] {
        &self.attributes
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        if self.at >= self.end {
            self.at = self.resume.take()?;
            self.end = self.page.len();
            return Some(Token::Comment);
        }
        let rest = self.rest();
        let mut from = 0_usize;
        while let Some(found) = memchr(b'<', rest.as_bytes().get(from..).unwrap_or_default()) {
            let start = from.saturating_add(found);
            let next = rest.as_bytes().get(start.saturating_add(1));
            if next.is_some_and(|octet| octet.is_ascii_alphabetic() || b"/!?".contains(octet)) {
                if start == 0 {
                    return Some(self.markup(rest));
                }
                self.skip(start);
                return Some(Token::Text(rest.get(..start).unwrap_or_default()));
            }
            from = start.saturating_add(1);
        }
        self.at = self.end;
        Some(Token::Text(rest))
    }

    /// The content of an element that has no markup inside, up to its end tag.
    pub(super) fn raw(&mut self, name: &str) -> &'a str {
        let rest = self.rest();
        let length = find_end(rest, name).unwrap_or(rest.len());
        self.skip(length);
        rest.get(..length).unwrap_or_default()
    }

    /// The content of a script (HTML §13.2.5.15 to .31): `</script` does not end it inside
    /// `<!-- <script`.
    pub(super) fn script(&mut self) -> &'a str {
        let rest = self.rest();
        let length = script_end(rest).unwrap_or(rest.len());
        self.skip(length);
        rest.get(..length).unwrap_or_default()
    }

    /// All that is left.
    pub(super) fn remainder(&mut self) -> &'a str {
        let rest = self.rest();
        self.at = self.end;
        rest
    }

    fn rest(&self) -> &'a str {
        self.page.get(self.at..self.end).unwrap_or_default()
    }

    fn skip(&mut self, length: usize) {
        self.at = self.at.saturating_add(length).min(self.end);
    }

    /// `rest` starts with `<` and a letter, `/`, `!` or `?`.
    fn markup(&mut self, rest: &'a str) -> Token<'a> {
        let body = rest.get(1..).unwrap_or_default();
        if let Some(comment) = body.strip_prefix("!--") {
            return self.comment(comment);
        }
        if self.foreign
            && let Some(text) = body.strip_prefix("![CDATA[")
        {
            let length = memmem::find(text.as_bytes(), b"]]>");
            self.skip(length.map_or(rest.len(), |length| length.saturating_add(12)));
            return Token::Literal(text.get(..length.unwrap_or(text.len())).unwrap_or_default());
        }
        let closing = body.starts_with('/');
        let named = body.strip_prefix('/').unwrap_or(body);
        if !named.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.declaration(rest, body);
        }
        let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'/' | b'>');
        let length = named.bytes().position(|octet| ends(&octet)).unwrap_or(named.len());
        let name = named.get(..length).unwrap_or_default();
        self.skip(1_usize.saturating_add(usize::from(closing)).saturating_add(length));
        match self.attribute_list() {
            Some(_) if closing => Token::End(name),
            Some(closed) => Token::Start { name, closed },
            None => Token::Comment,
        }
    }

    /// `text` follows `<!--`.
    fn comment(&mut self, text: &'a str) -> Token<'a> {
        self.skip(4);
        if text.starts_with('>') || text.starts_with("->") {
            self.skip(if text.starts_with('>') { 1 } else { 2 });
            return Token::Comment;
        }
        let (length, close) = comment_end(text);
        let is_conditional = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("[if"));
        if is_conditional
            && self.resume.is_none()
            && let Some(open) = memchr(b'>', text.as_bytes().get(..length).unwrap_or_default())
        {
            self.resume = Some(self.at.saturating_add(length).saturating_add(close));
            self.end = self.at.saturating_add(length);
            self.skip(open.saturating_add(1));
            return Token::Comment;
        }
        self.skip(length.saturating_add(close));
        Token::Comment
    }

    /// A document type or another declaration, or a bogus comment.
    fn declaration(&mut self, rest: &str, body: &str) -> Token<'a> {
        let end = memchr(b'>', rest.as_bytes()).unwrap_or(rest.len());
        // Only XML has declarations inside.
        let inside = memchr(b'[', rest.as_bytes().get(..end).unwrap_or_default());
        let is_type = body.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("!doctype"));
        let end = if is_type && self.foreign && inside.is_some() {
            memmem::find(rest.as_bytes(), b"]>").map_or(end, |at| at.saturating_add(1))
        } else {
            end
        };
        self.skip(end.saturating_add(1));
        Token::Comment
    }

    /// Reads attributes to the end of the tag; whether it closes itself. `None` if it has no end,
    /// and is dropped.
    fn attribute_list(&mut self) -> Option<bool> {
        self.attributes.clear();
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut at = 0_usize;
        loop {
            at = skip_while(bytes, at, |octet| octet.is_ascii_whitespace() || octet == b'/');
            let Some(first) = bytes.get(at) else {
                self.at = self.end;
                return None;
            };
            if *first == b'>' {
                self.skip(at.saturating_add(1));
                return Some(at.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'/'));
            }
            let ends = |octet: u8| octet.is_ascii_whitespace() || b"/>=".contains(&octet);
            // A `=` at the start belongs to the name.
            let name_end = skip_while(bytes, at.saturating_add(1), |octet| !ends(octet));
            let name = rest.get(at..name_end).unwrap_or_default();
            at = skip_while(bytes, name_end, |octet| octet.is_ascii_whitespace());
            let mut value = "";
            if bytes.get(at) == Some(&b'=') {
                at = skip_while(bytes, at.saturating_add(1), |octet| octet.is_ascii_whitespace());
                let (start, end, next) = value_range(bytes, at)?;
                value = rest.get(start..end).unwrap_or_default();
                at = next;
            }
            if self.attributes.len() < MAX_ATTRIBUTES {
                self.attributes.push((name, value));
            } else {
                self.is_cut = true;
            }
        }
    }
}

/// Where the value at `at` starts and ends, and where reading goes on. A quote without an end
/// takes all.
fn value_range(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let rest = bytes.get(at..)?;
    match rest.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let start = at.saturating_add(1);
            let length = memchr(*quote, rest.get(1..)?);
            let end = length.map_or(bytes.len(), |length| start.saturating_add(length));
            Some((start, end, end.saturating_add(1).min(bytes.len())))
        }
        _ => {
            let end = skip_while(bytes, at, |octet| !octet.is_ascii_whitespace() && octet != b'>');
            Some((at, end, end))
        }
    }
}

fn skip_while(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let length = rest.iter().position(|octet| !wanted(*octet)).unwrap_or(rest.len());
    from.saturating_add(length)
}

/// How long a comment is and its closing mark.
fn comment_end(text: &str) -> (usize, usize) {
    let bytes = text.as_bytes();
    let mut at = 0_usize;
    while let Some(found) = memmem::find(bytes.get(at..).unwrap_or_default(), b"--") {
        at = at.saturating_add(found);
        match bytes.get(at.saturating_add(2)..).unwrap_or_default() {
            [b'>', ..] => return (at, 3),
            [b'!', b'>', ..] => return (at, 4),
            _ => at = at.saturating_add(1),
        }
    }
    (text.len(), 0)
}

/// Where `</name` stands.
fn find_end(text: &str, name: &str) -> Option<usize> {
    let finder = memmem::Finder::new(b"</");
    let mut at = 0_usize;
    loop {
        at = at.checked_add(finder.find(text.as_bytes().get(at..)?)?)?;
        if is_name(text, at.checked_add(2)?, name) {
            return Some(at);
        }
        at = at.checked_add(2)?;
    }
}

fn script_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut escaped, mut double) = (false, false);
    let mut at = 0_usize;
    loop {
        at = at.checked_add(memchr2(b'<', b'-', bytes.get(at..)?)?)?;
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"-->") {
            (escaped, double) = (false, false);
        } else if rest.starts_with(b"<!--") {
            escaped = true;
            // `<!-->` is open and closed.
            at = at.checked_add(1)?;
        } else if escaped && !double && is_name(text, at.checked_add(1)?, "script") {
            double = rest.first() == Some(&b'<');
        } else if rest.starts_with(b"</") && is_name(text, at.checked_add(2)?, "script") {
            if !double {
                return Some(at);
            }
            double = false;
        }
        at = at.checked_add(1)?;
    }
}

/// Whether the tag name at `at` is `name`.
fn is_name(text: &str, at: usize, name: &str) -> bool {
    let bytes = text.as_bytes();
    let end = at.saturating_add(name.len());
    let found = bytes.get(at..end).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let next = bytes.get(end);
    found && next.is_none_or(|octet| octet.is_ascii_whitespace() || matches!(octet, b'/' | b'>'))
}
