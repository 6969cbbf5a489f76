//! The next hop is away: mail waits, people can see and steer it, a restart changes nothing, and it
//! goes out when the next hop is back. What is refused for good is reported to its sender, once.

use serde_json::Value;

use crate::sink::{ClosedPort, Sink};
use crate::support::{Gateway, Home, Setup, letter, wait_until};

/// Long enough that nothing is tried again unless somebody says so.
const LATER: &str = "[queue]\nretry = [\"6 hours\"]";
const TO: &[&str] = &["bob@ours.example"];

fn state(home: &Home, id: &str) -> Option<String> {
    let entry = home.queue().into_iter().find(|entry| entry["id"] == id)?;
    Some(entry["recipients"][0]["state"].as_str()?.to_owned())
}

fn wait_for(home: &Home, id: &str, expected: &str) {
    wait_until(&format!("{id} is {expected}"), || state(home, id).as_deref() == Some(expected));
}

#[test]
fn mail_waits_and_can_be_steered() {
    let next_hop = ClosedPort::new();
    let url = format!("smtp://{}", next_hop.address);
    let home = Home::new(&Setup { next_hop: &url, tables: LATER, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let names = ["first", "held", "deleted", "last"];
    let ids =
        names.map(|name| client.accepted("alice@elsewhere.example", TO, &letter(name, "Hello.")));
    let [first, held, deleted, last] = &ids;
    // One is tried for all: the others need no attempt of their own to know why they wait.
    ids.iter().for_each(|id| wait_for(&home, id, "deferred"));
    let queue = home.queue();
    let listed: Vec<&Value> = queue.iter().map(|entry| &entry["id"]).collect();
    assert_eq!(listed, ids.iter().collect::<Vec<_>>(), "oldest first");
    for entry in &queue {
        let recipient = &entry["recipients"][0];
        assert_eq!(recipient["recipient"], "bob@ours.example");
        let reason = recipient["last"].as_str().unwrap_or_default().to_lowercase();
        assert!(reason.contains("refused"), "the reason is not told: {entry:#}");
        assert!(recipient["next_unix_millis"].as_u64() > Some(0), "{entry:#}");
    }
    assert_eq!(home.json(&["queue", "show", first, "--json"])["subject"], "first");
    assert!(home.done(&["queue", "show", first]).contains("deferred"));

    assert_eq!(home.done(&["queue", "hold", held]), "held: 1\n");
    assert_eq!(home.done(&["queue", "delete", deleted]), "deleted: 1\n");
    assert_eq!(state(&home, held).as_deref(), Some("held"));
    assert_eq!(state(&home, deleted), None);
    assert_eq!(home.done(&["queue", "hold", last]), "held: 1\n");
    assert_eq!(home.done(&["queue", "release", last]), "released: 1\n");

    gateway.kill();
    // Without a gateway the commands work on the files.
    assert_eq!(home.queue().len(), 3);
    assert_eq!(state(&home, held).as_deref(), Some("held"));
    let gateway = Gateway::start(&home);
    assert!(gateway.said().contains("3 messages were in the spool"), "{}", gateway.said());
    wait_for(&home, held, "held");

    let sink = next_hop.open();
    home.done(&["queue", "retry", "--all"]);
    sink.wait_for(2);
    wait_until("only the held one waits", || home.queue().len() == 1);
    assert_eq!(state(&home, held).as_deref(), Some("held"));
    assert_eq!(sink.count(), 2);
    assert_eq!(home.done(&["queue", "release", held]), "released: 1\n");
    sink.wait_for(3);
    home.wait_for_empty_queue();
    let texts: Vec<_> = sink.delivered().iter().map(|message| message.text()).collect();
    for (name, times) in names.iter().zip([1, 1, 0, 1]) {
        let subject = format!("Subject: {name}\r\n");
        assert_eq!(texts.iter().filter(|text| text.contains(&subject)).count(), times, "{name}");
    }
    gateway.stop();
}

#[test]
fn what_waits_goes_out_by_itself() {
    let next_hop = ClosedPort::new();
    let home = Home::new(&Setup {
        next_hop: &format!("smtp://{}", next_hop.address),
        tables: "[queue]\nretry = [\"1 second\"]",
        ..Setup::default()
    });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    for number in 0..50 {
        client.accepted("alice@elsewhere.example", TO, &letter(&format!("m{number}"), "Hello."));
    }
    let sink = next_hop.open();
    sink.wait_for(50);
    home.wait_for_empty_queue();
    gateway.stop();
    assert_eq!(sink.count(), 50);
}

/// A next hop that knows Bob and nobody else, and Carol only later.
fn choosy(line: &str) -> Option<String> {
    let to =
        |name: &str| line.to_lowercase().starts_with(&format!("rcpt to:<{name}@ours.example>"));
    if to("nobody") {
        Some("550 5.1.1 No such user: nobody".to_owned())
    } else if to("carol") {
        Some("450 4.2.0 Carol is busy".to_owned())
    } else {
        None
    }
}

#[test]
fn refusals_are_reported_once_and_to_people() {
    let sink = Sink::start();
    sink.script(choosy);
    let home = Home::new(&Setup { next_hop: &sink.url(), tables: LATER, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let to = ["bob@ours.example", "nobody@ours.example", "carol@ours.example"];
    let id = client.accepted("alice@elsewhere.example", &to, &letter("three", "Hello."));
    let delivered = sink.wait_for(2);
    let report = delivered.iter().find(|message| message.from.is_empty()).expect("a report");
    assert_eq!(report.to, ["alice@elsewhere.example"]);
    let text = report.text();
    for part in [
        "Content-Type: multipart/report; report-type=delivery-status",
        "Action: failed",
        "Status: 5.1.1",
        "Final-Recipient: rfc822; nobody@ours.example",
        "No such user: nobody",
        "Subject: three",
    ] {
        let (text, part) = (text.to_lowercase().replace("\r\n\t", " "), part.to_lowercase());
        assert!(text.replace(";  ", "; ").contains(&part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("carol@"), "Carol's copy has not failed:\n{text}");
    let own = delivered.iter().find(|message| !message.from.is_empty()).unwrap();
    assert_eq!(own.to, ["bob@ours.example"]);
    wait_for(&home, &id, "deferred");

    // Nobody is told about a report that fails.
    client.accepted("", &["nobody@ours.example"], &letter("null", "Hello."));
    wait_until("only Carol's copy waits", || home.queue().len() == 1);
    sink.script(|_| None);
    home.done(&["queue", "retry", &id]);
    sink.wait_for(3);
    home.wait_for_empty_queue();
    gateway.stop();
    let delivered = sink.delivered();
    assert_eq!(delivered.len(), 3, "{delivered:#?}");
    assert_eq!(delivered.iter().filter(|message| message.from.is_empty()).count(), 1);
}
