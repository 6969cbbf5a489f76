//! AUTH over a session and over sockets (RFC 4954, RFC 6409, RFC 8314).

use std::sync::Arc;
use std::time::Duration;

use imss_relay::inbound::auth::users::{User, UserFiles, Users};
use imss_relay::inbound::auth::verifier::Verifier;
use imss_relay::inbound::auth::{AuthRules, Mechanism, Password};
use imss_relay::inbound::server::TlsUse;
use imss_relay::inbound::{Protocol, Settings};
use tokio::net::TcpStream;

use super::support::{Keeper, Outcome, Talker, settings, start, talk};

const STRANGER: &str = "192.0.2.1";
const EHLO: &str = "EHLO x";
const TLS: &str = "STARTTLS";
/// `\0user\0pencil`
const RIGHT: &str = "AUTH PLAIN AHVzZXIAcGVuY2ls";
/// `\0user\0pencils`
const WRONG: &str = "AUTH PLAIN AHVzZXIAcGVuY2lscw==";

/// Settings with one user, `user` with `pencil`.
fn with_users() -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let files = UserFiles { users: folder.path().join("users"), key: folder.path().join("key") };
    let verifier = Verifier::new(&Password::new("pencil")).unwrap();
    let (name, senders) = ("user".to_owned(), vec!["user@ours.example".to_owned()]);
    files.write(&[User { name, verifier, cram_md5: None, senders }]).unwrap();
    let users = Some(Arc::new(Users::open(files).unwrap()));
    let auth = AuthRules { users, delay: Duration::ZERO, ..AuthRules::default() };
    Settings { auth, ..settings() }
}

fn say(settings: &Settings, lines: &[&str]) -> Outcome {
    // Each line on its own: whoever sends more with STARTTLS loses it.
    let input: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let mut cuts: Vec<usize> = input.match_indices('\n').map(|(at, _)| at + 1).collect();
    cuts.pop();
    talk(settings, STRANGER, input.as_bytes(), &cuts)
}

#[test]
fn when_it_is_allowed() {
    let settings = with_users();
    let mut clear = settings.clone();
    clear.auth.in_clear = true;
    let none = super::support::settings();
    let cases: &[(&str, &Settings, &[&str], &[&str])] = &[
        ("not offered", &none, &[EHLO, RIGHT], &["250", "502"]),
        ("in the clear", &settings, &[EHLO, RIGHT], &["250", "538"]),
        ("in the clear where it may be", &clear, &[EHLO, RIGHT], &["250", "235"]),
        ("before EHLO", &clear, &[RIGHT], &["503"]),
        ("after HELO", &clear, &["HELO x", RIGHT], &["250", "503"]),
        ("inside TLS", &settings, &[EHLO, TLS, EHLO, RIGHT], &["250", "220", "250", "235"]),
        ("twice", &clear, &[EHLO, RIGHT, RIGHT], &["250", "235", "503"]),
        ("inside a transaction", &clear, &[EHLO, "MAIL FROM:<>", RIGHT], &["250", "250", "503"]),
        ("no such mechanism", &clear, &[EHLO, "AUTH GSSAPI"], &["250", "504"]),
        ("not offered here", &clear, &[EHLO, "AUTH CRAM-MD5"], &["250", "504"]),
        ("nothing to bind to", &clear, &[EHLO, "AUTH SCRAM-SHA-256-PLUS"], &["250", "504"]),
        ("wrong", &clear, &[EHLO, WRONG], &["250", "535"]),
        ("no base64", &clear, &[EHLO, "AUTH PLAIN ???"], &["250", "501"]),
        ("empty response", &clear, &[EHLO, "AUTH PLAIN ="], &["250", "501"]),
        ("cancelled", &clear, &[EHLO, "AUTH PLAIN", "*", "NOOP"], &["250", "334", "501", "250"]),
        (
            "in two lines",
            &clear,
            &[EHLO, "AUTH PLAIN", "AHVzZXIAcGVuY2ls", "NOOP"],
            &["250", "334", "235", "250"],
        ),
        (
            "LOGIN",
            &clear,
            &[EHLO, "AUTH LOGIN", "dXNlcg==", "cGVuY2ls"],
            &["250", "334", "334", "235"],
        ),
        (
            "LOGIN with the name at once",
            &clear,
            &[EHLO, "AUTH LOGIN dXNlcg==", "cGVuY2ls"],
            &["250", "334", "235"],
        ),
        (
            "too many failures",
            &clear,
            &[EHLO, WRONG, WRONG, WRONG, RIGHT],
            &["250", "535", "535", "535", "421"],
        ),
    ];
    for (name, settings, lines, expected) in cases {
        assert_eq!(say(settings, lines).codes(), *expected, "{name}");
    }
    let long = format!("AUTH PLAIN\r\n{}", "A".repeat(13_000));
    assert_eq!(say(&clear, &[EHLO, &long, "NOOP"]).codes(), ["250", "334", "500", "250"]);
    let fits = "A".repeat(12_286);
    assert_eq!(say(&clear, &[EHLO, "AUTH PLAIN", &fits]).codes(), ["250", "334", "501"]);
}

