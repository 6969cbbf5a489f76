//! Objects: named once, used by many rules.

use std::sync::Arc;
use std::time::Duration;

use imss_core::edit::Position;
use imss_core::envelope::Mailbox;
use imss_core::plan::KeywordList;

/// A keyword list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keywords {
    /// Ready for the scan plan.
    pub list: Arc<KeywordList>,
}

/// A text in the languages it was written in. At least one is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text {
    /// English.
    pub en: Option<String>,
    /// Japanese.
    pub ja: Option<String>,
}

/// A language that notices are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// English.
    En,
    /// Japanese.
    Ja,
}

impl Text {
    /// The texts in these languages, in order; whatever there is if none of them is there.
    #[must_use]
    pub fn in_languages(&self, languages: &[Language]) -> Vec<&str> {
        let of = |language: &Language| match language {
            Language::En => self.en.as_deref(),
            Language::Ja => self.ja.as_deref(),
        };
        let mut texts: Vec<&str> = languages.iter().filter_map(of).collect();
        if texts.is_empty() {
            texts.extend(self.en.as_deref().or(self.ja.as_deref()));
        }
        texts
    }
}

/// A mail about what a rule did, and the text put in place of a removed attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who receives it by mail.
    pub to: Vec<NoticeTarget>,
    /// Its subject, with tokens.
    pub subject: Text,
    /// Its text, with tokens.
    pub text: Text,
}

/// A text put into messages: a disclaimer, a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// For plain text, with tokens.
    pub text: Text,
    /// For pages, as markup with tokens; without, `text`.
    pub html: Option<Text>,
    /// Where in the text.
    pub position: Position,
}

/// Who receives a notice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeTarget {
    /// The recipients the rule acted for.
    Recipients,
    /// The reverse-path, if it is internal: strangers' addresses may be forged.
    Sender,
    /// The administrator.
    Administrator,
    /// Somebody else.
    Mailbox(Mailbox),
}

/// A quarantine area.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// How long a message stays; without, 30 days.
    pub keep: Option<Duration>,
    /// Whether its owners may release a message.
    pub end_user: bool,
}

/// An archive area.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    /// How long a message stays; without, for ever.
    pub keep: Option<Duration>,
}
