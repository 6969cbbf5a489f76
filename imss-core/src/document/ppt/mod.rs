//! PowerPoint 97 to 2003 presentations ([MS-PPT]): text of slides and notes, comments, links,
//! embedded objects.
//!
//! In: the streams of an OLE file. Out: text in stored order, hidden slides told apart; targets of
//! hyperlinks; embedded objects, which are compressed, as files.
//!
//! The stream is a tree of records; it is read as a flat list with a bounded stack of ends, so no
//! nesting can hurt. A record that claims too much ends where its container does. Encrypted
//! presentations are opened with [`office_crypt`](super::office_crypt) or said to be locked.

mod crypt;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Read;

use bytes::Bytes;

use super::active::{Active, ActiveKind};
use super::ole::base;
use super::{Extractor, Link, LinkKind, Piece, TextKind, codepage};
use crate::archive::le::{length, u16_at, u32_at};
use crate::archive::{Member, Missing, Source, UnpackError};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};

/// Containers open at once; deeper records are passed over.
const MAX_DEPTH: usize = 64;
/// Texts kept to say each once.
const MAX_SEEN: usize = 100_000;

/// The `ppt` extractor.
#[derive(Debug)]
pub(super) struct Ppt;

impl Extractor for Ppt {
    fn name(&self) -> &'static str {
        "ppt"
    }

    fn recognises(&self, _content: &[u8], _detected: &FileType, members: &[Member]) -> bool {
        members.iter().any(is_main)
    }

    fn extract(
        &self,
        source: &Source<'_>,
        members: &[Member],
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Piece),
    ) -> Result<(), UnpackError> {
        for main in members.iter().filter(|member| is_main(member)) {
            let Some(stream) = crypt::opened(&main.content, source, budget, out)? else { continue };
            let stream = match stream {
                Cow::Borrowed(_) => main.content.clone(),
                Cow::Owned(plain) => Bytes::from(plain),
            };
            Reader::new(&stream, out).read(budget)?;
        }
        Ok(())
    }
}

fn is_main(member: &Member) -> bool {
    let name = base(member);
    name.eq_ignore_ascii_case("PowerPoint Document") || name.eq_ignore_ascii_case("PP40")
}

/// The header of a record ([MS-PPT] 2.3.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    is_container: bool,
    instance: u16,
    id: u16,
    octets: usize,
}

fn header(stream: &[u8], at: usize) -> Option<Header> {
    let first = u16_at(stream, at)?;
    Some(Header {
        is_container: first & 0xf == 0xf,
        instance: first >> 4,
        id: u16_at(stream, at.checked_add(2)?)?,
        octets: length(u32_at(stream, at.checked_add(4)?)?.into()),
    })
}

struct Reader<'a> {
    stream: &'a Bytes,
    out: &'a mut dyn FnMut(Piece),
    /// Containers that are open: what they are and where they end.
    open: Vec<(u16, usize)>,
    is_hidden: bool,
    /// Text of slides is stored again in the outline.
    seen: HashSet<(TextKind, Vec<u8>)>,
    /// Slides that are hidden, by the offset of their container.
    hidden: HashMap<usize, bool>,
}

impl<'a> Reader<'a> {
    fn new(stream: &'a Bytes, out: &'a mut dyn FnMut(Piece)) -> Self {
        let (open, seen, hidden) = (Vec::new(), HashSet::new(), HashMap::new());
        Self { stream, out, open, is_hidden: false, seen, hidden }
    }

    fn read(&mut self, budget: &mut Budget<'_>) -> Result<(), UnpackError> {
        let mut at = 0;
        while let Some(header) = header(self.stream, at) {
            budget.charge_work(32)?;
            while self.open.last().is_some_and(|(_, end)| at >= *end) {
                self.open.pop();
            }
            let body = at.saturating_add(8);
            let limit = self.open.last().map_or(self.stream.len(), |(_, end)| *end);
            let end = body.saturating_add(header.octets).min(limit.max(body));
            // The data of programmable tags are records too: comments lie there.
            let is_holder = header.is_container || header.id == 0x138b;
            if is_holder && self.open.len() >= MAX_DEPTH {
                budget.left_out("records inside 64 records");
            } else if is_holder {
                if header.id == 0x03ee {
                    self.is_hidden = self.slide_is_hidden(at, body, end);
                }
                self.open.push((header.id, end));
                at = body;
                continue;
            }
            let end = end.min(self.stream.len());
            let octets = self.stream.slice(body.min(end)..end);
            budget.charge_work(octets.len() as u64)?;
            self.atom(header, &octets, budget)?;
            at = end.max(body);
        }
        Ok(())
    }

    /// Whether the show leaves a slide out: a flag in an atom among its first children.
    fn slide_is_hidden(&mut self, at: usize, body: usize, end: usize) -> bool {
        let stream = self.stream;
        *self.hidden.entry(at).or_insert_with(|| {
            let mut at = body;
            for _ in 0..16 {
                let Some(child) = header(stream, at).filter(|_| at < end) else { return false };
                let start = at.saturating_add(8);
                if child.id == 0x03f9 {
                    let flags = u16_at(stream, start.saturating_add(10)).unwrap_or_default();
                    return flags & 4 != 0;
                }
                at = start.saturating_add(child.octets);
            }
            false
        })
    }

    fn is_in(&self, container: u16) -> bool {
        self.open.iter().any(|(id, _)| *id == container)
    }

