//! Types of text: scripts, pages, messages, tables.
//!
//! In: the first octets, as ASCII in lower case; other octets do not matter. Out: an id of
//! `types.txt`. Languages are told by their hints (the module `languages`) and by interpreter lines.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::languages::script;

/// Octets that are judged.
const WINDOW: usize = 16 << 10;

/// The id of `types.txt` for text; `None` if `head` is no text.
pub(super) fn detect(head: &[u8]) -> Option<&'static str> {
    let text = ascii(head.get(..WINDOW.min(head.len()))?)?;
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n', '?']);
    let by_start = STARTS.iter().find(|(start, _)| text.starts_with(start)).map(|(_, id)| *id);
    by_start
        .or_else(|| interpreter(text))
        .or_else(|| markup(text))
        .or_else(|| message(text))
        .or_else(|| contained(text))
        .or_else(|| script(text))
        .or_else(|| module(text))
        .or_else(|| json(text))
        .or_else(|| table(text))
        .or(Some("txt"))
}

/// Lower case ASCII with other characters as `?`; `None` for binary data.
fn ascii(head: &[u8]) -> Option<String> {
    let is_blank = |octet: &u8| matches!(octet, b'\t' | b'\n' | 0x0c | b'\r' | 0x1b);
    let wide = |index: usize| {
        let zeros = head.iter().skip(index).step_by(2).take(64).filter(|&&octet| octet == 0);
        head.len() > 8 && zeros.count().saturating_mul(4) >= head.len().min(128)
    };
    let decoded: Cow<'_, [u8]> = if head.starts_with(b"\xff\xfe") || wide(1) && !wide(0) {
        UTF_16LE.decode(head).0.into_owned().into_bytes().into()
    } else if head.starts_with(b"\xfe\xff") || wide(0) && !wide(1) {
        UTF_16BE.decode(head).0.into_owned().into_bytes().into()
    } else {
        head.into()
    };
    let decoded = decoded.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(&decoded);
    let decoded = decoded.strip_suffix(b"\x1a").unwrap_or(decoded);
    if decoded.iter().any(|octet| octet.is_ascii_control() && !is_blank(octet)) {
        return None;
    }
    let lower = |&octet: &u8| if octet.is_ascii() { octet.to_ascii_lowercase() } else { b'?' };
    String::from_utf8(decoded.iter().map(lower).collect()).ok()
}

const STARTS: &[(&str, &str)] = &[
    ("-----begin pgp public", "pgpkey"),
    ("-----begin pgp private", "pgpkey"),
    ("-----begin pgp signature", "pgpsig"),
    ("-----begin pgp", "pgp"),
    ("-----begin pkcs7", "p7m"),
    ("-----begin cms", "p7m"),
    ("-----begin ", "pem"),
    ("begin:vcalendar", "ics"),
    ("begin:vcard", "vcf"),
    ("[internetshortcut", "url"),
    ("[{000214a0-0000-0000-c000-000000000046}", "url"),
    ("[desktop entry]", "desktop"),
    ("windows registry editor", "reg"),
    ("regedit4", "reg"),
    ("[wfclient]", "ica"),
    ("full address:s:", "rdp"),
    ("screen mode id:i:", "rdp"),
    ("#@~^", "vbe"),
    ("#cloud-config", "txt"),
    ("<?php", "php"),
    ("<hta:application", "hta"),
    ("id;p", "slk"),
    ("web\r\n1\r\nhttp", "iqy"),
    ("web\n1\nhttp", "iqy"),
    ("=ybegin ", "yenc"),
    ("# this is a shell archive", "shar"),
    ("[oledb]", "udl"),
    ("xlodbc", "dqy"),
    ("#extm3u", "m3u"),
    ("webvtt", "vtt"),
    ("diff --git ", "diff"),
    ("\\documentclass", "tex"),
    ("putty-user-key-file", "ppk"),
    ("msgid \"\"", "po"),
    ("[theme]", "theme"),
];

fn interpreter(text: &str) -> Option<&'static str> {
    let line = text.strip_prefix("#!")?.lines().next()?;
    let names = [
        ("python", "py"),
        ("perl", "pl"),
        ("ruby", "rb"),
        ("php", "php"),
        ("node", "js"),
        ("osascript", "js"),
        ("pwsh", "ps1"),
        ("sh", "sh"),
    ];
    let id = match program(line) {
        "tclsh" | "wish" | "expect" => "tcl",
        "lua" | "luajit" => "lua",
        _ if restarts_as_tcl(text) => "tcl",
        _ => names.iter().find(|(name, _)| line.contains(name)).map_or("script", |(_, id)| *id),
    };
    Some(id)
}

