//! The gateway is killed again and again while clients send. Every message it answered with 250 is
//! delivered, whole; one may be delivered twice only if a kill fell between the next hop's 250 and
//! the record of it, so at most once for each delivery under way at a kill. One that was not
//! answered with 250 is delivered whole or not at all: its 250 may have been on its way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, in_front, is_our_trace, letter};

const KILLS: u32 = 8;
const CLIENTS: u32 = 6;
/// Deliveries the gateway may have under way at once.
const DELIVERIES: usize = 4;
/// One in so many messages has 1 MB, so that its body is a file of its own.
const LARGE_EVERY: u32 = 40;

/// What the clients share.
struct Senders {
    /// Where the gateway listens now.
    gateway: Mutex<SocketAddr>,
    next: AtomicU32,
    stop: AtomicBool,
    /// Each message that was begun, and whether it was answered with 250.
    begun: Mutex<HashMap<u32, bool>>,
}

impl Senders {
    /// Sends messages over one connection until it breaks.
    fn converse(&self) -> std::io::Result<()> {
        let address = *self.gateway.lock().unwrap();
        let mut client = Client::connect(address)?;
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            self.begun.lock().unwrap().insert(number, false);
            let reply =
                client.mail("alice@elsewhere.example", &["bob@ours.example"], &content(number))?;
            assert!(reply.starts_with("250 "), "message {number}: {reply}");
            self.begun.lock().unwrap().insert(number, true);
        }
        Ok(())
    }

    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.converse().is_err() {
                // Killed. The next one is there soon.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The message with this number: always the same octets.
fn content(number: u32) -> Vec<u8> {
    let length = if number.is_multiple_of(LARGE_EVERY) {
        1 << 20
    } else {
        300 + number as usize * 37 % 6000
    };
    let line = format!("line of message {number:>8}, with a dot now and then\r\n.\r\n");
    let mut text = line.repeat(length / line.len() + 1);
    text.truncate(length);
    letter(&format!("m{number}"), text.trim_end_matches(['\r', '\n']))
}

fn number_of(data: &[u8]) -> u32 {
    let head = String::from_utf8_lossy(&data[..data.len().min(2000)]).into_owned();
    let subject = head.lines().find_map(|line| line.strip_prefix("Subject: m"));
    subject.unwrap_or_else(|| panic!("not a message of ours:\n{head}")).parse().unwrap()
}

/// Numbers that differ from run to run; the seed is printed with a failure.
struct Chance(u64);

impl Chance {
    fn millis(&mut self, from: u64, to: u64) -> Duration {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(from + (self.0 >> 33) % (to - from))
    }
}

#[test]
fn nothing_accepted_is_lost() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        tables: &format!(
            "[queue]\nretry = [\"1 second\"]\ndeliveries-per-destination = {DELIVERIES}"
        ),
        ..Setup::default()
    });
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let seed = u64::try_from(seed).unwrap();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let mut gateway = Gateway::start(&home);
    let senders = Arc::new(Senders {
        gateway: Mutex::new(gateway.smtp()),
        next: AtomicU32::new(1),
        stop: AtomicBool::new(false),
        begun: Mutex::default(),
    });
    let threads: Vec<_> = (0..CLIENTS)
        .map(|_| Arc::clone(&senders))
        .map(|senders| std::thread::spawn(move || senders.run()))
        .collect();
    for _ in 0..KILLS {
        std::thread::sleep(chance.millis(100, 1200));
        gateway.kill();
        gateway = Gateway::start(&home);
        *senders.gateway.lock().unwrap() = gateway.smtp();
    }
    std::thread::sleep(Duration::from_millis(300));
    senders.stop.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().expect("a client"));
    home.wait_for_empty_queue();
    let said = gateway.said();
    gateway.stop();
    assert!(!said.contains("damaged") && !said.contains("missing"), "{said}");
    account(&senders, &sink);
    let bodies = std::fs::read_dir(home.data().join("spool/bodies")).unwrap().count();
    assert_eq!(bodies, 0, "files of messages that are done");
}

/// Compares what was sent, what was answered, and what arrived.
fn account(senders: &Senders, sink: &Sink) {
    let mut arrived: HashMap<u32, usize> = HashMap::new();
    for message in sink.delivered() {
        let number = number_of(&message.data);
        let head = in_front(&message.data, &content(number));
        assert!(head.is_some_and(is_our_trace), "message {number} arrived changed: {head:?}");
        *arrived.entry(number).or_default() += 1;
    }
    let begun = senders.begun.lock().unwrap();
    let accepted: Vec<u32> =
        begun.iter().filter(|(_, is)| **is).map(|(number, _)| *number).collect();
    let lost: Vec<_> = accepted.iter().filter(|number| !arrived.contains_key(number)).collect();
    let unknown = arrived.keys().filter(|number| !begun.contains_key(number)).count();
    let unanswered = arrived.keys().filter(|number| begun.get(number) == Some(&false)).count();
    let repeated: usize = arrived.values().map(|times| times - 1).sum();
    println!(
        "{} begun, {} answered with 250, {} arrived, {unanswered} of them without a 250 seen, \
         {repeated} repeated after {KILLS} kills",
        begun.len(),
        accepted.len(),
        arrived.len(),
    );
    assert!(lost.is_empty(), "answered with 250 and lost: {lost:?}");
    assert_eq!(unknown, 0, "messages that nobody sent");
    // One kill finds each client at most between the commit and the reply.
    assert!(unanswered <= (KILLS * CLIENTS) as usize, "{unanswered} arrived without a 250");
    let under_way = KILLS as usize * DELIVERIES;
    assert!(
        repeated <= under_way,
        "{repeated} repeated, {under_way} were under way at kills at most"
    );
    assert!(accepted.len() >= KILLS as usize, "only {} were accepted: no load", accepted.len());
}
