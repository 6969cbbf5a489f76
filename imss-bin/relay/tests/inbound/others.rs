//! Who speaks for others: the PROXY protocol, XCLIENT and XFORWARD, from whom they may come.

use std::sync::Arc;
use std::time::Duration;

use imss_relay::inbound::Settings;
use imss_relay::inbound::server::TlsUse;
use tokio::net::TcpStream;

use super::support::{Keeper, Talker, settings, start, talk};

const PATIENCE: Duration = Duration::from_secs(60);
const PROXY: &str = "192.0.2.1";

fn trusting() -> Settings {
    let networks = || vec!["192.0.2.0/24".parse().unwrap()];
    let mut settings =
        Settings { xclient_from: networks(), xforward_from: networks(), ..settings() };
    settings.relaying.trusted_networks = vec!["10.0.0.0/8".parse().unwrap()];
    settings
}

fn lines(text: &[&str]) -> String {
    text.iter().map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn who_may_say_so() {
    let said = lines(&["EHLO x", "XCLIENT ADDR=10.0.0.1", "XFORWARD ADDR=10.0.0.1"]);
    let stranger = talk(&trusting(), "198.51.100.1", said.as_bytes(), &[]);
    assert_eq!(stranger.codes(), ["250", "550", "550"]);
    assert!(!stranger.replies.contains("XCLIENT") && !stranger.replies.contains("XFORWARD"));
    let friend = talk(&trusting(), PROXY, said.as_bytes(), &[]);
    assert_eq!(friend.codes(), ["250", "220", "250"]);
    assert!(friend.replies.contains("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN"));
    assert!(friend.replies.contains("250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"));
}

#[test]
fn xclient_begins_again_as_another() {
    let rcpt = "RCPT TO:<a@elsewhere.example>";
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "from a trusted network",
            &["XCLIENT ADDR=10.0.0.1", "EHLO y", "MAIL FROM:<>", rcpt],
            &["220", "250", "250", "250"],
        ),
        (
            "from elsewhere",
            &["XCLIENT ADDR=198.51.100.1", "EHLO y", "MAIL FROM:<>", rcpt],
            &["220", "250", "250", "550"],
        ),
        (
            "logged in",
            &["XCLIENT ADDR=198.51.100.1 LOGIN=user", "EHLO y", "MAIL FROM:<>", rcpt],
            &["220", "250", "250", "250"],
        ),
        (
            "no longer logged in",
            &["XCLIENT LOGIN=user", "XCLIENT LOGIN=[UNAVAILABLE]", "EHLO y", "MAIL FROM:<>", rcpt],
            &["220", "220", "250", "250", "550"],
        ),
        ("EHLO comes again", &["XCLIENT ADDR=10.0.0.1", "MAIL FROM:<>"], &["220", "503"]),
        ("not in a transaction", &["MAIL FROM:<>", "XCLIENT ADDR=10.0.0.1"], &["250", "503"]),
        ("nonsense", &["XCLIENT", "XCLIENT ADDR=x", "XCLIENT Y=1"], &["501", "501", "501"]),
    ];
    for (name, said, expected) in cases {
        let input = lines(&[&["EHLO x"], *said].concat());
        let every: Vec<usize> = (1..input.len()).collect();
        for cuts in [&[][..], &every] {
            let outcome = talk(&trusting(), PROXY, input.as_bytes(), cuts);
            assert_eq!(outcome.codes()[1..], **expected, "{name}");
        }
    }
}

