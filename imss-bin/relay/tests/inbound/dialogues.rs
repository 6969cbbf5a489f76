//! What is said, and what is answered (RFC 5321 §4).

use imss_relay::inbound::Settings;
use imss_relay::inbound::settings::LineEnds;

use super::support::{settings, talk};

const STRANGER: &str = "192.0.2.1";

/// Each line and the reply to it must match, in one piece and octet by octet.
fn check(name: &str, settings: &Settings, client: &str, dialogue: &[(&str, &str)]) {
    let input: String = dialogue.iter().map(|(line, _)| format!("{line}\r\n")).collect();
    let expected: Vec<&str> = dialogue.iter().flat_map(|(_, reply)| reply.split('|')).collect();
    let every: Vec<usize> = (1..input.len()).collect();
    for cuts in [&[][..], &every] {
        let outcome = talk(settings, client, input.as_bytes(), cuts);
        let is_final = |line: &&str| line.as_bytes()[3] == b' ';
        let replies: Vec<&str> = outcome.replies.lines().filter(is_final).collect();
        let expected: Vec<&str> = expected.iter().copied().filter(|e| !e.is_empty()).collect();
        assert_eq!(replies.len(), expected.len(), "{name}: {}", outcome.replies);
        for (reply, expected) in replies.iter().zip(&expected) {
            assert!(reply.starts_with(expected), "{name}: {reply:?} is not {expected:?}");
        }
    }
}

#[test]
fn order_of_commands() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("mail before hello", &[("MAIL FROM:<a@b.example>", "503 5.5.1")]),
        ("rcpt before mail", &[("EHLO x", "250"), ("RCPT TO:<a@ours.example>", "503 5.5.1")]),
        ("data before mail", &[("EHLO x", "250"), ("DATA", "503 5.5.1")]),
        (
            "data without recipients",
            &[("EHLO x", "250"), ("MAIL FROM:<>", "250 2.1.0"), ("DATA", "554 5.5.1")],
        ),
        (
            "mail twice",
            &[("EHLO x", "250"), ("MAIL FROM:<>", "250"), ("MAIL FROM:<>", "503 5.5.1")],
        ),
        (
            "rset ends the transaction",
            &[
                ("EHLO x", "250"),
                ("MAIL FROM:<>", "250"),
                ("RSET", "250 2.0.0"),
                ("RCPT TO:<a@ours.example>", "503"),
                ("MAIL FROM:<>", "250"),
            ],
        ),
        (
            "hello ends the transaction",
            &[
                ("HELO x", "250 mx.ours.example"),
                ("MAIL FROM:<>", "250"),
                ("RCPT TO:<a@ours.example>", "250 2.1.5"),
                ("EHLO x", "250"),
                ("DATA", "503"),
            ],
        ),
        (
            "others",
            &[
                ("NOOP whatever", "250"),
                ("HELP", "214"),
                ("VRFY a", "252"),
                ("EXPN a", "502"),
                ("ETRN x", "502"),
                ("WHAT", "500 5.5.2"),
                ("", "500"),
                ("RSET now", "501"),
                ("EHLO", "501"),
                ("EHLO ü", "501"),
                ("NOOP \u{0}", "500"),
                ("QUIT", "221 2.0.0"),
            ],
        ),
        ("another protocol", &[("GET / HTTP/1.1", "521"), ("Host: x", "")]),
        ("chunk without a size", &[("BDAT", "521"), ("QUIT", "")]),
    ];
    let settings = Settings { close_on_early_data: false, ..settings() };
    for (name, dialogue) in cases {
        check(name, &settings, STRANGER, dialogue);
    }
}

