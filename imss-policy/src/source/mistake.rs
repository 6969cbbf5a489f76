//! Mistakes: what is wrong in a policy, where, and how to put it right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Whether the policy is refused for it.
    pub severity: Severity,
    /// The file it is in.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
    /// How many characters are wrong; at least 1, not beyond the line.
    pub length: u32,
    /// The key, such as `rule[3].then[0].quarantine`; empty if the text is not TOML there.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The line itself, for people.
    pub text: String,
}

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy works, but probably not as meant.
    Warning,
}

/// Everything that is wrong with a policy, in the order of its lines. At least one is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// The mistakes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    /// As compilers show it: the reason, the place, the line with carets, the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}", self.reason)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "\n{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, " ({})", self.key)?;
        }
        let carets = carets(self);
        write!(f, "\n{margin} |\n{number} | {}\n{margin} | {carets}", printable(&self.text))?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n{margin} = help: {remedy}")?;
        }
        Ok(())
    }
}

/// Carets under the wrong characters, as wide as a terminal shows them.
fn carets(mistake: &Mistake) -> String {
    let before = usize::try_from(mistake.column.saturating_sub(1)).unwrap_or(0);
    let length = usize::try_from(mistake.length.max(1)).unwrap_or(1);
    let width = |c: char| if is_wide(c) { 2 } else { 1 };
    let indent: usize = mistake.text.chars().take(before).map(width).sum();
    let wrong: usize = mistake.text.chars().skip(before).take(length).map(width).sum();
    format!("{}{}", " ".repeat(indent), "^".repeat(wrong.max(1)))
}

/// East Asian wide characters take two columns.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
