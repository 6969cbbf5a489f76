//! Thousands of clients that wait, and crowds that misbehave: both cost little, and good mail gets in.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::sink::Sink;
use crate::support::{Client, Gateway, Home, Setup, letter};

/// Connections that wait.
const WAITING: usize = 5_000;
/// Memory they and the gateway may take together, in KiB.
const MAX_RSS_KIB: u64 = 150 << 10;

/// Resident memory of a process, in KiB.
fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// A connection from an address of its own.
fn connect_from(source: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

fn read_line(stream: &mut TcpStream) -> String {
    let (mut line, mut octet) = (Vec::new(), [0]);
    while stream.read(&mut octet).is_ok_and(|read| read == 1) {
        line.push(octet[0]);
        if octet[0] == b'\n' {
            break;
        }
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn five_thousand_wait() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        tables: "[limits]\nconnections = 7000",
        ..Setup::default()
    });
    let gateway = Gateway::start(&home);
    let before = rss_kib(gateway.pid());
    let mut waiting = Vec::with_capacity(WAITING);
    for _ in 0..WAITING {
        let mut stream = TcpStream::connect(gateway.smtp()).unwrap();
        assert!(read_line(&mut stream).starts_with("220"), "each is greeted");
        stream.write_all(b"HELO waiting.example\r\n").unwrap();
        assert!(read_line(&mut stream).starts_with("250"));
        waiting.push(stream);
    }
    let mail = letter("between", "Good mail gets in.");
    gateway.connect().accepted("alice@elsewhere.example", &["bob@ours.example"], &mail);
    sink.wait_for(1);
    let after = rss_kib(gateway.pid());
    println!("{WAITING} connections: {before} KiB before, {after} KiB with them");
    assert!(after < MAX_RSS_KIB, "{before} KiB before, {after} KiB with {WAITING} connections");
    for stream in waiting.iter_mut().step_by(500) {
        stream.write_all(b"NOOP\r\n").unwrap();
        assert!(read_line(stream).starts_with("250"), "they are served still");
    }
    gateway.stop();
}

#[test]
fn a_crowd_shuts_nobody_out() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\"]\ntrusted-networks = [\"127.9.0.0/16\"]",
        tables: "[limits]\nconnections = 40\nconnections-per-client = 8\nconnections-per-network = 16",
        ..Setup::default()
    });
    let gateway = Gateway::start(&home);
    let mut crowd = Vec::new();
    let mut turned_away = 0;
    for number in 0..120_u8 {
        let source = [127, 1, 1 + number % 4, 1 + number % 3];
        let mut stream = connect_from(source, gateway.smtp()).unwrap();
        let greeting = read_line(&mut stream);
        assert!(greeting.starts_with("220") || greeting.starts_with("421"), "{greeting}");
        if greeting.starts_with("421") {
            turned_away += 1;
            continue;
        }
        // Some say nothing, some never end a line, some talk nonsense, some stop inside a message.
        let said: &[u8] = match number % 4 {
            0 => b"",
            1 => b"EHLO never.ends",
            2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            _ => b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@ours.example>\r\nDATA\r\nhalf",
        };
        stream.write_all(said).unwrap();
        crowd.push(stream);
    }
    // Nine tenths of all places are for strangers.
    assert_eq!((crowd.len(), turned_away), (36, 84));
    // Who is trusted still gets in, mail by mail, on one of the places kept for that.
    for number in 0..20 {
        let mut stream = connect_from([127, 9, 0, 1], gateway.smtp()).unwrap();
        let mail = letter(&format!("good-{number}"), "Good mail.");
        assert!(read_line(&mut stream).starts_with("220"));
        let mut good = Client::over(stream).unwrap();
        assert!(good.say("EHLO good.example").unwrap().starts_with("250"));
        good.accepted("alice@elsewhere.example", &["bob@ours.example"], &mail);
    }
    sink.wait_for(20);
    // When the crowd leaves, strangers are welcome again.
    drop(crowd);
    crate::support::wait_until("there is room again", || {
        connect_from([127, 1, 1, 1], gateway.smtp())
            .is_ok_and(|mut stream| read_line(&mut stream).starts_with("220"))
    });
    gateway.stop();
}