#[test]
fn mail_and_its_parameters() {
    let long = format!("MAIL FROM:<{}@b.example>", "a".repeat(300));
    let cases = [
        ("null", "MAIL FROM:<>", "250 2.1.0"),
        ("everything", "MAIL FROM:<a@b.example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL", "250"),
        ("too large", "MAIL FROM:<> SIZE=999999999999", "552 5.3.4"),
        ("bad size", "MAIL FROM:<> SIZE=x", "501 5.5.4"),
        ("unknown parameter", "MAIL FROM:<> X=1", "555 5.5.4"),
        ("binary", "MAIL FROM:<> BODY=BINARYMIME", "504 5.5.4"),
        ("UTF-8 unannounced", "MAIL FROM:<ü@b.example>", "550 5.6.7"),
        ("UTF-8 announced", "MAIL FROM:<ü@b.example> SMTPUTF8", "250"),
        ("no brackets", "MAIL FROM:a@b.example", "501 5.5.4"),
        ("no domain", "MAIL FROM:<a>", "501 5.1.7"),
        ("dots", "MAIL FROM:<a..b@b.example>", "501 5.1.7"),
        ("too long", &long, "501 5.1.7"),
        ("source route is dropped", "MAIL FROM:<@x.example:a@b.example>", "250"),
    ];
    for (name, line, reply) in cases {
        check(name, &settings(), STRANGER, &[("EHLO x", "250"), (line, reply)]);
    }
    let lax = Settings { allow_bad_dots: true, ..settings() };
    check("dots allowed", &lax, STRANGER, &[("EHLO x", "250"), ("MAIL FROM:<a.@b.jp>", "250")]);
}

