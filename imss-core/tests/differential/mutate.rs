//! Breaks a message in every way that mail readers are known to disagree about.
//!
//! In: a message with LF line ends. Out: named variants of it, always the same ones.

/// The variants of `raw`: every named one that changes it, then `random` ones drawn from `seed`.
pub(crate) fn variants(raw: &[u8], seed: u64, random: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("as is".to_owned(), raw.to_vec()), ("CRLF".to_owned(), crlf(raw))];
    for field in FIELDS {
        for (place, changed) in around_fields(raw, field) {
            all.push((format!("{field:?} {place}"), changed));
        }
    }
    for (from, to) in REPLACED {
        all.push((format!("{from:?} -> {to:?}"), replace(raw, from.as_bytes(), to.as_bytes())));
    }
    if let Some(boundary) = boundary(raw) {
        all.extend(boundaries(raw, &boundary));
    }
    all.extend(whole(raw));
    let mut random_state = Random(seed | 1);
    for number in 0..random {
        all.push((format!("random {seed}/{number}"), shuffled(raw, &mut random_state)));
    }
    all.retain(|(name, changed)| name == "as is" || changed != raw);
    all
}

/// Fields that are added before and after those of the message, and of each part.
const FIELDS: [&str; 22] = [
    "Content-Type: text/plain",
    "Content-Type: text/html; charset=utf-7",
    "Content-Type: multipart/mixed; boundary=\"other\"",
    "Content-Type: message/rfc822",
    "Content-Type: application/octet-stream; name=a.exe",
    "Content-Type:",
    "Content-Type: ;name=a.exe",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "Content-Transfer-Encoding: 7bit",
    "Content-Transfer-Encoding: x-uuencode",
    "Content-Transfer-Encoding: x-nobody",
    "Content-Transfer-Encoding:",
    "Content-Transfer-Encoding: base64, 7bit",
    "Content-Transfer-Encoding: base64 quoted-printable",
    "Content-Disposition: attachment; filename=a.exe; filename=b.txt",
    "Content-Disposition: attachment; filename*1=\"xe\"; filename*0=\"a.e\"",
    "Content-Disposition: attachment; filename*=utf-8''a%2Eexe; filename=b.txt",
    "Content-Disposition: attachment; filename*0*=iso-8859-1''%61; filename*1*=.e; filename*2=x%65",
    "Content-Disposition: attachment; filename==?utf-8?b?YS5leGU=?=",
    "Content-Disposition: attachment;\n filename*1=a; filename*3=.exe",
    "a line that is no field",
];

/// Text that is put in place of other text wherever it occurs.
const REPLACED: [(&str, &str); 40] = [
    ("boundary=\"", "boundary=\"x\"; boundary=\""),
    ("boundary=\"", "boundary*=us-ascii''x; boundary=\""),
    ("boundary=\"", "boundary*0=\""),
    ("boundary=\"", "boundary*0*=us-ascii''"),
    ("boundary=\"", "boundary = \""),
    ("boundary=\"", "BOUNDARY=(comment)\""),
    ("boundary=\"", "x=\"a;boundary=b\"; boundary=\""),
    ("boundary=\"", "boundary=\"\\"),
    ("boundary=", "boundary="),
    ("; boundary", " boundary"),
    ("; boundary", ";;; boundary"),
    ("; boundary", ";\n\tboundary"),
    ("; boundary", ";\n \n boundary"),
    ("; boundary", "; boundary=; boundary"),
    ("Content-Type:", "Content-Type :"),
    ("Content-Type:", "Content-Type\t:"),
    ("Content-Type:", "content-type:\n "),
    ("Content-Type:", " Content-Type:"),
    ("Content-Type:", "Content-Type"),
    ("Content-Type:", "Content\0-Type:"),
    ("Content-Type:", "X: y\rContent-Type:"),
    ("Content-Type: ", "Content-Type: \0"),
    ("Content-Type: ", "Content-Type: (a comment) "),
    ("Content-Type: ", "Content-Type: \""),
    ("multipart/", "multipart / "),
    ("multipart/", "MULTIPART/X-"),
    ("multipart/", "message/rfc822, multipart/"),
    ("Content-Transfer-Encoding: ", "Content-Transfer-Encoding:\n "),
    ("Content-Transfer-Encoding: ", "Content-Transfer-Encoding: \""),
    ("Content-Transfer-Encoding: ", "Content-Transfer-Encoding: (x) "),
    ("Content-Transfer-Encoding: ", "Content-Transfer-Encoding : "),
    ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: base64 junk"),
    ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: base-64"),
    ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable"),
    ("Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: quoted printable"),
    ("filename=\"", "filename=\"a.exe\"; filename=\""),
    ("name=\"", "name=\"x\" \""),
    ("=\n", "= \t\n"),
    ("=3D", "=3d"),
    ("\n\n", "\n \n\n"),
];

