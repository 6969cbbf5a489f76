//! What the MIME fields of one part say: media type, parameters, encoding, disposition, names
//! (RFC 2045 §5, RFC 2183, RFC 2231).
//!
//! In: the part's header fields. Out: [`Described`]. Where a field or a parameter occurs again with
//! another meaning, a [`Reader`] chooses and the conflict is recorded. Broken syntax is read as mail
//! clients read it: missing quotes, semicolons and values cost nothing but themselves.

use memchr::{memchr, memmem};

use super::Defects;
use super::encoded_word;
use super::header::Field;
use super::part::{Disposition, TransferEncoding};
use crate::ambiguity::Reader;
use crate::anomaly::AnomalyKind;
use crate::charset;
use crate::limits::Limit;

/// Spellings kept of one part's name.
const MAX_NAMES: usize = 32;

/// Pieces read of one parameter (RFC 2231 §3).
const MAX_PIECES: usize = 256;

/// What a part's fields say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) media_type: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) boundary: Option<Vec<u8>>,
    pub(crate) encoding: TransferEncoding,
    pub(crate) disposition: Option<Disposition>,
    pub(crate) names: Vec<String>,
}

/// Reads the MIME fields among `fields`.
pub(crate) fn describe(
    raw: &[u8],
    fields: &[Field],
    reader: Reader,
    defects: &mut Defects,
) -> Described {
    let mut described = Described::default();
    let values = |name: &'static str| {
        fields.iter().filter_map(move |field| {
            let known = raw.get(field.name_range())?;
            known.eq_ignore_ascii_case(name.as_bytes()).then_some(())?;
            Some((field.range().start, raw.get(field.value_range())?))
        })
    };
    let types = values("Content-Type").map(|(at, value)| (at, Value::parse(value)));
    let types: Vec<(usize, Value)> = types.collect();
    let type_names: Vec<String> =
        types.iter().take(MAX_NAMES).flat_map(|(_, value)| value.texts("name")).collect();
    let types_at = types.first().map_or(0, |(at, _)| *at);
    let leaves_types = types.len() > MAX_NAMES;
    if leaves_types || types.iter().any(|(_, value)| value.leaves_out()) {
        defects.cut(Limit::Facts, types_at);
    }
    let content_type = choose_type(types, reader, defects);
    let disposition = values("Content-Disposition").map(|(at, value)| (at, Value::parse(value)));
    let dispositions: Vec<(usize, Value)> = disposition.collect();
    for (at, value) in &dispositions {
        if value.leaves_out() {
            defects.cut(Limit::Facts, *at);
        }
        described.names.extend(value.texts("filename"));
        if value.conflicts("filename") {
            defects.add(AnomalyKind::ConflictingParameter, *at, b"filename");
        }
    }
    if let Some((at, value)) = content_type {
        described.media_type = value.media_type();
        described.charset = value.get("charset", reader).map(|name| charset::latin1(&name));
        described.boundary = value.get("boundary", reader).filter(|boundary| !boundary.is_empty());
        for name in ["boundary", "name"].into_iter().filter(|name| value.conflicts(name)) {
            defects.add(AnomalyKind::ConflictingParameter, at, name.as_bytes());
        }
        if described.media_type.is_none() && described.boundary.is_some() {
            described.media_type = Some("multipart/mixed".to_owned());
        }
        if described.boundary.is_some() {
            let multipart = described.media_type.as_deref();
            if multipart.is_some_and(|known| !known.starts_with("multipart/")) {
                defects.add(AnomalyKind::ConflictingContentType, at, b"boundary of no multipart");
                if reader == Reader::BoundaryMakesMultipart {
                    described.media_type = Some("multipart/mixed".to_owned());
                }
            }
        }
    }
    described.names.extend(type_names);
    described.disposition = dispositions.first().and_then(|(_, value)| match value.word.as_str() {
        "" => None,
        "inline" => Some(Disposition::Inline),
        _ => Some(Disposition::Attachment),
    });
    described.encoding = encoding(values("Content-Transfer-Encoding"), reader, defects);
    if keep_distinct(&mut described.names) {
        defects.cut(Limit::Facts, types_at);
    }
    described
}

