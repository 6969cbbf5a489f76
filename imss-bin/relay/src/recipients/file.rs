//! A file of all mailboxes, one a line.
//!
//! In: `user@example.com`, `sales-*@example.com` or `@example.com` (everybody there); what follows a
//! blank is not looked at, so that Postfix's `relay_recipient_maps` work as they are; `#` begins a
//! comment. Out: whether a mailbox is in it. A line that is none makes the whole file unusable.
//!
//! Of a plain address eight octets are kept: a digest under a key of this process, so that a million
//! of them cost 8 MB. Two addresses of one digest would let an unknown one through, once in some
//! million million lists; nobody outside can look for such a pair.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imss_core::envelope::{Domain, Mailbox, Syntax};

use super::{Answer, Directory, Known, key};
use crate::inbound::relaying::DomainSet;

/// Octets of the file.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Octets of a line.
const MAX_LINE_BYTES: u64 = 2_048;
/// Patterns with `*` inside a local part.
const MAX_PATTERNS: usize = 10_000;

/// Why a file of mailboxes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line that is none.
    #[error(
        "{}:{line}: not an address; write user@example.com, user-*@example.com or @example.com",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// It has more than can be looked through for each recipient.
    #[error("{}: more than {MAX_PATTERNS} patterns; use @DOMAIN or whole addresses", path.display())]
    Patterns {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than a list of mailboxes can be.
    #[error("{}: larger than {MAX_FILE_BYTES} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// A file of mailboxes.
#[derive(Debug)]
pub struct FileDirectory {
    path: PathBuf,
    delimiter: Option<char>,
    current: ArcSwap<List>,
}

#[derive(Debug, Default)]
struct List {
    hasher: RandomState,
    /// Digests of plain addresses, sorted.
    digests: Vec<u64>,
    /// Domains that have everybody.
    domains: DomainSet,
    /// What stands before and after the `*`, by domain.
    patterns: HashMap<String, Vec<(String, String)>>,
    pattern_count: usize,
}

impl FileDirectory {
    /// Reads the file. `delimiter` begins a detail that the file's addresses do not have.
    ///
    /// # Errors
    ///
    /// See [`ListError`].
    pub fn open(path: PathBuf, delimiter: Option<char>) -> Result<Self, ListError> {
        let current = ArcSwap::from_pointee(List::load(&path)?);
        Ok(Self { path, delimiter, current })
    }

    /// Whether the file has this mailbox.
    #[must_use]
    pub fn contains(&self, mailbox: &Mailbox) -> bool {
        let list = self.current.load();
        if list.domains.contains(mailbox.domain()) {
            return true;
        }
        let Some(domain) = mailbox.domain().ascii_name() else { return false };
        let whole = mailbox.local_part();
        let bare = self.delimiter.and_then(|delimiter| whole.split_once(delimiter));
        let names = [Some(whole), bare.map(|(name, _)| name).filter(|name| !name.is_empty())];
        names.into_iter().flatten().any(|name| list.has(name, &domain))
    }
}

impl Directory for FileDirectory {
    fn look_up<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a> {
        let known = if self.contains(mailbox) { Known::Yes } else { Known::No };
        Box::pin(std::future::ready(known))
    }

    fn reload(&self) -> Result<(), ListError> {
        self.current.store(Arc::new(List::load(&self.path)?));
        Ok(())
    }
}

impl List {
    fn load(path: &PathBuf) -> Result<Self, ListError> {
        let io = |source| ListError::Io { path: path.clone(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() > MAX_FILE_BYTES {
            return Err(ListError::TooLarge { path: path.clone() });
        }
        let mut input = BufReader::new(file.take(MAX_FILE_BYTES));
        let (mut list, mut line, mut number) = (Self::default(), String::new(), 0_u64);
        loop {
            line.clear();
            number = number.saturating_add(1);
            let wrong = || ListError::Line { path: path.clone(), line: number };
            let read = input.by_ref().take(MAX_LINE_BYTES).read_line(&mut line);
            match read.map_err(io)? {
                0 => break,
                octets if u64::try_from(octets).is_ok_and(|n| n >= MAX_LINE_BYTES) => {
                    return Err(wrong());
                }
                _ => {}
            }
            let entry = line.split_ascii_whitespace().next().filter(|word| !word.starts_with('#'));
            let Some(entry) = entry else { continue };
            list.add(entry).ok_or_else(wrong)?;
            if list.pattern_count > MAX_PATTERNS {
                return Err(ListError::Patterns { path: path.clone() });
            }
        }
        list.digests.sort_unstable();
        list.digests.dedup();
        list.digests.shrink_to_fit();
        Ok(list)
    }

    /// Adds an entry; `None` if it is none.
    fn add(&mut self, entry: &str) -> Option<()> {
        if let Some(domain) = entry.strip_prefix("*@").or_else(|| entry.strip_prefix('@')) {
            return self.domains.insert(domain).ok();
        }
        let Some((before, rest)) = entry.split_once('*') else {
            let mailbox = Mailbox::parse(entry, Syntax { utf8: true, lax_dots: true }).ok()?;
            let key = key(mailbox.local_part(), &mailbox.domain().ascii_name()?);
            self.digests.push(self.hasher.hash_one(key));
            return Some(());
        };
        let (after, domain) = rest.rsplit_once('@')?;
        if after.contains('*') {
            return None;
        }
        let domain = Domain::parse(domain, Syntax { utf8: true, lax_dots: false }).ok()?;
        let patterns = self.patterns.entry(domain.ascii_name()?.into_owned()).or_default();
        patterns.push((before.to_lowercase(), after.to_lowercase()));
        self.pattern_count = self.pattern_count.saturating_add(1);
        Some(())
    }

    fn has(&self, local_part: &str, domain: &str) -> bool {
        let key = key(local_part, domain);
        if self.digests.binary_search(&self.hasher.hash_one(&key)).is_ok() {
            return true;
        }
        let Some(patterns) = self.patterns.get(domain) else { return false };
        let name = local_part.to_lowercase();
        patterns.iter().any(|(before, after)| {
            name.strip_prefix(before.as_str()).is_some_and(|rest| rest.ends_with(after.as_str()))
        })
    }
}
