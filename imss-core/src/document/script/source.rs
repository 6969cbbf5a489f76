//! What the source text of a script says without running it.
//!
//! In: JavaScript, VBScript or a command line. Out: the source with its plain strings put together
//! and decoded, where it goes, whether it builds a file, and the content it carries.
//!
//! Only what stands there as literals is found; the rest is for those who judge the text. Work is
//! linear in its length.

use memchr::{memchr, memmem};

use crate::document::sink;

/// Encoded octets in a row that are content.
pub(crate) const MIN_CONTENT: usize = 128;
/// Calls with a literal that are replaced by their value.
const MAX_CALLS: usize = 1_000;
/// Places where a script may send the window.
const MAX_PLACES: usize = 10_000;
/// Octets of where a script goes.
const MAX_TARGET: usize = 2 << 10;
/// Octets of a literal that is decoded in place. Longer base64 is content of its own (see [`contents`]),
/// and any other literal that long is what [`Plain::is_cut`] tells.
const MAX_LITERAL: usize = 256 << 10;

/// A source made readable.
#[derive(Debug)]
pub(crate) struct Plain {
    /// It.
    pub(crate) text: String,
    /// Whether calls were replaced by what they give.
    pub(crate) decodes: bool,
    /// Whether there were more such calls than are replaced, or longer literals.
    pub(crate) is_cut: bool,
}