fn choose_type(
    mut types: Vec<(usize, Value)>,
    reader: Reader,
    defects: &mut Defects,
) -> Option<(usize, Value)> {
    if let Some((at, value)) = types.iter().find(|(_, value)| value.media_type().is_none()) {
        defects.add(AnomalyKind::ConflictingContentType, *at, value.word.as_bytes());
    }
    if let ([(_, first), .., (_, last)], Some(at)) =
        (types.as_slice(), types.get(1).map(|(at, _)| *at))
    {
        let meaning = |value: &Value| (value.media_type(), value.get("boundary", reader));
        let same = meaning(first) == meaning(last);
        let kind =
            if same { AnomalyKind::DuplicateField } else { AnomalyKind::ConflictingContentType };
        defects.add(kind, at, b"Content-Type");
    }
    if reader == Reader::LastContentType {
        return types.pop();
    }
    let usable = types.iter().position(|(_, value)| value.media_type().is_some()).unwrap_or(0);
    types.into_iter().nth(usable)
}

fn encoding<'a>(
    values: impl Iterator<Item = (usize, &'a [u8])>,
    reader: Reader,
    defects: &mut Defects,
) -> TransferEncoding {
    let mut chosen: Option<Option<TransferEncoding>> = None;
    let mut conflict = false;
    for (at, value) in values {
        let named = TransferEncoding::parse(value);
        if named.is_none() || chosen.is_some_and(|known| known != named) {
            conflict = true;
            defects.add(AnomalyKind::ConflictingEncoding, at, value);
        }
        if chosen.is_none() || reader == Reader::LastEncoding {
            chosen = Some(named);
        }
    }
    let encoding = chosen.flatten().unwrap_or_default();
    match reader {
        Reader::NoEncoding if conflict => TransferEncoding::Identity,
        Reader::AnyEncodingIsBase64 if chosen == Some(None) => TransferEncoding::Base64,
        _ => encoding,
    }
}

/// Keeps each name once; tells whether there were too many.
fn keep_distinct(names: &mut Vec<String>) -> bool {
    let mut kept: Vec<String> = Vec::new();
    let mut is_cut = false;
    for name in names.drain(..) {
        let name = name.trim();
        if name.is_empty() || kept.iter().any(|known| known == name) {
            continue;
        }
        if kept.len() < MAX_NAMES {
            kept.push(name.to_owned());
        } else {
            is_cut = true;
        }
    }
    *names = kept;
    is_cut
}

/// A field value with parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Value {
    /// What stands before the parameters, in lower case, without comments and white space.
    pub(crate) word: String,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    /// In lower case, without RFC 2231 marks.
    name: String,
    /// `name*2` is section 2 (RFC 2231 §3).
    section: Option<u32>,
    /// Percent-encoded (RFC 2231 §4).
    extended: bool,
    value: Vec<u8>,
    /// What a reader takes who reads quotes, backslashes or spaces otherwise.
    other: Option<Vec<u8>>,
}

