//! Opens encrypted Office documents with the passwords that are known ([MS-OFFCRYPTO]).
//!
//! In: the streams that hold the encrypted document, and candidates. Out: what is inside, or that
//! no password fits. Excel and PowerPoint try passwords of their own on every file, so senders
//! encrypt with those to hide content without a prompt: that is a fact of its own.
//!
//! Deriving a key costs what the document says, so every try is charged first.

mod agile;
mod hash;
mod legacy;
mod standard;

use bytes::Bytes;

pub(super) use self::legacy::{Key, Locked, xor_key};
use super::Piece;
use super::active::{Active, ActiveKind};
use super::ole::base;
use crate::archive::le::{length, u16_at, u64_at};
use crate::archive::{Member, Missing, Passwords, Source, UnpackError};
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// What Excel, and PowerPoint for files that are protected against writing, try by themselves.
const DEFAULTS: [&str; 2] = ["VelvetSweatshop", "/01Hannes Ruescher/01"];
/// Candidates tried on one document whose key is made slowly on purpose.
const MAX_SLOW_TRIES: usize = 12;
/// Candidates tried on one document whose key is made at once.
const MAX_TRIES: usize = 64;

/// What trying to open something gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened<T> {
    /// It is open, and whether the password was one that programs try by themselves.
    With(T, bool),
    /// No password fits.
    Locked,
}

/// Tries candidates in turn. `check` gives the key if the password is right.
pub(super) fn try_passwords<T>(
    passwords: &Passwords,
    most: usize,
    mut check: impl FnMut(&str) -> Result<Option<T>, Limit>,
) -> Result<Opened<T>, Limit> {
    for (place, password) in DEFAULTS.into_iter().chain(passwords.iter()).take(most).enumerate() {
        if let Some(key) = check(password)? {
            return Ok(Opened::With(key, place < DEFAULTS.len()));
        }
    }
    Ok(Opened::Locked)
}

/// The fact that a default password opened a document.
pub(super) fn default_password() -> Piece {
    Piece::Active(Active::new(ActiveKind::DefaultPassword, "the program opens it without asking"))
}

/// The entity that an encrypted document stands for when it cannot be opened.
pub(super) fn locked(names: &[String], claimed_size: u64, detail: &str) -> Piece {
    let names = named(names);
    let missing = Some(Missing { reason: GapReason::Encrypted, detail: detail.to_owned() });
    Piece::Embedded(Member { names, claimed_size, content: Bytes::new(), missing })
}

fn named(names: &[String]) -> Vec<String> {
    if names.is_empty() { vec!["decrypted".to_owned()] } else { names.to_vec() }
}

/// Opens the package that an OLE file hides, if it does.
pub(super) fn package(
    source: &Source<'_>,
    members: &[Member],
    budget: &mut Budget<'_>,
    out: &mut dyn FnMut(Piece),
) -> Result<(), UnpackError> {
    let stream = |name: &str| members.iter().find(|member| base(member).eq_ignore_ascii_case(name));
    if stream("\u{9}DRMContent").is_some() {
        out(locked(source.names, 0, "protected by rights management"));
    }
    let Some(package) = stream("EncryptedPackage") else { return Ok(()) };
    let claimed = u64_at(&package.content, 0).unwrap_or_default();
    let Some(info) = stream("EncryptionInfo") else {
        out(locked(source.names, claimed, "no information on the encryption"));
        return Ok(());
    };
    let data = package.content.slice(package.content.len().min(8)..);
    budget.charge_entity()?;
    let opened = match (u16_at(&info.content, 0), u16_at(&info.content, 2)) {
        (Some(4), Some(4)) => agile::open(&info.content, &data, source.passwords, budget)?,
        (Some(2..=4), Some(2)) => standard::open(&info.content, &data, source.passwords, budget)?,
        _ => None,
    };
    let Some(opened) = opened else {
        out(locked(source.names, claimed, "an encryption that is not known"));
        return Ok(());
    };
    match opened {
        Opened::With(mut content, is_default) => {
            content.truncate(length(claimed));
            if is_default {
                out(default_password());
            }
            let missing = ((content.len() as u64) < claimed).then(|| {
                let detail = format!("{} of {claimed} octets", content.len());
                Missing { reason: GapReason::Malformed, detail }
            });
            let (names, content) = (named(source.names), Bytes::from(content));
            out(Piece::Embedded(Member { names, claimed_size: claimed, content, missing }));
        }
        Opened::Locked => out(locked(source.names, claimed, "no password fits")),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
