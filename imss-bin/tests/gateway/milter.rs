//! A mail server that asks: Postfix over TCP and over a Unix socket, `miltertest`, and one that does
//! everything wrong.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::held::eicar;
use crate::milter_peer::Peer;
use crate::postfix::{Postfix, free_address};
use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter, wait_until};

const TO: &[&str] = &["bob@ours.example"];

/// Tags, adds, removes, stamps, refuses, and treats recipients differently.
pub(crate) const POLICY: &str = r#"
internal = ["ours.example"]
[quarantine.malware]
[stamps.outside]
text = "From outside."
[keywords.forbidden]
threshold = 1
entries = ["forbidden"]
[keywords.worthless]
threshold = 1
entries = ["worthless"]
[keywords.wait]
threshold = 1
entries = ["wait"]
[keywords.newsletter]
threshold = 1
entries = ["newsletter"]
[keywords.secretive]
threshold = 1
entries = ["secretive"]
[keywords.different]
threshold = 1
entries = ["different"]
[[rule]]
name = "Malware"
when = { malware = "any" }
then = [{ quarantine = "malware" }]
[[rule]]
name = "Refused"
when = { keywords = "forbidden", in = ["subject"] }
then = [{ reject = "100% unwanted here" }]
[[rule]]
name = "Dropped"
when = { keywords = "worthless", in = ["subject"] }
then = ["delete"]
[[rule]]
name = "Held"
when = { keywords = "wait", in = ["subject"] }
then = [{ hold = "somebody must look" }]
[[rule]]
name = "Tagged"
when = { keywords = "newsletter", in = ["subject"] }
then = [{ tag-subject = "[bulk]" }, { remove-field = "X-Remove" }, { replace-field = { "X-Change" = "new" } }, { add-field = { "X-Added" = "yes" } }, { stamp = "outside" }]
[[rule]]
name = "Way hidden"
when = { keywords = "secretive", in = ["subject"] }
then = [{ remove-field = "Received" }, { replace-field = { "X-First" = "1" } }]
[[rule]]
name = "Carol's"
route = { to = ["carol@ours.example"] }
when = { keywords = "different", in = ["subject"] }
then = [{ tag-subject = "[carol]" }]
"#;

/// The files of `docs/examples`, with the addresses of this run.
pub(crate) fn example(name: &str, addresses: &[(&str, SocketAddr)]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/");
    let mut text = fs::read_to_string(format!("{folder}{name}")).unwrap();
    for (written, real) in addresses {
        assert!(text.contains(written), "{name} names {written}");
        text = text.replace(written, &real.to_string());
    }
    text
}

fn asked(next_hop: &str, address: &str) -> Home {
    let tables =
        format!("[[listen]]\naddress = \"{address}\"\nmode = \"milter\"\nsocket-mode = \"0666\"\n");
    let tables = if address.starts_with("unix:") {
        tables
    } else {
        tables.replace("socket-mode = \"0666\"\n", "")
    };
    // What is known of who sent it is another test's matter, and would ask the network.
    let tables = tables + "[authentication]\nresults = false\n";
    let home = Home::new(&Setup {
        next_hop,
        tables: &tables,
        root: "policy = \"policy.toml\"",
        ..Setup::default()
    });
    home.write("policy.toml", POLICY);
    home
}

fn tagged() -> Vec<u8> {
    let text = String::from_utf8(letter("newsletter", "Read this.")).unwrap();
    text.replace(
        "Subject:",
        "X-Remove: a\r\nX-Keep: b\r\n\tc\r\nX-Change: old\r\nx-remove: d\r\nSubject:",
    )
    .into_bytes()
}

/// All after Postfix's own field.
fn without_trace(data: &[u8]) -> String {
    let text = String::from_utf8(data.to_vec()).unwrap();
    let mut lines = text.split_inclusive("\r\n").skip_while(|line| line.starts_with("Received:"));
    let rest: Vec<&str> = lines.by_ref().skip_while(|line| line.starts_with([' ', '\t'])).collect();
    rest.concat()
}

