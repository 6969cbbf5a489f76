//! The values of a PDF file (ISO 32000-2 §7.3) and how they are read from octets.
//!
//! In: octets and a place in them. Out: tokens and [`Value`]s. Nothing is refused: what is no value
//! is skipped, nesting beyond [`MAX_DEPTH`] is flattened, and the end of the octets ends everything.

use std::borrow::Cow;

/// Nested arrays and dictionaries.
const MAX_DEPTH: usize = 60;
/// Values of one object: they take much more memory than octets.
const MAX_VALUES: u64 = 1_000_000;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    /// Without its solidus, escapes undone.
    Name(Box<[u8]>),
    Text(Box<[u8]>),
    Array(Vec<Value>),
    Dict(Dict),
    /// The number of another object.
    Ref(u32),
}

impl Value {
    pub(crate) fn name(&self) -> Option<&[u8]> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        self.number().map(integer)
    }

    pub(crate) fn length(&self) -> Option<usize> {
        usize::try_from(self.integer()?).ok()
    }

    pub(crate) fn dict(&self) -> Option<&Dict> {
        if let Self::Dict(dict) = self { Some(dict) } else { None }
    }

    pub(crate) fn array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }
}

/// A number without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
pub(crate) fn integer(number: f64) -> i64 {
    number as i64
}

/// A dictionary in the order of the file. Of a key that occurs twice the last one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Dict(pub(crate) Vec<(Box<[u8]>, Value)>);

