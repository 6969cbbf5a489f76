//! Documents → text, links, properties, embedded files and what acts when they are opened; one
//! format per file behind [`Extractor`].
//!
//! In: a document's octets (for formats that are archives inside, also their members) and the
//! message's [`Budget`]. Out: [`Piece`]s in reading order. Facts only: what they mean is for engines.
//!
//! What could not be read is an [`UnpackError`] or a member with a
//! [`Missing`](crate::archive::Missing), never silence.

mod active;
pub(crate) mod codepage;
mod content_line;
mod csv;
mod doc;
mod flat;
mod formula;
pub mod html;
mod hwp;
mod ics;
pub(crate) mod lzfu;
mod msg;
mod odf;
mod office_crypt;
mod ole;
pub(crate) mod ole1;
pub(crate) mod ole_object;
mod ooxml;
pub(crate) mod pdf;
mod ppt;
mod rtf;
mod ruby;
mod script;
mod serial;
mod shortcut;
pub(crate) mod sink;
mod texts;
mod vba;
mod vcf;
mod xls;
mod xml;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod pieces;
#[cfg(test)]
mod testing;

use serde::{Deserialize, Serialize};

pub use self::active::{Active, ActiveKind};
pub use self::texts::Texts;
use crate::anomaly::AnomalyKind;
use crate::archive::{Member, Source, UnpackError};
use crate::filetype::FileType;
use crate::limits::Budget;

/// One document format.
pub trait Extractor: Sync {
    /// Its name in gaps, such as `pdf`.
    fn name(&self) -> &'static str;

    /// Whether it can read `content`, whatever that claims to be. `members` are those that the
    /// unpackers found in it (the streams of an OLE file, the parts of an OOXML package).
    fn recognises(&self, content: &[u8], detected: &FileType, members: &[Member]) -> bool;

    /// Whether it reads text. Then [`Source::content`] is UTF-8, whatever the charset of the entity.
    fn reads_text(&self) -> bool {
        false
    }

    /// Hands over everything in the document, in reading order. Parsing is charged to `budget`
    /// with [`Budget::charge_work`], new members with [`Budget::charge_entity`] and
    /// [`Budget::charge_bytes`]; whoever receives them must not charge them again. A member whose
    /// content is that of one of `members` (shared, not copied) costs no octets.
    ///
    /// # Errors
    ///
    /// Why the document was not read to its end. Pieces handed over before stay valid.
    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError>;
}

/// The extractors. Several may recognise one content.
#[must_use]
pub fn extractors() -> &'static [&'static dyn Extractor] {
    &[
        &ole::OleObjects,
        &doc::Doc,
        &xls::Xls,
        &ppt::Ppt,
        &hwp::Hwp,
        &vba::Vba,
        &msg::Msg,
        &rtf::Rtf,
        &pdf::Pdf,
        &ooxml::Ooxml,
        &odf::Odf,
        &flat::Flat,
        &csv::Csv,
        &ics::Calendar,
        &vcf::Contacts,
        &shortcut::Lnk,
        &shortcut::TextShortcut,
        &html::Html,
        &script::Script,
    ]
}

/// What an extractor reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text in reading order. A paragraph, a cell, a page: each piece is a line of its own.
    Text {
        /// How a reader meets it.
        kind: TextKind,
        /// The text.
        text: String,
    },
    /// A property of the document, such as its author.
    Property {
        /// Its name, in lower case: `title`, `author`, `template`.
        name: String,
        /// Its value.
        value: String,
    },
    /// Something outside that the document points to.
    Link(Link),
    /// Something that acts when the document is opened or clicked.
    Active(Active),
    /// A file inside the document.
    Embedded(Member),
    /// Code inside the document as source text: a macro module, a script.
    Code(Member),
    /// A defect.
    Anomaly {
        /// What is wrong.
        kind: AnomalyKind,
        /// Octets from the start of the document.
        offset: u64,
        /// What was seen, for people; escaped, at most 200 characters.
        detail: String,
    },
}

/// How a reader meets a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// Shown.
    Shown,
    /// Not shown: hidden rows, sheets, slides, runs, white on white.
    Hidden,
    /// Comments and notes.
    Comment,
    /// Deleted or replaced, but still there.
    Revision,
    /// Formulas and field instructions.
    Formula,
}

/// Something outside that a document points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What for.
    pub kind: LinkKind,
    /// The target as written, usually a URL; at most 4 KiB.
    pub target: String,
    /// The text that a reader clicks; empty if there is none or it is the target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
}

/// What a document points outside for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Followed by a click.
    Click,
    /// Loaded when the document is opened: pictures, templates, frames, linked objects.
    Load,
    /// Where a form sends what was typed.
    Submit,
}

/// Everything the extractors found in one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The extractors that read it.
    pub formats: Vec<&'static str>,
    /// Its text in reading order.
    pub texts: Texts,
    /// Its properties: name, value.
    pub properties: Vec<(String, String)>,
    /// What it points to.
    pub links: Vec<Link>,
    /// What acts.
    pub active: Vec<Active>,
    /// The charset it was decoded from; empty if its format says how text is stored.
    pub charset: &'static str,
    /// Whether the charset was guessed.
    pub guessed: bool,
    /// Whether text was left out because of [`Limits::max_text_bytes`](crate::limits::Limits).
    pub truncated: bool,
}
