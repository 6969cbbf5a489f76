use super::*;

/// The id that `types.txt` gives a type, for short tables.
fn extension(content: &[u8]) -> &'static str {
    detect(content).extension
}

fn wide(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

fn program(flags: u16) -> Vec<u8> {
    let mut content = vec![0; 128];
    content[..2].copy_from_slice(b"MZ");
    content[60] = 64;
    content[64..68].copy_from_slice(b"PE\0\0");
    content[86..88].copy_from_slice(&flags.to_le_bytes());
    content
}

fn zip(names: &[&str]) -> Vec<u8> {
    let mut content = Vec::new();
    for name in names {
        content.extend(b"PK\x03\x04");
        content.extend([0; 22]);
        content.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        content.extend([0; 2]);
        content.extend(name.as_bytes());
    }
    content
}

fn odf(family: &str) -> Vec<u8> {
    let media = format!("application/vnd.oasis.opendocument.{family}");
    [zip(&["mimetype"]), media.into_bytes()].concat()
}

fn ole(stream: &str) -> Vec<u8> {
    let mut content = vec![0; 2_048];
    content[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    content[30] = 9;
    let name: Vec<u8> = stream.encode_utf16().flat_map(u16::to_le_bytes).collect();
    content[640..640 + name.len()].copy_from_slice(&name);
    content
}

/// A file whose root holds `stream` and a storage, and the storage `embedded`. The directory is in
/// two sectors that are not in a row.
fn ole_with(stream: &str, embedded: &str) -> Vec<u8> {
    let mut content = ole("");
    content.resize(512 * 5, 0);
    // The table is sector 1, the directory sectors 0 and 3.
    content[76] = 1;
    content[1024..1028].copy_from_slice(&3_u32.to_le_bytes());
    content[1036..1040].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    // Entry, its name, what is before and after it in its tree, what it holds.
    let entries = [
        (512, "Root Entry", -1, -1, 1),
        (640, "MBD0", -1, 4, 2),
        (768, embedded, -1, -1, -1),
        (2048, stream, -1, -1, -1_i32),
    ];
    for (at, name, before, after, child) in entries {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        content[at..at + name.len()].copy_from_slice(&name);
        for (place, number) in [(68, before), (72, after), (76, child)] {
            content[at + place..at + place + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
    content
}

#[test]
fn binary_types() {
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("exe", program(0x0102)),
        ("dll", program(0x2102)),
        ("exe", [b"MZ\x90\0".as_slice(), &[0; 60]].concat()),
        ("elf", b"\x7fELF\x02\x01".to_vec()),
        ("macho", b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec()),
        ("class", b"\xca\xfe\xba\xbe\0\0\0\x34".to_vec()),
        ("lnk", b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F".to_vec()),
        ("docx", zip(&["[Content_Types].xml", "word/document.xml"])),
        ("docm", zip(&["[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"])),
        ("xlsx", zip(&["[Content_Types].xml", "xl/workbook.xml"])),
        ("jar", zip(&["META-INF/MANIFEST.MF", "a.class"])),
        ("apk", zip(&["META-INF/MANIFEST.MF", "AndroidManifest.xml"][1..])),
        ("zip", zip(&["a.txt"])),
        ("odt", [zip(&["mimetype"]), b"application/vnd.oasis.opendocument.text".to_vec()].concat()),
        ("odg", odf("graphics")),
        ("odb", odf("base")),
        ("ott", odf("text-template")),
        ("ots", odf("spreadsheet-template")),
        ("odf", odf("formula")),
        ("doc", ole("WordDocument")),
        ("xls", ole("Workbook")),
        ("msg", ole("__properties_version1.0")),
        ("xls", ole_with("Workbook", "WordDocument")),
        ("doc", ole_with("WordDocument", "__properties_version1.0")),
        ("doc", ole_with("Unknown", "WordDocument")),
        ("msi", ole("\u{4840}\u{3f7f}")),
        ("ole", ole("Unknown")),
        ("pdf", b"%PDF-1.7".to_vec()),
        ("pdf", [vec![0; 1_000], b"%PDF-1.7".to_vec()].concat()),
        ("one", b"\xe4R\x5c{\x8c\xd8\xa7M\xae\xb1Sx\xd0)\x96\xd3".to_vec()),
        ("7z", b"7z\xbc\xaf'\x1c\0\x04".to_vec()),
        ("rar", b"Rar!\x1a\x07\x01\0".to_vec()),
        ("lzh", b"!\x0d-lh5-".to_vec()),
        ("png", b"\x89PNG\r\n\x1a\n".to_vec()),
        ("p7s", b"\x30\x82\x05\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x82\x04\xf1\x30\x82\x04\xed\x02\x01\x01\x31\x0b\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01".to_vec()),
        ("p7m", b"\x30\x82\x05\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x82".to_vec()),
        ("empty", Vec::new()),
        ("bin", vec![0, 1, 2, 3, 200, 4, 5]),
        // The `ObjInfo` stream of an OLE object is no machine code.
        ("bin", vec![0x4c, 1, 3, 0, 4, 0]),
    ];
    for (expected, content) in cases {
        assert_eq!(extension(&content), expected, "{:?}", content.get(..8));
    }
}

#[test]
fn text_types() {
    let cases: &[(&str, &str, &str)] = &[
        ("prose", "Dear sir,\n\nthe function of this letter is to return your call.\n", "txt"),
        ("C++", "int main() {\n  try { run(); } catch (...) {}\n  this.x(); return 0;\n}\n", "txt"),
        (
            "prose with MZ",
            "MZ is a town; its postal code is 12345, and this line is long enough.",
            "txt",
        ),
        ("batch", "rem x\r\n@echo off\r\ndel c:\\x\r\n", "bat"),
        (
            "JScript",
            "var s = new ActiveXObject('WScript.Shell'); s.Run('x'); function f() { return 1; }",
            "js",
        ),
        (
            "VBScript",
            "On Error Resume Next\nDim x\nSet x = CreateObject(\"WScript.Shell\")\nEnd Sub\n",
            "vbs",
        ),
        ("PowerShell", "$x = New-Object Net.WebClient\n$env:TEMP\nInvoke-Expression $x\n", "ps1"),
        ("shell", "#!/bin/sh\necho\n", "sh"),
        ("Python by its interpreter", "#!/usr/bin/env python3\n", "py"),
        ("encoded script", "#@~^ABCDEF==", "vbe"),
        ("HTML", "  <!-- c --><!DOCTYPE html>\n<html><body></body></html>", "html"),
        ("HTML application", "<html><head><HTA:APPLICATION id=x></head></html>", "hta"),
        ("script in a page", "<script>alert(1)</script>", "html"),
        ("SVG", "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>", "svg"),
        ("XML", "<?xml version=\"1.0\"?><a/>", "xml"),
        ("scripts of Windows", "<job><script language=\"JScript\">x</script></job>", "wsf"),
        ("internet shortcut", "[InternetShortcut]\r\nURL=file://x/a.exe\r\n", "url"),
        ("registry", "Windows Registry Editor Version 5.00\r\n", "reg"),
        ("setup information", "; x\r\n[Version]\r\nSignature=\"$Windows NT$\"\r\n", "inf"),
        ("mail", "Received: by x\nFrom: a\nSubject: b\n\nhello\n", "eml"),
        ("mailbox", "From a@b Mon\nFrom: a\nSubject: b\n\nhello\n", "mbox"),
        ("calendar", "BEGIN:VCALENDAR\r\n", "ics"),
        ("contacts", "BEGIN:VCARD\r\n", "vcf"),
        ("certificate", "-----BEGIN CERTIFICATE-----\n", "pem"),
        ("PGP", "-----BEGIN PGP MESSAGE-----\n", "pgp"),
        ("table", "a,b\n1,2\n3,4\n5,6\n", "csv"),
        ("JSON", "{\"a\": 1}", "json"),
        ("uuencode", "begin 644 a.exe\n#0V%T\n`\nend\n", "uu"),
        ("rich text", "{\\rtf1", "rtf"),
        (
            "management console",
            "<?xml version=\"1.0\"?>\n<MMC_ConsoleFile x=\"\"></MMC_ConsoleFile>",
            "msc",
        ),
        (
            "ClickOnce",
            "<asmv1:assembly xmlns=\"urn:schemas-microsoft-com:asm.v1\"></asmv1:assembly>",
            "application",
        ),
        ("Java Web Start", "<?xml version=\"1.0\"?><jnlp spec=\"1.0+\"></jnlp>", "jnlp"),
        (
            "app installer",
            "<?xml version=\"1.0\"?><AppInstaller Uri=\"x\"></AppInstaller>",
            "appinstaller",
        ),
        ("sandbox", "<Configuration><LogonCommand></LogonCommand></Configuration>", "wsb"),
        ("Explorer command", "[Shell]\r\nCommand=2\r\nIconFile=\\\\h\\a.ico\r\n", "scf"),
        ("data link", "[oledb]\r\n; x\r\n", "udl"),
        ("style sheet", "<xsl:stylesheet version=\"1.0\"></xsl:stylesheet>", "xsl"),
        ("feed", "<?xml version=\"1.0\"?><rss><channel></channel></rss>", "rss"),
        ("property list", "<?xml version=\"1.0\"?><plist></plist>", "plist"),
        (
            "saved page",
            "From: <Saved by Blink>\nSnapshot-Content-Location: x\nSubject: y\n\n",
            "mht",
        ),
        ("shell archive", "# This is a shell archive.\n", "shar"),
        ("changes", "diff --git a/x b/x\n", "diff"),
        ("PuTTY key", "PuTTY-User-Key-File-3: ssh-ed25519\n", "ppk"),
    ];
    for (name, text, expected) in cases {
        assert_eq!(extension(text.as_bytes()), *expected, "{name}");
        if *expected != "rtf" {
            assert_eq!(extension(&wide(text)), *expected, "{name} in UTF-16");
        }
    }
}

#[test]
fn other_languages() {
    use TypeGroup::{Script, Text};
    let lua = "-- a\nlocal x = require 'y'\nlocal function f(a)\n  for _, m in ipairs(x) do\n    \
        if m ~= nil then\n      m(a)\n    end\n  end\nend\n";
    let m4 = "# a\nAC_DEFUN([X], [\n  AC_MSG_CHECKING([x])\n  if test x; then\n  fi\n])\n";
    let shell = "# a\nif [ -e x ]; then\n  curl x\nfi\nfor i in 1; do\n  wget x\ndone\n";
    let shell_as_m4 = format!(
        "{shell}AC_DEFUN([X])\nAC_SUBST(X)\nAC_ARG_WITH(x)\nm4_define(x)\n\
         AC_MSG_CHECKING([x])\ndnl\nAC_MSG_ERROR(x)\n"
    );
    let restarted = "#!/bin/sh\n# a\n# next line \\\nexec wish \"$0\" \"$@\"\n";
    let configure = "AC_INIT([x], [1])\nAC_ARG_WITH([x], [y])\nAC_SUBST([X])\ndnl a\n";
    let log = "Summary\nproc 1 ok\nproc 2 ok\n[string a]\n[list of x]\n} else {\nforeach x\n";
    let cases = [
        ("Tcl by its interpreter", "#!/usr/bin/tclsh\n", "tcl", Script),
        ("Tcl of a version through env", "#! /usr/bin/env -S tclsh8.6 -x\n", "tcl", Script),
        ("Lua by its interpreter", "#!/usr/bin/lua5.4\n", "lua", Script),
        ("another word with lua", "#!/usr/bin/evaluate\n", "script", Script),
        ("another word with wish", "#!/opt/wishlist/sh\n", "sh", Script),
        ("Tcl through the shell", restarted, "tcl", Script),
        ("shell with Tcl in a comment", "#!/bin/sh\n# exec tclsh\ncurl x | sh\n", "sh", Script),
        ("shell that runs wish", "#!/bin/sh\ntrue\nexec wish ||\ncurl x | sh\n", "sh", Script),
        ("shell without a backslash", "#!/bin/sh\n# a\nexec wish $0\n", "sh", Script),
        ("shell before Tcl", "#!/bin/sh\ncurl x | sh\n# \\\nexec wish $0\n", "sh", Script),
        (
            "Tcl",
            "# a\npackage require Tk\nproc a {b} {\n    set c [lindex $b 0]\n}\nforeach x $y {\n}\n",
            "tcl",
            Text,
        ),
        ("Lua", lua, "lua", Text),
        ("m4", m4, "m4", Text),
        ("configure.ac", configure, "m4", Text),
        ("a log with words of Tcl", log, "tcl", Text),
        ("shell", shell, "sh", Script),
        ("shell with words of m4", &shell_as_m4, "m4", Script),
        (
            "a module",
            "// a\n/*\n * b\n */\nexport * from './a.js';\n\nexport { b } from \"./b.js\";\nexport {};\n",
            "js",
            Script,
        ),
        (
            "a page that shows an import",
            "# Our library\n\nWrite:\n\n```\nimport React from 'react';\n```\n\nand enjoy.\n",
            "txt",
            Text,
        ),
        ("prose", "export duties and import duties\nfrom 'abroad', that is\n", "txt", Text),
        ("a line of prose", "Dear all,\n\nsee below\nimport duties from 'abroad'\n", "txt", Text),
    ];
    for (name, text, expected, group) in cases {
        let found = detect(text.as_bytes());
        assert_eq!((found.extension, found.group), (expected, group), "{name}");
    }
}

/// The numbers that link the tree of a directory are letters in another reading.
#[test]
fn names_of_ole_files_are_compared_without_case_and_numbers_are_not() {
    let mut content = vec![0; 3 << 15];
    content[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    content[30] = 15;
    // Entry, its name, what is before and after it in its tree, what it holds.
    let entries = [
        (0_usize, "Root Entry", -1, -1, 70),
        (70, "WORDDocument", -1, 71, -1),
        (71, "ObjectPool", -1, -1, 102),
        (102, "EncryptedPackage", -1, -1, -1_i32),
    ];
    for (number, name, before, after, child) in entries {
        let at = (1 << 15) + number * 128;
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        content[at..at + name.len()].copy_from_slice(&name);
        for (place, number) in [(68, before), (72, after), (76, child)] {
            content[at + place..at + place + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
    assert_eq!(extension(&content), "doc");
}

/// What Windows runs by its name alone.
#[test]
fn what_runs_by_name_has_a_group() {
    use TypeGroup as G;
    let runs = "js jse vbs vbe wsf wsh hta ps1 psm1 bat cmd sct lnk url scf library-ms \
        settingcontent-ms msc inf reg application appref-ms xll cpl scr pif jar jnlp py exe com dll \
        msi search-ms website appinstaller chm ws wsc ps1xml cdxml psc1 job";
    for extension in runs.split_whitespace() {
        let group = group_of_extension(extension);
        assert!(matches!(group, Some(G::Executable | G::Script | G::Shortcut)), "{extension}");
    }
    for extension in ["iqy", "slk", "oqy", "rqy", "dqy"] {
        assert_eq!(group_of_extension(extension), Some(G::Document), "{extension}");
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_have_a_type(content: Vec<u8>, magic in 0_usize..6) {
        let magics: [&[u8]; 6] =
            [b"", b"MZ", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"0\x82", b"<"];
        let found = detect(&[magics[magic], &content].concat());
        proptest::prop_assert!(!found.name.is_empty());
        let _ = claim(&["a.txt".to_owned()], Some(found.media_type), &found);
    }
}
