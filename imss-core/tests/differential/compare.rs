//! Holds what another reader found against what we found.
//!
//! In: a message, and the contents, texts and names of another reader. Out: those that are in none
//! of our entities. White space, line ends and charsets are no difference.

use std::collections::HashSet;

use imss_core::charset;
use imss_core::entity::{Entities, Role};
use imss_core::finding::GapReason;
use imss_core::limits::{Limits, StopFlag};
use imss_core::message::Message;

/// What a reader hands to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Content,
    Text,
    Name,
}

/// What we find, without white space.
pub(crate) struct Ours {
    contents: HashSet<Vec<u8>>,
    texts: Vec<Vec<u8>>,
    names: HashSet<String>,
    /// The bodies of our parts as received.
    bodies: Vec<Vec<u8>>,
    raw: Vec<u8>,
    /// Whether we say that readers disagree about the message.
    pub(crate) is_ambiguous: bool,
}

impl Ours {
    pub(crate) fn read(raw: &[u8]) -> Self {
        let limits = Limits::default();
        let message = Message::parse(raw.to_vec().into(), &limits);
        let entities = Entities::extract(&message, &limits, &StopFlag::new());
        let labels = labels(raw);
        let mut gaps = entities.gaps().iter();
        let is_ambiguous = gaps.any(|gap| gap.reason == GapReason::Ambiguous);
        let (mut contents, mut texts, mut names) = (HashSet::new(), Vec::new(), HashSet::new());
        for entity in &entities {
            names.extend(entity.names.iter().flat_map(|name| [plain_name(name), skeleton(name)]));
            texts.extend(entity.text().map(|text| squeeze(text.plain.as_bytes())));
            if matches!(entity.role, Role::Message | Role::Multipart) {
                continue;
            }
            let squeezed = squeeze(&entity.content);
            if !squeezed.is_ascii()
                || labels.iter().any(|label| label.contains("7"))
                || squeezed.contains(&0x1B)
            {
                for label in labels.iter().map(|label| Some(label.as_str())).chain([None]) {
                    texts.push(squeeze(charset::decode(&entity.content, label).text.as_bytes()));
                }
            }
            contents.insert(squeezed.clone());
            texts.push(squeezed);
        }
        let bodies = message.parts().iter().map(|part| squeeze(&message.part(part.body_range())));
        let mut bodies: Vec<Vec<u8>> = bodies.filter(|body| !body.is_empty()).collect();
        let bare: Vec<u8> =
            raw.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect();
        let bare = Message::parse(bare.into(), &limits);
        let bare = bare.parts().iter().map(|part| squeeze(&bare.part(part.body_range())));
        bodies.extend(bare.filter(|body| !body.is_empty()));
        Self { contents, texts, names, bodies, raw: squeeze(raw), is_ambiguous }
    }

    /// Whether `found` is among ours.
    pub(crate) fn have(&self, kind: Kind, found: &[u8]) -> bool {
        match kind {
            Kind::Content => {
                let squeezed = squeeze(found);
                squeezed.is_empty()
                    || self.contents.contains(&squeezed)
                    || (!squeezed.contains(&0) && self.text_occurs(&squeezed))
                    || self.is_raw_view(&squeezed)
            }
            // Readers join bodies, and show what they cannot decode in their own way.
            // What it could not decode is among the contents.
            Kind::Text
                if String::from_utf8_lossy(found).contains(char::REPLACEMENT_CHARACTER)
                    || self.is_raw_view(&squeeze(found)) =>
            {
                true
            }
            Kind::Text => String::from_utf8_lossy(found)
                .split(['\n', '\r'])
                .filter(|line| !line.starts_with("<br/>"))
                .map(|line| squeeze(line.as_bytes()))
                .all(|line| line.is_empty() || self.text_occurs(&line)),
            Kind::Name => {
                let decoded = charset::decode(found, None).text;
                let lossy = String::from_utf8_lossy(found);
                [plain_name(&decoded), plain_name(&lossy), skeleton(&lossy)]
                    .iter()
                    .any(|name| name.is_empty() || self.names.contains(name))
                    || ((!lossy.is_ascii() || lossy.contains("\\x")) && self.has_extension(&lossy))
            }
        }
    }

    /// Whether it is the message as received, seen by a reader who gave up on its structure or on an
    /// encoding that we undo: that hides nothing from us.
    fn is_raw_view(&self, squeezed: &[u8]) -> bool {
        memchr::memmem::find(&self.raw, squeezed).is_some()
            && (self.bodies.is_empty()
                || self.bodies.iter().any(|body| memchr::memmem::find(squeezed, body).is_some()))
    }

    fn has_extension(&self, name: &str) -> bool {
        let extension = |name: &str| name.rsplit_once('.').map(|(_, last)| plain_name(last));
        self.names.iter().any(|known| extension(known) == extension(name))
    }

    fn text_occurs(&self, squeezed: &[u8]) -> bool {
        self.texts.iter().any(|text| memchr::memmem::find(text, squeezed).is_some())
    }
}

/// The charsets that the message names.
fn labels(raw: &[u8]) -> Vec<String> {
    let lower = raw.to_ascii_lowercase();
    let mut labels: Vec<String> = memchr::memmem::find_iter(&lower, b"charset=")
        .map(|at| {
            let value = lower[at + 8..].iter().skip_while(|byte| **byte == b'"');
            value
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
                .map(|byte| char::from(*byte))
                .collect()
        })
        .collect();
    labels.sort();
    labels.dedup();
    labels.truncate(8);
    labels
}

fn squeeze(octets: &[u8]) -> Vec<u8> {
    let text = octets.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(octets);
    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0x0B).collect()
}

fn plain_name(name: &str) -> String {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    name.chars().filter(|c| !bad(*c)).flat_map(char::to_lowercase).collect()
}

/// The ASCII of a name: readers show other octets in their own way.
fn skeleton(name: &str) -> String {
    let kept = |c: &char| c.is_ascii_graphic() && !matches!(c, '?' | '"' | '\\');
    name.chars().filter(kept).flat_map(char::to_lowercase).collect()
}
