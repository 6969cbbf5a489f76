use super::super::codec;
use super::*;

const ALL: Offer = Offer { version: 6, actions: 0x1ff, steps: 0x1f_ffff };

fn framed(letter: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[letter], data].concat()
}

fn offered(offer: Offer) -> Vec<u8> {
    let numbers = [offer.version, offer.actions, offer.steps];
    framed(b'O', &numbers.map(u32::to_be_bytes).concat())
}

/// What came of frames: contents and messages, and the letters of the answers.
#[derive(Debug, Default)]
struct Told {
    messages: Vec<(Complete, Vec<u8>)>,
    answers: String,
    abandoned: usize,
    closed: bool,
}

fn tell(session: &mut Session, frames: &[Vec<u8>]) -> Told {
    let mut told = Told::default();
    let mut content = Vec::new();
    for octets in frames {
        let (_, command) = codec::read(octets).unwrap().unwrap();
        match session.obey(command) {
            Event::Continue => {}
            Event::Begin => {
                content.clear();
                session.begin(Ok(()));
            }
            Event::Content(piece) => content.extend_from_slice(&piece),
            Event::End(piece, complete) => {
                content.extend_from_slice(&piece);
                told.messages.push((*complete, std::mem::take(&mut content)));
            }
            Event::Abandon => told.abandoned += 1,
            Event::Close => told.closed = true,
        }
        let output = std::mem::take(session.output());
        let mut rest = output.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            told.answers.push(char::from(after[0]));
            rest = &after[length..];
        }
    }
    told
}

fn message(path: &[u8]) -> Vec<Vec<u8>> {
    vec![
        framed(b'M', b"<a@x.example>\0SIZE=9\0X-OWN=1\0BODY=8BITMIME\0"),
        framed(b'R', path),
        framed(b'L', b"Subject\0 a\n\tb\0"),
        framed(b'L', b"X-Tight\0none\0"),
        framed(b'N', b""),
        framed(b'B', b"one\r\n"),
        framed(b'E', b""),
    ]
}

fn connected() -> Vec<Vec<u8>> {
    vec![
        offered(ALL),
        framed(b'D', b"Cj\0mx.example\0{client_addr}\x00192.0.2.9\0"),
        framed(b'C', b"client.example\x004\0\x19192.0.2.1\0"),
        framed(b'D', b"H{tls_version}\0TLSv1.3\0{cipher}\0TLS_X\0"),
        framed(b'H', b"client.example\0"),
    ]
}

#[test]
fn a_message_is_the_one_that_the_mail_server_has() {
    let mut session = Session::new(10);
    let mut frames = connected();
    frames.push(framed(b'D', b"Mi\0ABC\0{auth_authen}\0alice\0"));
    frames.extend(message(b"<b@x.example>\0NOTIFY=NEVER\0"));
    let told = tell(&mut session, &frames);
    assert_eq!(told.answers, "Occ", "negotiation, MAIL and RCPT are answered, nothing else");
    let (complete, content) = &told.messages[0];
    assert_eq!(content, b"Subject: a\r\n\tb\r\nX-Tight:none\r\n\r\none\r\n");
    assert_eq!(complete.queue_id, "ABC");
    let Envelope { client, reverse_path, parameters, recipients } = &complete.envelope;
    assert_eq!(client.ip.to_string(), "192.0.2.1");
    assert_eq!(client.tls.as_deref(), Some("TLSv1.3 TLS_X"));
    assert_eq!(reverse_path.to_string(), "a@x.example");
    assert_eq!((parameters.size, parameters.body.is_some()), (Some(9), true));
    assert!(recipients[0].parameters.notify.is_some_and(|notify| !notify.failure));
    let fields = complete.outline.fields.as_ref().unwrap();
    assert_eq!(fields.len(), 2);
    assert_eq!(complete.outline.header_bytes, 32);
    assert_eq!(
        (fields[1].start, fields[1].end, fields[1].name.as_slice()),
        (16, 30, &b"X-Tight"[..])
    );
}

#[test]
fn nothing_is_left_for_the_next_message_or_client() {
    let mut session = Session::new(10);
    let mut frames = connected();
    frames.push(framed(b'D', b"Mi\0FIRST\0"));
    frames.extend(message(b"<b@x.example>\0"));
    frames.extend(message(b"<c@x.example>\0"));
    frames.push(framed(b'M', b"<left@x.example>\0"));
    frames.push(framed(b'A', b""));
    frames.extend(message(b"<d@x.example>\0"));
    frames.push(framed(b'K', b""));
    frames.push(framed(b'C', b"localhost\0U"));
    frames.extend(message(b"<e@x.example>\0"));
    let told = tell(&mut session, &frames);
    let seen: Vec<_> = told
        .messages
        .iter()
        .map(|(complete, content)| {
            let recipients = &complete.envelope.recipients;
            let to: Vec<_> = recipients.iter().map(|one| one.path.to_string()).collect();
            (to.join(","), complete.queue_id.as_str(), content.len())
        })
        .collect();
    let expected = [("b", "FIRST"), ("c", ""), ("d", ""), ("e", "")]
        .map(|(to, id)| (format!("{to}@x.example"), id, 37));
    assert_eq!(seen, expected);
    let last = &told.messages[3].0.envelope.client;
    assert_eq!((last.ip.to_string().as_str(), last.helo.as_str()), ("127.0.0.1", ""));
    assert_eq!(last.tls, None);
    assert_eq!(told.abandoned, 2);
}