impl Dict {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.0.iter().rev().find(|(own, _)| **own == *key).map(|(_, value)| value)
    }

    pub(crate) fn name(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key).and_then(Value::name)
    }

    pub(crate) fn is_type(&self, kind: &[u8]) -> bool {
        self.name(b"Type") == Some(kind)
    }
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    Number(f64),
    Name(Cow<'a, [u8]>),
    Text(Vec<u8>),
    Open,
    Close,
    OpenDict,
    CloseDict,
    Word(&'a [u8]),
}

/// Reads tokens and values.
pub(crate) struct Lexer<'a> {
    data: &'a [u8],
    pub(crate) at: usize,
    /// Values made so far: what they cost is charged by whoever asked for them.
    pub(crate) made: u64,
    /// Names that are written with escapes for letters and digits, which need none.
    pub(crate) obscured: Vec<Vec<u8>>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, made: 0, obscured: Vec::new() }
    }

    /// Reads one value, and the word that ends it (`endobj`, `stream`), if that follows.
    pub(crate) fn object(&mut self) -> (Value, &'a [u8]) {
        let (items, word) = self.items(0, None);
        (items.into_iter().next().unwrap_or(Value::Null), word)
    }

    /// Whether there were more values than one object may have: the rest was left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.made >= MAX_VALUES
    }

    /// Reads one value and nothing after it.
    pub(crate) fn one(&mut self) -> Value {
        self.made = self.made.saturating_add(1);
        let Some(token) = self.token() else { return Value::Null };
        let after = self.at;
        match token {
            Token::Open => Value::Array(self.items(1, Some(&Token::Close)).0),
            Token::OpenDict => Value::Dict(pairs(self.items(1, Some(&Token::CloseDict)).0)),
            Token::Name(name) => Value::Name(name.into_owned().into_boxed_slice()),
            Token::Text(text) => Value::Text(text.into_boxed_slice()),
            Token::Number(number) => {
                if let (Some(Token::Number(_)), Some(Token::Word(b"R"))) =
                    (self.token(), self.token())
                    && let Ok(number) = u32::try_from(integer(number))
                {
                    return Value::Ref(number);
                }
                self.at = after;
                Value::Number(number)
            }
            Token::Word(b"true") => Value::Bool(true),
            Token::Word(b"false") => Value::Bool(false),
            _ => Value::Null,
        }
    }

    /// Values up to the `close` token, to a word that is none, or to the end.
    fn items(&mut self, depth: usize, close: Option<&Token<'a>>) -> (Vec<Value>, &'a [u8]) {
        let mut items = Vec::new();
        loop {
            let before = self.at;
            if self.is_cut() {
                return (items, &[]);
            }
            let Some(token) = self.token() else { return (items, &[]) };
            if close == Some(&token) {
                return (items, &[]);
            }
            self.made = self.made.saturating_add(1);
            let value = match token {
                Token::Number(number) => Value::Number(number),
                Token::Name(name) => Value::Name(name.into_owned().into_boxed_slice()),
                Token::Text(text) => Value::Text(text.into_boxed_slice()),
                Token::Open | Token::OpenDict if depth >= MAX_DEPTH => continue,
                Token::Open => {
                    let (inner, word) = self.items(depth.saturating_add(1), Some(&Token::Close));
                    items.push(Value::Array(inner));
                    if word.is_empty() {
                        continue;
                    }
                    return (items, word);
                }
                Token::OpenDict => {
                    let (inner, word) =
                        self.items(depth.saturating_add(1), Some(&Token::CloseDict));
                    items.push(Value::Dict(pairs(inner)));
                    if word.is_empty() {
                        continue;
                    }
                    return (items, word);
                }
                Token::Close | Token::CloseDict => continue,
                Token::Word(b"R") => match reference(&mut items) {
                    Some(value) => value,
                    None => continue,
                },
                Token::Word(b"true") => Value::Bool(true),
                Token::Word(b"false") => Value::Bool(false),
                Token::Word(b"null") => Value::Null,
                Token::Word(word @ (b"endobj" | b"stream" | b"obj" | b"xref" | b"trailer")) => {
                    if word == b"obj" || word == b"xref" || word == b"trailer" {
                        self.at = before;
                    }
                    return (items, word);
                }
                Token::Word(_) => continue,
            };
            items.push(value);
        }
    }

    /// The next token; `None` at the end.
    pub(crate) fn token(&mut self) -> Option<Token<'a>> {
        self.skip_space();
        let first = *self.data.get(self.at)?;
        let next = self.data.get(self.at.saturating_add(1)).copied();
        Some(match first {
            b'/' => {
                self.at = self.at.saturating_add(1);
                Token::Name(self.name())
            }
            b'(' => Token::Text(self.literal()),
            b'<' if next == Some(b'<') => self.taken(2, Token::OpenDict),
            b'<' => Token::Text(self.hexadecimal()),
            b'>' if next == Some(b'>') => self.taken(2, Token::CloseDict),
            b'[' => self.taken(1, Token::Open),
            b']' => self.taken(1, Token::Close),
            b'>' | b')' | b'{' | b'}' => self.taken(1, Token::Word(&[])),
            _ => {
                let word = self.regular();
                match number(word) {
                    Some(number) => Token::Number(number),
                    None => Token::Word(word),
                }
            }
        })
    }

    fn taken(&mut self, octets: usize, token: Token<'a>) -> Token<'a> {
        self.at = self.at.saturating_add(octets);
        token
    }

    pub(crate) fn skip_space(&mut self) {
        while let Some(&octet) = self.data.get(self.at) {
            if octet == b'%' {
                let rest = self.data.get(self.at..).unwrap_or_default();
                let line = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                self.at = self.at.saturating_add(line);
            } else if is_space(octet) {
                self.at = self.at.saturating_add(1);
            } else {
                return;
            }
        }
    }

    fn regular(&mut self) -> &'a [u8] {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&octet| !is_regular(octet)).unwrap_or(rest.len());
        self.at = self.at.saturating_add(length);
        rest.get(..length).unwrap_or_default()
    }

    /// A name (§7.3.5).
    fn name(&mut self) -> Cow<'a, [u8]> {
        let raw = self.regular();
        if !raw.contains(&b'#') {
            return Cow::Borrowed(raw);
        }
        let mut name = Vec::with_capacity(raw.len());
        let (mut rest, mut obscured) = (raw, false);
        while let Some((&octet, after)) = rest.split_first() {
            let escaped = match (octet, after.first_chunk::<2>()) {
                (b'#', Some(&[high, low])) => hex(high).zip(hex(low)),
                _ => None,
            };
            rest = after;
            if let Some((high, low)) = escaped {
                let value = high << 4 | low;
                obscured |= value.is_ascii_alphanumeric();
                name.push(value);
                rest = after.get(2..).unwrap_or_default();
            } else {
                name.push(octet);
            }
        }
        if obscured && self.obscured.len() < 1000 {
            self.obscured.push(name.clone());
        }
        Cow::Owned(name)
    }

    /// A literal string (§7.3.4.2).
    fn literal(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_u32;
        let mut rest = self.data.get(self.at..).unwrap_or_default();
        while let Some((&octet, after)) = rest.split_first() {
            rest = after;
            match octet {
                b'(' => {
                    if depth > 0 {
                        text.push(octet);
                    }
                    depth = depth.saturating_add(1);
                }
                b')' if depth <= 1 => break,
                b')' => {
                    depth = depth.saturating_sub(1);
                    text.push(octet);
                }
                b'\\' => rest = escape(rest, &mut text),
                _ => text.push(octet),
            }
        }
        self.at = self.data.len().saturating_sub(rest.len());
        text
    }

    /// A hexadecimal string (§7.3.4.3).
    fn hexadecimal(&mut self) -> Vec<u8> {
        let rest = self.data.get(self.at.saturating_add(1)..).unwrap_or_default();
        let length = memchr::memchr(b'>', rest).unwrap_or(rest.len());
        self.at = self.at.saturating_add(length).saturating_add(2).min(self.data.len());
        hexadecimal(rest.get(..length).unwrap_or_default())
    }
}

