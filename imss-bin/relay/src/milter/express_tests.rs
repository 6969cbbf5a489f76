use proptest::prelude::*;

use super::*;

/// A mail server's message: names and values of its fields, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Letter {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Letter {
    fn octets(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, value) in &self.fields {
            all.extend(format!("{name}:{}\r\n", value.replace('\n', "\r\n")).bytes());
        }
        all.extend(b"\r\n");
        all.extend(&self.body);
        all
    }

    fn outline(&self) -> Outline {
        let mut at = 0;
        let mut fields = Vec::new();
        for (name, value) in &self.fields {
            let start = at;
            at += (name.len() + value.replace('\n', "\r\n").len() + 3) as u64;
            fields.push(Field { name: name.clone().into_bytes(), start, end: at });
        }
        let actions = 0x3f;
        let fields = Some(fields);
        Outline {
            actions,
            leading_space: true,
            recipients: Vec::new(),
            fields,
            header_bytes: at + 2,
        }
    }

    /// What a mail server makes of it. `counts_gone`: fields that were removed still have a number.
    fn ordered(&self, frames: &[u8], counts_gone: bool) -> Vec<(String, String)> {
        let mut list: Vec<(String, String, bool)> =
            self.fields.iter().map(|(name, value)| (name.clone(), value.clone(), false)).collect();
        let mut rest = frames;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (letter, data) = (after[0], &after[1..length]);
            rest = &after[length..];
            let index = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
            let mut words = data[4..].split(|octet| *octet == 0);
            let mut word = || String::from_utf8(words.next().unwrap().to_vec()).unwrap();
            let (name, value) = (word(), word());
            match letter {
                // Its own trace field is the first, and not in this list.
                b'i' => list.insert((index - 1).min(list.len()), (name, value, false)),
                b'm' => {
                    let of_name = |(_, field): &(usize, &mut (String, String, bool))| {
                        field.0.eq_ignore_ascii_case(&name) && (counts_gone || !field.2)
                    };
                    let mut found = list.iter_mut().enumerate().filter(of_name);
                    let (_, field) = found.nth(index - 1).expect("a field of that number");
                    assert!(!field.2, "a field that is gone");
                    (field.1, field.2) = (value.clone(), value.is_empty());
                }
                other => panic!("order {other}"),
            }
        }
        list.into_iter().filter(|field| !field.2).map(|(name, value, _)| (name, value)).collect()
    }
}

fn change(letter: &Letter, rope: &Rope) -> Option<(Vec<u8>, Rope)> {
    let (octets, outline) = (letter.octets(), letter.outline());
    let fields = outline.fields.as_ref().unwrap();
    let body = Body::Memory(octets.into());
    let read = |range: Range<u64>| body.read(range);
    let change = Change::between(fields, outline.header_bytes, rope, &read).unwrap()?;
    let mut frames = Vec::new();
    change.write_fields(fields, &outline, &mut frames)?;
    Some((frames, change.body))
}

