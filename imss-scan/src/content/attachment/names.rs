//! Compares attachment names with wildcards, whatever tricks the name plays.
//!
//! In: every spelling of a name, patterns with `*` and `?`. Out: whether one matches. Both sides
//! are folded: case, width and look-alikes are equal; direction marks and invisible characters,
//! trailing dots and blanks are gone. A pattern without a slash matches the last component of a
//! path too, so `setup.exe` finds `dir/setup.exe`.
//!
//! Patterns like `*.exe`, which most are, cost one look-up per dot of a name, however many there
//! are. Other patterns cost pattern × name, and names are cut at 1024 characters from both ends.

use std::collections::HashSet;

use imss_core::charset::fold;
use imss_core::entity::Entity;

use crate::report::is_invisible;

/// Characters of a name that are compared at its start, and as many at its end.
const MAX_NAME: usize = 1024;

/// A name without what hides its real spelling, not folded otherwise.
pub(super) fn without_tricks(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !is_invisible(*c) && !c.is_control()).collect();
    // Windows drops trailing dots and blanks, and opens `a.exe::$DATA` as `a.exe`.
    let main = visible.split_once("::$").map_or(visible.as_str(), |(main, _)| main);
    let is_dropped =
        |c: char| c == '.' || c.is_whitespace() || matches!(c, '\u{3002}' | '\u{FF0E}');
    main.trim_start().trim_end_matches(is_dropped).to_owned()
}

fn folded(name: &str) -> String {
    let clean = without_tricks(name);
    let long = clean.chars().nth(2 * MAX_NAME).is_some();
    if !long {
        return fold(&clean).trim().to_owned();
    }
    let start: String = clean.chars().take(MAX_NAME).collect();
    let end: Vec<char> = clean.chars().rev().take(MAX_NAME).collect();
    fold(&start.chars().chain(end.into_iter().rev()).collect::<String>()).trim().to_owned()
}

/// The spellings of one entity's name, folded.
pub(super) struct FoldedNames(Vec<String>);

impl FoldedNames {
    pub(super) fn of(entity: &Entity) -> Self {
        Self(entity.names.iter().map(|name| folded(name)).collect())
    }
}

/// Patterns, compiled.
pub(super) struct NameSet {
    /// Of patterns `*.ext`: what follows the star.
    endings: HashSet<String>,
    longest_ending: usize,
    globs: Vec<Glob>,
}

impl NameSet {
    pub(super) fn new(patterns: &[String]) -> Self {
        let mut set = Self { endings: HashSet::new(), longest_ending: 0, globs: Vec::new() };
        for pattern in patterns {
            let pattern = folded_pattern(pattern);
            match pattern.strip_prefix('*') {
                Some(ending) if ending.starts_with('.') && !ending.contains(['*', '?']) => {
                    set.longest_ending = set.longest_ending.max(ending.len());
                    set.endings.insert(ending.to_owned());
                }
                _ => set.globs.push(Glob::new(&pattern)),
            }
        }
        set
    }

    /// Whether one spelling matches one pattern.
    pub(super) fn matches_any(&self, names: &FoldedNames) -> bool {
        names.0.iter().any(|name| self.matches(name))
    }

    /// Whether there is a name, and every spelling of it matches a pattern.
    pub(super) fn matches_all(&self, names: &FoldedNames) -> bool {
        !names.0.is_empty() && names.0.iter().all(|name| self.matches(name))
    }

    fn matches(&self, name: &str) -> bool {
        let ending = |(at, _): (usize, &str)| {
            let ending = name.get(at..).unwrap_or_default();
            ending.len() <= self.longest_ending && self.endings.contains(ending)
        };
        name.rmatch_indices('.').any(ending) || self.globs.iter().any(|glob| glob.matches(name))
    }
}

/// Folds a pattern; its wildcards stay what they are.
fn folded_pattern(pattern: &str) -> String {
    let mut all = String::new();
    for piece in pattern.split_inclusive(['*', '?']) {
        let (text, wildcard) = match piece.char_indices().next_back() {
            Some((at, wildcard @ ('*' | '?'))) => (piece.get(..at).unwrap_or(""), Some(wildcard)),
            _ => (piece, None),
        };
        all.push_str(&fold(text));
        all.extend(wildcard);
    }
    all.trim_end_matches(['.', ' ']).to_owned()
}