fn around_fields(raw: &[u8], field: &str) -> Vec<(&'static str, Vec<u8>)> {
    let line = format!("{field}\n");
    let first = [line.as_bytes(), raw].concat();
    let mut last = raw.to_vec();
    if let Some(end) = find(raw, b"\n\n") {
        last.splice(end + 1..end + 1, line.bytes());
    }
    let parts_first = replace(raw, b"\nContent-Type:", format!("\n{line}Content-Type:").as_bytes());
    let mut parts_last = Vec::new();
    let mut lines = raw.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(text) = lines.next() {
        parts_last.extend_from_slice(text);
        let ends = lines.peek().is_some_and(|next| *next == b"\n");
        if ends && text.to_ascii_lowercase().windows(8).any(|eight| eight == b"content-") {
            parts_last.extend_from_slice(line.as_bytes());
        }
    }
    vec![
        ("first", first),
        ("last", last),
        ("before every type", parts_first),
        ("last in every section", parts_last),
    ]
}

fn boundaries(raw: &[u8], boundary: &[u8]) -> Vec<(String, Vec<u8>)> {
    let delimiter = [b"--", boundary].concat();
    let close = [&delimiter[..], b"--"].concat();
    let short = &boundary[..boundary.len() - boundary.len() / 3];
    let declared = |new: &[u8]| {
        let at = find(raw, boundary).expect("it was found there");
        [&raw[..at], new, &raw[at + boundary.len()..]].concat()
    };
    let named = |name: &str, changed: Vec<u8>| (format!("boundary {name}"), changed);
    vec![
        named("declared short", declared(short)),
        named("declared long", declared(&[boundary, b"x"].concat())),
        named("declared with blank", declared(&[boundary, b" "].concat())),
        named("declared with NUL", declared(&[boundary, b"\0x"].concat())),
        named("in other case", declared(&boundary.to_ascii_uppercase())),
        named("with text after", replace(raw, &delimiter, &[&delimiter[..], b"x"].concat())),
        named("with blank and text", replace(raw, &delimiter, &[&delimiter[..], b" x"].concat())),
        named("with blanks after", replace(raw, &delimiter, &[&delimiter[..], b" \t"].concat())),
        named("after a blank", replace(raw, &delimiter, &[b" ", &delimiter[..]].concat())),
        named("after text", replace(raw, &delimiter, &[b"x", &delimiter[..]].concat())),
        named(
            "after CR",
            replace(raw, &[b"\n", &delimiter[..]].concat(), &[b"\r", &delimiter[..]].concat()),
        ),
        named("one hyphen", replace(raw, &delimiter, &delimiter[1..])),
        named("three hyphens", replace(raw, &delimiter, &[b"-", &delimiter[..]].concat())),
        named("never closed", replace(raw, &close, b"")),
        named("closed at once", replace(raw, &delimiter, &close)),
        named("closed and text", replace(raw, &close, &[&close[..], b"x"].concat())),
        named("closed with one hyphen", replace(raw, &close, &close[..close.len() - 1])),
        named("file after the end", [raw, b"\n", &delimiter[..], EXTRA_PART].concat()),
        named("file before the first", {
            let at = find(raw, &[b"\n", &delimiter[..]].concat()).unwrap_or(raw.len());
            [&raw[..at], EXTRA_PART, &raw[at..]].concat()
        }),
        named(
            "header cut",
            replace(raw, &[&delimiter[..], b"\n"].concat(), &[&delimiter[..], b"\n\n"].concat()),
        ),
    ]
}

const EXTRA_PART: &[u8] = b"\nContent-Type: application/zip; name=extra.zip\n\
Content-Transfer-Encoding: base64\n\nUEsDBBQAAAAIAHh4eHg=\n";

