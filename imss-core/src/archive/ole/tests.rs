use super::build::compound;
use super::*;
use crate::archive::testing::unpack;
use crate::limits::Limits;

fn sample() -> Vec<u8> {
    let large = vec![b'x'; 9000];
    let streams: [(&str, &[u8]); 5] = [
        ("WordDocument", &large),
        ("\u{5}SummaryInformation", b"title"),
        ("Macros/VBA/Module1", b"Sub a()"),
        ("Macros/PROJECT", b"[x]"),
        ("empty", b""),
    ];
    compound(&streams, &[("", [1; 16]), ("Macros", [2; 16])])
}

#[test]
fn every_stream_is_a_member() {
    let found = unpack(&Ole, sample(), &Limits::small());
    let names: Vec<_> = found.members.iter().map(|member| member.names[0].as_str()).collect();
    let expected = [
        "WordDocument",
        "\u{5}SummaryInformation",
        "Macros/VBA/Module1",
        "Macros/PROJECT",
        "empty",
    ];
    assert_eq!(names, expected);
    assert_eq!(found.members[0].content, vec![b'x'; 9000]);
    assert_eq!(found.members[1].names[1], "[5]SummaryInformation");
    assert_eq!(found.members[2].content, "Sub a()");
    assert_eq!(found.result, Ok(()));
    assert!(found.members.iter().all(|member| member.missing.is_none()));
}

#[test]
fn classes_are_listed() {
    let limits = Limits::small();
    let content = Bytes::from(sample());
    let classes = classes(&content, &mut Budget::new(&limits));
    assert_eq!(classes, Ok(vec![(String::new(), [1; 16]), ("Macros".to_owned(), [2; 16])]));
}

/// Where the directory of [`sample`] is.
fn directory(file: &[u8]) -> usize {
    let sector = u32::from_le_bytes(file[48..52].try_into().unwrap());
    (sector as usize + 1) * 512
}

#[test]
fn what_office_forgives_is_read() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change, &str); 6] = [
        ("no version", |file| file[26] = 0, "Sub a()"),
        ("odd sector shift", |file| file[30] = 99, "Sub a()"),
        (
            "wrong size of the mini stream",
            |file| {
                let at = directory(file) + 120;
                file[at..at + 4].fill(1);
            },
            "Sub a()",
        ),
        ("wrong cutoff", |file| file[56..60].fill(0), "Sub a()"),
        ("last sector cut short", |file| file.truncate(file.len() - 300), "Sub a()"),
        (
            "upper half of a size",
            |file| {
                let at = directory(file) + 4 * 128 + 124;
                file[at..at + 4].fill(0xcc);
            },
            "Sub a()",
        ),
    ];
    for (name, change, expected) in cases {
        let mut file = sample();
        change(&mut file);
        let found = unpack(&Ole, file, &Limits::small());
        let is_whole = |member: &&Member| member.content == expected && member.missing.is_none();
        assert!(found.members.iter().find(is_whole).is_some(), "{name}");
    }
}

#[test]
fn loops_end_and_what_is_missing_is_said() {
    // The large stream starts at sector 0: its table entries are the first.
    let mut file = sample();
    let table = file.len() - 512;
    file[table..table + 4].copy_from_slice(&0_u32.to_le_bytes());
    let found = unpack(&Ole, file, &Limits::small());
    assert_eq!(found.members[0].content, vec![b'x'; 9000]);
    let mut file = sample();
    file[table..table + 4].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    let found = unpack(&Ole, file, &Limits::small());
    let missing = found.members[0].missing.as_ref().unwrap();
    assert_eq!(
        (missing.reason, missing.detail.as_str()),
        (GapReason::Malformed, "512 of 9000 octets")
    );
}

#[test]
fn orphans_are_members() {
    let mut file = sample();
    let root_child = directory(&file) + 76;
    file[root_child..root_child + 4].fill(0xff);
    let found = unpack(&Ole, file, &Limits::small());
    let names: Vec<_> = found.members.iter().map(|member| member.names[0].as_str()).collect();
    let expected =
        ["WordDocument", "\u{5}SummaryInformation", "Macros/VBA/Module1", "Macros/PROJECT"];
    assert_eq!(names, expected);
    assert_eq!(found.anomalies, [AnomalyKind::TrailingData]);
}

#[test]
fn any_octet_may_change() {
    let whole = sample();
    for at in (0..whole.len()).filter(|at| *at < 600 || *at > 9700) {
        for value in [0, 1, 0xff] {
            let mut file = whole.clone();
            file[at] = value;
            unpack(&Ole, file, &Limits::small());
        }
    }
    for end in (0..whole.len()).step_by(37) {
        let found = unpack(&Ole, whole[..end].to_vec(), &Limits::small());
        let is_whole = found.result.is_ok() && found.members.len() == 5;
        assert!(
            !is_whole
                || found.members.iter().any(|member| member.missing.is_some())
                || end > 10_000
        );
    }
}
