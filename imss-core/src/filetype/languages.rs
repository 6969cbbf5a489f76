//! Languages of scripts and sources, by hints.
//!
//! In: text in lower case. Out: an id of `types.txt`, or `None`. Interpreters run a file by its name and
//! not by its content, so this is a judgement: what looks like a script to two independent hints is one.

use std::collections::HashSet;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

static HINTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let languages = LANGUAGES.iter().chain(SOURCES);
    let hints = languages.flat_map(Language::hints).map(|(hint, _)| hint);
    // Few and short: the fastest kind stays small.
    AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(hints).ok()
});

/// Languages by hints: the language with most points, from four on. A hint counts once, a strong one
/// twice, and without a strong one it is some other language, or prose about it. The languages that
/// run by a click come first: words of another one make no text of a script.
pub(super) fn script(text: &str) -> Option<&'static str> {
    let mut seen = HashSet::new();
    let matches = HINTS.as_ref()?.try_find_overlapping_iter(text).ok()?;
    seen.extend(matches.map(|found| found.pattern().as_usize()));
    let mut number = 0_usize;
    let runs = best(LANGUAGES, &seen, &mut number, 3);
    let known = best(SOURCES, &seen, &mut number, runs.0);
    match (runs.1, known.1) {
        // By its points it is the other one, and still what it was without them.
        (Some(_), Some(id)) => Some(id),
        (None, Some(id)) => TEXTS.iter().find(|(script, _)| *script == id).map(|(_, text)| *text),
        (id, None) => id,
    }
}

/// The language with more points than `points`, if there is one. `number` counts hints.
fn best(
    languages: &[Language],
    seen: &HashSet<usize>,
    number: &mut usize,
    points: u32,
) -> (u32, Option<&'static str>) {
    let mut best = (points, None);
    for language in languages {
        let (mut points, mut is_strong) = (0, false);
        for (_, weight) in language.hints() {
            if seen.contains(number) {
                points += weight;
                is_strong |= weight > 1;
            }
            *number = number.saturating_add(1);
        }
        if is_strong && points > best.0 {
            best = (points, Some(language.id));
        }
    }
    best
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
];

/// The ids of what has no interpreter line and runs nowhere by a click: [`SOURCES`] as text.
const TEXTS: &[(&str, &str)] = &[("tcl", "tcl-text"), ("lua", "lua-text"), ("m4", "m4-text")];

const SOURCES: &[Language] = &[
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
