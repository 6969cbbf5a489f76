//! Files of binary formats, made with just as much of something as a test asks for.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

/// What looks like the first header of an LHA archive, as far as that costs nothing.
pub(crate) fn lha_decoy() -> Vec<u8> {
    [b"\x20\x01-lh5-".as_slice(), &[0xff; 13], &[0], &[1; 8]].concat()
}

/// What looks like the main header of an ARJ archive, but for its checksum.
pub(crate) fn arj_decoy() -> Vec<u8> {
    [b"\x60\xea\x20\0".as_slice(), &[1; 6], &[2], &[1; 40]].concat()
}

/// What looks like a cabinet of more folders than there are octets.
pub(crate) fn cab_decoy() -> Vec<u8> {
    [b"MSCF\0\0\0\0".as_slice(), &[1; 16], &[3, 1, 0xff, 0xff, 0, 0, 0, 0], &[1; 8]].concat()
}

/// A cpio archive, ended, and places behind it where an entry may start.
pub(crate) fn cpio(places: usize) -> Vec<u8> {
    let fields = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0].map(|field: u32| format!("{field:08X}"));
    format!("070701{}TRAILER!!!\0\0\0\0{}", fields.concat(), "0707 ".repeat(places)).into_bytes()
}

/// A tar archive whose extended header has so many octets.
pub(crate) fn tar(octets: usize) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..5].copy_from_slice(b"a.txt");
    header[124..135].copy_from_slice(format!("{octets:011o}").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'x';
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    [&header[..], &vec![b' '; octets.next_multiple_of(512)], &[0; 1024]].concat()
}

/// A OneNote section with so many names of files.
pub(crate) fn notebook(names: usize) -> Vec<u8> {
    let mut file = b"\xe4R\x5c{\x8c\xd8\xa7M\xae\xb1Sx\xd0)\x96\xd3".to_vec();
    file.extend([0xff; 48]);
    for number in 0..names {
        file.extend(format!("file{number}.exe\0").encode_utf16().flat_map(u16::to_le_bytes));
    }
    file
}

/// A workbook with a hyperlink that has so many monikers.
pub(crate) fn hyperlinks(monikers: usize) -> Vec<u8> {
    let moniker = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    workbook(&[(0x1b8, [vec![0; 32], moniker.repeat(monikers)].concat())])
}

/// A workbook with a formula that joins so many texts.
pub(crate) fn formula(texts: usize) -> Vec<u8> {
    let text = [vec![0x17, 255, 0], vec![b'a'; 255]].concat();
    let tokens = [text.clone(), [text, vec![0x08]].concat().repeat(texts - 1)].concat();
    let size = u16::try_from(tokens.len()).expect("a formula fits its record");
    workbook(&[(0x06, [vec![0; 20], size.to_le_bytes().to_vec(), tokens].concat())])
}

fn workbook(records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let begin = [0, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let all = [&[(0x809, begin)], records, &[(0x0a, Vec::new())]].concat();
    let written = all.iter().flat_map(|(id, body)| {
        let size = u16::try_from(body.len()).expect("a record is short");
        [&id.to_le_bytes(), &size.to_le_bytes(), body.as_slice()].concat()
    });
    compound(&[("Workbook", written.collect())])
}

/// An OLE file whose title has so many octets.
pub(crate) fn title(octets: u32) -> Vec<u8> {
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let mut stream: Vec<u8> = numbers(&[0xfffe, 0, 0, 0, 0, 0, 1, 0xf29f_85e0, 0, 0, 0, 48]);
    let section: Vec<u8> = numbers(&[octets + 24, 1, 2, 16, 30, octets]);
    stream.extend(section);
    stream.extend(vec![b't'; octets as usize]);
    compound(&[("\u{5}SummaryInformation", stream)])
}

/// An Outlook item whose text has so many octets.
pub(crate) fn item(octets: usize) -> Vec<u8> {
    let text = b"a\0".repeat(octets / 2);
    compound(&[("__properties_version1.0", vec![0; 4096]), ("__substg1.0_1000001F", text)])
}

/// An OLE file of version 4 (MS-CFB). Streams are filled up with zeros to a sector.
fn compound(streams: &[(&str, Vec<u8>)]) -> Vec<u8> {
    const SECTOR: usize = 4096;
    const END: u32 = 0xffff_fffe;
    let (mut sectors, mut table, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |octets: &[u8]| {
        let (start, count) = (table.len(), octets.len().div_ceil(SECTOR));
        table.extend((1..=count).map(|n| if n == count { END } else { number(start + n) }));
        sectors.extend_from_slice(octets);
        sectors.resize(table.len() * SECTOR, 0);
        (number(start), number(count * SECTOR))
    };
    for (_, octets) in streams {
        places.push(add(octets));
    }
    let mut directory = entry("Root Entry", 5, (u32::MAX, 1), (END, 0));
    for (place, ((name, _), own)) in streams.iter().zip(&places).enumerate() {
        let next = if place + 1 == streams.len() { u32::MAX } else { number(place + 2) };
        directory.extend(entry(name, 2, (next, u32::MAX), *own));
    }
    let (directory_start, _) = add(&directory);
    // The table itself: one entry for each sector, those of the table among them.
    let count = (table.len() + 8).div_ceil(SECTOR / 4);
    let first = table.len();
    table.extend(vec![0xffff_fffd; count]);
    sectors.extend(table.iter().flat_map(|n: &u32| n.to_le_bytes()));
    sectors.resize((first + count) * SECTOR, 0xff);
    let mut header = vec![0_u8; SECTOR];
    header[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    header[24..34].copy_from_slice(&[0x3e, 0, 4, 0, 0xfe, 0xff, 12, 0, 6, 0]);
    let mut put = |at: usize, n: u32| header[at..at + 4].copy_from_slice(&n.to_le_bytes());
    put(40, 1);
    put(44, number(count));
    put(48, directory_start);
    put(56, 4096);
    put(60, END);
    put(68, END);
    for place in 0..109 {
        let sector = if place < count { number(first + place) } else { u32::MAX };
        put(76 + 4 * place, sector);
    }
    [header, sectors].concat()
}

fn entry(name: &str, kind: u8, (next, child): (u32, u32), (start, size): (u32, u32)) -> Vec<u8> {
    let mut entry = vec![0_u8; 128];
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    entry[..units.len()].copy_from_slice(&units);
    let length = u16::try_from(units.len() + 2).expect("a name is short");
    entry[64..66].copy_from_slice(&length.to_le_bytes());
    entry[66..68].copy_from_slice(&[kind, 1]);
    for (at, n) in [(68, u32::MAX), (72, next), (76, child), (116, start), (120, size)] {
        entry[at..at + 4].copy_from_slice(&n.to_le_bytes());
    }
    entry
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("test data is small")
}
