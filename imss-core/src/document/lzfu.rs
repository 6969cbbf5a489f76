//! Compressed RTF as Outlook stores bodies (MS-OXRTFCP §2.2): LZFu and the uncompressed form.
//!
//! In: a `PidTagRtfCompressed` property and a bound. Out: RTF. Broken or truncated input gives what
//! there is before the defect; the size and checksum that the header claims are not trusted.

use crate::archive::le::u32_at;

/// What every dictionary starts with (MS-OXRTFCP §2.1.2.1).
const START: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \
\\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\
\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
const DICTIONARY: usize = 4096;
const HEADER: usize = 16;
const COMPRESSED: u32 = 0x7546_5a4c;
const PLAIN: u32 = 0x414c_454d;

/// Why there is not everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// What was read before the defect.
    pub(crate) partial: Vec<u8>,
    /// What was seen.
    pub(crate) detail: &'static str,
}

/// Decompresses `input` to at most `max` octets.
///
/// # Errors
///
/// [`Broken`] if the header is unknown, the data ends before its end mark, or `max` is reached.
pub(crate) fn decompress(input: &[u8], max: usize) -> Result<Vec<u8>, Broken> {
    let broken = |partial, detail| Err(Broken { partial, detail });
    let Some(body) = input.get(HEADER..) else {
        return broken(Vec::new(), "compressed RTF without a header");
    };
    match u32_at(input, 8) {
        Some(PLAIN) if body.len() <= max => return Ok(body.to_vec()),
        Some(PLAIN) => {
            let partial = body.get(..max).unwrap_or_default().to_vec();
            return broken(partial, "compressed RTF is too large");
        }
        Some(COMPRESSED) => {}
        _ => return broken(Vec::new(), "unknown compression of RTF"),
    }
    let mut out = Vec::new();
    match expand(body, max, &mut out) {
        Ok(()) => Ok(out),
        Err(detail) => broken(out, detail),
    }
}

fn expand(body: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    const CUT: &str = "compressed RTF ends too early";
    let mut dictionary = [b' '; DICTIONARY];
    for (place, octet) in dictionary.iter_mut().zip(START) {
        *place = *octet;
    }
    let mut write = START.len();
    let mut input = body.iter().copied();
    loop {
        let control = input.next().ok_or(CUT)?;
        for bit in 0..8 {
            if control >> bit & 1 == 0 {
                put(&mut dictionary, &mut write, input.next().ok_or(CUT)?, out);
            } else {
                let high = usize::from(input.next().ok_or(CUT)?);
                let low = usize::from(input.next().ok_or(CUT)?);
                let offset = high << 4 | low >> 4;
                if offset == write {
                    return Ok(());
                }
                for step in 0..(low & 0xf).saturating_add(2) {
                    let from = offset.wrapping_add(step) % DICTIONARY;
                    let octet = dictionary.get(from).copied().unwrap_or_default();
                    put(&mut dictionary, &mut write, octet, out);
                }
            }
            if out.len() > max {
                out.truncate(max);
                return Err("compressed RTF is too large");
            }
        }
    }
}

fn put(dictionary: &mut [u8; DICTIONARY], write: &mut usize, octet: u8, out: &mut Vec<u8>) {
    out.push(octet);
    if let Some(place) = dictionary.get_mut(*write) {
        *place = octet;
    }
    *write = write.wrapping_add(1) % DICTIONARY;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of MS-OXRTFCP §3.1 and §3.2.
    const SIMPLE: &[u8] = &[
        0x2d, 0, 0, 0, 0x2b, 0, 0, 0, b'L', b'Z', b'F', b'u', 0xf1, 0xc5, 0xc7, 0xa7, 0x03, 0,
        0x0a, 0, 0x72, 0x63, 0x70, 0x67, 0x31, 0x32, 0x35, 0x42, 0x32, 0x0a, 0xf3, 0x20, 0x68,
        0x65, 0x6c, 0x09, 0, 0x20, 0x62, 0x77, 0x05, 0xb0, 0x6c, 0x64, 0x7d, 0x0a, 0x80, 0x0f,
        0xa0,
    ];
    const CROSSING: &[u8] = &[
        0x1a, 0, 0, 0, 0x1c, 0, 0, 0, b'L', b'Z', b'F', b'u', 0xe2, 0xd4, 0x4b, 0x51, 0x41, 0, 4,
        0x20, 0x57, 0x58, 0x59, 0x5a, 0x0d, 0x6e, 0x7d, 1, 0x0e, 0xb0,
    ];

    #[test]
    fn examples_of_the_specification() {
        let text = b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n".to_vec();
        assert_eq!(decompress(SIMPLE, 100), Ok(text));
        assert_eq!(decompress(CROSSING, 100), Ok(b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}".to_vec()));
    }

    #[test]
    fn defects_leave_what_was_read() {
        let partial = |input: &[u8], max| decompress(input, max).map_err(|broken| broken.partial);
        assert_eq!(partial(&SIMPLE[..22], 100), Err(b"{\\rtf1\\ansi\\ansic".to_vec()));
        assert_eq!(partial(SIMPLE, 5), Err(b"{\\rtf".to_vec()));
        assert_eq!(partial(b"short", 5), Err(Vec::new()));
        assert_eq!(partial(&[0; 20], 5), Err(Vec::new()));
        let plain = [&[9, 0, 0, 0, 5, 0, 0, 0][..], b"MELA", &[0; 4], b"{\\rtf"].concat();
        assert_eq!(partial(&plain, 5), Ok(b"{\\rtf".to_vec()));
    }
}
