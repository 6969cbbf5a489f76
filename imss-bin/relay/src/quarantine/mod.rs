//! Held messages on disk, one pair of files each: `AREA/ID-COPY.json` (what is known) and
//! `AREA/ID-COPY.eml` (the copy's bytes). Archive areas work the same way in a folder of their own.
//!
//! In: copies from the queue. Out: lists, contents, and the envelope to release with. The JSON file is
//! renamed into place last: an item exists when its JSON file does. A damaged one is listed as such.

use std::fmt;
use std::fs::{DirEntry, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::envelope::{MailParameters, Recipient, ReversePath};
use imss_core::ids::QueueId;
use serde::{Deserialize, Serialize};

use crate::spool::body::{Body, Content};
use crate::spool::{Accepted, CopyRecord, Destination, Summary};

/// Folders of held messages.
#[derive(Debug, Clone)]
pub struct Quarantine {
    root: Arc<PathBuf>,
    archive: Arc<PathBuf>,
}

/// Names one held copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId {
    /// The transaction.
    pub id: QueueId,
    /// Which of its copies.
    pub copy: u16,
}

/// What is known of one held copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The transaction.
    pub id: QueueId,
    /// Which of its copies.
    pub copy: u16,
    /// The area it lies in.
    pub area: String,
    /// When it came in, in milliseconds since 1970.
    pub received_unix_millis: u64,
    /// When it was stored, in milliseconds since 1970.
    pub stored_unix_millis: u64,
    /// Octets.
    pub size: u64,
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// The parameters it came with.
    pub parameters: MailParameters,
    /// To whom it goes if released.
    pub recipients: Vec<Recipient>,
    /// What lists show.
    pub summary: Summary,
    /// The verdict record, as it was handed in with the message.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub record: serde_json::Value,
}

/// Why the quarantine could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// No such item.
    #[error("{0} is not held here")]
    NoSuchItem(ItemId),
    /// A name that cannot be a folder's.
    #[error(
        "{0:?} is not an area: use letters, digits, `-`, `_` and `.`, and begin with a letter or digit"
    )]
    Area(String),
    /// The message has no such copy.
    #[error("{0} does not exist")]
    NoSuchCopy(ItemId),
    /// What is known of the item cannot be read.
    #[error("the description of {0} is damaged")]
    Damaged(ItemId, #[source] serde_json::Error),
    /// The file system failed.
    #[error("the quarantine cannot be read or written")]
    Io(#[from] io::Error),
}

/// Which items a list has.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this area.
    pub area: Option<String>,
    /// Only to or from addresses that contain this, whatever the case.
    pub address: Option<String>,
    /// Only with a subject that contains this, whatever the case.
    pub subject: Option<String>,
    /// Only received at or after this, in milliseconds since 1970.
    pub since_unix_millis: Option<u64>,
    /// At most so many; 0 for all.
    pub limit: usize,
}

