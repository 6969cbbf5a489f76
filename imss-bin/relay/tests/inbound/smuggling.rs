//! SMTP smuggling: one message in is one message, or none, whatever it is made to look like.

use imss_relay::inbound::Settings;
use imss_relay::inbound::settings::LineEnds;

use super::support::{settings, talk};

/// False ends of data. None of them is `<CRLF>.<CRLF>`.
const ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\n\r.\r\n",
    b"\n\r.\n\r",
    b"\r\n.\n\r\n",
    b"\r\n\0.\0\r\n",
    b"\n..\n",
    b"\n..\r\n",
    b"\r\n..\n",
    b"\n.\r\r\n",
    b"\0\n.\n",
];

/// Lines of dots that are legal, if odd: taken as content.
const HARMLESS: &[&[u8]] =
    &[b"\r\n. \r\n", b"\r\n...\r\n", b"\r\n..\r\n", b"\r\n.\t\r\n", b"\n...\n"];

fn input(by_data: bool, end: &[u8]) -> Vec<u8> {
    let smuggled: &[u8] =
        b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\nevil\r\n";
    let content = [b"Subject: x\r\n\r\nfirst", end, smuggled].concat();
    let start = "EHLO x\r\nMAIL FROM:<s@b.example>\r\nRCPT TO:<a@ours.example>\r\n";
    if by_data {
        return [start.as_bytes(), b"DATA\r\n", &content, b".\r\nNOOP\r\n"].concat();
    }
    let chunk = format!("{start}BDAT {} LAST\r\n", content.len());
    [chunk.as_bytes(), &content, b"NOOP\r\n"].concat()
}

fn cuts(input: &[u8]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = (1..input.len()).map(|cut| vec![cut]).collect();
    all.push(Vec::new());
    all.push((1..input.len()).collect());
    all
}

#[test]
fn false_ends_are_refused_and_the_session_stays_in_step() {
    for line_ends in [LineEnds::Normalise, LineEnds::Refuse] {
        let settings = Settings { line_ends, ..settings() };
        for (end, by_data) in ENDS.iter().flat_map(|end| [(end, true), (end, false)]) {
            let input = input(by_data, end);
            let name = format!("{} {by_data}", end.escape_ascii());
            for cuts in cuts(&input) {
                let outcome = talk(&settings, "192.0.2.1", &input, &cuts);
                assert!(outcome.messages.is_empty(), "{name}: {outcome:?}");
                let expected: &[&str] = if by_data {
                    &["250", "250", "250", "354", "550", "250"]
                } else {
                    &["250", "250", "250", "550", "250"]
                };
                assert_eq!(outcome.codes(), expected, "{name}: {}", outcome.replies);
            }
        }
    }
}

#[test]
fn harmless_lines_are_content() {
    for (end, by_data) in HARMLESS.iter().flat_map(|end| [(end, true), (end, false)]) {
        let input = input(by_data, end);
        let name = format!("{} {by_data}", end.escape_ascii());
        for cuts in cuts(&input) {
            let outcome = talk(&settings(), "192.0.2.1", &input, &cuts);
            assert_eq!(outcome.messages.len(), 1, "{name}: {outcome:?}");
            let (envelope, _, body) = &outcome.messages[0];
            assert_eq!(envelope.reverse_path.to_string(), "s@b.example", "{name}");
            let body = String::from_utf8(body.clone()).unwrap();
            assert!(body.ends_with("DATA\r\nevil\r\n"), "{name}: {body:?}");
            assert!(!body.replace("\r\n", "").contains(['\r', '\n']), "{name}: {body:?}");
        }
    }
}

/// The true end, and what comes after it in the same packet is the next command.
#[test]
fn pipelined_messages_are_two() {
    let one = "MAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nDATA\r\nx\r\n.\r\n";
    let input = format!("EHLO x\r\n{one}{one}QUIT\r\n");
    for cuts in cuts(input.as_bytes()) {
        let outcome = talk(&settings(), "192.0.2.1", input.as_bytes(), &cuts);
        assert_eq!(outcome.messages.len(), 2, "{}", outcome.replies);
        assert!(outcome.is_closed);
    }
}

#[test]
fn bare_line_ends_without_dots() {
    let refuse = Settings { line_ends: LineEnds::Refuse, ..settings() };
    for end in [&b"\n"[..], b"\r", b"\r\r\n", b"\n\r"] {
        for by_data in [true, false] {
            let input = input(by_data, end);
            let outcome = talk(&settings(), "192.0.2.1", &input, &[]);
            assert_eq!(outcome.messages.len(), 1, "{}: {outcome:?}", end.escape_ascii());
            let outcome = talk(&refuse, "192.0.2.1", &input, &[]);
            assert!(outcome.messages.is_empty(), "{}: {outcome:?}", end.escape_ascii());
            assert_eq!(outcome.codes().last(), Some(&"250"));
        }
    }
}
