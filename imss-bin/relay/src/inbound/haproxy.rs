//! The PROXY protocol, versions 1 and 2: a load balancer says who connected to it.
//!
//! In: the first octets of a connection from a peer that may say so. Out: the client's address and
//! how many octets that took; "not yet"; or that this is no such header, after which nothing on the
//! connection can be believed. Follows HAProxy's `proxy-protocol.txt`. Fields and TLVs must fit
//! exactly; a CRC32c that is there must be right; nothing is reserved from a length that is only
//! announced.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands before a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of signature, command, family and length.
const FIXED_BYTES: usize = 16;
/// Octets of `PROXY UNKNOWN` with its line end; no header is shorter.
const SHORTEST_BYTES: usize = 15;
/// Longest header of version 1, with its line end.
const MAX_LINE_BYTES: usize = 107;
/// Longest header of version 2: addresses and TLVs. Senders stay below 536.
const MAX_BINARY_BYTES: usize = 4_096;
/// The TLV with a checksum of the header.
const CRC32C: u8 = 0x03;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Octets of it.
    pub octets: usize,
    /// The client; `None` if the load balancer speaks for itself, as for a health check.
    pub client: Option<IpAddr>,
}

/// The octets are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY header")]
pub struct NoHeader;

/// Reads a header; `None` if more octets are needed.
///
/// # Errors
///
/// [`NoHeader`]: the connection must be closed.
pub fn read(input: &[u8]) -> Result<Option<Header>, NoHeader> {
    let begins = |start: &[u8]| input.iter().zip(start).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        return if input.len() < FIXED_BYTES { Ok(None) } else { binary(input) };
    }
    if !begins(b"PROXY ") {
        return Err(NoHeader);
    }
    let line = input.get(..MAX_LINE_BYTES).unwrap_or(input);
    match memchr::memchr(b'\n', line) {
        Some(end) => text(line.get(..end).ok_or(NoHeader)?)
            .map(|client| Some(Header { octets: end.saturating_add(1), client })),
        None if input.len() >= MAX_LINE_BYTES => Err(NoHeader),
        None => Ok(None),
    }
}

/// How many octets may be read of a header that begins with `input` without reading past it.
#[must_use]
pub fn missing(input: &[u8]) -> usize {
    if input.len() < SHORTEST_BYTES {
        return SHORTEST_BYTES.saturating_sub(input.len());
    }
    if !input.starts_with(SIGNATURE) {
        // A line: CR and LF are still to come, or only LF.
        return if input.ends_with(b"\r") { 1 } else { 2 };
    }
    let length = array::<2>(input, FIXED_BYTES.saturating_sub(2));
    let length = length.map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    length.saturating_add(FIXED_BYTES).saturating_sub(input.len())
}

/// `PROXY TCP4 source destination port port`, without its LF.
fn text(line: &[u8]) -> Result<Option<IpAddr>, NoHeader> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r").ok_or(NoHeader)?);
    let mut words = line.map_err(|_| NoHeader)?.split(' ').skip(1);
    let family = words.next().ok_or(NoHeader)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut address = || -> Result<IpAddr, NoHeader> {
        let word = words.next().ok_or(NoHeader)?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| NoHeader),
            "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| NoHeader),
            _ => Err(NoHeader),
        }
    };
    let (source, _destination) = (address()?, address()?);
    for _port in 0..2 {
        let port = words.next().filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        port.and_then(|port| port.parse::<u16>().ok()).ok_or(NoHeader)?;
    }
    if words.next().is_some() { Err(NoHeader) } else { Ok(Some(source.to_canonical())) }
}

fn binary(input: &[u8]) -> Result<Option<Header>, NoHeader> {
    let [command, family, high, low] = *array::<4>(input, SIGNATURE.len()).ok_or(NoHeader)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let octets = length.saturating_add(FIXED_BYTES);
    if octets > MAX_BINARY_BYTES {
        return Err(NoHeader);
    }
    let Some(header) = input.get(..octets) else { return Ok(None) };
    let body = header.get(FIXED_BYTES..).ok_or(NoHeader)?;
    let (client, addresses) = match (command, family >> 4) {
        // LOCAL: whatever follows is to be ignored.
        (0x20, _) => return Ok(Some(Header { octets, client: None })),
        (0x21, 0x1) => (array::<4>(body, 0).map(|ip| IpAddr::from(*ip)), 12),
        (0x21, 0x2) => (array::<16>(body, 0).map(|ip| IpAddr::from(*ip)), 36),
        // Unknown or a Unix socket: no address that a mail server could use.
        (0x21, 0x0 | 0x3) => return Ok(Some(Header { octets, client: None })),
        _ => return Err(NoHeader),
    };
    // Mail comes by a stream.
    if family & 0x0F != 0x1 {
        return Err(NoHeader);
    }
    let client = client.ok_or(NoHeader)?.to_canonical();
    tlvs(header, FIXED_BYTES.saturating_add(addresses))?;
    Ok(Some(Header { octets, client: Some(client) }))
}

