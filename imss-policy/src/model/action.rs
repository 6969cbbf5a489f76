//! What a rule does.

use imss_core::envelope::Mailbox;

use super::{Notice, NoticeTarget, Stamp};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Final: goes on to its recipient.
    Deliver,
    /// Final: kept in an area.
    Quarantine(String),
    /// Final: accepted and discarded.
    Delete,
    /// Final: refused in the SMTP reply, or reported to the sender where that is too late.
    Reject {
        /// 4yz or 5yz.
        code: u16,
        /// Enhanced status code (RFC 3463).
        status: (u8, u16, u16),
        /// The reply's text, ASCII.
        text: String,
    },
    /// Final: accepted, and reported to the sender as undeliverable.
    Bounce(String),
    /// Final: refused for now; the client tries again.
    Defer,
    /// Final: goes to these instead.
    Redirect(Vec<Mailbox>),
    /// Final: waits in the queue until somebody releases it.
    Hold(String),
    /// Puts text before the subject.
    TagSubject(String),
    /// Adds a header field.
    AddField(String, String),
    /// Removes header fields.
    RemoveField(String),
    /// Replaces a header field, or adds it.
    ReplaceField(String, String),
    /// Replaces the attachments that made the rule match by a text.
    RemoveAttachment {
        /// The notice whose text takes their place; a built-in text without.
        notice: Option<NoticeUse>,
    },
    /// Takes out of the attachments that made the rule match what acts in them.
    Clean,
    /// Puts a stamp into the message's text.
    Stamp {
        /// The name it was called by.
        name: String,
        /// What it says.
        stamp: std::sync::Arc<Stamp>,
    },
    /// Sends another copy to these.
    Bcc(Vec<Mailbox>),
    /// Keeps another copy in an area.
    Archive(String),
    /// Sends a notice.
    Notify {
        /// Which.
        notice: NoticeUse,
        /// To whom.
        to: Vec<NoticeTarget>,
    },
    /// Done if the action before it could not do anything.
    Otherwise(Box<Action>),
}

/// A notice and the name it was called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeUse {
    /// The name.
    pub name: String,
    /// What it says.
    pub notice: std::sync::Arc<Notice>,
}

impl Action {
    /// Whether it may find that there is nothing it can act on, so that `otherwise` can follow.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        matches!(self, Self::RemoveAttachment { .. } | Self::Clean | Self::Stamp { .. })
    }

    /// The action's word, if it acts on attachments that a condition has to name.
    #[must_use]
    pub fn on_attachments(&self) -> Option<&'static str> {
        match self {
            Self::RemoveAttachment { .. } => Some("remove-attachment"),
            Self::Clean => Some("clean"),
            _ => None,
        }
    }

    /// Whether it ends the list of rules for a recipient.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Deliver
                | Self::Quarantine(_)
                | Self::Delete
                | Self::Reject { .. }
                | Self::Bounce(_)
                | Self::Defer
                | Self::Redirect(_)
                | Self::Hold(_)
        )
    }
}
