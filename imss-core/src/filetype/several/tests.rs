use super::*;

fn zip() -> Vec<u8> {
    let local = [b"PK\x03\x04".as_slice(), &[0; 22], &[1, 0, 0, 0], b"a"].concat();
    let central = [b"PK\x01\x02".as_slice(), &[0; 24], &[1, 0], &[0; 16], b"a"].concat();
    let size = u8::try_from(central.len()).unwrap();
    let end = [b"PK\x05\x06".as_slice(), &[0; 8], &[size, 0, 0, 0], &[0; 6]].concat();
    [local, central, end].concat()
}

fn gif() -> Vec<u8> {
    [b"GIF89a\x01\0\x01\0\0\0\0".as_slice(), b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"].concat()
}

fn program() -> Vec<u8> {
    let mut content = vec![0; 128];
    content[..2].copy_from_slice(b"MZ");
    content[60] = 64;
    content[64..68].copy_from_slice(b"PE\0\0");
    content
}

fn disc(start: &[u8]) -> Vec<u8> {
    let mut content = vec![0; 34_000];
    content[..start.len()].copy_from_slice(start);
    content[32_769..32_774].copy_from_slice(b"CD001");
    content
}

fn pdf() -> Vec<u8> {
    b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\nstartxref\n9\n%%EOF\n".to_vec()
}

#[test]
fn every_type_is_named() {
    let rar = b"Rar!\x1a\x07\x01\0 and what follows it";
    let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\xff\xd9".to_vec();
    let page = b"<html><body>hello</body></html>\n".to_vec();
    let cases: Vec<(&str, Vec<u8>, &[&str], bool)> = vec![
        ("a PDF and a zip archive", [pdf(), zip()].concat(), &["pdf", "zip"], true),
        ("a picture and a zip archive", [gif(), zip()].concat(), &["gif", "zip"], true),
        ("a page and a zip archive", [page.clone(), zip()].concat(), &["html", "zip"], true),
        ("a program and its archive", [program(), zip()].concat(), &["exe", "zip"], false),
        (
            "a picture and a RAR archive",
            [jpeg.clone(), rar.to_vec()].concat(),
            &["jpg", "rar"],
            true,
        ),
        (
            "a picture and a script",
            b"GIF89a=1;new ActiveXObject('x');".to_vec(),
            &["gif", "js"],
            true,
        ),
        (
            "a picture and a script behind a comment",
            b"GIF89a/*\0\0\0*/=1;alert(1)//;".to_vec(),
            &["gif", "js"],
            true,
        ),
        (
            "a picture and an HTML application",
            [gif(), b"<HTA:APPLICATION><script>x</script>".to_vec()].concat(),
            &["gif", "hta"],
            true,
        ),
        ("a page before a PDF", [page, pdf()].concat(), &["pdf", "html"], true),
        ("a program before a PDF", [program(), pdf()].concat(), &["exe", "pdf"], true),
        ("a disc and a PDF", disc(&pdf()), &["pdf", "iso"], true),
        ("a disc", disc(b"\0"), &["iso"], false),
        ("a PDF", pdf(), &["pdf"], false),
        ("a PDF behind a line end", [b"\r\n".to_vec(), pdf()].concat(), &["pdf"], false),
        ("a zip archive", zip(), &["zip"], false),
        ("a picture", gif(), &["gif"], false),
        ("a picture and padding", [jpeg, vec![0; 40]].concat(), &["jpg"], false),
        ("a program", program(), &["exe"], false),
        ("text", b"hello".to_vec(), &["txt"], false),
        ("nothing", Vec::new(), &["empty"], false),
    ];
    for (name, content, expected, is_polyglot) in cases {
        let found: Vec<&str> = all(&content).iter().map(|found| found.extension).collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(identify(&content).is_polyglot(), is_polyglot, "{name}");
    }
}

#[test]
fn confidence_follows_the_evidence() {
    let cases: [(&str, Vec<u8>, Confidence); 5] = [
        ("data", vec![0, 1, 2, 200], Confidence::Fallback),
        ("a table", b"a,b\n1,2\n3,4\n5,6\n".to_vec(), Confidence::Heuristic),
        ("a picture", gif(), Confidence::Signature),
        ("an archive", zip(), Confidence::Structure),
        ("a program", program(), Confidence::Structure),
    ];
    for (name, content, expected) in cases {
        assert_eq!(identify(&content).confidence, expected, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_are_identified(content: Vec<u8>, magic in 0_usize..6) {
        let magics: [&[u8]; 6] = [b"", b"GIF89a", b"\xff\xd8", b"%PDF-", b"\x89PNG\r\n\x1a\n", b"MZ"];
        let content = [magics[magic], &content].concat();
        proptest::prop_assert_eq!(all(&content)[0], detect(&content));
    }
}