/// Changes of the whole message.
fn whole(raw: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (header, body) = match find(raw, b"\n\n") {
        Some(end) => raw.split_at(end + 2),
        None => (raw, &[][..]),
    };
    let wrapped = |kind: &str| {
        let head = format!(
            "Subject: outer\nContent-Type: multipart/mixed; boundary=\"outer\"\n\n--outer\n\
             Content-Type: {kind}\n\n"
        );
        [head.as_bytes(), raw, b"\n--outer--\n"].concat()
    };
    let encoded = {
        let mut text = String::from(
            "Subject: outer\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n",
        );
        text.push_str(&base64(raw));
        text.into_bytes()
    };
    let named = |name: &str, changed: Vec<u8>| (name.to_owned(), changed);
    let half = raw.len() / 2;
    let mut all = vec![
        named("CR", replace(raw, b"\n", b"\r")),
        named("CR CR LF", replace(raw, b"\n", b"\r\r\n")),
        named("CR in the header", [&replace(header, b"\n", b"\r")[..], b"\n", body].concat()),
        named("CR in the body", [header, &replace(body, b"\n", b"\r")[..]].concat()),
        named("CRLF in the body", [header, &crlf(body)[..]].concat()),
        named("CRLF in the header", [&crlf(header)[..], body].concat()),
        named(
            "CR before the body",
            [&header[..header.len().saturating_sub(1)], b"\r", body].concat(),
        ),
        named("empty line first", [b"\n", raw].concat()),
        named("blank first", [b" ", raw].concat()),
        named("From line", [b"From a@b Thu Jan  1 00:00:00 1970\n", raw].concat()),
        named(">From line", [b">From a@b Thu Jan  1 00:00:00 1970\n", raw].concat()),
        named("BOM", [b"\xEF\xBB\xBF", raw].concat()),
        named("NUL first", [b"\0", raw].concat()),
        named("no empty line", [header.strip_suffix(b"\n").unwrap_or(header), body].concat()),
        named("in a message", wrapped("message/rfc822")),
        named("in a global message", wrapped("message/global")),
        named("in an encoded message", encoded),
        named("in plain text", wrapped("text/plain")),
        named("first half", raw[..half].to_vec()),
        named("nine tenths", raw[..raw.len() * 9 / 10].to_vec()),
        named("base64 in quoted-printable", {
            let head = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: \
                        quoted-printable\nContent-Transfer-Encoding: base64\n\n";
            [head.as_bytes(), base64(raw).as_bytes()].concat()
        }),
        named("base64url", replace(&replace(raw, b"+", b"-"), b"/", b"_")),
        named("base64 with junk", insert_in_base64(raw, b"!")),
        named("base64 with padding", insert_in_base64(raw, b"=")),
        named("base64 with hyphens", insert_in_base64(raw, b"-")),
        named("base64 with blanks", insert_in_base64(raw, b" ")),
        named("base64 with CR", insert_in_base64(raw, b"\r")),
    ];
    for at in 1..8 {
        let at = raw.len() * at / 8;
        all.push((format!("NUL at {at}"), [&raw[..at], b"\0", &raw[at..]].concat()));
        all.push((format!("CR at {at}"), [&raw[..at], b"\r", &raw[at..]].concat()));
        all.push((format!("LF at {at}"), [&raw[..at], b"\n", &raw[at..]].concat()));
    }
    all
}

/// Puts `junk` into the middle of every line that is long and has no blanks.
fn insert_in_base64(raw: &[u8], junk: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let coded = line.len() > 20
            && line
                .trim_ascii()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
        let (left, right) = line.split_at(if coded { 11 } else { 0 });
        out.extend_from_slice(left);
        out.extend_from_slice(if coded { junk } else { b"" });
        out.extend_from_slice(right);
    }
    out
}

/// A few random changes: octets, lines and tokens moved, doubled or lost.
fn shuffled(raw: &[u8], random: &mut Random) -> Vec<u8> {
    const TOKENS: [&[u8]; 16] = [
        b"\n--",
        b"--",
        b"\n\n",
        b"\n",
        b"\r",
        b"\0",
        b"\"",
        b";",
        b":",
        b" ",
        b"=",
        b"Content-Type: multipart/mixed; boundary=x\n",
        b"--x\n",
        b"Content-Transfer-Encoding: base64\n",
        b"begin 644 a.exe\n%:&5L;&\\\n`\nend\n",
        b"Content-Type: message/rfc822\n\n",
    ];
    let mut lines: Vec<Vec<u8>> =
        raw.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..=random.below(3) {
        if lines.is_empty() {
            lines.push(Vec::new());
        }
        let (here, there) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(6) {
            0 => lines.swap(here, there),
            1 => {
                let line = lines[here].clone();
                lines.insert(there, line);
            }
            2 if lines.len() > 1 => {
                lines.remove(here);
            }
            3 => {
                let at = random.below(lines[here].len() + 1);
                lines[here].splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied());
            }
            4 => lines.insert(here, TOKENS[random.below(TOKENS.len())].to_vec()),
            _ => {
                let at = random.below(lines[here].len().max(1));
                let byte = u8::try_from(random.below(256)).expect("below 256");
                if let Some(old) = lines[here].get_mut(at) {
                    *old = byte;
                }
            }
        }
    }
    lines.concat()
}

/// The first declared boundary in quotes.
fn boundary(raw: &[u8]) -> Option<Vec<u8>> {
    let start = find(raw, b"boundary=\"")? + 10;
    let length = raw[start..].iter().position(|byte| *byte == b'"')?;
    (length > 2).then(|| raw[start..start + length].to_vec())
}

pub(crate) fn crlf(raw: &[u8]) -> Vec<u8> {
    replace(&replace(raw, b"\r\n", b"\n"), b"\n", b"\r\n")
}

pub(crate) fn replace(raw: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(raw.len()), raw);
    while let Some(at) = find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn find(raw: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(raw, what)
}

fn base64(raw: &[u8]) -> String {
    let text = base64_simd::STANDARD.encode_to_string(raw);
    let lines = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}