struct Chain {
    sink: Sink,
    home: Home,
    gateway: Gateway,
    postfix: Postfix,
}

/// Postfix with imss beside it, configured as the documentation says.
fn chain() -> Chain {
    let sink = Sink::start();
    let back = free_address();
    let home = asked(&format!("smtp://{back}"), "127.0.0.1:0");
    let gateway = Gateway::start(&home);
    let milter = gateway.address("milter on ");
    let main = example("postfix/milter.cf", &[("127.0.0.1:8891", milter)]);
    let services = example("postfix/milter-master.cf", &[("127.0.0.1:10026", back)]);
    let postfix = Postfix::configured(free_address(), sink.address(), &main, &services);
    Chain { sink, home, gateway, postfix }
}

#[test]
fn postfix_does_what_was_decided() {
    let Chain { sink, home, gateway, postfix } = chain();
    let mut client = Client::connect(postfix.address()).unwrap();
    let mut say =
        |to: &[&str], content: &[u8]| client.mail("alice@elsewhere.example", to, content).unwrap();

    // Unchanged, octet for octet, whatever the mail server added in front.
    let plain = letter("plain", "Hello.\r\n.dot");
    assert!(say(TO, &plain).starts_with("250 "));
    assert_eq!(without_trace(&sink.wait_for(1)[0].data), String::from_utf8(plain).unwrap());

    // The same changes as on any other way.
    assert!(say(TO, &tagged()).starts_with("250 "));
    let by_milter = without_trace(&sink.wait_for(2)[1].data);
    gateway.connect().accepted("alice@elsewhere.example", TO, &tagged());
    let by_smtp = without_trace(&sink.wait_for(3)[2].data);
    // Our own field, and Postfix's once more.
    let by_smtp = without_trace(by_smtp.as_bytes());
    assert_eq!(by_milter, by_smtp);
    for part in [
        "Subject: [bulk]",
        "X-Added: yes\r\n",
        "X-Change: new\r\n",
        "X-Keep: b\r\n\tc\r\n",
        "From outside.",
    ] {
        assert!(by_milter.contains(part), "{part}\n{by_milter}");
    }
    assert!(!by_milter.to_lowercase().contains("x-remove"), "{by_milter}");

    // The mail server's own field is not ours to take away, and counts for nothing.
    let passed = "Received: from c by d; now\r\nReceived: from a\r\n\tby b; then\r\n";
    let content = [passed.as_bytes(), &letter("secretive", "x")].concat();
    assert!(say(TO, &content).starts_with("250 "));
    let text = sink.wait_for(4)[3].text();
    assert_eq!(text.matches("Received:").count(), 1, "{text}");
    assert!(text.contains("by postfix.example (Postfix)"), "{text}");

    let said = say(TO, &letter("forbidden", "x"));
    assert!(said.starts_with("55") && said.contains("100% unwanted here"), "{said}");
    assert!(say(TO, &letter("worthless", "x")).starts_with("250 "));
    assert!(say(TO, &letter("virus", &String::from_utf8(eicar()).unwrap())).starts_with("250 "));
    wait_until("malware is held", || home.quarantine().len() == 1);
    assert_eq!(home.quarantine()[0]["summary"]["rule"], "Malware");

    // One message, two copies: one stays with Postfix, the other comes from us.
    let to = ["bob@ours.example", "dave@ours.example", "carol@ours.example"];
    assert!(say(&to, &letter("different", "x")).starts_with("250 "));
    let delivered = sink.wait_for(6);
    let subjects: Vec<_> = delivered[4..]
        .iter()
        .map(|one| (one.to.join(","), one.text().contains("Subject: [carol]")))
        .collect();
    assert!(subjects.contains(&("carol@ours.example".to_owned(), true)), "{subjects:?}");
    assert!(
        subjects.contains(&("bob@ours.example,dave@ours.example".to_owned(), false)),
        "{subjects:?}"
    );

    // What waits for somebody waits in Postfix's own hold queue.
    assert!(say(TO, &letter("wait", "x")).starts_with("250 "));
    wait_until("Postfix holds it", || postfix.log().contains("milter-hold"));
    assert_eq!(sink.count(), 6);
    assert!(home.queue().is_empty());

    // Without us, the client comes again.
    gateway.stop();
    let mut client = Client::connect(postfix.address()).unwrap();
    let said = client.mail("alice@elsewhere.example", TO, &letter("later", "x")).unwrap();
    assert!(said.starts_with("451 "), "{said}");
}

