//! HTML → the text a reader sees.
//!
//! In: a page as text. Out: its text with character references decoded, blocks on lines of their
//! own, alternative texts of pictures included; styles, scripts and comments are left out. Text that
//! styles hide is kept: hiding it is what spam does.
//!
//! Any input gives text; what is not closed goes to the end, as in browsers. Work is linear, and
//! output stops at a bound.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem};

/// The visible text of `page`, and whether it was cut at `max_bytes`.
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
    let mut writer =
        Writer { out: String::with_capacity(page.len() / 2), space: false, line: true };
    let mut rest = page;
    while let Some(at) = memchr2(b'<', b'&', rest.as_bytes()) {
        let (text, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        writer.text(text);
        if writer.out.len() >= max_bytes {
            break;
        }
        rest = if tail.starts_with('&') {
            reference(tail, &mut writer)
        } else {
            markup(tail, &mut writer)
        };
    }
    if writer.out.len() < max_bytes {
        writer.text(rest);
    }
    let cut = writer.out.len() > max_bytes;
    let end = writer.out.floor_char_boundary(max_bytes);
    writer.out.truncate(end);
    (writer.out, cut)
}

struct Writer {
    out: String,
    space: bool,
    /// Nothing was written on this line yet.
    line: bool,
}

impl Writer {
    /// Appends text, runs of white space as one space.
    fn text(&mut self, text: &str) {
        for word in text.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let letters = word.trim_end_matches(|c: char| c.is_ascii_whitespace());
            if !letters.is_empty() {
                if self.space && !self.line {
                    self.out.push(' ');
                }
                self.out.push_str(letters);
                (self.space, self.line) = (false, false);
            }
            self.space |= letters.len() < word.len();
        }
    }

    fn new_line(&mut self) {
        if !self.line {
            self.out.push('\n');
        }
        (self.space, self.line) = (false, true);
    }
}

/// Reads one character reference at the start of `rest` (HTML §13.2.5.72); an unknown one is text.
fn reference<'a>(rest: &'a str, writer: &mut Writer) -> &'a str {
    let body = rest.get(1..).unwrap_or_default();
    let (name, tail) = if let Some(number) = body.strip_prefix('#') {
        let digits = number.strip_prefix(['x', 'X']);
        let (digits, radix) = digits.map_or((number, 10), |digits| (digits, 16));
        let length = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
        let (digits, tail) = digits.split_at_checked(length).unwrap_or((digits, ""));
        (u32::from_str_radix(digits, radix).ok().map(numbered), tail)
    } else {
        let length = body.bytes().take(32).take_while(u8::is_ascii_alphanumeric).count();
        let (name, tail) = body.split_at_checked(length).unwrap_or((body, ""));
        (NAMES.get(name).copied(), tail)
    };
    let Some(c) = name else {
        writer.text("&");
        return body;
    };
    writer.text(c.encode_utf8(&mut [0; 4]));
    tail.strip_prefix(';').unwrap_or(tail)
}

/// The character of a numeric reference; 128 to 159 mean Windows-1252, as in browsers.
fn numbered(code: u32) -> char {
    match u8::try_from(code) {
        Ok(byte @ 0x80..=0x9F) => {
            let octets = [byte];
            let text = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&octets).0;
            text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Ok(0) => char::REPLACEMENT_CHARACTER,
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Reads one tag or comment at the start of `rest`, which starts with `<`.
fn markup<'a>(rest: &'a str, writer: &mut Writer) -> &'a str {
    let body = rest.get(1..).unwrap_or_default();
    if let Some(comment) = body.strip_prefix("!--") {
        if let Some(tail) = comment.strip_prefix('>').or_else(|| comment.strip_prefix("->")) {
            return tail;
        }
        return memmem::find(comment.as_bytes(), b"-->")
            .and_then(|at| comment.get(at + 3..))
            .unwrap_or("");
    }
    let closing = body.starts_with('/');
    let named = body.strip_prefix('/').unwrap_or(body);
    let starts_tag = named.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !starts_tag && !closing && !body.starts_with(['!', '?']) {
        writer.text("<");
        return body;
    }
    let end = tag_end(body);
    let (tag, tail) = body.split_at_checked(end).unwrap_or((body, ""));
    let tail = tail.strip_prefix('>').unwrap_or(tail);
    let length = named.bytes().take(16).take_while(u8::is_ascii_alphanumeric).count();
    let name = named.get(..length).unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        "script" | "style" | "template" if !closing => return skip_to_close(tail, &name),
        "td" | "th" => writer.space = true,
        "img" | "area" => {
            if let Some(alternative) = attribute(tag, "alt") {
                writer.space = true;
                // References inside are decoded as in text; tags inside are not tags.
                let mut rest = alternative;
                while let Some(at) = memchr(b'&', rest.as_bytes()) {
                    let (text, reference_on) = rest.split_at_checked(at).unwrap_or((rest, ""));
                    writer.text(text);
                    rest = reference(reference_on, writer);
                }
                writer.text(rest);
                writer.space = true;
            }
        }
        name if BLOCKS.binary_search(&name).is_ok() => writer.new_line(),
        _ => {}
    }
    tail
}

