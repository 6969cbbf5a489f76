//! Documents and archives without what acts in them: the same content to read, nothing left to run;
//! one format per file.
//!
//! In: content, what it is, the message's budget. Out: [`Cleaned`], the new content and what was
//! removed, or a [`CleanError`]. Content without anything that acts is said to be so and not
//! written again. What could not be read to its end is not cleaned: nothing is guessed away.
//!
//! The caller reads the result again before it leaves; see [`clean`].

mod archive;
mod html;
mod odf;
mod ole;
mod ooxml;
mod parts;
pub mod pdf;
mod rtf;
mod zip;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::archive::UnpackError;
use crate::filetype::{FileType, TypeGroup};
use crate::limits::{Budget, Limit};

/// Archives inside archives that are looked into.
const MAX_DEPTH: usize = 2;

/// Content without what acted in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The new content, of the same type.
    pub content: Bytes,
    /// What was removed, for people: `VBA project word/vbaProject.bin`. Escaped, at most 100 lines.
    pub removed: Vec<String>,
}

/// Why content was not cleaned. It is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// Nothing in it acts, as far as this format's cleaner knows.
    #[error("there is nothing to remove")]
    NothingToRemove,
    /// A format that cannot be cleaned.
    #[error("{0} cannot be cleaned")]
    Unsupported(&'static str),
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// It contradicts itself or ends too early.
    #[error("it is damaged: {0}")]
    Malformed(&'static str),
    /// A bound was reached.
    #[error("{0} limit reached")]
    Limit(Limit),
    /// The cleaner crashed.
    #[error("the cleaner crashed")]
    Crashed,
}

impl From<Limit> for CleanError {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl From<UnpackError> for CleanError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Limit(limit) => Self::Limit(limit),
            UnpackError::Encrypted(_) => Self::Encrypted,
            UnpackError::Malformed { detail, .. } => Self::Malformed(detail),
            UnpackError::Unsupported(what) => Self::Unsupported(what),
            UnpackError::Crashed => Self::Crashed,
        }
    }
}

/// Writes `content`, which `detected` says what it is, again without what acts in it: macros, scripts,
/// controls, embedded files, fields and links that load or start something.
///
/// # Errors
///
/// [`CleanError`]; [`CleanError::NothingToRemove`] for harmless content.
pub fn clean(
    content: &Bytes,
    detected: &FileType,
    budget: &mut Budget<'_>,
) -> Result<Cleaned, CleanError> {
    clean_at(content, detected, budget, 0)
}

/// Writes an archive again without the members whose content `is_bad`. Other members keep their
/// compressed octets; archives among them are looked into once more.
///
/// # Errors
///
/// As for [`clean`].
pub fn without_members(
    content: &Bytes,
    budget: &mut Budget<'_>,
    is_bad: &dyn Fn(&[u8]) -> bool,
) -> Result<Cleaned, CleanError> {
    guarded(|| archive::without(content, budget, is_bad, 0))
}

/// Whether [`clean`] knows how to clean content of that type.
#[must_use]
pub fn is_supported(detected: &FileType) -> bool {
    Format::of(detected).is_some()
}

fn clean_at(
    content: &Bytes,
    detected: &FileType,
    budget: &mut Budget<'_>,
    depth: usize,
) -> Result<Cleaned, CleanError> {
    let format = Format::of(detected).ok_or(CleanError::Unsupported(detected.name))?;
    budget.charge_work(content.len() as u64)?;
    let mut cleaned = guarded(|| match format {
        Format::Ooxml => ooxml::clean(content, budget),
        Format::Odf => odf::clean(content, budget),
        Format::Ole => ole::clean(content, budget),
        Format::Html => html::clean(content),
        Format::Rtf => rtf::clean(content, budget),
        Format::Pdf => pdf::clean(content, detected, budget),
        Format::Archive if depth >= MAX_DEPTH => Err(CleanError::Limit(Limit::Layers)),
        Format::Archive => archive::clean(content, budget, depth),
    })?;
    if cleaned.removed.is_empty() {
        return Err(CleanError::NothingToRemove);
    }
    cleaned.removed.truncate(100);
    let shown =
        |line: &String| line.chars().take(200).collect::<String>().escape_debug().to_string();
    cleaned.removed = cleaned.removed.iter().map(shown).collect();
    Ok(cleaned)
}

/// Foreign code may panic; that costs the cleaning.
fn guarded(run: impl FnOnce() -> Result<Cleaned, CleanError>) -> Result<Cleaned, CleanError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(CleanError::Crashed))
}

#[derive(Clone, Copy)]
enum Format {
    Ooxml,
    Odf,
    Ole,
    Html,
    Rtf,
    Pdf,
    Archive,
}

impl Format {
    fn of(detected: &FileType) -> Option<Self> {
        let office = detected.media_type.starts_with("application/vnd.openxmlformats")
            || detected.media_type.contains(".macroenabled.");
        match detected.extension {
            "docx" if detected.media_type == "application/x-ms-office-encrypted" => None,
            _ if office => Some(Self::Ooxml),
            // Flat documents are text.
            "odt" | "ods" | "odp" | "odg" | "odf" | "ott" | "ots" | "otp" | "otg" => {
                Some(Self::Odf)
            }
            "doc" | "xls" | "ppt" => Some(Self::Ole),
            "rtf" => Some(Self::Rtf),
            "pdf" => Some(Self::Pdf),
            "zip" => Some(Self::Archive),
            "html" | "xhtml" if detected.group == TypeGroup::Html => Some(Self::Html),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
