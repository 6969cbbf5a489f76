//! A PDF file's octets → every version of every object in it (ISO 32000-2 §7.5).
//!
//! In: the octets. Out: a [`Store`]: objects in the order of the file, those of object streams
//! included, and which version of each number is the latest.
//!
//! The file is scanned for `N G obj`; cross-reference tables are not trusted and not needed, so a
//! missing or lying one changes nothing: objects that no table reaches and replaced ones are found
//! like the others. Tables only add objects that they place inside another object's stream.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::crypt::Key;
use super::filter::{self, Decoded};
use super::object::{Dict, Lexer, Token, Value, integer, is_space};
use crate::archive::{Missing, Passwords, UnpackError};
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Steps of making one value: it takes memory too.
const VALUE: u64 = 80;
/// Steps of finding one object.
const OBJECT: u64 = 300;

/// One version of one object.
#[derive(Debug)]
pub(crate) struct Object {
    number: u32,
    generation: u16,
    pub(crate) value: Value,
    /// The octets of its stream.
    data: Option<Range<usize>>,
    /// Octets from the start of the file; of the object stream, for one of those.
    pub(crate) offset: usize,
    /// The end of it.
    pub(crate) end: usize,
    packed: bool,
}

impl Object {
    /// Its dictionary, if it is one or a stream.
    pub(crate) fn dict(&self) -> Option<&Dict> {
        self.value.dict()
    }

    /// Octets of its stream as stored.
    pub(crate) fn stored(&self) -> usize {
        self.data.clone().map_or(0, |range| range.len())
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.data.is_some()
    }
}

/// Everything in a file.
#[derive(Debug)]
pub(crate) struct Store {
    content: Bytes,
    pub(crate) objects: Vec<Object>,
    /// Number and place of every object, sorted.
    index: Vec<(u32, usize)>,
    pub(crate) trailers: Vec<Dict>,
    key: Option<Key>,
    /// Encrypted, and nobody knows the password: strings are empty, streams missing.
    pub(crate) locked: bool,
    /// Names written with needless escapes.
    pub(crate) obscured: Vec<Vec<u8>>,
    /// The first thing that could not be read.
    pub(crate) trouble: Option<UnpackError>,
}

impl Store {
    /// Reads a whole file.
    pub(crate) fn read(
        content: &Bytes,
        passwords: &Passwords,
        budget: &mut Budget<'_>,
    ) -> Result<Self, Limit> {
        let mut store = Self {
            content: content.clone(),
            objects: Vec::new(),
            index: Vec::new(),
            trailers: Vec::new(),
            key: None,
            locked: false,
            obscured: Vec::new(),
            trouble: None,
        };
        store.scan(budget)?;
        store.index();
        store.unlock(passwords, budget)?;
        store.unpack(budget)?;
        store.index();
        Ok(store)
    }

    /// The latest version of an object.
    pub(crate) fn object(&self, number: u32) -> Option<&Object> {
        self.objects.get(self.place(number)?)
    }

    /// Where the latest version of an object is.
    pub(crate) fn place(&self, number: u32) -> Option<usize> {
        let last = self.index.partition_point(|&(own, _)| own <= number).checked_sub(1)?;
        self.index.get(last).filter(|&&(own, _)| own == number).map(|&(_, place)| place)
    }

    /// Where all versions of an object are, oldest first.
    pub(crate) fn versions(&self, number: u32) -> impl Iterator<Item = usize> {
        let first = self.index.partition_point(|&(own, _)| own < number);
        let last = self.index.partition_point(|&(own, _)| own <= number);
        self.index.get(first..last).unwrap_or_default().iter().map(|&(_, place)| place)
    }

