//! Content streams (ISO 32000-2 §7.8.2, §8, §9) → text with its places.
//!
//! In: a decoded stream and the resources it names. Out: [`Chunk`]s. Only what moves text is
//! followed; paths and pictures are not. Text that nobody sees (§9.3.6 mode 3, white, outside of the
//! page, tiny, in a switched-off layer) is marked.
//!
//! Unknown operators and missing operands are skipped. Forms nest to [`MAX_FORMS`]; every operator is
//! charged, and each form is drawn only so often on one page.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::font::Font;
use super::layout::Chunk;
use super::object::{Dict, Lexer, Token, Value};
use super::{Reader, bidi, text_string};
use crate::archive::UnpackError;
use crate::limits::Limit;

/// Forms inside forms.
const MAX_FORMS: usize = 12;
/// Times that one form is drawn on one page.
const MAX_REPEATS: u32 = 50;
/// Saved graphics states.
const MAX_STATES: usize = 256;
/// Operands of one operator. The longest list of one has 33, and what precedes it has no effect.
const MAX_OPERANDS: usize = 64;
/// Octets of decoded forms that are kept.
const MAX_KEPT: usize = 8 << 20;
/// Steps of one token and of one piece of text.
const TOKEN: u64 = 8;
const SHOW: u64 = 60;

/// Six numbers of a transformation (§8.3.3).
pub(super) type Matrix = [f64; 6];

/// Nothing is changed.
pub(super) const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// First `a`, then `b`.
pub(super) fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    let [a0, a1, a2, a3, a4, a5] = a;
    let [b0, b1, b2, b3, b4, b5] = b;
    [
        a0 * b0 + a1 * b2,
        a0 * b1 + a1 * b3,
        a2 * b0 + a3 * b2,
        a2 * b1 + a3 * b3,
        a4 * b0 + a5 * b2 + b4,
        a4 * b1 + a5 * b3 + b5,
    ]
}

/// A matrix of a dictionary.
pub(super) fn matrix(reader: &Reader<'_, '_>, value: &Value) -> Option<Matrix> {
    let items = value.array()?;
    let mut numbers = items.iter().filter_map(|item| reader.store.resolve(item).number());
    let mut next = || numbers.next();
    Some([next()?, next()?, next()?, next()?, next()?, next()?])
}

/// The page that text is drawn on.
#[derive(Debug)]
pub(super) struct Canvas {
    pub(super) chunks: Vec<Chunk>,
    /// What is visible: left, bottom, right, top.
    pub(super) area: [f64; 4],
    fonts: HashMap<usize, Rc<Font>>,
    streams: HashMap<usize, Rc<Vec<u8>>>,
    kept: usize,
    /// Layers that are switched off.
    pub(super) off: HashSet<u32>,
    drawn: HashMap<usize, u32>,
    /// Whether text was drawn in a font that cannot be read.
    pub(super) blind: bool,
}

impl Canvas {
    /// An empty page.
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            area: [f64::MIN, f64::MIN, f64::MAX, f64::MAX],
            fonts: HashMap::new(),
            streams: HashMap::new(),
            kept: 0,
            off: HashSet::new(),
            drawn: HashMap::new(),
            blind: false,
        }
    }

    /// The next page; fonts stay.
    pub(super) fn turn(&mut self, area: [f64; 4]) {
        self.chunks.clear();
        self.drawn.clear();
        self.area = area;
    }
}

#[derive(Debug, Clone)]
struct State {
    matrix: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    spacing: f64,
    word_spacing: f64,
    scale: f64,
    leading: f64,
    rise: f64,
    mode: i64,
    white: bool,
    clear: bool,
}

