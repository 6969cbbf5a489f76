use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::archive::testing::{Found, unpack};
use crate::limits::Limits;

fn read(content: Vec<u8>) -> Found {
    unpack(&Zip, content, &Limits::small())
}

fn written(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn le16(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap().to_le_bytes()
}

fn le32(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap().to_le_bytes()
}

/// A stored archive with local and central entries as given: name, content.
fn made(local: &[(&[u8], &[u8])], central: &[(&[u8], usize)], flags: u16) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut places = Vec::new();
    let fields = |content: &[u8]| {
        let size = le32(content.len());
        [&[0; 8], size.as_slice(), size.as_slice()].concat()
    };
    for (name, content) in local {
        places.push((archive.len(), *content));
        archive.extend(b"PK\x03\x04\x14\0");
        archive.extend(flags.to_le_bytes());
        archive.extend([0; 2]);
        archive.extend(fields(content));
        archive.extend(le16(name.len()));
        archive.extend([0; 2]);
        archive.extend(*name);
        archive.extend(*content);
    }
    let start = archive.len();
    for &(name, index) in central {
        let (place, content) = places[index];
        archive.extend(b"PK\x01\x02\x14\0\x14\0");
        archive.extend(flags.to_le_bytes());
        archive.extend([0; 2]);
        archive.extend(fields(content));
        archive.extend(le16(name.len()));
        archive.extend([0; 12]);
        archive.extend(le32(place));
        archive.extend(name);
    }
    let size = archive.len() - start;
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(le16(central.len()));
    archive.extend(le16(central.len()));
    archive.extend(le32(size));
    archive.extend(le32(start));
    archive.extend([0; 2]);
    archive
}

#[test]
fn methods_decode() {
    let text = b"the same text, the same text, the same text again".as_slice();
    let methods = [
        CompressionMethod::Stored,
        CompressionMethod::Deflated,
        CompressionMethod::Bzip2,
        CompressionMethod::Zstd,
        CompressionMethod::Xz,
        CompressionMethod::Ppmd,
    ];
    for method in methods {
        let found = read(written(method, &[("a.txt", text), ("b/c.txt", b"2"), ("b/", b"")]));
        assert_eq!(found.result, Ok(()), "{method:?}");
        assert!(found.anomalies.is_empty(), "{method:?}");
        assert_eq!(
            found.texts(),
            [format!("a.txt:{}", String::from_utf8_lossy(text)), "b/c.txt:2".to_owned()],
            "{method:?}"
        );
    }
}

#[test]
fn contradictions_give_every_reading() {
    let plain = made(&[(b"a", b"1")], &[(b"a", 0)], 0);
    let other = made(&[(b"b", b"2")], &[(b"b", 0)], 0);
    let hidden = made(&[(b"a", b"1"), (b"h.exe", b"MZ")], &[(b"a", 0)], 0);
    let renamed = made(&[(b"a.exe", b"1")], &[(b"a.txt", 0)], 0);
    let doubled = made(&[(b"a", b"1"), (b"a", b"2")], &[(b"a", 0), (b"a", 1)], 0);
    let nested = made(&[(b"in.zip", &other)], &[(b"in.zip", 0)], 0);
    let before = [vec![b'#'; 70], plain.clone()].concat();
    let after = [plain.clone(), vec![b'#'; 70]].concat();
    let contradictory = AnomalyKind::ContradictoryArchive;
    let trailing = AnomalyKind::TrailingData;
    let junk = format!(":{}", "#".repeat(70));
    let cases = [
        ("as it should be", plain.clone(), vec!["a:1".to_owned()], vec![]),
        ("an unlisted entry", hidden, vec!["a:1".into(), "h.exe:MZ".into()], vec![contradictory]),
        ("two names", renamed, vec!["a.txt:1".into()], vec![contradictory]),
        ("one name twice", doubled, vec!["a:1".into(), "a:2".into()], vec![]),
        (
            "two archives in a row",
            [plain.clone(), other.clone()].concat(),
            vec!["b:2".into(), "a:1".into()],
            vec![contradictory],
        ),
        ("octets before", before, vec!["a:1".into(), junk.clone()], vec![trailing]),
        (
            "in a document",
            [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[b'#'; 70], &plain, &other].concat(),
            vec!["b:2".into(), "a:1".into()],
            vec![],
        ),
        ("octets after", after, vec!["a:1".into(), junk], vec![trailing]),
    ];
    for (name, content, expected, anomalies) in cases {
        let found = read(content);
        assert_eq!(found.result, Ok(()), "{name}");
        assert_eq!(found.texts(), expected, "{name}");
        assert_eq!(found.anomalies, anomalies, "{name}");
    }
    let found = read(nested);
    assert_eq!(
        (found.members.len(), found.anomalies.len()),
        (1, 0),
        "a stored archive is a member"
    );
}