/// Elements that start a line.
const BLOCKS: [&str; 41] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "details",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "table",
    "title",
    "tr",
    "ul",
];

/// Where the tag's `>` is; one inside quotes after an equals sign does not count.
fn tag_end(body: &str) -> usize {
    let bytes = body.as_bytes();
    let mut at = 0;
    let mut after_equals = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'>' => return at,
            b'"' | b'\'' if after_equals => {
                let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
                at = at.saturating_add(1).saturating_add(memchr(*byte, rest).unwrap_or(rest.len()));
                after_equals = false;
            }
            b'=' => after_equals = true,
            byte if byte.is_ascii_whitespace() => {}
            _ => after_equals = false,
        }
        at = at.saturating_add(1);
    }
    bytes.len()
}

/// What follows `</name`, up to its `>`; nothing if it is never closed.
fn skip_to_close<'a>(rest: &'a str, name: &str) -> &'a str {
    let finder = memmem::Finder::new(b"</");
    let mut at = 0_usize;
    while let Some(found) = rest.as_bytes().get(at..).and_then(|rest| finder.find(rest)) {
        at = at.saturating_add(found).saturating_add(2);
        let candidate = rest.as_bytes().get(at..at.saturating_add(name.len())).unwrap_or_default();
        if candidate.eq_ignore_ascii_case(name.as_bytes()) {
            let tail = rest.get(at..).unwrap_or_default();
            return memchr(b'>', tail.as_bytes()).and_then(|end| tail.get(end + 1..)).unwrap_or("");
        }
    }
    ""
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut from = 0_usize;
    loop {
        let rest = tag.get(from..)?;
        let equals = memchr(b'=', rest.as_bytes())?;
        let key = rest.get(..equals)?.trim_end();
        let key = key.rsplit(|c: char| c.is_ascii_whitespace() || c == '/').next()?;
        let value = rest.get(equals + 1..)?.trim_start();
        let start = tag.len().checked_sub(value.len())?;
        let (value, length) = match value.bytes().next()? {
            quote @ (b'"' | b'\'') => {
                let inner = value.get(1..)?;
                let end = memchr(quote, inner.as_bytes()).unwrap_or(inner.len());
                (inner.get(..end)?, end.saturating_add(2))
            }
            _ => {
                let end = value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len());
                (value.get(..end)?, end)
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        from = start.checked_add(length)?;
    }
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

/// Character references by name.
static NAMES: LazyLock<HashMap<&'static str, char>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let (name, code) = line.split_once(' ')?;
        Some((name, u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?))
    };
    include_str!("entities.txt").lines().filter_map(entry).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let cases = [
            ("text alone", "a b", "a b"),
            ("blocks are lines", "<p>a</p><p>b<br>c</p>", "a\nb\nc"),
            ("inline tags join", "V<b>i</b>a<!-- x -->gra", "Viagra"),
            ("white space runs", "a \n\t b", "a b"),
            ("cells", "<tr><td>a</td><td>b</td></tr>", "a b"),
            ("references", "&lt;&#x3042;&#12354;&eacute&nosuch;&", "<ああé&nosuch;&"),
            ("Windows-1252 by number", "&#147;x&#148;", "“x”"),
            ("script and style", "<style>p{}</style>a<SCRIPT>if(a<b){}</ScRiPt >b", "ab"),
            ("unclosed script", "a<script>b", "a"),
            ("unclosed comment", "a<!-- b", "a"),
            ("unclosed tag", "a<b title='", "a"),
            ("greater-than in an attribute", "<a title=\"1>2\">x</a>", "x"),
            ("alternative text", "<img src=x alt=\"Buy &amp; save\">now", "Buy & save now"),
            ("less-than in text", "1 < 2 <3", "1 < 2 <3"),
            ("title counts", "<head><title>T</title></head>b", "T\nb"),
            ("Japanese", "<b>出会</b>い", "出会い"),
        ];
        for (name, page, expected) in cases {
            assert_eq!(to_text(page, 1000).0.trim(), expected, "{name}");
        }
    }

    #[test]
    fn output_is_bounded() {
        assert_eq!(to_text("ああああ", 7), ("ああ".to_owned(), true));
        assert_eq!(to_text("abc", 3), ("abc".to_owned(), false));
    }

    #[test]
    fn blocks_are_sorted() {
        assert!(BLOCKS.is_sorted());
    }

    #[test]
    fn declared_charsets() {
        let cases: [(&str, &[u8], Option<&str>); 4] = [
            ("short form", b"<meta charset=\"Shift_JIS\">", Some("shift_jis")),
            (
                "long form",
                b"<META http-equiv=a content='text/html; charset=euc-jp'>",
                Some("euc-jp"),
            ),
            ("none", b"<meta name=x>", None),
            ("empty", b"<meta charset=>", None),
        ];
        for (name, page, expected) in cases {
            assert_eq!(declared_charset(page).as_deref(), expected, "{name}");
        }
    }
}
