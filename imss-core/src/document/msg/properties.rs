//! The storages of an Outlook item and the properties in them (MS-OXMSG §2.1 to §2.4).
//!
//! In: streams by path. Out: values by tag, as text. Anything missing is no value.

use std::collections::BTreeMap;

use super::super::codepage;
use super::{PROPERTIES, VALUE, path, split};
use crate::archive::Member;
use crate::archive::le::{u16_at, u32_at};

/// The longest text of a property, in octets.
const LONGEST: usize = 16 << 20;
/// The tag of the page, which is handed over as a file, however long it is.
const PAGE: &str = "1013";

/// The streams of one storage.
pub(super) struct Storage<'a> {
    /// Its path; empty for the root.
    pub(super) path: &'a str,
    streams: Vec<&'a Member>,
}

impl<'a> Storage<'a> {
    /// Every storage that has streams, in the order of their paths: an item comes before what is in
    /// it.
    pub(super) fn all(members: &'a [Member]) -> Vec<Self> {
        let mut storages: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
        for member in members {
            storages.entry(split(path(member)).0).or_default().push(member);
        }
        storages.into_iter().map(|(path, streams)| Self { path, streams }).collect()
    }

    pub(super) fn name(&self) -> &'a str {
        split(self.path).1
    }

    /// The storage it is in. The root has none, and is not in itself.
    pub(super) fn parent(&self) -> &'a str {
        if self.path.is_empty() { "/" } else { split(self.path).0 }
    }

    pub(super) fn is_attachment(&self) -> bool {
        self.name().starts_with("__attach_version1.0")
    }

    pub(super) fn is_recipient(&self) -> bool {
        self.name().starts_with("__recip_version1.0")
    }

    /// Whether it is an item: it has properties and is nothing else.
    pub(super) fn is_item(&self) -> bool {
        let is_property = |member: &&&Member| {
            let (_, name) = split(path(member));
            name == PROPERTIES || name.starts_with(VALUE)
        };
        !self.is_attachment()
            && !self.is_recipient()
            && self.name() != "__nameid_version1.0"
            && self.streams.iter().any(|member| is_property(&member))
    }

    /// Octets of its streams.
    pub(super) fn size(&self) -> u64 {
        self.streams.iter().map(|member| member.content.len() as u64).sum()
    }

    /// Whether a text in it is longer than is read.
    pub(super) fn has_long_text(&self) -> bool {
        self.streams.iter().any(|member| {
            let name = split(path(member)).1.strip_prefix(VALUE);
            let tag = name.and_then(|name| name.split_at_checked(4));
            let is_text =
                tag.is_some_and(|(tag, kind)| tag != PAGE && matches!(kind, "001E" | "001F"));
            is_text && member.content.len() > LONGEST
        })
    }

    /// How many streams it has.
    pub(super) fn count(&self) -> usize {
        self.streams.len()
    }

    /// The stream of the value with this tag and type, such as `37010102`.
    pub(super) fn stream(&self, tag: &str) -> Option<&'a Member> {
        self.streams.iter().copied().find(|member| {
            let (_, name) = split(path(member));
            name.strip_prefix(VALUE).is_some_and(|own| own.eq_ignore_ascii_case(tag))
        })
    }

    /// The code page of its narrow text: `PidTagMessageCodepage`, then `PidTagInternetCodepage`.
    pub(super) fn page(&self) -> u32 {
        [0x3ffd, 0x3fde]
            .into_iter()
            .find_map(|tag| self.number(tag))
            .filter(|page| *page != 0)
            .unwrap_or(codepage::WESTERN)
    }

    /// A number in the stream of fixed-length values (MS-OXMSG §2.4.2.1).
    fn number(&self, tag: u16) -> Option<u32> {
        let member = self.streams.iter().find(|member| split(path(member)).1 == PROPERTIES)?;
        // The header is 32, 24 or 8 octets long; entries are 16, so only its remainder matters.
        let skip = if member.content.len() % 16 == 8 { 8 } else { 0 };
        let entries = member.content.get(skip..)?.chunks_exact(16);
        let mut entries =
            entries.filter(|entry| u16_at(entry, 0) == Some(3) && u16_at(entry, 2) == Some(tag));
        entries.next().and_then(|entry| u32_at(entry, 8))
    }
}

/// The text values of a storage.
pub(super) struct Properties<'a> {
    storage: &'a Storage<'a>,
    page: u32,
}

impl<'a> Properties<'a> {
    pub(super) fn new(storage: &'a Storage<'a>, page: u32) -> Self {
        Self { storage, page }
    }

    /// The value of a tag; `None` if there is none or it is empty.
    pub(super) fn text(&self, tag: u16) -> Option<String> {
        let octets = |kind: &str| {
            let member = self.storage.stream(&format!("{tag:04X}{kind}"))?;
            member.content.get(..member.content.len().min(LONGEST))
        };
        let text = octets("001F").map(codepage::utf16);
        let text =
            text.or_else(|| octets("001E").map(|octets| codepage::decode(octets, self.page)));
        text.map(|text| text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
    }
}

/// The tag that a named property of number `wanted` has in this file (MS-OXMSG §2.2.3.1).
pub(super) fn named(names: &Storage<'_>, wanted: u32) -> Option<u16> {
    let entries = names.stream("00030102")?.content.chunks_exact(8);
    let mut entries = entries.filter(|entry| {
        u32_at(entry, 0) == Some(wanted) && u16_at(entry, 4).is_some_and(|kind| kind & 1 == 0)
    });
    let index = u16_at(entries.next()?, 6)?;
    index.checked_add(0x8000)
}
