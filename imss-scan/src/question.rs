//! What engines ask of the outside world.
//!
//! In: questions as engines think of them. Out: each question once, in the order of asking.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bytes::Bytes;
use imss_core::ids::EntityId;
use serde::{Deserialize, Serialize};

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// Which addresses does this name have in a DNS list (RFC 5782)?
    DnsList {
        /// The list's name in the policy, for metrics and logs.
        list: String,
        /// The full name to look up (type A), without a trailing dot.
        name: String,
    },
    /// Does clamd know malware in this content?
    Clamd {
        /// Where the content is from.
        entity: EntityId,
        /// The content.
        content: Bytes,
    },
    /// Which version is clamd, and which are its signatures?
    ClamdVersion,
    /// Does the ICAP server know malware in this content?
    Icap {
        /// Where the content is from.
        entity: EntityId,
        /// The content.
        content: Bytes,
    },
    /// Who sent this message?
    Authentication(Box<AuthQuestion>),
}

/// What authentication needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuestion {
    /// The client's address.
    pub ip: IpAddr,
    /// The name in HELO or EHLO.
    pub helo: String,
    /// The reverse-path's mailbox; empty if it is null.
    pub reverse_path: String,
    /// Recipients of the envelope.
    pub recipients: u32,
    /// The message.
    pub content: Bytes,
}

impl Question {
    /// What makes it this question and no other; holds no content.
    #[must_use]
    pub fn key(&self) -> QuestionKey {
        match self {
            Self::DnsList { name, .. } => QuestionKey::DnsList(name.clone()),
            Self::Clamd { entity, .. } => QuestionKey::Clamd(*entity),
            Self::ClamdVersion => QuestionKey::ClamdVersion,
            Self::Icap { entity, .. } => QuestionKey::Icap(*entity),
            Self::Authentication(_) => QuestionKey::Authentication,
        }
    }
}

/// A question's identity within one scan, as the verdict record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum QuestionKey {
    /// A name looked up in a DNS list.
    DnsList(String),
    /// An entity sent to clamd.
    Clamd(EntityId),
    /// The version of clamd.
    ClamdVersion,
    /// An entity sent to the ICAP server.
    Icap(EntityId),
    /// Who sent the message.
    Authentication,
}

impl QuestionKey {
    /// Who is asked, in one word: `dns-list`, `clamd`, `icap` or `authentication`.
    #[must_use]
    pub fn lookup(&self) -> &'static str {
        match self {
            Self::DnsList(_) => "dns-list",
            Self::Clamd(_) | Self::ClamdVersion => "clamd",
            Self::Icap(_) => "icap",
            Self::Authentication => "authentication",
        }
    }
}

/// Questions being collected.
#[derive(Debug, Default)]
pub struct Questions {
    known: BTreeSet<QuestionKey>,
    list: Vec<Question>,
}

impl Questions {
    /// No question.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a question, unless it was asked already.
    pub fn ask(&mut self, question: Question) {
        if self.known.insert(question.key()) {
            self.list.push(question);
        }
    }

    /// The questions in the order of asking.
    #[must_use]
    pub fn into_vec(self) -> Vec<Question> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once() {
        let mut questions = Questions::new();
        for name in ["2.0.0.127.a.example", "2.0.0.127.b.example", "2.0.0.127.a.example"] {
            questions.ask(Question::DnsList { list: "any".to_owned(), name: name.to_owned() });
        }
        assert_eq!(questions.into_vec().len(), 2);
    }
}
