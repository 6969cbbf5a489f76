//! A gateway process, a client that speaks SMTP octet by octet, and waiting.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything. Only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns once `done`; fails naming `what` if that never happens.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "still waiting after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a scenario says about its gateway; the rest is the same for all.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    pub(crate) next_hop: &'a str,
    /// `edge` if empty.
    pub(crate) mode: &'a str,
    /// Lines before the first table.
    pub(crate) root: &'a str,
    /// Tables.
    pub(crate) tables: &'a str,
}

/// A folder with `imss.toml` and the data of one gateway.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        let mode = if setup.mode.is_empty() { "edge" } else { setup.mode };
        let mut config =
            format!("hostname = \"gate.example\"\nnext-hop = \"{}\"\n", setup.next_hop);
        if !setup.root.contains("data-dir") {
            config.push_str("data-dir = \"data\"\n");
        }
        let _ = write!(
            config,
            "{}\n[[listen]]\naddress = \"127.0.0.1:0\"\nmode = \"{mode}\"\n",
            setup.root
        );
        let _ = write!(config, "[http]\naddress = \"127.0.0.1:0\"\n{}\n", setup.tables);
        home.write("imss.toml", config);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    /// Runs a command of the program on this node: exit code, standard output, standard error.
    pub(crate) fn imss(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_imss"))
            .args(arguments)
            .args(["--config", "imss.toml"])
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Standard output of a command that succeeds.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.imss(arguments);
        assert_eq!(code, 0, "{arguments:?}\n{out}\n{err}");
        out
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(arguments)).unwrap()
    }

    /// Standard output of a command that knows no node and succeeds.
    pub(crate) fn bare(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imss"));
        let output = command.args(arguments).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `imss queue list --json`.
    pub(crate) fn queue(&self) -> Vec<Value> {
        self.json(&["queue", "list", "--json"]).as_array().unwrap().clone()
    }

    /// `imss quarantine list --json`.
    pub(crate) fn quarantine(&self) -> Vec<Value> {
        self.json(&["quarantine", "list", "--json"]).as_array().unwrap().clone()
    }

    pub(crate) fn wait_for_empty_queue(&self) {
        wait_until("the queue is empty", || self.queue().is_empty());
    }
}

/// A running gateway. It is killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    said: Arc<Mutex<String>>,
    smtp: SocketAddr,
    http: SocketAddr,
}

impl Gateway {
    /// Starts the gateway of `home`; returns once it accepts connections.
    pub(crate) fn start(home: &Home) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imss"))
            .args(["run", "--config", "imss.toml"])
            .current_dir(home.path())
            .env("IMSS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (kept, stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let mut addresses = None;
        wait_until("the gateway listens", || {
            let text = said.lock().unwrap().clone();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended at the start ({ended:?}):\n{text}");
            let after = |mark: &str| {
                let line = text.lines().find_map(|line| line.split_once(mark));
                line.and_then(|(_, address)| address.parse::<SocketAddr>().ok())
            };
            addresses = after(") on ").zip(after("health on http://"));
            addresses.is_some()
        });
        let (smtp, http) = addresses.unwrap();
        Self { child, said, smtp, http }
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// The ports of all its listeners, in the order of the configuration.
    pub(crate) fn listening<const N: usize>(&self) -> [String; N] {
        let mut ports = Vec::new();
        wait_until("all listeners are there", || {
            let said = self.said();
            let addresses = said.lines().filter_map(|line| line.split_once(") on "));
            let bound = addresses.filter_map(|(_, address)| address.parse::<SocketAddr>().ok());
            ports = bound.map(|address| address.port().to_string()).collect();
            ports.len() == N
        });
        ports.try_into().unwrap()
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address after `mark` in what it said at its start.
    pub(crate) fn address(&self, mark: &str) -> SocketAddr {
        let said = self.said();
        let line = said.lines().find_map(|line| line.split_once(mark));
        line.and_then(|(_, address)| address.parse().ok())
            .unwrap_or_else(|| panic!("{mark}: {said}"))
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.smtp).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let (status, said) = self.ended();
        assert!(status.success(), "{status}\n{said}");
    }

    /// How it ended, and what it said.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the gateway ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap(), self.said())
    }

