//! Words and phrases: one automaton over folded text for all lists.
//!
//! In: folded words; then folded text. Out: hits per entry. The work is linear in the text and in
//! the number of places where a word stands, whatever the lists.
//!
//! Letters of scripts with spaces must not continue a word on either side, so `age` is not in
//! `page`. Scripts without spaces have no such rule, and neither has Hangul, where particles hang
//! on the noun.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use imss_core::charset::fold;
use imss_core::limits::StopFlag;

use super::Stopped;
use super::tally::Hits;
use crate::mistake::Mistake;

/// Octets of all words together up to which the faster and larger automaton is built. Each octet
/// costs at most 1 KiB there: 32 MiB.
const MAX_DFA_OCTETS: usize = 32 << 10;
/// Octets of all words together that a plan may have.
const MAX_OCTETS: usize = 64 << 20;
/// Matches between two looks at the stop flag. The automaton alone passes 16 MiB of text, the
/// most there is, in some 50 ms, so only matches are worth counting.
const MATCHES_PER_LOOK: u32 = 1 << 16;

/// All words of a plan, compiled.
pub(super) struct Words {
    automaton: Option<AhoCorasick>,
    words: Vec<Word>,
    nears: Vec<Near>,
}

/// A distinct folded word.
struct Word {
    /// Whether a letter must not stand before it, or after it.
    bounded: (bool, bool),
    uses: Vec<Use>,
}

/// What finding a word means.
#[derive(Clone, Copy)]
enum Use {
    /// It is an entry.
    Entry(usize),
    /// It is one of the words of a near entry: which entry, which word.
    Near(usize, usize),
}

/// Words that must stand near each other.
struct Near {
    entry: usize,
    words: usize,
    within: usize,
}

/// Words being collected.
#[derive(Default)]
pub(super) struct Builder {
    texts: Vec<String>,
    known: HashMap<String, usize>,
    words: Vec<Word>,
    nears: Vec<Near>,
}

impl Builder {
    /// Adds the word of entry number `entry`.
    pub(super) fn word(&mut self, place: &str, text: &str, entry: usize) -> Result<(), Mistake> {
        self.add(place, text, Use::Entry(entry))
    }