    /// A value itself, or what it refers to.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..16 {
            let Value::Ref(number) = value else { return value };
            let Some(object) = self.object(*number) else { return &Value::Null };
            value = &object.value;
        }
        &Value::Null
    }

    /// An entry of a dictionary, followed if it is a reference.
    pub(crate) fn get<'a>(&'a self, dict: &'a Dict, key: &[u8]) -> &'a Value {
        dict.get(key).map_or(&Value::Null, |value| self.resolve(value))
    }

    /// An entry that is a dictionary or a stream.
    pub(crate) fn dict<'a>(&'a self, dict: &'a Dict, key: &[u8]) -> Option<&'a Dict> {
        self.get(dict, key).dict()
    }

    /// The octets of an object's stream as stored, decrypted.
    pub(crate) fn raw(&self, object: &Object) -> Vec<u8> {
        let range = object.data.clone().unwrap_or(0..0);
        let raw = self.content.get(range).unwrap_or_default();
        let Some(key) = &self.key else { return raw.to_vec() };
        let dict = object.dict();
        let plain = dict.is_some_and(|dict| {
            dict.is_type(b"XRef")
                || dict.is_type(b"Metadata") && !key.metadata
                || self.filters(dict).first().is_some_and(|(name, _)| name == b"Crypt")
        });
        if plain { raw.to_vec() } else { key.stream((object.number, object.generation), raw) }
    }

    /// What an object's stream holds.
    pub(super) fn decode(&self, place: usize, budget: &mut Budget<'_>) -> Result<Decoded, Limit> {
        let Some(object) = self.objects.get(place).filter(|object| object.is_stream()) else {
            return Ok(Decoded::default());
        };
        if self.locked && !object.dict().is_some_and(|dict| dict.is_type(b"XRef")) {
            let missing = Some(Missing::new(GapReason::Encrypted, "unknown password"));
            return Ok(Decoded { missing, ..Decoded::default() });
        }
        let raw = self.raw(object);
        budget.charge_work(raw.len() as u64)?;
        let filters = object.dict().map(|dict| self.filters(dict)).unwrap_or_default();
        filter::decode(raw, &filters, budget)
    }

    /// The filters of a stream and their parameters.
    pub(crate) fn filters(&self, dict: &Dict) -> Vec<(Vec<u8>, Dict)> {
        let either = |long: &[u8], short: &[u8]| {
            let value = self.get(dict, long);
            if *value == Value::Null { self.get(dict, short) } else { value }
        };
        let (names, parameters) = (either(b"Filter", b"F"), either(b"DecodeParms", b"DP"));
        let parameter = |place: usize| match parameters {
            Value::Array(list) => list.get(place).map(|value| self.resolve(value)),
            single => Some(single),
        };
        let names = match names {
            Value::Array(list) => list.as_slice(),
            single => std::slice::from_ref(single),
        };
        let named = names.iter().enumerate().filter_map(|(place, name)| {
            let name = self.resolve(name).name()?.to_vec();
            let parameters = parameter(place).and_then(Value::dict).cloned().unwrap_or_default();
            Some((name, parameters))
        });
        named.take(100).collect()
    }

    /// The password that opened the file, if it is encrypted.
    pub(crate) fn password(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.password.as_str())
    }

    fn index(&mut self) {
        let places = self.objects.iter().enumerate();
        self.index = places.map(|(place, object)| (object.number, place)).collect();
        self.index.sort_unstable();
    }

    /// Finds the objects of the file itself, and the trailers.
    fn scan(&mut self, budget: &mut Budget<'_>) -> Result<(), Limit> {
        let content = self.content.clone();
        budget.charge_work(content.len() as u64 / 4)?;
        let ends: Vec<usize> = memmem::find_iter(&content, b"endstream").collect();
        let heads = heads(&content, budget)?;
        let listed = listed(&content, budget)?;
        let at_number: HashMap<u32, usize> =
            heads.iter().map(|head| (head.number, head.body)).collect();
        self.objects.reserve_exact(heads.len());
        let mut covered = 0;
        for (place, head) in heads.iter().enumerate() {
            let next = heads.get(place.saturating_add(1)).map_or(content.len(), |next| next.start);
            if head.start < covered && !listed.contains(&head.start) {
                budget.charge_work(1)?;
                continue;
            }
            let mut lexer = Lexer::new(&content, head.body);
            let (value, word) = lexer.object();
            let octets = lexer.at.saturating_sub(head.body) as u64;
            budget.charge_work(lexer.made.saturating_add(1).saturating_mul(VALUE) + octets)?;
            if lexer.is_cut() {
                return Err(Limit::Work);
            }
            // A string that does not end holds all that follows, again and again.
            budget.charge_bytes(lexer.at.saturating_sub(next.max(head.body)) as u64)?;
            self.obscured.append(&mut lexer.obscured);
            let mut end = lexer.at;
            let mut data = None;
            if word == b"stream" && value.dict().is_some() {
                let start = stream_start(&content, lexer.at);
                let length = value.dict().and_then(|dict| dict.get(b"Length"));
                let length = claimed(&content, length, &at_number);
                let range = stream_range(&content, start, length, &ends, next);
                end = range.end;
                covered = covered.max(range.end);
                data = Some(range);
            }
            let (number, generation) = (head.number, head.generation);
            let offset = head.start;
            self.objects.push(Object {
                number,
                generation,
                value,
                data,
                offset,
                end,
                packed: false,
            });
        }
        self.trailers(&content, budget)
    }

    fn trailers(&mut self, content: &[u8], budget: &mut Budget<'_>) -> Result<(), Limit> {
        for at in memmem::find_iter(content, b"trailer") {
            let mut lexer = Lexer::new(content, at.saturating_add(7));
            let value = lexer.one();
            if lexer.is_cut() {
                return Err(Limit::Work);
            }
            let cost = lexer.at.saturating_sub(at) as u64;
            budget.charge_work(lexer.made.saturating_mul(VALUE).saturating_add(cost))?;
            if let Value::Dict(dict) = value {
                self.trailers.push(dict);
            }
        }
        let tables = self.objects.iter().filter_map(Object::dict);
        let tables: Vec<Dict> = tables.filter(|dict| dict.is_type(b"XRef")).cloned().collect();
        self.trailers.extend(tables);
        Ok(())
    }

    /// Finds the key and decrypts all strings.
    fn unlock(&mut self, passwords: &Passwords, budget: &mut Budget<'_>) -> Result<(), Limit> {
        let Some(found) = self.trailers.iter().rev().find_map(|dict| dict.get(b"Encrypt")) else {
            return Ok(());
        };
        let number = if let Value::Ref(number) = found { Some(*number) } else { None };
        let Some(mut dict) = self.resolve(found).dict().cloned() else { return Ok(()) };
        for (_, value) in &mut dict.0 {
            *value = self.resolve(value).clone();
        }
        let ids = self.trailers.iter().rev().filter_map(|dict| self.get(dict, b"ID").array());
        let id = ids.filter_map(<[Value]>::first).map(|id| self.resolve(id).clone()).next();
        let id = if let Some(Value::Text(id)) = &id { &**id } else { &[] };
        self.key = Key::find(&dict, id, passwords.iter(), budget)?;
        self.locked = self.key.is_none();
        for object in &mut self.objects {
            if Some(object.number) != number {
                let id = (object.number, object.generation);
                decrypt(&mut object.value, id, self.key.as_ref());
            }
        }
        Ok(())
    }

    /// Reads the objects of object streams (§7.5.7) and puts them where the streams are.
    fn unpack(&mut self, budget: &mut Budget<'_>) -> Result<(), Limit> {
        let places: Vec<usize> = (0..self.objects.len()).collect();
        let mut packed: Vec<(usize, Vec<Object>)> = Vec::new();
        for place in places {
            let Some(object) = self.objects.get(place) else { break };
            let Some(dict) = object.dict().filter(|_| object.is_stream()) else { continue };
            let is_packed =
                dict.is_type(b"ObjStm") || dict.get(b"First").is_some() && dict.get(b"N").is_some();
            let Some(first) = self.get(dict, b"First").length().filter(|_| is_packed) else {
                continue;
            };
            let count = self.get(dict, b"N").length().unwrap_or(0);
            let offset = object.offset;
            let decoded = self.decode(place, budget)?;
            if let Some(Missing { reason: GapReason::Limit(limit), .. }) = decoded.missing {
                self.trouble.get_or_insert(UnpackError::Limit(limit));
            }
            packed.push((place, self.members(&decoded.bytes, first, count, offset, budget)?));
        }
        if packed.is_empty() {
            return Ok(());
        }
        let mut packed = packed.into_iter().peekable();
        let mut all = Vec::with_capacity(self.objects.len());
        for (place, object) in std::mem::take(&mut self.objects).into_iter().enumerate() {
            all.push(object);
            if let Some((_, members)) = packed.next_if(|(at, _)| *at == place) {
                all.extend(members);
            }
        }
        self.objects = all;
        Ok(())
    }

    fn members(
        &mut self,
        data: &[u8],
        first: usize,
        count: usize,
        offset: usize,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<Object>, Limit> {
        let mut header = Lexer::new(data.get(..first).unwrap_or(data), 0);
        let mut members = Vec::new();
        let mut read = 0_usize;
        while members.len() < count {
            let (number, at) = (header.token(), header.token());
            let (Some(Token::Number(number)), Some(Token::Number(at))) = (number, at) else {
                break;
            };
            let at = usize::try_from(integer(at)).unwrap_or(usize::MAX);
            let mut lexer = Lexer::new(data, first.saturating_add(at));
            let value = lexer.one();
            if lexer.is_cut() {
                return Err(Limit::Work);
            }
            // Members that overlap would be read again and again.
            read = read.saturating_add(lexer.at.saturating_sub(first.saturating_add(at)));
            budget.charge_work(lexer.made.saturating_add(1).saturating_mul(VALUE))?;
            budget.charge_work(OBJECT.saturating_add(read.saturating_sub(data.len()) as u64))?;
            if read > data.len() {
                let again = lexer.at.saturating_sub(first.saturating_add(at));
                budget.charge_bytes(again as u64)?;
            }
            self.obscured.append(&mut lexer.obscured);
            let number = u32::try_from(integer(number)).unwrap_or(u32::MAX);
            members.push(Object {
                number,
                generation: 0,
                value,
                data: None,
                offset,
                end: offset,
                packed: true,
            });
        }
        Ok(members)
    }

    /// Where the objects of the file itself start and end.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Range<usize>> {
        self.objects.iter().filter(|object| !object.packed).map(|object| object.offset..object.end)
    }
}