    fn atom(
        &mut self,
        header: Header,
        octets: &Bytes,
        budget: &mut Budget<'_>,
    ) -> Result<(), UnpackError> {
        match header.id {
            // Text of two octets a letter, of one, and strings that belong to other records.
            0x0fa0 => self.text(octets, true),
            0x0fa8 => self.text(octets, false),
            0x0fba => self.string(header.instance, octets),
            0x1011 => self.object(header.instance, octets, budget)?,
            // An ActiveX control.
            0x0ffb => {
                (self.out)(Piece::Active(Active::new(ActiveKind::ActiveX, "control of a slide")));
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, octets: &[u8], is_wide: bool) {
        let text = if is_wide {
            codepage::decode(octets, 1200)
        } else {
            octets.iter().copied().map(char::from).collect()
        };
        // Notes are containers of their own; the masters hold hints for authors.
        let kind = match () {
            () if self.is_in(0x03f0) => TextKind::Comment,
            () if self.is_in(0x03f8) => return,
            () if self.is_hidden && self.is_in(0x03ee) => TextKind::Hidden,
            () => TextKind::Shown,
        };
        self.say(kind, &text);
    }

    fn say(&mut self, kind: TextKind, text: &str) {
        for line in text.split(['\r', '\n', '\u{b}']) {
            let line = line.trim_matches(|c: char| c.is_control() || c.is_whitespace());
            let is_new =
                self.seen.len() >= MAX_SEEN || self.seen.insert((kind, line.as_bytes().to_vec()));
            if !line.is_empty() && line != "*" && is_new {
                (self.out)(Piece::Text { kind, text: line.to_owned() });
            }
        }
    }

    /// A string: whose it is, its container says.
    fn string(&mut self, instance: u16, octets: &[u8]) {
        let text = codepage::decode(octets, 1200);
        let text = text.trim_end_matches('\0').to_owned();
        let container = self.open.last().map(|(id, _)| *id);
        match (container, instance) {
            // A hyperlink: 0 names it, 1 is its target, 3 a place in it.
            (Some(0x0fd7), 1) => self.link(LinkKind::Click, text),
            // Sound, video and linked objects: where they are.
            (Some(0x1006 | 0x1005 | 0x100f | 0x1010), _) => self.link(LinkKind::Load, text),
            (Some(0x0fce), 3) => {
                (self.out)(Piece::Active(Active::new(ActiveKind::OleLink, &text)));
                self.link(LinkKind::Load, text);
            }
            // A comment: author, text, initials.
            (Some(0x2ee0), 1) => self.say(TextKind::Comment, &text),
            // A program or macro that a click starts.
            (Some(0x0ff2), _) => {
                (self.out)(Piece::Active(Active::new(ActiveKind::Launch, &text)));
            }
            // Header and footer.
            (Some(0x0fd9), _) => self.say(TextKind::Shown, &text),
            _ => {}
        }
    }

    fn link(&mut self, kind: LinkKind, target: String) {
        if !target.is_empty() {
            (self.out)(Piece::Link(Link { kind, target, label: String::new() }));
        }
    }

    /// An embedded OLE file, a control or the VBA project, mostly compressed.
    fn object(
        &mut self,
        instance: u16,
        octets: &Bytes,
        budget: &mut Budget<'_>,
    ) -> Result<(), UnpackError> {
        budget.charge_entity()?;
        let (claimed, content, missing) = if instance == 1 {
            let claimed = u32_at(octets, 0).unwrap_or_default();
            let packed = octets.get(4..).unwrap_or_default();
            let (content, missing) = inflate(packed, budget)?;
            // Some writers leave out the end of the compressed data.
            let missing = missing.filter(|_| (content.len() as u64) < u64::from(claimed));
            (u64::from(claimed), Bytes::from(content), missing)
        } else {
            budget.charge_bytes(octets.len() as u64)?;
            (octets.len() as u64, octets.clone(), None)
        };
        let names = vec!["ExOleObjStg".to_owned()];
        (self.out)(Piece::Embedded(Member { names, claimed_size: claimed, content, missing }));
        Ok(())
    }
}

/// Decompresses within the budget; broken data gives what came before.
fn inflate(packed: &[u8], budget: &mut Budget<'_>) -> Result<(Vec<u8>, Option<Missing>), Limit> {
    inflated(flate2::read::ZlibDecoder::new(packed), packed.len(), budget)
}

/// Reads a decoder to its end within the budget.
pub(super) fn inflated(
    mut decoder: impl Read,
    packed: usize,
    budget: &mut Budget<'_>,
) -> Result<(Vec<u8>, Option<Missing>), Limit> {
    let mut content = Vec::new();
    let mut chunk = vec![0; 32 << 10];
    loop {
        let read = match decoder.read(&mut chunk) {
            Ok(0) => return Ok((content, None)),
            Ok(read) => read,
            Err(error) => {
                let detail = error.to_string().escape_debug().take(200).collect();
                return Ok((content, Some(Missing { reason: GapReason::Malformed, detail })));
            }
        };
        budget.charge_bytes(read as u64)?;
        content.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let size = content.len() as u64;
        let limit = budget
            .check_ratio(packed as u64, size)
            .err()
            .or_else(|| (size > budget.limits().max_entity_bytes).then_some(Limit::EntityBytes));
        if let Some(limit) = limit {
            content.truncate(64 << 10);
            let (reason, detail) = (GapReason::Limit(limit), format!("{limit} limit"));
            return Ok((content, Some(Missing { reason, detail })));
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests;
