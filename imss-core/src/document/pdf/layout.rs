//! Pieces of text with their places → lines in reading order.
//!
//! In: [`Chunk`]s in the order they were drawn. Out: text with spaces and line ends where the gaps
//! are. The order of drawing is kept, which is how columns and tables are written; only a page that
//! is drawn in scattered characters is sorted by place, and a line with Hebrew or Arabic is put in the
//! order in which it is read.

use super::bidi;

/// A gap this wide, in font sizes, is a space; wider if the widths are guesses.
const SPACE: f64 = 0.15;
const GUESSED_SPACE: f64 = 0.25;
/// Chunks of fewer characters than this on average, many of them out of order, are scattered.
const SCATTERED: usize = 3;

/// Text drawn at once.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) text: String,
    /// Where it starts and ends, turned so that lines run to the right and down the page is less.
    pub(super) start: (f64, f64),
    pub(super) end: (f64, f64),
    /// Which way it runs: a unit vector.
    pub(super) along: (f64, f64),
    /// The font size on the page.
    pub(super) size: f64,
    pub(super) guessed: bool,
    pub(super) hidden: bool,
}

/// The text of some chunks of one page.
pub(super) fn text<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> String {
    let mut chunks: Vec<&Chunk> = chunks.filter(|chunk| !chunk.text.is_empty()).collect();
    if is_scattered(&chunks) {
        chunks.sort_by(|a, b| {
            line(a).total_cmp(&line(b)).then_with(|| a.start.0.total_cmp(&b.start.0))
        });
    }
    let room = chunks.iter().map(|chunk| chunk.text.len() + 1).sum();
    let spread = spread(&chunks);
    let mut page = Page { text: String::with_capacity(room), ..Page::default() };
    for chunk in chunks {
        page.add(chunk, spread);
    }
    page.end_line(spread);
    page.text
}

/// Lines that are put together.
#[derive(Default)]
struct Page<'a> {
    text: String,
    /// The line in the order in which it was drawn: each segment is left of those before it, and only
    /// a line that runs from right to left has more than one.
    segments: Vec<Segment<'a>>,
    /// Whether any of the line runs from right to left.
    turned: bool,
    /// Small text above the line, told after it, and its last chunk.
    readings: String,
    reading: Option<&'a Chunk>,
}

/// A part of a line that was drawn from left to right.
struct Segment<'a> {
    /// Where its text begins.
    start: usize,
    first: &'a Chunk,
    last: &'a Chunk,
}

impl<'a> Page<'a> {
    fn add(&mut self, chunk: &'a Chunk, spread: f64) {
        let turned = bidi::is_any_right_to_left(&chunk.text);
        let mut goes_on = false;
        if let Some(segment) = self.segments.last() {
            let last = segment.last;
            if (turned || self.turned) && is_left_of(segment.first, chunk) {
                self.turned = true;
            } else {
                match gap(last, chunk, spread) {
                    Gap::Line if is_reading(last, chunk) => return self.read(chunk, spread),
                    Gap::Line => self.next_line(spread),
                    Gap::Space => {
                        if !self.text.ends_with(char::is_whitespace)
                            && !chunk.text.starts_with(char::is_whitespace)
                        {
                            self.text.push(' ');
                        }
                        goes_on = true;
                    }
                    Gap::None => goes_on = true,
                }
            }
        }
        let start = self.text.len();
        self.text.push_str(&chunk.text);
        match self.segments.last_mut().filter(|_| goes_on) {
            Some(segment) => segment.last = chunk,
            None => self.segments.push(Segment { start, first: chunk, last: chunk }),
        }
        self.turned |= turned;
    }

    fn next_line(&mut self, spread: f64) {
        self.end_line(spread);
        // A word that was broken for the line.
        let broken = self.text.ends_with('\u{ad}');
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if broken {
            self.text.pop();
        } else {
            self.text.push('\n');
        }
    }

    /// Puts the line in the order in which it is read.
    fn end_line(&mut self, spread: f64) {
        let segments = std::mem::take(&mut self.segments);
        if std::mem::take(&mut self.turned)
            && let Some(first) = segments.first()
        {
            let drawn = self.text.split_off(first.start);
            let (mut line, mut end) = (String::with_capacity(drawn.len()), drawn.len());
            let mut before: Option<&Segment<'_>> = None;
            for segment in segments.iter().rev() {
                let start = segment.start.saturating_sub(first.start);
                let part = drawn.get(start..end).unwrap_or_default();
                let far = before
                    .is_some_and(|before| gap(before.last, segment.first, spread) == Gap::Space);
                if far
                    && !line.ends_with(char::is_whitespace)
                    && !part.starts_with(char::is_whitespace)
                {
                    line.push(' ');
                }
                line.push_str(part);
                (before, end) = (Some(segment), start);
            }
            self.text.push_str(&bidi::reordered(&line));
        }
        self.reading = None;
        self.text.push_str(&std::mem::take(&mut self.readings));
    }