impl Quarantine {
    /// The quarantine in `data_dir/quarantine`, and the archive in `data_dir/archive`. Folders are
    /// made when they are needed.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: Arc::new(data_dir.join("quarantine")),
            archive: Arc::new(data_dir.join("archive")),
        }
    }

    /// The archive as a store of its own.
    #[must_use]
    pub fn archive(&self) -> Self {
        Self { root: Arc::clone(&self.archive), archive: Arc::clone(&self.archive) }
    }

    /// Stores one copy durably. Storing it again changes nothing. Blocks.
    ///
    /// # Errors
    ///
    /// - [`QuarantineError::Area`] for a name that is not one.
    /// - [`QuarantineError::NoSuchCopy`] if the message has no such copy.
    /// - [`QuarantineError::Io`]; nothing is listed then.
    pub fn put(
        &self,
        message: &Accepted,
        copy: u16,
        area: &str,
        now_unix_millis: u64,
    ) -> Result<(), QuarantineError> {
        let item = ItemId { id: message.id, copy };
        let record =
            message.copies.get(usize::from(copy)).ok_or(QuarantineError::NoSuchCopy(item))?;
        let folder = self.root.join(checked(area)?);
        let described = folder.join(format!("{item}.json"));
        if described.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&folder)?;
        let content = Content { body: message.body.clone(), rope: record.rope.clone() };
        let written = write_whole(&folder.join(format!("{item}.eml")), |file| {
            content.chunks().try_for_each(|chunk| file.write_all(&chunk?))
        });
        let description = Item {
            id: message.id,
            copy,
            area: area.to_owned(),
            received_unix_millis: message.received_unix_millis,
            stored_unix_millis: now_unix_millis,
            size: content.len(),
            reverse_path: record.reverse_path.clone(),
            parameters: record.parameters.clone(),
            recipients: record.recipients.clone(),
            summary: record.summary.clone(),
            record: serde_json::from_slice(&message.record).unwrap_or_default(),
        };
        let json = serde_json::to_vec(&description)
            .map_err(|error| QuarantineError::Damaged(item, error))?;
        written?;
        File::open(&folder)?.sync_all()?;
        write_whole(&described, |file| file.write_all(&json))?;
        File::open(&folder)?.sync_all()?;
        // The folder itself may be new.
        for parent in [Some(self.root.as_path()), self.root.parent()].into_iter().flatten() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    /// Items, newest first. Damaged ones are left out and counted. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::Io`] if a folder cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<(Vec<Item>, u64), QuarantineError> {
        let mut names = Vec::new();
        for area in self.areas()? {
            if filter.area.as_ref().is_some_and(|wanted| *wanted != area) {
                continue;
            }
            let items = items_of(&self.root.join(&area))?;
            names.extend(items.into_iter().map(|item| (item, area.clone())));
        }
        // Queue IDs sort by time.
        names.sort_unstable_by(|a, b| b.cmp(a));
        let mut found = Vec::new();
        let mut damaged = 0_u64;
        for (item, area) in names {
            if filter.limit > 0 && found.len() >= filter.limit {
                break;
            }
            match self.describe(item, &area) {
                Ok(item) if filter.matches(&item) => found.push(item),
                Ok(_) | Err(QuarantineError::NoSuchItem(_)) => {}
                Err(QuarantineError::Damaged(..)) => damaged = damaged.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        Ok((found, damaged))
    }

    /// What is known of one item. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::NoSuchItem`], [`QuarantineError::Damaged`], [`QuarantineError::Io`].
    pub fn show(&self, item: ItemId) -> Result<Item, QuarantineError> {
        let area = self.area_of(item)?;
        self.describe(item, &area)
    }

    /// The bytes of one item. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::NoSuchItem`], [`QuarantineError::Io`].
    pub fn content(&self, item: ItemId) -> Result<Body, QuarantineError> {
        let path = self.root.join(self.area_of(item)?).join(format!("{item}.eml"));
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Body::File { file: Arc::new(file), offset: 0, length, own: None })
    }

    /// The item as a message for its stored recipients, under a new queue ID, not scanned again.
    /// Submit it, then [`Quarantine::delete`] the item. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::show`].
    pub fn release(
        &self,
        item: ItemId,
        new_id: QueueId,
        now_unix_millis: u64,
    ) -> Result<Accepted, QuarantineError> {
        let held = self.show(item)?;
        let body = self.content(item)?;
        let copy = CopyRecord {
            reverse_path: held.reverse_path,
            parameters: held.parameters,
            recipients: held.recipients,
            rope: Rope::original(body.len()),
            destination: Destination::NextHop,
            summary: held.summary,
        };
        Ok(Accepted {
            id: new_id,
            received_unix_millis: now_unix_millis,
            body,
            copies: vec![copy],
            record: Bytes::new(),
        })
    }

    /// Removes an item. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::NoSuchItem`], [`QuarantineError::Io`].
    pub fn delete(&self, item: ItemId) -> Result<(), QuarantineError> {
        let folder = self.root.join(self.area_of(item)?);
        remove(&folder, item)
    }

    /// Removes what was stored in `area` longer than `keep` ago. Returns how many items. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::Area`], [`QuarantineError::Io`].
    pub fn sweep(
        &self,
        area: &str,
        keep: Duration,
        now_unix_millis: u64,
    ) -> Result<u64, QuarantineError> {
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let folder = self.root.join(checked(area)?);
        let mut removed = 0_u64;
        for item in items_of(&folder)? {
            // A damaged description still has its time in its name.
            let stored = self
                .describe(item, area)
                .map_or(item.id.unix_millis(), |known| known.stored_unix_millis);
            if now_unix_millis.saturating_sub(stored) > keep {
                remove(&folder, item)?;
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    /// The areas that exist, in order. Blocks.
    ///
    /// # Errors
    ///
    /// [`QuarantineError::Io`].
    pub fn areas(&self) -> Result<Vec<String>, QuarantineError> {
        let mut areas = Vec::new();
        for entry in entries(&self.root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if checked(&name).is_ok() {
                areas.push(name);
            }
        }
        areas.sort_unstable();
        Ok(areas)
    }

    fn area_of(&self, item: ItemId) -> Result<String, QuarantineError> {
        let name = format!("{item}.json");
        let areas = self.areas()?;
        let lies_in = |area: &String| self.root.join(area).join(&name).exists();
        areas.into_iter().find(lies_in).ok_or(QuarantineError::NoSuchItem(item))
    }

    fn describe(&self, item: ItemId, area: &str) -> Result<Item, QuarantineError> {
        match std::fs::read(self.root.join(area).join(format!("{item}.json"))) {
            Ok(json) => {
                serde_json::from_slice(&json).map_err(|error| QuarantineError::Damaged(item, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(QuarantineError::NoSuchItem(item))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Filter {
    fn matches(&self, item: &Item) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let address = |part: &String| {
            let mut recipients = item.recipients.iter();
            has(&item.reverse_path.to_string(), part)
                || recipients.any(|recipient| has(&recipient.path.to_string(), part))
        };
        self.address.as_ref().is_none_or(address)
            && self.subject.as_ref().is_none_or(|part| has(&item.summary.subject, part))
            && self.since_unix_millis.is_none_or(|since| item.received_unix_millis >= since)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.copy)
    }
}

/// The text is not the name of a held message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the ID of a held message: expected a queue ID, or one with -NUMBER behind it")]
pub struct ItemIdError;

impl FromStr for ItemId {
    type Err = ItemIdError;

    fn from_str(text: &str) -> Result<Self, ItemIdError> {
        let (id, copy) = text.split_once('-').unwrap_or((text, "0"));
        let id = id.parse().map_err(|_| ItemIdError)?;
        Ok(Self { id, copy: copy.parse().map_err(|_| ItemIdError)? })
    }
}

/// A name that can be a folder's and nothing else.
fn checked(area: &str) -> Result<&str, QuarantineError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins = area.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && area.len() <= 100 && area.chars().all(fine) {
        Ok(area)
    } else {
        Err(QuarantineError::Area(area.to_owned()))
    }
}

/// Writes a file under another name, syncs it, and gives it its name.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), QuarantineError> {
    let unfinished = path.with_added_extension("tmp");
    let mut file = File::create(&unfinished)?;
    let written = write(&mut file).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error.into());
    }
    Ok(std::fs::rename(unfinished, path)?)
}

fn items_of(folder: &Path) -> Result<Vec<ItemId>, QuarantineError> {
    let mut items = Vec::new();
    for entry in entries(folder)? {
        let name = entry?.file_name();
        let item = name.to_str().and_then(|name| name.strip_suffix(".json"));
        items.extend(item.and_then(|item| item.parse::<ItemId>().ok()));
    }
    Ok(items)
}

/// The entries of a folder; none if there is no such folder.
fn entries(folder: &Path) -> Result<impl Iterator<Item = io::Result<DirEntry>>, QuarantineError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error.into()),
    }
}

fn remove(folder: &Path, item: ItemId) -> Result<(), QuarantineError> {
    // The description goes first: the item exists as long as it does.
    std::fs::remove_file(folder.join(format!("{item}.json")))?;
    std::fs::remove_file(folder.join(format!("{item}.eml")))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}