#[test]
fn xforward_changes_one_envelope_and_no_rights() {
    let mail = ["MAIL FROM:<>", "RCPT TO:<a@ours.example>", "DATA", "x\r\n."];
    let said = [
        &["EHLO x", "XFORWARD ADDR=10.0.0.1 HELO=other.example NAME=mx.example", "XFORWARD PORT=1"]
            [..],
        &mail,
        &mail,
        &["XFORWARD ADDR=10.0.0.1", "MAIL FROM:<>", "RCPT TO:<a@elsewhere.example>"],
        &["XFORWARD ADDR=10.0.0.1"],
    ];
    let outcome = talk(&trusting(), PROXY, lines(&said.concat()).as_bytes(), &[]);
    let expected = [
        "250", "250", "250", "250", "250", "354", "250", "250", "250", "354", "250", "250", "250",
        "550", "503",
    ];
    assert_eq!(outcome.codes(), expected);
    let said = [&["EHLO x", "XFORWARD ADDR=10.0.0.1", "MAIL FROM:<>", "RSET"][..], &mail].concat();
    let reset = talk(&trusting(), PROXY, lines(&said).as_bytes(), &[]);
    let client = &reset.messages[0].0.client;
    assert_eq!((client.ip.to_string().as_str(), client.is_ours), (PROXY, false), "after RSET");
    let client = |message: usize| {
        let client = &outcome.messages[message].0.client;
        format!("{} {} {:?}", client.ip, client.helo, client.name)
    };
    assert_eq!(client(0), "10.0.0.1 other.example Some(\"mx.example\")");
    assert!(outcome.messages[0].0.client.is_ours, "it is in a trusted network");
    assert_eq!(client(1), "192.0.2.1 x None");
}

#[tokio::test]
async fn a_load_balancer_says_who_connects() {
    let mut settings = trusting();
    settings.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
    settings.xclient_from.push("127.0.0.0/8".parse().unwrap());
    settings.limits.connections_per_client = 1;
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings, &keeper, TlsUse::Off);
    let connect = async |header: &[u8]| {
        let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
        talker.send(header).await;
        talker
    };
    let mut first = connect(b"PROXY TCP4 198.51.100.7 192.0.2.2 1024 25\r\n").await;
    assert!(first.reply().await.starts_with("220"));
    let mut second = connect(b"PROXY TCP4 198.51.100.7 192.0.2.2 1025 25\r\n").await;
    assert!(second.reply().await.starts_with("421 4.7.0"), "limits are the client's");
    let mut other = connect(b"PROXY TCP4 198.51.100.8 192.0.2.2 1025 25\r\n").await;
    assert!(other.reply().await.starts_with("220"));
    let mut own = connect(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await;
    assert!(own.reply().await.starts_with("220"), "a health check is the balancer's own");
    // The header and commands in one packet; the client's network decides.
    let mut ours = connect(b"PROXY TCP4 10.0.0.1 192.0.2.2 1 25\r\n").await;
    assert!(ours.reply().await.starts_with("220"));
    ours.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@elsewhere.example>\r\nDATA\r\n").await;
    for expected in ["250", "250", "250", "354"] {
        assert!(ours.reply().await.starts_with(expected));
    }
    assert!(ours.ask("x\r\n.").await.starts_with("250"));
    for wrong in [&b"EHLO x\r\n       "[..], b"PROXY TCP4 999.0.0.1 192.0.2.2 1 25\r\n"] {
        assert_eq!(connect(wrong).await.reply().await, "", "no header, no session");
    }
    {
        let messages = keeper.messages.lock().unwrap();
        assert_eq!(messages[0].0.envelope.client.ip.to_string(), "10.0.0.1");
    }
    // What the balancer may say, whoever is behind it may not.
    let mut behind = connect(b"PROXY TCP4 198.51.100.9 192.0.2.2 1 25\r\n").await;
    assert!(behind.reply().await.starts_with("220"));
    assert!(behind.ask("EHLO x").await.starts_with("250"));
    assert!(behind.ask("XCLIENT ADDR=10.0.0.1").await.starts_with("550"));
    drop((first, second, other, own, ours, behind));
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn nobody_else_may_send_a_proxy_header() {
    let (server, address) = start(trusting(), &Arc::default(), TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    assert!(talker.reply().await.starts_with("220"));
    let reply = talker.ask("PROXY TCP4 10.0.0.1 192.0.2.2 1 25").await;
    assert!(reply.starts_with("500"), "{reply}");
    drop(talker);
    server.stop(PATIENCE).await;
}
