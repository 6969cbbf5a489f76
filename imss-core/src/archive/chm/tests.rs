use super::super::testing::unpack;
use super::*;
use crate::limits::Limits;

fn encint(value: usize) -> Vec<u8> {
    let (high, low) = (u8::try_from(value >> 7).unwrap(), u8::try_from(value & 0x7f).unwrap());
    if high == 0 { vec![low] } else { vec![high | 0x80, low] }
}

/// A help file whose section 0 holds `files`, and whose compressed section holds `packed`.
fn help(files: &[(&[u8], Vec<u8>)], packed: &[(&[u8], usize, usize)]) -> Vec<u8> {
    let (mut listing, mut data) = (Vec::new(), Vec::new());
    for (name, content) in files {
        listing.extend([encint(name.len()), name.to_vec(), vec![0]].concat());
        listing.extend([encint(data.len()), encint(content.len())].concat());
        data.extend(content);
    }
    for (name, offset, size) in packed {
        listing.extend([encint(name.len()), name.to_vec(), vec![1]].concat());
        listing.extend([encint(*offset), encint(*size)].concat());
    }
    let free = u32::try_from(1_024 - 20 - listing.len()).unwrap();
    let mut chunk = [b"PMGL".as_slice(), &free.to_le_bytes(), &[0; 12], &listing].concat();
    chunk.resize(1_024, 0);
    let mut head = b"ITSF\x03\0\0\0\x60\0\0\0".to_vec();
    head.resize(0x60, 0);
    head[0x48] = 0x60;
    head[0x50..0x58].copy_from_slice(&(0x54_u64 + 1_024).to_le_bytes());
    head[0x58..0x60].copy_from_slice(&(0x60_u64 + 0x54 + 1_024).to_le_bytes());
    let mut directory = b"ITSP\x01\0\0\0\x54\0\0\0\x0a\0\0\0\0\x04\0\0".to_vec();
    directory.resize(0x54, 0);
    [head, directory, chunk, data].concat()
}

fn packed() -> Vec<(&'static [u8], Vec<u8>)> {
    let control = b"\x06\0\0\0LZXC\x02\0\0\0\x02\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let mut resets = b"\x02\0\0\0\x01\0\0\0\x08\0\0\0\x28\0\0\0\x03\0\0\0\0\0\0\0".to_vec();
    resets.resize(0x28 + 8, 0);
    // One uncompressed block: `abc`.
    let block = b"\x00\x30\x30\x00\x01\0\0\0\x01\0\0\0\x01\0\0\0abc\0".to_vec();
    vec![(CONTENT, block), (CONTROL, control), (RESETS, resets)]
}

#[test]
fn both_sections_are_read() {
    let mut files = packed();
    files.push((b"/#SYSTEM", b"plain".to_vec()));
    files.push((b"/html/", Vec::new()));
    let content = help(&files, &[(b"/html/a.htm", 0, 2), (b"/html/b.js", 2, 1), (b"/c", 2, 9)]);
    let found = unpack(&Chm, content, &Limits::small());
    assert_eq!(found.texts(), ["#SYSTEM:plain", "html/a.htm:ab", "html/b.js:c", "c:c"]);
    assert!(found.members[3].missing.is_some());
    assert_eq!(found.result, Ok(()));
}

#[test]
fn what_cannot_be_decoded_is_missing() {
    let content = help(&[(b"/a", b"x".to_vec())], &[(b"/b.htm", 0, 5)]);
    let found = unpack(&Chm, content.clone(), &Limits::small());
    assert_eq!(found.texts(), ["a:x", "b.htm:"]);
    assert!(found.members[1].missing.is_some());
    assert!(unpack(&Chm, content[..90].to_vec(), &Limits::small()).result.is_err());
}
