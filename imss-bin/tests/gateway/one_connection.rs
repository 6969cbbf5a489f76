//! A thousand messages over one connection, in whatever order of commands, refusals and pipelining: each has
//! its own envelope, content and decision, and what was taken back leaves nothing behind.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::milter_peer::Peer;
use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter};

const MESSAGES: usize = 1_000;

const POLICY: &str = r#"
internal = ["ours.example"]
[quarantine.held]
[keywords.falcon]
threshold = 1
entries = ["falcon"]
[[rule]]
name = "Refused"
route = { to = ["refuse-*@ours.example"] }
then = [{ reject = "Not from %SENDER%" }]
[[rule]]
name = "Tagged"
route = { to = ["tag-*@ours.example"] }
then = [{ tag-subject = "[tag]" }]
[[rule]]
name = "News"
route = { from = ["news-*@elsewhere.example"] }
then = [{ add-field = { "X-News" = "yes" } }]
[[rule]]
name = "Held"
route = { to = ["hold-*@ours.example"] }
then = [{ quarantine = "held" }]
[[rule]]
name = "Word"
when = { keywords = "falcon", in = ["body"] }
then = [{ add-field = { "X-Word" = "yes" } }]
"#;

/// What is known of who sent it would ask the network.
const MILTER: &str = "[authentication]\nresults = false\n\
                      [[listen]]\naddress = \"127.0.0.1:0\"\nmode = \"milter\"\n";

fn home(sink: &Sink, tables: &str) -> Home {
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "policy = \"policy.toml\"",
        tables,
        ..Setup::default()
    });
    home.write("policy.toml", POLICY);
    home
}

/// What the policy makes of message `number`, by its recipients.
struct Plan {
    number: usize,
    from: String,
    to: Vec<String>,
    has_word: bool,
}

impl Plan {
    fn new(number: usize) -> Self {
        // Periods without a common divisor: every combination comes.
        let who: &[&str] = match number % 7 {
            0 => &["plain"],
            1 => &["tag"],
            2 => &["hold"],
            3 => &["refuse"],
            4 => &["plain", "tag"],
            5 => &["hold", "tag", "plain", "other"],
            _ => &["plain", "hold"],
        };
        let from = if number.is_multiple_of(3) { "news" } else { "alice" };
        Self {
            number,
            from: format!("{from}-{number}@elsewhere.example"),
            to: who.iter().map(|who| format!("{who}-{number}@ours.example")).collect(),
            has_word: number.is_multiple_of(4),
        }
    }

    fn is_refused(&self) -> bool {
        self.number % 7 == 3
    }

    fn content(&self) -> Vec<u8> {
        let word = if self.has_word { "falcon" } else { "pigeon" };
        let text = format!("Number {} has a {word}.\r\n.\r\n.. dots", self.number);
        letter(&format!("m{}", self.number), &text)
    }

    fn envelope(&self) -> String {
        let mut commands = format!("MAIL FROM:<{}>\r\n", self.from);
        for to in &self.to {
            let _ = write!(commands, "RCPT TO:<{to}>\r\n");
        }
        commands
    }

    /// One line for each recipient that gets it: who, and what was done to it.
    fn deliveries(&self) -> Vec<String> {
        let is_delivered = |to: &&String| !to.starts_with("hold") && !to.starts_with("refuse");
        let line = |to: &String| {
            let is_tagged = to.starts_with("tag");
            let is_news = self.from.starts_with("news");
            format!("{} {to} {} {is_tagged} {is_news} {}", self.number, self.from, self.has_word)
        };
        self.to.iter().filter(is_delivered).map(line).collect()
    }
}

/// Says what must leave no trace: each reply's code.
fn disturb(client: &mut Client, number: usize) {
    let decoy = "MAIL FROM:<decoy@elsewhere.example>\r\nRCPT TO:<hold-decoy@ours.example>\r\n";
    let (said, codes) = match number % 5 {
        0 => return,
        1 => (format!("{decoy}RSET\r\n"), "250 250 250"),
        2 => (
            format!(
                "{decoy}NONSENSE\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<>\r\nEHLO again.example\r\n"
            ),
            "250 250 500 503 501 250",
        ),
        3 => (
            format!("{decoy}BDAT 5\r\ndecoyRSET\r\nRCPT TO:<a@b.example>\r\nDATA\r\n"),
            "250 250 250 250 503 503",
        ),
        // The chunk is of a transaction without recipients.
        _ => (
            "MAIL FROM:<decoy@elsewhere.example>\r\nBDAT 5 LAST\r\ndecoyRSET\r\n".to_owned(),
            "250 554 250",
        ),
    };
    client.send(said.as_bytes()).unwrap();
    for code in codes.split(' ') {
        let reply = client.reply().unwrap();
        assert!(reply.starts_with(code), "{number}: {code}, not {reply}");
    }
}