/// The program that an interpreter line runs, through `env` too, without its folder and version.
fn program(line: &str) -> &str {
    let name = |word: &'_ str| word.rfind('/').map_or(0, |slash| slash.saturating_add(1));
    let mut words =
        line.split_ascii_whitespace().map(|word| word.get(name(word)..).unwrap_or(word));
    let is_told = |word: &&str| !word.starts_with('-') && !word.contains('=');
    let first = words.next().unwrap_or_default();
    let program = if first == "env" { words.find(is_told).unwrap_or_default() } else { first };
    program.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'))
}

/// Whether a shell script does nothing but hand itself to Tcl, which takes the line that does so for
/// the rest of a comment because of the backslash before it, as the shell does not.
fn restarts_as_tcl(text: &str) -> bool {
    let mut continued = false;
    for line in text.lines().skip(1).take(9) {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("exec ").filter(|_| continued) {
            return matches!(program(words), "tclsh" | "wish" | "expect");
        }
        if !line.is_empty() && !line.starts_with('#') {
            return false;
        }
        continued = line.ends_with('\\') && !line.ends_with("\\\\");
    }
    false
}

fn markup(text: &str) -> Option<&'static str> {
    if !text.starts_with('<') {
        return None;
    }
    let has = |needle: &str| text.contains(needle);
    let root = root_element(text);
    let id = match root {
        _ if has("<hta:application") => "hta",
        _ if has("progid=\"word.document\"") || has("schemas.microsoft.com/office/word/2003") => {
            "wordml"
        }
        _ if has("progid=\"excel.sheet\"") => "excelml",
        "svg" => "svg",
        "job" | "package" if has("<script") => "wsf",
        "scriptlet" | "component" | "registration" if has("<script") || has("progid") => "sct",
        "librarydescription" => "library-ms",
        "persistedquery" => "search-ms",
        "pcsettings" => "settingcontent",
        "mmc_consolefile" => "msc",
        "assembly" | "asmv1:assembly" if has("urn:schemas-microsoft-com:asm") => "clickonce",
        "jnlp" => "jnlp",
        "appinstaller" => "appinstaller",
        "configuration" if has("<logoncommand") => "wsb",
        "fictionbook" => "fb2",
        "xsl:stylesheet" | "xsl:transform" => "xsl",
        "rss" | "feed" | "rdf:rdf" if has("xmlns") || has("<channel") => "feed",
        "plist" => "plist",
        "kml" => "kml",
        "xfdf" => "xfdf",
        "html" if has("www.w3.org/1999/xhtml") && text.starts_with("<?xml") => "xhtml",
        root if HTML.contains(&root) && !text.starts_with("<?xml")
            || text.starts_with("<!doctype html") =>
        {
            "html"
        }
        _ if text.starts_with("<?xml") || text.starts_with("<!doctype") => "xml",
        _ if has("</") && (has("<br") || has("<div") || has("<p>") || has("href=")) => "html",
        "svg:svg" => "svg",
        root if root.contains(':') || has("xmlns") => "xml",
        root if !root.is_empty() && has(&format!("</{root}>")) => "xml",
        _ => return None,
    };
    Some(id)
}

const HTML: &[&str] = &[
    "html",
    "head",
    "body",
    "script",
    "table",
    "div",
    "meta",
    "title",
    "img",
    "iframe",
    "font",
    "p",
    "br",
    "a",
    "center",
    "span",
    "style",
    "link",
    "form",
    "h1",
    "h2",
    "h3",
    "b",
    "i",
    "ul",
    "ol",
    "base",
    "basefont",
    "object",
    "embed",
    "frameset",
    "frame",
    "input",
    "pre",
    "hr",
    "blockquote",
];

/// The first element that is no declaration and no comment.
fn root_element(mut text: &str) -> &str {
    loop {
        let Some(start) = text.find('<') else { return "" };
        text = text.get(start..).unwrap_or_default();
        let end = if text.starts_with("<!--") {
            text.find("-->")
        } else if text.starts_with("<?") || text.starts_with("<!") {
            text.find('>')
        } else {
            let name = text.get(1..).unwrap_or_default();
            return name.split(['>', ' ', '/', '\t', '\r', '\n']).next().unwrap_or_default();
        };
        let Some(end) = end else { return "" };
        text = text.get(end.saturating_add(1)..).unwrap_or_default();
    }
}