/// The source with escapes undone (`\x41`, `\u0041`), concatenations joined (`'a' + 'b'`) and
/// literal calls of `atob`, `unescape`, `decodeURIComponent` and `String.fromCharCode` replaced by
/// what they give.
pub(crate) fn plain(source: &str) -> Plain {
    let joined = joined(source);
    let mut out = String::with_capacity(joined.len());
    let mut rest = joined.as_str();
    let (mut calls, mut tried, mut is_cut, mut is_long) = (0_usize, 0_usize, false, false);
    while let Some(at) = memchr(b'(', rest.as_bytes()) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let name = if is_cut { None } else { decoder(before) };
        let name = name.filter(|_| {
            tried = tried.saturating_add(1);
            is_cut = tried > MAX_CALLS;
            !is_cut
        });
        match name.and_then(|name| value(name, after)) {
            Some((name, text, length)) => {
                calls = calls.saturating_add(1);
                out.truncate(out.len().saturating_sub(name));
                out.extend(["'", &text, "'"]);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                is_long |= name.is_some_and(|name| is_long_literal(name, after));
                out.push('(');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    let is_cut = is_cut || is_long;
    Plain { text: out, decodes: calls > 0, is_cut }
}

/// The name of a function that decodes, at the end of `before`.
fn decoder(before: &str) -> Option<&str> {
    let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_');
    let length = before.bytes().rev().take(40).take_while(is_part).count();
    let name = before.get(before.len().saturating_sub(length)..)?;
    let known = ["atob", "unescape", "decodeURIComponent", "decodeURI", "fromCharCode"];
    known.contains(&name.rsplit('.').next()?).then_some(name)
}

/// What a call gives: octets of its name, the text, octets of its arguments.
fn value(name: &str, after: &str) -> Option<(usize, String, usize)> {
    let arguments = after.get(1..)?;
    let start = arguments.bytes().take_while(u8::is_ascii_whitespace).count();
    let function = name.rsplit('.').next()?;
    if function == "fromCharCode" {
        let end = memchr(b')', arguments.as_bytes().get(..arguments.len().min(MAX_LITERAL))?)?;
        let codes = arguments.get(..end)?.split(',').map(|code| number(code.trim()));
        let text: Option<String> = codes.map(|code| char::from_u32(code?)).collect();
        return Some((name.len(), text?, end.saturating_add(2)));
    }
    let quote = arguments.get(start..)?.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let literal = arguments.get(start.saturating_add(1)..)?;
    let bound = literal.len().min(MAX_LITERAL);
    let end = memchr(u8::try_from(quote).ok()?, literal.as_bytes().get(..bound)?)?;
    let tail = literal.get(end.saturating_add(1)..)?;
    let close = tail.bytes().take_while(u8::is_ascii_whitespace).count();
    if tail.as_bytes().get(close) != Some(&b')') {
        return None;
    }
    let octets = if function == "atob" {
        sink::base64(literal.get(..end)?)?
    } else {
        percent(literal.get(..end)?)
    };
    let text = String::from_utf8(octets).ok().filter(|text| !text.contains('\0'))?;
    // `(`, blanks, quote, literal, quote, blanks, `)`.
    let length = [1, start, 1, end, 1, close, 1].iter().sum();
    Some((name.len(), text, length))
}

/// Whether the literal of a call, which is no base64, goes on past what is decoded in place.
fn is_long_literal(name: &str, after: &str) -> bool {
    let arguments = after.get(1..).unwrap_or_default();
    let literal = arguments.trim_ascii_start();
    let (end, literal) = match literal.as_bytes() {
        _ if name.ends_with("atob") || literal.len() <= MAX_LITERAL => return false,
        _ if name.ends_with("fromCharCode") => (b')', literal.as_bytes()),
        [quote @ (b'\'' | b'"' | b'`'), rest @ ..] => (*quote, rest),
        _ => return false,
    };
    literal.get(..MAX_LITERAL).is_some_and(|start| memchr(end, start).is_none())
}

/// Undoes escapes and joins neighbouring literals.
fn joined(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = memchr::memchr3(b'\\', b'\'', b'"', rest.as_bytes()) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        if let Some((character, length)) = escape(after) {
            out.push(character);
            rest = after.get(length..).unwrap_or_default();
        } else if let Some(length) = junction(after) {
            rest = after.get(length..).unwrap_or_default();
        } else {
            let length = after.chars().next().map_or(1, char::len_utf8);
            out.push_str(after.get(..length).unwrap_or_default());
            rest = after.get(length..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// `\x41`, `\u0041`, `\u{41}` or an escaped line end at the start of `text`.
fn escape(text: &str) -> Option<(char, usize)> {
    let body = text.strip_prefix('\\')?;
    let (digits, length) = match body.as_bytes().first()? {
        b'x' => (body.get(1..3)?, 4),
        b'u' if body.starts_with("u{") => {
            let end = body.get(2..10.min(body.len()))?.find('}')?;
            (body.get(2..end.saturating_add(2))?, end.saturating_add(4))
        }
        b'u' => (body.get(1..5)?, 6),
        b'/' => return Some(('/', 2)),
        _ => return None,
    };
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(code)?, length))
}

/// Octets of `' + '` at the start of `text`.
fn junction(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    // Blanks are read at most twice: for the quote before them, and for the one before a sign.
    let blank = |text: &str| text.bytes().take_while(u8::is_ascii_whitespace).count();
    let before = blank(text.get(1..)?);
    let rest = text.get(before.saturating_add(1)..)?.strip_prefix(['+', '&'])?;
    let after = blank(rest);
    let is_literal = rest.get(after..)?.starts_with(quote);
    is_literal.then(|| before.saturating_add(after).saturating_add(3))
}

fn number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hex.map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

/// Undoes `%41` and `%u0041`.
fn percent(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        let (digits, length) = match after.strip_prefix('u') {
            Some(wide) => (wide.get(..4), 5),
            None => (after.get(..2), 2),
        };
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (code, length) {
            (Some(code), 2) => out.extend(u8::try_from(code)),
            (Some(code), _) => {
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (None, _) => {
                out.push(b'%');
                rest = after;
                continue;
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Where a script sends the window by itself: literals, or the expression if it is none; and whether
/// there were more places than are looked at.
pub(crate) fn redirects(source: &str) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    for (place, at) in memmem::find_iter(source.as_bytes(), b"location").enumerate() {
        if place >= MAX_PLACES {
            return (found, true);
        }
        let before = source.get(..at).unwrap_or_default();
        let after = source.get(at.saturating_add(8)..).unwrap_or_default();
        if is_window(before)
            && let Some(target) = assigned(after)
        {
            found.push(target);
        }
    }
    (found, false)
}

/// Whether `location` after this is the window's.
fn is_window(before: &str) -> bool {
    let before = before.strip_suffix(['\'', '"']).map_or(before, |rest| rest.trim_end_matches('['));
    let Some(path) = before.strip_suffix('.').or_else(|| before.strip_suffix("?.")) else {
        let last = before.chars().next_back();
        let declared = before.trim_end();
        let is_declared =
            ["var", "let", "const", "function"].iter().any(|word| declared.ends_with(word));
        let names_window = ["window", "document", "top", "self", "parent"]
            .iter()
            .any(|word| before.ends_with(word));
        let is_part =
            last.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '/'));
        return names_window || !is_part && !is_declared;
    };
    let owners = ["window", "document", "top", "self", "parent", "this", "globalThis", "frames"];
    owners.iter().any(|owner| path.ends_with(owner))
}

/// What `location` is set to, if it is.
fn assigned(after: &str) -> Option<String> {
    let after = after.strip_prefix("']").or_else(|| after.strip_prefix("\"]")).unwrap_or(after);
    let after = after.trim_start();
    let (after, is_call) = if let Some(rest) =
        after.strip_prefix(".href").or_else(|| after.strip_prefix("['href']"))
    {
        (rest, false)
    } else if let Some(rest) =
        after.strip_prefix(".replace").or_else(|| after.strip_prefix(".assign"))
    {
        (rest, true)
    } else {
        (after, false)
    };
    let after = after.trim_start();
    let value = if is_call {
        after.strip_prefix('(')?
    } else {
        after.strip_prefix('=').filter(|rest| !rest.starts_with('='))?
    };
    let value = sink::cut(value, MAX_TARGET).trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
    let target = match quote {
        Some(quote) => value.get(1..)?.split(quote).next()?,
        None => value.split([';', '\n', '}']).next()?,
    };
    (!target.trim().is_empty()).then(|| target.trim().to_owned())
}

/// The words by which scripts build a file and save it.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// For each group the place of the first of its words that was seen.
    found: [Option<usize>; 4],
}

impl Builder {
    const WORDS: [&[&str]; 4] = [
        &["new Blob", "new File(", "MSBlobBuilder"],
        &["createObjectURL", "msSaveOrOpenBlob", "msSaveBlob", "FileSystem"],
        &[
            ".download",
            "'download'",
            "\"download\"",
            "msSave",
            "saveAs(",
            ".click(",
            "location",
            "window.open(",
        ],
        &["atob(", "charCodeAt", "fromCharCode", "Uint8Array"],
    ];

    /// Looks at one more script of a page.
    pub(crate) fn see(&mut self, source: &str) {
        for (found, words) in self.found.iter_mut().zip(Self::WORDS) {
            // Words after one that was seen do not matter.
            let wanted = words.iter().take(found.unwrap_or(words.len()));
            let has = |word: &&str| memmem::find(source.as_bytes(), word.as_bytes()).is_some();
            *found = wanted.clone().position(has).or(*found);
        }
    }

    /// The words; nothing unless a file is built and saved.
    pub(crate) fn words(&self) -> Option<String> {
        let mut words = self.found.iter().zip(Self::WORDS);
        let mut next = || words.next().and_then(|(found, words)| words.get((*found)?));
        let (content, address, saves) = (next()?, next()?, next()?);
        let decodes = next().copied().unwrap_or_default();
        Some([content, address, saves, decodes].join(" ").trim().to_owned())
    }
}

/// Whether a script makes a password field.
pub(crate) fn asks_password(source: &str) -> bool {
    memmem::find_iter(source.as_bytes(), b"password").any(|at| {
        let start = source.floor_char_boundary(at.saturating_sub(16));
        let before = source.get(start..at).unwrap_or_default();
        let marks =
            |c: char| c.is_whitespace() || matches!(c, '=' | ':' | ',' | '"' | '\'' | '\\' | '`');
        let word = before.trim_end_matches(marks);
        word.len() < before.len() && (word.ends_with("type") || word.ends_with("Type"))
    })
}

/// Encoded content in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Base64(&'a str),
    Hex(&'a str),
    /// Numbers of octets, with commas.
    Numbers(&'a str),
}

impl Content<'_> {
    /// How long the octets are at most.
    pub(crate) fn bound(self) -> usize {
        match self {
            Self::Base64(text) | Self::Hex(text) | Self::Numbers(text) => text.len(),
        }
    }

    /// The octets.
    pub(crate) fn decode(self) -> Option<Vec<u8>> {
        match self {
            Self::Base64(text) => sink::base64_url(text),
            Self::Hex(text) => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let pairs = text.as_bytes().as_chunks::<2>().0;
                let octet =
                    |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
                pairs.iter().map(octet).collect()
            }
            Self::Numbers(text) => {
                let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
                codes.map(|code| u8::try_from(number(code)?).ok()).collect()
            }
        }
    }
}

/// The encoded content in `source`: long runs of letters or of numbers.
pub(crate) fn contents(source: &str) -> impl Iterator<Item = Content<'_>> {
    let bytes = source.as_bytes();
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let start = at;
            let (length, alphabet) = run(rest);
            at = at.saturating_add(length.max(1));
            let text = source.get(start..start.saturating_add(length)).unwrap_or_default();
            if length >= MIN_CONTENT {
                let is_hex =
                    text.len() % 2 == 0 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
                match alphabet {
                    Alphabet::Code if is_hex => return Some(Content::Hex(text)),
                    Alphabet::Code => return Some(Content::Base64(text)),
                    Alphabet::List => return Some(Content::Numbers(text)),
                    Alphabet::Other => {}
                }
            }
        }
        None
    })
}

