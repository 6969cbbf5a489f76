//! Before-queue proxy: the client gets the next hop's own reply, and nothing is stored here.

use std::path::Path;

use crate::forwarded::secret;
use crate::sink::{ClosedPort, Sink};
use crate::support::{Gateway, Home, Setup, in_front, is_our_trace, letter, wait_until};

/// All octets of files below `folder`.
fn octets_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { octets_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

fn proxy(next_hop: &str) -> Home {
    Home::new(&Setup { next_hop, mode: "proxy", ..Setup::default() })
}

const TO: &[&str] = &["bob@ours.example"];

#[test]
fn the_next_hops_reply_is_the_clients() {
    let sink = Sink::start();
    let home = proxy(&sink.url());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let cases: [(&str, &str, &str, usize); 7] = [
        ("accepted", ".", "250 2.6.0 <1@hop> Queued mail for delivery", 1),
        ("accepted, old style", ".", "250 ok 1795359499 qp 4711", 1),
        ("refused for now", ".", "451 4.7.1 Greylisted, come back in 5 minutes", 0),
        ("refused for good", ".", "554 5.7.1 I do not like this message", 0),
        ("recipient unknown", "RCPT", "550 5.1.1 No such user here", 0),
        ("recipient's mailbox full", "RCPT", "452 4.2.2 Mailbox full", 0),
        ("sender refused", "MAIL", "553 5.1.8 Sender address does not exist", 0),
    ];
    let mut count = 0;
    for (name, at, reply, kept) in cases {
        sink.script(move |line| {
            line.to_ascii_uppercase().starts_with(at).then(|| reply.to_owned())
        });
        let content = letter(&name.replace(' ', "-"), "through the proxy");
        let said = client.mail("alice@elsewhere.example", TO, &content).unwrap();
        let (code, text) = reply.split_once(' ').unwrap();
        assert!(said.starts_with(code), "{name}: {said}");
        let text = text
            .split_once(' ')
            .filter(|(first, _)| first.starts_with(&code[..1]))
            .map_or(text, |(_, rest)| rest);
        assert!(said.contains(text), "{name}: {said}");
        count += kept;
        assert_eq!(sink.count(), count, "{name}");
        if kept == 1 {
            let delivered = sink.delivered().pop().unwrap();
            assert!(in_front(&delivered.data, &content).is_some_and(is_our_trace), "{name}");
        }
    }
    assert!(client.say("NOOP").unwrap().starts_with("250"), "the session is in step");
    assert!(home.queue().is_empty());
    let spool = home.data().join("spool");
    gateway.stop();
    let stored = octets_below(&spool.join("segments"));
    assert!(stored.len() < 1024, "{} octets in the journal", stored.len());
    assert!(octets_below(&spool.join("bodies")).is_empty(), "bodies are left");
}

#[test]
fn large_mail_leaves_nothing_behind() {
    let sink = Sink::start();
    let home = proxy(&sink.url());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let content = letter("large", "a line of a large message\r\n".repeat(80_000).trim_end());
    let said = client.mail("alice@elsewhere.example", TO, &content).unwrap();
    assert_eq!(said, "250 2.0.0 Ok: kept");
    assert!(in_front(&sink.delivered()[0].data, &content).is_some_and(is_our_trace));
    gateway.stop();
    assert!(octets_below(&home.data().join("spool/bodies")).is_empty(), "bodies are left");
}

#[test]
fn a_next_hop_that_is_down_is_a_refusal_for_now() {
    let next_hop = ClosedPort::new();
    let home = proxy(&format!("smtp://{}", next_hop.address));
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let said = client.mail("alice@elsewhere.example", TO, &letter("down", "Hello.")).unwrap();
    assert!(said.starts_with('4'), "{said}");
    let sink = next_hop.open();
    let said = client.mail("alice@elsewhere.example", TO, &letter("up", "Hello.")).unwrap();
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(sink.count(), 1);
    assert!(home.queue().is_empty());
}

/// A connection that breaks in the middle: nobody knows what the next hop has, so the client keeps it.
#[test]
fn a_next_hop_that_goes_away_is_a_refusal_for_now() {
    let sink = Sink::start();
    let home = proxy(&sink.url());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    sink.script(|line| (line == ".").then(|| "421 4.3.2 Going down".to_owned()));
    let said = client.mail("alice@elsewhere.example", TO, &letter("one", "Hello.")).unwrap();
    assert!(said.starts_with('4'), "{said}");
    // 421 is passed on as it is, and means that the session ends.
    let mut client = gateway.connect();
    sink.script(|line| line.starts_with("DATA").then(|| "not a reply".to_owned()));
    let said = client.mail("alice@elsewhere.example", TO, &letter("two", "Hello.")).unwrap();
    assert!(said.starts_with('4'), "{said}");
    assert_eq!(sink.count(), 0);
}

/// SMTP has one reply for all recipients: those the next hop did not take are ours from then on.
#[test]
fn what_the_next_hop_takes_for_some_is_kept_for_the_others() {
    let sink = Sink::start();
    let home = proxy(&sink.url());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    sink.script(|line| {
        let line = line.to_lowercase();
        let later = line.starts_with("rcpt to:<carol@").then(|| "450 4.2.0 Busy".to_owned());
        later.or_else(|| line.starts_with("rcpt to:<nobody@").then(|| "550 5.1.1 Who?".to_owned()))
    });
    let to = ["bob@ours.example", "carol@ours.example", "nobody@ours.example"];
    let said = client.mail("alice@elsewhere.example", &to, &letter("some", "Hello.")).unwrap();
    assert!(said.starts_with("250 "), "{said}");
    let delivered = sink.wait_for(2);
    assert_eq!(delivered[0].to, ["bob@ours.example"]);
    assert_eq!(
        (delivered[1].from.as_str(), delivered[1].to[0].as_str()),
        ("", "alice@elsewhere.example")
    );
    sink.script(|_| None);
    home.done(&["queue", "retry", "--all"]);
    let delivered = sink.wait_for(3);
    assert_eq!(delivered[2].to, ["carol@ours.example"]);
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), 3);
}

