//! Outlook items (MS-OXMSG): subject, people, bodies, attachments, items within items.
//!
//! In: the streams of an OLE file, named by their paths. Out: text, properties, bodies and attachments
//! by their names; their octets are shared with the streams. A storage that holds properties is an
//! item of its own, so items nest without recursion.
//!
//! What a property claims is not trusted: a stream that is missing is no value, and text that its code
//! page cannot decode keeps U+FFFD.

mod properties;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::properties::{Properties, Storage};
use super::{Active, ActiveKind, Extractor, Link, LinkKind, Piece, TextKind, lzfu, rtf};
use crate::archive::{Member, Missing, Source, UnpackError};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::Budget;

/// The name of the stream that every item has (MS-OXMSG §2.4).
const PROPERTIES: &str = "__properties_version1.0";
/// What the stream of a long value is called (MS-OXMSG §2.1.3).
const VALUE: &str = "__substg1.0_";

/// Properties as reported, by their tag (MS-OXPROPS).
const REPORTED: [(u16, &str); 12] = [
    (0x0037, "subject"),
    (0x0042, "author"),
    (0x5d02, "author-address"),
    (0x0065, "author-address"),
    (0x0c1a, "sender"),
    (0x5d01, "sender-address"),
    (0x0c1f, "sender-address"),
    (0x0e04, "to"),
    (0x0e03, "cc"),
    (0x0e02, "bcc"),
    (0x1035, "message-id"),
    (0x001a, "class"),
];

/// The extractor.
pub(super) struct Msg;

impl Extractor for Msg {
    fn name(&self) -> &'static str {
        "msg"
    }

    fn recognises(&self, content: &[u8], _: &FileType, members: &[Member]) -> bool {
        content.starts_with(&[0xd0, 0xcf, 0x11, 0xe0])
            && members.iter().any(|member| {
                let (_, name) = split(path(member));
                name == PROPERTIES || name.starts_with(VALUE)
            })
    }

    fn extract(
        &self,
        _: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        budget.charge_work((members.len() as u64).saturating_mul(64))?;
        let storages = Storage::all(members);
        if storages.iter().any(Storage::has_long_text) {
            budget.left_out("the end of a text past 16 MiB");
        }
        let mut reader = Reader { budget, out, problem: None };
        for storage in storages.iter().filter(|storage| storage.is_item()) {
            reader.item(storage, &storages)?;
        }
        reader.problem.map_or(Ok(()), |detail| Err(UnpackError::Malformed { offset: 0, detail }))
    }
}

fn path(member: &Member) -> &str {
    member.names.first().map_or("", String::as_str)
}

/// The folder of a path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

struct Reader<'a, 'b> {
    budget: &'a mut Budget<'b>,
    out: &'a mut dyn FnMut(Piece),
    problem: Option<&'static str>,
}

