//! A mail server that asks: one milter connection, driven frame by frame.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connected and negotiated, with a client of this address.
    pub(crate) fn for_client(address: SocketAddr, client: &str) -> Self {
        let mut peer = Self::connect(address);
        let numbers: [u32; 3] = [6, 0x1ff, 0x1f_ffff];
        peer.send(b'O', &numbers.map(u32::to_be_bytes).concat());
        assert_eq!(peer.answer().unwrap().0, b'O');
        peer.send(b'D', b"Cj\0mta.example\0");
        peer.send(b'C', format!("client.example\x004\0\x19{client}\0").as_bytes());
        peer.send(b'H', b"client.example\0");
        peer
    }

    pub(crate) fn raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    pub(crate) fn send(&mut self, letter: u8, data: &[u8]) {
        let length = u32::try_from(data.len() + 1).unwrap();
        self.raw(&[&length.to_be_bytes()[..], &[letter], data].concat()).unwrap();
    }

    /// The next answer that is not "wait".
    pub(crate) fn answer(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
            self.stream.read_exact(&mut frame)?;
            if frame[0] != b'p' {
                return Ok((frame[0], frame.split_off(1)));
            }
        }
    }

    /// Everything up to the message's body; the answers to MAIL and RCPT.
    pub(crate) fn begin(&mut self, to: &[&str], message: &[u8]) -> String {
        let mut told = String::new();
        self.send(b'M', b"<alice@elsewhere.example>\0");
        told.push(char::from(self.answer().unwrap().0));
        for to in to {
            self.send(b'R', format!("<{to}>\0").as_bytes());
            told.push(char::from(self.answer().unwrap().0));
        }
        let text = String::from_utf8(message.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for field in head.replace("\r\n ", "\n ").replace("\r\n\t", "\n\t").split("\r\n") {
            let (name, value) = field.split_once(':').unwrap();
            self.send(b'L', format!("{name}\0{value}\0").as_bytes());
        }
        self.send(b'N', b"");
        for piece in body.as_bytes().chunks(1_000) {
            self.send(b'B', piece);
        }
        told
    }

    /// The orders for a message, up to the one that ends them.
    pub(crate) fn end(&mut self) -> Vec<(u8, Vec<u8>)> {
        self.send(b'E', b"");
        let mut orders = Vec::new();
        loop {
            let answer = self.answer().unwrap();
            let is_last = b"cdrtya".contains(&answer.0);
            orders.push(answer);
            if is_last {
                return orders;
            }
        }
    }

    pub(crate) fn whole(&mut self, to: &[&str], message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let told = self.begin(to, message);
        assert!(told.bytes().all(|letter| letter == b'c'), "{told}");
        self.end()
    }
}
