//! One line as it stands on the page → as it is read (UAX #9, turned round).
//!
//! In: characters from left to right. Out: the same in the order in which they are read: Hebrew and
//! Arabic from right to left, numbers and other scripts among them from left to right. Reversing
//! what the bidirectional algorithm reversed undoes it, so a text in reading order gives the order on
//! the page.
//!
//! Whether a line as a whole runs to the left is told by its letters; which side a sign between two
//! scripts belongs to is a guess. Work is linear in the line.

/// How deep a character is in runs of the other direction (UAX #9 §3.3.6, only three of them).
type Level = u8;

/// What a character says about the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Left,
    Right,
    Number,
    Neutral,
}

/// The line in the order in which it is read.
pub(super) fn reordered(line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    let classes = classes(&characters);
    let count = |class| classes.iter().filter(|&&other| other == class).count();
    let base = Level::from(count(Class::Right) > count(Class::Left));
    let levels = levels(&classes, base);
    let mut order: Vec<(Level, char)> = levels.into_iter().zip(characters).collect();
    for deep in [2, 1] {
        let runs = order.chunk_by_mut(|a, b| (a.0 >= deep) == (b.0 >= deep));
        runs.filter(|run| run.first().is_some_and(|first| first.0 >= deep))
            .for_each(<[_]>::reverse);
    }
    order.into_iter().map(|(_, character)| character).collect()
}

/// Whether any character runs from right to left.
pub(super) fn is_any_right_to_left(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(|character| class(character) == Class::Right)
}

fn classes(characters: &[char]) -> Vec<Class> {
    let mut classes: Vec<Class> = characters.iter().map(|&character| class(character)).collect();
    // A sign between two digits is part of the number: dates, amounts, times.
    for place in 1..classes.len().saturating_sub(1) {
        let sign =
            matches!(characters.get(place), Some('.' | ',' | ':' | '/' | '-' | '+' | '٫' | '٬'));
        let number = |place: usize| classes.get(place) == Some(&Class::Number);
        let between = number(place.saturating_sub(1)) && number(place.saturating_add(1));
        if let Some(class) = classes.get_mut(place).filter(|_| sign && between) {
            *class = Class::Number;
        }
    }
    // After a letter that runs to the right, a number belongs to its words.
    let mut strong = Class::Neutral;
    for class in &mut classes {
        match *class {
            Class::Left | Class::Right => strong = *class,
            Class::Number if strong == Class::Left => *class = Class::Left,
            _ => {}
        }
    }
    classes
}

/// The levels of all characters; neutral ones are as deep as what is on both sides of them.
fn levels(classes: &[Class], base: Level) -> Vec<Level> {
    let mut levels = Vec::with_capacity(classes.len());
    let mut before = None;
    let mut waiting = 0_usize;
    // The next letter, for numbers of a line that runs to the right.
    let mut after = Class::Neutral;
    let mut next: Vec<Class> = Vec::with_capacity(classes.len());
    for &class in classes.iter().rev() {
        next.push(after);
        if matches!(class, Class::Left | Class::Right) {
            after = class;
        }
    }
    let mut strong = Class::Neutral;
    for (&class, &after) in classes.iter().zip(next.iter().rev()) {
        let level = match class {
            Class::Left => base.saturating_mul(2),
            Class::Right => 1,
            Class::Number if base == 1 || strong == Class::Right && after == Class::Right => 2,
            Class::Number => 0,
            Class::Neutral => {
                waiting = waiting.saturating_add(1);
                continue;
            }
        };
        if matches!(class, Class::Left | Class::Right) {
            strong = class;
        }
        // A number counts as what it stands in.
        let side = if class == Class::Number { level.min(1) } else { level };
        let between = if before == Some(side) { side } else { base };
        levels.extend(std::iter::repeat_n(between, std::mem::take(&mut waiting)));
        levels.push(level);
        before = Some(side);
    }
    levels.extend(std::iter::repeat_n(base, waiting));
    levels
}

fn class(character: char) -> Class {
    match character {
        '0'..='9' | '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => Class::Number,
        '\u{590}'..='\u{8ff}'
        | '\u{200f}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefc}'
        | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}' => Class::Right,
        _ if character.is_alphabetic() => Class::Left,
        _ => Class::Neutral,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_turned_round() {
        // What is on the page, and what is read.
        let cases = [
            ("Hebrew", "םולש", "שלום"),
            ("two words", "םלוע םולש", "שלום עולם"),
            ("a number inside", "ח\"ש 1,250 םלש", "שלם 1,250 ש\"ח"),
            ("a number at the end", "12/05/2024 ךיראת", "תאריך 12/05/2024"),
            ("Latin words inside", "םלוע see you 2 םולש", "שלום see you 2 עולם"),
            ("in a Latin line", "The word םלוע םולש means so", "The word שלום עולם means so"),
            ("a number in a Latin line", "see א 12 ב there", "see ב 12 א there"),
            ("after a Latin line", "Number 12 םולש x", "Number 12 שלום x"),
            ("full stop", ".םולש", "שלום."),
            ("nothing to turn", "Total: 12 (a)", "Total: 12 (a)"),
            ("empty", "", ""),
        ];
        for (name, page, read) in cases {
            assert_eq!(reordered(page), read, "{name}");
            assert_eq!(reordered(read), page, "{name}, back");
        }
    }
}
