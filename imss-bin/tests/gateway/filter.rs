//! The sender filter as clients and administrators meet it: swaks from several loopback addresses,
//! and `imss filter` with and without a gateway.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::clients::write_certificate;
use crate::held::eicar;
use crate::many_clients::connect_from;
use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter, wait_until};

/// Strangers are all but 127.0.0.1; no address is a known host.
const ROOT: &str = "relay-domains = [\"ours.example\"]\ntrusted-networks = [\"127.0.0.1/32\"]";

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

fn home(sink: &Sink, tables: &str) -> Home {
    let tables = format!("[filter]\nknown-hosts = []\n{tables}");
    let setup = Setup { next_hop: &sink.url(), root: ROOT, tables: &tables, ..Setup::default() };
    Home::new(&setup)
}

/// One message by swaks from `ip`: what was said.
fn swaks(gateway: &Gateway, ip: &str, body: &str) -> String {
    let server = gateway.smtp();
    let output = Command::new("swaks")
        .args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()])
        .args(["--local-interface", ip, "--helo", "mx.elsewhere.example", "--timeout", "60s"])
        .args(["--from", "alice@elsewhere.example", "--to", "bob@ours.example", "--body", body])
        .output()
        .expect("swaks runs: install the package swaks");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_accepted(said: &str) -> bool {
    said.contains("Ok: queued as")
}

fn entries(home: &Home, list: &str) -> Vec<Value> {
    home.json(&["filter", "list", list, "--json"]).as_array().unwrap().clone()
}

#[test]
fn blocked_approved_released_and_kept() {
    let sink = Sink::start();
    let home = home(&sink, "");
    // Without a gateway, on its files.
    home.done(&["filter", "approve", "name:.Outbound.Example"]);
    assert_eq!(entries(&home, "approved")[0]["subject"], "name:*.outbound.example");
    home.done(&["filter", "remove", "approved", "name:*.outbound.example"]);
    home.done(&["filter", "block", "127.0.0.0/29", "--note", "test", "--for", "2 days"]);
    let gateway = Gateway::start(&home);
    let said = swaks(&gateway, "127.0.0.5", "Hello.");
    assert!(said.contains("<** 554 5.7.1 127.0.0.5 is blocked here"), "{said}");
    assert!(is_accepted(&swaks(&gateway, "127.0.0.9", "Hello.")), "another");
    home.done(&["filter", "approve", "127.0.0.5"]);
    assert!(is_accepted(&swaks(&gateway, "127.0.0.5", "Hello.")), "approved wins");
    home.done(&["filter", "remove", "approved", "127.0.0.5"]);
    home.done(&["filter", "off", "lists"]);
    assert!(is_accepted(&swaks(&gateway, "127.0.0.5", "Hello.")), "switched off");
    home.done(&["filter", "default", "lists"]);
    let (code, _, err) = home.imss(&["filter", "remove", "blocked", "192.0.2.1"]);
    assert!(code == 1 && err.contains("is not in this list"), "{err}");
    // The entry outlives a power failure.
    home.done(&["filter", "add", "blocked", "127.0.0.9", "--transient"]);
    gateway.kill();
    let gateway = Gateway::start(&home);
    assert!(swaks(&gateway, "127.0.0.9", "Hello.").contains("<** 421 4.7.1"));
    assert_eq!(entries(&home, "blocked").len(), 2);
    let table = home.done(&["filter", "list"]);
    assert!(table.contains("127.0.0.0/29") && table.contains("test"), "{table}");
    home.done(&["filter", "release", "127.0.0.9"]);
    assert!(is_accepted(&swaks(&gateway, "127.0.0.9", "Hello.")));
    let show = home.done(&["filter", "show", "127.0.0.5"]);
    assert!(show.contains("blocked by 127.0.0.0/29"), "{show}");
    let (_, metrics) = gateway.get("/metrics");
    let counted =
        "imss_filter_decisions_total{part=\"lists\",action=\"deferred\",shadow=\"false\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    gateway.stop();
    let log = home.json(&["filter", "log", "--client", "127.0.0.5", "--json"]);
    let actions: Vec<_> =
        log.as_array().unwrap().iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["added", "rejected", "added", "removed"], "{log}");
}