    /// The body of a reply over HTTP, and its status line.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that sends what it is told and reads replies.
pub(crate) struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

impl Client {
    /// Connects and says EHLO.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::connect_only(address)?;
        let greeting = client.reply()?;
        if !greeting.starts_with("220") {
            return Err(io::Error::other(greeting));
        }
        client.say("EHLO client.example")?;
        Ok(client)
    }

    /// Connects and waits for nothing.
    pub(crate) fn connect_only(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over a connection that is open.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { input: BufReader::new(stream.try_clone()?), stream })
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// One reply, all its lines.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let start = text.len();
            if self.input.read_line(&mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if text.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(text.trim_end().to_owned());
            }
        }
    }

    /// Sends one command and returns the reply.
    pub(crate) fn say(&mut self, command: &str) -> io::Result<String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// One transaction with DATA: the reply to its end, or the first one that ends it early.
    pub(crate) fn mail(&mut self, from: &str, to: &[&str], content: &[u8]) -> io::Result<String> {
        let mut begin = vec![(format!("MAIL FROM:<{from}>"), "250")];
        begin.extend(to.iter().map(|to| (format!("RCPT TO:<{to}>"), "250")));
        begin.push(("DATA".to_owned(), "354"));
        for (command, expected) in begin {
            let reply = self.say(&command)?;
            if !reply.starts_with(expected) {
                return Ok(reply);
            }
        }
        self.send(&dotted(content))?;
        self.reply()
    }

    /// As [`Client::mail`], for mail that is accepted: its queue ID.
    pub(crate) fn accepted(&mut self, from: &str, to: &[&str], content: &[u8]) -> String {
        let reply = self.mail(from, to, content).unwrap();
        assert!(reply.starts_with("250 2.0.0 "), "{reply}");
        reply.rsplit(' ').next().unwrap().to_owned()
    }

    /// Everything the gateway says until it closes, after `QUIT`.
    pub(crate) fn rest(mut self) -> String {
        let _ = self.send(b"QUIT\r\n");
        let mut rest = Vec::new();
        // A connection that was reset has still said what it said.
        let _ = self.input.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Dot-stuffed content with the end of data behind it.
fn dotted(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(content.len() + 8);
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            lines.push(b'.');
        }
        lines.extend_from_slice(line);
    }
    lines.extend_from_slice(b".\r\n");
    lines
}

/// A plain message.
pub(crate) fn letter(subject: &str, text: &str) -> Vec<u8> {
    format!(
        "From: Alice <alice@elsewhere.example>\r\nTo: Bob <bob@ours.example>\r\n\
         Date: Sun, 22 Nov 2026 09:00:00 +0900\r\nMessage-ID: <{subject}@elsewhere.example>\r\n\
         Subject: {subject}\r\n\r\n{text}\r\n"
    )
    .replace("\r\n\r\n\r\n", "\r\n\r\n")
    .into_bytes()
}

/// What the gateway put in front of `original`, if the rest is it, octet for octet.
pub(crate) fn in_front<'a>(delivered: &'a [u8], original: &[u8]) -> Option<&'a str> {
    std::str::from_utf8(delivered.strip_suffix(original)?).ok()
}

/// Whether `head` is one whole `Received` field of ours and nothing else.
pub(crate) fn is_our_trace(head: &str) -> bool {
    let mut lines = head.split_inclusive("\r\n");
    lines.next().is_some_and(|first| first.starts_with("Received: from "))
        && lines.all(|line| line.starts_with('\t') && line.ends_with("\r\n"))
        && head.contains("by gate.example with ")
}