impl Value {
    /// Splits a raw value. Never fails.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let raw: Vec<u8> =
            raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let mut scanner = Scanner { text: &raw, at: 0 };
        let word = scanner.word();
        let mut parameters = Vec::new();
        while let Some(parameter) = scanner.parameter() {
            parameters.push(parameter);
        }
        Self { word, parameters }
    }

    /// The word if it is a media type.
    pub(crate) fn media_type(&self) -> Option<String> {
        let (major, minor) = self.word.split_once('/')?;
        let good = !major.is_empty() && !minor.is_empty() && !minor.contains('/');
        good.then(|| self.word.clone())
    }

    /// Whether there are more parameters of one name, or pieces of one, than are read.
    fn leaves_out(&self) -> bool {
        // Nearly all values end here.
        if self.parameters.len() <= MAX_NAMES {
            return false;
        }
        ["name", "filename", "charset", "boundary"].into_iter().any(|name| {
            self.plain(name).count() > MAX_NAMES || self.pieces(name).count() > MAX_PIECES
        })
    }

    /// A parameter's octets, pieces put together, trimmed.
    pub(crate) fn get(&self, name: &str, reader: Reader) -> Option<Vec<u8>> {
        let mut plain = self.plain(name);
        let plain = if reader == Reader::LastParameter { plain.last() } else { plain.next() };
        let value = match plain {
            Some(parameter) if reader == Reader::OtherSpelling => {
                parameter.other.clone().unwrap_or_else(|| parameter.value.clone())
            }
            Some(parameter) => parameter.value.clone(),
            None => self.assembled(name)?.1,
        };
        Some(value.trim_ascii().to_vec())
    }

    /// Whether a parameter occurs again with another value.
    pub(crate) fn conflicts(&self, name: &str) -> bool {
        let mut plain = self.plain(name).map(|parameter| &parameter.value);
        let first = plain.next();
        plain.any(|value| Some(value) != first)
    }

    /// Every spelling of a parameter as text.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (charset, value) in self.assembled_all(name) {
            all.push(match charset {
                Some(charset) => charset::decode(&value, Some(&charset)).text,
                None => encoded_word::decode_value(&value),
            });
        }
        for parameter in self.plain(name).take(MAX_NAMES) {
            for value in std::iter::once(&parameter.value).chain(&parameter.other) {
                let decoded = encoded_word::decode_value(value);
                if let Some((charset, rest)) = split_extended(value) {
                    all.push(charset::decode(&unescape_percent(rest), Some(&charset)).text);
                }
                let undecoded = charset::decode(value, None);
                let other = charset::alternative(value, None, &undecoded);
                all.push(decoded);
                all.push(undecoded.text);
                all.extend(other);
            }
        }
        all
    }

    fn plain(&self, name: &str) -> impl Iterator<Item = &Parameter> {
        let wanted = name.to_owned();
        self.parameters.iter().filter(move |parameter| {
            parameter.name == wanted && parameter.section.is_none() && !parameter.extended
        })
    }

    /// What stands in RFC 2231 form.
    fn pieces(&self, name: &str) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |parameter| {
            parameter.name == name && (parameter.section.is_some() || parameter.extended)
        })
    }

    /// The value in RFC 2231 form: its charset and its octets.
    fn assembled(&self, name: &str) -> Option<(Option<String>, Vec<u8>)> {
        self.assembled_all(name).into_iter().next()
    }

    /// Every value that readers put together from pieces in RFC 2231 form, the usual one first:
    /// they stop at a gap or do not, take the first or the last of equal pieces, in the order of
    /// their numbers or as they come, and undo the percent signs of marked pieces, all or none.
    fn assembled_all(&self, name: &str) -> Vec<(Option<String>, Vec<u8>)> {
        let found: Vec<&Parameter> = self.pieces(name).take(MAX_PIECES).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let mut sorted = found.clone();
        sorted.sort_by_key(|piece| piece.section);
        let mut orders = vec![sorted.clone()];
        let follows = |pair: &[&Parameter]| match pair {
            [one, next] => one.section.and_then(|one| one.checked_add(1)) == next.section,
            _ => true,
        };
        let whole = sorted.first().is_some_and(|first| matches!(first.section, None | Some(0)))
            && sorted.windows(2).all(follows);
        if !whole {
            let mut first = sorted.clone();
            first.dedup_by_key(|piece| piece.section);
            let mut last = sorted.clone();
            last.reverse();
            last.dedup_by_key(|piece| piece.section);
            last.reverse();
            let run = 1 + first.windows(2).take_while(|pair| follows(pair)).count();
            let no_gap = first.iter().copied().take(run).collect();
            let single = sorted.iter().copied().filter(|piece| piece.section.is_none());
            orders.extend([found, first, last, no_gap, single.collect()]);
        }
        let mut all: Vec<(Option<String>, Vec<u8>)> = Vec::new();
        for order in &orders {
            let none = (!whole).then_some(Escapes::None);
            for escapes in [Escapes::Marked, Escapes::All].into_iter().chain(none) {
                let value = joined(order, escapes);
                if !value.1.is_empty() && !all.contains(&value) {
                    all.push(value);
                }
            }
        }
        all
    }
}

/// Which pieces of a parameter are percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Marked,
    All,
    None,
}

fn joined(pieces: &[&Parameter], escapes: Escapes) -> (Option<String>, Vec<u8>) {
    let mut charset = None;
    let mut value = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        let named = split_extended(&piece.value);
        let named = named.filter(|_| place == 0 && piece.extended && escapes != Escapes::None);
        let text = named.as_ref().map_or(piece.value.as_slice(), |(_, rest)| rest);
        if escapes == Escapes::All || (escapes == Escapes::Marked && piece.extended) {
            value.extend(unescape_percent(text));
        } else {
            value.extend_from_slice(text);
        }
        charset = charset.or(named.map(|(charset, _)| charset));
    }
    (charset, value)
}

/// `charset'language'text` → charset and text.
fn split_extended(value: &[u8]) -> Option<(String, &[u8])> {
    let first = memchr(b'\'', value).filter(|at| *at <= 40)?;
    let charset = value.get(..first)?;
    let rest = value.get(first + 1..)?;
    let second = memchr(b'\'', rest).filter(|at| *at <= 40)?;
    let good = charset.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte));
    good.then(|| Some((charset::latin1(charset), rest.get(second + 1..)?)))?
}

