//! The installed sets of one node, on its disk.
//!
//! `DIR/NAME/VERSION/` holds a bundle as it was fetched; `DIR/NAME/current` names the version in use,
//! and on a second line the one before. A version is written under another name, synced and renamed;
//! so is `current`. A crash leaves the old state or the new one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Version;
use super::bundle::{self, Bundle, BundleError, Key, MANIFEST, SIGNATURE};

/// Versions kept of each set, the current one included.
const KEPT: usize = 5;
/// The file that names the current version.
const CURRENT: &str = "current";

/// The sets in one folder.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// The version in use.
    pub current: Version,
    /// The version that a roll-back would bring.
    pub previous: Option<Version>,
    /// All versions on the disk, newest first.
    pub versions: Vec<Version>,
}

/// Why a set could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An installed bundle is damaged, or its key is no longer known.
    #[error("signature set {name} {version}: {source}")]
    Bundle {
        /// The set.
        name: String,
        /// Its version.
        version: Version,
        /// What is wrong.
        source: BundleError,
    },
    /// There is nothing to go back to.
    #[error("signature set {0} has no earlier version")]
    NoPrevious(String),
    /// No set has that name.
    #[error("no signature set {0} is installed")]
    NoSuchSet(String),
}

impl Store {
    /// The sets in `dir`, which need not be there.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// All sets, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn list(&self) -> Result<Vec<Installed>, StoreError> {
        let mut sets = Vec::new();
        for name in names(&self.dir)? {
            if let Some(set) = self.set(&name)? {
                sets.push(set);
            }
        }
        sets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(sets)
    }

    /// One set, if it is installed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn set(&self, name: &str) -> Result<Option<Installed>, StoreError> {
        let folder = self.dir.join(name);
        let path = folder.join(CURRENT);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(at(&path))?,
        };
        let mut lines = text.lines().map(str::parse);
        let Some(Ok(current)) = lines.next() else { return Ok(None) };
        let mut versions: Vec<Version> =
            names(&folder)?.iter().filter_map(|name| name.parse().ok()).collect();
        versions.sort_by(|one, other| other.cmp(one));
        let previous = lines.next().and_then(Result::ok);
        let previous = previous.filter(|version| versions.contains(version));
        Ok(Some(Installed { name: name.to_owned(), current, previous, versions }))
    }

    /// Reads one installed version and checks it as if it came from outside.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn load(&self, name: &str, version: &Version, keys: &[Key]) -> Result<Bundle, StoreError> {
        let folder = self.dir.join(name).join(version.to_string());
        let read = |file: &str| {
            let path = folder.join(file);
            fs::read(&path).map_err(at(&path))
        };
        let wrong =
            |source| StoreError::Bundle { name: name.to_owned(), version: version.clone(), source };
        let (manifest_octets, signature) = (read(MANIFEST)?, read(SIGNATURE)?);
        let manifest = bundle::manifest(&manifest_octets, &signature, keys).map_err(wrong)?;
        if manifest.name != name || manifest.version != *version {
            return Err(wrong(BundleError::Manifest("of another bundle".to_owned())));
        }
        let mut files = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            let octets = read(&file.name)?;
            bundle::check_file(file, &octets).map_err(wrong)?;
            files.push(octets);
        }
        Ok(Bundle { manifest, manifest_octets, signature, files })
    }

    /// Writes a bundle to the disk without using it yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; then nothing has changed.
    pub fn add(&self, bundle: &Bundle) -> Result<(), StoreError> {
        let set = self.dir.join(&bundle.manifest.name);
        let folder = set.join(bundle.manifest.version.to_string());
        let aside = set.join(format!(".{}", bundle.manifest.version));
        // Left from a crash: never whole, so never used.
        let _ = fs::remove_dir_all(&aside);
        fs::create_dir_all(&aside).map_err(at(&aside))?;
        let names = bundle.manifest.files.iter().map(|file| file.name.as_str());
        let files = names.zip(bundle.files.iter().map(Vec::as_slice));
        let own = [(MANIFEST, bundle.manifest_octets.as_slice()), (SIGNATURE, &bundle.signature)];
        for (name, octets) in files.chain(own) {
            write(&aside.join(name), octets)?;
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(at(&folder))?;
        }
        fs::rename(&aside, &folder).map_err(at(&folder))?;
        sync(&set)
    }

    /// Uses `version` of `name` from now on. Old versions beyond some are removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; then nothing has changed.
    pub fn use_version(&self, name: &str, version: &Version) -> Result<(), StoreError> {
        let before = self.set(name)?.filter(|set| set.current != *version);
        self.write_current(name, version, before.map(|set| set.current).as_ref())?;
        self.prune(name)
    }

    /// Makes everything as it was when `before` was read, as far as its versions are there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn restore(&self, before: &Installed) -> Result<(), StoreError> {
        self.write_current(&before.name, &before.current, before.previous.as_ref())
    }

    /// The version that a roll-back of `name` would bring.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchSet`], [`StoreError::NoPrevious`], [`StoreError::Io`].
    pub fn roll_back(&self, name: &str) -> Result<Version, StoreError> {
        let set = self.set(name)?.ok_or_else(|| StoreError::NoSuchSet(name.to_owned()))?;
        set.previous.ok_or_else(|| StoreError::NoPrevious(name.to_owned()))
    }

    /// Uses no version of `name` any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.dir.join(name).join(CURRENT);
        fs::remove_file(&path).map_err(at(&path))
    }

    fn write_current(
        &self,
        name: &str,
        current: &Version,
        previous: Option<&Version>,
    ) -> Result<(), StoreError> {
        let previous = previous.map(|version| format!("{version}\n")).unwrap_or_default();
        let set = self.dir.join(name);
        let (aside, path) = (set.join(".current"), set.join(CURRENT));
        write(&aside, format!("{current}\n{previous}").as_bytes())?;
        fs::rename(&aside, &path).map_err(at(&path))?;
        sync(&set)
    }

    fn prune(&self, name: &str) -> Result<(), StoreError> {
        let Some(set) = self.set(name)? else { return Ok(()) };
        let used =
            |version: &Version| *version == set.current || set.previous.as_ref() == Some(version);
        for version in set.versions.iter().skip(KEPT).filter(|version| !used(version)) {
            let folder = self.dir.join(name).join(version.to_string());
            fs::remove_dir_all(&folder).map_err(at(&folder))?;
        }
        Ok(())
    }
}

/// The names of the folders in `dir`; none if it is not there.
fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at(dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

fn write(path: &Path, octets: &[u8]) -> Result<(), StoreError> {
    let run = || {
        let mut file = fs::File::create(path)?;
        file.write_all(octets)?;
        file.sync_all()
    };
    run().map_err(at(path))
}

fn sync(dir: &Path) -> Result<(), StoreError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Io { path, source }
}
