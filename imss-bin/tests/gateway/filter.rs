//! The sender filter as clients and administrators meet it: swaks from several loopback addresses,
//! and `imss filter` with and without a gateway.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter, wait_until};

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