/// Sends the message one way or another; the reply to its end.
fn hand_over(client: &mut Client, plan: &Plan) -> String {
    let content = plan.content();
    let to: Vec<&str> = plan.to.iter().map(String::as_str).collect();
    let (first, second) = content.split_at(content.len() / 2);
    let said = match plan.number % 4 {
        0 => return client.mail(&plan.from, &to, &content).unwrap(),
        1 => {
            client.send(format!("{}DATA\r\n", plan.envelope()).as_bytes()).unwrap();
            for code in std::iter::repeat_n("250", to.len() + 1).chain(["354"]) {
                let reply = client.reply().unwrap();
                assert!(reply.starts_with(code), "{}: {reply}", plan.number);
            }
            let text = String::from_utf8(content).unwrap().replace("\r\n.", "\r\n..");
            client.send(format!("{text}.\r\n").as_bytes()).unwrap();
            return client.reply().unwrap();
        }
        2 => [
            plan.envelope().as_bytes(),
            format!("BDAT {} LAST\r\n", content.len()).as_bytes(),
            &content,
        ]
        .concat(),
        _ => [
            plan.envelope().as_bytes(),
            format!("BDAT {}\r\n", first.len()).as_bytes(),
            first,
            format!("BDAT {}\r\n", second.len()).as_bytes(),
            second,
            b"BDAT 0 LAST\r\n",
        ]
        .concat(),
    };
    client.send(&said).unwrap();
    let chunks = if plan.number % 4 == 2 { 0 } else { 2 };
    for _ in 0..=to.len() + chunks {
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250"), "{}: {reply}", plan.number);
    }
    client.reply().unwrap()
}

#[test]
fn a_thousand_messages_over_one_connection() {
    let sink = Sink::start();
    let home = home(&sink, "[limits]\nerrors = 10000\n");
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let (mut expected, mut held) = (BTreeSet::new(), BTreeSet::new());
    for plan in (0..MESSAGES).map(Plan::new) {
        disturb(&mut client, plan.number);
        let reply = hand_over(&mut client, &plan);
        if plan.is_refused() {
            assert_eq!(reply, format!("550 5.7.1 Not from <{}>", plan.from), "{}", plan.number);
        } else {
            assert!(reply.starts_with("250 2.0.0 "), "{}: {reply}", plan.number);
        }
        expected.extend(plan.deliveries());
        held.extend(plan.to.iter().filter(|to| to.starts_with("hold")).cloned());
    }
    assert!(client.rest().starts_with("221"), "nothing was left to say");
    home.wait_for_empty_queue();
    let mut delivered = BTreeSet::new();
    for message in sink.delivered() {
        let text = message.text();
        let (_, rest) = text.split_once("Message-ID: <m").unwrap_or_else(|| panic!("{text}"));
        let number = rest.split_once('@').unwrap().0.to_owned();
        let body = format!("Number {number} has a ");
        assert!(text.contains(&body) && text.ends_with("\r\n.\r\n.. dots\r\n"), "{text}");
        let has = |part: &str| text.contains(part);
        for to in &message.to {
            let line = format!(
                "{number} {to} {} {} {} {}",
                message.from,
                has(&format!("Subject: [tag] m{number}\r\n")),
                has("\r\nX-News: yes\r\n"),
                has("\r\nX-Word: yes\r\n")
            );
            assert!(delivered.insert(line), "twice: {number} {to}");
        }
    }
    let missing: Vec<_> = expected.difference(&delivered).take(5).collect();
    let foreign: Vec<_> = delivered.difference(&expected).take(5).collect();
    assert!(missing.is_empty() && foreign.is_empty(), "missing {missing:?}, foreign {foreign:?}");
    let items = home.quarantine();
    let recipients = items.iter().flat_map(|item| item["recipients"].as_array().unwrap());
    let kept: BTreeSet<String> =
        recipients.map(|one| one["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kept, held);
    gateway.stop();
}

#[test]
fn a_thousand_messages_over_one_milter_connection() {
    let sink = Sink::start();
    let home = home(&sink, MILTER);
    let gateway = Gateway::start(&home);
    let mut peer = Peer::for_client(gateway.address("milter on "), "192.0.2.1");
    for plan in (0..MESSAGES).map(Plan::new) {
        if plan.number % 3 == 1 {
            // Begun and taken back.
            peer.begin(&["refuse-decoy@ours.example"], &letter("decoy", "falcon"));
            peer.send(b'A', b"");
        }
        // One recipient: a mail server hands on one answer for all.
        let to = [plan.to[0].as_str()];
        let orders = peer.whole(&to, &plan.content());
        let has = |letter: u8, part: &str| {
            orders.iter().any(|(order, data)| {
                *order == letter && String::from_utf8_lossy(data).contains(part)
            })
        };
        let (number, last) = (plan.number, char::from(orders.last().unwrap().0));
        let has_word = has(b'h', "X-Word") || has(b'i', "X-Word");
        let expected = match number % 7 {
            3 => ('y', false, false),
            2 | 5 => ('d', false, false),
            kind => ('c', kind == 1, plan.has_word),
        };
        assert_eq!((last, has(b'm', "[tag]"), has_word), expected, "{number}: {orders:?}");
    }
    gateway.stop();
}