fn letter() -> Letter {
    let fields = [
        ("Received", " from a\n\tby b"),
        ("Received", " from c"),
        ("Subject", " hello"),
        ("X-Old", "tight"),
        ("Received", " odd"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Letter { fields: fields.into(), body: b"text\r\n".to_vec() }
}

fn new(text: &str) -> Piece {
    Piece::Inserted(text.to_owned().into_bytes().into())
}

#[test]
fn changes_of_the_kinds_that_policies_make() {
    let letter = letter();
    let octets = letter.octets();
    let at = |text: &str| {
        memchr::memmem::find(&octets, text.as_bytes()).map(|place| place as u64).unwrap()
    };
    let end = octets.len() as u64;
    let (subject, old, odd, body) = (at("Subject"), at("X-Old"), at("Received: odd"), at("text"));
    let whole = |from, to| Piece::Original(from..to);
    let cases: [(&str, Vec<Piece>, &str); 8] = [
        ("unchanged", vec![whole(0, end)], ""),
        ("a field on top", vec![new("X-A: 1\r\n"), whole(0, end)], "i"),
        (
            "a field at the end",
            vec![whole(0, body - 2), new("X-A: 1\r\n"), whole(body - 2, end)],
            "i",
        ),
        ("a tag", vec![whole(0, subject + 9), new("[tag] "), whole(subject + 9, end)], "m"),
        ("one less", vec![whole(0, old), whole(odd, end)], "m"),
        ("all of a name", vec![whole(subject, odd), whole(body - 2, end)], "mmm"),
        ("another body", vec![whole(0, body), new("other\r\n")], ""),
        (
            "replaced, and one more",
            vec![whole(0, subject), new("Subject: x\r\nX-B: 2\r\n\t3\r\n"), whole(old, end)],
            "im",
        ),
    ];
    for (name, pieces, letters) in cases {
        let rope = Rope { pieces };
        let (frames, new_body) = change(&letter, &rope).unwrap_or_else(|| panic!("{name}"));
        for counts_gone in [false, true] {
            let fields = letter.ordered(&frames, counts_gone);
            let made = Letter { fields, body: new_body.to_bytes(&octets) }.octets();
            let expected = rope.to_bytes(&octets);
            assert_eq!(String::from_utf8(made), String::from_utf8(expected), "{name}");
        }
        let mut told = String::new();
        let mut rest = frames.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            told.push(char::from(after[0]));
            rest = &after[u32::from_be_bytes(*length) as usize..];
        }
        assert_eq!(told, letters, "{name}");
    }
}

#[test]
fn what_cannot_be_told() {
    let letter = letter();
    let octets = letter.octets();
    let end = octets.len() as u64;
    let outline = letter.outline();
    let header = outline.header_bytes;
    let whole = |from, to| Piece::Original(from..to);
    let cases: [(&str, Vec<Piece>); 7] = [
        ("no field", vec![new("no field\r\n"), whole(0, end)]),
        ("a line that goes on with nothing", vec![new(" goes on\r\n"), whole(0, end)]),
        ("no line end", vec![whole(0, header - 2), new("A: b"), whole(header - 2, end)]),
        ("an empty value", vec![new("A:\r\n"), whole(0, end)]),
        ("another empty line", vec![whole(0, header - 2), new("\r\n"), whole(header, end)]),
        ("another order", vec![whole(15, header), whole(0, 15), whole(header, end)]),
        ("all new", vec![new("A: b\r\n\r\nc\r\n")]),
    ];
    for (name, pieces) in cases {
        assert_eq!(change(&letter, &Rope { pieces }), None, "{name}");
    }
}

fn any_field() -> impl Strategy<Value = (String, String)> {
    let names = prop::sample::select(vec!["A", "a", "B", "Long-Name"]);
    (names, " [a-c]{1,3}(\n\t[a-c]{1,3})?").prop_map(|(name, value)| (name.to_owned(), value))
}

proptest! {
    /// Whatever fields are kept, dropped, replaced or added: both kinds of mail server end up with the
    /// copy.
    #[test]
    fn orders_make_the_copy(
        fields in prop::collection::vec(any_field(), 0..12),
        edits in prop::collection::vec((0_u8..5, any_field()), 13),
        new_body in any::<bool>(),
    ) {
        let letter = Letter { fields, body: b"body\r\n".to_vec() };
        let (octets, outline) = (letter.octets(), letter.outline());
        let mut pieces = Vec::new();
        for (place, (what, (name, value))) in edits.iter().enumerate() {
            let text = format!("{name}:{}\r\n", value.replace('\n', "\r\n"));
            let old = outline.fields.as_ref().unwrap().get(place);
            if *what >= 3 {
                pieces.push(new(&text));
            }
            if let Some(old) = old && what % 2 == 0 {
                pieces.push(Piece::Original(old.start..old.end));
            }
        }
        pieces.push(Piece::Original(outline.header_bytes - 2..outline.header_bytes));
        pieces.push(if new_body {
            new("other\r\n")
        } else {
            Piece::Original(outline.header_bytes..octets.len() as u64)
        });
        let rope = Rope { pieces };
        let (frames, body) = change(&letter, &rope).expect("it can be told");
        for counts_gone in [false, true] {
            let fields = letter.ordered(&frames, counts_gone);
            let made = Letter { fields, body: body.to_bytes(&octets) }.octets();
            prop_assert_eq!(
                String::from_utf8(made), String::from_utf8(rope.to_bytes(&octets))
            );
        }
    }
}