#[test]
fn what_is_offered() {
    let mut settings = with_users();
    assert!(!say(&settings, &[EHLO]).replies.contains("AUTH"));
    let inside = say(&settings, &[EHLO, TLS, EHLO]).replies;
    assert!(inside.ends_with("250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"), "{inside}");
    settings.auth.in_clear = true;
    settings.auth.mechanisms = vec![Mechanism::CramMd5];
    assert!(say(&settings, &[EHLO]).replies.ends_with("250 AUTH CRAM-MD5\r\n"));
    settings.auth.mechanisms = vec![Mechanism::Plain];
    let after = say(&settings, &[EHLO, RIGHT, EHLO]).replies;
    assert_eq!(after.matches("AUTH PLAIN").count(), 1, "{after}");
}

#[test]
fn what_a_login_may_do() {
    let mut settings = with_users();
    settings.requires_tls = true;
    settings.auth.is_required = true;
    let (mail, rcpt) = ("MAIL FROM:<user@ours.example>", "RCPT TO:<a@elsewhere.example>");
    let all = [EHLO, TLS, EHLO, RIGHT, mail, rcpt, "DATA", "x\r\n."];
    let outcome = say(&settings, &all);
    assert_eq!(outcome.codes(), ["250", "220", "250", "235", "250", "250", "354", "250"]);
    let (envelope, protocol, _) = &outcome.messages[0];
    assert_eq!(envelope.client.login.as_deref(), Some("user"));
    assert_eq!(*protocol, Protocol::Esmtpsa);
    assert_eq!(say(&settings, &[EHLO, mail]).codes(), ["250", "530"]);
    assert_eq!(say(&settings, &[EHLO, TLS, EHLO, mail]).codes(), ["250", "220", "250", "530"]);

    let cases = [
        ("not ours, without the rule", false, "MAIL FROM:<a@b.example>", "250"),
        ("not ours", true, "MAIL FROM:<a@b.example>", "553"),
        ("listed", true, mail, "250"),
        ("null", true, "MAIL FROM:<>", "250"),
        ("AUTH= is taken and not believed", true, "MAIL FROM:<> AUTH=<> SIZE=1", "250"),
        ("AUTH= twice", true, "MAIL FROM:<> AUTH=<> AUTH=<>", "501"),
        ("AUTH= without a value", true, "MAIL FROM:<> AUTH=", "501"),
    ];
    for (name, own_senders, line, expected) in cases {
        settings.auth.own_senders = own_senders;
        let outcome = say(&settings, &[EHLO, TLS, EHLO, RIGHT, line]);
        assert_eq!(outcome.codes()[4], expected, "{name}");
    }
}

/// Without time for the password nobody knows: the client may come again, and is no guesser.
#[tokio::test]
async fn no_time_is_no_failure() {
    let mut settings = with_users();
    settings.auth.in_clear = true;
    settings.timeouts.check = Duration::ZERO;
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings, &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    talker.reply().await;
    talker.ask(EHLO).await;
    for _ in 0..5 {
        assert!(talker.ask(RIGHT).await.starts_with("454 4.7.0"), "more often than may fail");
    }
    assert!(talker.ask("NOOP").await.starts_with("250"));
    drop(talker);
    server.stop(Duration::from_secs(60)).await;
    let events = keeper.events.lock().unwrap();
    assert!(!events.iter().any(|event| event == "login failed"), "{events:?}");
}

#[tokio::test]
async fn guessing_takes_time_and_is_told() {
    let mut settings = with_users();
    settings.auth.in_clear = true;
    settings.auth.failures = 2;
    let keeper = Arc::new(Keeper::default());
    let (server, address) = start(settings, &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    talker.reply().await;
    talker.ask(EHLO).await;
    assert!(talker.ask(WRONG).await.starts_with("535 5.7.8"));
    assert!(talker.ask(WRONG).await.starts_with("535 5.7.8"));
    assert!(talker.reply().await.starts_with("421 4.7.0"));
    assert_eq!(talker.reply().await, "");
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    talker.reply().await;
    talker.ask(EHLO).await;
    assert!(talker.ask(RIGHT).await.starts_with("235 2.7.0"));
    assert!(talker.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(talker.ask("RCPT TO:<a@elsewhere.example>").await.starts_with("250"));
    drop(talker);
    server.stop(Duration::from_secs(60)).await;
    let events = keeper.events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| *event == "login failed").count(), 2, "{events:?}");
}