/// Draws one stream and what it draws.
pub(super) fn draw<'a>(
    reader: &mut Reader<'a, '_>,
    canvas: &mut Canvas,
    data: &[u8],
    resources: Option<&'a Dict>,
    start: &Matrix,
) -> Result<(), Limit> {
    let state = State {
        matrix: *start,
        font: None,
        size: 1.0,
        spacing: 0.0,
        word_spacing: 0.0,
        scale: 1.0,
        leading: 0.0,
        rise: 0.0,
        mode: 0,
        white: false,
        clear: false,
    };
    Painter::new(reader, canvas, resources, state, 0).run(data)
}

struct Painter<'p, 'a, 'b> {
    reader: &'p mut Reader<'a, 'b>,
    canvas: &'p mut Canvas,
    resources: Option<&'a Dict>,
    state: State,
    saved: Vec<State>,
    text: Matrix,
    line: Matrix,
    operands: Vec<Value>,
    depth: usize,
    /// Marked content: whether each open section is switched off, and its replacement text.
    marks: Vec<(bool, Option<String>)>,
}

impl<'p, 'a, 'b> Painter<'p, 'a, 'b> {
    fn new(
        reader: &'p mut Reader<'a, 'b>,
        canvas: &'p mut Canvas,
        resources: Option<&'a Dict>,
        state: State,
        depth: usize,
    ) -> Self {
        Self {
            reader,
            canvas,
            resources,
            state,
            saved: Vec::new(),
            text: IDENTITY,
            line: IDENTITY,
            operands: Vec::new(),
            depth,
            marks: Vec::new(),
        }
    }

    fn run(&mut self, data: &[u8]) -> Result<(), Limit> {
        let mut lexer = Lexer::new(data, 0);
        let mut steps = 0_u64;
        loop {
            let before = lexer.at;
            let Some(token) = lexer.token() else { break };
            let spent = lexer.at.saturating_sub(before) as u64;
            steps = steps.saturating_add(TOKEN).saturating_add(spent);
            if steps > 10_000 {
                self.reader.budget.charge_work(std::mem::take(&mut steps))?;
            }
            let value = match token {
                Token::Number(number) => Value::Number(number),
                Token::Name(name) => Value::Name(name.into_owned().into_boxed_slice()),
                Token::Text(text) => Value::Text(text.into_boxed_slice()),
                Token::Open | Token::OpenDict => {
                    lexer.at = before;
                    lexer.made = 0;
                    let value = lexer.one();
                    if lexer.is_cut() {
                        return Err(Limit::Work);
                    }
                    steps = steps.saturating_add(lexer.made.saturating_mul(TOKEN));
                    steps = steps.saturating_add(lexer.at.saturating_sub(before) as u64);
                    value
                }
                Token::Close | Token::CloseDict => continue,
                Token::Word(b"BI") => {
                    skip_picture(data, &mut lexer);
                    self.operands.clear();
                    continue;
                }
                Token::Word(operator) => {
                    let operands = std::mem::take(&mut self.operands);
                    self.operator(operator, &operands)?;
                    self.operands = operands;
                    self.operands.clear();
                    continue;
                }
            };
            // An operator takes the last ones.
            if self.operands.len() >= MAX_OPERANDS {
                self.operands.drain(..MAX_OPERANDS / 2);
            }
            self.operands.push(value);
        }
        self.reader.budget.charge_work(steps)
    }

