//! Content → body octets in a transfer encoding (RFC 2045 §6.7, §6.8).
//!
//! In: octets and the message's line end. Out: lines of at most 76 characters that decode to exactly
//! those octets.

/// Octets of a base64 line before encoding.
const BASE64_LINE: usize = 57;
/// Characters of a quoted-printable line, without the soft line break.
const QUOTED_LINE: usize = 75;

/// As base64, without a line end after the last line.
pub(super) fn base64(octets: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = String::with_capacity(octets.len().saturating_mul(7) / 5);
    for line in octets.chunks(BASE64_LINE) {
        if !out.is_empty() {
            out.push_str(line_end);
        }
        base64_simd::STANDARD.encode_append(line, &mut out);
    }
    out.into_bytes()
}

/// As quoted-printable. Only `line_end` stays a line end: others are content and are escaped.
pub(super) fn quoted_printable(octets: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len().saturating_mul(5) / 4);
    let mut column = 0_usize;
    let mut rest = octets;
    while let Some((&octet, tail)) = rest.split_first() {
        if let Some(next) = rest.strip_prefix(line_end.as_bytes()) {
            out.extend_from_slice(line_end.as_bytes());
            (column, rest) = (0, next);
            continue;
        }
        let ends_line = tail.is_empty() || tail.starts_with(line_end.as_bytes());
        let plain = match octet {
            b' ' | b'\t' => !ends_line,
            // A line of one dot ends a message on the wire, "From " may be changed in a mailbox, and
            // hyphens may start a delimiter.
            b'.' | b'F' | b'-' => column > 0,
            b'=' => false,
            _ => octet.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        if column.saturating_add(width) > QUOTED_LINE {
            out.push(b'=');
            out.extend_from_slice(line_end.as_bytes());
            column = 0;
        }
        if plain {
            out.push(octet);
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        column = column.saturating_add(width);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::transfer as decode;

    #[test]
    fn octets_survive() {
        let all: Vec<u8> = (0..=255).cycle().take(2_000).collect();
        let cases: [&[u8]; 6] =
            [b"", b"a", b"a \r\n.\r\nFrom b\t", b"\n\r\r\n", "日本語\r\n".as_bytes(), &all];
        for content in cases {
            for line_end in ["\r\n", "\n"] {
                let body = quoted_printable(content, line_end);
                assert_eq!(decode::quoted_printable(&body), (content.to_vec(), false));
                assert!(body.split(|octet| *octet == b'\n').all(|line| line.len() <= 77));
                let body = base64(content, line_end);
                assert_eq!(decode::base64(&body), (content.to_vec(), false));
            }
        }
    }
}
