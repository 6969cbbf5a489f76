//! What a name or a label promises, held against what content is.
//!
//! In: every spelling of a name, the declared media type, the detected type. Out: a [`Mismatch`],
//! or `None`. Names that mislead people are told whatever the content is; a promise of another group
//! is told where it lowers a guard: text or a picture that is a program is, a program that is text
//! is not.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::known::{group, lines};
use super::{FileType, Mismatch, TypeGroup};
use crate::anomaly::AnomalyKind;

static EXTENSIONS: LazyLock<HashMap<&'static str, TypeGroup>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    for line in lines(include_str!("extensions.txt")) {
        let Some((name, extensions)) = line.split_once(": ") else { continue };
        let Some(group) = group(name) else { continue };
        for extension in extensions.split_whitespace() {
            table.entry(extension).or_insert(group);
        }
    }
    table
});

/// Blanks in a row that push an extension out of sight.
const HIDING_BLANKS: usize = 5;

/// The group that an extension (any case, without a dot) promises.
#[must_use]
pub fn group_of_extension(extension: &str) -> Option<TypeGroup> {
    EXTENSIONS.get(extension.to_ascii_lowercase().as_str()).copied()
}

/// Holds what names and the declared media type promise against what content is.
///
/// `None` if they agree, or promise nothing.
#[must_use]
pub fn claim(names: &[String], declared: Option<&str>, detected: &FileType) -> Option<Mismatch> {
    names
        .iter()
        .find_map(|name| deceptive(name))
        .or_else(|| names.iter().find_map(|name| by_name(name, detected)))
        .or_else(|| by_label(declared?, detected))
}

/// Names that a reader takes for another type than the system does.
fn deceptive(name: &str) -> Option<Mismatch> {
    let tell = |what: &str| {
        let shown: String = name.chars().take(100).flat_map(char::escape_default).collect();
        let detail: String = format!("{what}: {shown}").chars().take(200).collect();
        Some(Mismatch { kind: AnomalyKind::DeceptiveName, detail })
    };
    let is_directional = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    if name.contains(is_directional) {
        return tell("direction-changing characters");
    }
    let end = name.trim_end_matches(['.', ' ', '\u{a0}', '\u{3000}']);
    let last = extension(end);
    let runs = last.and_then(group_of_extension).is_some_and(is_active);
    if !runs {
        return None;
    }
    if end.len() < name.len() {
        return tell("dots or blanks after the extension");
    }
    if name.contains(|c: char| is_invisible(c) || c.is_control()) {
        return tell("invisible characters");
    }
    let stem = end.rsplit_once('.').map_or("", |(stem, _)| stem);
    let cut = stem.trim_end();
    let blanks = stem.chars().count().saturating_sub(cut.chars().count());
    if blanks >= HIDING_BLANKS {
        return tell("blanks before the extension");
    }
    let before = extension(cut).and_then(group_of_extension);
    let harmless = before.is_some_and(|group| !is_active(group) && group != TypeGroup::Archive);
    if harmless { tell("two extensions") } else { None }
}

fn by_name(name: &str, detected: &FileType) -> Option<Mismatch> {
    let extension = extension(name.trim_end_matches(['.', ' ']))?;
    let promised = group_of_extension(extension)?;
    mismatch(promised, detected).then(|| {
        let extension: String = extension.escape_default().take(20).collect();
        told(&format!(".{extension}"), detected)
    })
}

fn by_label(declared: &str, detected: &FileType) -> Option<Mismatch> {
    let (class, subtype) = declared.split_once('/')?;
    let promised = match (class, subtype) {
        ("image", "svg+xml") => TypeGroup::Html,
        ("image", _) => TypeGroup::Image,
        ("audio", _) => TypeGroup::Audio,
        ("video", _) => TypeGroup::Video,
        ("font", _) => TypeGroup::Font,
        ("message", "rfc822" | "global") => TypeGroup::Message,
        ("text", "html") => TypeGroup::Html,
        ("text", "plain" | "csv" | "calendar") => TypeGroup::Text,
        ("application", "pdf" | "msword" | "rtf") => TypeGroup::Document,
        ("application", "zip" | "gzip" | "x-gzip") => TypeGroup::Archive,
        _ => return None,
    };
    mismatch(promised, detected).then(|| {
        let declared: String = declared.escape_default().take(100).collect();
        told(&declared, detected)
    })
}

fn told(promised: &str, detected: &FileType) -> Mismatch {
    let detail = format!("{promised} is {}", detected.name);
    Mismatch { kind: AnomalyKind::TypeMismatch, detail }
}

