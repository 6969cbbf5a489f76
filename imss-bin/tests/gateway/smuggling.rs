//! SMTP smuggling through the gateway: whatever the end of data is made to look like, one message in
//! is one message out or none, at Postfix and at a server that takes every dot for the end.

use std::net::SocketAddr;

use crate::exim::Exim;
use crate::postfix::Postfix;
use crate::sink::{Delivered, Sink};
use crate::support::{Client, Gateway, Home, Setup, letter};

/// False ends of data. None of them is CR LF, dot, CR LF.
const FALSE_ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\n\r.\r\n",
    b"\n\r.\n\r",
    b"\r\n.\n\r\n",
    b"\r\n\0.\0\r\n",
    b"\0.\0",
    b"\n..\n",
    b"\n..\r\n",
    b"\r\n..\n",
    b"\r..\r",
    b"\n.\r\r\n",
    b"\0\n.\n",
    b"\x0b.\x0b",
    b"\x0c.\x0c",
    b"\x85.\x85",
    b"\xc2\x85.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\xe2\x80\xa8.\r\n",
    b"\r\n\xe2\x80\x8b.\r\n",
];

/// Legal content that looks like an end of data after one step of dot-stuffing too few or too many.
const LEGAL: &[&[u8]] =
    &[b"\r\n..\r\n", b"\r\n...\r\n", b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n..\r\n..\r\n"];

const SMUGGLED: &[u8] =
    b"MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<victim@ours.example>\r\nDATA\r\n\
    From: smuggled@evil.example\r\nSubject: smuggled\r\n\r\nsmuggled\r\n";

/// One message with `end` and a second transaction in it.
fn content(number: usize, end: &[u8]) -> Vec<u8> {
    [letter(&format!("outer{number}"), "first").trim_ascii_end(), end, SMUGGLED].concat()
}

/// All of it in one packet; what the gateway said.
fn send_by_data(to: SocketAddr, content: &[u8]) -> String {
    let mut client = Client::connect_only(to).unwrap();
    let begin =
        b"EHLO c\r\nMAIL FROM:<outer@elsewhere.example>\r\nRCPT TO:<bob@ours.example>\r\nDATA\r\n";
    assert!(client.reply().unwrap().starts_with("220"));
    client.send(&[begin, content, b".\r\n"].concat()).unwrap();
    client.rest()
}

fn send_by_bdat(gateway: &Gateway, content: &[u8]) -> String {
    let mut client = Client::connect_only(gateway.smtp()).unwrap();
    let begin = format!(
        "EHLO c\r\nMAIL FROM:<outer@elsewhere.example>\r\nRCPT TO:<bob@ours.example>\r\nBDAT {} LAST\r\n",
        content.len()
    );
    assert!(client.reply().unwrap().starts_with("220"));
    client.send(&[begin.as_bytes(), content].concat()).unwrap();
    client.rest()
}

/// How many transactions the gateway answered with 250, told by the queue IDs.
fn accepted(said: &str) -> usize {
    said.matches("queued as").count()
}

/// No message of the smuggled sender, and no outer message twice.
fn check(delivered: &[Delivered], name: &str) {
    for (place, message) in delivered.iter().enumerate() {
        let before =
            place.checked_sub(1).map(|before| delivered[before].data.escape_ascii().to_string());
        let text = format!("{}\nafter {}", message.text(), before.unwrap_or_default());
        assert_eq!(message.from, "outer@elsewhere.example", "{name}: smuggled:\n{text}");
        assert_eq!(message.to, ["bob@ours.example"], "{name}: smuggled:\n{text}");
        assert!(text.contains("Subject: outer"), "{name}: split:\n{text}");
        let count = delivered.iter().filter(|other| subject(other) == subject(message)).count();
        assert_eq!(count, 1, "{name}: delivered {count} times:\n{text}");
    }
}

fn subject(message: &Delivered) -> String {
    let text = message.text();
    text.lines().find(|line| line.starts_with("Subject: outer")).unwrap_or_default().to_owned()
}

/// Sends every variant both ways; how many messages were accepted.
fn send_all(gateway: &Gateway) -> usize {
    let mut sent = 0;
    for (number, end) in FALSE_ENDS.iter().chain(LEGAL).enumerate() {
        let name = end.escape_ascii().to_string();
        for (way, said) in [
            ("DATA", send_by_data(gateway.smtp(), &content(2 * number, end))),
            ("BDAT", send_by_bdat(gateway, &content(2 * number + 1, end))),
        ] {
            let count = accepted(&said);
            assert!(count <= 1, "{name} by {way}: {count} messages of one\n{said}");
            assert!(!said.contains("\r\n50"), "{name} by {way}: content read as commands\n{said}");
            sent += count;
        }
    }
    sent
}

/// By BDAT a dot alone on a line is content like any other.
fn send_dots_by_bdat(gateway: &Gateway) -> usize {
    let said = send_by_bdat(gateway, &content(1000, b"\r\n.\r\n"));
    assert_eq!(accepted(&said), 1, "{said}");
    1
}

#[test]
fn nothing_is_smuggled_through_to_postfix() {
    let sink = Sink::start();
    // Postfix as it was before it knew of smuggling: it takes a bare LF for a line end.
    let postfix = Postfix::start(sink.address(), "smtpd_forbid_bare_newline = no");
    let home = Home::new(&Setup { next_hop: &postfix.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let sent = send_all(&gateway) + send_dots_by_bdat(&gateway);
    let delivered = sink.wait_for(sent);
    home.wait_for_empty_queue();
    crate::support::wait_until("Postfix has handed on everything", || postfix.is_empty());
    check(&delivered, "Postfix");
    assert_eq!(sink.count(), sent, "{}", postfix.log());
    assert!(sent > 2 * LEGAL.len(), "legal content was refused");
}

#[test]
fn nothing_is_smuggled_through_to_exim() {
    let sink = Sink::start();
    let exim = Exim::relaying_to(sink.address());
    let home = Home::new(&Setup { next_hop: &exim.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let sent = send_all(&gateway) + send_dots_by_bdat(&gateway);
    let delivered = sink.wait_for(sent);
    home.wait_for_empty_queue();
    crate::support::wait_until("Exim has handed on everything", || exim.is_empty());
    check(&delivered, "Exim");
    assert_eq!(sink.count(), sent, "{}", exim.log());
}

/// Another server takes the mail, and passes its reading of it on to us; behind us stands one that
/// takes every dot for the end.
fn from_the_front(front: SocketAddr, home: &Home, sink: &Sink, is_empty: &dyn Fn() -> bool) {
    for (number, end) in FALSE_ENDS.iter().chain(LEGAL).enumerate() {
        send_by_data(front, &content(number, end));
    }
    crate::support::wait_until("the server in front has handed on everything", is_empty);
    home.wait_for_empty_queue();
    let delivered = sink.wait_for(LEGAL.len());
    // A front that takes a false end for the end has split the message before we saw it. What we
    // must not do is split it again: whatever we got is one message behind us.
    for message in &delivered {
        let text = message.text();
        assert_eq!(text.matches("by gate.example with").count(), 1, "split behind us:\n{text}");
    }
}

#[test]
fn nothing_is_smuggled_from_postfix_in_front() {
    let sink = Sink::careless();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let postfix = Postfix::start(gateway.smtp(), "smtpd_forbid_bare_newline = no");
    from_the_front(postfix.address(), &home, &sink, &|| postfix.is_empty());
}

#[test]
fn nothing_is_smuggled_from_exim_in_front() {
    let sink = Sink::careless();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let exim = Exim::relaying_to(gateway.smtp());
    from_the_front(exim.address(), &home, &sink, &|| exim.is_empty());
}

#[test]
fn nothing_is_smuggled_through_to_a_careless_server() {
    let sink = Sink::careless();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let sent = send_all(&gateway) + send_dots_by_bdat(&gateway);
    let delivered = sink.wait_for(sent);
    home.wait_for_empty_queue();
    check(&delivered, "careless server");
    assert_eq!(sink.count(), sent);
}

/// The check itself: without the gateway, the careless server is taken in.
#[test]
fn a_careless_server_alone_is_taken_in() {
    for end in [&b"\n.\n"[..], b"\r\n.\r", b"\n.\r\n"] {
        let sink = Sink::careless();
        let mut client = Client::connect(sink.address()).unwrap();
        let begin =
            b"MAIL FROM:<outer@elsewhere.example>\r\nRCPT TO:<bob@ours.example>\r\nDATA\r\n";
        client.send(&[begin, content(0, end).as_slice(), b".\r\n"].concat()).unwrap();
        client.rest();
        assert_eq!(sink.count(), 2, "{}", end.escape_ascii());
    }
}
