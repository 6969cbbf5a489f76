//! Does the compiled form of a VBA project say something else than its source?
//!
//! In: the compiled part of modules (the performance cache before the source, MS-OVBA §2.3.4.3,
//! whose content is version-dependent and undocumented), the identifier table of `_VBA_PROJECT`,
//! and the sources. Out: what the compiled form has that no source has.
//!
//! Office runs the compiled form if its own version wrote it, so a source that was replaced shows
//! scanners nothing. Only two things are compared, since both look the same in every version: string
//! literals in the code, and names in the table. Leftovers of edits are no difference.

use crate::archive::le::u16_at;

/// Opcodes that a string literal follows, in the versions of VBA (5, 3, 6 and 7).
const LITERAL: &[u8] = &[0xad, 0xae, 0xb6, 0xb9];
/// The shortest and longest literal that is compared.
const LENGTHS: std::ops::RangeInclusive<usize> = 5..=1024;
/// Literals compared per module, and identifiers per project. Only a sign is looked for here, not code:
/// a replaced source lacks the first of them as well as the last.
const MAX_LITERALS: usize = 2000;

/// Names that no source says, for a source to be another one.
const MOST: usize = 6;
/// The longest identifier that is compared.
const LONGEST_NAME: usize = 64;
/// Names that every project has, in lower case.
const COMMON: &[&str] = &[
    "word",
    "excel",
    "powerpoint",
    "outlook",
    "access",
    "vba",
    "win16",
    "win32",
    "win64",
    "mac",
    "vba6",
    "vba7",
    "project1",
    "projekt1",
    "stdole",
    "project",
    "vbaproject",
    "office",
    "normal",
    "document",
    "workbook",
    "worksheet",
    "chart",
    "msforms",
    "userform",
    "thisdocument",
    "thisworkbook",
    "_evaluate",
];

/// Names that hardly any macro that does harm lacks, in lower case. Not among the names that every
/// project has.
const TELLING: &[&str] = &[
    "shell",
    "shellexecute",
    "shellexecutea",
    "createobject",
    "getobject",
    "callbyname",
    "wscript",
    "environ",
    "urldownloadtofilea",
    "urldownloadtofile",
    "createprocessa",
    "virtualalloc",
    "rtlmovememory",
    "createthread",
    "writeprocessmemory",
    "autoopen",
    "auto_open",
    "autoexec",
    "autoclose",
    "auto_close",
    "document_open",
    "document_close",
    "workbook_open",
    "adodb",
    "xmlhttp",
    "savetofile",
    "responsebody",
    "powershell",
    "sendkeys",
    "executeexcel4macro",
    "winhttp",
    "regwrite",
    "win32_process",
    "kernel32",
    "strreverse",
    "chrw",
];

/// How many lines the compiled code has, which its table of lines starts with; `None` without such a
/// table. Where several places look like one, the one with most lines counts.
///
/// A module that nobody wrote in has a compiled form too, of no lines, and the project's names may be
/// left over from code that is gone.
pub(super) fn lines(compiled: &[u8]) -> Option<u16> {
    let count = |at: usize| u16_at(compiled, at.checked_add(4)?);
    memchr::memmem::find_iter(compiled, b"\xfe\xca\x01\0").filter_map(count).max()
}

/// The string literals in compiled code, as text of ASCII.
pub(super) fn literals(compiled: &[u8]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while found.len() < MAX_LITERALS {
        let rest = compiled.get(at..).unwrap_or_default();
        let Some(zero) = memchr::memchr(0, rest) else { break };
        let opcode = at.saturating_add(zero).saturating_sub(1);
        at = at.saturating_add(zero).saturating_add(1);
        if zero == 0 && opcode.saturating_add(1) != at.saturating_sub(1) {
            continue;
        }
        if !compiled.get(opcode).is_some_and(|octet| LITERAL.contains(octet)) {
            continue;
        }
        let length = u16_at(compiled, at).map_or(0, usize::from);
        let start = at.saturating_add(2);
        let text = compiled.get(start..start.saturating_add(length));
        let text = text.filter(|text| LENGTHS.contains(&length) && text.iter().all(is_printable));
        if let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) {
            found.push(text);
            at = start.saturating_add(length);
        }
    }
    found
}

fn is_printable(octet: &u8) -> bool {
    (0x20..0x7f).contains(octet) || *octet == b'\t'
}

/// Those of `literals` that `source` lacks, if they are so many that the source is not the one that
/// was compiled.
pub(super) fn foreign<'a>(literals: &[&'a str], source: &str) -> Option<Vec<&'a str>> {
    let plain = source.replace("\"\"", "\"").to_lowercase();
    let missing: Vec<&str> =
        literals.iter().copied().filter(|text| !plain.contains(&text.to_lowercase())).collect();
    let most = missing.len().saturating_mul(2) > literals.len();
    (!missing.is_empty() && most).then_some(missing)
}

