//! Shortcuts and queries that are text: `.url`, `.desktop`, `.scf`, `.library-ms`, `.search-ms`,
//! `.settingcontent-ms`, `.slk`, `.iqy`, `.dqy`.
//!
//! In: text. Out: what it opens, loads and runs. Line by line; lines that fit nothing mean nothing.

use super::{Active, ActiveKind, LinkKind, Piece, TextKind, load, to};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// `NAME=VALUE` lines: `.url`, `.desktop`, `.scf`.
    #[default]
    Lines,
    /// XML.
    Markup,
    /// A query of Excel.
    Query,
    /// A symbolic link spreadsheet.
    Sheet,
}

/// What `content` is, by how it starts.
pub(super) fn kind(content: &[u8]) -> Option<Kind> {
    let head = content.get(..content.len().min(1024)).unwrap_or_default();
    // UTF-16 is as good as ASCII here.
    let head: Vec<u8> =
        head.iter().filter(|octet| **octet != 0).map(u8::to_ascii_lowercase).collect();
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    let head = head.strip_prefix(b"\xff\xfe").unwrap_or(head).trim_ascii_start();
    let has = |needle: &[u8]| memchr::memmem::find(head, needle).is_some();
    let section = head.starts_with(b"[") || has(b"\n[");
    let section = section
        && (has(b"[internetshortcut")
            || has(b"[desktop entry]")
            || has(b"[shell]\r")
            || has(b"[shell]\n"));
    if section {
        Some(Kind::Lines)
    } else if head.starts_with(b"id;") {
        Some(Kind::Sheet)
    } else if head.starts_with(b"web\r")
        || head.starts_with(b"web\n")
        || head.starts_with(b"xlodbc")
    {
        Some(Kind::Query)
    } else if has(b"<librarydescription")
        || has(b"<searchconnectordescription")
        || has(b"<pcsettings")
        || has(b"<persistedquery")
    {
        Some(Kind::Markup)
    } else {
        None
    }
}

/// Everything in `content`.
pub(super) fn pieces(content: &str, kind: Kind, out: &mut dyn FnMut(Piece)) {
    let lines = content.lines().map(str::trim);
    match kind {
        Kind::Lines => lines.filter_map(|line| line.split_once('=')).for_each(|(name, value)| {
            entry(&name.trim().to_lowercase(), value.trim(), out);
        }),
        Kind::Markup => markup(content, out),
        Kind::Query => lines.for_each(|line| query(line, out)),
        Kind::Sheet => lines.for_each(|line| sheet(line, out)),
    }
}

fn launch(command: &str, out: &mut dyn FnMut(Piece)) {
    out(Piece::Active(Active::new(ActiveKind::Launch, command)));
}

fn entry(name: &str, value: &str, out: &mut dyn FnMut(Piece)) {
    if value.is_empty() {
        return;
    }
    match name {
        "url" | "baseurl" => {
            out(Piece::Link(to(LinkKind::Click, value)));
            let lower = value.to_lowercase();
            if !["http:", "https:", "ftp:", "mailto:"]
                .iter()
                .any(|scheme| lower.starts_with(scheme))
            {
                launch(value, out);
            }
        }
        "exec" | "tryexec" => launch(value, out),
        "command" if value.contains(['\\', '/', '.']) => launch(value, out),
        "iconfile" | "icon" | "workingdirectory" | "path" => load(value, out),
        _ => {}
    }
}

/// The elements that hold a target.
fn markup(content: &str, out: &mut dyn FnMut(Piece)) {
    let mut rest = content;
    while let Some((_, tail)) = rest.split_once('<') {
        rest = tail;
        let Some((tag, after)) = tail.split_once('>') else { break };
        let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
        let value = after.split('<').next().unwrap_or_default().trim();
        let value = value.replace("&amp;", "&").replace("&quot;", "\"").replace("&apos;", "'");
        match name.as_str() {
            _ if value.is_empty() => {}
            "deeplink" => launch(&value, out),
            "url" => {
                out(Piece::Link(to(LinkKind::Click, &value)));
                load(&value, out);
            }
            "iconreference" | "icon" => load(&value, out),
            _ => {}
        }
    }
}

/// A line of a web or database query.
fn query(line: &str, out: &mut dyn FnMut(Piece)) {
    let lower = line.to_lowercase();
    if lower.starts_with("http:") || lower.starts_with("https:") || line.starts_with("\\\\") {
        load(line, out);
    } else if lower.contains("driver=") || lower.contains("dsn=") {
        out(Piece::Active(Active::new(ActiveKind::RemoteContent, line)));
    } else if lower.starts_with("select ") {
        out(Piece::Text { kind: TextKind::Formula, text: line.to_owned() });
    }
}

/// A record of a symbolic link spreadsheet: cells, names.
fn sheet(line: &str, out: &mut dyn FnMut(Piece)) {
    // `;;` is a semicolon within a field.
    let line = line.replace(";;", "\u{1}");
    let mut fields = line.split(';').map(|field| field.replace('\u{1}', ";"));
    let record = fields.next().unwrap_or_default();
    let mut name = String::new();
    for field in fields {
        let Some(value) = field.get(1..).filter(|value| !value.is_empty()) else { continue };
        match (record.as_str(), field.get(..1).unwrap_or_default()) {
            ("C", "K") => {
                let text = value.trim_matches('"').to_owned();
                out(Piece::Text { kind: TextKind::Shown, text });
            }
            ("C" | "F", "E") => {
                out(Piece::Text { kind: TextKind::Formula, text: value.to_owned() });
                formula(value, out);
            }
            ("NN", "N") => name = value.to_owned(),
            ("NN", "E") => {
                let lower = name.to_lowercase();
                if lower.starts_with("auto_") {
                    out(Piece::Active(Active::new(ActiveKind::AutoRun, format!("{name} {value}"))));
                }
            }
            _ => {}
        }
    }
}

/// What a formula runs.
fn formula(formula: &str, out: &mut dyn FnMut(Piece)) {
    let lower = formula.to_lowercase();
    // APPLICATION|'ARGUMENTS'!ITEM
    if let Some((_, rest)) = lower.split_once('|')
        && rest.contains('!')
    {
        out(Piece::Active(Active::new(ActiveKind::Dde, formula)));
    }
    let calls = [
        "exec(",
        "call(",
        "register(",
        "run(",
        "formula(",
        "fopen(",
        "urldownload",
        "halt(",
        "goto(",
    ];
    if calls.iter().any(|call| lower.contains(call)) {
        out(Piece::Active(Active::new(ActiveKind::Xlm, formula)));
    }
}
