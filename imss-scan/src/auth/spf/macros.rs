//! SPF macros (RFC 7208 §7): templates and what they stand for.
//!
//! In: a macro-string, and once per message the values of its letters. Out: the text. A template that
//! does not parse is a syntax error of the record; a name that grows too long loses labels from the
//! left (§7.3).

use std::net::IpAddr;

/// Octets of a domain name at most.
const MAX_NAME: usize = 253;
/// Octets of an explanation at most; a macro may be repeated any number of times.
const MAX_TEXT: usize = 4_096;

/// A parsed macro-string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Macro { letter: char, escape: bool, labels: usize, reverse: bool, delimiters: String },
}

/// What the letters stand for.
pub(super) struct Letters<'a> {
    pub(super) ip: IpAddr,
    pub(super) sender: &'a str,
    pub(super) helo: &'a str,
    pub(super) domain: &'a str,
    /// The validated name of the client, `unknown` if it has none (§7.3).
    pub(super) validated: &'a str,
    /// Our name, for explanations.
    pub(super) receiver: &'a str,
    pub(super) unix_seconds: u64,
}

impl Template {
    /// Reads a macro-string. Letters `c`, `r` and `t` are for explanations only.
    pub(super) fn parse(text: &str, explanation: bool) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            let (before, at) = rest.split_at_checked(start)?;
            plain.push_str(before);
            let (sign, after) = at.split_at_checked(2)?;
            rest = after;
            match sign {
                "%%" => plain.push('%'),
                "%_" => plain.push(' '),
                "%-" => plain.push_str("%20"),
                "%{" => {
                    let (inner, after) = after.split_once('}')?;
                    rest = after;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(expand(inner, explanation)?);
                }
                _ => return None,
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        // A space in a record can only come from `%_`: terms are split at spaces.
        let valid = pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
            Piece::Macro { .. } => true,
        });
        valid.then_some(Self(pieces))
    }

    /// Reads a domain-spec: it ends in a macro or in a label that is no number (§7.1).
    pub(super) fn domain(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let template = Self::parse(text, false)?;
        let ends_well = match template.0.last()? {
            Piece::Macro { .. } => true,
            Piece::Text(end) => {
                let bare = end.strip_suffix('.').unwrap_or(end);
                bare.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
            }
        };
        ends_well.then_some(template)
    }

    /// Whether the validated name of the client matters.
    pub(super) fn asks_for_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro { letter: 'p', .. }))
    }

    /// The name it stands for.
    pub(super) fn name(&self, letters: &Letters<'_>) -> String {
        let whole = self.text(letters);
        let mut name = whole.as_str();
        while name.strip_suffix('.').unwrap_or(name).len() > MAX_NAME {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }

    /// The text it stands for.
    pub(super) fn text(&self, letters: &Letters<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            if out.len() > MAX_TEXT {
                break;
            }
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Macro { letter, escape, labels, reverse, delimiters } => {
                    let value = letters.value(*letter);
                    let value = transformed(&value, *labels, *reverse, delimiters);
                    if *escape { push_escaped(&mut out, &value) } else { out.push_str(&value) }
                }
            }
        }
        out
    }
}

/// `toplabel` of §7.1: letters, digits and hyphens inside, and not only digits.
fn is_top_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.bytes().all(|b| b.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The inside of `%{…}`.
fn expand(inner: &str, explanation: bool) -> Option<Piece> {
    let mut chars = inner.chars();
    let written = chars.next()?;
    let letter = written.to_ascii_lowercase();
    let known = matches!(letter, 's' | 'l' | 'o' | 'd' | 'i' | 'p' | 'v' | 'h')
        || (explanation && matches!(letter, 'c' | 'r' | 't'));
    let rest = chars.as_str();
    let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(digits_end)?;
    let labels = if digits.is_empty() {
        usize::MAX
    } else {
        // A number beyond any name's labels means all of them; zero is an error.
        digits.parse::<usize>().unwrap_or(usize::MAX)
    };
    let reverse = rest.starts_with(['r', 'R']);
    let delimiters = if reverse { rest.get(1..)? } else { rest };
    let valid = known
        && labels > 0
        && delimiters.chars().all(|c| matches!(c, '.' | '-' | '+' | ',' | '/' | '_' | '='));
    let delimiters = if delimiters.is_empty() { "." } else { delimiters }.to_owned();
    let escape = written.is_ascii_uppercase();
    valid.then_some(Piece::Macro { letter, escape, labels, reverse, delimiters })
}

fn transformed(value: &str, labels: usize, reverse: bool, delimiters: &str) -> String {
    if labels == usize::MAX && !reverse && delimiters == "." {
        return value.to_owned();
    }
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if reverse {
        parts.reverse();
    }
    let skipped = parts.len().saturating_sub(labels);
    parts.into_iter().skip(skipped).collect::<Vec<_>>().join(".")
}

fn push_escaped(out: &mut String, value: &str) {
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
}

impl Letters<'_> {
    fn value(&self, letter: char) -> String {
        let (local, domain) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        match letter {
            's' => self.sender.to_owned(),
            'l' => local.to_owned(),
            'o' => domain.to_owned(),
            'd' => self.domain.to_owned(),
            'i' => dotted(self.ip),
            'p' => self.validated.to_owned(),
            'v' => if self.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => self.helo.to_owned(),
            'c' => self.ip.to_string(),
            'r' => self.receiver.to_owned(),
            _ => self.unix_seconds.to_string(),
        }
    }
}

/// The address as names hold it: nibbles for IPv6 (§7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.map(|nibble| format!("{nibble:X}")).collect::<Vec<_>>().join(".")
        }
    }
}
