//! What policy wants to know: the questions a scan answers.
//!
//! Policy compiles its rules into one [`ScanPlan`]; scan compiles the plan into automata once and
//! answers each [`Query`] with findings that carry its [`QueryId`]. For one message, routes choose
//! a [`Selection`]: what nobody asks for never runs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authentication::{AuthResult, DmarcPolicy, DomainPattern};
use crate::filetype::TypeGroup;
use crate::ids::QueryId;
use crate::verdict::Score;

/// All questions of one policy version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanPlan {
    queries: Vec<Query>,
}

impl ScanPlan {
    /// A plan that asks nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a question, or finds the same one again.
    pub fn ask(&mut self, query: Query) -> QueryId {
        match self.queries.iter().position(|known| *known == query) {
            Some(place) => QueryId(u32::try_from(place).unwrap_or(u32::MAX)),
            None => self.ask_new(query),
        }
    }

    /// Adds a question that the caller knows to be new, without looking at the others.
    pub fn ask_new(&mut self, query: Query) -> QueryId {
        let place = self.queries.len();
        self.queries.push(query);
        QueryId(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// The questions, each with its ID.
    pub fn queries(&self) -> impl Iterator<Item = (QueryId, &Query)> {
        (0_u32..).map(QueryId).zip(&self.queries)
    }

    /// One question.
    #[must_use]
    pub fn query(&self, id: QueryId) -> Option<&Query> {
        self.queries.get(id.index())
    }

    /// A selection of every question.
    #[must_use]
    pub fn all(&self) -> Selection {
        self.queries().map(|(id, _)| id).collect()
    }
}

/// The questions that matter for one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(Vec<u64>);

impl Selection {
    /// No question.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a question.
    pub fn insert(&mut self, id: QueryId) {
        let (word, bit) = (id.index() / 64, id.index() % 64);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << bit;
        }
    }

    /// Adds all questions of `other`.
    pub fn extend_from(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Whether a question is selected.
    #[must_use]
    pub fn contains(&self, id: QueryId) -> bool {
        self.0.get(id.index() / 64).is_some_and(|bits| bits & (1 << (id.index() % 64)) != 0)
    }

    /// Whether no question is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }
}

impl FromIterator<QueryId> for Selection {
    fn from_iter<I: IntoIterator<Item = QueryId>>(ids: I) -> Self {
        let mut selection = Self::none();
        for id in ids {
            selection.insert(id);
        }
        selection
    }
}

/// One question. Each variant says which findings answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// Is there malware anywhere? All malware engines run; findings are
    /// [`FindingKind::Malware`](crate::finding::FindingKind::Malware) and its kin.
    Malware,
    /// How much does it look like spam? Spam engines run and add points.
    Spam,
    /// Do the words of a list occur, with enough points? One `Keywords` finding per entity that
    /// contributes, once their sum reaches the list's threshold. The list's points are spent on
    /// that: the findings add none to the message's score.
    Keywords(KeywordQuery),
    /// Which attachments are like this? One `Attachment` finding per entity.
    Attachment(AttachmentQuery),
    /// Is this true of the whole message? One `Message` finding if so.
    Message(MessageQuery),
    /// Is the client's address on this DNS list? One `Reputation` finding if so.
    DnsList(Arc<DnsList>),
    /// Is this true of who sent it? One `Authentication` finding if so. Never for mail from
    /// networks that are trusted: nobody asks about it.
    Authentication(AuthQuery),
}

/// A keyword list and where to look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordQuery {
    /// The words.
    pub list: Arc<KeywordList>,
    /// Where to look.
    pub places: BTreeSet<Place>,
}

/// Where text can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The `Subject:` field, decoded.
    Subject,
    /// All header fields of the message, decoded, one `Name: value` a line.
    Header,
    /// The text a reader shows first: text parts that are not attachments.
    Body,
    /// Text of attachments, and of everything inside them.
    Attachments,
}

/// Words and expressions with points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordList {
    /// The object's name in the policy.
    pub name: String,
    /// Points at which the list matches.
    pub threshold: Score,
    /// What to look for.
    pub entries: Vec<KeywordEntry>,
}