/// The start of an object: `N G obj`.
struct Head {
    start: usize,
    body: usize,
    number: u32,
    generation: u16,
}

fn heads(content: &[u8], budget: &mut Budget<'_>) -> Result<Vec<Head>, Limit> {
    let mut heads = Vec::new();
    for at in memmem::find_iter(content, b"obj") {
        if let Some(head) = head(content, at) {
            budget.charge_work(OBJECT)?;
            heads.push(head);
        }
    }
    Ok(heads)
}

/// Reads backwards from the word `obj`.
fn head(content: &[u8], at: usize) -> Option<Head> {
    let before = content.get(at.saturating_sub(64)..at)?;
    let before = trim_space(before);
    let (before, generation) = trim_digits(before)?;
    let spaced = trim_space(before);
    if spaced.len() == before.len() {
        return None;
    }
    let (rest, number) = trim_digits(spaced)?;
    let length = content.get(at.saturating_sub(64)..at)?.len().saturating_sub(rest.len());
    Some(Head {
        start: at.saturating_sub(length),
        body: at.saturating_add(3),
        number: u32::try_from(number).ok()?,
        generation: u16::try_from(generation).unwrap_or(0),
    })
}

fn trim_space(text: &[u8]) -> &[u8] {
    let kept =
        text.iter().rposition(|&octet| !is_space(octet)).map_or(0, |at| at.saturating_add(1));
    text.get(..kept).unwrap_or_default()
}