#[test]
fn postfix_asks_over_a_unix_socket() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let socket = format!("unix:{}/milter.sock", folder.path().display());
    let home = asked(&sink.url(), &socket);
    let gateway = Gateway::start(&home);
    let main = format!("smtpd_milters = {socket}\nmilter_default_action = tempfail\n");
    let postfix = Postfix::start(sink.address(), &main);
    let mut client = Client::connect(postfix.address()).unwrap();
    let said = client.mail("alice@elsewhere.example", TO, &letter("forbidden", "x")).unwrap();
    assert!(said.contains("unwanted"), "{said}");
    gateway.stop();
    assert!(!folder.path().join("milter.sock").exists(), "the socket's file is left");
}

#[test]
fn every_message_of_a_connection_gets_its_own() {
    let home = asked("maildir", "127.0.0.1:0");
    let gateway = Gateway::start(&home);
    let mut peer = Peer::for_client(gateway.address("milter on "), "192.0.2.1");
    let letters = |orders: &[(u8, Vec<u8>)]| -> String {
        orders.iter().map(|(letter, _)| char::from(*letter)).collect()
    };
    for _ in 0..20 {
        assert_eq!(letters(&peer.whole(TO, &letter("plain", "x"))), "c");
        assert_eq!(letters(&peer.whole(TO, &letter("forbidden", "x"))), "y");
        peer.begin(TO, &letter("worthless", "x"));
        peer.send(b'A', b"");
        assert_eq!(letters(&peer.whole(TO, &letter("wait", "x"))), "qc");
        assert_eq!(letters(&peer.whole(&["carol@ours.example"], &letter("different", "x"))), "mc");
        peer.begin(&["carol@ours.example"], &letter("different", "x"));
        peer.send(b'K', b"");
        peer.send(b'C', b"other.example\x004\0\x19192.0.2.2\0");
        assert_eq!(letters(&peer.whole(TO, &letter("worthless", "x"))), "d");
    }
    assert!(home.queue().is_empty());
    gateway.stop();
}

