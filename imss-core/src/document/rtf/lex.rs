//! Cuts rich text into tokens (RTF 1.9.1, "RTF Syntax").
//!
//! In: octets. Out: one [`Token`] at a time. Nothing fails: what fits no rule is text. Linear.

/// The longest control word; Word cuts longer ones.
const LONGEST_WORD: usize = 32;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `{`
    Open,
    /// `}`
    Close,
    /// `\name` with its parameter.
    Word(&'a [u8], Option<i32>),
    /// `\` and something that is no letter.
    Symbol(u8),
    /// `\'hh`
    Hex(u8),
    /// The octets after `\binN`.
    Binary(&'a [u8]),
    /// Anything else, no line ends.
    Text(&'a [u8]),
    /// Line ends, which mean nothing.
    LineEnd,
}

/// Where the reading is.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    octets: &'a [u8],
    at: usize,
    binary: Option<usize>,
}

impl<'a> Lexer<'a> {
    /// From the start of `octets`.
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0, binary: None }
    }

    /// Octets read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn take_while(&mut self, limit: usize, is_wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let count = rest.iter().take(limit).take_while(|octet| is_wanted(octet)).count();
        self.at = self.at.saturating_add(count);
        rest.get(..count).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// What follows a backslash.
    fn control(&mut self) -> Option<Token<'a>> {
        let Some(first) = self.peek() else { return Some(Token::Symbol(b'\\')) };
        if first == b'\'' {
            self.skip();
            let digits = self.take_while(2, u8::is_ascii_hexdigit);
            return Some(match digits {
                [high, low] => Token::Hex(nibble(*high) << 4 | nibble(*low)),
                _ => Token::Symbol(b'\''),
            });
        }
        if !first.is_ascii_alphabetic() {
            self.skip();
            return Some(Token::Symbol(first));
        }
        let name = self.take_while(LONGEST_WORD, u8::is_ascii_alphabetic);
        let is_negative = self.peek() == Some(b'-')
            && self.octets.get(self.at.saturating_add(1)).is_some_and(u8::is_ascii_digit);
        if is_negative {
            self.skip();
        }
        let digits = self.take_while(usize::MAX, u8::is_ascii_digit);
        let value = digits.iter().take(10).fold(0_i64, |value, digit| {
            value.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
        });
        let value = if is_negative { value.saturating_neg() } else { value };
        let clamped = value.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        let parameter = (!digits.is_empty()).then(|| i32::try_from(clamped).unwrap_or_default());
        if self.peek() == Some(b' ') {
            self.skip();
        }
        if name == b"bin" {
            self.binary = Some(usize::try_from(parameter.unwrap_or(0)).unwrap_or(0));
        }
        Some(Token::Word(name, parameter))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(length) = self.binary.take() {
            return Some(Token::Binary(self.take_while(length, |_| true)));
        }
        let octet = self.peek()?;
        match octet {
            b'{' => {
                self.skip();
                Some(Token::Open)
            }
            b'}' => {
                self.skip();
                Some(Token::Close)
            }
            b'\\' => {
                self.skip();
                self.control()
            }
            b'\r' | b'\n' => {
                self.take_while(usize::MAX, |octet| matches!(octet, b'\r' | b'\n'));
                Some(Token::LineEnd)
            }
            _ => {
                let text = |octet: &u8| !matches!(octet, b'{' | b'}' | b'\\' | b'\r' | b'\n');
                Some(Token::Text(self.take_while(usize::MAX, text)))
            }
        }
    }
}

/// The value of a hexadecimal digit.
pub(super) fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit.wrapping_sub(b'0'),
        b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
        b'A'..=b'F' => digit.wrapping_sub(b'A').wrapping_add(10),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let word = |name: &'static str, value| Token::Word(name.as_bytes(), value);
        let cases: [(&str, &[u8], Vec<Token<'_>>); 8] = [
            ("a group", b"{a}", vec![Token::Open, Token::Text(b"a"), Token::Close]),
            ("a space ends a word", b"\\b  x", vec![word("b", None), Token::Text(b" x")]),
            ("numbers", b"\\u-12?", vec![word("u", Some(-12)), Token::Text(b"?")]),
            ("huge", b"\\a99999999999", vec![word("a", Some(i32::MAX))]),
            (
                "octets",
                b"\\'e9\\'z",
                vec![Token::Hex(0xe9), Token::Symbol(b'\''), Token::Text(b"z")],
            ),
            (
                "binary",
                b"\\bin3 {}{}",
                vec![word("bin", Some(3)), Token::Binary(b"{}{"), Token::Close],
            ),
            ("too much binary", b"\\bin9 a", vec![word("bin", Some(9)), Token::Binary(b"a")]),
            ("the end", b"\\", vec![Token::Symbol(b'\\')]),
        ];
        for (name, input, expected) in cases {
            assert_eq!(Lexer::new(input).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}
