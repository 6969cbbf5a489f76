//! Passwords worth trying on what is encrypted.
//!
//! In: a configured list and the message's own text, which often names the password. Out: distinct
//! candidates, most likely first, bounded in number: each try costs a key derivation.
//!
//! The text is searched when the first candidate is asked for. Most mail holds nothing encrypted,
//! and must not pay.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::limits::Budget;

/// Candidates taken from one message, and in all.
const MAX_CANDIDATES: usize = 64;
/// Longest word that is taken for a password, in octets.
const MAX_OCTETS: usize = 64;
/// Octets of one text that are searched: a password stands near the top.
const MAX_TEXT: usize = 64 << 10;
/// Words looked at in one text.
const MAX_WORDS: usize = 20_000;
/// Places of one announcing word that are looked at.
const MAX_PLACES: usize = 8;
/// Words that announce a password, the longest first where one starts another. What follows them is tried first.
const ANNOUNCES: [&str; 30] = [
    "password",
    "passwort",
    "passcode",
    "passphrase",
    "kennwort",
    "contraseña",
    "contrasena",
    "senha",
    "mot de passe",
    "wachtwoord",
    "пароль",
    "Пароль",
    "pwd",
    "pass",
    "pw",
    "pin",
    "パスワード",
    "ﾊﾟｽﾜｰﾄﾞ",
    "パス",
    "ﾊﾟｽ",
    "暗証番号",
    "開封キー",
    "解凍キー",
    "密码",
    "密碼",
    "口令",
    "비밀번호",
    "암호",
    "解压码",
    "提取码",
];
/// Words that stand between the announcement and the password.
const FILLERS: [&str; 24] = [
    "is",
    "are",
    "for",
    "the",
    "this",
    "to",
    "of",
    "your",
    "file",
    "zip",
    "archive",
    "attachment",
    "open",
    "unlock",
    "as",
    "follows",
    "below",
    "ist",
    "lautet",
    "est",
    "es",
    "code",
    "word",
    "key",
];
/// Signs and particles that may stand between the announcement and the password.
const LINKS: [&str; 13] = ["は", "が", "为", "為", "是", "：", ":", "=", "＝", "→", "-", "–", "、"];

/// Whether one more try may be made that costs `steps` (see [`Budget::charge_work`]), which it then
/// charges. Passwords never take more than half of the work that is left: documents need some too.
pub(super) fn may_try(budget: &mut Budget<'_>, steps: u64) -> bool {
    steps <= budget.work_left() / 2 && budget.charge_work(steps).is_ok()
}

static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest);
    builder.build(ANNOUNCES).ok()
});

type Search = LazyLock<Vec<String>, Box<dyn FnOnce() -> Vec<String> + Send + Sync>>;

/// Distinct candidates, most likely first.
#[derive(Clone, Default)]
pub struct Passwords {
    configured: Vec<String>,
    /// The same list behind what the texts offer, found when it is asked for.
    all: Option<Arc<Search>>,
}

impl Passwords {
    /// No candidates.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Candidates from a configured list.
    #[must_use]
    pub fn configured<'a>(list: impl IntoIterator<Item = &'a str>) -> Self {
        let mut found = Candidates::default();
        for word in list {
            found.add(word);
        }
        Self { configured: found.list, all: None }
    }

    /// The configured candidates, behind those that texts shown to the reader (subject, body)
    /// offer: first what follows a word for "password", then quoted words, words alone on a line,
    /// and words with digits or signs in them. `texts` is called when they are first needed.
    #[must_use]
    pub fn with_texts(&self, texts: impl FnOnce() -> Vec<String> + Send + Sync + 'static) -> Self {
        let configured = self.configured.clone();
        let search = move || {
            let texts = texts();
            let mut found = Candidates::default();
            texts.iter().for_each(|text| found.announced(head(text)));
            configured.iter().for_each(|word| found.add(word));
            texts.iter().for_each(|text| found.likely(head(text)));
            found.list
        };
        Self {
            configured: self.configured.clone(),
            all: Some(Arc::new(LazyLock::new(Box::new(search)))),
        }
    }

    /// The candidates.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list().iter().map(String::as_str)
    }

    /// Whether there is nothing to try.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    fn list(&self) -> &[String] {
        match &self.all {
            Some(search) => search,
            None => &self.configured,
        }
    }
}

