//! Folds text for search, so that spellings that look the same compare equal.
//!
//! In: text. Out: text without upper case, width variants, look-alike letters, invisible
//! characters and runs of white space. ASCII takes a fast path, letters that stand for themselves a
//! table; only what combines is normalised. Work is linear.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Folds text so that spellings that look the same compare equal: NFKC, lower case, full and half
/// width, half-width kana, look-alike letters, no zero-width characters and soft hyphens, white
/// space as one space, none between characters of scripts without spaces.
///
/// # Examples
///
/// ```
/// use imss_core::charset::fold;
/// assert_eq!(fold("ＦＲＥＥ  ﾒｰﾙ"), "free メール");
/// assert_eq!(fold("当 選\r\nしました"), "当選しました");
/// ```
#[must_use]
pub fn fold(text: &str) -> String {
    fold_within(text, usize::MAX).0
}

/// The same, ending soon after the result is `max_growth` octets longer than the text; and whether
/// it did. Honest text hardly grows, but one Arabic ligature stands for eighteen letters.
#[must_use]
pub fn fold_within(text: &str, max_growth: usize) -> (String, bool) {
    let max_bytes = text.len().saturating_add(max_growth);
    let mut folder = Folder { out: String::with_capacity(text.len()), space: false, max_bytes };
    let mut rest = text;
    while !rest.is_empty() && !folder.is_full() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        // A mark that follows combines with the last letter.
        let ascii = if ascii < rest.len() { ascii.saturating_sub(1) } else { ascii };
        let (plain, tail) = rest.split_at_checked(ascii).unwrap_or((rest, ""));
        folder.ascii(plain);
        rest = folder.special(tail);
    }
    let is_cut = folder.is_full();
    (folder.out, is_cut)
}

struct Folder {
    out: String,
    max_bytes: usize,
    /// White space was seen and not written yet.
    space: bool,
}

impl Folder {
    fn is_full(&self) -> bool {
        self.out.len() > self.max_bytes
    }

    fn ascii(&mut self, text: &str) {
        for word in text.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let letters = word.trim_end_matches(|c: char| c.is_ascii_whitespace());
            if let Some(first) = letters.chars().next() {
                self.write_space(first);
                let from = self.out.len();
                self.out.push_str(letters);
                if let Some(new) = self.out.get_mut(from..) {
                    new.make_ascii_lowercase();
                }
            }
            self.space |= letters.len() < word.len();
        }
    }

    /// Folds up to the second ASCII letter in a row, and returns what is left. A letter is written
    /// once the next one is known not to combine with it.
    fn special<'a>(&mut self, text: &'a str) -> &'a str {
        let mut pending: Option<(usize, u32)> = None;
        let mut ascii = 0_u8;
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            ascii = if c.is_ascii() { ascii.saturating_add(1) } else { 0 };
            if ascii > 2 {
                // The one before may combine with what follows, so both are left.
                let left = pending.map_or(at, |(start, _)| start);
                return text.get(left..).unwrap_or_default();
            }
            let folded = lookup(c);
            if folded == COMPLEX {
                let start = pending.take().map_or(at, |(start, _)| start);
                let length = text.get(at..).unwrap_or_default().char_indices();
                let mut length = length.filter(|(_, c)| lookup(*c) != COMPLEX);
                let end = length.next().map_or(text.len(), |(length, _)| at.saturating_add(length));
                for c in text.get(start..end).unwrap_or_default().nfkc() {
                    self.letter(c);
                    if self.is_full() {
                        return "";
                    }
                }
                at = end;
                continue;
            }
            if let Some((_, letter)) = pending.replace((at, folded)) {
                self.simple(letter);
            }
            at = at.saturating_add(c.len_utf8());
        }
        if let Some((_, letter)) = pending {
            self.simple(letter);
        }
        ""
    }

    /// Writes a letter as the table has it.
    fn simple(&mut self, folded: u32) {
        match folded {
            NOTHING => {}
            SPACE => self.space = true,
            letter => {
                if let Some(letter) = char::from_u32(letter) {
                    self.write_space(letter);
                    self.out.push(letter);
                }
            }
        }
    }

    /// Writes a letter in composed form.
    fn letter(&mut self, c: char) {
        let folded = lookup(c);
        if folded != COMPLEX {
            self.simple(folded);
        } else if !is_invisible(c) {
            for lower in c.to_lowercase() {
                self.push(LOOKALIKES.get(&lower).copied().unwrap_or(lower));
            }
        }
    }

    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.space = true;
        } else {
            self.write_space(c);
            self.out.push(c);
        }
    }

    /// Writes the space before `next`, unless it is at the start or between letters of scripts
    /// that use none: there, senders break lines and spammers words.
    fn write_space(&mut self, next: char) {
        if std::mem::take(&mut self.space)
            && let Some(last) = self.out.chars().next_back()
            && !(has_no_spaces(last) && has_no_spaces(next))
        {
            self.out.push(' ');
        }
    }
}

/// Nobody sees it.
const NOTHING: u32 = u32::MAX;
/// White space.
const SPACE: u32 = u32::MAX - 1;
/// Combines with what is around it, or becomes more than one letter.
const COMPLEX: u32 = u32::MAX - 2;

/// Letters that are folded together when one of them is met.
const PAGE: usize = 256;
/// Pages of the two planes that letters and pictures of them are in.
const PAGES: usize = 0x2_0000 / PAGE;

/// What each letter becomes by itself, page by page: a whole table takes longer than most messages.
static TABLE: [OnceLock<Box<[u32]>>; PAGES] = [const { OnceLock::new() }; PAGES];

fn lookup(c: char) -> u32 {
    let code = usize::try_from(u32::from(c)).unwrap_or(usize::MAX);
    let page = TABLE.get(code / PAGE).map(|page| page.get_or_init(|| fold_page(code / PAGE)));
    page.and_then(|page| page.get(code % PAGE)).copied().unwrap_or_else(|| fold_one(c))
}

fn fold_page(number: usize) -> Box<[u32]> {
    let code = |place| u32::try_from(number.saturating_mul(PAGE).saturating_add(place)).ok();
    let letter = |place| code(place).and_then(char::from_u32);
    (0..PAGE).map(|place| letter(place).map_or(COMPLEX, fold_one)).collect()
}

/// What `c` becomes, if its neighbours have no say in it.
fn fold_one(c: char) -> u32 {
    let mut composed = std::iter::once(c).nfkc();
    let (Some(letter), None) = (composed.next(), composed.next()) else { return COMPLEX };
    if is_nfkc_quick(std::iter::once(letter)) != IsNormalized::Yes
        || canonical_combining_class(letter) != 0
    {
        return COMPLEX;
    }
    if is_invisible(letter) {
        return NOTHING;
    }
    let mut lower = letter.to_lowercase();
    let (Some(lower), None) = (lower.next(), lower.next()) else { return COMPLEX };
    let folded = LOOKALIKES.get(&lower).copied().unwrap_or(lower);
    if folded.is_whitespace() { SPACE } else { u32::from(folded) }
}

/// Letters and punctuation of scripts that are written without spaces.
fn has_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{3001}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}' | '\u{3100}'..='\u{312F}'
        | '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}')
}

/// Characters that nobody sees: zero width, direction, variation, soft hyphen, tags.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Letters that look like another, in lower case, each with the other.
static LOOKALIKES: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let entry = |line: &str| {
        let (code, other) = line.split_once(' ')?;
        let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?;
        Some((code, other.chars().next()?))
    };
    include_str!("lookalikes.txt").lines().filter_map(entry).collect()
});
