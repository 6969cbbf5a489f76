//! Remedies: the nearest allowed word, or all of them.

/// `did you mean …`, or what is allowed.
pub(super) fn among(what: &str, found: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return format!("there is no {what} to choose from");
    }
    let near = allowed
        .iter()
        .map(|word| (distance(found, word), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min();
    if let Some((_, word)) = near {
        return format!("did you mean `{word}`?");
    }
    let mut words: Vec<&str> = allowed.to_vec();
    words.sort_unstable();
    words.dedup();
    let more = words.len().saturating_sub(30);
    words.truncate(30);
    let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    if more > 0 {
        return format!("use one of {list} or {more} others");
    }
    if words.len() == 1 { format!("use {list}") } else { format!("use one of {list}") }
}

/// Letters to insert, delete, replace or swap to get from one word to the other. Words longer than
/// 64 characters are not compared.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().collect();
    let to: Vec<char> = to.to_lowercase().chars().collect();
    if from.len() > 64 || to.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (j, b) in to.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX);
            let replaced = at(&row, j).saturating_add(usize::from(a != b));
            let deleted = at(&row, j.saturating_add(1)).saturating_add(1);
            let inserted = at(&next, j).saturating_add(1);
            let mut best = replaced.min(deleted).min(inserted);
            let previous = |word: &[char], place: usize| {
                place.checked_sub(1).and_then(|place| word.get(place).copied())
            };
            if previous(&from, i) == Some(*b) && previous(&to, j) == Some(*a) {
                best = best.min(at(&before, j.saturating_sub(1)).saturating_add(1));
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered() {
        let words = ["quarantine", "deliver", "delete", "bcc"];
        let cases = [
            ("one letter missing", "quarantne", "did you mean `quarantine`?"),
            ("two letters swapped", "delievr", "did you mean `deliver`?"),
            ("capitals", "Delete", "did you mean `delete`?"),
            ("short words", "bc", "did you mean `bcc`?"),
            ("nothing near", "xyz", "use one of `bcc`, `delete`, `deliver`, `quarantine`"),
        ];
        for (name, found, expected) in cases {
            assert_eq!(among("action", found, &words), expected, "{name}");
        }
    }
}