fn unescape_percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => super::transfer::hex_pair(*high, *low),
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    out
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    /// Skips white space and comments, and semicolons between parameters.
    fn skip_space(&mut self, semicolons: bool) {
        let mut depth = 0_usize;
        while let Some(byte) = self.rest().first() {
            match byte {
                b'(' => depth = depth.saturating_add(1),
                b')' if depth > 0 => depth = depth.saturating_sub(1),
                b'\\' if depth > 0 => self.skip(1),
                b' ' | b'\t' => {}
                b';' if semicolons && depth == 0 => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.skip(1);
        }
    }

    /// What stands before the parameters. White space ends it unless a slash is around.
    fn word(&mut self) -> String {
        let mut word = Vec::new();
        loop {
            self.skip_space(false);
            let rest = self.rest();
            let length = rest.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t' | b'('));
            let piece = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
            let joined = word.is_empty() || word.ends_with(b"/") || piece.starts_with(b"/");
            if piece.is_empty() || !joined || (piece.contains(&b'=') && !word.is_empty()) {
                break;
            }
            word.extend(piece.iter().filter(|byte| **byte != b'"').map(u8::to_ascii_lowercase));
            self.skip(piece.len());
        }
        charset::latin1(&word)
    }

    fn parameter(&mut self) -> Option<Parameter> {
        loop {
            self.skip_space(true);
            let rest = self.rest();
            let stop = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
            let name = rest.get(..stop)?;
            let found = rest.get(stop) == Some(&b'=');
            self.skip(stop.saturating_add(1));
            if found {
                // After a missing semicolon, junk may stand before the name.
                let name =
                    name.trim_ascii().rsplit(|byte| matches!(byte, b' ' | b'\t' | b',')).next();
                return Some(self.value(name.unwrap_or_default()));
            }
        }
    }

    fn value(&mut self, name: &[u8]) -> Parameter {
        self.skip_space(false);
        let (value, other) =
            if self.rest().first() == Some(&b'"') { self.quoted() } else { self.token(name) };
        let name = charset::latin1(&name.to_ascii_lowercase());
        let (name, extended) = match name.strip_suffix('*') {
            Some(short) => (short.to_owned(), true),
            None => (name, false),
        };
        let numbered = name
            .split_once('*')
            .and_then(|(base, number)| Some((base.to_owned(), number.parse::<u32>().ok()?)));
        let (name, section) = match numbered {
            Some((base, section)) => (base, Some(section)),
            None => (name, None),
        };
        Parameter { name, section, extended, value, other }
    }

    /// A quoted string; one that never ends goes to the end.
    fn quoted(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        self.skip(1);
        let start = self.at;
        let mut value = Vec::new();
        let mut escaped = false;
        let mut end = self.text.len();
        while let Some(byte) = self.rest().first().copied() {
            self.skip(1);
            match byte {
                b'"' => {
                    end = self.at.saturating_sub(1);
                    break;
                }
                b'\\' => {
                    escaped = true;
                    value.extend(self.rest().first());
                    self.skip(1);
                }
                byte => value.push(byte),
            }
        }
        let rest = self.rest();
        let after = rest.get(..memchr(b';', rest).unwrap_or(rest.len())).unwrap_or_default();
        let raw = self.text.get(start..end.min(self.text.len())).unwrap_or_default();
        let junk = after.trim_ascii();
        let joined =
            memmem::find(junk, b"=").is_none() && !junk.is_empty() && !junk.starts_with(b"(");
        let other = if joined {
            let whole =
                self.text.get(start..self.at.saturating_add(after.len())).unwrap_or_default();
            let whole = whole.trim_ascii();
            Some(whole.strip_suffix(b"\"").unwrap_or(whole).to_vec())
        } else {
            escaped.then(|| raw.to_vec())
        };
        (value, other)
    }

    /// A value without quotes: up to a semicolon, or, read strictly, up to white space.
    fn token(&mut self, name: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let rest = self.rest();
        let whole = rest.get(..memchr(b';', rest).unwrap_or(rest.len())).unwrap_or_default();
        let blank = whole.iter().position(|byte| matches!(byte, b' ' | b'\t'));
        let short = whole.get(..blank.unwrap_or(whole.len())).unwrap_or_default();
        let is_name = name.to_ascii_lowercase().windows(4).any(|four| four == b"name");
        let next_parameter = whole.get(short.len()..).unwrap_or_default().contains(&b'=');
        let keep_short = !is_name || (next_parameter && !whole.contains(&b'?'));
        self.skip(if keep_short { short.len() } else { whole.len() });
        let (value, other) = if keep_short { (short, whole) } else { (whole, short) };
        let other = (value.len() != other.len()).then(|| other.trim_ascii().to_vec());
        (value.trim_ascii().to_vec(), other)
    }
}