    fn operator(&mut self, operator: &[u8], operands: &[Value]) -> Result<(), Limit> {
        let number = |place: usize| operands.get(place).and_then(Value::number).unwrap_or(0.0);
        let last = || operands.last().and_then(Value::number).unwrap_or(0.0);
        match operator {
            b"BT" => (self.text, self.line) = (IDENTITY, IDENTITY),
            b"Tf" => self.font(operands)?,
            b"Td" => self.next_line(number(0), number(1)),
            b"TD" => {
                self.state.leading = -number(1);
                self.next_line(number(0), number(1));
            }
            b"Tm" => {
                self.line = [number(0), number(1), number(2), number(3), number(4), number(5)];
                self.text = self.line;
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"Tj" => self.show_operand(operands.last())?,
            b"'" => {
                self.next_line(0.0, -self.state.leading);
                self.show_operand(operands.last())?;
            }
            b"\"" => {
                (self.state.word_spacing, self.state.spacing) = (number(0), number(1));
                self.next_line(0.0, -self.state.leading);
                self.show_operand(operands.last())?;
            }
            b"TJ" => self.show_array(operands.last().and_then(Value::array).unwrap_or_default())?,
            b"Tc" => self.state.spacing = last(),
            b"Tw" => self.state.word_spacing = last(),
            b"Tz" => self.state.scale = last() / 100.0,
            b"TL" => self.state.leading = last(),
            b"Ts" => self.state.rise = last(),
            b"Tr" => self.state.mode = super::object::integer(last()),
            b"q" if self.saved.len() < MAX_STATES => self.saved.push(self.state.clone()),
            b"q" => self.reader.budget.left_out("graphics states inside 256 states"),
            b"Q" => {
                if let Some(state) = self.saved.pop() {
                    self.state = state;
                }
            }
            b"cm" => {
                let own = [number(0), number(1), number(2), number(3), number(4), number(5)];
                self.state.matrix = multiply(&own, &self.state.matrix);
            }
            b"g" | b"rg" | b"k" | b"sc" | b"scn" => self.state.white = is_white(operands),
            b"cs" => self.state.white = false,
            b"gs" => self.parameters(operands)?,
            b"Do" => self.form(operands)?,
            b"BMC" => self.marks.push((false, None)),
            b"BDC" => self.mark(operands),
            b"EMC" => self.end_mark(),
            _ => {}
        }
        Ok(())
    }

    /// An entry of the resources.
    fn resource(&self, kind: &[u8], name: Option<&Value>) -> Option<&'a Value> {
        let entries = self.reader.store.dict(self.resources?, kind)?;
        entries.get(name?.name()?)
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line = multiply(&[1.0, 0.0, 0.0, 1.0, x, y], &self.line);
        self.text = self.line;
    }

    fn font(&mut self, operands: &[Value]) -> Result<(), Limit> {
        let [name, size] = operands else { return Ok(()) };
        self.state.size = size.number().unwrap_or(1.0);
        let found = self.resource(b"Font", Some(name));
        let found = found.and_then(|font| self.reader.store.resolve(font).dict());
        self.state.font = self.load(found)?;
        Ok(())
    }

    fn load(&mut self, dict: Option<&'a Dict>) -> Result<Option<Rc<Font>>, Limit> {
        let Some(dict) = dict else { return Ok(None) };
        let key = std::ptr::from_ref(dict).addr();
        if let Some(font) = self.canvas.fonts.get(&key) {
            return Ok(Some(Rc::clone(font)));
        }
        let font = Rc::new(Font::read(self.reader, dict)?);
        self.canvas.fonts.insert(key, Rc::clone(&font));
        Ok(Some(font))
    }

    /// Graphics state parameters (§8.4.5): fonts and transparency.
    fn parameters(&mut self, operands: &[Value]) -> Result<(), Limit> {
        let store = self.reader.store;
        let found = self.resource(b"ExtGState", operands.last());
        let Some(dict) = found.and_then(|value| store.resolve(value).dict()) else { return Ok(()) };
        if let Some([font, size]) = store.get(dict, b"Font").array() {
            self.state.size = store.resolve(size).number().unwrap_or(1.0);
            self.state.font = self.load(store.resolve(font).dict())?;
        }
        if let Some(alpha) = store.get(dict, b"ca").number() {
            self.state.clear = alpha < 0.02;
        }
        Ok(())
    }

    fn show_operand(&mut self, operand: Option<&Value>) -> Result<(), Limit> {
        match operand {
            Some(Value::Text(string)) => self.show(string),
            _ => Ok(()),
        }
    }

