//! What is asked while a session goes on, what a refusal does, and what is told.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use imss_core::envelope::Client;
use imss_relay::inbound::server::TlsUse;
use imss_relay::inbound::session::{Event, Session};
use imss_relay::inbound::{Leave, Mode, Reply, Stage};
use tokio::net::TcpStream;

use super::support::{Keeper, Talker, settings, start, talk_with};

const STRANGER: &str = "192.0.2.1";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_stage_tells_what_is_known() {
    let said = RefCell::new(Vec::new());
    let input = b"EHLO mx.b.example\r\nMAIL FROM:<a@b.example> SIZE=9\r\nRCPT TO:<x@b.example>\r\n\
        RCPT TO:<c@ours.example>\r\nRCPT TO:<c@ours.example>\r\nRCPT TO:<d@ours.example>\r\n";
    let outcome = talk_with(&settings(), STRANGER, input, &[], |stage| {
        assert!(!stage.role().is_trusted);
        said.borrow_mut().push(match stage {
            Stage::Connect { .. } => "connect".to_owned(),
            Stage::Hello { client, .. } => format!("hello {}", client.helo),
            Stage::Mail { reverse_path, parameters, .. } => {
                format!("mail {reverse_path} {:?}", parameters.size)
            }
            Stage::Rcpt { reverse_path, recipient, accepted, .. } => {
                format!("rcpt {reverse_path} {recipient} {accepted}")
            }
        });
        Ok(())
    });
    assert_eq!(outcome.codes(), ["250", "250", "550", "250", "250", "250"]);
    // Neither the recipient that relay control refuses nor the repeated one is asked for.
    let expected = [
        "hello mx.b.example",
        "mail a@b.example Some(9)",
        "rcpt a@b.example c@ours.example 0",
        "rcpt a@b.example d@ours.example 1",
    ];
    assert_eq!(*said.borrow(), expected);
}

#[test]
fn refusals() {
    let input =
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nRCPT TO:<b@ours.example>\r\n\
        DATA\r\nx\r\n.\r\n";
    let cases = [
        ("nothing", "-", 550, vec!["250", "250", "250", "250", "354", "250"], 1),
        // Without a greeting nothing else is taken, and DATA with content behind it ends it all.
        ("hello", "Hello", 550, vec!["550", "503", "503", "503", "503", "421"], 0),
        ("mail", "Mail", 450, vec!["250", "450", "503", "503", "503", "421"], 0),
        ("all recipients", "Rcpt", 550, vec!["250", "250", "550", "550", "554", "421"], 0),
        ("closing", "Rcpt", 421, vec!["250", "250", "421"], 0),
    ];
    for (name, word, code, expected, messages) in cases {
        let every: Vec<usize> = (1..input.len()).collect();
        for cuts in [&[][..], &every] {
            let outcome = talk_with(&settings(), STRANGER, input, cuts, |stage| {
                let is_it = format!("{stage:?}").starts_with(word);
                if is_it { Err(Reply::new(code, (5, 7, 1), "No")) } else { Ok(()) }
            });
            // Octet by octet the client has seen the refusal of DATA before its content.
            let counted = if cuts.is_empty() { expected.len() } else { expected.len().min(4) };
            assert_eq!(outcome.codes()[..counted], expected[..counted], "{name}");
            assert_eq!(outcome.messages.len(), messages, "{name}");
        }
    }
}

/// A session that was ended before its greeting, by a load balancer's client too many or by a stop, asks
/// and says nothing more, whatever the driver does next.
#[test]
fn a_closed_session_greets_nobody() {
    let client = Client::new(STRANGER.parse().unwrap());
    let mut session = Session::new(Arc::new(settings()), Mode::Edge, client, true);
    session.close_with(&Reply::new(421, (4, 7, 0), "Too many connections"));
    session.greet();
    assert!(session.stage().is_none(), "nobody is asked");
    session.resume(Ok(Leave::default()));
    session.secured("TLSv1.3".to_owned());
    session.greet();
    let step = session.step(b"EHLO x\r\n");
    assert_eq!((step.consumed, step.event), (8, Event::Close));
    assert!(session.is_closed());
    assert_eq!(session.output(), b"421 4.7.0 Too many connections\r\n");
}

#[tokio::test]
async fn nobody_is_greeted_who_is_not_welcome() {
    let keeper = Arc::new(Keeper::default());
    *keeper.refused.lock().unwrap() = Some(("Connect", Reply::new(554, (5, 7, 1), "Go away")));
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    assert_eq!(talker.reply().await, "554 5.7.1 Go away\r\n");
    assert_eq!(talker.reply().await, "");
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_check_that_takes_its_time_keeps_the_order() {
    let keeper = Arc::new(Keeper { check_takes: Duration::from_millis(5), ..Keeper::default() });
    let (server, address) = start(settings(), &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    let all =
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<a@ours.example>\r\nDATA\r\n";
    talker.send(all.as_bytes()).await;
    for expected in ["220", "250-", "250 2.1.0", "550 5.7.1", "250 2.1.5", "354"] {
        let reply = talker.reply().await;
        assert!(reply.starts_with(expected), "{reply} is not {expected}");
    }
    assert!(talker.ask("x\r\n.").await.starts_with("250"));
    *keeper.refused.lock().unwrap() = Some(("Rcpt", Reply::new(550, (5, 1, 1), "Unknown")));
    assert!(talker.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(talker.ask("RCPT TO:<c@ours.example>").await.starts_with("550 5.1.1"));
    talker.ask("QUIT").await;
    drop(talker);
    server.stop(PATIENCE).await;
    let expected = [
        "accepted after 0",
        "answered 250",
        "refused c@ours.example: 550",
        "left after 1 messages, 2 errors",
    ];
    assert_eq!(*keeper.events.lock().unwrap(), expected);
}

#[tokio::test]
async fn recipients_are_verified_where_they_are_ours() {
    let keeper = Arc::new(Keeper::default());
    let mut settings = settings();
    settings.relaying.trusted_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let (server, address) = start(settings, &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    talker.send(b"EHLO x\r\nMAIL FROM:<>\r\n").await;
    for expected in ["220", "250-", "250"] {
        assert!(talker.reply().await.starts_with(expected));
    }
    for (line, expected) in [
        ("RCPT TO:<known@ours.example>", "250 2.1.5"),
        ("RCPT TO:<unknown@ours.example>", "550 5.1.1"),
        ("RCPT TO:<unknown@elsewhere.example>", "250 2.1.5"),
    ] {
        assert!(talker.ask(line).await.starts_with(expected), "{line}");
    }
    drop(talker);
    server.stop(PATIENCE).await;
    let events = keeper.events.lock().unwrap();
    assert!(events.contains(&"refused unknown@ours.example: 550".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_check_that_never_ends_is_answered_for() {
    let keeper = Arc::new(Keeper { check_takes: PATIENCE * 60, ..Keeper::default() });
    let mut settings = settings();
    settings.timeouts.check = Duration::from_millis(50);
    let (server, address) = start(settings, &keeper, TlsUse::Off);
    let mut talker = Talker::new(TcpStream::connect(address).await.unwrap());
    assert!(talker.reply().await.starts_with("451 4.4.3"));
    assert_eq!(talker.reply().await, "");
    server.stop(PATIENCE).await;
}
