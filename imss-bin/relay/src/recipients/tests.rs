use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use imss_core::envelope::Syntax;

use super::*;
use crate::outbound::NextHop;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, Syntax::LAX).unwrap()
}

fn recipient(text: &str) -> ForwardPath {
    ForwardPath::parse(text, Syntax::LAX).unwrap()
}

fn list(folder: &Path, text: &str) -> Result<FileDirectory, ListError> {
    let path = folder.join("recipients");
    std::fs::write(&path, text).unwrap();
    FileDirectory::open(path, Some('+'))
}

#[test]
fn entries() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# people\nAlice@Example.com\nbob@example.com OK\n\n@lists.example\n*@news.example\n\
        shop-*@example.com\n*.o'neil@example.com\nüli@bücher.example\n";
    let list = list(folder.path(), text).unwrap();
    let cases = [
        ("as written", "Alice@Example.com", true),
        ("any case", "aLICE@eXAMPLE.COM", true),
        ("with a detail", "alice+news@example.com", true),
        ("nothing but a detail", "+news@example.com", false),
        ("a map of Postfix", "bob@example.com", true),
        ("unknown", "carol@example.com", false),
        ("in another domain", "alice@lists2.example", false),
        ("everybody there", "anybody@lists.example", true),
        ("everybody, with a star", "anybody@news.example", true),
        ("but not below", "anybody@x.lists.example", false),
        ("begins so", "shop-1@example.com", true),
        ("is the beginning", "shop-@example.com", true),
        ("too short", "shop@example.com", false),
        ("ends so", "x.O'Neil@example.com", true),
        ("U-label", "üli@bücher.example", true),
        ("A-label", "üli@xn--bcher-kva.example", true),
        ("literal", "alice@[192.0.2.1]", false),
    ];
    for (name, address, expected) in cases {
        assert_eq!(list.contains(&mailbox(address)), expected, "{name}");
    }
}

#[test]
fn files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let good = list(folder.path(), "a@example.com\n").unwrap();
    let long = format!("{}@example.com", "a".repeat(3_000));
    let many = "x*@example.com\n".repeat(10_001);
    let cases = [
        ("no address", "a@example.com\nbob\n", "recipients:2: not an address"),
        ("two stars", "a*b*@example.com", ":1: not an address"),
        ("no domain", "@", ":1: not an address"),
        ("a long line", &long, ":1: not an address"),
        ("too many patterns", &many, "more than 10000 patterns"),
    ];
    for (name, text, expected) in cases {
        let error = list(folder.path(), text).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(good.reload().is_err(), "{name}");
        assert!(good.contains(&mailbox("a@example.com")), "{name}: the old ones stay");
    }
    std::fs::write(folder.path().join("recipients"), "b@example.com").unwrap();
    good.reload().unwrap();
    assert!(!good.contains(&mailbox("a@example.com")) && good.contains(&mailbox("b@example.com")));
}

#[test]
fn many_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let all: String = (0..100_000).map(|n| format!("user{n}@example.com\n")).collect();
    let list = list(folder.path(), &all).unwrap();
    assert!(
        (0..100_000).step_by(997).all(|n| list.contains(&mailbox(&format!("USER{n}@example.com"))))
    );
    assert!(!(100_000..101_000).any(|n| list.contains(&mailbox(&format!("user{n}@example.com")))));
}

/// A server that answers `RCPT TO` by what the address begins with; how often it was asked.
fn server(greeting: &'static str) -> (NextHop, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut input = BufReader::new(stream.try_clone().unwrap());
            let _ = stream.write_all(greeting.as_bytes());
            let mut line = String::new();
            while input.read_line(&mut line).is_ok_and(|octets| octets > 0) {
                let reply = match line.split(['<', ':']).nth(2).unwrap_or(line.as_str()) {
                    name if name.starts_with("good") => "250-2.1.5 yes\r\n250 2.1.5 really\r\n",
                    name if name.starts_with("bad") => "550 5.1.1 no\r\n",
                    name if name.starts_with("blocked") => "554 5.7.1 not from you\r\n",
                    name if name.starts_with("later") => "450 4.2.1 later\r\n",
                    name if name.starts_with("noise") => "what?\r\n",
                    _ if line.starts_with("QUIT") => break,
                    _ => "250 ok\r\n",
                };
                if line.starts_with("RCPT") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let _ = stream.write_all(reply.as_bytes());
                line.clear();
            }
        }
    });
    (format!("smtp://127.0.0.1:{port}").parse().unwrap(), asked)
}

