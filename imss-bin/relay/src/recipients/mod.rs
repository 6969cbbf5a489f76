//! Whether a recipient of our domains exists, asked at `RCPT TO`: who is unknown is refused there,
//! and no notice ever goes to a forged sender.
//!
//! In: a forward-path of one of our domains. Out: yes, or the reply that refuses it. Directories are
//! asked in order until one knows the mailbox; `directories` is the list of all kinds. A directory
//! that cannot tell makes nobody unknown: the settings say whether such mail is taken or deferred.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use imss_core::envelope::{ForwardPath, Mailbox};

use crate::inbound::Reply;
use crate::inbound::relaying::DomainSet;
use crate::outbound::Routing;

mod call_ahead;
mod file;

pub use call_ahead::CallAhead;
pub use file::{FileDirectory, ListError};

/// What a directory knows of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It exists.
    Yes,
    /// It does not.
    No,
    /// It cannot be found out now.
    CannotTell(String),
}

/// An answer on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Known> + Send + 'a>>;

/// Knows mailboxes.
pub trait Directory: Send + Sync + 'static {
    /// Whether `mailbox` exists. Must end within a bound of its own.
    fn look_up<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a>;

    /// Reads again what it was made from.
    ///
    /// # Errors
    ///
    /// What was in use stays in use.
    fn reload(&self) -> Result<(), ListError> {
        Ok(())
    }
}

/// How recipients are verified.
#[derive(Debug, Clone)]
pub struct RecipientSettings {
    /// A file of all mailboxes.
    pub file: Option<PathBuf>,
    /// Ask the next hop.
    pub call_ahead: Option<CallAheadSettings>,
    /// Domains whose recipients are not verified.
    pub exempt: DomainSet,
    /// Take mail for recipients of whom nobody can tell, rather than defer it.
    pub accept_unverified: bool,
    /// What begins a detail in the local part that is no part of the mailbox's name.
    pub delimiter: Option<char>,
}

impl Default for RecipientSettings {
    fn default() -> Self {
        Self {
            file: None,
            call_ahead: None,
            exempt: DomainSet::default(),
            accept_unverified: true,
            delimiter: Some('+'),
        }
    }
}

/// How the next hop is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallAheadSettings {
    /// What we call ourselves.
    pub hostname: String,
    /// How long one question may take, connection included.
    pub timeout: Duration,
    /// How long it counts that a mailbox exists.
    pub known_for: Duration,
    /// How long it counts that it does not.
    pub unknown_for: Duration,
    /// Answers that are kept.
    pub answers: usize,
}

impl Default for CallAheadSettings {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            timeout: Duration::from_secs(20),
            known_for: Duration::from_secs(4 * 3_600),
            unknown_for: Duration::from_secs(600),
            answers: 100_000,
        }
    }
}

/// Verifies recipients.
pub struct Recipients {
    directories: Vec<Arc<dyn Directory>>,
    exempt: DomainSet,
    accept_unverified: bool,
}

/// All kinds of directories, in the order in which they are asked.
///
/// # Errors
///
/// A list cannot be read.
fn directories(
    settings: &RecipientSettings,
    routing: &Routing,
) -> Result<Vec<Arc<dyn Directory>>, ListError> {
    let mut all: Vec<Arc<dyn Directory>> = Vec::new();
    if let Some(path) = &settings.file {
        all.push(Arc::new(FileDirectory::open(path.clone(), settings.delimiter)?));
    }
    if let Some(call_ahead) = &settings.call_ahead {
        all.push(Arc::new(CallAhead::new(call_ahead.clone(), routing.clone())));
    }
    Ok(all)
}

impl Recipients {
    /// Verifies by what the settings name. Without any, every recipient exists.
    ///
    /// # Errors
    ///
    /// A list cannot be read.
    pub fn open(settings: &RecipientSettings, routing: &Routing) -> Result<Self, ListError> {
        let directories = directories(settings, routing)?;
        Ok(Self::new(directories, settings.exempt.clone(), settings.accept_unverified))
    }

    /// Verifies by these directories.
    #[must_use]
    pub fn new(
        directories: Vec<Arc<dyn Directory>>,
        exempt: DomainSet,
        accept_unverified: bool,
    ) -> Self {
        Self { directories, exempt, accept_unverified }
    }

    /// Reads lists again.
    ///
    /// # Errors
    ///
    /// A list cannot be read; it stays as it was.
    pub fn reload(&self) -> Result<(), ListError> {
        self.directories.iter().try_for_each(|directory| directory.reload())
    }

    /// Whether mail for a recipient of our domains is taken.
    ///
    /// # Errors
    ///
    /// The reply that refuses it.
    pub async fn verify(&self, recipient: &ForwardPath) -> Result<(), Reply> {
        // Everybody has a postmaster (RFC 5321 §4.5.1).
        let Some(mailbox) = recipient.mailbox() else { return Ok(()) };
        let is_open = self.directories.is_empty()
            || mailbox.local_part().eq_ignore_ascii_case("postmaster")
            || self.exempt.contains(mailbox.domain());
        if is_open {
            return Ok(());
        }
        let mut doubt = None;
        for directory in &self.directories {
            match directory.look_up(mailbox).await {
                Known::Yes => return Ok(()),
                Known::No => {}
                Known::CannotTell(reason) => doubt = Some(reason),
            }
        }
        let Some(reason) = doubt else {
            metrics::counter!("imss_recipients_unknown_total").increment(1);
            return Err(Reply::new(550, (5, 1, 1), "No such mailbox here"));
        };
        metrics::counter!("imss_recipients_unverified_total").increment(1);
        tracing::warn!(%reason, accepted = self.accept_unverified, "a recipient cannot be verified");
        if self.accept_unverified {
            return Ok(());
        }
        Err(Reply::new(451, (4, 4, 3), "Cannot verify the recipient now, try again later"))
    }
}

/// The form in which mailboxes are compared: local part in lower case, domain in A-labels.
fn key(local_part: &str, domain: &str) -> String {
    format!("{}@{domain}", local_part.to_lowercase())
}

#[cfg(test)]
mod tests;