#[test]
fn recipients() {
    let cases = [
        ("ours", "RCPT TO:<a@ours.example>", "250 2.1.5"),
        ("not ours", "RCPT TO:<a@b.example>", "550 5.7.1"),
        ("postmaster", "RCPT TO:<Postmaster>", "250"),
        ("percent", "RCPT TO:<a%b.example@ours.example>", "550 5.7.1"),
        ("bang", "RCPT TO:<b.example!a@ours.example>", "550 5.7.1"),
        ("quoted", "RCPT TO:<\"a@b.example\"@ours.example>", "550 5.7.1"),
        ("route", "RCPT TO:<@ours.example:a@b.example>", "550 5.7.1"),
        ("route to us", "RCPT TO:<@x.example,@y.example:a@ours.example>", "550 5.7.1"),
        ("null", "RCPT TO:<>", "501 5.1.3"),
        ("DSN", "RCPT TO:<a@ours.example> NOTIFY=NEVER ORCPT=rfc822;a@b.example", "250"),
        ("bad DSN", "RCPT TO:<a@ours.example> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("unknown parameter", "RCPT TO:<a@ours.example> X", "555 5.5.4"),
        ("UTF-8 unannounced", "RCPT TO:<ü@ours.example>", "553 5.6.7"),
        ("dots", "RCPT TO:<a.@ours.example>", "501 5.1.3"),
    ];
    for (name, line, reply) in cases {
        let dialogue = [("EHLO x", "250"), ("MAIL FROM:<>", "250"), (line, reply)];
        check(name, &settings(), STRANGER, &dialogue);
    }
}

#[test]
fn limits() {
    let mut strict = settings();
    strict.limits.recipients = 1;
    strict.limits.errors = 3;
    strict.limits.messages = 1;
    strict.limits.idle_commands = 4;
    let hello = ("EHLO x", "250");
    let cases: &[(&str, &[(&str, &str)])] = &[
        (
            "recipients; a repeated one counts once",
            &[
                hello,
                ("MAIL FROM:<>", "250"),
                ("RCPT TO:<a@ours.example>", "250"),
                ("RCPT TO:<b@ours.example>", "452 4.5.3"),
                ("DATA", "354"),
                ("x\r\n.", "250"),
                ("MAIL FROM:<>", "421 4.7.0"),
            ],
        ),
        ("errors", &[("A", "500"), ("B", "500"), ("C", "500|421 4.7.0"), ("D", "")]),
        (
            "idle commands",
            &[("NOOP", "250"), ("RSET", "250"), ("NOOP", "250"), hello, ("NOOP", "250|421")],
        ),
    ];
    for (name, dialogue) in cases {
        check(name, &strict, STRANGER, dialogue);
    }
    let long = format!("NOOP {}", "x".repeat(5_000));
    check("long line", &settings(), STRANGER, &[(&long, "500 5.5.2"), ("NOOP", "250")]);
    let fits = format!("NOOP {}", "x".repeat(2_048 - 7));
    check("longest line", &settings(), STRANGER, &[(&fits, "250")]);
}

#[test]
fn message_sizes() {
    let mut small = settings();
    small.limits.message_bytes = 20;
    let start = [("EHLO x", "250"), ("MAIL FROM:<>", "250"), ("RCPT TO:<a@ours.example>", "250")];
    let with = |rest: &[(&'static str, &'static str)]| [&start[..], rest].concat();
    let dots = "..\r\n..\r\n..\r\n..\r\n..\r\n..\r\n.";
    let cases = [
        ("fits", with(&[("DATA", "354"), ("0123456789abcdef\r\n.", "250")])),
        ("stuffed dots do not count", with(&[("DATA", "354"), (dots, "250")])),
        (
            "too long",
            with(&[
                ("DATA", "354"),
                ("0123456789abcdefgh\r\nx\r\n.", "552 5.3.4"),
                ("NOOP", "250"),
            ]),
        ),
        ("chunk", with(&[("BDAT 21 LAST\r\n0123456789abcdefghi", "552 5.3.4"), ("NOOP", "250")])),
        (
            "chunks",
            with(&[
                ("BDAT 12\r\n0123456789", "250"),
                ("BDAT 12\r\n0123456789", "552"),
                ("BDAT 4 LAST\r\nxx", "503"),
                ("NOOP", "250"),
            ]),
        ),
    ];
    for (name, dialogue) in cases {
        check(name, &small, STRANGER, &dialogue);
    }
    // What is thrown away is bounded too: 64 MiB, then the connection ends.
    let start: String = start.iter().map(|(line, _)| format!("{line}\r\n")).collect();
    let endless = [start.as_bytes(), b"DATA\r\n", &vec![b'x'; 66 << 20]].concat();
    let outcome = talk(&small, STRANGER, &endless, &[]);
    assert_eq!((outcome.codes().last(), outcome.is_closed), (Some(&"552"), true));
}

#[test]
fn chunks() {
    let start = [("EHLO x", "250"), ("MAIL FROM:<>", "250"), ("RCPT TO:<a@ours.example>", "250")];
    let with = |rest: &[(&'static str, &'static str)]| [&start[..], rest].concat();
    let cases = [
        ("one", with(&[("BDAT 3 LAST\r\na", "250"), ("NOOP", "250")])),
        ("empty last", with(&[("BDAT 3\r\na", "250"), ("BDAT 0 LAST", "250")])),
        ("DATA between", with(&[("BDAT 3\r\na", "250"), ("DATA", "503"), ("BDAT 0 LAST", "250")])),
        ("RCPT between", with(&[("BDAT 3\r\na", "250"), ("RCPT TO:<b@ours.example>", "503")])),
        (
            "RSET between",
            with(&[("BDAT 3\r\na", "250"), ("RSET", "250"), ("BDAT 2 LAST\r\n", "503")]),
        ),
    ];
    let settings = Settings { close_on_early_data: false, ..settings() };
    for (name, dialogue) in cases {
        check(name, &settings, STRANGER, &dialogue);
    }
    let lost = [("EHLO x", "250"), ("BDAT 6 LAST\r\nQUIT", "503 5.5.1"), ("NOOP", "250")];
    check("a refused chunk is no command", &settings, STRANGER, &lost);
}

#[test]
fn content_arrives_whole() {
    let start = "EHLO c.example\r\nMAIL FROM:<s@b.example> SMTPUTF8\r\nRCPT TO:<a@ours.example>\r\n\
                 RCPT TO:<a@ours.example>\r\nRCPT TO:<c@ours.example> NOTIFY=DELAY\r\n";
    let cases = [
        ("DATA", "DATA\r\n..a\r\nb\r\n.\r\n", ".a\r\nb\r\n"),
        ("BDAT", "BDAT 4\r\n.a\r\nBDAT 1 LAST\r\nb", ".a\r\nb\r\n"),
        ("BDAT with a lone dot", "BDAT 7 LAST\r\na\r\n.\r\nb", "a\r\n.\r\nb\r\n"),
        ("BDAT that cuts a CRLF", "BDAT 2\r\na\rBDAT 2 LAST\r\n\nb", "a\r\nb\r\n"),
        ("empty", "DATA\r\n.\r\n", ""),
    ];
    for (name, content, expected) in cases {
        let input = format!("{start}{content}QUIT\r\n");
        let outcome = talk(&settings(), STRANGER, input.as_bytes(), &[]);
        let [(envelope, protocol, body)] = outcome.messages.as_slice() else {
            panic!("{name}: {outcome:?}");
        };
        assert_eq!(String::from_utf8_lossy(body), expected, "{name}");
        assert_eq!(protocol.as_str(), "UTF8SMTP");
        assert_eq!(envelope.client.helo, "c.example");
        assert_eq!(envelope.reverse_path.to_string(), "s@b.example");
        let paths: Vec<_> = envelope.recipients.iter().map(|r| r.path.to_string()).collect();
        assert_eq!(paths, ["a@ours.example", "c@ours.example"]);
        assert!(envelope.recipients[1].parameters.notify.is_some());
    }
}

/// A second message knows nothing of the first.
#[test]
fn no_state_leaks() {
    let first = "MAIL FROM:<s@b.example> SMTPUTF8 ENVID=x RET=FULL\r\n\
                 RCPT TO:<a@ours.example> NOTIFY=NEVER\r\n";
    let second = "MAIL FROM:<>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n";
    let alone = talk(&settings(), STRANGER, format!("EHLO x\r\n{second}").as_bytes(), &[]);
    let endings = [
        ("accepted", "DATA\r\nfirst\r\n.\r\n"),
        ("refused content", "DATA\r\na\n.\nb\r\n.\r\n"),
        ("RSET", "RSET\r\n"),
        ("RSET between chunks", "BDAT 5\r\nabc\r\nRSET\r\n"),
        ("EHLO between chunks", "BDAT 5\r\nabc\r\nEHLO x\r\n"),
        ("chunks", "BDAT 5\r\nabc\r\nBDAT 0 LAST\r\n"),
    ];
    for (name, ending) in endings {
        let input = format!("EHLO x\r\n{first}{ending}{second}");
        let outcome = talk(&settings(), STRANGER, input.as_bytes(), &[]);
        assert_eq!(outcome.messages.last(), alone.messages.last(), "{name}: {}", outcome.replies);
        assert!(outcome.is_closed, "{name}");
    }
}

#[test]
fn starttls_forgets_what_was_said() {
    let before = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nBDAT 3\r\na\r\n";
    let injected = "RSET\r\nMAIL FROM:<evil@b.example>\r\n";
    let input = format!("{before}STARTTLS\r\n{injected}DATA\r\n");
    let whole = talk(&settings(), STRANGER, input.as_bytes(), &[]);
    assert_eq!(whole.codes(), ["250", "250", "250", "250", "220"], "{}", whole.replies);
    // And with the commands after it in packets of their own.
    let input = format!("{before}STARTTLS\r\nMAIL FROM:<>\r\nEHLO x\r\nSTARTTLS\r\nDATA\r\n");
    let cut = before.len() + "STARTTLS\r\n".len();
    let outcome = talk(&settings(), STRANGER, input.as_bytes(), &[cut]);
    assert_eq!(outcome.codes()[5..], ["503", "250", "503", "503"], "{}", outcome.replies);
    assert_eq!(outcome.replies.matches("250-STARTTLS").count(), 1);
}

#[test]
fn bare_lf_in_commands() {
    let refuse = Settings { line_ends: LineEnds::Refuse, ..settings() };
    let input = b"EHLO x\nNOOP\nQUIT\n";
    assert_eq!(talk(&settings(), STRANGER, input, &[]).codes(), ["250", "250", "221"]);
    assert_eq!(talk(&refuse, STRANGER, input, &[]).codes(), ["500", "500", "500"]);
}

/// Whoever sends content without waiting for 354 has it read as commands when DATA is refused.
#[test]
fn content_sent_too_early_is_never_read_as_commands() {
    let start = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@elsewhere.example>\r\n";
    let input = format!("{start}DATA\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\n.\r\nQUIT\r\n");
    let outcome = talk(&settings(), STRANGER, input.as_bytes(), &[]);
    assert_eq!(outcome.codes(), ["250", "250", "550", "554", "421"], "{}", outcome.replies);
    assert!(outcome.is_closed);
}

#[test]
fn nothing_the_client_sent_comes_back() {
    let input = "EHLO <b>evil</b>\r\nMAIL FROM:<evil@b.example\u{1b}[2J>\r\nEVIL\r\n\
                 MAIL FROM:<evil> EVIL=1\r\nRCPT TO:<evil@evil.example>\r\nVRFY evil\r\n";
    let outcome = talk(&settings(), STRANGER, input.as_bytes(), &[]);
    assert!(!outcome.replies.to_lowercase().contains("evil"), "{}", outcome.replies);
}