fn trim_digits(text: &[u8]) -> Option<(&[u8], u64)> {
    let kept = text.iter().rposition(|octet| !octet.is_ascii_digit());
    let (rest, digits) = text.split_at_checked(kept.map_or(0, |at| at.saturating_add(1)))?;
    Some((rest, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// The offsets that cross-reference tables name.
fn listed(content: &[u8], budget: &mut Budget<'_>) -> Result<HashSet<usize>, Limit> {
    let (mut listed, mut done) = (HashSet::new(), 0);
    for at in memmem::find_iter(content, b"xref") {
        let start = at.saturating_add(4);
        let table = content.get(start..).unwrap_or_default();
        let digit = table.iter().take(64).find(|&&octet| !is_space(octet));
        let before = content.get(..at).unwrap_or_default();
        if at < done || before.ends_with(b"start") || !digit.is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // Without a trailer here there is none behind later tables either.
        let Some(end) = memmem::find(table, b"trailer") else { break };
        done = start.saturating_add(end);
        budget.charge_work(end as u64)?;
        let words = table.get(..end).unwrap_or_default().split(|&octet| is_space(octet));
        let offsets = words.filter(|word| word.len() == 10);
        listed.extend(
            offsets.filter_map(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok()),
        );
    }
    Ok(listed)
}

/// Behind the line end after the word `stream`.
fn stream_start(content: &[u8], at: usize) -> usize {
    let rest = content.get(at..).unwrap_or_default();
    let spaces = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let line = rest.get(spaces..).unwrap_or_default();
    let skipped = match line {
        [b'\r', b'\n', ..] => spaces.saturating_add(2),
        [b'\r' | b'\n', ..] => spaces.saturating_add(1),
        _ => 0,
    };
    at.saturating_add(skipped)
}

/// What `Length` says.
fn claimed(content: &[u8], length: Option<&Value>, bodies: &HashMap<u32, usize>) -> Option<usize> {
    match length? {
        Value::Ref(number) => {
            let mut lexer = Lexer::new(content, *bodies.get(number)?);
            match lexer.token()? {
                Token::Number(length) => usize::try_from(integer(length)).ok(),
                _ => None,
            }
        }
        value => value.length(),
    }
}

/// The claimed octets if `endstream` follows them, else those up to the next `endstream`.
fn stream_range(
    content: &[u8],
    start: usize,
    length: Option<usize>,
    ends: &[usize],
    next: usize,
) -> Range<usize> {
    let start = start.min(content.len());
    if let Some(end) = length.and_then(|length| start.checked_add(length))
        && let Some(rest) = content.get(end..)
    {
        let spaces = rest.iter().take(4).take_while(|&&octet| is_space(octet)).count();
        if rest.get(spaces..).unwrap_or_default().starts_with(b"endstream") {
            return start..end;
        }
    }
    let first = ends.partition_point(|&end| end < start);
    let end = ends.get(first).copied().unwrap_or(next).max(start);
    start..end
}

/// Decrypts the strings in a value; without a key they are emptied.
fn decrypt(value: &mut Value, id: (u32, u16), key: Option<&Key>) {
    match value {
        Value::Text(text) => {
            *text = key.map(|key| key.text(id, text)).unwrap_or_default().into_boxed_slice();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| decrypt(item, id, key)),
        Value::Dict(dict) => dict.0.iter_mut().for_each(|(_, item)| decrypt(item, id, key)),
        _ => {}
    }
}