/// Mail: two or more well-known fields before the first empty line.
fn message(text: &str) -> Option<&'static str> {
    let is_mbox = text.starts_with("from ");
    let lines = text.lines().skip(usize::from(is_mbox || text.starts_with(">from ")));
    let mut fields = 0_usize;
    for line in lines.take(100) {
        if line.trim_end().is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (name, _) = line.split_once(':')?;
        if name.contains(' ') {
            return None;
        }
        fields = fields.saturating_add(usize::from(FIELDS.contains(&name)));
    }
    // Pages that a browser saved.
    let is_page = text.contains("snapshot-content-location:") || text.contains("from: <saved by ");
    match (fields, is_mbox) {
        (2.., false) if is_page => Some("mhtml"),
        (2.., true) => Some("mbox"),
        (2.., false) => Some("eml"),
        _ => None,
    }
}

const FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "received",
    "return-path",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "reply-to",
    "sender",
    "delivered-to",
    "x-mailer",
    "dkim-signature",
    "in-reply-to",
    "references",
    "x-originalarrivaltime",
    "list-id",
];

fn contained(text: &str) -> Option<&'static str> {
    let first = text.lines().next().unwrap_or_default();
    let uu = first.strip_prefix("begin ").and_then(|rest| rest.get(..4));
    let is_mode = |mode: &str| mode.trim_end().bytes().all(|octet| (b'0'..=b'7').contains(&octet));
    let others = ["begin-base64 ", "begin-base64-encoded ", "begin-encoded "];
    if uu.is_some_and(is_mode) || others.iter().any(|start| first.starts_with(start)) {
        return Some("uu");
    }
    let line_starts =
        |start: &str| text.lines().take(200).any(|line| line.trim().starts_with(start));
    if line_starts("[internetshortcut]") {
        return Some("url");
    }
    if line_starts("[shell]") && (line_starts("iconfile=") || line_starts("command=")) {
        return Some("scf");
    }
    if line_starts("[version]") && line_starts("signature") || line_starts("[autorun]") {
        return Some("inf");
    }
    if line_starts("@echo off") || line_starts("@echo on") || line_starts("@cmd") {
        return Some("bat");
    }
    let uu_inside = text.lines().any(|line| {
        line.strip_prefix("begin ")
            .and_then(|rest| rest.get(..4))
            .is_some_and(|mode| mode.ends_with(' ') && mode.trim_end().len() == 3 && is_mode(mode))
    });
    uu_inside.then_some("uu")
}

/// A module that only hands on what others hold: of ten lines that are no comments, nine do so.
fn module(text: &str) -> Option<&'static str> {
    let (mut hands_on, mut others, mut in_comment) = (0_usize, 0_usize, false);
    for line in text.lines().take(200).map(str::trim) {
        in_comment |= line.starts_with("/*");
        if in_comment {
            in_comment = !line.ends_with("*/");
        } else if is_handing_on(line) {
            hands_on = hands_on.saturating_add(1);
        } else if !line.is_empty() && !line.starts_with("//") && line != "export {};" {
            others = others.saturating_add(1);
        }
    }
    (hands_on > 0 && others.saturating_mul(9) <= hands_on).then_some("js")
}

/// `export … from '…'` or `import … from '…'`.
fn is_handing_on(line: &str) -> bool {
    let line = line.trim_end_matches(';');
    let quoted = line.strip_suffix('\'').and_then(|rest| rest.rsplit_once(" from '"));
    let quoted =
        quoted.or_else(|| line.strip_suffix('"').and_then(|rest| rest.rsplit_once(" from \"")));
    quoted.is_some_and(|(what, _)| what.starts_with("export ") || what.starts_with("import "))
}

fn json(text: &str) -> Option<&'static str> {
    let inner = text.strip_prefix(['{', '['])?.trim_start();
    let is_json = inner.starts_with(['"', '{', '[', ']', '}'])
        && (text.contains("\":") || text.contains("\" :"));
    is_json.then_some("json")
}

/// Tables: the first lines have the same count of separators.
fn table(text: &str) -> Option<&'static str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).take(6).collect();
    let lines = lines.get(..lines.len().checked_sub(1)?).filter(|lines| lines.len() >= 2)?;
    let same = |separator: char| {
        let mut counts = lines.iter().map(|line| line.matches(separator).count());
        let first = counts.next().unwrap_or(0);
        first > 0 && counts.all(|count| count == first)
    };
    [',', ';', '\t'].into_iter().any(same).then_some("csv")
}