impl Reader<'_, '_> {
    fn item(&mut self, item: &Storage<'_>, all: &[Storage<'_>]) -> Result<(), UnpackError> {
        // Each value is looked for among the streams, and each item among the storages.
        let lookups = item.count().saturating_mul(64).saturating_add(all.len().saturating_mul(4));
        self.budget.charge_work(item.size().saturating_add(lookups as u64))?;
        let page = item.page();
        let values = Properties::new(item, page);
        for (tag, name) in REPORTED {
            if let Some(value) = values.text(tag) {
                self.shown(name, &value);
            }
        }
        let children = all.iter().filter(|storage| storage.parent() == item.path);
        let (mut attachments, mut rest) = (Vec::new(), Vec::new());
        for child in children {
            if child.is_attachment() { attachments.push(child) } else { rest.push(child) }
        }
        for recipient in rest.iter().filter(|child| child.is_recipient()) {
            let values = Properties::new(recipient, page);
            let texts = [0x3001, 0x39fe, 0x3003].map(|tag| values.text(tag).unwrap_or_default());
            self.shown("recipient", texts.join(" ").trim());
        }
        if let Some(fields) = values.text(0x007d) {
            self.text(&fields);
        }
        if let Some(body) = values.text(0x1000) {
            self.text(&body);
        }
        self.reminder(item, all, &values);
        self.html(item)?;
        self.rich_text(item)?;
        for attachment in attachments {
            self.attachment(attachment, page)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if !text.trim().is_empty() {
            (self.out)(Piece::Text { kind: TextKind::Shown, text: text.to_owned() });
        }
    }

    /// A property that a reader sees.
    fn shown(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            (self.out)(Piece::Property { name: name.to_owned(), value: value.to_owned() });
            self.text(&format!("{name}: {value}"));
        }
    }

    /// The sound of a reminder: a file on another machine makes Outlook log in there
    /// (CVE-2023-23397).
    fn reminder(&mut self, item: &Storage<'_>, all: &[Storage<'_>], values: &Properties<'_>) {
        let root = all.iter().find(|storage| storage.path.is_empty()).unwrap_or(item);
        let names = all.iter().find(|storage| {
            storage.name() == "__nameid_version1.0" && storage.parent() == root.path
        });
        let Some(tag) = names.and_then(|names| properties::named(names, 0x851f)) else { return };
        let Some(target) = values.text(tag) else { return };
        if target.starts_with("\\\\") || target.contains("://") {
            (self.out)(Piece::Active(Active::new(ActiveKind::RemoteContent, &target)));
        }
        (self.out)(Piece::Link(Link {
            kind: LinkKind::Load,
            target,
            label: "reminder".to_owned(),
        }));
    }

    /// The body as HTML: octets or text.
    fn html(&mut self, item: &Storage<'_>) -> Result<(), UnpackError> {
        for kind in ["0102", "001F", "001E"] {
            if let Some(member) = item.stream(&format!("1013{kind}")) {
                self.embed(vec!["body.html".to_owned()], member)?;
            }
        }
        Ok(())
    }

    /// The body as compressed rich text, which may wrap HTML.
    fn rich_text(&mut self, item: &Storage<'_>) -> Result<(), UnpackError> {
        let Some(member) = item.stream("10090102").filter(|member| !member.content.is_empty())
        else {
            return Ok(());
        };
        let room = self.budget.bytes_left().min(self.budget.limits().max_entity_bytes);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let (octets, missing) = match lzfu::decompress(&member.content, room) {
            Ok(octets) => (octets, None),
            Err(broken) => (broken.partial, Some(broken.detail)),
        };
        self.budget.charge_work((octets.len() as u64).saturating_mul(4))?;
        self.problem = self.problem.or(missing);
        let missing = missing
            .map(|detail| Missing { reason: GapReason::Malformed, detail: detail.to_owned() });
        if octets.is_empty() {
            return Ok(());
        }
        if let Some(html) = rtf::html::unwrap(&octets) {
            self.made("body.html", html.into(), None)?;
        }
        self.made("body.rtf", octets.into(), missing)
    }

    /// Hands over a body that was made here.
    fn made(
        &mut self,
        name: &str,
        content: Bytes,
        missing: Option<Missing>,
    ) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        self.budget.charge_bytes(content.len() as u64)?;
        let (names, claimed_size) = (vec![name.to_owned()], content.len() as u64);
        (self.out)(Piece::Embedded(Member { names, claimed_size, content, missing }));
        Ok(())
    }

    fn attachment(&mut self, attachment: &Storage<'_>, page: u32) -> Result<(), UnpackError> {
        let values = Properties::new(attachment, page);
        let mut names: Vec<String> = Vec::new();
        for tag in [0x3707, 0x3704, 0x3001] {
            if let Some(name) = values.text(tag).filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        // Attached by reference: the file is elsewhere.
        for tag in [0x370d, 0x3708] {
            if let Some(target) = values.text(tag) {
                let label = names.first().cloned().unwrap_or_default();
                (self.out)(Piece::Link(Link { kind: LinkKind::Click, target, label }));
                break;
            }
        }
        match attachment.stream("37010102") {
            Some(member) => self.embed(names, member),
            None => {
                self.text(&names.join(" "));
                Ok(())
            }
        }
    }

    /// Hands over a stream as a file; its octets are those of the stream.
    fn embed(&mut self, names: Vec<String>, member: &Member) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        (self.out)(Piece::Embedded(Member { names, ..member.clone() }));
        Ok(())
    }
}
