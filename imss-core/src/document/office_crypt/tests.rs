use crate::archive::Passwords;
use crate::document::active::ActiveKind;
use crate::document::ole::OleObjects;
use crate::document::testing::extract_with;
use crate::document::xls::Xls;

const STANDARD: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-standard.docx");
const AGILE: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-agile.docx");
const DEFAULT: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-default.xlsx");
const RC4: &[u8] = include_bytes!("../../../tests/data/docs/encrypted-rc4.xls");

#[test]
fn packages_are_opened() {
    let none: &[&str] = &[];
    let cases = [
        ("standard", STANDARD, &["wrong", "tika"][..], true, false),
        ("agile", AGILE, &["tika", "pass", "password"][..], true, false),
        ("the default password", DEFAULT, none, true, true),
        ("no password fits", STANDARD, &["wrong"][..], false, false),
        ("nothing to try", AGILE, none, false, false),
    ];
    for (name, content, passwords, is_open, is_default) in cases {
        let passwords = Passwords::configured(passwords.iter().copied());
        let found = extract_with(&OleObjects, content.to_vec(), &passwords);
        let package = &found.embedded[0];
        assert_eq!(package.content.starts_with(b"PK\x03\x04"), is_open, "{name}");
        assert_eq!(package.is_encrypted(), !is_open, "{name}");
        let fact = found.active.iter().any(|fact| fact.kind == ActiveKind::DefaultPassword);
        assert_eq!(fact, is_default, "{name}");
        if is_open {
            let end = &package.content[package.content.len() - 22..];
            assert!(end.starts_with(b"PK\x05\x06"), "{name}: the package is cut");
        }
    }
}

#[test]
fn workbooks_are_opened() {
    let found = extract_with(&Xls, RC4.to_vec(), &Passwords::configured(["tika"]));
    let text = "This is an Encrypted Excel spreadsheet.";
    assert!(found.texts.iter().any(|(_, own)| own == text));
    let found = extract_with(&Xls, RC4.to_vec(), &Passwords::configured(["wrong"]));
    assert!(found.embedded[0].is_encrypted());
    assert!(found.texts.is_empty());
}
