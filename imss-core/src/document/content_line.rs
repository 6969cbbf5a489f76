//! Content lines of calendars and contacts (RFC 5545, 3.1; RFC 6350, 3.2–3.4; vCard 2.1).
//!
//! In: octets. Out: unfolded lines as name, parameters, value. Quoted-printable values of vCard 2.1
//! are decoded with their charset. A line without a colon is left out.

use std::borrow::Cow;

use crate::charset;
use crate::document::sink::{base64, cut};
use crate::limits::{Budget, Limit};

/// One line.
pub(super) struct Line {
    /// Its name in upper case, without a group.
    pub(super) name: String,
    /// Parameters: name in upper case, value.
    parameters: Vec<(String, String)>,
    /// The value, not unescaped.
    pub(super) value: String,
    /// Whether parameters were left out, or the value not decoded because of its long head.
    pub(super) is_cut: bool,
}

/// Parameters of one line.
const MAX_PARAMETERS: usize = 64;
/// Octets before the value in which its encoding is looked for.
const MAX_HEAD: usize = 500;
/// What is left out past them.
pub(super) const LEFT_OUT: &str = "parameters of a line past 64, or an encoding behind 500 octets";

impl Line {
    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the value is base64, however that is said.
    pub(super) fn is_base64(&self) -> bool {
        self.parameters.iter().any(|(name, value)| {
            let value = value.to_ascii_uppercase();
            matches!(name.as_str(), "ENCODING" | "") && matches!(value.as_str(), "B" | "BASE64")
        })
    }

    /// The octets in the value: base64, or a `data:` URL (RFC 2397).
    pub(super) fn octets(&self) -> Option<Vec<u8>> {
        if self.is_base64() {
            return base64(&self.value);
        }
        let url = self.value.get(5..).filter(|_| {
            self.value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
        })?;
        let (head, data) = url.split_once(',')?;
        if head.to_ascii_lowercase().ends_with(";base64") {
            return base64(&percent(data));
        }
        Some(percent(data).into_bytes())
    }

    /// The value with its escapes resolved.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.value.len());
        let mut characters = self.value.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some('n' | 'N') => text.push('\n'),
                    Some(other) => text.push(other),
                    None => text.push('\\'),
                },
                other => text.push(other),
            }
        }
        text
    }
}

/// The octets as text, charged with what its lines will cost.
pub(super) fn decode(content: &[u8], budget: &mut Budget<'_>) -> Result<String, Limit> {
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    budget.charge_work(size.saturating_mul(4))?;
    budget.charge_bytes(size)?;
    Ok(charset::decode(content, None).text)
}

/// Every line, unfolded, one at a time: a calendar may have a million of them.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    let mut pieces = text.split('\n').map(|raw| raw.strip_suffix('\r').unwrap_or(raw)).fuse();
    let mut next = pieces.next();
    std::iter::from_fn(move || {
        while let Some(first) = next {
            let mut line = Cow::Borrowed(first);
            loop {
                next = pieces.next();
                let Some(raw) = next else { break };
                if line.ends_with('=') && is_quoted_printable(&line) {
                    let line = line.to_mut();
                    line.pop();
                    line.push_str(raw);
                } else if let Some(folded) = raw.strip_prefix([' ', '\t']) {
                    line.to_mut().push_str(folded);
                } else {
                    break;
                }
            }
            if let Some(line) = parse(&line) {
                return Some(line);
            }
        }
        None
    })
}

fn is_quoted_printable(line: &str) -> bool {
    let head = cut(line, MAX_HEAD).split(':').next().unwrap_or_default();
    head.len() < MAX_HEAD && names_quoted_printable(head)
}

fn names_quoted_printable(head: &str) -> bool {
    memchr::memchr(b';', head.as_bytes()).is_some()
        && head.to_ascii_uppercase().contains("QUOTED-PRINTABLE")
}

fn parse(line: &str) -> Option<Line> {
    let mut quoted = false;
    let colon = line.find(|character| {
        quoted ^= character == '"';
        character == ':' && !quoted
    })?;
    let (head, value) = (line.get(..colon)?, line.get(colon.saturating_add(1)..)?);
    let mut pieces = head.split(';');
    let name = pieces.next()?.rsplit('.').next()?.trim().to_ascii_uppercase();
    let parameters: Vec<(String, String)> = pieces
        .by_ref()
        .take(MAX_PARAMETERS)
        .map(|piece| match piece.split_once('=') {
            Some((name, value)) => {
                (name.trim().to_ascii_uppercase(), value.trim().trim_matches('"').to_owned())
            }
            // vCard 2.1 leaves the name out: `PHOTO;BASE64:`.
            None => (String::new(), piece.trim().to_owned()),
        })
        .collect();
    let is_cut = pieces.next().is_some() || head.len() >= MAX_HEAD && names_quoted_printable(head);
    let mut line = Line { name, parameters, value: value.to_owned(), is_cut };
    if is_quoted_printable(head) {
        let octets = quoted_printable(value);
        line.value = charset::decode(&octets, line.parameter("CHARSET")).text;
    }
    Some(line)
}

fn quoted_printable(value: &str) -> Vec<u8> {
    escaped(value, b'=')
}

fn percent(value: &str) -> String {
    String::from_utf8_lossy(&escaped(value, b'%')).into_owned()
}

/// Octets written as a sign and two hexadecimal digits.
fn escaped(value: &str, sign: u8) -> Vec<u8> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet.filter(|_| first == sign) {
            Some(octet) => {
                octets.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                octets.push(first);
                rest = after;
            }
        }
    }
    octets
}
