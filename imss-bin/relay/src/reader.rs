//! Finds everything inside a message: in this process, or in the jail.
//!
//! In: a message. Out: its entities. A jail that gives none leaves the message alone with a gap.

use imss_core::archive::Passwords;
use imss_core::entity::Entities;
use imss_core::finding::Gap;
use imss_core::ids::EntityId;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

use crate::jail::{Jail, JailError, JailSettings};

/// How messages are read. Immutable: a change builds a new one.
#[derive(Debug, Default)]
pub struct Reader {
    limits: Limits,
    passwords: Passwords,
    jail: Option<Jail>,
}

impl Reader {
    /// Reads within `limits` and tries `passwords`, in this process.
    #[must_use]
    pub fn new(limits: Limits, passwords: &[String]) -> Self {
        let passwords = Passwords::configured(passwords.iter().map(String::as_str));
        Self { limits, passwords, jail: None }
    }

    /// The same in confined workers.
    ///
    /// # Errors
    ///
    /// [`JailError`] if the first worker does not come up.
    pub fn jailed(
        limits: Limits,
        passwords: &[String],
        settings: JailSettings,
    ) -> Result<Self, JailError> {
        let jail = Jail::new(settings, limits.clone(), passwords.to_vec())?;
        Ok(Self { jail: Some(jail), ..Self::new(limits, passwords) })
    }

    /// What a message may cost.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The jail, if there is one.
    #[must_use]
    pub fn jail(&self) -> Option<&Jail> {
        self.jail.as_ref()
    }

    /// Finds everything inside `message`. Ends early once `stop` is set.
    #[must_use]
    pub fn entities(&self, message: &Message, stop: &StopFlag) -> Entities {
        let Some(jail) = &self.jail else {
            return Entities::extract_with(message, &self.limits, stop, &self.passwords);
        };
        jail.extract(message, stop).unwrap_or_else(|error| {
            let (reason, detail) = (error.reason(), error.to_string());
            let gap = Gap { reason, entity: EntityId::MESSAGE, engine: "jail".into(), detail };
            Entities::unread(message, &self.limits, gap)
        })
    }
}
