//! Tricks in whole messages, each with a twin that is not found.

use imss_core::finding::FindingKind;
use imss_core::plan::Query;
use imss_core::verdict::Score;
use imss_scan::Scan;

use crate::mail::{Mail, zip};

/// A program without any code: enough to be one.
fn program() -> Vec<u8> {
    let mut program = b"MZ".to_vec();
    program.resize(0x80, 0);
    program[0x3C] = 0x40;
    program.splice(0x40..0x44, *b"PE\0\0");
    program
}

fn found(scan: &Scan) -> Vec<&str> {
    let active = scan.findings.found.iter().filter(|finding| finding.engine == "active-content");
    active.map(|finding| finding.name.as_str()).collect()
}

#[test]
fn files() {
    let exe = program();
    let opaque = "q7Jx".repeat(400);
    let smuggling = format!(
        "<html><body><script>var b = new Blob([atob('{opaque}')]); a.href = \
         URL.createObjectURL(b); a.download = 'a.zip'; a.click();</script></body></html>"
    );
    let report =
        "<html><body><h1>Report</h1><script>function sort() { return 1; }</script></body></html>";
    let dropper = b"var s = new ActiveXObject(\"WScr\" + \"ipt.Shell\");\r\ns.Run(\"calc\");\r\n";
    let library = b"function add(a, b) { return a + b; }\r\nvar x = add(1, 2);\r\n";
    let cases: [(&str, &str, Vec<u8>, bool); 10] = [
        ("a program alone in an archive", "a.zip", zip(&[("order.exe", &exe)]), true),
        (
            "a program with others",
            "a.zip",
            zip(&[("tool.exe", &exe), ("readme.txt", b"hello")]),
            false,
        ),
        ("two extensions", "invoice.pdf.exe", exe.clone(), true),
        ("one extension", "setup.exe", exe.clone(), false),
        ("a page that smuggles", "a.html", smuggling.clone().into(), true),
        ("a page with a script", "a.html", report.into(), false),
        ("a script that runs programs", "a.js", dropper.to_vec(), true),
        ("a script that adds", "a.js", library.to_vec(), false),
        ("a table with a command", "a.csv", b"a,b\n=cmd|'/C calc'!A0,c\n".to_vec(), true),
        ("a table", "a.csv", b"a,b\n=SUM(A1:A3),c\n".to_vec(), false),
    ];
    for (name, file, content, expected) in cases {
        let scan = Mail::with_attachments("see", &[(file, &content)]).ask(Query::Malware);
        assert_eq!(!found(&scan).is_empty(), expected, "{name}: {scan:?}");
        assert_eq!(scan.findings.score(), Score::ZERO, "{name}: this is not about spam");
    }
}

#[test]
fn points_add_up() {
    let scan = Mail::with_attachments("", &[("invoice.pdf.exe", &program())]).ask(Query::Malware);
    let suspicious: Vec<_> =
        scan.findings.found.iter().filter(|found| found.kind == FindingKind::Suspicious).collect();
    let number = |text: &str, place: usize| -> u32 {
        text.split_whitespace().nth(place).unwrap().parse().unwrap()
    };
    let sum: u32 = suspicious.iter().map(|found| number(&found.detail, 0)).sum();
    assert!(!suspicious.is_empty(), "{scan:?}");
    assert!(suspicious.iter().all(|found| number(&found.detail, 2) == sum), "{scan:?}");
}

#[test]
fn packed_programs_are_a_class_of_their_own() {
    // One section, named as a packer names it.
    let mut packed = program();
    packed.resize(0x200, 0);
    packed[0x46] = 1;
    packed[0x54] = 224;
    packed[0x58..0x5a].copy_from_slice(&0x10b_u16.to_le_bytes());
    let plain = packed.clone();
    packed[0x138..0x13c].copy_from_slice(b"UPX0");
    let kinds = |content: &[u8]| {
        let archive = zip(&[("tool.exe", content), ("readme.txt", b"hello")]);
        let scan = Mail::with_attachments("", &[("a.zip", &archive)]).ask(Query::Malware);
        scan.findings.found.iter().map(|found| (found.kind, found.name.clone())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&packed), [(FindingKind::Packed, "Packed.UPX".to_owned())]);
    assert_eq!(kinds(&plain), []);
}
