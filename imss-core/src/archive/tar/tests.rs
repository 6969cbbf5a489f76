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