impl fmt::Debug for Passwords {
    /// Shows no candidates: they are secrets of the correspondents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

/// A list being filled.
#[derive(Default)]
struct Candidates {
    list: Vec<String>,
}

impl Candidates {
    fn add(&mut self, word: &str) {
        let fits = !word.is_empty() && word.len() <= MAX_OCTETS;
        if fits && self.list.len() < MAX_CANDIDATES && !self.list.iter().any(|own| own == word) {
            self.list.push(word.to_owned());
        }
    }

    /// What follows a word for "password".
    fn announced(&mut self, text: &str) {
        let Some(finder) = FINDER.as_ref() else { return };
        let places = finder.find_iter(text).filter_map(|found| {
            let (before, rest) = (text.get(..found.start())?, text.get(found.end()..)?);
            let word = text.get(found.range())?;
            (!is_joined(before, word, rest)).then_some(rest)
        });
        for rest in places.take(MAX_PLACES) {
            let mut lines = rest.lines();
            let known = self.list.len();
            self.first_words(lines.next().unwrap_or_default());
            // "The password is:", and the password on the next line.
            if self.list.len() == known {
                let next = lines.take(3).find(|line| !line.trim().is_empty());
                self.first_words(next.unwrap_or_default());
            }
        }
    }

    fn first_words(&mut self, rest: &str) {
        let rest = unlinked(rest);
        if let Some(quoted) = quoted(rest) {
            self.add(quoted);
        }
        let words = rest.split_whitespace().map(|word| (word, trimmed(word)));
        let words = words.skip_while(|(_, word)| is_filler(word)).take(2);
        for (raw, word) in words {
            let word = trimmed(unlinked(word));
            // A stop may belong to the sentence or to the password.
            self.add(before_border(word));
            self.add(word);
            self.add(raw);
            if let Some((first, _)) =
                word.split_once(['で', 'と', 'に', 'を', '，', ',', '。', '；'])
            {
                self.add(trimmed(first));
            }
        }
    }