/// Walks the TLVs from `at` to the end.
fn tlvs(header: &[u8], mut at: usize) -> Result<(), NoHeader> {
    let mut rest = header.get(at..).ok_or(NoHeader)?;
    while !rest.is_empty() {
        let [kind, high, low] = *array::<3>(rest, 0).ok_or(NoHeader)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(3..length.saturating_add(3)).ok_or(NoHeader)?;
        if kind == CRC32C {
            let told = u32::from_be_bytes(value.try_into().map_err(|_| NoHeader)?);
            let place = at.saturating_add(3);
            // The checksum counts as zeros in itself.
            let before = crc32c::crc32c(header.get(..place).ok_or(NoHeader)?);
            let zeros = crc32c::crc32c_append(before, &[0; 4]);
            let after = header.get(place.saturating_add(4)..).ok_or(NoHeader)?;
            if crc32c::crc32c_append(zeros, after) != told {
                return Err(NoHeader);
            }
        }
        let taken = length.saturating_add(3);
        at = at.saturating_add(taken);
        rest = rest.get(taken..).ok_or(NoHeader)?;
    }
    Ok(())
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Option<&[u8; N]> {
    octets.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn headers() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 1, 0, 0, 25];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        let with = |body: &[u8], tlv: &[u8]| [body, tlv].concat();
        let mut crc = v2(0x21, 0x11, &with(&v4, &[3, 0, 4, 0, 0, 0, 0]));
        let sum = crc32c::crc32c(&crc).to_be_bytes();
        let end = crc.len();
        crc[end - 4..].copy_from_slice(&sum);
        let mut bad_crc = crc.clone();
        bad_crc[end - 1] ^= 1;
        let (one, two) = (Some("192.0.2.1"), Some("2001:db8::"));
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        type Case = (&'static str, Vec<u8>, Result<Option<&'static str>, NoHeader>);
        let cases: Vec<Case> = vec![
            ("text", line("PROXY TCP4 192.0.2.1 192.0.2.2 1024 25"), Ok(one)),
            ("text, v6", line("PROXY TCP6 2001:db8:: ::1 1024 25"), Ok(two)),
            ("text, mapped", line("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25"), Ok(one)),
            ("text, unknown", line("PROXY UNKNOWN"), Ok(None)),
            ("text, unknown and more", line("PROXY UNKNOWN a b c d"), Ok(None)),
            ("wrong family", line("PROXY TCP4 2001:db8:: ::1 1024 25"), Err(NoHeader)),
            ("no such family", line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2"), Err(NoHeader)),
            ("port too large", line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25"), Err(NoHeader)),
            ("signed port", line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 25"), Err(NoHeader)),
            ("too few", line("PROXY TCP4 192.0.2.1 192.0.2.2 1"), Err(NoHeader)),
            ("too many", line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3"), Err(NoHeader)),
            ("two blanks", line("PROXY TCP4  192.0.2.1 192.0.2.2 1 2"), Err(NoHeader)),
            ("bare LF", b"PROXY UNKNOWN\n".to_vec(), Err(NoHeader)),
            ("too long", vec![b'P'; 200], Err(NoHeader)),
            ("no end", [b"PROXY ".to_vec(), vec![b'x'; 120]].concat(), Err(NoHeader)),
            ("SMTP", line("EHLO x"), Err(NoHeader)),
            ("binary", v2(0x21, 0x11, &v4), Ok(one)),
            ("binary, v6", v2(0x21, 0x21, &v6), Ok(two)),
            ("binary, local", v2(0x20, 0x00, &[]), Ok(None)),
            ("binary, local and noise", v2(0x20, 0x11, &[1, 2, 3]), Ok(None)),
            ("binary, unspecified", v2(0x21, 0x00, &[]), Ok(None)),
            ("binary, Unix socket", v2(0x21, 0x31, &[0; 216]), Ok(None)),
            ("datagram", v2(0x21, 0x12, &v4), Err(NoHeader)),
            ("another version", v2(0x11, 0x11, &v4), Err(NoHeader)),
            ("another command", v2(0x22, 0x11, &v4), Err(NoHeader)),
            ("addresses cut", v2(0x21, 0x11, &v4[..11]), Err(NoHeader)),
            ("TLV", v2(0x21, 0x11, &with(&v4, &[4, 0, 1, 0])), Ok(one)),
            ("TLV cut", v2(0x21, 0x11, &with(&v4, &[4, 0, 2, 0])), Err(NoHeader)),
            ("TLV without length", v2(0x21, 0x11, &with(&v4, &[4, 0])), Err(NoHeader)),
            ("checksum", crc, Ok(one)),
            ("wrong checksum", bad_crc, Err(NoHeader)),
            ("short checksum", v2(0x21, 0x11, &with(&v4, &[3, 0, 1, 0])), Err(NoHeader)),
            ("too large", v2(0x21, 0x11, &[0; 5_000]), Err(NoHeader)),
        ];
        for (name, octets, expected) in cases {
            let whole = [&octets[..], b"EHLO x\r\n"].concat();
            let client = expected.map(|ip| ip.map(|ip| ip.parse().unwrap()));
            let header = client.map(|client| Some(Header { octets: octets.len(), client }));
            assert_eq!(read(&whole), header, "{name}");
            if header.is_ok() {
                let mut known = 0;
                while read(&whole[..known]) == Ok(None) {
                    known += missing(&whole[..known]);
                    assert!(known <= octets.len(), "{name}: reads past the header");
                }
                assert_eq!(read(&whole[..known]), header, "{name}");
            }
            for end in 0..octets.len() {
                let part = read(&octets[..end]);
                let is_fine = part == Ok(None) || (header.is_err() && part == header);
                assert!(is_fine, "{name}, {end} octets: {part:?}");
            }
        }
    }
}