#[test]
fn a_mail_server_that_grants_nothing_loses_nothing() {
    let sink = Sink::start();
    let home = asked(&sink.url(), "127.0.0.1:0");
    let gateway = Gateway::start(&home);
    let mut peer = Peer::connect(gateway.address("milter on "));
    let numbers: [u32; 3] = [2, 0, 0];
    peer.send(b'O', &numbers.map(u32::to_be_bytes).concat());
    assert_eq!(peer.answer().unwrap().0, b'O');
    // Every step is answered, as it did not say that it can do without.
    let told = |peer: &mut Peer| peer.answer().unwrap().0;
    for (letter, data) in [
        (b'C', &b"client.example\x004\0\x19192.0.2.1\0"[..]),
        (b'H', b"client.example\0"),
        (b'M', b"<alice@elsewhere.example>\0"),
        (b'R', b"<bob@ours.example>\0"),
        (b'L', b"Subject\0newsletter\0"),
        (b'N', b""),
        (b'B', b"Read this.\r\n"),
    ] {
        peer.send(letter, data);
        assert_eq!(told(&mut peer), b'c');
    }
    let orders = peer.end();
    assert_eq!(orders, [(b'd', Vec::new())], "it is ours");
    assert!(sink.wait_for(1)[0].text().contains("Subject: [bulk]"));
    gateway.stop();
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let home = asked("maildir", "127.0.0.1:0");
    let gateway = Gateway::start(&home);
    let address = gateway.address("milter on ");
    let cases: [(&str, &[u8]); 6] = [
        ("SMTP", b"EHLO mx.example\r\n"),
        ("a frame of four gigabytes", b"\xff\xff\xff\xffO"),
        ("a frame of nothing", b"\0\0\0\0"),
        ("no negotiation", b"\0\0\0\x01E"),
        ("an unknown letter", b"\0\0\0\x01z"),
        ("half a negotiation", b"\0\0\0\x05O\0\0\0\x06"),
    ];
    for (name, octets) in cases {
        let mut peer = Peer::connect(address);
        peer.raw(octets).unwrap();
        assert!(peer.answer().is_err(), "{name}");
    }
    // One that goes away in the middle leaves nothing.
    let mut peer = Peer::for_client(address, "192.0.2.1");
    peer.begin(TO, &letter("plain", &"a line\r\n".repeat(100_000)));
    drop(peer);
    wait_until("its body is gone", || {
        fs::read_dir(home.data().join("spool/bodies")).unwrap().count() == 0
    });
    let mut peer = Peer::for_client(address, "192.0.2.1");
    assert_eq!(peer.whole(TO, &letter("plain", "x")), [(b'c', Vec::new())]);
    gateway.stop();
}

/// OpenDKIM's own test client, which speaks the protocol as libmilter's peers do.
const SCRIPT: &str = r#"
conn = mt.connect("inet:" .. port .. "@127.0.0.1")
assert(conn, "no connection")
assert(mt.conninfo(conn, "client.example", "192.0.2.1") == nil)
assert(mt.helo(conn, "client.example") == nil)
for round = 1, 3 do
  mt.macro(conn, SMFIC_MAIL, "i", "Q" .. round)
  assert(mt.mailfrom(conn, "<alice@elsewhere.example>") == nil)
  assert(mt.getreply(conn) == SMFIR_CONTINUE)
  assert(mt.rcptto(conn, "<bob@ours.example>") == nil)
  assert(mt.getreply(conn) == SMFIR_CONTINUE)
  assert(mt.header(conn, "From", "alice@elsewhere.example") == nil)
  assert(mt.header(conn, "Subject", round == 2 and "forbidden" or "newsletter") == nil)
  assert(mt.eoh(conn) == nil)
  assert(mt.bodystring(conn, "Read this.\r\n") == nil)
  assert(mt.eom(conn) == nil)
  if round == 2 then
    assert(mt.getreply(conn) == SMFIR_REPLYCODE, "refused")
  else
    assert(mt.getreply(conn) == SMFIR_CONTINUE, "goes on")
    assert(mt.eom_check(conn, MT_HDRCHANGE, "Subject"), "subject")
    assert(mt.eom_check(conn, MT_HDRINSERT, "X-Added") or mt.eom_check(conn, MT_HDRADD, "X-Added"), "added")
    assert(mt.eom_check(conn, MT_BODYCHANGE), "stamped")
  end
end
mt.disconnect(conn)
"#;

#[test]
fn miltertest_is_content() {
    let home = asked("maildir", "127.0.0.1:0");
    let gateway = Gateway::start(&home);
    home.write("script.lua", SCRIPT);
    let port = gateway.address("milter on ").port();
    let output = Command::new("miltertest")
        .args(["-D", &format!("port={port}"), "-s", "script.lua"])
        .current_dir(home.path())
        .output()
        .expect("miltertest");
    assert!(output.status.success(), "{output:?}\n{}", gateway.said());
    gateway.stop();
}