fn ahead(next_hop: NextHop, answers: usize) -> CallAhead {
    let settings = CallAheadSettings { answers, ..CallAheadSettings::default() };
    CallAhead::new(settings, Routing::all_to(next_hop))
}

#[tokio::test]
async fn the_next_hop_is_asked_once() {
    let (next_hop, asked) = server("220 next\r\n");
    let known = ahead(next_hop.clone(), 100);
    for (address, expected) in [
        ("good@example.com", Known::Yes),
        ("good@example.com", Known::Yes),
        ("GOOD@example.com", Known::Yes),
        ("bad@example.com", Known::No),
        ("bad@example.com", Known::No),
    ] {
        assert_eq!(known.look_up(&mailbox(address)).await, expected, "{address}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    for (doubtful, questions) in
        [("blocked@example.com", 2), ("later@example.com", 2), ("noise@example.com", 1)]
    {
        let before = asked.load(Ordering::Relaxed);
        let known = ahead(next_hop.clone(), 100);
        for _ in 0..2 {
            let answer = known.look_up(&mailbox(doubtful)).await;
            assert!(matches!(answer, Known::CannotTell(_)), "{doubtful}: {answer:?}");
        }
        assert_eq!(known.kept(), 0, "doubt is not remembered as an answer");
        // What it says of one recipient says nothing of others; a next hop that talks nonsense is
        // left alone for a while.
        assert_eq!(asked.load(Ordering::Relaxed) - before, questions, "{doubtful}");
    }
}

#[tokio::test]
async fn answers_are_bounded_and_guesses_push_out_nobody() {
    let (next_hop, asked) = server("220 next\r\n");
    let known = ahead(next_hop, 3);
    assert_eq!(known.look_up(&mailbox("good@example.com")).await, Known::Yes);
    for number in 0..10 {
        let guess = mailbox(&format!("bad{number}@example.com"));
        assert_eq!(known.look_up(&guess).await, Known::No);
        assert!(known.kept() <= 3);
    }
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(known.look_up(&mailbox("good@example.com")).await, Known::Yes);
    assert_eq!(asked.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn who_cannot_be_asked_makes_nobody_unknown() {
    let (refusing, _) = server("554 not you\r\n");
    let dead: NextHop = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("smtp://127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap()
    };
    for next_hop in [refusing, dead] {
        for (accept, expected) in [(true, None), (false, Some(451))] {
            let directory: Arc<dyn Directory> = Arc::new(ahead(next_hop.clone(), 100));
            let recipients = Recipients::new(vec![directory], DomainSet::default(), accept);
            let reply = recipients.verify(&recipient("good@example.com")).await.err();
            assert_eq!(reply.map(|reply| reply.code), expected);
        }
    }
    let maildir = ahead(NextHop::Maildir { dir: "/nowhere".into() }, 100);
    assert_eq!(maildir.look_up(&mailbox("anybody@example.com")).await, Known::Yes);
}

#[tokio::test]
async fn directories_together() {
    let folder = tempfile::tempdir().unwrap();
    let file: Arc<dyn Directory> = Arc::new(list(folder.path(), "carol@example.com").unwrap());
    let (next_hop, _) = server("220 next\r\n");
    let next: Arc<dyn Directory> = Arc::new(ahead(next_hop, 100));
    let mut exempt = DomainSet::default();
    exempt.insert("open.example").unwrap();
    let recipients = Recipients::new(vec![file, next], exempt, false);
    let cases = [
        ("in the file", "carol@example.com", None),
        ("at the next hop", "good@example.com", None),
        ("nowhere", "bad@example.com", Some((550, Some((5, 1, 1))))),
        ("postmaster", "Postmaster@example.com", None),
        ("postmaster alone", "postmaster", None),
        ("exempt", "bad@open.example", None),
        ("in doubt", "later@example.com", Some((451, Some((4, 4, 3))))),
    ];
    for (name, address, expected) in cases {
        let reply = recipients.verify(&recipient(address)).await.err();
        assert_eq!(reply.map(|reply| (reply.code, reply.enhanced)), expected, "{name}");
    }
    let nobody = Recipients::new(Vec::new(), DomainSet::default(), false);
    assert!(nobody.verify(&recipient("bad@example.com")).await.is_ok(), "nothing is configured");
}
