//! Brings a signature set up to date, or back to the version before.
//!
//! In: a source, and how to try what is now on the disk. Out: what changed. If the engines refuse the
//! new version, the one before is current again and nothing has changed for the mail.

use serde::Serialize;

use super::{Bundle, FetchError, Key, Source, Store, StoreError, Version};

/// What an update or a roll-back did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Updated {
    /// The set.
    pub name: String,
    /// The version in use now.
    pub version: Version,
    /// The version in use before; `None` if the set is new.
    pub before: Option<Version>,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// No key is known.
    #[error("`[signatures] keys` names no key, so no bundle can be trusted")]
    NoKeys,
    /// The bundle was not fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engines refuse the version; the one before is in use.
    #[error("{name} {version} cannot be used, and {before} stays: {reason}")]
    Refused {
        /// The set.
        name: String,
        /// The version that was tried.
        version: Version,
        /// What is in use.
        before: String,
        /// Why.
        reason: String,
    },
}

/// Fetches the bundle at `source` and uses it if it is newer than what is installed, or if `older`
/// says that any other version will do. `try_it` loads what is current on the disk, aside, and swaps it in.
///
/// # Errors
///
/// [`UpdateError`]; then the version before is in use.
pub async fn update<T: Future<Output = Result<(), String>>>(
    store: &Store,
    keys: &[Key],
    (source, older): (&Source, bool),
    try_it: impl FnOnce() -> T,
) -> Result<Updated, UpdateError> {
    if keys.is_empty() {
        return Err(UpdateError::NoKeys);
    }
    let wanted = |name: &str, version: &Version| match store.set(name) {
        Ok(Some(set)) => *version > set.current || older && *version != set.current,
        _ => true,
    };
    match source.fetch(keys, wanted).await? {
        Ok(bundle) => install(store, &bundle, try_it).await,
        Err(manifest) => {
            let current = store.set(&manifest.name)?.map(|set| set.current);
            let version = current.clone().unwrap_or(manifest.version);
            Ok(Updated { name: manifest.name, version, before: current })
        }
    }
}

/// Goes back to the version of `name` that was in use before.
///
/// # Errors
///
/// [`UpdateError`]; then nothing has changed.
pub async fn roll_back<T: Future<Output = Result<(), String>>>(
    store: &Store,
    name: &str,
    try_it: impl FnOnce() -> T,
) -> Result<Updated, UpdateError> {
    let version = store.roll_back(name)?;
    switch(store, name, version, try_it).await
}

async fn install<T: Future<Output = Result<(), String>>>(
    store: &Store,
    bundle: &Bundle,
    try_it: impl FnOnce() -> T,
) -> Result<Updated, UpdateError> {
    store.add(bundle)?;
    switch(store, &bundle.manifest.name, bundle.manifest.version.clone(), try_it).await
}

async fn switch<T: Future<Output = Result<(), String>>>(
    store: &Store,
    name: &str,
    version: Version,
    try_it: impl FnOnce() -> T,
) -> Result<Updated, UpdateError> {
    let before = store.set(name)?;
    store.use_version(name, &version)?;
    if let Err(reason) = try_it().await {
        match &before {
            Some(before) => store.restore(before)?,
            None => store.remove(name)?,
        }
        let before = before.map_or_else(|| "no version".to_owned(), |set| set.current.to_string());
        let name = name.to_owned();
        return Err(UpdateError::Refused { name, version, before, reason });
    }
    Ok(Updated { name: name.to_owned(), version, before: before.map(|set| set.current) })
}
