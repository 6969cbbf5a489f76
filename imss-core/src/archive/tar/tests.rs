use tar::{Builder, EntryType, Header as Written};

use super::*;
use crate::archive::testing::unpack;
use crate::limits::Limits;

fn written(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

fn put(builder: &mut Builder<Vec<u8>>, mut header: Written, name: &str, content: &[u8]) {
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, name, content).unwrap();
}

#[test]
fn dialects() {
    let long = format!("{}/{}.exe", "d".repeat(90), "f".repeat(90));
    let longer = format!("{}.exe", "n".repeat(300));
    let old = written(|b| put(b, Written::new_old(), "old.txt", b"1"));
    let ustar = written(|b| put(b, Written::new_ustar(), &long, b"22"));
    let gnu = written(|b| put(b, Written::new_gnu(), &longer, b"333"));
    let pax = written(|b| {
        b.append_pax_extensions([("path", "日本.exe".as_bytes())]).unwrap();
        put(b, Written::new_ustar(), "short", b"4444");
    });
    let link = written(|b| {
        let mut header = Written::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        b.append_link(&mut header, "link", "/etc/passwd").unwrap();
    });
    let cases = [
        ("V7", old, vec!["old.txt".to_owned()], "1"),
        ("ustar with prefix", ustar, vec![long], "22"),
        ("GNU long name", gnu, vec![longer.clone(), longer[..100].to_owned()], "333"),
        (
            "pax path",
            pax,
            vec!["日本.exe".into(), "譌･譛ｬ.exe".into(), "µùÑµ£¼.exe".into(), "short".into()],
            "4444",
        ),
        ("a link", link, vec!["link".into(), "/etc/passwd".into()], ""),
    ];
    for (name, content, names, text) in cases {
        assert!(Tar.recognises(&content.clone().into(), &crate::filetype::detect(b"")), "{name}");
        let found = unpack(&Tar, content, &Limits::small());
        assert_eq!(found.result, Ok(()), "{name}");
        assert_eq!(found.members.len(), 1, "{name}");
        assert_eq!(found.members[0].names, names, "{name}");
        assert_eq!(found.members[0].content, text, "{name}");
        assert!(found.anomalies.is_empty(), "{name}");
    }
}

#[test]
fn damage() {
    let one = written(|b| put(b, Written::new_gnu(), "one", b"1"));
    let two = written(|b| put(b, Written::new_gnu(), "two", b"2"));
    let noise = vec![b'x'; BLOCK];
    let cases = [
        ("entries after the end", [one.clone(), two.clone()].concat(), 2, 1, true),
        ("noise between entries", [&one[..1024], &noise, &two].concat(), 2, 0, false),
        ("noise after the end", [one.clone(), noise].concat(), 1, 1, true),
        ("a cut content", one[..512].to_vec(), 1, 0, false),
    ];
    for (name, content, members, anomalies, is_ok) in cases {
        let found = unpack(&Tar, content, &Limits::small());
        assert_eq!(found.members.len(), members, "{name}");
        assert_eq!(found.anomalies.len(), anomalies, "{name}");
        assert_eq!(found.result.is_ok(), is_ok, "{name}");
    }
}

#[test]
fn a_damaged_first_header_hides_nothing() {
    let one = written(|b| put(b, Written::new_gnu(), "one", b"1"));
    let two = written(|b| put(b, Written::new_gnu(), "two", b"2"));
    let mut wrong_sum = [&one[..1024], &two].concat();
    wrong_sum[0] = 0xff;
    let cases = [
        ("a wrong checksum", wrong_sum),
        ("a block of noise", [&[0xff; BLOCK], &two[..]].concat()),
        ("a block of zeros", [&[0; BLOCK], &two[..]].concat()),
    ];
    for (name, content) in cases {
        let detected = crate::filetype::detect(&content);
        assert_eq!(detected.extension, "tar", "{name}");
        assert!(Tar.recognises(&content.clone().into(), &detected), "{name}");
        let found = unpack(&Tar, content, &Limits::small());
        assert_eq!(found.texts(), ["two:2"], "{name}");
        assert!(found.result.is_err() || !found.anomalies.is_empty(), "{name}");
    }
}

#[test]
fn both_sizes_of_an_entry_are_read() {
    let hidden = written(|b| put(b, Written::new_gnu(), "hidden", b"2"));
    let content = written(|b| {
        b.append_pax_extensions([("size", b"1536".as_slice())]).unwrap();
        put(b, Written::new_ustar(), "outer", b"");
        b.get_mut().extend(&hidden[..1536]);
    });
    let found = unpack(&Tar, content, &Limits::small());
    assert_eq!(found.anomalies, [AnomalyKind::ContradictoryArchive]);
    let names: Vec<&str> = found.members.iter().map(|m| m.names[0].as_str()).collect();
    assert_eq!(names, ["outer", "hidden"]);
}

