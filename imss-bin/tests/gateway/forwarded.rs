//! Mail that goes on: rewritten senders and the way back, another next hop by hand, and notifications
//! that Postfix takes and Python reads.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::postfix::Postfix;
use crate::sink::{ClosedPort, Sink};
use crate::support::{Gateway, Home, Setup, letter, wait_until};

pub(crate) fn secret(home: &Home, name: &str, text: &str) {
    home.write(name, text);
    fs::set_permissions(home.path().join(name), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_rewritten_sender_and_the_way_back() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\"]",
        tables: "[srs]\ndomain = \"fwd.example\"\nkey-files = [\"srs.key\"]",
        ..Setup::default()
    });
    secret(&home, "srs.key", "sixteen or more letters\n");
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let to = ["bob@far.example", "carol@ours.example"];
    client.accepted("alice@elsewhere.example", &to, &letter("on", "Hello."));
    let mut delivered = sink.wait_for(2);
    delivered.sort_by_key(|one| one.to.clone());
    assert_eq!(delivered[0].to, ["bob@far.example"]);
    assert!(delivered[0].from.starts_with("SRS0="), "{}", delivered[0].from);
    assert!(delivered[0].from.ends_with("=elsewhere.example=alice@fwd.example"));
    assert_eq!(delivered[1].from, "alice@elsewhere.example", "to us nothing is rewritten");
    let rewritten = delivered[0].from.clone();
    client.accepted("", &[&rewritten], &letter("back", "It did not arrive."));
    let back = sink.wait_for(3).pop().unwrap();
    assert_eq!(
        (back.from.as_str(), back.to.as_slice()),
        ("", &["alice@elsewhere.example".to_owned()][..])
    );
    let forged = rewritten.replace("alice", "mallory");
    let reply = client.mail("", &[&forged], &letter("forged", "x")).unwrap();
    assert!(reply.starts_with("550 5.1.1 "), "{reply}");
    gateway.stop();
}

#[test]
fn another_way_by_hand() {
    let (dead, sink) = (ClosedPort::new(), Sink::start());
    let url = format!("smtp://{}", dead.address);
    let tables = "[queue]\nretry = [\"6 hours\"]";
    let home = Home::new(&Setup { next_hop: &url, tables, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let first = client.accepted("a@elsewhere.example", &["b@far.example"], &letter("1", "x"));
    let second = client.accepted("a@elsewhere.example", &["b@other.example"], &letter("2", "x"));
    wait_until("both wait", || {
        home.queue().iter().filter(|one| one["recipients"][0]["state"] == "deferred").count() == 2
    });
    let (code, _, error) = home.imss(&["queue", "route", &first, "--to", "smtp://"]);
    assert_eq!(code, 2, "{error}");
    let rerouted = home.done(&["queue", "route", &first, "--to", &sink.url()]);
    assert_eq!(rerouted, "rerouted: 1\n");
    assert_eq!(sink.wait_for(1)[0].to, ["b@far.example"]);
    assert_eq!(home.done(&["queue", "flush", "none.example"]), "to be tried now: 0\n");
    assert_eq!(home.done(&["queue", "flush", "other.example"]), "to be tried now: 1\n");
    wait_until("it was tried again", || {
        home.queue().iter().any(|one| {
            one["id"] == second.as_str() && one["recipients"][0]["attempts"].as_u64() >= Some(2)
        })
    });
    home.done(&["queue", "route", &second, "--to", &sink.url()]);
    sink.wait_for(2);
    gateway.stop();
}

/// Reads a message as Python does, and says what it found.
const READ: &str = r#"
import email, email.policy, email.utils, sys
raw = sys.stdin.buffer.read()
message = email.message_from_bytes(raw, policy=email.policy.default)
assert not message.defects, message.defects
assert message.get_content_type() == "multipart/report", message.get_content_type()
assert message["Auto-Submitted"] == "auto-replied"
assert email.utils.parsedate_to_datetime(message["Date"]).tzinfo is not None
human, status, returned = message.iter_parts()
fields = status.get_payload()
print(message["To"], message["Subject"], sep="|")
print(human.get_content_charset(), "配送できません" in human.get_content(), sep="|")
print(fields[0]["Original-Envelope-Id"], fields[1]["Final-Recipient"], fields[1]["Original-Recipient"],
      fields[1]["Action"], fields[1]["Status"], fields[1]["Diagnostic-Code"], sep="|")
print(returned.get_content_type())
"#;

#[test]
fn a_notification_that_postfix_takes_and_python_reads() {
    let (sink, mailbox) = (Sink::start(), Sink::start());
    sink.script(|line| line.starts_with("RCPT").then(|| "550 5.1.1 no such user\r\n".to_owned()));
    let postfix = Postfix::start(mailbox.address(), "");
    let tables = format!(
        "[next-hops]\n\"elsewhere.example\" = \"{}\"\n[notices]\nlanguage = \"ja\"\n\
         charset = \"iso-2022-jp\"",
        postfix.url()
    );
    let home = Home::new(&Setup { next_hop: &sink.url(), tables: &tables, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    client.say("MAIL FROM:<alice@elsewhere.example> RET=HDRS ENVID=QQ42").unwrap();
    client.say("RCPT TO:<bob@far.example> NOTIFY=FAILURE ORCPT=rfc822;bobby@far.example").unwrap();
    client.say("DATA").unwrap();
    let mut content = letter("lost", "Hello.");
    content.extend_from_slice(b".\r\n");
    client.send(&content).unwrap();
    assert!(client.reply().unwrap().starts_with("250 "));
    let notice = mailbox.wait_for(1).pop().unwrap();
    assert_eq!(
        (notice.from.as_str(), notice.to.as_slice()),
        ("", &["alice@elsewhere.example".to_owned()][..])
    );
    let mut python = Command::new("python3")
        .args(["-c", READ])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&notice.data).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        notice.text()
    );
    assert_eq!(
        said,
        "alice@elsewhere.example|メールを配送できませんでした\niso-2022-jp|True\n\
         QQ42|rfc822; bob@far.example|rfc822; bobby@far.example|failed|5.1.1|smtp; 550 5.1.1 no such user\n\
         text/rfc822-headers\n"
    );
    gateway.stop();
}
