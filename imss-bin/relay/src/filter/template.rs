//! What a refused client reads, with variables.
//!
//! In: text with `%NAME%`. Out: the text with what is known in their place. A name that is not one of
//! [`NAMES`] is a mistake of the settings. What is put in is our own wording and names of the
//! settings; nothing the client said is.

use std::fmt;

/// The variables.
pub const NAMES: [&str; 7] =
    ["CLIENT_IP", "RBL_CHECK_DOMAIN", "RBL_CODES", "HOSTNAME", "POSTMASTER", "REASON", "UNTIL"];

/// Text with variables, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<str>);

/// A variable that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable %{0}%")]
pub struct UnknownName(pub String);

impl Template {
    /// Checks the variables of `text`.
    ///
    /// # Errors
    ///
    /// [`UnknownName`].
    pub fn parse(text: &str) -> Result<Self, UnknownName> {
        for piece in pieces(text) {
            if let Piece::Name(name) = piece
                && !NAMES.contains(&name)
            {
                return Err(UnknownName(name.to_owned()));
            }
        }
        Ok(Self(text.into()))
    }

    /// Text of ours.
    pub(super) fn fixed(text: &str) -> Self {
        Self(text.into())
    }

    /// The text; `value` gives what stands for a variable.
    #[must_use]
    pub fn fill(&self, value: impl Fn(&str) -> String) -> String {
        pieces(&self.0).fold(String::new(), |text, piece| match piece {
            Piece::Text(plain) => text + plain,
            Piece::Name(name) => text + &value(name),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let name = rest.strip_prefix('%').and_then(|after| after.split_once('%'));
        if let Some((name, after)) = name
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        {
            rest = after;
            return Some(Piece::Name(name));
        }
        // A percent sign that begins no variable is itself.
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == '%');
        let end = next.map_or(rest.len(), |(place, _)| place);
        let (plain, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        Some(Piece::Text(plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let cases = [
            ("no variable", Some("no variable")),
            ("%CLIENT_IP% is listed", Some("<CLIENT_IP> is listed")),
            ("a%CLIENT_IP%%UNTIL%b", Some("a<CLIENT_IP><UNTIL>b")),
            ("100% of %REASON%, 5 %", Some("100% of <REASON>, 5 %")),
            ("%%", Some("%%")),
            ("日本%REASON%語", Some("日本<REASON>語")),
            ("%CLIENT_PI%", None),
            ("", Some("")),
        ];
        for (text, expected) in cases {
            let filled = Template::parse(text).map(|text| text.fill(|name| format!("<{name}>")));
            assert_eq!(filled.ok().as_deref(), expected, "{text}");
        }
    }
}
