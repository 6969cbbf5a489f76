#![no_main]
//! However the client's octets are cut, the same replies and messages come out, and no message
//! holds a CR or LF alone. One thing may depend on the cut: a client that sends content together with
//! a DATA that is then refused is cut off, and nothing it sent after that counts. AUTH, XCLIENT and
//! XFORWARD are allowed; who gives any password is logged in. A PROXY header is found in the same
//! place however it comes, and nothing behind it is read.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use imss_core::envelope::{Client, Envelope};
use imss_relay::inbound::auth::exchange::Claim;
use imss_relay::inbound::auth::users::{UserFiles, Users};
use imss_relay::inbound::auth::{AuthRules, LoginAnswer, Mechanism};
use imss_relay::inbound::haproxy;
use imss_relay::inbound::relaying::RelayRules;
use imss_relay::inbound::session::{Event, Session};
use imss_relay::inbound::{Leave, Mode, Reply, Settings};
use libfuzzer_sys::fuzz_target;

/// How the last reply ends to who sends content that was not asked for.
const CUT_OFF: &[u8] = b"before it was asked for\r\n";

fuzz_target!(|input: (u8, &[u8])| {
    let (size, octets) = input;
    proxy_header(octets);
    let whole = run(octets, octets.len().max(1));
    let pieces = run(octets, usize::from(size % 16) + 1);
    if whole.0.ends_with(CUT_OFF) || pieces.0.ends_with(CUT_OFF) {
        let (fewer, more) = if whole.1.len() < pieces.1.len() {
            (&whole.1, &pieces.1)
        } else {
            (&pieces.1, &whole.1)
        };
        assert!(more.starts_with(fewer), "messages depend on how the input is cut");
    } else {
        assert_eq!(whole.0, pieces.0, "replies depend on how the input is cut");
        assert_eq!(whole.1, pieces.1, "messages depend on how the input is cut");
    }
    for (_, body) in whole.1.iter().chain(&pieces.1) {
        let bare = body.iter().enumerate().any(|(at, octet)| match octet {
            b'\n' => at == 0 || body.get(at - 1) != Some(&b'\r'),
            b'\r' => body.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        assert!(!bare, "a bare line end went through");
    }
});

/// Reads as a connection does: only what a header lacks.
fn proxy_header(octets: &[u8]) {
    let whole = haproxy::read(octets);
    let mut known = 0;
    while let Ok(None) = haproxy::read(&octets[..known]) {
        let missing = haproxy::missing(&octets[..known]);
        assert!(missing > 0, "would read nothing for ever");
        known += missing;
        if known > octets.len() {
            return;
        }
    }
    if let Ok(Some(header)) = whole {
        assert_eq!(header.octets, known, "reads past the header");
        assert_eq!(haproxy::read(&octets[..known]), whole, "depends on what follows");
    }
}

/// Nobody, but with the same salts in every run.
fn users() -> Arc<Users> {
    static USERS: OnceLock<Arc<Users>> = OnceLock::new();
    let nowhere = || "/nonexistent/users".into();
    let open = || Users::open(UserFiles { users: nowhere(), key: nowhere() }).unwrap();
    Arc::clone(USERS.get_or_init(|| Arc::new(open())))
}

/// The replies and the messages of one session, with the input in pieces of `size` octets.
fn run(octets: &[u8], size: usize) -> (Vec<u8>, Vec<(Envelope, Vec<u8>)>) {
    let trusted_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let auth = AuthRules {
        users: Some(users()),
        mechanisms: Mechanism::ALL.to_vec(),
        in_clear: true,
        nonce: || Some("nonce".to_owned()),
        ..AuthRules::default()
    };
    let settings = Settings {
        auth,
        xclient_from: trusted_networks.clone(),
        xforward_from: trusted_networks.clone(),
        relaying: RelayRules { trusted_networks, ..RelayRules::default() },
        ..Settings::default()
    };
    let client = Client::new(Ipv4Addr::LOCALHOST.into());
    let mut session = Session::new(Arc::new(settings), Mode::Edge, client, false);
    let (mut replies, mut messages, mut body) = (Vec::new(), Vec::new(), Vec::new());
    session.greet();
    let mut buffer = Vec::new();
    for piece in octets.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            let step = session.step(&buffer);
            let consumed = step.consumed;
            let mut ended = false;
            let mut more = false;
            match step.event {
                Event::Continue => {}
                Event::Check => session.resume(Ok(Leave::default())),
                Event::Login => {
                    // Whether it is known goes by its length: the target is the same for the same input.
                    let answer = match session.claim() {
                        Some(Claim::Password { name, .. }) if name.len() % 4 == 3 => {
                            LoginAnswer::Unknown
                        }
                        Some(Claim::Password { name, .. }) => LoginAnswer::Right(name.clone()),
                        _ => LoginAnswer::Wrong,
                    };
                    session.logged_in(answer);
                }
                Event::More => more = true,
                Event::Begin | Event::Abandon => body.clear(),
                Event::Content(content) => body.extend_from_slice(content),
                Event::End(complete) => {
                    messages.push((complete.envelope, std::mem::take(&mut body)));
                    session.answer(&Reply::new(250, (2, 0, 0), "taken"));
                }
                Event::StartTls | Event::Quit | Event::Close => ended = true,
            }
            buffer.drain(..consumed);
            replies.append(session.output());
            if ended {
                return (replies, messages);
            }
            if more {
                break;
            }
        }
    }
    (replies, messages)
}
