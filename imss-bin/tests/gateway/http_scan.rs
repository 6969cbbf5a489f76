//! Scanning over HTTP: reports, edited messages, and everything that is none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::held::eicar;
use crate::milter::POLICY;
use crate::support::{Gateway, Home, Setup, letter};

/// The token `secret` and another one.
const TOKENS: &str = "scan = true\nscan-tokens = [\
    \"one:0000000000000000000000000000000000000000000000000000000000000000\", \
    \"two:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }
}

/// `POST` with these header fields.
pub(crate) fn post(at: SocketAddr, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut head = format!("POST {target} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !fields.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    // It may have heard enough before the end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

const MESSAGE: (&str, &str) = ("Content-Type", "message/rfc822");
const FILE: (&str, &str) = ("Content-Type", "application/octet-stream");

fn scanning(http: &str, more: &str) -> Home {
    let tables = format!("{http}\n{more}");
    let home = Home::new(&Setup {
        next_hop: "maildir",
        root: "policy = \"policy.toml\"",
        tables: &tables,
        ..Setup::default()
    });
    home.write("policy.toml", POLICY);
    home
}

#[test]
fn a_report_and_nothing_else() {
    let home = scanning("scan = true", "");
    let gateway = Gateway::start(&home);
    let at = gateway.http();
    let target = "/v1/scan?from=alice@elsewhere.example&to=bob%40ours.example&client=192.0.2.1";
    let report = post(at, target, &[MESSAGE], &letter("newsletter", "Read this.")).json();
    assert_eq!(report["verdict"], "policy");
    assert_eq!(report["rules"][0], "Tagged");
    assert_eq!(report["findings"][0]["name"], "newsletter");

    // The same by header fields, for a file.
    let fields = [FILE, ("Imss-To", "bob@ours.example"), ("Imss-Name", "order.com")];
    let answer = post(at, "/v1/scan", &fields, &eicar());
    let report = answer.json();
    assert_eq!((&report["verdict"], &report["action"]), (&"infected".into(), &"quarantine".into()));
    assert_eq!(
        (&report["path"], &report["findings"][0]["entity"]),
        (&"order.com".into(), &"1 \"order.com\"".into())
    );
    let id = answer.head.lines().find_map(|line| line.strip_prefix("imss-id: ")).unwrap();
    crate::support::wait_until("the record is there", || home.imss(&["explain", id]).0 == 0);
    assert!(home.done(&["explain", id]).contains("EICAR"));
    assert!(home.quarantine().is_empty() && home.queue().is_empty(), "nothing is done");

    // The edited message, if there is one that goes on.
    let accept = ("Accept", "message/rfc822");
    let large = letter("newsletter", "a line of a large message\r\n".repeat(40_000).trim_end());
    for content in [letter("newsletter", "Read this."), large] {
        let answer = post(at, target, &[MESSAGE, accept], &content);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.head.contains("content-type: message/rfc822"), "{}", answer.head);
        assert!(answer.head.contains("imss-verdict: policy"), "{}", answer.head);
        assert!(text.contains("Subject: [bulk] newsletter\r\n") && text.contains("From outside."));
        assert!(text.len() > content.len(), "whole");
    }
    let answer = post(at, target, &[MESSAGE, accept], &letter("forbidden", "x"));
    assert_eq!(answer.json()["action"], "reject");
    gateway.stop();
    assert_eq!(std::fs::read_dir(home.data().join("spool/bodies")).unwrap().count(), 0);
}

#[test]
fn what_is_no_report() {
    let home =
        scanning("scan = true", "[limits]\nmessage-size = \"64 KiB\"\ndata-timeout = \"1 s\"\n");
    let gateway = Gateway::start(&home);
    let at = gateway.http();
    let small = letter("plain", "x");
    let large = letter("plain", &"x".repeat(70_000));
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, &str, Fields<'_>, &[u8], u16); 9] = [
        ("another type", "/v1/scan", &[("Content-Type", "text/plain")], &small, 415),
        ("no type", "/v1/scan", &[], &small, 415),
        ("a wrong address", "/v1/scan?to=nobody", &[MESSAGE], &small, 400),
        ("an unknown word", "/v1/scan?recipient=a@b.example", &[MESSAGE], &small, 400),
        ("too large", "/v1/scan", &[MESSAGE], &large, 413),
        (
            "announced as too large",
            "/v1/scan",
            &[MESSAGE, ("Content-Length", "99999999")],
            b"",
            413,
        ),
        ("too slow", "/v1/scan", &[MESSAGE, ("Content-Length", "9")], b"Subject:", 408),
        (
            "a piece of a message",
            "/v1/scan",
            &[MESSAGE],
            b"Content-Type: message/partial; id=a; number=1; total=2\r\n\r\nx\r\n",
            422,
        ),
        ("another place", "/v1/scans", &[MESSAGE], &small, 404),
    ];
    for (name, target, fields, body, expected) in cases {
        let answer = post(at, target, fields, body);
        assert_eq!(answer.status, expected, "{name}: {}", String::from_utf8_lossy(&answer.body));
        if expected != 404 {
            assert!(answer.json()["error"].is_string(), "{name}");
        }
    }
    let (status, _) = gateway.get("/v1/scan");
    assert!(status.contains("405"), "{status}");
    assert_eq!(post(at, "/v1/scan", &[MESSAGE], &small).status, 200);
    gateway.stop();
}

