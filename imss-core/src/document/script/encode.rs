//! Encoded scripts of the Windows Script Host (`.jse`, `.vbe`; the published table of
//! `JScript.Encode` and `VBScript.Encode`).
//!
//! In: text with a block between `#@~^` and `^#~@`. Out: its source. A block without an end goes to
//! the end of the text; lengths and checksums are not believed.

use std::sync::LazyLock;

use memchr::memmem;

/// Between the mark and the code: a length and `==`.
const HEAD: usize = 8;
/// Between the code and the end mark: a checksum and `==`.
const TAIL: usize = 8;

/// Which of three letters, by position.
const ORDER: &[u8; 64] = b"0120121221210212021200122102122100212120200120210212001220012021";

/// Decodes the first block at or after `from`; the source, and where the block ends.
pub(crate) fn decode(text: &[u8], from: usize) -> Option<(Vec<u8>, usize)> {
    let start = from.checked_add(memmem::find(text.get(from..)?, b"#@~^")?)?.checked_add(4)?;
    let body = text.get(start..)?;
    let (length, after) = match memmem::find(body, b"^#~@") {
        Some(length) => (length, length.checked_add(4)?),
        None => (body.len(), body.len()),
    };
    let block = body.get(..length)?;
    let block = if block.get(6..8) == Some(b"==") { block.get(HEAD..)? } else { block };
    let ends = block.len().checked_sub(2).and_then(|at| block.get(at..)) == Some(b"==");
    let kept = if ends { block.len().checked_sub(TAIL)? } else { block.len() };
    Some((letters(block.get(..kept)?), start.checked_add(after)?))
}

fn letters(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    let mut index = 0_usize;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let (octet, escaped) = match (first, tail.first()) {
            (b'@', Some(b'&')) => (b'\n', true),
            (b'@', Some(b'#')) => (b'\r', true),
            (b'@', Some(b'*')) => (b'>', true),
            (b'@', Some(b'!')) => (b'<', true),
            (b'@', Some(b'$')) => (b'@', true),
            _ => (*first, false),
        };
        if escaped {
            rest = tail.get(1..).unwrap_or_default();
        }
        let plain = (!escaped).then(|| letter(octet, index)).flatten();
        out.push(plain.unwrap_or(octet));
        if octet < 128 {
            index = index.saturating_add(1);
        }
    }
    out
}

/// What an octet stands for; `None` if it is itself.
fn letter(octet: u8, index: usize) -> Option<u8> {
    let is_coded = octet == 9 || (32..128).contains(&octet) && !matches!(octet, b'<' | b'>' | b'@');
    let row = usize::from(octet).checked_sub(9).filter(|_| is_coded)?;
    let column = ORDER.get(index % ORDER.len())?.checked_sub(b'0')?;
    TABLE.get(row)?.get(usize::from(column)).copied()
}

/// Three letters for each octet from 9 to 127.
static TABLE: LazyLock<Vec<[u8; 3]>> = LazyLock::new(|| {
    let row = |line: &str| {
        let code = u32::from_str_radix(line, 16).ok()?;
        let [_, first, second, third] = code.to_be_bytes();
        Some([first, second, third])
    };
    include_str!("encode.txt").lines().filter_map(row).collect()
});

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Encodes, for tests.
    pub(crate) fn encode(source: &str) -> Vec<u8> {
        let mut out = b"#@~^AAAAAA==".to_vec();
        for (index, octet) in source.bytes().enumerate() {
            match octet {
                b'\n' => out.extend(b"@&"),
                b'\r' => out.extend(b"@#"),
                b'>' => out.extend(b"@*"),
                b'<' => out.extend(b"@!"),
                b'@' => out.extend(b"@$"),
                _ => {
                    let code = (9..128).find(|code| letter(*code, index) == Some(octet));
                    out.push(code.unwrap_or(octet));
                }
            }
        }
        out.extend(b"AAAAAA==^#~@");
        out
    }

    /// The table itself was held against ClamAV once: `sigtool --html-normalise` decodes what
    /// [`encode`] makes of every printable letter at every position to the same letters, but in lower case and with
    /// escapes undone.
    #[test]
    fn what_was_encoded_is_decoded() {
        let source = "MsgBox \"Hello, <world> @ home\"\r\nWScript.Echo 1 > 0";
        assert_eq!(decode(&encode(source), 0).unwrap().0, source.as_bytes());
    }

    #[test]
    fn blocks() {
        let block = encode("a = 1");
        let cases = [
            ("text before", [b"x ".as_slice(), &block].concat(), Some("a = 1")),
            ("no end", block.get(..17).unwrap().to_vec(), Some("a = 1")),
            ("no block", b"a = 1".to_vec(), None),
            ("only the mark", b"#@~^".to_vec(), Some("")),
        ];
        for (name, text, expected) in cases {
            let found = decode(&text, 0).map(|found| String::from_utf8(found.0).unwrap());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
