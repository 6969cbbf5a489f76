//! Folds text for search, so that spellings that look the same compare equal.
//!
//! In: text. Out: text without upper case, width variants, look-alike letters, invisible
//! characters and runs of white space. ASCII takes a fast path. Work is linear.

use std::collections::HashMap;
use std::sync::LazyLock;

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
    let mut folder = Folder { out: String::with_capacity(text.len()), space: false };
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        // A mark that follows combines with the last letter.
        let ascii = if ascii < rest.len() { ascii.saturating_sub(1) } else { ascii };
        let (plain, tail) = rest.split_at_checked(ascii).unwrap_or((rest, ""));
        folder.ascii(plain);
        let first = usize::from(tail.bytes().next().is_some_and(|byte| byte.is_ascii()));
        let special = tail.bytes().skip(first).position(|byte| byte.is_ascii());
        let special = special.map_or(tail.len(), |length| length.saturating_add(first));
        let (special, tail) = tail.split_at_checked(special).unwrap_or((tail, ""));
        folder.special(special);
        rest = tail;
    }
    folder.out
}

struct Folder {
    out: String,
    /// White space was seen and not written yet.
    space: bool,
}

impl Folder {
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

    fn special(&mut self, text: &str) {
        if is_nfkc_quick(text.chars()) == IsNormalized::Yes {
            text.chars().for_each(|c| self.letter(c));
        } else {
            text.nfkc().for_each(|c| self.letter(c));
        }
    }

    fn letter(&mut self, c: char) {
        if c.is_ascii() {
            self.push(c.to_ascii_lowercase());
        } else if is_plain_ideograph(c) {
            self.write_space(c);
            self.out.push(c);
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

/// Kana and ideographs: most of Japanese text, with neither case nor look-alikes.
fn is_plain_ideograph(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30FA}' | '\u{30FC}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}')
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