/// An entry of `kind` whose header holds `fields`, before `data`.
fn raw(kind: u8, name: &str, fields: &[(usize, &str)], data: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; BLOCK];
    let size = format!("{:011o}", data.len());
    let fields = [(0, name), (124, size.as_str())].into_iter().chain(fields.iter().copied());
    for (at, field) in fields {
        block[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar ");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&octet| u32::from(octet)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let padding = vec![0; data.len().next_multiple_of(BLOCK) - data.len()];
    [&block[..], data, &padding].concat()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let line = |(key, value): &(&str, &str)| {
        let rest = format!(" GNU.sparse.{key}={value}\n");
        let length = rest.len() + 2;
        format!("{length}{rest}")
    };
    raw(b'x', "x", &[], records.iter().map(line).collect::<String>().as_bytes())
}

#[test]
fn sparse_files_get_their_holes_back() {
    let map =
        [(386, "00000000002\x0000000000001\x0000000000005\x0000000000002"), (483, "00000000010")];
    let old = raw(b'S', "s", &map, b"abb");
    let pieces =
        [("size", "8"), ("offset", "2"), ("numbytes", "1"), ("offset", "5"), ("numbytes", "2")];
    let v00 = [pax(&pieces), raw(b'0', "s", &[], b"abb")].concat();
    let v01 = [pax(&[("size", "8"), ("map", "2,1,5,2")]), raw(b'0', "s", &[], b"abb")].concat();
    let mut inside = b"2\n2\n1\n5\n2\n".to_vec();
    inside.resize(BLOCK, 0);
    inside.extend(b"abb");
    let v10 =
        |size| [pax(&[("major", "1"), ("realsize", size)]), raw(b'0', "s", &[], &inside)].concat();
    let file = b"\0\0a\0\0bb\0".as_slice();
    let stored = b"abb".as_slice();
    let overlapping =
        [pax(&[("size", "8"), ("map", "2,2,3,1")]), raw(b'0', "s", &[], b"abb")].concat();
    let leftover = [pax(&[("size", "8"), ("map", "2,1")]), raw(b'0', "s", &[], b"abb")].concat();
    let hole_at_end = [pax(&[("size", "5"), ("map", "0,3")]), raw(b'0', "s", &[], b"abb")].concat();
    let cases = [
        ("old GNU", old.clone(), file, None),
        ("pax 0.0", v00, file, None),
        ("pax 0.1", v01, file, None),
        ("pax 1.0", v10("8"), file, None),
        ("a hole at the end", hole_at_end, b"abb\0\0".as_slice(), None),
        ("a hole of a terabyte", v10("1099511627776"), &inside, Some("entity-bytes limit")),
        ("pieces that overlap", overlapping, stored, Some("map of a sparse file")),
        ("more than the pieces", leftover, stored, Some("map of a sparse file")),
    ];
    for (name, content, expected, detail) in cases {
        let content = [content, raw(b'0', "next", &[], b"n"), vec![0; 2 * BLOCK]].concat();
        let found = unpack(&Tar, content, &Limits::small());
        assert_eq!(found.result, Ok(()), "{name}");
        assert_eq!(found.members.last().unwrap().content, "n", "{name}");
        assert_eq!(found.members[0].content, expected, "{name}");
        let others = found.members.len() - 2;
        assert_eq!(
            others,
            usize::from(expected == file),
            "{name}: as readers without holes see it"
        );
        if others > 0 {
            assert!(found.members[1].content.ends_with(b"abb"), "{name}");
        }
        let missing = found.members[0].missing.as_ref().map(|missing| missing.detail.as_str());
        assert_eq!(missing, detail, "{name}");
    }
}

/// A map costs the budget as much as it takes, and the last one counts.
#[test]
fn maps_of_sparse_files_are_charged() {
    let file = raw(b'0', "s", &[], b"abb");
    let map = |map: &str| pax(&[("size", "8"), ("map", map)]);
    let long = map("0,0,".repeat(4_000).trim_end_matches(','));
    let inside = |count: &str| {
        let mut map = [count, "\n", &"0\n0\n".repeat(2_000)].concat().into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        let stored = raw(b'0', "s", &[], &map);
        [pax(&[("major", "1"), ("realsize", "0")]), stored].concat()
    };
    let limits = Limits { max_total_bytes: 200 << 10, ..Limits::small() };
    let cases = [
        ("two maps", [map("0,3"), map("2,1,5,2"), file.clone()].concat(), None),
        ("one long map", [long.clone(), map("2,1,5,2"), file.clone()].concat(), None),
        ("many long maps", [long.repeat(9), file].concat(), Some("result")),
        ("a map inside", inside("2000"), None),
        ("a map inside that lies", inside("12000000"), Some("map of a sparse file")),
        ("a long map inside", [inside("2000"), inside("2000").repeat(9)].concat(), Some("result")),
    ];
    for (name, content, expected) in cases {
        let found = unpack(&Tar, [content, vec![0; 2 * BLOCK]].concat(), &limits);
        let missing = found.members.iter().find_map(|member| member.missing.as_ref());
        let detail = missing.map(|missing| missing.detail.as_str());
        let is_cut = found.result == Err(UnpackError::Limit(Limit::TotalBytes));
        let told = if is_cut { Some("result") } else { detail };
        assert_eq!(told, expected, "{name}");
    }
}
