//! Thousands of clients that wait, and crowds that misbehave: both cost little, and good mail gets in.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::clients::{succeed, write_certificate};
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
pub(crate) fn connect_from(source: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
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

/// Opens connections with TLS from one address, waits for a line, and asks each whether it is alive.
const IDLE: &str = r#"
import socket, ssl, sys
address, port, count = "127.1.0.1", int(sys.argv[1]), int(sys.argv[2])
context = ssl._create_unverified_context()
def connect():
    plain = socket.create_connection(("127.0.0.1", port), 60, (address, 0))
    return context.wrap_socket(plain)
waiting = [connect() for _ in range(count)]
assert all(one.recv(999).startswith(b"220") for one in waiting)
try:
    connect()
    sys.exit("one more than one client may have")
except OSError:
    pass
print("ready", flush=True)
sys.stdin.readline()
for one in waiting:
    one.sendall(b"NOOP\r\n")
    assert one.recv(999).startswith(b"250")
"#;

const TWO_LISTENERS: &str = "
[limits]
connections = 500
connections-per-client = 250
connections-per-network = 300
[tls]
certificate = \"certificate.pem\"
key = \"key.pem\"
[[listen]]
address = \"127.0.0.1:0\"
tls = \"implicit\"
";

#[test]
fn good_mail_passes_through_a_crowd_with_tls() {
    let sink = Sink::start();
    let home = Home::new(&Setup {
        next_hop: &sink.url(),
        root: "relay-domains = [\"ours.example\"]\ntrusted-networks = [\"127.9.0.0/16\"]",
        tables: TWO_LISTENERS,
        ..Setup::default()
    });
    write_certificate(&home);
    let gateway = Gateway::start(&home);
    let [plain, implicit]: [String; 2] = gateway.listening();
    let mut idle = Command::new("python3")
        .args(["-c", IDLE, &implicit, "250"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut ready = String::new();
    BufReader::new(idle.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    if ready != "ready\n" {
        succeed(&idle.wait_with_output().unwrap());
        panic!("the idle clients said {ready:?}");
    }
    // What one address has, it has at both ports.
    let mut more = connect_from([127, 1, 0, 1], gateway.smtp()).unwrap();
    assert!(read_line(&mut more).starts_with("421 4.7.0"));
    // A network beside it: half a handshake, nonsense instead of one, half a line, half a message.
    let tls: SocketAddr = format!("127.0.0.1:{implicit}").parse().unwrap();
    let mut crowd = Vec::new();
    let mut refused = 0;
    for number in 0..300_u16 {
        let source = [127, 2, 0, u8::try_from(number % 250).unwrap() + 1];
        let (to, said): (SocketAddr, &[u8]) = match number % 4 {
            0 => (tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            1 => (tls, b"EHLO nonsense\r\n"),
            2 => (gateway.smtp(), b"MAIL FR"),
            _ => (
                gateway.smtp(),
                b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@ours.example>\r\nDATA\r\nhalf",
            ),
        };
        let mut stream = connect_from(source, to).unwrap();
        if to != tls && !read_line(&mut stream).starts_with("220") {
            refused += 1;
            continue;
        }
        // Nonsense ends a handshake, perhaps before all of it was said.
        let _ = stream.write_all(said);
        crowd.push(stream);
    }
    assert!(refused > 0, "nine tenths of the places are for strangers");
    let count = 10;
    for number in 0..count {
        let port = if number % 2 == 0 { &plain } else { &implicit };
        let how = if number % 2 == 0 { "--tls" } else { "--tlsc" };
        let output = Command::new("swaks")
            .args(["--server", "127.0.0.1", "--port", port, how, "--local-interface", "127.9.0.1"])
            .args(["--ehlo", "good.example", "--timeout", "60s"])
            .args(["--from", "alice@elsewhere.example", "--to", "bob@ours.example"])
            .output()
            .expect("swaks");
        assert!(succeed(&output).contains("queued as"));
    }
    sink.wait_for(count);
    drop(crowd);
    // Whoever waited quietly is served still.
    idle.stdin.take().unwrap().write_all(b"\n").unwrap();
    succeed(&idle.wait_with_output().unwrap());
    assert_eq!(sink.count(), count);
    gateway.stop();
}