#[test]
fn steps_out_of_place_end_it() {
    let cases: [(&str, Vec<Vec<u8>>); 9] = [
        ("no negotiation", vec![framed(b'H', b"x\0")]),
        ("a version of long ago", vec![offered(Offer { version: 1, ..ALL })]),
        ("twice", vec![offered(ALL), offered(ALL)]),
        ("RCPT first", vec![offered(ALL), framed(b'R', b"<a@b>\0")]),
        ("a field of nothing", vec![offered(ALL), framed(b'L', b"a\0b\0")]),
        ("a body of nothing", vec![offered(ALL), framed(b'B', b"x")]),
        ("an end of nothing", vec![offered(ALL), framed(b'E', b"")]),
        ("for nobody", vec![offered(ALL), framed(b'M', b"<a@b.example>\0"), framed(b'E', b"")]),
        (
            "a field after the body",
            vec![
                offered(ALL),
                framed(b'M', b"<a@b.example>\0"),
                framed(b'B', b"x"),
                framed(b'L', b"a\0b\0"),
            ],
        ),
    ];
    for (name, frames) in cases {
        assert!(tell(&mut Session::new(10), &frames).closed, "{name}");
    }
}

#[test]
fn old_mail_servers_get_every_answer() {
    let mut session = Session::new(10);
    let mut frames = connected();
    frames[0] = offered(Offer { version: 2, actions: 0x3f, steps: 0x7f });
    frames.extend(message(b"<b@x.example>\0"));
    let told = tell(&mut session, &frames);
    // connection, HELO, MAIL, RCPT, two fields, end of fields, body.
    assert_eq!(told.answers, "Occcccccc");
    assert_eq!(told.messages[0].1, b"Subject:  a\r\n\tb\r\nX-Tight: none\r\n\r\none\r\n");
}

#[test]
fn addresses_and_their_number() {
    let mut session = Session::new(2);
    let mut frames = connected();
    let recipients: [&[u8]; 6] = [
        b"<root>\0",
        b"bob@x.example\0",
        b"<bob@x.example>\0",
        b"<a b@c d>\0",
        b"<c@x.example>\0",
        b"\0",
    ];
    frames.push(framed(b'M', b"<daemon>\0"));
    frames.extend(recipients.map(|path| framed(b'R', path)));
    frames.push(framed(b'E', b"text"));
    let told = tell(&mut session, &frames);
    assert_eq!(told.answers, "Occccyyy");
    let (complete, content) = &told.messages[0];
    assert_eq!(complete.envelope.reverse_path.to_string(), "daemon@mx.example");
    let to: Vec<_> = complete.envelope.recipients.iter().map(|one| one.path.to_string()).collect();
    assert_eq!(to, ["root@mx.example", "bob@x.example"]);
    assert_eq!(complete.outline.recipients[1], [&b"bob@x.example"[..], b"<bob@x.example>"]);
    assert_eq!(content, b"\r\ntext");
}

/// What is a field to the mail server is one to us, whatever it holds.
#[test]
fn values_cannot_end_the_header_section() {
    let mut session = Session::new(10);
    let mut frames = connected();
    frames.push(framed(b'M', b"<>\0"));
    frames.push(framed(b'R', b"<b@x.example>\0"));
    frames.push(framed(b'L', b"A\0 1\n\n 2\r\n\r\n\0"));
    frames.push(framed(b'L', b"B\rX: y\0 3\0"));
    frames.push(framed(b'E', b""));
    let told = tell(&mut session, &frames);
    let (complete, content) = &told.messages[0];
    assert_eq!(content, b"A: 1\r\n 2\r\nB?X: y: 3\r\n\r\n");
    assert_eq!(complete.outline.fields, None, "a field that cannot be named");
}

#[test]
fn replies_are_whole() {
    let cases = [
        (Reply::new(550, (5, 7, 1), "100% no"), &b"550 5.7.1 100%% no\0"[..]),
        (Reply::new(421, (4, 3, 2), "later"), b"451 4.3.2 later\0"),
        (Reply::new(250, (2, 0, 0), "yes"), b"451 4.3.0 Local error\0"),
        (Reply::new(554, (5, 6, 0), "one\ntwo"), b"554-5.6.0 one\r\n554 5.6.0 two\0"),
    ];
    for (reply, expected) in cases {
        let mut out = Vec::new();
        write_reply(&reply, &mut out);
        assert_eq!(&out[5..], expected, "{reply}");
        assert_eq!(out[4], b'y');
    }
}