#[test]
fn more_than_can_be_taken_are_told_so() {
    let home = scanning("scan = true", "[scan]\nthreads = 1\n");
    let gateway = Gateway::start(&home);
    let head = "POST /v1/scan HTTP/1.1\r\nHost: g\r\nContent-Type: message/rfc822\r\n\
                Content-Length: 99\r\n\r\nSubject: x\r\n";
    // Sixteen can be at it; who comes then hears that there is no room.
    let mut held = Vec::new();
    crate::support::wait_until("it is full", || {
        let mut stream = TcpStream::connect(gateway.http()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        held.push(stream);
        let answer = post(gateway.http(), "/v1/scan", &[MESSAGE], &letter("plain", "x"));
        answer.status == 429 && answer.head.contains("retry-after: 1")
    });
    assert!(gateway.get("/health/live").0.contains("200"), "health is still told");
    drop(held);
    crate::support::wait_until("there is room", || {
        post(gateway.http(), "/v1/scan", &[MESSAGE], &letter("plain", "x")).status == 200
    });
    gateway.stop();
}

#[test]
fn who_may_and_who_may_not() {
    let small = letter("plain", "x");
    let home = scanning(TOKENS, "");
    let gateway = Gateway::start(&home);
    for (name, shown, expected) in [
        ("the token", "Bearer secret", 200),
        ("another", "Bearer public", 401),
        (
            "its digest",
            "Bearer 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            401,
        ),
        ("nothing", "", 401),
    ] {
        let answer = post(gateway.http(), "/v1/scan", &[MESSAGE, ("Authorization", shown)], &small);
        assert_eq!(answer.status, expected, "{name}");
    }
    assert!(!gateway.said().contains("secret"));
    gateway.stop();

    // Nobody asked for it.
    let home = scanning("", "");
    let gateway = Gateway::start(&home);
    assert_eq!(post(gateway.http(), "/v1/scan", &[MESSAGE], &small).status, 404);
    gateway.stop();

    for (http, reason) in [
        ("scan = true\naddress = \"0.0.0.0:0\"", "anybody who reaches this address"),
        ("scan = true\naddress = \"off\"", "no address to scan at"),
        ("scan-tokens = []", "tokens for nothing"),
        ("scan = true\nscan-tokens = [\"secret\"]", "not a token"),
    ] {
        home.write("imss.toml", format!("[http]\n{http}\n"));
        let (code, out, err) = home.imss(&["check"]);
        assert!(code != 0 && format!("{out}{err}").contains(reason), "{http}: {out}{err}");
    }
}
