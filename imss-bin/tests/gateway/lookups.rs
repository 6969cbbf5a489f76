//! Servers that are asked about mail, and what becomes of the mail when they fail: it is deferred, neither
//! lost nor delivered unscanned, and scanned once they are back.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::sink::Sink;
use crate::support::{Gateway, Home, Setup, letter, wait_until};

const TO: &[&str] = &["bob@ours.example"];
const MARKER: &str = "imss lookup test marker, harmless";

/// A clamd that knows one signature, in `folder`.
struct Clamd(Child);

impl Clamd {
    fn start(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        fs::create_dir_all(path("db")).unwrap();
        let hex: String = MARKER.bytes().map(|byte| format!("{byte:02x}")).collect();
        fs::write(path("db/test.ndb"), format!("Imss.Test.Marker:0:*:{hex}\n")).unwrap();
        let settings = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nTemporaryDirectory {}\n",
            path("clamd.socket"),
            path("db"),
            folder.display()
        );
        fs::write(path("clamd.conf"), settings).unwrap();
        let process = Command::new("clamd")
            .arg(format!("--config-file={}", path("clamd.conf")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("clamd runs: install the package clamav-daemon");
        let socket = folder.join("clamd.socket");
        wait_until("clamd listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Self(process)
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn mail_waits_for_a_clamd_that_died() {
    let sink = Sink::start();
    let next_hop = sink.url();
    let folder = tempfile::tempdir().unwrap();
    let tables =
        format!("[scan]\nclamd = \"unix:{}\"\n", folder.path().join("clamd.socket").display());
    let home = Home::new(&Setup { next_hop: &next_hop, tables: &tables, ..Setup::default() });
    let clamd = Clamd::start(folder.path());
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let from = "alice@elsewhere.example";
    client.accepted(from, TO, &letter("clean", "Hello."));
    sink.wait_for(1);
    let id = client.accepted(from, TO, &letter("bad", MARKER));
    wait_until("it is held", || home.quarantine().len() == 1);
    let mut why = String::new();
    wait_until("the record is written", || {
        let (code, out, _) = home.imss(&["explain", &id]);
        why = out;
        code == 0
    });
    assert!(why.contains("engine clamd (ClamAV "), "{why}");
    assert!(why.contains("engine eicar ("), "{why}");

    drop(clamd);
    for text in ["Hello.", MARKER] {
        let reply = client.mail(from, TO, &letter("later", text)).unwrap();
        assert!(reply.starts_with('4'), "{text}: {reply}");
    }
    assert_eq!((sink.count(), home.quarantine().len(), home.queue().len()), (1, 1, 0));
    let (_, metrics) = gateway.get("/metrics");
    for expected in [
        "imss_lookups_total{lookup=\"clamd\",result=\"unreachable\"}",
        "imss_lookups_total{lookup=\"clamd\",result=\"answered\"}",
        "imss_gaps_total{engine=\"clamd\"} 2",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }

    let _ = fs::remove_file(folder.path().join("clamd.socket"));
    let _clamd = Clamd::start(folder.path());
    client.accepted(from, TO, &letter("later", "Hello."));
    sink.wait_for(2);
    client.accepted(from, TO, &letter("later", MARKER));
    wait_until("it is held too", || home.quarantine().len() == 2);
    assert_eq!(sink.count(), 2);
    gateway.stop();
}

/// An ICAP server that says one thing to everybody: `FIND` looks for the marker.
struct Icap {
    address: SocketAddr,
    says: Arc<Mutex<&'static str>>,
}

const FIND: &str = "find";
const FOUND: &str = "ICAP/1.0 200 OK\r\nISTag: \"v7\"\r\nX-Virus-ID: Test.Marker\r\n\r\n";
const NOTHING: &str = "ICAP/1.0 204 No Content\r\nISTag: \"v7\"\r\n\r\n";

impl Icap {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(FIND));
        let words = Arc::clone(&says);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let word = *words.lock().unwrap();
                std::thread::spawn(move || answer(stream, word));
            }
        });
        Self { address, says }
    }
}

fn answer(mut stream: TcpStream, word: &str) {
    let mut taken = Vec::new();
    let mut buffer = [0; 4096];
    while !taken.ends_with(b"\r\n0\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => taken.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let is_found = taken.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
    let text = match word {
        FIND if is_found => FOUND,
        FIND => NOTHING,
        word => word,
    };
    let _ = stream.write_all(text.as_bytes());
}

#[test]
fn whatever_an_icap_server_does_nothing_passes_unscanned() {
    let sink = Sink::start();
    let next_hop = sink.url();
    let icap = Icap::start();
    let tables =
        format!("[scan]\ndeadline = \"3 seconds\"\nicap = \"icap://{}/avscan\"\n", icap.address);
    let home = Home::new(&Setup { next_hop: &next_hop, tables: &tables, ..Setup::default() });
    let gateway = Gateway::start(&home);
    let mut client = gateway.connect();
    let from = "alice@elsewhere.example";
    client.accepted(from, TO, &letter("clean", "Hello."));
    sink.wait_for(1);
    client.accepted(from, TO, &letter("bad", MARKER));
    wait_until("it is held", || home.quarantine().len() == 1);
    for (name, fault) in [
        ("hangs up", ""),
        ("half an answer", "ICAP/1.0 204 No"),
        ("garbage", "220 hello\r\n\r\n"),
        ("no service", "ICAP/1.0 404 Not Found\r\n\r\n"),
        ("fails", "ICAP/1.0 500 Error\r\n\r\n"),
        ("an answer without a response", "ICAP/1.0 200 OK\r\n\r\n"),
    ] {
        *icap.says.lock().unwrap() = fault;
        for text in ["Hello.", MARKER] {
            let reply = client.mail(from, TO, &letter("later", text)).unwrap();
            assert!(reply.starts_with('4'), "{name}, {text}: {reply}");
        }
    }
    assert_eq!((sink.count(), home.quarantine().len(), home.queue().len()), (1, 1, 0));
    *icap.says.lock().unwrap() = FIND;
    client.accepted(from, TO, &letter("later", "Hello."));
    sink.wait_for(2);
    gateway.stop();
}
