use super::super::pieces::{Found, extract, le16};
use super::*;

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A shortcut with some of: working directory and arguments, icon.
fn shortcut(arguments: &str, icon: &str, environment: &str, after: &[u8]) -> Vec<u8> {
    let flags: u32 = 1 << 5 | 1 << 6 | 1 << 7 | 1;
    let mut octets = [MAGIC, &flags.to_le_bytes()].concat();
    octets.resize(0x4c, 0);
    // My Computer's drive, then a file with a short name only.
    let drive = [&[0x19, 0, 0x2f][..], b"C:\\", &[0; 19]].concat();
    let file = [&[0x15, 0, 0x32, 0][..], &[0; 10], b"cmd.ex\0"].concat();
    let list = [&drive[..], &file, &[0, 0]].concat();
    octets.extend(le16(list.len()));
    octets.extend(list);
    for text in [arguments, icon] {
        octets.extend(le16(text.encode_utf16().count()));
        octets.extend(wide(text));
    }
    if !environment.is_empty() {
        let mut block = [0x314_u32.to_le_bytes(), 0xa000_0001_u32.to_le_bytes()].concat();
        block.extend(environment.as_bytes());
        block.resize(268, 0);
        block.extend(wide(environment));
        block.resize(0x314, 0);
        octets.extend(block);
    }
    octets.extend([0; 4]);
    octets.extend(after);
    octets
}

fn read(content: &[u8]) -> Found {
    let found = extract(&Lnk, content, &[]);
    if found.pieces.is_empty() { extract(&TextShortcut, content, &[]) } else { found }
}

#[test]
fn shortcuts_say_what_they_run() {
    let padded = format!("{}/c calc", " ".repeat(80));
    let cases: [(&str, Vec<u8>, &[&str]); 4] = [
        ("a command", shortcut("/c calc", "x.ico", "", b""), &["Launch:C:\\\\cmd.ex /c calc"]),
        (
            "the environment's path wins",
            shortcut("-x", "x.ico", "%windir%\\a.exe", b""),
            &["Launch:%windir%\\\\a.exe -x"],
        ),
        (
            "an icon elsewhere",
            shortcut("a", "\\\\h\\i.ico", "", b""),
            &["Launch:C:\\\\cmd.ex a", "RemoteContent:\\\\\\\\h\\\\i.ico"],
        ),
        (
            "arguments out of sight",
            shortcut(&padded, "", "", b""),
            &["Obfuscation:arguments behind white space"],
        ),
    ];
    for (name, content, expected) in cases {
        let found = read(&content);
        let active = found.active();
        assert_eq!(&active[active.len() - expected.len()..], expected, "{name}");
        assert_eq!(found.result, Ok(()), "{name}");
        assert!(found.embedded().is_empty(), "{name}");
    }
}

#[test]
fn what_is_appended_is_a_file() {
    let found = read(&shortcut("", "", "", b"MZ this is a program"));
    assert_eq!(found.embedded(), ["appended:MZ this is a program"]);
    assert_eq!(found.anomalies(), [AnomalyKind::TrailingData]);
    let cut = shortcut("/c calc", "", "%x%", b"");
    assert!(read(&cut[..cut.len() - 200]).result.is_err());
}

