//! Clients that leave in the middle: nothing of theirs is delivered, stored or left behind, and
//! everybody else is served.

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter};

#[test]
fn what_was_not_finished_was_not_sent() {
    let sink = Sink::start();
    let home = Home::new(&Setup { next_hop: &sink.url(), ..Setup::default() });
    let gateway = Gateway::start(&home);
    let begin = "MAIL FROM:<alice@elsewhere.example>\r\nRCPT TO:<bob@ours.example>\r\n";
    let large = "a line that is not the last\r\n".repeat(60_000);
    let cases: [(&str, String); 8] = [
        ("after MAIL", "MAIL FROM:<alice@elsewhere.example>\r\n".to_owned()),
        ("in a command", format!("{begin}DA")),
        ("after DATA", format!("{begin}DATA\r\n")),
        ("in the content", format!("{begin}DATA\r\nSubject: cut\r\n\r\nhalf a li")),
        ("before the dot", format!("{begin}DATA\r\nSubject: cut\r\n\r\nwhole\r\n")),
        ("in the end of data", format!("{begin}DATA\r\nSubject: cut\r\n\r\nwhole\r\n.\r")),
        ("in large content", format!("{begin}DATA\r\nSubject: cut\r\n\r\n{large}")),
        ("in a chunk", format!("{begin}BDAT 9000000 LAST\r\nSubject: cut\r\n\r\n{large}")),
    ];
    for (name, input) in &cases {
        let mut client = gateway.connect();
        client.send(input.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // One that does not leave shows that the others are over: it is served.
    gateway.connect().accepted(
        "alice@elsewhere.example",
        &["bob@ours.example"],
        &letter("last", "Hello."),
    );
    let delivered = sink.wait_for(1);
    assert!(delivered[0].text().contains("Subject: last\r\n"));
    home.wait_for_empty_queue();
    gateway.stop();
    assert_eq!(sink.count(), 1, "{:#?}", sink.delivered());
    let bodies = std::fs::read_dir(home.data().join("spool/bodies")).unwrap().count();
    assert_eq!(bodies, 0, "files of messages that were not finished");
}
