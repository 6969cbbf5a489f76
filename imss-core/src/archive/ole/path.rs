//! A path inside a compound file → the spellings to show.
//!
//! In: a path as stored. Out: that path, one without control characters, and the name that Windows
//! Installer packs two letters into one character (its streams start at U+3800).

/// The letters that Windows Installer packs.
const PACKED: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";

/// The path as stored, then the others where they differ.
pub(super) fn spellings(path: &str) -> Vec<String> {
    let mut names = vec![path.to_owned()];
    if path.chars().any(char::is_control) {
        names.push(shown(path));
    }
    if path.chars().any(is_packed) {
        names.push(unpacked(path));
    }
    names
}

/// Control characters as numbers in brackets.
fn shown(path: &str) -> String {
    let mut shown = String::with_capacity(path.len().saturating_add(4));
    for c in path.chars() {
        if c.is_control() {
            shown.push_str(&format!("[{}]", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_packed(c: char) -> bool {
    ('\u{3800}'..='\u{4840}').contains(&c)
}

fn unpacked(path: &str) -> String {
    let letter = |index: u32| {
        let octet = usize::try_from(index).ok().and_then(|index| PACKED.get(index)).copied();
        octet.map_or(char::REPLACEMENT_CHARACTER, char::from)
    };
    let mut unpacked = String::with_capacity(path.len());
    for c in path.chars() {
        match u32::from(c) {
            code @ 0x3800..=0x47ff => {
                let pair = code.saturating_sub(0x3800);
                unpacked.extend([letter(pair & 0x3f), letter(pair >> 6)]);
            }
            code @ 0x4800..=0x483f => unpacked.push(letter(code.saturating_sub(0x4800))),
            0x4840 => unpacked.push('!'),
            _ => unpacked.push(c),
        }
    }
    unpacked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled() {
        let cases: [(&str, &str, &[&str]); 3] = [
            ("plain", "Macros/VBA/dir", &["Macros/VBA/dir"]),
            ("control", "a/\u{1}Ole10Native", &["a/\u{1}Ole10Native", "a/[1]Ole10Native"]),
            // 0x4840 marks a table; 0x3f3f is 28 << 6 | 63: `_`, then `S`.
            ("installer", "\u{4840}\u{3f3f}", &["\u{4840}\u{3f3f}", "!_S"]),
        ];
        for (name, path, expected) in cases {
            assert_eq!(spellings(path), expected, "{name}");
        }
    }
}
