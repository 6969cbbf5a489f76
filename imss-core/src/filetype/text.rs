//! Types of text: scripts, pages, messages, tables.
//!
//! In: the first octets, as ASCII in lower case; other octets do not matter. Out: an id of
//! `types.txt`. Interpreters run a file by its name and not by its content, so this is a judgement:
//! what looks like a script to two independent hints is one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use encoding_rs::{UTF_16BE, UTF_16LE};

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
        ("tclsh", "tcl"),
        ("wish", "tcl"),
        ("expect", "tcl"),
        ("lua", "lua"),
        ("sh", "sh"),
    ];
    // Tcl takes the second line for the rest of a comment, the shell does not.
    let restarts = |line: &str| line.starts_with("exec tclsh") || line.starts_with("exec wish");
    if text.lines().skip(1).take(9).any(restarts) {
        return Some("tcl");
    }
    Some(names.iter().find(|(name, _)| line.contains(name)).map_or("script", |(_, id)| *id))
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
    if uu.is_some_and(is_mode) || first.starts_with("begin-base64 ") {
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

static HINTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let hints = LANGUAGES.iter().flat_map(Language::hints).map(|(hint, _)| hint);
    // Few and short: the fastest kind stays small.
    AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(hints).ok()
});

/// Languages by hints: the language with most points, from four on. A hint counts once, a strong one
/// twice, and without a strong one it is some other language, or prose about it.
fn script(text: &str) -> Option<&'static str> {
    let mut seen = HashSet::new();
    let matches = HINTS.as_ref()?.try_find_overlapping_iter(text).ok()?;
    seen.extend(matches.map(|found| found.pattern().as_usize()));
    let mut number = 0_usize;
    let mut best = (3, None);
    for language in LANGUAGES {
        let (mut points, mut is_strong) = (0, false);
        for (_, weight) in language.hints() {
            if seen.contains(&number) {
                points += weight;
                is_strong |= weight > 1;
            }
            number = number.saturating_add(1);
        }
        if is_strong && points > best.0 {
            best = (points, Some(language.id));
        }
    }
    best.1
}

/// A module that only hands on what others hold.
fn module(text: &str) -> Option<&'static str> {
    let is_from = |line: &str| {
        let line = line.trim_end().trim_end_matches(';');
        let quoted = line.strip_suffix('\'').and_then(|rest| rest.rsplit_once(" from '"));
        let quoted =
            quoted.or_else(|| line.strip_suffix('"').and_then(|rest| rest.rsplit_once(" from \"")));
        quoted.is_some_and(|(what, _)| what.starts_with("export ") || what.starts_with("import "))
    };
    text.lines().take(200).any(is_from).then_some("js")
}

struct Language {
    id: &'static str,
    strong: &'static [&'static str],
    weak: &'static [&'static str],
}

impl Language {
    fn hints(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let strong = self.strong.iter().map(|hint| (*hint, 2));
        strong.chain(self.weak.iter().map(|hint| (*hint, 1)))
    }
}

const LANGUAGES: &[Language] = &[
    Language {
        id: "js",
        strong: &[
            "new activexobject(",
            "wscript.createobject(",
            "string.fromcharcode(",
            "new function(",
            "document.write(",
            "window.location",
            "unescape(",
            "eval(",
            "function(",
            "=> {",
            "document.getelementbyid(",
            "module.exports",
            "use strict",
            "require('",
            "require(\"",
        ],
        weak: &[
            "var ",
            "let ",
            "const ",
            "function ",
            "return ",
            "return;",
            "});",
            "();",
            "===",
            "try{",
            "try {",
            "wscript.",
            "this.",
            "].join(",
            ".split(",
            ".replace(/",
        ],
    },
    Language {
        id: "vbs",
        strong: &[
            "on error resume next",
            "end sub",
            "end function",
            "wscript.createobject(\"",
            "end if\r",
            "end if\n",
            "= createobject(",
            "set wshshell",
            "executeglobal",
            "option explicit",
        ],
        weak: &[
            "\ndim ",
            "msgbox",
            "wscript.",
            "createobject(",
            "set ",
            "chr(",
            "sub ",
            " then",
            "strreverse(",
        ],
    },
    Language {
        id: "ps1",
        strong: &[
            "invoke-expression",
            "iex(",
            "iex (",
            "new-object ",
            "$env:",
            "-executionpolicy",
            "[system.",
            "write-host",
            "invoke-webrequest",
            "frombase64string",
            "start-process",
            "add-type ",
            "set-strictmode",
            "[cmdletbinding",
        ],
        weak: &[
            "param(",
            "$_.",
            " -eq ",
            "foreach",
            "$null",
            "| out-null",
            "get-",
            "set-",
            "\n$",
            "function ",
        ],
    },
    Language {
        id: "bat",
        strong: &[
            "%~dp0",
            "\ngoto ",
            "\nset /p",
            "\nset /a",
            "%comspec%",
            "cmd /c",
            "cmd.exe /c",
            "setlocal",
            "\nif not exist ",
            "\nif exist ",
            "%temp%\\",
            "%appdata%",
            "start /min",
        ],
        weak: &[
            "\nrem ",
            "\nset ",
            "\necho ",
            "\ndel ",
            "\ncopy ",
            "\ncall ",
            "\nexit",
            "pause",
            "powershell",
            "%~",
            "\n@",
        ],
    },
    Language {
        id: "sh",
        strong: &["\nfi\n", "\ndone\n", "esac\n", "; then\n", "; do\n"],
        weak: &["\necho ", "\nexport ", "$(", "\nif [", "chmod ", "wget ", "curl "],
    },
    Language {
        id: "py",
        strong: &[
            "\ndef ",
            "\nimport os",
            "\nimport sys",
            "if __name__ ==",
            "self.",
            "\nfrom __future__",
        ],
        weak: &["import ", "print(", "    return ", "lambda ", "elif ", "class ", "except"],
    },
    Language {
        id: "tcl",
        strong: &[
            "\nproc ",
            "\nnamespace eval ",
            "\npackage require ",
            "\npackage provide ",
            "[lindex ",
            "[string ",
        ],
        weak: &["\n    set ", "$::", "foreach ", "} else {", "} {\n", "[list ", "[expr "],
    },
    Language {
        id: "lua",
        strong: &["\nlocal function ", " in ipairs(", " in pairs(", " ~= nil", "setmetatable("],
        weak: &["\nlocal ", " then\n", "\nend\n", "  end\n", " == nil", "= require", "= {}\n"],
    },
    Language {
        id: "m4",
        strong: &["ac_defun([", "ac_arg_with(", "ac_msg_checking([", "ac_subst(", "m4_define("],
        weak: &["dnl ", "\ndnl\n", "ac_msg_result(", "ac_msg_error(", "ac_cache_", "])\n"],
    },
];

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
