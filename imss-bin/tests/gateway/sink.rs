//! A next hop that keeps and counts what it is given. Its replies can be scripted, and it can be made
//! as careless about the end of data as the servers that smuggling needs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::wait_until;

/// One message the sink answered with 250.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// As sent, without dot-stuffing and without the final line of one dot.
    pub(crate) data: Vec<u8>,
}

impl Delivered {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// The reply to a command line, or to `.` for the end of data; `None` is the usual one.
pub(crate) type Script = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the data of a message ends for the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// At CR LF, dot, CR LF.
    Strict,
    /// At a dot between line ends of any kind, with or without octets of zero.
    Careless,
}

pub(crate) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    delivered: Mutex<Vec<Delivered>>,
    script: Mutex<Option<Script>>,
    ends: Ends,
    stop: AtomicBool,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), Ends::Strict)
    }

    pub(crate) fn careless() -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), Ends::Careless)
    }

    fn on(listener: TcpListener, ends: Ends) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            delivered: Mutex::default(),
            script: Mutex::default(),
            ends,
            stop: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), served) = (stream, Arc::clone(&served)) else { continue };
                let _ = stream.set_nodelay(true);
                // A client that goes away in the middle is what some scenarios are about.
                std::thread::spawn(move || {
                    Session { stream, shared: served, input: Vec::new() }.run()
                });
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a next hop in the configuration.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn script(&self, script: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Some(Box::new(script));
    }

    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.shared.delivered.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.delivered.lock().unwrap().len()
    }

    /// The messages, once there are `count` of them.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Delivered> {
        wait_until(&format!("the next hop has {count} messages"), || self.count() >= count);
        self.delivered()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port where connections are refused, and which nobody else gets until the sink opens on it.
pub(crate) struct ClosedPort {
    socket: OwnedFd,
    pub(crate) address: SocketAddr,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        Self { socket, address }
    }

    pub(crate) fn open(self) -> Sink {
        rustix::net::listen(&self.socket, 128).unwrap();
        Sink::on(TcpListener::from(self.socket), Ends::Strict)
    }
}

struct Session {
    stream: TcpStream,
    shared: Arc<Shared>,
    input: Vec<u8>,
}

impl Session {
    fn run(mut self) {
        let _ = self.talk();
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn talk(&mut self) -> io::Result<()> {
        self.reply("", "220 sink.example ESMTP")?;
        let (mut from, mut to) = (String::new(), Vec::new());
        loop {
            let end = |input: &[u8], from| Some((from + find(&input[from..], b"\n")?, 1));
            let line = self.until(end)?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let usual = "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n\
                                 250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES";
                    self.reply(&line, usual)?;
                }
                "MAIL" => {
                    (from, to) = (path(&line), Vec::new());
                    self.reply(&line, "250 2.1.0 Ok")?;
                }
                "RCPT" => {
                    if self.reply(&line, "250 2.1.5 Ok")?.starts_with('2') {
                        to.push(path(&line));
                    }
                }
                "DATA" if to.is_empty() => drop(self.reply(&line, "554 5.5.1 No recipients")?),
                "DATA" => {
                    if !self.reply(&line, "354 Go ahead")?.starts_with('3') {
                        continue;
                    }
                    let ends = self.shared.ends;
                    let raw = self.until(|input, from| end_of_data(input, from, ends))?;
                    let message =
                        Delivered { from: from.clone(), to: to.clone(), data: undot(&raw) };
                    self.end_of_data(message)?;
                }
                "QUIT" => {
                    self.reply(&line, "221 2.0.0 Bye")?;
                    return Ok(());
                }
                "HELO" | "RSET" | "NOOP" => drop(self.reply(&line, "250 2.0.0 Ok")?),
                _ => drop(self.reply(&line, "500 5.5.2 Unknown command")?),
            }
        }
    }

    /// Kept first and answered then, as an honest next hop does it.
    fn end_of_data(&mut self, message: Delivered) -> io::Result<()> {
        let scripted = self.scripted(".");
        if scripted.as_ref().is_none_or(|reply| reply.starts_with('2')) {
            self.shared.delivered.lock().unwrap().push(message);
        }
        let reply = scripted.unwrap_or_else(|| "250 2.0.0 Ok: kept".to_owned());
        self.stream.write_all(format!("{reply}\r\n").as_bytes())
    }

    fn scripted(&self, line: &str) -> Option<String> {
        self.shared.script.lock().unwrap().as_ref().and_then(|script| script(line))
    }

    fn reply(&mut self, line: &str, usual: &str) -> io::Result<String> {
        let reply = self.scripted(line).unwrap_or_else(|| usual.to_owned());
        self.stream.write_all(format!("{reply}\r\n").as_bytes())?;
        Ok(reply)
    }

    /// Octets up to and with the end that `end` finds from a place on: its place and its length.
    fn until(
        &mut self,
        end: impl Fn(&[u8], usize) -> Option<(usize, usize)>,
    ) -> io::Result<Vec<u8>> {
        let (mut block, mut seen) = (vec![0; 64 << 10], 0_usize);
        loop {
            let found = end(&self.input, seen.saturating_sub(4));
            seen = self.input.len();
            if let Some((at, length)) = found {
                let rest = self.input.split_off(at + length);
                return Ok(std::mem::replace(&mut self.input, rest));
            }
            match self.stream.read(&mut block)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&block[..count]),
            }
        }
    }
}

fn end_of_data(input: &[u8], from: usize, ends: Ends) -> Option<(usize, usize)> {
    if input.starts_with(b".\r\n") {
        return Some((0, 3));
    }
    if ends == Ends::Strict {
        return find(&input[from..], b"\r\n.\r\n").map(|at| (from + at, 5));
    }
    // Octets of zero are taken for nothing.
    let is_line_end = |octet: Option<&u8>| matches!(octet, Some(b'\r' | b'\n'));
    let solid = |octet: &&u8| **octet != 0;
    let dots = (0..input.len()).filter(|at| input[*at] == b'.');
    let mut ends = dots.filter_map(|at| {
        let before = input[..at].iter().rev().find(solid);
        let after = at + 1 + input[at + 1..].iter().position(|octet| *octet != 0)?;
        (is_line_end(before) && is_line_end(input.get(after))).then(|| match &input[after..] {
            [b'\r', b'\n', ..] => (after, 2),
            _ => (after, 1),
        })
    });
    ends.next()
}

fn undot(raw: &[u8]) -> Vec<u8> {
    let content = raw.strip_suffix(b".\r\n").unwrap_or(raw);
    let mut lines = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        lines.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    lines
}

fn path(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map(|(path, _)| path.to_owned()).unwrap_or_default()
}

pub(crate) fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    input.windows(what.len()).position(|window| window == what)
}