/// One thing to look for, and its points. Text is compared folded: NFKC, case, width, kana,
/// look-alikes, and white space of any amount, none included between Japanese characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeywordEntry {
    /// A word or phrase. Between letters of scripts that use spaces it matches whole words only.
    Text {
        /// As the administrator wrote it.
        text: String,
        /// Points for each occurrence that counts.
        score: Score,
        /// Occurrences that count at most. Default 1.
        max_count: u32,
    },
    /// All of `words` within `within` characters.
    Near {
        /// As the administrator wrote them.
        words: Vec<String>,
        /// Greatest distance from the start of the first to the end of the last, in characters.
        within: u32,
        /// Points, once.
        score: Score,
    },
    /// An expression of the `regex` crate, matched on the text before folding, case-insensitively.
    Regex {
        /// The expression.
        pattern: String,
        /// Points for each occurrence that counts.
        score: Score,
        /// Occurrences that count at most. Default 1.
        max_count: u32,
    },
}

/// Facts about an attachment, or about what is inside one. All given facts must hold for the same
/// entity; an empty list or `None` asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AttachmentQuery {
    /// Names with `*` and `?`, compared folded to every spelling of the name. One must match.
    pub name: Vec<String>,
    /// "All but these": what has names, and only such that match one of these, is left out. One
    /// more spelling that does not match ends the exception.
    pub except_name: Vec<String>,
    /// Groups of true types. One must match.
    pub r#type: Vec<TypeGroup>,
    /// Declared or detected media types, `image/*` allowed. One must match.
    pub media_type: Vec<String>,
    /// Also look inside these containers. Default: only what hangs on the message itself.
    pub inside: BTreeSet<Container>,
    /// Greater than this many octets.
    pub larger_than: Option<u64>,
    /// Content and name or declared type disagree.
    pub mismatch: Option<bool>,
}

/// What an attachment can be inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// An archive that could be opened.
    Archive,
    /// The names in an archive whose content is encrypted.
    EncryptedArchive,
    /// A document with embedded files.
    Document,
    /// An attached message.
    Message,
}

/// A fact about the message as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageQuery {
    /// Larger than this many octets.
    LargerThan(u64),
    /// More envelope recipients than this.
    RecipientsMoreThan(u32),
    /// More attachments than this.
    AttachmentsMoreThan(u32),
    /// Attachments of more octets than this together.
    AttachmentBytesMoreThan(u64),
    /// The subject is missing or blank.
    BlankSubject,
    /// A header field whose decoded value matches an expression (case-insensitive).
    Field {
        /// The field's name.
        name: String,
        /// The expression.
        pattern: String,
    },
}

/// A fact about who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthQuery {
    /// SPF of the reverse-path, or of HELO where it is null, is one of these.
    Spf(BTreeSet<AuthResult>),
    /// DKIM, all signatures together, is one of these.
    Dkim(BTreeSet<AuthResult>),
    /// DMARC is one of these.
    Dmarc(BTreeSet<AuthResult>),
    /// The author's domain has a DMARC record and asks for one of these.
    DmarcPolicy(BTreeSet<DmarcPolicy>),
    /// The ARC chain is one of these.
    Arc(BTreeSet<AuthResult>),
    /// One of these identifiers passes and matches the author's domain.
    Aligned(BTreeSet<Identifier>),
    /// A valid signature of the whole body is by one of these domains.
    SignedBy(BTreeSet<DomainPattern>),
    /// The author's domain is one of these, and no valid signature of the whole body matches it.
    UnsignedAuthor(BTreeSet<DomainPattern>),
    /// A signature leaves a part of the body unsigned.
    PartlySigned,
    /// A valid signature was seen for more recipients than this.
    SignatureSeenMoreThan(u32),
}

/// What DMARC aligns with the author's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    /// The domain that SPF checked.
    Spf,
    /// The domain of a signature.
    Dkim,
}

/// A DNS list of addresses (RFC 5782) and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsList {
    /// The object's name in the policy.
    pub name: String,
    /// The zone, without a leading dot.
    pub zone: String,
    /// Declared return codes: an exact IPv4 address and its points. Others mean nothing.
    pub codes: Vec<(IpAddr, Score)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_is_asked_once() {
        let mut plan = ScanPlan::new();
        let first = plan.ask(Query::Malware);
        let size = plan.ask(Query::Message(MessageQuery::LargerThan(10)));
        assert_eq!(plan.ask(Query::Malware), first);
        assert_ne!(first, size);
        assert_eq!(plan.queries().count(), 2);
    }

    #[test]
    fn selections_hold_what_was_put_in() {
        let mut some = Selection::none();
        assert!(some.is_empty());
        some.insert(QueryId(130));
        let mut other: Selection = [QueryId(1)].into_iter().collect();
        other.extend_from(&some);
        assert!(other.contains(QueryId(1)) && other.contains(QueryId(130)));
        assert!(!other.contains(QueryId(2)) && !some.contains(QueryId(1)));
    }
}