    fn show_array(&mut self, items: &[Value]) -> Result<(), Limit> {
        for item in items {
            match item {
                Value::Text(string) => self.show(string)?,
                Value::Number(number) => {
                    let vertical = self.state.font.as_ref().is_some_and(|font| font.vertical);
                    let scale = if vertical { 1.0 } else { self.state.scale };
                    self.advance(vertical, -number / 1000.0 * self.state.size * scale);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn advance(&mut self, vertical: bool, by: f64) {
        let (x, y) = if vertical { (0.0, by) } else { (by, 0.0) };
        self.text = multiply(&[1.0, 0.0, 0.0, 1.0, x, y], &self.text);
    }

    fn show(&mut self, string: &[u8]) -> Result<(), Limit> {
        let cost = SHOW.saturating_add((string.len() as u64).saturating_mul(TOKEN));
        self.reader.budget.charge_work(cost)?;
        let Some(font) = self.state.font.clone() else { return Ok(()) };
        let shown = font.show(string);
        self.canvas.blind |= font.is_blind() && !string.is_empty();
        let state = &self.state;
        let size = [state.size * state.scale, 0.0, 0.0, state.size, 0.0, state.rise];
        let place = multiply(&multiply(&size, &self.text), &state.matrix);
        let [a, b, c, d, x, y] = place;
        let high = c.hypot(d);
        let (ax, ay) = if font.vertical { (-c, -d) } else { (a, b) };
        let length = ax.hypot(ay).max(f64::MIN_POSITIVE);
        let seen = self.is_seen(x, y, high);
        let extra = shown.codes * self.state.spacing + shown.spaces * self.state.word_spacing;
        let by = if font.vertical {
            -(shown.codes * self.state.size + extra)
        } else {
            (shown.width * self.state.size + extra) * self.state.scale
        };
        self.advance(font.vertical, by);
        // Spacing that pulls characters together ends before the character does.
        let pulled =
            if font.vertical { 0.0 } else { self.state.spacing.min(0.0) * self.state.scale };
        let end = multiply(&[1.0, 0.0, 0.0, 1.0, -pulled, 0.0], &self.text);
        let [.., ex, ey] = multiply(&multiply(&size, &end), &self.state.matrix);
        let replaced = self.marks.iter_mut().rev().find_map(|(_, text)| text.as_mut());
        let text = match replaced {
            Some(text) => std::mem::take(text),
            None => shown.text,
        };
        if text.is_empty() {
            if let Some(last) = self.canvas.chunks.last_mut() {
                last.end = (ex, ey);
            }
            return Ok(());
        }
        self.canvas.chunks.push(Chunk {
            text,
            start: (x, y),
            end: (ex, ey),
            along: (ax / length, ay / length),
            size: high,
            guessed: font.is_guessed(),
            hidden: !seen,
        });
        Ok(())
    }

    /// Whether text at a place is seen on the page.
    fn is_seen(&self, x: f64, y: f64, size: f64) -> bool {
        let [left, bottom, right, top] = self.canvas.area;
        let inside = x >= left - size && x <= right && y >= bottom - size && y <= top + size;
        let drawn = !matches!(self.state.mode, 3 | 7) && !self.state.white && !self.state.clear;
        inside && drawn && size >= 1.0 && !self.marks.iter().any(|(off, _)| *off)
    }

    /// Draws a form (§8.10).
    fn form(&mut self, operands: &[Value]) -> Result<(), Limit> {
        let store = self.reader.store;
        let Some(Value::Ref(number)) = self.resource(b"XObject", operands.last()) else {
            return Ok(());
        };
        let Some(place) = store.place(*number) else { return Ok(()) };
        let Some(dict) = store.objects.get(place).and_then(super::store::Object::dict) else {
            return Ok(());
        };
        if dict.name(b"Subtype") != Some(b"Form") {
            return Ok(());
        }
        if self.depth >= MAX_FORMS {
            self.reader.trouble.get_or_insert(UnpackError::Limit(Limit::Layers));
            return Ok(());
        }
        let times = self.canvas.drawn.entry(place).or_insert(0);
        *times = times.saturating_add(1);
        if *times > MAX_REPEATS {
            // It was read: only places for the same text are left out.
            return Ok(());
        }
        let data = self.stream(place)?;
        let own = matrix(self.reader, store.get(dict, b"Matrix")).unwrap_or(IDENTITY);
        let mut state = self.state.clone();
        state.matrix = multiply(&own, &state.matrix);
        let resources = store.dict(dict, b"Resources").or(self.resources);
        let off =
            matches!(dict.get(b"OC"), Some(Value::Ref(layer)) if self.canvas.off.contains(layer));
        let off = off || self.marks.iter().any(|(off, _)| *off);
        let depth = self.depth.saturating_add(1);
        let mut painter = Painter::new(self.reader, self.canvas, resources, state, depth);
        painter.marks.push((off, None));
        painter.run(&data)
    }

    fn stream(&mut self, place: usize) -> Result<Rc<Vec<u8>>, Limit> {
        if let Some(data) = self.canvas.streams.get(&place) {
            return Ok(Rc::clone(data));
        }
        let data = Rc::new(self.reader.decode(place)?.bytes);
        self.canvas.kept = self.canvas.kept.saturating_add(data.len());
        if self.canvas.kept <= MAX_KEPT {
            self.canvas.streams.insert(place, Rc::clone(&data));
        }
        Ok(data)
    }

    /// Marked content with properties (§14.6): layers and replacement texts.
    fn mark(&mut self, operands: &[Value]) {
        let store = self.reader.store;
        let named = match operands.last() {
            name @ Some(Value::Name(_)) => self.resource(b"Properties", name),
            _ => None,
        };
        let off = operands.first().and_then(Value::name) == Some(b"OC")
            && matches!(named, Some(Value::Ref(layer)) if self.canvas.off.contains(layer));
        let direct = operands.last().and_then(Value::dict);
        let dict = direct.or_else(|| store.resolve(named?).dict());
        let text = dict.and_then(|dict| dict.get(b"ActualText"));
        let text = match text {
            Some(Value::Text(text)) => Some(text_string::text(text)),
            _ => None,
        };
        // It is given as it is read, and is put where it stands on the page.
        let turned = |text: &String| bidi::is_any_right_to_left(text);
        let text = text.map(|text| if turned(&text) { bidi::reordered(&text) } else { text });
        if self.marks.len() < MAX_STATES {
            self.marks.push((off, text));
        } else {
            self.reader.budget.left_out("marks inside 256 marks");
        }
    }

    fn end_mark(&mut self) {
        let own = usize::from(self.depth > 0);
        if self.marks.len() > own {
            self.marks.pop();
        }
    }
}

/// Whether a colour is white: grey, RGB, or no ink at all.
fn is_white(operands: &[Value]) -> bool {
    let numbers: Vec<f64> = operands.iter().filter_map(Value::number).collect();
    match numbers.len() {
        1 | 3 => numbers.iter().all(|&part| part >= 0.97),
        4 => numbers.iter().all(|&part| part <= 0.03),
        _ => false,
    }
}

/// Skips an inline picture (§8.9.7): its octets are no operators.
fn skip_picture(data: &[u8], lexer: &mut Lexer<'_>) {
    while let Some(token) = lexer.token() {
        if token == Token::Word(b"ID") {
            break;
        }
    }
    let rest = data.get(lexer.at..).unwrap_or_default();
    for at in memchr::memmem::find_iter(rest, b"EI") {
        let space =
            |place: usize| rest.get(place).is_none_or(|&octet| super::object::is_space(octet));
        let after = rest.get(at.saturating_add(2)..).unwrap_or_default();
        let plain = after
            .iter()
            .take(12)
            .all(|&octet| octet.is_ascii_graphic() || octet.is_ascii_whitespace());
        if at > 0 && space(at.saturating_sub(1)) && space(at.saturating_add(2)) && plain {
            lexer.at = lexer.at.saturating_add(at).saturating_add(2);
            return;
        }
    }
    lexer.at = data.len();
}
