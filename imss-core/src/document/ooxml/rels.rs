//! Relationships of a part (ECMA-376 part 2, clause 6.5): what it points to inside and outside.
//!
//! In: a `.rels` part. Out: [`Relations`], and links and facts for every target outside. Types are
//! known by their last segment, since the transitional and the strict form differ in the rest.

use std::collections::HashSet;

use super::Part;
use crate::document::sink::Sink;
use crate::document::xml::{Token, Xml};
use crate::document::{ActiveKind, LinkKind};
use crate::limits::Limit;

/// Relationships kept for one part.
const MAX_RELATIONS: usize = 20_000;

/// One relationship.
pub(super) struct Relation {
    id: String,
    /// The last segment of its type, in lower case.
    pub(super) kind: String,
    /// As written.
    pub(super) target: String,
    pub(super) external: bool,
}

/// Everything that one part points to.
#[derive(Default)]
pub(crate) struct Relations {
    list: Vec<Relation>,
    index: std::collections::HashMap<String, usize>,
    /// The ones whose link was reported where it stands in the text.
    told: HashSet<String>,
}

impl Relations {
    /// Reads a `.rels` part; one that is there twice gives the relationships of both.
    pub(super) fn read(&mut self, part: &Part<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        let mut xml = Xml::new(&part.text);
        while let Some(token) = xml.token(sink.budget)? {
            let Token::Start(tag) = token else { continue };
            if tag.local() != "Relationship" {
                continue;
            }
            if self.list.len() >= MAX_RELATIONS {
                sink.budget.left_out("relationships past 20,000");
                break;
            }
            let kind = tag.attr("Type").unwrap_or_default();
            let kind = kind.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let mode = tag.attr("TargetMode").unwrap_or_default();
            let relation = Relation {
                id: tag.attr("Id").unwrap_or_default().into_owned(),
                kind: kind.to_ascii_lowercase(),
                target: tag.attr("Target").unwrap_or_default().trim().to_owned(),
                external: mode.trim().eq_ignore_ascii_case("external"),
            };
            self.index.insert(relation.id.clone(), self.list.len());
            self.list.push(relation);
        }
        sink.note(xml.finish())
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Relation] {
        &self.list
    }

    /// The one called `id`.
    pub(super) fn get(&self, id: &str) -> Option<&Relation> {
        self.index.get(id).and_then(|&index| self.list.get(index))
    }

    /// Reports the link called `id` with the text that is clicked.
    pub(super) fn link(&mut self, id: &str, label: &str, sink: &mut Sink<'_, '_>) {
        let Some(relation) = self.get(id).filter(|relation| relation.external) else { return };
        sink.link(LinkKind::Click, &relation.target, label);
        self.told.insert(id.to_owned());
    }

    /// Reports every target outside that was not reported before.
    pub(super) fn report(&self, sink: &mut Sink<'_, '_>) {
        for relation in self.list.iter().filter(|relation| relation.external) {
            let target = relation.target.as_str();
            match relation.kind.as_str() {
                "hyperlink" => {
                    if !self.told.contains(&relation.id) {
                        sink.link(LinkKind::Click, target, "");
                    }
                }
                "attachedtemplate" => {
                    if is_outside(target) {
                        sink.link(LinkKind::Load, target, "");
                        sink.active(ActiveKind::RemoteTemplate, target);
                    } else {
                        sink.property("template", target);
                    }
                }
                "oleobject" => sink.remote(ActiveKind::OleLink, "linked object", target),
                // Templates and books on the author's own disk: nothing is fetched from them.
                "xlpathmissing" | "xlstartup" | "xlalternatestartup" | "xllibrary" => {
                    sink.link(LinkKind::Load, target, "");
                }
                kind => sink.remote(ActiveKind::RemoteContent, kind, target),
            }
        }
    }
}

/// Whether a template is fetched from another machine. Word notes the local path of the template a
/// document was made from in the same place.
fn is_outside(target: &str) -> bool {
    let target = target.trim().to_ascii_lowercase().replace('\\', "/");
    let path = match target.strip_prefix("file:") {
        Some(path) => path,
        None => target.as_str(),
    };
    let local = path.trim_start_matches('/');
    let drive = matches!(local.as_bytes(), [b'a'..=b'z', b':' | b'|', ..]);
    if drive {
        return false;
    }
    // A share is two slashes and a host, as a URL with or without two more; so is any other scheme.
    let is_url = path.len() != target.len();
    let slashes = path.len().saturating_sub(local.len());
    let is_share = slashes >= 2 && !(is_url && (slashes == 3 || local.starts_with("localhost")));
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    is_share || scheme.len() > 1 && scheme != "file"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_templates_are() {
        let cases = [
            ("web", "http://a.example/t.dotm", true),
            ("share", "\\\\203.0.113.1\\s\\t.dotm", true),
            ("share as URL", "file://host/s/t.dotm", true),
            ("share with five slashes", "file://///host/s/t.dotm", true),
            ("other schemes", "mhtml:http://a.example/t", true),
            ("disk as URL", "file:///C:/Users/a/Normal.dotm", false),
            ("disk with a share's slashes", "file://C:\\t.dotm", false),
            ("disk", "C:\\Templates\\t.dotm", false),
            ("a name", "Normal.dotm", false),
        ];
        for (name, target, expected) in cases {
            assert_eq!(is_outside(target), expected, "{name}");
        }
    }
}
