//! Script files: encoded scripts and encoded commands as source text.
//!
//! In: a script as text, whatever its language. Out: the source of `.jse` and `.vbe` blocks, and the
//! commands that PowerShell is given in base64, as code. The script's own text is the entity's.
//!
//! What cannot be decoded is left as it stands: it is text that others judge.

mod encode;
pub(super) mod source;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memmem;

use super::sink::{self, Sink};
use super::{ActiveKind, Extractor, Piece};
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::{FileType, TypeGroup};
use crate::limits::{Budget, Limit};

/// Encoded blocks or commands of one script.
const MAX_BLOCKS: usize = 100;
/// Letters of the shortest command in base64.
const MIN_COMMAND: usize = 16;

/// Reads script files.
pub(super) struct Script;

impl Extractor for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn recognises(&self, content: &[u8], detected: &FileType, _members: &[Member]) -> bool {
        let is_text = matches!(detected.group, TypeGroup::Script | TypeGroup::Text);
        is_text && (memmem::find(content, b"#@~^").is_some() || has_shell(content))
    }

    fn reads_text(&self) -> bool {
        true
    }

    fn extract(
        &self,
        source: &Source<'_>,
        _members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        let mut sink = Sink::new(budget, out);
        decoded(&String::from_utf8_lossy(source.content), &mut sink)?;
        sink.finish()
    }
}

/// Hands over what is encoded in a script.
pub(super) fn decoded(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    sink.budget.charge_work(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    let mut from = 0_usize;
    let mut blocks = 0_usize;
    while let Some((code, end)) = encode::decode(text.as_bytes(), from) {
        blocks = blocks.saturating_add(1);
        if blocks > MAX_BLOCKS {
            sink.budget.left_out("encoded blocks of a script past 100");
            break;
        }
        from = end;
        if !code.is_empty() {
            sink.active(ActiveKind::Script, "encoded");
            sink.code("decoded", String::from_utf8_lossy(&code).into_owned())?;
        }
    }
    if has_shell(text.as_bytes()) {
        for (place, command) in commands(text).enumerate() {
            if place >= MAX_BLOCKS {
                sink.budget.left_out("encoded commands past 100");
                break;
            }
            sink.active(ActiveKind::Launch, &format!("powershell {}", sink::cut(&command, 400)));
            sink.code("command", command)?;
        }
    }
    Ok(())
}

/// How its names begin, in every case: three letters are searched as fast as memory is read.
static BEGINNINGS: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    let cases = |word: &str, case: usize| -> String {
        let letter = |(at, letter): (usize, char)| match case >> at & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter,
        };
        word.chars().enumerate().map(letter).collect()
    };
    let words = ["pow", "pws"].iter();
    Searcher::new(words.flat_map(|word| (0..8).map(|case| cases(word, case))))
});

/// Whether PowerShell is named.
fn has_shell(text: &[u8]) -> bool {
    let is_name = |at: usize| {
        let word = |name: &str| {
            text.get(at..at.saturating_add(name.len()))
                .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        };
        word("powershell") || word("pwsh")
    };
    match &*BEGINNINGS {
        Some(beginnings) => beginnings.find_iter(text).any(|found| is_name(found.start())),
        None => memchr::memchr2_iter(b'p', b'P', text).any(is_name),
    }
}

/// The commands after `-EncodedCommand`, which may be shortened down to `-e`.
fn commands(text: &str) -> impl Iterator<Item = String> {
    let is_mark = |c: char| c == '-' || c == '/' || c == '\u{2013}';
    text.match_indices(is_mark).filter_map(|(at, mark)| {
        let rest = text.get(at.saturating_add(mark.len())..)?;
        let length = rest.bytes().take(16).take_while(u8::is_ascii_alphabetic).count();
        let option = rest.get(..length)?.to_ascii_lowercase();
        let is_option =
            option == "ec" || !option.is_empty() && "encodedcommand".starts_with(&option);
        let tail = rest.get(length..).filter(|_| is_option)?;
        let value = tail.get(..tail.len().min(64).min(tail.floor_char_boundary(64)))?;
        let blanks = value.len().saturating_sub(
            value
                .trim_start_matches(|c: char| {
                    c.is_whitespace() || matches!(c, '"' | '\'' | '^' | ':' | '`')
                })
                .len(),
        );
        if blanks == 0 {
            return None;
        }
        let value = tail.get(blanks..)?;
        let is_code =
            |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
        let length = value.bytes().take_while(is_code).count();
        let octets = sink::base64(value.get(..length).filter(|_| length >= MIN_COMMAND)?)?;
        let units = octets.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        let command: String =
            char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect();
        // Anything else in base64 gives characters of many scripts.
        let plain = command.chars().filter(char::is_ascii).count();
        (plain.saturating_mul(4) > command.chars().count().saturating_mul(3)).then_some(command)
    })
}
