//! What is refused whatever the policy says: mail in a loop, and pieces of messages.

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter};

const TO: &[&str] = &["bob@ours.example"];

/// `letter` behind so many trace fields.
fn after_hops(hops: usize) -> Vec<u8> {
    let field = "Received: from a.example by b.example; Sun, 22 Nov 2026 10:00:00 +0000\r\n";
    let mut message = field.repeat(hops).into_bytes();
    message.extend(letter("hops", "around and around"));
    message
}

fn partial() -> Vec<u8> {
    let head = "From: a@elsewhere.example\r\nMIME-Version: 1.0\r\n\
        Content-Type: message/partial; id=\"x@elsewhere.example\"; number=1; total=2\r\n\r\n";
    format!("{head}Subject: a piece\r\n\r\nhalf of it\r\n").into_bytes()
}

#[test]
fn loops_and_pieces_are_refused() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let cases = [
        ("as many hops as are allowed", after_hops(50), "250 "),
        ("one more", after_hops(51), "554 5.4.6"),
        ("a piece of a message", partial(), "554 5.6.1"),
        ("the session is in step", after_hops(0), "250 "),
    ];
    for (name, message, reply) in cases {
        let said = client.mail("alice@elsewhere.example", TO, &message).unwrap();
        assert!(said.starts_with(reply), "{name}: {said}");
    }
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), 2, "what was refused went nowhere");
}