/// Names that the identifier `table` has and none of the `sources` (joined, in lower case): two or
/// more of the [`TELLING`] ones, as one may be left over from an edit, or most of all.
pub(super) fn unsaid(table: &[u8], sources: &str) -> Option<Vec<String>> {
    let names = identifiers(table);
    let missing: Vec<&String> =
        names.iter().filter(|name| !sources.contains(name.as_str())).collect();
    let telling: Vec<String> = missing
        .iter()
        .filter(|name| TELLING.contains(&name.as_str()))
        .map(|name| (*name).clone())
        .collect();
    if telling.len() > 1 {
        return Some(telling);
    }
    let most = missing.len().saturating_mul(3) > names.len().saturating_mul(2);
    (missing.len() >= MOST && most).then(|| missing.into_iter().cloned().collect())
}

/// The names in an identifier table, in lower case, each once, without those that every project has.
/// An entry is a length, flags, six more octets if the top flag is set, the name, and a hash whose
/// upper half is 16.
fn identifiers(table: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for hash in memchr::memmem::find_iter(table, b"\x10\0").take(MAX_LITERALS) {
        let Some(end) = hash.checked_sub(2) else { continue };
        let before = table.get(end.saturating_sub(LONGEST_NAME)..end).unwrap_or_default();
        let letters = before.iter().rev().take_while(|octet| is_name(octet)).count();
        let length = (3..=letters).rev().find(|length| {
            let start = end.saturating_sub(*length);
            let octet = |back: usize| {
                start.checked_sub(back).and_then(|at| table.get(at)).copied().map(usize::from)
            };
            octet(2) == Some(*length)
                || octet(8) == Some(*length) && octet(7).is_some_and(|flags| flags & 0x80 != 0)
        });
        let name = length.and_then(|length| table.get(end.saturating_sub(length)..end));
        let name = String::from_utf8_lossy(name.unwrap_or_default()).to_lowercase();
        if !name.is_empty() && !COMMON.contains(&name.as_str()) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn is_name(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || *octet == b'_'
}

#[cfg(test)]
mod tests {
    use super::super::super::pieces::le16;
    use super::*;

    fn compiled(texts: &[&str]) -> Vec<u8> {
        let mut code = vec![0, 0, 0xac, 0];
        for text in texts {
            code.extend([0xb9, 0]);
            code.extend(le16(text.len()));
            code.extend_from_slice(text.as_bytes());
            code.extend([0x20, 0, 1, 2]);
        }
        code
    }

    #[test]
    fn literals_are_compared() {
        let cases: [(&str, &[&str], &str, Option<&str>); 5] = [
            (
                "the same",
                &["calc.exe", "say \"hi\""],
                "Shell \"calc.exe\": x = \"say \"\"hi\"\"\"",
                None,
            ),
            ("another", &["calc.exe"], "MsgBox \"Hello\"", Some("calc.exe")),
            ("no source", &["calc.exe"], "", Some("calc.exe")),
            ("one is left over", &["first one", "second", "third"], "\"second\" & \"third\"", None),
            ("none", &[], "Sub Main", None),
        ];
        for (name, texts, source, expected) in cases {
            let code = compiled(texts);
            let found = literals(&code);
            assert_eq!(found, texts, "{name}");
            let missing = foreign(&found, source).map(|missing| missing.join(","));
            assert_eq!(missing.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn names_are_compared() {
        let table = b"\x05\x04Shell\x01\x02\x10\0\x08\x80\0\0\xff\x03\x01\0AutoOpen\x02\x05\x10\0\x04\x04VBA7ab\x10\0";
        assert_eq!(
            unsaid(table, "sub main"),
            Some(vec!["shell".to_owned(), "autoopen".to_owned()])
        );
        assert_eq!(unsaid(table, "sub autoopen\nshell"), None, "said");
        assert_eq!(unsaid(table, "sub main\nshell"), None, "one may be left over");
        let entry =
            |name: &str| [&le16(0x400 + name.len())[..], name.as_bytes(), b"ab\x10\0"].concat();
        let words = ["Embolden", "Selection", "Font", "Bold", "wdToggle", "BoldBi"];
        let table: Vec<u8> = words.iter().flat_map(|word| entry(word)).collect();
        assert_eq!(unsaid(&table, "sub hello").map(|names| names.len()), Some(6));
        assert_eq!(unsaid(&table, "sub embolden\nselection.font.bold"), None, "most are said");
    }
}
