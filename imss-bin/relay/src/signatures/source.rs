//! Where bundles come from: a folder or a web server.
//!
//! In: a source and the known keys. Out: a checked [`Bundle`]. The manifest is fetched and checked
//! first; files only if their version is wanted, each no longer than the manifest says.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Version;
use super::bundle::{
    self, Bundle, BundleError, Key, MANIFEST, MAX_MANIFEST_BYTES, Manifest, SIGNATURE,
};

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// A place that bundles come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder.
    Folder(PathBuf),
    /// A web address, without the slash at its end.
    Web(String),
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Web(text.trim_end_matches('/').to_owned()));
        }
        if text.is_empty() || text.contains("://") {
            return Err("not a folder and not an http:// or https:// address");
        }
        Ok(Self::Folder(text.into()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Web(address) => f.pad(address),
        }
    }
}

/// Why a bundle was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A file is not there or cannot be read.
    #[error("{place}: {source}")]
    Read {
        /// Which.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server does not answer, or not with the file.
    #[error("{place}: {reason}")]
    Web {
        /// Which.
        place: String,
        /// Why.
        reason: String,
    },
    /// The file is longer than it may be.
    #[error("{0} is longer than it may be")]
    TooLong(String),
    /// What was fetched is not a bundle to use.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Source {
    /// Fetches the bundle if `wanted` says so of its name and version; else only its manifest.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        keys: &[Key],
        wanted: impl FnOnce(&str, &Version) -> bool,
    ) -> Result<Result<Bundle, Manifest>, FetchError> {
        let manifest_octets = self.read(MANIFEST, MAX_MANIFEST_BYTES).await?;
        let signature = self.read(SIGNATURE, MAX_MANIFEST_BYTES).await?;
        let manifest = bundle::manifest(&manifest_octets, &signature, keys)?;
        if !wanted(&manifest.name, &manifest.version) {
            return Ok(Err(manifest));
        }
        let mut files = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            let octets = self.read(&file.name, file.bytes).await?;
            bundle::check_file(file, &octets)?;
            files.push(octets);
        }
        Ok(Ok(Bundle { manifest, manifest_octets, signature, files }))
    }

    async fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, FetchError> {
        match self {
            Self::Folder(folder) => read_file(folder.join(name), most),
            Self::Web(address) => get(format!("{address}/{name}"), most).await,
        }
    }
}

fn read_file(path: PathBuf, most: u64) -> Result<Vec<u8>, FetchError> {
    let place = path.display().to_string();
    let mut octets = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut octets))
        .map_err(|source| FetchError::Read { place: place.clone(), source })?;
    if octets.len() as u64 > most { Err(FetchError::TooLong(place)) } else { Ok(octets) }
}

async fn get(place: String, most: u64) -> Result<Vec<u8>, FetchError> {
    let failed = |reason: String| FetchError::Web { place: place.clone(), reason };
    let told = |error: reqwest::Error| failed(with_causes(&error.without_url()));
    let client = reqwest::Client::builder()
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .build()
        .map_err(told)?;
    let mut response = client.get(&place).send().await.map_err(told)?;
    if !response.status().is_success() {
        return Err(failed(format!("the server answers {}", response.status())));
    }
    let mut octets = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        octets.extend_from_slice(&chunk);
        if octets.len() as u64 > most {
            return Err(FetchError::TooLong(place));
        }
    }
    Ok(octets)
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
