//! Every format, on small files that other programs wrote (`tests/data/docs`).

use bytes::Bytes;

use super::*;
use crate::filetype;
use crate::limits::Limits;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/docs/");

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{DATA}{name}")).unwrap()
}

/// What the unpackers that recognise `content` report: `NAME:OCTETS` of each member, with the reason
/// if something is missing, and the error.
fn report(content: Vec<u8>, name: &str, words: &[&str], limits: &Limits) -> Vec<String> {
    let content = Bytes::from(content);
    let detected = filetype::detect(&content);
    let names = [name.to_owned()];
    let passwords = Passwords::configured(words.iter().copied());
    let source =
        Source { content: &content, detected: &detected, names: &names, passwords: &passwords };
    let mut lines = Vec::new();
    for unpacker in unpackers() {
        if !unpacker.fits_names(&names) || !unpacker.recognises(&content, &detected) {
            continue;
        }
        let mut budget = Budget::new(limits);
        let result = unpacker.unpack(&source, &mut budget, &mut |found| {
            if let Unpacked::Member(member) = found {
                let reason =
                    member.missing.map_or(String::new(), |own| format!(" {}", own.reason.as_str()));
                lines.push(format!("{}:{}{reason}", member.names.join("|"), member.content.len()));
            }
        });
        lines.extend(result.err().map(|error| error.reason().as_str().to_owned()));
    }
    lines
}

#[test]
fn formats_open() {
    let links = ["dir2/symlink1|../file1:0", "dir2/symlink2|../file2:0", "file1:60", "file2:78"];
    let abcd = ["a.txt:18", "b.txt:18", "c.txt:18", "d.txt:18"];
    let cases: [(&str, &str, &[&str]); 32] = [
        ("plain.7z", "", &["a.txt:35", "日本/b.exe:6", "empty.txt:0"]),
        ("content.7z", "", &["a.txt:0 encrypted", "日本/b.exe:0 encrypted", "empty.txt:0"]),
        ("content.7z", "Sesame", &["a.txt:35", "日本/b.exe:6", "empty.txt:0"]),
        ("names.7z", "wrong", &["encrypted"]),
        ("names.7z", "Sesame", &["a.txt:35", "日本/b.exe:6"]),
        (
            "rar5-files.rar",
            "",
            &["test1.bin:4096", "test2.bin:4096", "test3.bin:4096", "test4.bin:4096"],
        ),
        ("rar5-names.rar", "wrong", &["encrypted"]),
        ("rar5-names.rar", "password", &abcd),
        ("rar4-names.rar", "wrong", &["encrypted"]),
        ("rar4-names.rar", "password", &abcd),
        ("rar4-partly.rar", "wrong", &["foo.txt:0 encrypted", "bar.txt:16"]),
        ("part3.rar", "", &["LibarchiveAddingTest.html:0 malformed"]),
        ("mszip.cab", "", &["empty:0", "dir1\\file1:60", "dir2\\file2:78"]),
        ("lzx.cab", "", &["e8.bin:30"]),
        ("volume.cab", "", &["ones:0 malformed"]),
        ("lh6.lzh", "", &links),
        (
            "utf16.lzh",
            "",
            &[
                "ÜÖÄüöä/äöüÄÖÜ.txt|______/______.txt:12",
                "______/テスト.txt|______/âeâXâg.txt:25",
                "テスト/äöüÄÖÜ.txt|テスト/______.txt|âeâXâg/______.txt:12",
                "äöüÄÖÜ.txt|______.txt:12",
            ],
        ),
        ("plain.arj", "", &["a.txt:35", "日本/b.exe|譌･譛ｬ/b.exe|µùÑµ£¼/b.exe:6"]),
        ("garbled.arj", "wrong", &["a.txt:0 encrypted"]),
        ("garbled.arj", "Sesame", &["a.txt:35"]),
        ("aes.zip", "wrong", &["a.txt:0 encrypted"]),
        ("aes.zip", "Sesame", &["a.txt:35"]),
        ("text.Z", "", &[":27"]),
        ("two.lz", "", &[":70"]),
        ("two.lz4", "", &[":70"]),
        ("text.br", "", &[":35"]),
        ("tar.sz", "", &[":10240"]),
        ("license.ace", "", &["LICENSE:11357"]),
        ("lzw.zoo", "", &["license:11357"]),
        ("lh5.zoo", "", &["../license:11357"]),
        ("crunched.arc", "", &["LICENSE:11357"]),
        ("squashed.arc", "", &["LICENSE:11357"]),
    ];
    for (name, word, expected) in cases {
        assert_eq!(
            report(file(name), name, &[word], &Limits::default()),
            expected,
            "{name} {word:?}"
        );
    }
    assert_eq!(report(file("legacy.lz4"), "", &[], &Limits::small()), [":35"]);
    assert!(report(file("text.br"), "text.bin", &[], &Limits::small()).is_empty());
}

#[test]
fn calls_are_relative_after_unpacking() {
    let found = testing::unpack(&cab::Cab, file("lzx.cab"), &Limits::small());
    let expected =
        b"\xe8\0\0\0\0\xe8\0\0\0\x80\xe8\xff\xff\xff\x7f\xe8\xff\0\0\0\xe8\x124Vx\xe8\x87eC!";
    assert_eq!(found.members[0].content.as_ref(), expected);
}

#[test]
fn programs_that_unpack_themselves_open() {
    let program =
        [b"MZ".as_slice(), &[0x90; 5_000], b"7z\xbc\xaf\x27\x1c Rar!\x1a MSCF -lh5- \x60\xea"];
    for name in ["plain.7z", "rar5-files.rar", "mszip.cab", "lh6.lzh", "plain.arj"] {
        let expected = report(file(name), "", &[], &Limits::default());
        let content = [program.concat(), file(name)].concat();
        assert_eq!(report(content, "", &[], &Limits::default()), expected, "{name}");
    }
}

#[test]
fn limits_end_every_format() {
    let names = [
        "plain.7z",
        "rar5-files.rar",
        "mszip.cab",
        "lh6.lzh",
        "plain.arj",
        "two.lz4",
        "two.lz",
        "text.Z",
        "license.ace",
        "lzw.zoo",
        "crunched.arc",
        "tar.sz",
    ];
    for name in names {
        let none = Limits { max_entities: 0, ..Limits::small() };
        assert_eq!(report(file(name), "", &[], &none), ["limit"], "{name}: no entities");
        let little = Limits { max_total_bytes: 20, ..Limits::small() };
        let found = report(file(name), "", &[], &little);
        assert!(found.iter().any(|line| line.ends_with("limit")), "{name}: {found:?}");
    }
}

#[test]
fn cut_archives_are_never_whole() {
    let names = [
        "plain.7z",
        "content.7z",
        "rar5-files.rar",
        "rar4-names.rar",
        "mszip.cab",
        "lzx.cab",
        "lh6.lzh",
        "plain.arj",
        "aes.zip",
        "license.ace",
        "lzw.zoo",
        "crunched.arc",
    ];
    for name in names {
        let whole = file(name);
        for part in 2..8 {
            let cut = whole[..whole.len() * part / 9].to_vec();
            let found = report(cut, "", &["password", "Sesame"], &Limits::small());
            let is_said =
                found.iter().any(|line| line.ends_with("malformed") || line.ends_with("encrypted"));
            assert!(is_said || found.is_empty(), "{name} {part}: {found:?}");
        }
    }
}