    /// Adds small text above the line, which the line goes on below.
    fn read(&mut self, chunk: &'a Chunk, spread: f64) {
        if self.reading.is_none_or(|before| gap(before, chunk, spread) != Gap::None) {
            self.readings.push('\n');
        }
        self.readings.push_str(&chunk.text);
        self.reading = Some(chunk);
    }
}

/// Whether a chunk is the reading of the word that comes next: small, above the line or right of a
/// vertical one, and about where the line goes on.
fn is_reading(last: &Chunk, chunk: &Chunk) -> bool {
    let (ahead, aside) = distance(last, chunk);
    let along = last.along.0 * chunk.along.0 + last.along.1 * chunk.along.1;
    let is_near = ahead > -1.0 && ahead < 3.0 && aside > 0.5 && aside < 1.5;
    along >= 0.9 && chunk.size <= last.size * 0.65 && is_near
}

/// Whether a chunk continues a line at its left end, as words of Hebrew and Arabic that are drawn in
/// reading order do.
fn is_left_of(first: &Chunk, chunk: &Chunk) -> bool {
    let (back, aside) = distance(chunk, first);
    let along = chunk.along.0 * first.along.0 + chunk.along.1 * first.along.1;
    let (dx, dy) = (first.start.0 - chunk.start.0, first.start.1 - chunk.start.1);
    let starts_before = dx * first.along.0 + dy * first.along.1 > first.size * 0.05;
    along >= 0.9 && aside.abs() <= 0.6 && back > -0.5 && starts_before
}

/// What is between two chunks.
#[derive(Debug, PartialEq, Eq)]
enum Gap {
    None,
    Space,
    Line,
}

fn gap(before: &Chunk, chunk: &Chunk, spread: f64) -> Gap {
    let (ax, ay) = before.along;
    let turned = ax * chunk.along.0 + ay * chunk.along.1 < 0.9;
    let (ahead, aside) = distance(before, chunk);
    if turned || aside.abs() > 0.6 || ahead < -1.0 {
        return Gap::Line;
    }
    let east = |text: Option<char>| text.is_some_and(|character| character >= '\u{2e80}');
    let limit = if east(before.text.chars().next_back()) && east(chunk.text.chars().next()) {
        0.8
    } else if before.guessed || chunk.guessed {
        GUESSED_SPACE
    } else {
        SPACE
    };
    let limit = if is_single(before) && is_single(chunk) { limit.max(spread * 1.7) } else { limit };
    if ahead > limit { Gap::Space } else { Gap::None }
}

/// From the end of a chunk to the start of the next, along and across the line, in font sizes.
fn distance(before: &Chunk, chunk: &Chunk) -> (f64, f64) {
    let size = before.size.max(chunk.size).max(0.01);
    let (dx, dy) = (chunk.start.0 - before.end.0, chunk.start.1 - before.end.1);
    let (ax, ay) = before.along;
    ((dx * ax + dy * ay) / size, (dy * ax - dx * ay) / size)
}

/// How far apart characters are that are drawn one by one: the middle of their gaps, 0 if that is
/// wide enough for words.
fn spread(chunks: &[&Chunk]) -> f64 {
    let pairs = chunks.windows(2).filter_map(|pair| match pair {
        [before, chunk] if is_single(before) && is_single(chunk) => {
            let (ahead, aside) = distance(before, chunk);
            (aside.abs() < 0.6 && ahead > -1.0 && ahead < 2.0).then_some(ahead)
        }
        _ => None,
    });
    let mut gaps: Vec<f64> = pairs.collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().filter(|&gap| gap < 0.6).unwrap_or(0.0).max(0.0)
}

/// Whether it is one letter or sign.
fn is_single(chunk: &Chunk) -> bool {
    let mut characters = chunk.text.chars();
    characters.next().is_some_and(|first| !first.is_whitespace()) && characters.next().is_none()
}

/// Whether the drawing order says nothing: few characters at a time, and often back or up.
fn is_scattered(chunks: &[&Chunk]) -> bool {
    let characters: usize = chunks.iter().map(|chunk| chunk.text.chars().count()).sum();
    if chunks.len() < 8 || characters / chunks.len() >= SCATTERED {
        return false;
    }
    let level = chunks.iter().all(|chunk| chunk.along.0 > 0.9);
    let back = chunks.windows(2).filter(|pair| match pair {
        [before, after] => {
            let same = line(before).total_cmp(&line(after)).is_eq();
            same && after.start.0 < before.start.0 || line(after) < line(before)
        }
        _ => false,
    });
    level && back.count() > chunks.len() / 4
}

/// The line a chunk is on, counted downwards.
fn line(chunk: &Chunk) -> f64 {
    (-chunk.start.1 / 4.0).round()
}