/// Whether content of `detected` is not what `promised` lets people expect.
fn mismatch(promised: TypeGroup, detected: &FileType) -> bool {
    use TypeGroup as G;
    let found = detected.group;
    match (promised, found) {
        // Text is what everything can look like, and data that nobody knows proves nothing.
        (_, G::Text | G::Other) => {
            matches!(promised, G::Image | G::Audio | G::Video | G::Archive) && found == G::Text
        }
        (promised, found) if promised == found => false,
        // A sound may lie in a video's container, and the other way round.
        (G::Audio | G::Video, G::Audio | G::Video) => false,
        // Programs, shortcuts and scripts may be anything inside: their name already says the worst.
        (G::Executable | G::Script | G::Shortcut, _) => false,
        (_, G::Executable | G::Shortcut) => true,
        // Source text and pages quote each other.
        (G::Text | G::Html | G::Message, G::Script) => false,
        (_, G::Script) => true,
        (G::Text, G::Html | G::Message | G::Crypto)
        | (G::Html, G::Message)
        | (G::Message, G::Html) => false,
        (G::Crypto, G::Message) | (G::Message, G::Crypto) | (G::Other, _) => false,
        // Documents come as pages, mail archives as documents.
        (G::Document, G::Html | G::Message) | (G::Html, G::Document) => {
            detected.extension == "html"
        }
        (G::Archive, G::Message | G::Document) => false,
        _ => true,
    }
}

fn is_active(group: TypeGroup) -> bool {
    matches!(group, TypeGroup::Executable | TypeGroup::Script | TypeGroup::Shortcut)
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
    )
}

/// What follows the last dot of the last path component.
fn extension(name: &str) -> Option<&str> {
    let base = name.rsplit(['/', '\\']).next()?;
    base.rsplit_once('.').map(|(_, extension)| extension.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filetype::known::known;

    #[test]
    fn promises() {
        let mismatch = Some(AnomalyKind::TypeMismatch);
        let deceptive = Some(AnomalyKind::DeceptiveName);
        let cases = [
            ("a document", "a.doc", "", "doc", None),
            ("a document of another program", "a.doc", "", "rtf", None),
            ("a program as a picture", "a.jpg", "", "exe", mismatch),
            ("a program as itself", "a.scr", "", "exe", None),
            ("a program as a document, by label", "", "application/pdf", "exe", mismatch),
            ("an archive as a document", "a.pdf", "", "zip", mismatch),
            ("a page as a document", "a.pdf", "", "html", mismatch),
            ("a shortcut as text", "readme.txt", "", "lnk", mismatch),
            ("a script as source text", "a.txt", "text/plain", "js", None),
            ("text as a program", "a.exe", "", "txt", None),
            ("text as a picture", "a.png", "", "txt", mismatch),
            ("unknown data", "a.pdf", "", "bin", None),
            ("an unknown extension", "a.qqq", "", "exe", None),
            ("two extensions", "invoice.pdf.exe", "", "exe", deceptive),
            ("two extensions, one for archives", "a.tar.gz", "", "gz", None),
            ("a version number", "setup-1.2.exe", "", "exe", None),
            ("minified script", "jquery.min.js", "", "js", None),
            ("blanks", "a.txt             .exe", "", "exe", deceptive),
            ("right to left", "ann\u{202e}gpj.exe", "", "exe", deceptive),
            ("a trailing dot", "a.exe.", "", "exe", deceptive),
            ("a trailing dot of a sentence", "Mr. Smith Jr.", "", "txt", None),
            ("an invisible letter", "a\u{200b}.js", "", "js", deceptive),
            ("a dot in a folder", "v1.pdf/run.exe", "", "exe", None),
        ];
        for (name, file, label, id, expected) in cases {
            let names = [file.to_owned()];
            let found = claim(&names, Some(label), &known(id));
            assert_eq!(found.map(|mismatch| mismatch.kind), expected, "{name}");
        }
    }

    #[test]
    fn every_extension_line_is_read() {
        let groups: std::collections::BTreeSet<_> = EXTENSIONS.values().collect();
        assert_eq!(groups.len(), lines(include_str!("extensions.txt")).count());
        assert_eq!(group_of_extension("EXE"), Some(TypeGroup::Executable));
        assert_eq!(group_of_extension("nothing"), None);
        assert_eq!(group_of_extension("bin"), None, "any data; nothing runs it by its name");
    }
}
