//! What acts when a document is opened or clicked: facts for engines, no judgement.

use serde::{Deserialize, Serialize};

/// Something that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// What it is.
    pub kind: ActiveKind,
    /// What it does, for people and for expressions: a command, a target, a trigger. Escaped, at
    /// most 500 characters.
    pub detail: String,
}

/// The kinds of things that act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ActiveKind {
    /// A VBA project (MS-OVBA). Its modules are code entities.
    Vba,
    /// A VBA module whose compiled form says something else than its source, or has no source.
    VbaStomped,
    /// Excel 4.0 macros (XLM).
    Xlm,
    /// Code that runs without a click: `AutoOpen`, `Auto_Open`, an open action.
    AutoRun,
    /// A DDE field or formula: the detail is the command.
    Dde,
    /// A file packed as an OLE object, started by a click: the detail is its name.
    OlePackage,
    /// An OLE object linked to a place outside.
    OleLink,
    /// An ActiveX control: the detail is its class.
    ActiveX,
    /// An OLE object of a class with known exploits, such as the equation editor.
    ExploitedClass,
    /// A template loaded from outside.
    RemoteTemplate,
    /// Another part loaded from outside when the document is opened.
    RemoteContent,
    /// Writing that only serves to hide the content from scanners (RTF object tricks, split names).
    Obfuscation,
    /// JavaScript or VBScript.
    Script,
    /// Starts a program or opens a file (PDF launch, LNK command line): the detail is the command.
    Launch,
    /// A form that sends what was typed: the detail is where to.
    Form,
    /// A form with a password field: the detail is where it sends.
    PasswordForm,
    /// A page that builds a file in the browser and saves it.
    Smuggling,
    /// A page that loads another at once: the detail is where.
    Redirect,
    /// Flash, video or 3D content run by a plug-in.
    RichMedia,
    /// A file that the document offers to open.
    EmbeddedFile,
    /// Encrypted with a password that programs try by themselves, so that opening shows no prompt.
    DefaultPassword,
}

impl Active {
    /// A fact; `detail` is escaped and cut.
    #[must_use]
    pub fn new(kind: ActiveKind, detail: impl AsRef<str>) -> Self {
        let cut: String = detail.as_ref().chars().take(500).collect();
        Self { kind, detail: cut.escape_debug().take(500).collect() }
    }
}
