//! Pictures of scanners and fax machines as files that picture programs open.
//!
//! In: the octets of a stream whose last filter is `CCITTFaxDecode` or `JBIG2Decode` (ISO 32000-2
//! §7.4.6, §7.4.7), and its parameters. Out: a TIFF file (TIFF 6.0, sections 3, 10 and 11) around the
//! octets, or a JBIG2 file (ITU-T T.88, annex D.4): nothing is decoded.

use super::object::{Dict, Value};

/// A TIFF file of one strip.
pub(super) fn tiff(data: &[u8], parameters: &Dict, (width, height): (u32, u32)) -> Vec<u8> {
    let number = |key| parameters.get(key).and_then(Value::integer);
    let is_set = |key| parameters.get(key) == Some(&Value::Bool(true));
    let group = number(b"K").unwrap_or(0);
    let columns = number(b"Columns").and_then(|columns| u32::try_from(columns).ok());
    let (compression, options) = match group {
        ..0 => (4, (293, 0)),
        0 => (3, (292, 0)),
        _ => (3, (292, 1)),
    };
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let entries = [
        (256, LONG, columns.unwrap_or(width)),
        (257, LONG, height),
        (258, SHORT, 1),
        (259, SHORT, compression),
        (262, SHORT, u32::from(is_set(b"BlackIs1"))),
        (273, LONG, 134),
        (277, SHORT, 1),
        (278, LONG, height),
        (279, LONG, length),
        (options.0, LONG, options.1),
    ];
    let mut tiff = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, value) in entries {
        let tag: u16 = tag;
        tiff.extend(tag.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(1_u32.to_le_bytes());
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 4]);
    tiff.extend_from_slice(data);
    tiff
}

/// A JBIG2 file: segments in a row, of as many pages as there are.
pub(super) fn jbig2(shared: &[u8], data: &[u8]) -> Vec<u8> {
    [b"\x97JB2\r\n\x1a\n\x03", shared, data].concat()
}