    /// Adds the words of the near entry number `entry`. The same word twice is one word.
    pub(super) fn near(
        &mut self,
        place: &str,
        words: &[String],
        within: u32,
        entry: usize,
    ) -> Result<(), Mistake> {
        let mut distinct: Vec<String> = words.iter().map(|word| fold(word)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.is_empty() {
            return Err(Mistake::Blank { place: place.to_owned(), text: String::new() });
        }
        let near = self.nears.len();
        for (number, word) in distinct.iter().enumerate() {
            self.add(place, word, Use::Near(near, number))?;
        }
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        self.nears.push(Near { entry, words: distinct.len(), within });
        Ok(())
    }

    fn add(&mut self, place: &str, text: &str, usage: Use) -> Result<(), Mistake> {
        let folded = fold(text);
        let folded = folded.trim();
        let (Some(first), Some(last)) = (folded.chars().next(), folded.chars().next_back()) else {
            return Err(Mistake::Blank { place: place.to_owned(), text: text.to_owned() });
        };
        let next = self.words.len();
        let number = *self.known.entry(folded.to_owned()).or_insert(next);
        if number == next {
            self.texts.push(folded.to_owned());
            let bounded = (is_spaced_letter(first), is_spaced_letter(last));
            self.words.push(Word { bounded, uses: Vec::new() });
        }
        if let Some(word) = self.words.get_mut(number) {
            word.uses.push(usage);
        }
        Ok(())
    }

    /// Compiles all words.
    pub(super) fn build(self) -> Result<Words, Mistake> {
        let octets: usize = self.texts.iter().map(String::len).sum();
        let too_large = |reason: String| Mistake::SetTooLarge { what: "words", reason };
        if octets > MAX_OCTETS {
            return Err(too_large(format!("{octets} octets of {MAX_OCTETS}")));
        }
        let small = octets <= MAX_DFA_OCTETS;
        let kind = if small { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let automaton = (!self.texts.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .kind(Some(kind))
                // Looking for first letters is slower than the automaton: words have common ones.
                .prefilter(false)
                .build(&self.texts)
                .map_err(|error| too_large(error.to_string()))
        });
        Ok(Words { automaton: automaton.transpose()?, words: self.words, nears: self.nears })
    }
}

impl Words {
    /// Adds what stands in `text` to `hits`.
    pub(super) fn search(
        &self,
        text: &str,
        hits: &mut Hits<'_>,
        stop: &StopFlag,
    ) -> Result<(), Stopped> {
        let Some(automaton) = &self.automaton else { return Ok(()) };
        let mut nears: HashMap<usize, Vec<Option<Start>>> = HashMap::new();
        let mut reached = Reached::default();
        let mut looks = 0_u32;
        for found in automaton.find_overlapping_iter(text) {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(MATCHES_PER_LOOK) && stop.is_stopped() {
                return Err(Stopped);
            }
            let (start, end) = (found.start(), found.end());
            let Some(word) = self.words.get(found.pattern().as_usize()) else { continue };
            if !word.stands_alone(text, start, end) {
                continue;
            }
            for usage in &word.uses {
                match *usage {
                    Use::Entry(entry) => hits.add_word(entry, start, end),
                    Use::Near(near, number) => {
                        let Some(near_entry) = self.nears.get(near) else { continue };
                        if hits.counts(near_entry.entry) {
                            let seen = nears.entry(near).or_insert(vec![None; near_entry.words]);
                            let characters = reached.characters(text, start, end);
                            near_entry.see(seen, number, (start, end), characters, hits);
                        }
                    }
                }
            }
        }
        if stop.is_stopped() { Err(Stopped) } else { Ok(()) }
    }
}

/// Where a word starts: characters and octets from the start of the text.
type Start = (usize, usize);

/// How many characters the text has up to a place. Matches come in the order of their ends, so
/// every character is counted once, however many matches there are.
#[derive(Default)]
struct Reached {
    octets: usize,
    characters: usize,
}

impl Reached {
    /// The characters before `start` and before `end`.
    fn characters(&mut self, text: &str, start: usize, end: usize) -> (usize, usize) {
        let count = |from: usize, to: usize| text.get(from..to).map_or(0, |t| t.chars().count());
        self.characters = self.characters.saturating_add(count(self.octets, end));
        self.octets = end;
        (self.characters.saturating_sub(count(start, end)), self.characters)
    }
}

impl Word {
    fn stands_alone(&self, text: &str, start: usize, end: usize) -> bool {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(end..).and_then(|text| text.chars().next());
        let continues =
            |bounded: bool, next: Option<char>| bounded && next.is_some_and(is_spaced_letter);
        !continues(self.bounded.0, before) && !continues(self.bounded.1, after)
    }
}

impl Near {
    /// Books one of the words. Matches come in the order of their ends, so the latest start of
    /// every word gives the smallest stretch that ends here.
    fn see(
        &self,
        seen: &mut [Option<Start>],
        number: usize,
        (start, end): (usize, usize),
        (start_characters, end_characters): (usize, usize),
        hits: &mut Hits<'_>,
    ) {
        if let Some(latest) = seen.get_mut(number) {
            *latest = (*latest).max(Some((start_characters, start)));
        }
        // `None` is the least, so it stays as long as one word was not seen.
        let Some(Some((first_characters, first))) = seen.iter().min().copied() else { return };
        if end_characters.saturating_sub(first_characters) <= self.within {
            hits.add_word(self.entry, first, end);
        }
    }
}

/// A letter or digit of a script that puts spaces between words.
fn is_spaced_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
            | '\u{0F00}'..='\u{0FFF}' // Tibetan
            | '\u{1000}'..='\u{109F}' // Myanmar
            | '\u{1100}'..='\u{11FF}' // Hangul
            | '\u{1780}'..='\u{17FF}' // Khmer
            | '\u{3005}'..='\u{3007}'
            | '\u{3031}'..='\u{318F}' // kana, bopomofo, Hangul
            | '\u{31A0}'..='\u{31FF}'
            | '\u{3400}'..='\u{9FFF}' // Han
            | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}' // Hangul
            | '\u{F900}'..='\u{FAFF}'
            | '\u{1B000}'..='\u{1B16F}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}