#[test]
fn text_shortcuts() {
    let cases: [(&str, &str, &[&str], &[&str]); 11] = [
        ("a page", "[InternetShortcut]\r\nURL=https://a/\r\n", &["Click:https://a/:"], &[]),
        (
            "a file elsewhere",
            "[InternetShortcut]\r\nURL=file://h/x.exe\r\n",
            &["Click:file://h/x.exe:"],
            &["Launch:file://h/x.exe"],
        ),
        (
            "an icon elsewhere",
            "[InternetShortcut]\nURL=https://a\nIconFile=\\\\h\\i",
            &["Click:https://a:", "Load:\\\\h\\i:"],
            &["RemoteContent:\\\\\\\\h\\\\i"],
        ),
        (
            "an icon here",
            "[InternetShortcut]\nURL=https://a\nIconFile=C:\\i",
            &["Click:https://a:"],
            &[],
        ),
        ("a program", "[Desktop Entry]\nExec=sh -c id\n", &[], &["Launch:sh -c id"]),
        (
            "a shell command file",
            "[Shell]\r\nCommand=2\r\nIconFile=\\\\h\\i\r\n",
            &["Load:\\\\h\\i:"],
            &["RemoteContent:\\\\\\\\h\\\\i"],
        ),
        (
            "a library",
            "<?xml version=\"1.0\"?><libraryDescription><url>\\\\h\\s</url></libraryDescription>",
            &["Click:\\\\h\\s:", "Load:\\\\h\\s:"],
            &["RemoteContent:\\\\\\\\h\\\\s"],
        ),
        (
            "a setting",
            "<?xml version=\"1.0\"?><PCSettings><DeepLink>cmd /c &quot;x&quot;</DeepLink></PCSettings>",
            &[],
            &["Launch:cmd /c \\\"x\\\""],
        ),
        (
            "a web query",
            "WEB\r\n1\r\nhttp://a/q\r\n",
            &["Load:http://a/q:"],
            &["RemoteContent:http://a/q"],
        ),
        (
            "a sheet that runs",
            "ID;P\r\nNN;NAuto_open;ER1C1\r\nC;X1;Y1;K0;EEXEC(\"calc\")\r\nC;ECMD|'/c x'!A0",
            &[],
            &["AutoRun:Auto_open R1C1", "Xlm:EXEC(\\\"calc\\\")", "Dde:CMD|\\'/c x\\'!A0"],
        ),
        ("a sheet that adds", "ID;P\r\nC;X1;Y1;K2;ESUM(R1C1:R2C2)\r\nC;K\"a|b!\"", &[], &[]),
    ];
    for (name, content, links, active) in cases {
        let found = read(content.as_bytes());
        assert_eq!(found.links(), links, "{name}");
        assert_eq!(found.active(), active, "{name}");
        assert_eq!(found.result, Ok(()), "{name}");
    }
    assert!(read(b"URL=file://h/x.exe").pieces.is_empty(), "a note about one");
}

/// A shortcut of `count` blocks that name a target of eight letters each.
fn many_targets(count: usize) -> Vec<u8> {
    let mut octets = [MAGIC, &(1_u32 << 7).to_le_bytes()].concat();
    octets.resize(0x4c, 0);
    for number in 0..count {
        octets.extend(16_u32.to_le_bytes());
        octets.extend(0xa000_0001_u32.to_le_bytes());
        octets.extend(format!("{number:08}").as_bytes());
    }
    octets.extend([0; 4]);
    octets
}

#[test]
fn many_blocks_end_at_a_bound() {
    use crate::limits::{Limit, Limits, StopFlag};
    type LeftOut = Result<&'static [&'static str], Limit>;
    const CUT: &str = "targets and icons of a shortcut past 10,000";
    let cases: [(&str, usize, u64, bool, LeftOut); 4] = [
        ("few", 9_000, 1 << 20, false, Ok(&[])),
        ("more than a shortcut names", 20_000, 1 << 21, false, Ok(&[CUT])),
        ("more than may be done", 9_000, 1 << 19, false, Err(Limit::Work)),
        ("time is up", 9_000, 1 << 20, true, Err(Limit::Time)),
    ];
    for (name, count, max_work, is_stopped, expected) in cases {
        let limits = Limits { max_work, ..Limits::default() };
        let stop = StopFlag::new();
        if is_stopped {
            stop.stop();
        }
        let mut budget = Budget::with_stop(&limits, stop);
        let link = link::Link::read(&many_targets(count), &mut budget);
        let left_out = budget.take_left_out();
        let found = link.limit.map_or(Ok(left_out.as_slice()), Err);
        assert_eq!(found, expected, "{name}");
        assert_eq!(link.end.is_none(), expected.is_err(), "{name}");
        if expected.is_ok() {
            assert_eq!(link.targets.len(), count.min(10_000), "{name}");
            assert_eq!(link.targets[0], format!("{:08}", count - 1), "the last wins: {name}");
        }
    }
    let found = read(&many_targets(20_000));
    assert_eq!(found.result, Ok(()));
    assert!(found.pieces.len() < 10_010, "{}", found.pieces.len());
    let limits = Limits { max_work: 1 << 21, ..Limits::default() };
    let mut budget = Budget::new(&limits);
    let content = bytes::Bytes::from(many_targets(100_000));
    let detected = crate::filetype::detect(&content);
    let passwords = crate::archive::Passwords::none();
    let source =
        Source { content: &content, detected: &detected, names: &[], passwords: &passwords };
    let result = Lnk.extract(&source, &[], &mut budget, &mut |_| {});
    assert_eq!(result, Err(UnpackError::Limit(Limit::Work)));
}
