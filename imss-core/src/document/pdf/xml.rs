//! XML inside a PDF file, forms (XFA) and metadata (XMP) → its texts with their elements' names.
//!
//! In: decoded octets. Out: `(element, text)` pairs in order, attributes as elements of their own.
//! Malformed XML gives what can be told apart; nothing is expanded but the predefined entities, so
//! no entity bomb works here.

/// Texts taken from one stream.
pub(super) const MAX_TEXTS: usize = 100_000;

/// The texts in `xml`.
pub(super) fn texts(xml: &[u8]) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut element = String::new();
    let mut rest = xml;
    while let Some(at) = memchr::memchr(b'<', rest) {
        let (before, tag) = rest.split_at_checked(at).unwrap_or_default();
        push(&mut texts, &element, before);
        if texts.len() >= MAX_TEXTS {
            return texts;
        }
        if let Some(data) = tag.strip_prefix(b"<![CDATA[") {
            let end = memchr::memmem::find(data, b"]]>").unwrap_or(data.len());
            push_plain(&mut texts, &element, data.get(..end).unwrap_or_default());
            rest = data.get(end.saturating_add(3)..).unwrap_or_default();
            continue;
        }
        let end = memchr::memchr(b'>', tag).unwrap_or(tag.len());
        let inside = tag.get(1..end).unwrap_or_default();
        if !matches!(inside.first(), Some(b'/' | b'?' | b'!')) {
            let name = attributes(inside, &mut texts);
            // The lists of RDF: what is in them belongs to the element around them.
            if !matches!(name.as_str(), "li" | "Alt" | "Bag" | "Seq") {
                element = name;
            }
        }
        rest = tag.get(end.saturating_add(1)..).unwrap_or_default();
    }
    push(&mut texts, &element, rest);
    texts
}

/// Takes the attributes of a tag and returns the element's name without its prefix.
fn attributes(tag: &[u8], texts: &mut Vec<(String, String)>) -> String {
    let tag = String::from_utf8_lossy(tag);
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((&tag, ""));
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|first| matches!(first, '"' | '\''));
        let Some(quote) = quote else { break };
        let after = after.get(1..).unwrap_or_default();
        let (value, after) = after.split_once(quote).unwrap_or((after, ""));
        let key = key.trim();
        if !key.starts_with("xmlns") {
            push(texts, local(key), value.as_bytes());
        }
        rest = after;
    }
    local(name.trim_end_matches('/')).to_owned()
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn push(texts: &mut Vec<(String, String)>, element: &str, raw: &[u8]) {
    let text = String::from_utf8_lossy(raw);
    if !text.contains('&') {
        return push_plain(texts, element, raw);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let found = after.split_once(';').and_then(|(name, rest)| Some((entity(name)?, rest)));
        let (character, after) = found.unwrap_or(('&', after));
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    push_plain(texts, element, plain.as_bytes());
}

fn push_plain(texts: &mut Vec<(String, String)>, element: &str, raw: &[u8]) {
    let text = String::from_utf8_lossy(raw.trim_ascii());
    if !text.is_empty() {
        texts.push((element.to_owned(), text.into_owned()));
    }
}

fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}