/// What a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Code,
    List,
    Other,
}

/// How long the run of one alphabet is that starts here.
fn run(rest: &[u8]) -> (usize, Alphabet) {
    let is_code = |octet: &u8| {
        octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=' | b'-' | b'_')
    };
    let is_list = |octet: &u8| {
        octet.is_ascii_hexdigit() || matches!(octet, b',' | b' ' | b'\n' | b'\r' | b'\t' | b'x')
    };
    let length = |wanted: &dyn Fn(&u8) -> bool| {
        rest.iter().position(|octet| !wanted(octet)).unwrap_or(rest.len())
    };
    let code = length(&is_code);
    let word = rest.get(..code).unwrap_or_default();
    let is_number = match word {
        [b'0', b'x', digits @ ..] => digits.len() <= 2,
        _ => word.len() <= 3 && word.iter().all(u8::is_ascii_digit),
    };
    if code == 0 || !is_number {
        return (code, Alphabet::Code);
    }
    // What was looked at is not looked at again, so work stays linear.
    let list = length(&is_list);
    let list = list.max(code);
    let octets = rest.get(..list).unwrap_or_default();
    let commas = octets.iter().filter(|octet| **octet == b',').count();
    let is_list = commas.saturating_mul(8) >= list;
    (list, if is_list { Alphabet::List } else { Alphabet::Other })
}