/// What is held is stored here, and the client is told that it was taken.
#[test]
fn held_mail_does_not_reach_the_next_hop() {
    let sink = Sink::start();
    let home = proxy(&sink.url());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let spam =
        ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat();
    let id = client.accepted("alice@elsewhere.example", TO, &letter("spam", &spam));
    wait_until("it is in the quarantine", || home.quarantine().len() == 1);
    assert_eq!(home.quarantine()[0]["id"], id.as_str());
    home.wait_for_empty_queue();
    assert_eq!(sink.count(), 0);
}

/// One reply for all needs one next hop for all: who goes elsewhere is asked to come by himself.
#[test]
fn recipients_who_do_not_go_together_are_sent_one_by_one() {
    let (sink, other) = (Sink::start(), Sink::start());
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        mode: "proxy",
        root: "relay-domains = [\"ours.example\"]",
        tables: &format!(
            "[next-hops]\n\"other.example\" = \"{}\"\n\
             [outbound-tls]\nnames = {{ \"strict.example\" = \"encrypt\" }}\n\
             [srs]\ndomain = \"fwd.example\"\nkey-files = [\"srs.key\"]\n",
            other.url()
        ),
    });
    secret(&home, "srs.key", "sixteen or more letters\n");
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let later = "452 4.5.3 Too many recipients";
    let cases = [
        ("RCPT TO:<bob@ours.example>", "250 "),
        ("RCPT TO:<carol@ours.example>", "250 "),
        ("RCPT TO:<dave@other.example>", later),
        ("RCPT TO:<erin@strict.example>", later),
        // The same next hop, and another sender: mail that is forwarded is rewritten.
        ("RCPT TO:<frank@far.example>", later),
        ("DATA", "354 "),
    ];
    assert!(client.say("MAIL FROM:<alice@elsewhere.example>").unwrap().starts_with("250 "));
    for (command, expected) in cases {
        if command == "DATA" {
            // However many: the client does nothing wrong.
            for number in 0..30 {
                let reply = client.say(&format!("RCPT TO:<n{number}@other.example>")).unwrap();
                assert!(reply.starts_with(later), "{number}: {reply}");
            }
        }
        let reply = client.say(command).unwrap();
        assert!(reply.starts_with(expected), "{command}: {reply}");
    }
    client.send(&letter("two", "Hello.")).unwrap();
    client.send(b".\r\n").unwrap();
    assert_eq!(client.reply().unwrap(), "250 2.0.0 Ok: kept");
    for (to, reached) in [("dave@other.example", &other), ("frank@far.example", &sink)] {
        let before = reached.count();
        let reply = client.mail("alice@elsewhere.example", &[to], &letter("one", "Hello."));
        assert_eq!(reply.unwrap(), "250 2.0.0 Ok: kept");
        let delivered = reached.wait_for(before + 1).pop().unwrap();
        assert_eq!(delivered.to, [to]);
        assert!(delivered.from.starts_with("SRS0="), "{}", delivered.from);
        assert!(delivered.from.ends_with("=elsewhere.example=alice@fwd.example"));
    }
    let delivered = &sink.delivered()[0];
    assert_eq!(delivered.to, ["bob@ours.example", "carol@ours.example"]);
    assert_eq!(delivered.from, "alice@elsewhere.example");
    assert!(home.queue().is_empty());
}
