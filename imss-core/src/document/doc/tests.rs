use super::*;
use crate::archive::ole::build::compound;
use crate::document::testing::{Found, extract};

/// A document whose pieces are the given texts; those marked wide are stored with two octets.
fn document(pieces: &[(&str, bool)], comment_letters: u32) -> Vec<u8> {
    let (mut main, mut clx) = (vec![0; 0x400], Vec::new());
    main[..4].copy_from_slice(b"\xec\xa5\xc1\0");
    let (mut positions, mut fields, mut count) = (vec![0_u32], Vec::new(), 0_u32);
    for (text, is_wide) in pieces {
        let start = main.len() as u32;
        count += text.encode_utf16().count() as u32;
        positions.push(count);
        if *is_wide {
            main.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            fields.push(start);
        } else {
            main.extend(text.bytes());
            fields.push((start * 2) | 0x4000_0000);
        }
    }
    clx.push(2);
    clx.extend((positions.len() as u32 * 4 + fields.len() as u32 * 8).to_le_bytes());
    clx.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
    for field in fields {
        clx.extend([0, 0]);
        clx.extend(field.to_le_bytes());
        clx.extend([0, 0]);
    }
    main[0x4c..0x50].copy_from_slice(&(count - comment_letters).to_le_bytes());
    main[0x5c..0x60].copy_from_slice(&comment_letters.to_le_bytes());
    main[0x1a6..0x1aa].copy_from_slice(&(clx.len() as u32).to_le_bytes());
    main.resize(main.len().max(5000), 0);
    compound(&[("WordDocument", &main), ("0Table", &clx)], &[])
}

fn lines(found: &Found) -> Vec<(TextKind, &str)> {
    found.texts.iter().map(|(kind, text)| (*kind, text.as_str())).collect()
}

#[test]
fn pieces_are_joined_in_order() {
    let found = extract(&Doc, document(&[("one ", false), ("二\rlast", true), ("note", false)], 4));
    let expected =
        [(TextKind::Shown, "one 二"), (TextKind::Shown, "last"), (TextKind::Comment, "note")];
    assert_eq!(lines(&found), expected);
}

#[test]
fn authors_are_told() {
    let string = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&(text.encode_utf16().count() as u16).to_le_bytes()[..], &units].concat()
    };
    let commenters = [string("Ann"), string("山田")].concat();
    let revisers = [vec![0xff, 0xff, 2, 0, 0, 0], string("Unknown"), string("Bob")].concat();
    let mut main = vec![0; 5000];
    main[..4].copy_from_slice(b"\xec\xa5\xc1\0");
    main[0x1be..0x1c2].copy_from_slice(&(commenters.len() as u32).to_le_bytes());
    main[0x232..0x236].copy_from_slice(&(commenters.len() as u32).to_le_bytes());
    main[0x236..0x23a].copy_from_slice(&(revisers.len() as u32).to_le_bytes());
    let table = [commenters, revisers].concat();
    let found = extract(&Doc, compound(&[("WordDocument", &main), ("0Table", &table)], &[]));
    let expected =
        [(TextKind::Comment, "Ann"), (TextKind::Comment, "山田"), (TextKind::Revision, "Bob")];
    assert_eq!(lines(&found), expected);
}

#[test]
fn fields_are_told_apart() {
    let text = "see \u{13} HYPERLINK \"http://a.test\" \u{14}here\u{15}\r\u{13} DDEAUTO c:\\\\x.exe \"/k\" \u{15}";
    let found = extract(&Doc, document(&[(text, false)], 0));
    assert_eq!(found.text(TextKind::Shown), "see here");
    let expected = [(LinkKind::Click, "http://a.test".to_owned(), "here".to_owned())];
    assert_eq!(found.links, expected);
    assert_eq!(found.active[0].kind, ActiveKind::Dde);
    let nested = "\u{13} DDEAUTO \u{13} QUOTE 99 109 100 \u{15} /k\u{15}";
    let found = extract(&Doc, document(&[(nested, false)], 0));
    assert_eq!(found.active[0].detail, "QUOTE 99 109 100 cmd /k");
}

#[test]
fn readings_do_not_break_words() {
    let text = "前\u{13} EQ \\o\\ad(\\s\\up 9(かんじ),漢字)\u{15}後";
    let found = extract(&Doc, document(&[(text, true)], 0));
    assert_eq!(found.text(TextKind::Shown), "前漢字後");
}

#[test]
fn what_is_no_document_is_said() {
    let found = extract(&Doc, compound(&[("WordDocument", &[0; 5000])], &[]));
    assert!(found.error.is_some());
}