#[test]
fn the_profiler_learns_from_verdicts_and_greylisting_lets_retries_pass() {
    let sink = Sink::start();
    let tables = "[filter.profiler.spam]\nmin-volume = 2\nrate = 50\n\
                  [filter.greylist]\ndelay = \"1 second\"\n";
    let home = home(&sink, tables);
    let gateway = Gateway::start(&home);
    let said = swaks(&gateway, "127.0.0.5", "Hello.");
    assert!(said.contains("<** 450 4.7.1 Greylisted"), "{said}");
    let waiting = entries(&home, "greylisted");
    assert_eq!(waiting[0]["sender"], "alice@elsewhere.example");
    wait_until("a retry passes", || is_accepted(&swaks(&gateway, "127.0.0.5", "Hello.")));
    // Released at once, by one command.
    assert!(!is_accepted(&swaks(&gateway, "127.0.0.6", "Hello.")));
    home.done(&["filter", "release", "127.0.0.6"]);
    assert!(is_accepted(&swaks(&gateway, "127.0.0.6", "Hello.")));
    assert!(entries(&home, "blocked").is_empty());
    for _ in 0..2 {
        swaks(&gateway, "127.0.0.6", GTUBE);
    }
    let said = swaks(&gateway, "127.0.0.6", "Hello.");
    assert!(said.contains("<** 421 4.7.1 127.0.0.6 is blocked here"), "{said}");
    let blocked = entries(&home, "blocked");
    assert_eq!(
        (&blocked[0]["subject"], &blocked[0]["by"]),
        (&"127.0.0.6".into(), &"profiler".into())
    );
    gateway.stop();
    let gateway = Gateway::start(&home);
    assert!(!is_accepted(&swaks(&gateway, "127.0.0.6", "Hello.")), "restarts keep it");
    assert!(is_accepted(&swaks(&gateway, "127.0.0.5", "Hello.")), "and what passed");
    // A reload takes the settings of the file.
    let text = std::fs::read_to_string(home.path().join("imss.toml")).unwrap();
    home.write(
        "imss.toml",
        text.replace("[filter.greylist]\n", "[filter.greylist]\nstate = \"off\"\n"),
    );
    gateway.signal(Signal::HUP);
    wait_until("the settings are read", || gateway.said().contains("were read again"));
    assert!(is_accepted(&swaks(&gateway, "127.0.0.7", "Hello.")), "no greylisting any more");
    let status = home.json(&["filter", "status", "--json"]);
    let parts = status["parts"].as_array().unwrap();
    assert!(parts.iter().any(|one| one["part"] == "greylist" && one["state"] == "off"), "{status}");
    gateway.stop();
}

#[test]
fn behind_our_own_relay_the_sender_before_it_is_judged() {
    let sink = Sink::start();
    let tables = "[filter.profiler.spam]\nmin-volume = 2\nrate = 50\n";
    let setup = Setup { next_hop: &sink.url(), root: ROOT, tables, ..Setup::default() };
    let home = Home::new(&setup);
    let gateway = Gateway::start(&home);
    let trace = "Received: from [10.9.9.9] (liar.example [203.0.113.9])\r\n\tby relay.example; \
                 Sun, 22 Nov 2026 10:00:00 +0000\r\n\
                 Received: from a.example (b [198.51.100.7]) by elsewhere.example; x\r\n";
    let mut message = trace.as_bytes().to_vec();
    message.extend(letter("relayed", GTUBE));
    let mut client = gateway.connect();
    for _ in 0..2 {
        let reply = client.mail("alice@elsewhere.example", &["bob@ours.example"], &message);
        assert!(reply.unwrap().starts_with(['2', '5']));
    }
    let mut blocked = Vec::new();
    wait_until("the sender is blocked, not the relay", || {
        blocked = entries(&home, "blocked");
        !blocked.is_empty()
    });
    assert_eq!((blocked.len(), &blocked[0]["subject"]), (1, &"203.0.113.9".into()));
    let show = home.json(&["filter", "show", "127.0.0.1", "--json"]);
    assert_eq!(show["is_known_host"], true);
    gateway.stop();
}

const TLS: &str = "[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n\
                   [[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n";

