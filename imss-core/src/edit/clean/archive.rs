//! A zip archive with its members cleaned, or without those that a caller names.
//!
//! In: an archive. Out: the same archive; what can be cleaned inside is, what acts by itself (programs,
//! scripts, shortcuts) goes. All other members keep their compressed octets. Archives inside are
//! looked into to a bounded depth.

use bytes::Bytes;

use super::zip::{Archive, Fate};
use super::{CleanError, Cleaned, MAX_DEPTH, clean_at};
use crate::filetype::{self, TypeGroup};
use crate::limits::{Budget, Limit};

/// Cleans every member.
pub(super) fn clean(
    content: &Bytes,
    budget: &mut Budget<'_>,
    depth: usize,
) -> Result<Cleaned, CleanError> {
    each(content, budget, &mut |name, member, budget| {
        let detected = filetype::detect(member);
        if matches!(detected.group, TypeGroup::Executable | TypeGroup::Script | TypeGroup::Shortcut)
        {
            return Ok((Fate::Dropped, vec![format!("{} {name}", detected.name)]));
        }
        let deeper = depth.saturating_add(1);
        changed(name, clean_at(member, &detected, budget, deeper))
    })
}

/// Drops the members that `is_bad` names.
pub(super) fn without(
    content: &Bytes,
    budget: &mut Budget<'_>,
    is_bad: &dyn Fn(&[u8]) -> bool,
    depth: usize,
) -> Result<Cleaned, CleanError> {
    each(content, budget, &mut |name, member, budget| {
        if is_bad(member) {
            return Ok((Fate::Dropped, vec![format!("member {name}")]));
        }
        if filetype::detect(member).extension != "zip" {
            return Ok((Fate::Kept, Vec::new()));
        }
        let deeper = depth.saturating_add(1);
        if deeper >= MAX_DEPTH {
            return Err(CleanError::Limit(Limit::Layers));
        }
        changed(name, without(member, budget, is_bad, deeper))
    })
    .and_then(|cleaned| match cleaned.removed.is_empty() {
        true => Err(CleanError::NothingToRemove),
        false => Ok(cleaned),
    })
}

/// What a member's own cleaning means for it.
fn changed(
    name: &str,
    result: Result<Cleaned, CleanError>,
) -> Result<(Fate, Vec<String>), CleanError> {
    match result {
        Ok(cleaned) => {
            let removed = cleaned.removed.iter().map(|what| format!("{name}: {what}")).collect();
            Ok((Fate::Replaced(cleaned.content.into()), removed))
        }
        Err(CleanError::NothingToRemove | CleanError::Unsupported(_)) => {
            Ok((Fate::Kept, Vec::new()))
        }
        Err(error) => Err(error),
    }
}

type Judge<'j> =
    dyn FnMut(&str, &Bytes, &mut Budget<'_>) -> Result<(Fate, Vec<String>), CleanError> + 'j;

fn each(
    content: &Bytes,
    budget: &mut Budget<'_>,
    judge: &mut Judge<'_>,
) -> Result<Cleaned, CleanError> {
    let mut archive = Archive::read(content)?;
    let names = archive.names()?;
    let mut fates = Vec::with_capacity(names.len());
    let mut removed = Vec::new();
    for (place, name) in names.iter().enumerate() {
        budget.charge_work(1_000)?;
        let member = Bytes::from(archive.content(place, budget)?);
        let (fate, what) = judge(name, &member, budget)?;
        fates.push(fate);
        removed.extend(what);
    }
    if removed.is_empty() {
        return Ok(Cleaned { content: content.clone(), removed });
    }
    Ok(Cleaned { content: archive.write(fates)?, removed })
}
