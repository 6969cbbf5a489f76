use super::super::testing::unpack;
use super::*;
use crate::limits::Limits;

fn put(image: &mut [u8], at: usize, octets: &[u8]) {
    image[at..at + octets.len()].copy_from_slice(octets);
}

fn record(sector: u32, size: u32, flags: u8, id: &[u8], system_use: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 33];
    put(&mut out, 2, &sector.to_le_bytes());
    put(&mut out, 10, &size.to_le_bytes());
    out[25] = flags;
    out[32] = u8::try_from(id.len()).unwrap();
    out.extend(id);
    if id.len().is_multiple_of(2) {
        out.push(0);
    }
    out.extend(system_use);
    out.resize(out.len().next_multiple_of(2), 0);
    out[0] = u8::try_from(out.len()).unwrap();
    out
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A primary volume with its root at sector 20, a Joliet volume with its root at sector 21.
fn image(primary: &[Vec<u8>], joliet: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; 30 * SECTOR];
    for (number, kind, root) in [(0_usize, 1_u8, 20_u32), (1, 2, 21), (2, 255, 0)] {
        let at = DESCRIPTORS + number * SECTOR;
        image[at] = kind;
        put(&mut image, at + 1, b"CD001\x01");
        if kind == 2 {
            put(&mut image, at + 88, b"%/E");
        }
        put(&mut image, at + 128, &2_048_u16.to_le_bytes());
        put(&mut image, at + 156, &record(root, 2_048, 2, &[0], b""));
    }
    put(&mut image, 20 * SECTOR, &primary.concat());
    put(&mut image, 21 * SECTOR, &joliet.concat());
    put(&mut image, 25 * SECTOR, b"MZ-program");
    put(&mut image, 26 * SECTOR, b"second");
    image
}

#[test]
fn both_volumes_are_read() {
    let dots =
        [record(20, 2_048, 2, &[0], b"SP\x07\x01\xbe\xef\0"), record(20, 2_048, 2, &[1], b"")];
    let primary =
        [dots.to_vec(), vec![record(25, 10, 0, b"INVOICE_.EXE;1", b"NM\x10\x01\0invoice.exe")]]
            .concat();
    let joliet = [vec![
        record(25, 10, 0, &wide("請求書.exe"), b""),
        record(26, 6, 0, &wide("only here.js"), b""),
    ]]
    .concat();
    let found = unpack(&Iso, image(&primary, &joliet), &Limits::small());
    assert_eq!(found.texts(), ["invoice.exe:MZ-program", "only here.js:second"]);
    assert_eq!(found.members[0].names, ["invoice.exe", "INVOICE_.EXE", "請求書.exe"]);
    assert_eq!(found.result, Ok(()));
}

#[test]
fn what_is_hostile_ends() {
    let cases: [(&str, Vec<Vec<u8>>, usize, bool); 5] = [
        ("a folder in itself", vec![record(20, 2_048, 2, b"A", b"")], 0, true),
        ("a file beyond the end", vec![record(9_000, 10, 0, b"A", b"")], 1, true),
        ("a folder beyond the end", vec![record(9_000, 10, 2, b"A", b"")], 0, false),
        (
            "several extents",
            vec![record(25, 2, 0x80, b"A", b""), record(26, 6, 0, b"A", b"")],
            1,
            true,
        ),
        ("a record that is cut", vec![vec![40, 0, 0]], 0, true),
    ];
    for (name, primary, count, is_whole) in cases {
        let found = unpack(&Iso, image(&primary, &[]), &Limits::small());
        assert_eq!(found.members.len(), count, "{name}");
        assert_eq!(found.result.is_ok(), is_whole, "{name}");
        if name == "several extents" {
            assert_eq!(found.texts(), ["A:MZsecond"]);
        }
    }
}

/// A descriptor tag with its checksum.
fn tag(image: &mut [u8], at: usize, id: u16) {
    put(image, at, &id.to_le_bytes());
    let sum = image[at..at + 16].iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet));
    image[at + 4] = sum;
}

fn entry(image: &mut [u8], at: usize, kind: u8, data: &[u8]) {
    image[at + 27] = kind;
    put(image, at + 34, &3_u16.to_le_bytes());
    put(image, at + 56, &(data.len() as u64).to_le_bytes());
    put(image, at + 172, &u32::try_from(data.len()).unwrap().to_le_bytes());
    put(image, at + 176, data);
    tag(image, at, 261);
}

#[test]
fn udf_alone_is_read() {
    let mut image = vec![0; 300 * SECTOR];
    put(&mut image, DESCRIPTORS + 1, b"BEA01");
    put(&mut image, DESCRIPTORS + SECTOR + 1, b"NSR02");
    put(&mut image, 256 * SECTOR + 16, &[0, 128, 0, 0, 32, 0, 0, 0]);
    tag(&mut image, 256 * SECTOR, 2);
    put(&mut image, 32 * SECTOR + 188, &40_u32.to_le_bytes());
    tag(&mut image, 32 * SECTOR, 5);
    put(&mut image, 33 * SECTOR + 212, &2_048_u32.to_le_bytes());
    put(&mut image, 33 * SECTOR + 268, &1_u32.to_le_bytes());
    put(&mut image, 33 * SECTOR + 440, &[1, 6, 1, 0, 0, 0]);
    tag(&mut image, 33 * SECTOR, 6);
    tag(&mut image, 34 * SECTOR, 8);
    put(&mut image, 40 * SECTOR + 404, &1_u32.to_le_bytes());
    tag(&mut image, 40 * SECTOR, 256);
    let mut folder = vec![0; 48];
    folder[19] = 7;
    put(&mut folder, 24, &2_u32.to_le_bytes());
    put(&mut folder, 38, b"\x08run.js");
    tag(&mut folder, 0, 257);
    entry(&mut image, 41 * SECTOR, 4, &folder);
    entry(&mut image, 42 * SECTOR, 5, b"eval(x)");
    let found = unpack(&Iso, image, &Limits::small());
    assert_eq!(found.texts(), ["run.js:eval(x)"]);
    assert_eq!(found.result, Ok(()));
}