#[test]
fn both_names_are_kept() {
    let found = read(made(&[(b"a.exe", b"1")], &[(b"a.txt", 0)], 0));
    assert_eq!(found.members[0].names, ["a.txt", "a.exe"]);
    let found = read(made(&[(b"\x93\xfa", b"1")], &[(b"\x93\xfa", 0)], 0));
    assert_eq!(found.members[0].names, ["日", "ô·"]);
}

#[test]
fn streams_of_ole_files_are_not_the_file() {
    let ole = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 504]].concat();
    let archive = written(CompressionMethod::Stored, &[("a", b"1111")]);
    let cases = [
        ("at the end", [ole.clone(), archive.clone()].concat(), true),
        ("in a sector", [ole.clone(), archive.clone(), vec![0; 80]].concat(), false),
        ("in a sector of no OLE file", [vec![1; 512], archive, vec![0; 80]].concat(), true),
    ];
    for (name, content, expected) in cases {
        let content = Bytes::from(content);
        let detected = filetype::detect(&content);
        assert_eq!(Zip.recognises(&content, &detected), expected, "{name}");
    }
}

#[test]
fn encrypted_entries_are_listed() {
    let found = read(made(&[(b"a.exe", b"secret")], &[(b"a.exe", 0)], 1));
    assert!(found.members[0].is_encrypted());
    assert_eq!(found.texts(), ["a.exe:"]);
}

#[test]
fn cut_archives_give_what_is_there() {
    let whole = made(&[(b"a", b"1111"), (b"b", b"2222")], &[(b"a", 0), (b"b", 1)], 0);
    let directory = memchr::memmem::find(&whole, headers::CENTRAL).unwrap();
    let cases = [
        ("without the record", whole.len() - 22, vec!["a:1111", "b:2222"]),
        ("without the directory", directory, vec!["a:1111", "b:2222"]),
        ("inside an entry", directory - 2, vec!["a:1111", "b:22"]),
    ];
    for (name, cut, expected) in cases {
        let found = read(whole[..cut].to_vec());
        assert!(matches!(found.result, Err(UnpackError::Malformed { .. })), "{name}");
        assert_eq!(found.texts(), expected, "{name}");
    }
}

#[test]
fn bombs_end_at_limits() {
    let zeros = vec![0; 25 << 20];
    let single = written(CompressionMethod::Deflated, &[("zeros", &zeros)]);
    let found = unpack(&Zip, single, &Limits::default());
    assert_eq!(found.members[0].missing.as_ref().unwrap().detail, "ratio limit");
    let block = vec![b'x'; 60_000];
    let shared = vec![(b"s".as_slice(), 0); 450];
    let found = unpack(&Zip, made(&[(b"s", &block)], &shared, 0), &Limits::default());
    assert_eq!(found.result, Err(UnpackError::Limit(Limit::Ratio)));
    let many = vec![(b"s".as_slice(), 0); 101];
    let found = read(made(&[(b"s", b"1")], &many, 0));
    assert_eq!(found.result, Err(UnpackError::Limit(Limit::Entities)));
}

proptest::proptest! {
    /// Any damage to an archive ends, and members stay inside the budget.
    #[test]
    fn damage_is_survived(at in 0_usize..300, octet: u8, cut in 0_usize..300) {
        let mut content = written(CompressionMethod::Deflated, &[("a", b"aaaaaaaaaa"), ("b", b"b")]);
        let at = at % content.len();
        content[at] = octet;
        content.truncate(content.len() - cut % content.len());
        let found = read(content);
        let total: usize = found.members.iter().map(|member| member.content.len()).sum();
        proptest::prop_assert!(total as u64 <= Limits::small().max_total_bytes);
    }
}