    /// Quoted words, lines of one word, and words with digits or signs.
    fn likely(&mut self, text: &str) {
        for line in text.lines().take(MAX_WORDS) {
            if let Some(quoted) = quoted(line) {
                self.add(quoted);
            }
            let line = line.trim();
            if !line.is_empty() && !line.contains(char::is_whitespace) && line.len() <= 32 {
                self.add(line);
            }
        }
        let mut seen: HashSet<&str> = HashSet::new();
        let words = text.split(|c: char| c.is_whitespace() || BORDERS.contains(&c));
        for word in words.take(MAX_WORDS) {
            let word = trimmed(word);
            let signs = word.chars().any(|c| c.is_ascii_digit() || c.is_ascii_punctuation());
            let is_link = word.contains("://") || word.contains('@') && word.contains('.');
            if signs && !is_link && word.chars().count() >= 3 && seen.insert(word) {
                self.add(word);
            }
        }
    }
}

fn head(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default()
}

/// Whether `word` is part of a longer one: "pin" in "spinning" announces nothing. In Japanese and
/// Chinese words just follow another.
fn is_joined(before: &str, word: &str, rest: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    word.is_ascii() && (joins(before.chars().next_back()) || joins(rest.chars().next()))
}

/// Without the signs and particles that lead from the announcement to the password.
fn unlinked(mut rest: &str) -> &str {
    loop {
        let trimmed = rest.trim_start();
        let cut = LINKS.iter().find_map(|link| trimmed.strip_prefix(link));
        match cut {
            Some(cut) => rest = cut,
            None => return trimmed,
        }
    }
}

fn is_filler(word: &str) -> bool {
    let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
    word.is_empty() || FILLERS.iter().any(|filler| word.eq_ignore_ascii_case(filler))
}

/// What the first pair of quotes holds.
fn quoted(text: &str) -> Option<&str> {
    let opening = text.find(|c: char| QUOTES.iter().any(|&(open, _)| open == c))?;
    let mut inner = text.get(opening..)?.chars();
    let open = inner.next()?;
    let close = QUOTES.iter().find(|&&(own, _)| own == open)?.1;
    let (quoted, _) = inner.as_str().split_once(close)?;
    Some(quoted.trim())
}

const QUOTES: [(char, char); 12] = [
    ('「', '」'),
    ('『', '』'),
    ('“', '”'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('【', '】'),
    ('《', '》'),
    ('‘', '’'),
    ('［', '］'),
    ('[', ']'),
    ('«', '»'),
];

/// Signs that end a word besides white space.
const BORDERS: [char; 18] = [
    '「', '」', '『', '』', '“', '”', '：', '（', '）', '。', '、', '【', '】', '，', '；', '《',
    '》', '\u{a0}',
];

fn before_border(word: &str) -> &str {
    trimmed(word.split(BORDERS).find(|part| !part.is_empty()).unwrap_or_default())
}

/// Without the quotes and stops around it.
fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| "\"'`:;,.()[]<>{}=*".contains(c) || BORDERS.contains(&c))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn offered(text: &'static str) -> Vec<String> {
        let passwords = Passwords::none().with_texts(move || vec![text.to_owned()]);
        passwords.iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_text_offers_its_passwords() {
        let cases = [
            ("after the word", "The password is: Sesame.", "Sesame"),
            ("with its stop", "Password: Sesame!", "Sesame!"),
            ("short", "pw: x", "x"),
            ("in upper case", "PASSWORD=Abc", "Abc"),
            ("a sentence between", "The password for the attachment is infected", "infected"),
            ("on the next line", "Password:\r\n\r\nopensesame\r\n", "opensesame"),
            ("quoted", "Open it with \"k-12.x\"", "k-12.x"),
            ("alone on a line", "See the file.\r\n\r\nsesame\r\n\r\nRegards, Ann", "sesame"),
            ("in the subject", "From: a@b.example\nSubject: invoice, pass 7788\n", "7788"),
            ("German", "Das Passwort lautet Geheim", "Geheim"),
            ("Japanese", "パスワード：tanaka2024 です", "tanaka2024"),
            ("Japanese quotes", "解凍パスワードは「ひみつ」です。", "ひみつ"),
            ("Japanese sentence", "パスワードは abc123 です。", "abc123"),
            ("Japanese without spaces", "パスワードはabc123です。", "abc123"),
            ("Japanese polite", "添付ファイルのパスワードは、Xy-9 となります。", "Xy-9"),
            ("half-width kana", "ﾊﾟｽﾜｰﾄﾞ:hankaku", "hankaku"),
            ("Chinese", "密码：abc", "abc"),
            ("Chinese sentence", "解压密码是8888，请查收", "8888"),
            ("Chinese quotes", "密码为“开门”", "开门"),
            ("Korean", "비밀번호: 1q2w3e", "1q2w3e"),
        ];
        for (name, text, expected) in cases {
            let found = offered(text);
            let place = found.iter().position(|word| word == expected);
            assert!(place.is_some_and(|place| place < 6), "{name}: {found:?}");
        }
    }

    #[test]
    fn what_is_announced_comes_before_the_configured_list() {
        let configured = Passwords::configured(["infected"]);
        assert_eq!(configured.iter().collect::<Vec<_>>(), ["infected"]);
        let all = configured.with_texts(|| vec!["Ref. 4711-x\npassword: \"Sesame\"".to_owned()]);
        let found: Vec<&str> = all.iter().collect();
        assert_eq!(found.first(), Some(&"Sesame"), "{found:?}");
        let place = |wanted: &str| found.iter().position(|word| *word == wanted).unwrap();
        assert!(place("infected") < place("4711-x"), "{found:?}");
    }

    #[test]
    fn texts_are_read_once_and_only_if_asked_for() {
        static READS: AtomicUsize = AtomicUsize::new(0);
        let texts = || {
            READS.fetch_add(1, Ordering::Relaxed);
            vec!["pw: x".to_owned()]
        };
        let passwords = Passwords::none().with_texts(texts);
        let copy = passwords.clone();
        assert_eq!(READS.load(Ordering::Relaxed), 0);
        assert!(!copy.is_empty() && !passwords.is_empty());
        assert_eq!(READS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn candidates_are_bounded() {
        let text: String = (0..5_000).map(|n| format!("word-{n} ")).collect();
        let passwords = Passwords::none().with_texts(move || vec![text]);
        assert_eq!(passwords.iter().count(), MAX_CANDIDATES);
    }
}