/// A pattern with `*` for any characters and `?` for one.
struct Glob {
    pattern: Vec<char>,
    whole_path: bool,
}

impl Glob {
    fn new(pattern: &str) -> Self {
        Self { pattern: pattern.chars().collect(), whole_path: pattern.contains(['/', '\\']) }
    }

    fn matches(&self, name: &str) -> bool {
        let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
        self.matches_text(name) || (!self.whole_path && self.matches_text(last))
    }

    /// Goes back to the last star only, so the work is at most pattern × name.
    fn matches_text(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut of) = (0_usize, 0_usize);
        let mut star: Option<(usize, usize)> = None;
        while let Some(c) = text.get(at) {
            match self.pattern.get(of) {
                Some('*') => {
                    star = Some((of, at));
                    of = of.saturating_add(1);
                }
                Some(p) if *p == '?' || p == c => {
                    at = at.saturating_add(1);
                    of = of.saturating_add(1);
                }
                _ => {
                    let Some((star_of, star_at)) = star else { return false };
                    at = star_at.saturating_add(1);
                    of = star_of.saturating_add(1);
                    star = Some((star_of, at));
                }
            }
        }
        self.pattern.get(of..).is_none_or(|rest| rest.iter().all(|p| *p == '*'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_matches() {
        let cases = [
            ("as written", "*.exe", "a.exe", true),
            ("another case", "*.exe", "A.EXE", true),
            ("a trailing dot", "*.exe", "a.exe.", true),
            ("trailing dots and blanks", "*.exe", "a.exe . . ", true),
            ("a no-break space at the end", "*.exe", "a.exe\u{A0}", true),
            ("turned by a direction mark", "*.exe", "photo\u{202E}gpj.exe", true),
            ("split by a zero-width space", "*.exe", "a.e\u{200B}xe", true),
            ("split by a soft hyphen", "*.exe", "a.ex\u{AD}e", true),
            ("split by a control character", "*.exe", "a.e\u{1}xe", true),
            ("an alternate stream", "*.exe", "a.exe::$DATA", true),
            ("two endings", "*.exe", "a.txt.exe", true),
            ("a pattern of two endings", "*.tar.gz", "a.tar.gz", true),
            ("another ending", "*.exe", "a.exe.txt", false),
            ("a longer ending", "*.exe", "a.exes", false),
            ("no dot", "*.exe", "exe", false),
            ("nothing before the dot", "*.exe", ".exe", true),
            ("the last of a path", "setup.exe", "x/y\\setup.exe", true),
            ("a whole path", "x/*.exe", "x/y/setup.exe", true),
            ("not the last of a path", "x/*.exe", "z/setup.exe", false),
            ("one character", "a?.txt", "ab.txt", true),
            ("not two characters", "a?.txt", "abc.txt", false),
            ("a character of Japanese", "見積?.xls", "見積書.xls", true),
            ("anything", "*", "", true),
            ("stars in the middle", "a*b*c", "a-b-b-c", true),
            ("stars that do not fit", "a*b*c", "a-b-c-d", false),
            ("a pattern with a trailing dot", "*.exe.", "a.exe", true),
        ];
        for (name, pattern, text, expected) in cases {
            let set = NameSet::new(&[pattern.to_owned()]);
            assert_eq!(set.matches(&folded(text)), expected, "{name}");
        }
    }

    #[test]
    fn exceptions_need_every_spelling() {
        let set = NameSet::new(&["*.pdf".to_owned()]);
        let names = |list: &[&str]| FoldedNames(list.iter().map(|name| folded(name)).collect());
        assert!(set.matches_all(&names(&["a.pdf", "b.pdf"])));
        assert!(!set.matches_all(&names(&["a.pdf", "a.exe"])));
        assert!(!set.matches_all(&names(&[])));
    }

    #[test]
    fn hostile_names_cost_little() {
        let set = NameSet::new(&["*a*a*a*a*a*b".to_owned(), "*.exe".to_owned()]);
        assert!(!set.matches(&folded(&"a.".repeat(1 << 20))));
        assert!(set.matches(&folded(&format!("{}.exe", "a".repeat(1 << 20)))));
    }
}