/// Hexadecimal digits as octets; anything else between them is skipped, a missing last digit is 0.
pub(crate) fn hexadecimal(digits: &[u8]) -> Vec<u8> {
    let mut digits = digits.iter().filter_map(|&octet| hex(octet));
    let mut text = Vec::new();
    while let Some(high) = digits.next() {
        text.push(high << 4 | digits.next().unwrap_or(0));
    }
    text
}

/// What follows a reverse solidus in a literal string. Returns what follows that.
fn escape<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    let Some((&octet, after)) = rest.split_first() else { return rest };
    match octet {
        b'n' => text.push(b'\n'),
        b'r' => text.push(b'\r'),
        b't' => text.push(b'\t'),
        b'b' => text.push(8),
        b'f' => text.push(12),
        b'\r' => return after.strip_prefix(b"\n").unwrap_or(after),
        b'\n' => {}
        b'0'..=b'7' => {
            let digits = rest.iter().take(3).take_while(|octet| matches!(octet, b'0'..=b'7'));
            let (mut value, mut count) = (0_u8, 0_usize);
            for digit in digits {
                value = value.wrapping_mul(8).wrapping_add(digit & 7);
                count = count.saturating_add(1);
            }
            text.push(value);
            return rest.get(count..).unwrap_or_default();
        }
        _ => text.push(octet),
    }
    after
}

/// The reference that the last two numbers and an `R` make.
fn reference(items: &mut Vec<Value>) -> Option<Value> {
    let [.., Value::Number(number), Value::Number(_)] = items.as_slice() else { return None };
    let number = u32::try_from(integer(*number)).ok()?;
    items.truncate(items.len().saturating_sub(2));
    Some(Value::Ref(number))
}

fn pairs(items: Vec<Value>) -> Dict {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let Some(key) = items.next() {
        if let Value::Name(key) = key
            && let Some(value) = items.next()
        {
            pairs.push((key, value));
        }
    }
    Dict(pairs)
}

/// A number (§7.3.3), as leniently as readers take it.
fn number(word: &[u8]) -> Option<f64> {
    let first = *word.first()?;
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return None;
    }
    let signs = word.iter().take_while(|octet| matches!(octet, b'+' | b'-')).count();
    let digits = word.get(signs..).unwrap_or_default();
    let (mut value, mut scale, mut seen) = (0.0_f64, 0.0_f64, false);
    for &octet in digits {
        match octet {
            b'0'..=b'9' if scale > 0.0 => {
                value += f64::from(octet & 15) * scale;
                scale /= 10.0;
            }
            b'0'..=b'9' => value = value * 10.0 + f64::from(octet & 15),
            b'.' if scale == 0.0 => scale = 0.1,
            b'-' if seen => break,
            _ => return None,
        }
        seen = true;
    }
    Some(if first == b'-' { -value } else { value })
}

pub(crate) fn hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet & 15),
        b'a'..=b'f' | b'A'..=b'F' => Some((octet & 15).saturating_add(9)),
        _ => None,
    }
}

/// White space (§7.2.3).
pub(crate) fn is_space(octet: u8) -> bool {
    matches!(octet, 0 | b'\t' | b'\n' | 12 | b'\r' | b' ')
}

fn is_regular(octet: u8) -> bool {
    !is_space(octet)
        && !matches!(octet, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}
