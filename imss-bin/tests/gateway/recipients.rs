//! Unknown recipients are refused at `RCPT TO`: by a file that is read again, and by asking the
//! next hop ahead.

use rustix::process::Signal;

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter, wait_until};

fn rcpt(gateway: &Gateway, to: &str) -> String {
    let mut client = gateway.connect();
    assert!(client.say("MAIL FROM:<alice@elsewhere.example>").unwrap().starts_with("250"));
    client.say(&format!("RCPT TO:<{to}>")).unwrap()
}

#[test]
fn a_file_that_is_read_again() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\", \"open.example\"]",
        tables: "[recipients]\nfile = \"recipients\"\nexempt-domains = [\"open.example\"]",
        ..Setup::default()
    });
    home.write("recipients", "bob@ours.example\n");
    let gateway = Gateway::start(&home);
    let cases = [
        ("bob@ours.example", "250 2.1.5"),
        ("BOB+news@ours.example", "250 2.1.5"),
        ("carol@ours.example", "550 5.1.1"),
        ("postmaster@ours.example", "250 2.1.5"),
        ("anybody@open.example", "250 2.1.5"),
        ("anybody@elsewhere.example", "250 2.1.5"),
    ];
    for (to, expected) in cases {
        let reply = rcpt(&gateway, to);
        assert!(reply.starts_with(expected), "{to}: {reply}");
    }
    home.write("recipients", "carol@ours.example\n");
    gateway.signal(Signal::HUP);
    wait_until("the list is read", || rcpt(&gateway, "carol@ours.example").starts_with("250"));
    assert!(rcpt(&gateway, "bob@ours.example").starts_with("550 5.1.1"));
    home.write("recipients", "no address\n");
    gateway.signal(Signal::HUP);
    wait_until("the mistake is told", || gateway.said().contains("recipients:1: not an address"));
    assert!(rcpt(&gateway, "carol@ours.example").starts_with("250"), "the old list stays");
    gateway.stop();
}

#[test]
fn the_next_hop_is_asked() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\"]",
        tables: "[recipients]\ncall-ahead = true\nwhen-unverified = \"defer\"",
        ..Setup::default()
    });
    let gateway = Gateway::start(&home);
    let mail = letter("known", "The sink takes everybody.");
    gateway.connect().accepted("alice@elsewhere.example", &["bob@ours.example"], &mail);
    assert_eq!(sink.wait_for(1).len(), 1, "a question is no message");
    drop(sink);
    let reply = rcpt(&gateway, "carol@ours.example");
    assert!(reply.starts_with("451 4.4.3"), "{reply}");
    let reply = rcpt(&gateway, "bob@ours.example");
    assert!(reply.starts_with("250"), "what it said before still counts: {reply}");
    gateway.stop();
}
