//! Where a stamp goes in a page of HTML.
//!
//! In: the octets of a page. Out: an offset: after `<body …>` or before `</body>`, or where those would
//! be. Comments, scripts, styles and attribute values are skipped. Any octets give an offset; work is
//! linear in their count.

use memchr::{memchr, memmem};

use super::Position;

/// Elements whose content is not markup.
const RAW: [&str; 5] = ["script", "style", "title", "textarea", "xmp"];

/// The offset at which a stamp is inserted. `page` has an ASCII letter for each octet of a
/// double-octet character set.
pub(super) fn place(page: &[u8], position: Position) -> usize {
    let (mut start, mut body, mut end) = (0_usize, None, None);
    let mut at = 0_usize;
    while let Some(tag) = next_tag(page, at) {
        at = tag.end;
        match (tag.closing, tag.name.as_str()) {
            (false, "!doctype" | "html" | "?xml") | (true, "head") if body.is_none() => {
                start = tag.end;
            }
            (false, "body") if body.is_none() => body = Some(tag.end),
            (true, "body") => end = Some(tag.start),
            (true, "html") if end.is_none() => end = Some(tag.start),
            (false, name) if RAW.contains(&name) => at = after_raw(page, name, at),
            _ => {}
        }
    }
    match position {
        Position::Top => body.unwrap_or(start),
        Position::Bottom => end.unwrap_or(page.len()),
    }
}

/// Octets of ISO-2022-JP with letters in place of double-octet characters, whose octets look like
/// markup.
pub(super) fn masked(octets: &[u8]) -> Vec<u8> {
    let mut out = octets.to_vec();
    let mut shifted = false;
    for at in 0..out.len() {
        match octets.get(at..).unwrap_or_default() {
            [0x1b, b'$', ..] => shifted = true,
            [0x1b, b'(', ..] => shifted = false,
            _ if shifted => {
                if let Some(octet) = out.get_mut(at) {
                    *octet = b'x';
                }
            }
            _ => {}
        }
    }
    out
}

struct Tag {
    start: usize,
    /// After the closing `>`.
    end: usize,
    closing: bool,
    name: String,
}

/// The next tag from `from`; comments are skipped.
fn next_tag(page: &[u8], from: usize) -> Option<Tag> {
    let mut at = from;
    loop {
        let start = at.checked_add(memchr(b'<', page.get(at..)?)?)?;
        let rest = page.get(start..)?;
        if rest.starts_with(b"<!--") {
            let length = memmem::find(rest, b"-->")?;
            at = start.checked_add(length)?.checked_add(3)?;
            continue;
        }
        let closing = rest.get(1) == Some(&b'/');
        let name_at = if closing { 2 } else { 1 };
        let name = rest.get(name_at..)?;
        let first = name.first().is_some_and(|o| o.is_ascii_alphabetic() || b"!?".contains(o));
        if !first {
            at = start.checked_add(1)?;
            continue;
        }
        let is_name = |octet: &&u8| !octet.is_ascii_whitespace() && !b"/>".contains(octet);
        let length = name.iter().take(32).take_while(is_name).count();
        let name = name.get(..length).unwrap_or_default().to_ascii_lowercase();
        let end = start.checked_add(close(rest)?)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        return Some(Tag { start, end, closing, name });
    }
}

/// Octets of a tag up to its `>`, which may also stand in quotes after `=`.
fn close(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut before = b' ';
    for (at, &octet) in tag.iter().enumerate() {
        match (quote, octet) {
            (None, b'>') => return at.checked_add(1),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(octet),
            (Some(open), _) if open == octet => quote = None,
            _ => {}
        }
        if !octet.is_ascii_whitespace() {
            before = octet;
        }
    }
    None
}

/// After the closing tag of a raw element.
fn after_raw(page: &[u8], name: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(found) = page.get(at..).and_then(|rest| memmem::find(rest, b"</")) {
        let start = at.saturating_add(found);
        let after = page.get(start.saturating_add(2)..).unwrap_or_default();
        if after.get(..name.len()).is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes())) {
            return start;
        }
        at = start.saturating_add(2);
    }
    page.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let cases = [
            ("plain", "<html><body>x</body></html>", "<html><body>|x^</body></html>"),
            ("a fragment", "<p>x</p>", "|<p>x</p>^"),
            ("attributes", "<BODY a='>' b=\">\">x", "<BODY a='>' b=\">\">|x^"),
            ("a stray quote", "<body it's>x</body>", "<body it's>|x^</body>"),
            (
                "in a comment",
                "<!--<body>--><body>x<!--</body>-->",
                "<!--<body>--><body>|x<!--</body>-->^",
            ),
            (
                "in a script",
                "<script>'</body>'</script>y</html>",
                "|<script>'</body>'</script>y^</html>",
            ),
            (
                "without a body",
                "<!DOCTYPE html><html><head><title>t</title></head>x",
                "<!DOCTYPE html><html><head><title>t</title></head>|x^",
            ),
            ("never closed", "<body", "|<body^"),
            ("the last end", "<body>a</body>b</body>", "<body>|a</body>b^</body>"),
            ("empty", "", "|^"),
        ];
        for (name, page, expected) in cases {
            let top = place(page.as_bytes(), Position::Top);
            let bottom = place(page.as_bytes(), Position::Bottom);
            let shown = format!("{}|{}^{}", &page[..top], &page[top..bottom], &page[bottom..]);
            assert_eq!(shown, expected, "{name}");
        }
    }
}
