//! Signals: a new policy takes effect, a broken one changes nothing, and a stop lets a message that
//! is under way finish. And what monitoring asks.

use rustix::process::Signal;

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter, wait_until};

const TO: &[&str] = &["bob@ours.example"];

fn policy(rule: &str) -> String {
    let answers = [
        "limit",
        "encrypted",
        "malformed",
        "ambiguous",
        "unsupported",
        "lookup",
        "engine",
        "crash",
    ];
    let answers: String =
        answers.iter().map(|reason| format!("{reason} = \"deliver\"\n")).collect();
    format!(
        "[keywords.word]\nentries = [\"falcon\"]\n[unknown]\n{answers}\n[[rule]]\nname = \"Word\"\nwhen = {{ keywords = \"word\", in = [\"subject\"] }}\nthen = [{rule}]\n"
    )
}

fn home_with_policy(sink: &Sink) -> Home {
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "policy = \"policy.toml\"",
        ..Setup::default()
    });
    home.write("policy.toml", policy("{ tag-subject = \"[one]\" }"));
    home
}

/// Sends one message that the rule matches; its subject as it is delivered.
fn subject_after_policy(gateway: &Gateway, sink: &Sink) -> String {
    let count = sink.count();
    gateway.connect().accepted("alice@elsewhere.example", TO, &letter("falcon", "Hello."));
    let delivered = sink.wait_for(count + 1);
    let text = delivered[count].text();
    text.lines().find(|line| line.starts_with("Subject:")).unwrap_or_default().to_owned()
}

#[test]
fn a_policy_is_read_again_and_a_broken_one_is_not_taken() {
    let sink = Sink::start();
    let home = home_with_policy(&sink);
    let gateway = Gateway::start(&home);
    // A session from before the reload is judged by the policy of the time of its message.
    let mut old_session = gateway.connect();
    assert_eq!(subject_after_policy(&gateway, &sink), "Subject: [one] falcon");

    home.write("policy.toml", policy("{ tag-subject = \"[two]\" }"));
    gateway.signal(Signal::HUP);
    wait_until("the policy is read", || gateway.said().contains("were read again"));
    assert_eq!(subject_after_policy(&gateway, &sink), "Subject: [two] falcon");
    old_session.accepted("alice@elsewhere.example", TO, &letter("falcon", "Hello."));
    assert!(sink.wait_for(3)[2].text().contains("Subject: [two] falcon"));

    home.write("policy.toml", policy("{ tag-sbject = \"[three]\" }"));
    gateway.signal(Signal::HUP);
    wait_until("the mistake is told", || {
        gateway.said().contains("not reloaded, settings and policy stay")
    });
    wait_until("the mistake is told with its place", || {
        let said = gateway.said();
        said.contains("tag-sbject") && said.contains("policy.toml")
    });
    assert_eq!(subject_after_policy(&gateway, &sink), "Subject: [two] falcon");

    home.write("policy.toml", policy("{ tag-subject = \"[four]\" }"));
    gateway.signal(Signal::HUP);
    wait_until("the policy is read", || gateway.said().matches("were read again").count() == 2);
    assert_eq!(subject_after_policy(&gateway, &sink), "Subject: [four] falcon");
    gateway.stop();
}

#[test]
fn a_stop_lets_a_message_finish() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut sending = gateway.connect();
    let idle = gateway.connect();
    for (command, code) in [
        ("MAIL FROM:<alice@elsewhere.example>", "250"),
        ("RCPT TO:<bob@ours.example>", "250"),
        ("DATA", "354"),
    ] {
        assert!(sending.say(command).unwrap().starts_with(code));
    }
    let content = letter("slow", "This takes its time.");
    let (first, second) = content.split_at(60);
    sending.send(first).unwrap();
    gateway.signal(Signal::TERM);
    wait_until("it stops", || gateway.said().contains("stopping"));
    // Whoever has nothing under way is sent away; the message is not.
    assert!(idle.rest().contains("421 4.3.2 "), "an idle session is told");
    sending.send(second).unwrap();
    sending.send(b".\r\n").unwrap();
    let reply = sending.reply().unwrap();
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let (status, said) = gateway.ended();
    assert!(status.success(), "{status}\n{said}");
    // Delivered by the one that stops, or by the next.
    let gateway = Gateway::start(&home);
    sink.wait_for(1);
    home.wait_for_empty_queue();
    assert!(sink.delivered().iter().all(|message| message.text().contains("This takes its time.")));
    gateway.stop();
    assert_eq!(sink.count(), 1);
}

#[test]
fn monitoring_gets_answers() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    gateway.connect().accepted("alice@elsewhere.example", TO, &letter("counted", "Hello."));
    sink.wait_for(1);
    home.wait_for_empty_queue();
    for path in ["/health/live", "/health/ready"] {
        let (status, body) = gateway.get(path);
        assert!(status.contains(" 200 "), "{path}: {status} {body}");
    }
    let (status, body) = gateway.get("/metrics");
    assert!(status.contains(" 200 "), "{status}");
    for line in ["imss_messages_received_total 1", "imss_queue_messages 0", "imss_spool_healthy 1"]
    {
        assert!(body.lines().any(|other| other == line), "{line} is not in\n{body}");
    }
    let (status, _) = gateway.get("/nothing");
    assert!(status.contains(" 404 "), "{status}");
    gateway.stop();
    // One record for each disposition.
    let log = std::fs::read_dir(home.data().join("log")).unwrap();
    let all: String =
        log.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_eq!(all.matches("\"disposition\":\"delivered\"").count(), 1, "{all}");
}