/// One message by swaks from 127.0.0.5 to a port of the gateway: what was said.
fn from_five(port: &str, more: &[&str]) -> String {
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", port, "--local-interface", "127.0.0.5"])
        .args(["--helo", "mx.elsewhere.example", "--timeout", "60s"])
        .args(["--from", "alice@elsewhere.example", "--to", "bob@ours.example"])
        .args(more)
        .output()
        .expect("swaks");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_virus_blocks_its_sender_inside_tls_too_until_it_is_released() {
    let sink = Sink::start();
    let tables = "[filter.profiler.virus]\nmin-volume = 1\nrate = 1\naction = \"reject\"\n";
    let home = home(&sink, &format!("{tables}{TLS}"));
    write_certificate(&home);
    let gateway = Gateway::start(&home);
    let [plain, implicit]: [String; 2] = gateway.listening();
    let eicar = String::from_utf8(eicar()).unwrap();
    home.write("infected", letter("infected", &eicar));
    assert!(is_accepted(&from_five(&implicit, &["--tlsc"])), "it is nobody yet");
    let infected = ["--tls", "--data", &format!("@{}", home.path().join("infected").display())];
    assert!(is_accepted(&from_five(&plain, &infected)), "and held");
    wait_until("the sender is blocked", || entries(&home, "blocked").len() == 1);
    let entry = entries(&home, "blocked").remove(0);
    assert_eq!((&entry["subject"], &entry["by"]), (&"127.0.0.5".into(), &"profiler".into()));
    assert!(entry["note"].as_str().unwrap().starts_with("virus: 1 of "), "{entry}");
    let ways: [(&str, &[&str]); 3] =
        [(&plain, &[]), (&plain, &["--tls"]), (&implicit, &["--tlsc"])];
    for (port, how) in ways {
        let said = from_five(port, how);
        assert!(said.contains("554 5.7.1 127.0.0.5 is blocked here"), "{how:?}\n{said}");
    }
    home.done(&["filter", "release", "127.0.0.5"]);
    for (port, how) in ways {
        assert!(is_accepted(&from_five(port, how)), "{how:?}");
    }
    gateway.stop();
    assert_eq!(sink.count(), 4, "the virus went nowhere");
}

/// Inside a session whose TLS began before the client was blocked.
#[test]
fn a_block_meets_sessions_that_are_open() {
    let sink = Sink::start();
    let home = home(&sink, TLS);
    write_certificate(&home);
    let gateway = Gateway::start(&home);
    let [_, implicit]: [String; 2] = gateway.listening();
    let script = "
import smtplib, ssl, sys
context = ssl._create_unverified_context()
port, source = int(sys.argv[1]), ('127.0.0.5', 0)
with smtplib.SMTP_SSL('127.0.0.1', port, 'mx.elsewhere.example', context=context, source_address=source) as one:
    one.ehlo()
    for _ in range(3):
        print(*one.mail('alice@elsewhere.example'), flush=True)
        one.rset()
        sys.stdin.readline()
";
    let mut client = Command::new("python3")
        .args(["-c", script, &implicit])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = client.stdin.take().unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut next = || said.next().unwrap().unwrap();
    assert!(next().starts_with("250"));
    home.done(&["filter", "block", "127.0.0.5"]);
    input.write_all(b"\n").unwrap();
    let refused = next();
    assert!(refused.starts_with("550") && refused.contains("is blocked here"), "{refused}");
    home.done(&["filter", "release", "127.0.0.5"]);
    input.write_all(b"\n").unwrap();
    assert!(next().starts_with("250"));
    input.write_all(b"\n").unwrap();
    assert!(client.wait().unwrap().success());
    gateway.stop();
}

#[test]
fn one_message_to_many_unknown_mailboxes_is_harvesting() {
    let sink = Sink::start();
    let tables = "[filter.profiler.harvest]\nmin-volume = 5\nrate = 60\n\
                  [recipients]\nfile = \"mailboxes\"\n";
    let home = home(&sink, tables);
    home.write("mailboxes", "bob@ours.example\ncarol@ours.example\n");
    let gateway = Gateway::start(&home);
    let port = gateway.smtp().port().to_string();
    let to = |unknown: u32| {
        let unknown: Vec<_> = (0..unknown).map(|n| format!("n{n}@ours.example")).collect();
        format!("bob@ours.example,{},carol@ours.example", unknown.join(","))
    };
    let said = from_five(&port, &["--to", &to(2)]);
    assert!(said.contains("550 5.1.1") && is_accepted(&said), "{said}");
    assert!(entries(&home, "blocked").is_empty(), "two of four");
    from_five(&port, &["--to", &to(4)]);
    let blocked = entries(&home, "blocked");
    assert_eq!(blocked[0]["subject"], "127.0.0.5");
    assert!(blocked[0]["note"].as_str().unwrap().starts_with("harvest: "), "{}", blocked[0]);
    gateway.stop();
}

#[test]
fn who_speaks_first_is_no_mail_server() {
    let sink = Sink::start();
    let tables = "[filter.checks]\nearly-talker = \"reject\"\nearly-talker-wait = \"30 seconds\"\n";
    let home = home(&sink, tables);
    let gateway = Gateway::start(&home);
    let mut early = Client::over(connect_from([127, 0, 0, 5], gateway.smtp()).unwrap()).unwrap();
    early.send(b"EHLO mx.elsewhere.example\r\nMAIL FROM:<>\r\n").unwrap();
    let said = early.reply().unwrap();
    assert_eq!(said, "554 5.7.1 Your mail server is not in order: early-talker");
    // Who is trusted is greeted at once.
    gateway.connect().accepted("a@ours.example", &["bob@ours.example"], &letter("ours", "Hello."));
    sink.wait_for(1);
    gateway.stop();
    let log = home.json(&["filter", "log", "--client", "127.0.0.5", "--json"]);
    assert_eq!((&log[0]["stage"], &log[0]["rule"]), (&"connect".into(), &"early-talker".into()));
}
