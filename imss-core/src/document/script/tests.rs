//! Encoded scripts and commands.

use super::*;
use crate::document::harness::single;

#[test]
fn encoded_commands() {
    let encode = |text: &str| {
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        base64_simd::STANDARD.encode_to_string(octets)
    };
    let code = encode("Write-Host 'hello there'");
    let cases = [
        ("in full", format!("@echo off\npowershell -EncodedCommand {code}"), 1),
        ("short", format!("@echo off\nPowerShell.exe -nop -w hidden -e \"{code}\""), 1),
        ("slash", format!("@echo off\npwsh /ec {code}\n"), 1),
        ("another option", format!("@echo off\npowershell -File {code}"), 0),
        ("no text", format!("@echo off\npowershell -enc {}", "q83v".repeat(20)), 0),
        ("a path", "@echo off\npowershell -e C:/tools/abcdefghijklmnop".to_owned(), 0),
    ];
    for (name, script, expected) in cases {
        let inside = single(&Script, script.as_bytes()).inside();
        assert_eq!(inside.len(), expected, "{name}");
        let right = |one: &String| one == "command:Write-Host 'hello there'";
        assert!(inside.iter().all(right), "{name}: {inside:?}");
    }
}

#[test]
fn encoded_scripts() {
    let block = encode::tests::encode("MsgBox \"hi\"");
    let twice = [block.as_slice(), b"\r\n", &block].concat();
    let found = single(&Script, &twice);
    assert_eq!(found.inside(), ["decoded:MsgBox \"hi\"", "decoded:MsgBox \"hi\""]);
}

#[test]
fn plain_source() {
    let blanks = " ".repeat(100);
    let apart = format!("'a'{blanks}+{blanks}'b'");
    let padded = format!("atob({blanks}'aGk='{blanks})");
    let cases = [
        ("joined far apart", apart.as_str(), "'ab'"),
        ("a call with many blanks", &padded, "'hi'"),
        ("escapes", "'\\x41\\u0042\\u{43}'", "'ABC'"),
        ("joined", "'a' + 'b'+'c'", "'abc'"),
        ("different quotes", "'a'+\"b\"", "'a'+\"b\""),
        ("atob", "f(window.atob(\"aGk=\"))", "f('hi')"),
        ("numbers", "String.fromCharCode(104, 0x69)", "'hi'"),
        ("nothing to decode", "atob(x) + g('a')", "atob(x) + g('a')"),
        ("binary", "atob('AAAA')", "atob('AAAA')"),
    ];
    for (name, script, expected) in cases {
        assert_eq!(source::plain(script).text, expected, "{name}");
    }
}

#[test]
fn shells_are_known_in_every_case() {
    let cases = [
        ("PowerShell.exe -NoProfile", true),
        ("a POWERSHELL", true),
        ("powpoWERshELL", true),
        ("start pwsh", true),
        ("PWSH", true),
        ("ppwsh", true),
        ("powershel", false),
        ("power shell", false),
        ("pws h", false),
        ("", false),
    ];
    for (text, expected) in cases {
        assert_eq!(super::has_shell(text.as_bytes()), expected, "{text}");
    }
}
