//! Strings of user forms (MS-OFORMS), where macros hide what they use: captions, tags, values.
//!
//! In: the `f`, `o` and `VBFrame` streams of a form. Out: runs of text in them. The formats of all
//! controls are not read: strings lie there as they are, one or two octets a character.

/// Octets of streams that are searched per project.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// The shortest run worth reporting.
const SHORTEST: usize = 4;

/// The runs of printable text in `stream`, a line each.
pub(super) fn strings(stream: &[u8]) -> String {
    let mut lines = String::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let wide = run(rest, 2);
        let narrow = run(rest, 1);
        let (taken, step) = if wide >= narrow { (wide, 2) } else { (narrow, 1) };
        if taken >= SHORTEST {
            let octets = rest.get(..taken.saturating_mul(step)).unwrap_or_default();
            lines.extend(octets.iter().step_by(step).map(|octet| char::from(*octet)));
            lines.push('\n');
            rest = rest.get(octets.len()..).unwrap_or_default();
        } else {
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        }
    }
    lines
}

/// Characters of `width` octets that the text at the start has.
fn run(octets: &[u8], width: usize) -> usize {
    let is_text = |unit: &[u8]| match unit {
        [octet] | [octet, 0] => {
            (0x20..0x7f).contains(octet) || matches!(octet, b'\t' | b'\r' | b'\n')
        }
        _ => false,
    };
    octets.chunks_exact(width).take_while(|unit| is_text(unit)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found() {
        let stream = b"\x01\x02powershell -e\0\0\x80ab\x05h\0t\0t\0p\0:\0\x07\xff";
        assert_eq!(strings(stream), "powershell -e\nhttp:\n");
        assert_eq!(strings(b""), "");
    }
}
