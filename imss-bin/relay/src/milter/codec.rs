//! The milter protocol on the wire, versions 2 to 6: frames → commands, answers → frames.
//!
//! In: octets from a mail server. Out: [`Command`]s, each a view of one frame; and frames for
//! [`Answer`]s. A frame is a length of four octets, a letter, and data. There is no standard: this is
//! what Sendmail's libmilter and Postfix speak.
//!
//! A frame above [`MAX_FRAME_BYTES`], an unknown letter, or data that its letter does not allow is an
//! error, and the connection ends: the mail server then does what its own settings say.

use std::net::IpAddr;

/// Largest frame we take: a header field, or a piece of the body, which are at most 64 KiB and some.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// Octets of a body in one frame to the mail server; older ones take no more than 65535.
pub const BODY_BYTES: usize = 65_535;
/// The newest version we speak.
pub const VERSION: u32 = 6;

/// What a filter may do to a message (`SMFIF_…`).
pub mod actions {
    /// Add header fields.
    pub const ADD_FIELDS: u32 = 0x01;
    /// Replace the body.
    pub const CHANGE_BODY: u32 = 0x02;
    /// Add recipients.
    pub const ADD_RECIPIENTS: u32 = 0x04;
    /// Remove recipients.
    pub const DELETE_RECIPIENTS: u32 = 0x08;
    /// Change and remove header fields.
    pub const CHANGE_FIELDS: u32 = 0x10;
    /// Hold the message in the mail server's queue.
    pub const QUARANTINE: u32 = 0x20;
    /// Say which macros are wanted.
    pub const CHOOSE_MACROS: u32 = 0x100;
}

/// What is left out of the conversation (`SMFIP_…`).
pub mod steps {
    /// No reply to header fields.
    pub const NO_REPLY_FIELD: u32 = 0x80;
    /// Do not send unknown SMTP commands.
    pub const NO_UNKNOWN: u32 = 0x100;
    /// Do not send DATA.
    pub const NO_DATA: u32 = 0x200;
    /// No reply to the connection.
    pub const NO_REPLY_CONNECT: u32 = 0x1000;
    /// No reply to HELO.
    pub const NO_REPLY_HELO: u32 = 0x2000;
    /// No reply to the end of the header section.
    pub const NO_REPLY_END_OF_FIELDS: u32 = 0x4_0000;
    /// No reply to pieces of the body.
    pub const NO_REPLY_BODY: u32 = 0x8_0000;
    /// Send values as they are, with the blank after the colon.
    pub const LEADING_SPACE: u32 = 0x10_0000;
}

/// What two sides can do: the first frame in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The protocol's version.
    pub version: u32,
    /// See [`actions`].
    pub actions: u32,
    /// See [`steps`].
    pub steps: u32,
}

/// One frame from the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// What it can do.
    Negotiate(Offer),
    /// Values by name, for the command with this letter.
    Macros(u8, Words<'a>),
    /// A client; its address, if it has one.
    Connect(Option<IpAddr>),
    /// What the client calls itself.
    Helo(&'a [u8]),
    /// `MAIL FROM`: the path in brackets, then the parameters.
    Mail(Words<'a>),
    /// `RCPT TO`, the same.
    Rcpt(Words<'a>),
    /// DATA.
    Data,
    /// One header field.
    Field {
        /// Its name.
        name: &'a [u8],
        /// Its value; folds are a single LF and a blank.
        value: &'a [u8],
    },
    /// The end of the header section.
    EndOfFields,
    /// A piece of the body.
    Body(&'a [u8]),
    /// The end of the message, with the last piece of its body.
    EndOfMessage(&'a [u8]),
    /// This message is over.
    Abort,
    /// The connection is over.
    Quit,
    /// The client is gone, and another follows.
    QuitForAnother,
    /// An SMTP command that the mail server does not know.
    Unknown,
}

/// Words that end in NUL each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// Each word, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        // The last NUL ends the last word.
        let inner = self.0.strip_suffix(b"\0").unwrap_or(self.0);
        let some = !self.0.is_empty();
        some.then(|| inner.split(|octet| *octet == 0)).into_iter().flatten()
    }
}

/// Why a conversation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A length of nothing, or above [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} octets")]
    Length(u32),
    /// A letter that no version knows.
    #[error("unknown command {:?}", char::from(*.0))]
    Letter(u8),
    /// Data that its letter does not allow.
    #[error("malformed command {:?}", char::from(*.0))]
    Malformed(u8),
}

/// Reads the first frame of `input`: its length and the command, or `None` if it is not whole yet.
///
/// # Errors
///
/// [`CodecError`]; nothing after it can be read.
pub fn read(input: &[u8]) -> Result<Option<(usize, Command<'_>)>, CodecError> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let declared = u32::from_be_bytes(*length);
    let length = usize::try_from(declared).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_FRAME_BYTES {
        return Err(CodecError::Length(declared));
    }
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let Some((&letter, data)) = frame.split_first() else { return Ok(None) };
    Ok(Some((length.saturating_add(4), command(letter, data)?)))
}

fn command(letter: u8, data: &[u8]) -> Result<Command<'_>, CodecError> {
    let malformed = || CodecError::Malformed(letter);
    let text = || data.split(|octet| *octet == 0).next().unwrap_or_default();
    Ok(match letter {
        b'O' => Command::Negotiate(offer(data).ok_or_else(malformed)?),
        b'D' => {
            let (&stage, values) = data.split_first().ok_or_else(malformed)?;
            Command::Macros(stage, Words(values))
        }
        b'C' => Command::Connect(address(data).ok_or_else(malformed)?),
        b'H' => Command::Helo(text()),
        b'M' => Command::Mail(Words(data)),
        b'R' => Command::Rcpt(Words(data)),
        b'T' => Command::Data,
        b'L' => {
            let mut words = data.splitn(3, |octet| *octet == 0);
            let (name, value) = words.next().zip(words.next()).ok_or_else(malformed)?;
            Command::Field { name, value }
        }
        b'N' => Command::EndOfFields,
        b'B' => Command::Body(data),
        b'E' => Command::EndOfMessage(data),
        b'A' => Command::Abort,
        b'Q' => Command::Quit,
        b'K' => Command::QuitForAnother,
        b'U' => Command::Unknown,
        _ => return Err(CodecError::Letter(letter)),
    })
}

fn offer(data: &[u8]) -> Option<Offer> {
    let (version, rest) = data.split_first_chunk::<4>()?;
    let (actions, rest) = rest.split_first_chunk::<4>()?;
    let (steps, _) = rest.split_first_chunk::<4>()?;
    Some(Offer {
        version: u32::from_be_bytes(*version),
        actions: u32::from_be_bytes(*actions),
        steps: u32::from_be_bytes(*steps),
    })
}

/// Host name, NUL, a letter for the family; with an address: port, address in text, NUL.
fn address(data: &[u8]) -> Option<Option<IpAddr>> {
    let end = memchr::memchr(0, data)?;
    let (&family, rest) = data.get(end.saturating_add(1)..)?.split_first()?;
    if family != b'4' && family != b'6' {
        return Some(None);
    }
    let text = rest.get(2..)?.split(|octet| *octet == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix("IPv6:").unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| Some(ip.to_canonical()))
}

/// One frame to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// What we want to do, and the macros we want at a step, if the other side lets us choose.
    Negotiate(Offer, &'a [(u32, &'a str)]),
    /// Go on.
    Continue,
    /// Say that it is taken, and forget it.
    Discard,
    /// Refuse it with these lines, each with its code, CRLF between them.
    Reply(&'a [u8]),
    /// Wait: we are still at it.
    Progress,
    /// Put a field before the one that is now at this place, counted from 0.
    InsertField {
        /// The place.
        index: u32,
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Give another value to the field that is now at this place among those of its name, counted
    /// from 1. An empty one removes it.
    ChangeField {
        /// The place.
        index: u32,
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A piece of the new body; at most [`BODY_BYTES`].
    ReplaceBody(&'a [u8]),
    /// Another recipient, in brackets.
    AddRecipient(&'a [u8]),
    /// One recipient less, as the mail server wrote it.
    DeleteRecipient(&'a [u8]),
    /// Hold the message, and why.
    Quarantine(&'a [u8]),
}

impl Answer<'_> {
    /// Appends the frame. What exceeds four gigabytes, which nothing here does, is left out.
    pub fn write_to(&self, output: &mut Vec<u8>) {
        let number = |value: u32| value.to_be_bytes();
        match *self {
            Self::Negotiate(offer, macros) => {
                let mut data = Vec::new();
                for value in [offer.version, offer.actions, offer.steps] {
                    data.extend(number(value));
                }
                for (step, names) in macros {
                    data.extend(number(*step));
                    data.extend_from_slice(names.as_bytes());
                    data.push(0);
                }
                frame(output, b'O', &[&data]);
            }
            Self::Continue => frame(output, b'c', &[]),
            Self::Discard => frame(output, b'd', &[]),
            Self::Reply(lines) => frame(output, b'y', &[lines, b"\0"]),
            Self::Progress => frame(output, b'p', &[]),
            Self::InsertField { index, name, value } => {
                frame(output, b'i', &[&number(index), name, b"\0", value, b"\0"]);
            }
            Self::ChangeField { index, name, value } => {
                frame(output, b'm', &[&number(index), name, b"\0", value, b"\0"]);
            }
            Self::ReplaceBody(piece) => frame(output, b'b', &[piece]),
            Self::AddRecipient(path) => frame(output, b'+', &[path, b"\0"]),
            Self::DeleteRecipient(path) => frame(output, b'-', &[path, b"\0"]),
            Self::Quarantine(reason) => frame(output, b'q', &[reason, b"\0"]),
        }
    }
}

fn frame(output: &mut Vec<u8>, letter: u8, pieces: &[&[u8]]) {
    let length = pieces.iter().map(|piece| piece.len()).fold(1, usize::saturating_add);
    let Ok(length) = u32::try_from(length) else { return };
    output.extend(length.to_be_bytes());
    output.push(letter);
    for piece in pieces {
        output.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(letter: u8, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, letter, &[data]);
        out
    }

    #[test]
    fn frames_are_read() {
        let address = |text: &str| Ok(Command::Connect(Some(text.parse().unwrap())));
        type Read<'a> = Result<Command<'a>, CodecError>;
        let cases: [(&str, u8, &[u8], Read<'_>); 19] = [
            (
                "negotiation",
                b'O',
                b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff",
                Ok(Command::Negotiate(Offer { version: 6, actions: 0x1ff, steps: 0x1f_ffff })),
            ),
            ("negotiation cut", b'O', b"\0\0\0\x06\0\0", Err(CodecError::Malformed(b'O'))),
            ("macros", b'D', b"Mi\0abc\0", Ok(Command::Macros(b'M', Words(b"i\0abc\0")))),
            ("macros for nothing", b'D', b"", Err(CodecError::Malformed(b'D'))),
            ("IPv4", b'C', b"mx\x004\0\x19192.0.2.1\0", address("192.0.2.1")),
            ("IPv6", b'C', b"mx\x006\0\x192001:db8::1\0", address("2001:db8::1")),
            (
                "IPv6 as Sendmail says it",
                b'C',
                b"m\x006\0\0IPv6:2001:db8::1\0",
                address("2001:db8::1"),
            ),
            ("no address", b'C', b"localhost\0U", Ok(Command::Connect(None))),
            ("a path", b'C', b"localhost\0L\0\0/run/x\0", Ok(Command::Connect(None))),
            (
                "an address that is none",
                b'C',
                b"m\x004\0\0nine\0",
                Err(CodecError::Malformed(b'C')),
            ),
            ("no family", b'C', b"mx\0", Err(CodecError::Malformed(b'C'))),
            ("HELO", b'H', b"mx.example\0", Ok(Command::Helo(b"mx.example"))),
            ("HELO without end", b'H', b"mx", Ok(Command::Helo(b"mx"))),
            ("field", b'L', b"A\0 b\n\tc\0", Ok(Command::Field { name: b"A", value: b" b\n\tc" })),
            ("field without value", b'L', b"A", Err(CodecError::Malformed(b'L'))),
            ("body", b'B', b"a\0b", Ok(Command::Body(b"a\0b"))),
            ("end", b'E', b"", Ok(Command::EndOfMessage(b""))),
            ("unknown SMTP command", b'U', b"XYZZY\0", Ok(Command::Unknown)),
            ("unknown letter", b'z', b"", Err(CodecError::Letter(b'z'))),
        ];
        for (name, letter, data, expected) in cases {
            let octets = framed(letter, data);
            let read_back = read(&octets).map(|frame| frame.unwrap());
            assert_eq!(read_back, expected.map(|command| (octets.len(), command)), "{name}");
            for cut in 0..octets.len() {
                assert_eq!(read(&octets[..cut]), Ok(None), "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn lengths_that_nobody_needs() {
        for (length, name) in [(0, "nothing"), ((1 << 20) + 1, "one too many"), (u32::MAX, "all")] {
            let octets = length.to_be_bytes();
            assert_eq!(read(&octets), Err(CodecError::Length(length)), "{name}");
        }
        assert_eq!(read(&(1_u32 << 20).to_be_bytes()), Ok(None));
    }

    #[test]
    fn words() {
        let cases: [(&[u8], &[&[u8]]); 5] = [
            (b"", &[]),
            (b"\0", &[b""]),
            (b"<a@b>\0SIZE=1\0", &[b"<a@b>", b"SIZE=1"]),
            (b"a\0b", &[b"a", b"b"]),
            (b"i\0\0", &[b"i", b""]),
        ];
        for (octets, expected) in cases {
            assert_eq!(Words(octets).iter().collect::<Vec<_>>(), expected, "{octets:?}");
        }
    }

    #[test]
    fn answers_are_frames() {
        let cases: [(Answer<'_>, &[u8]); 4] = [
            (Answer::Continue, b"\0\0\0\x01c"),
            (Answer::Reply(b"550 5.7.1 No"), b"\0\0\0\x0ey550 5.7.1 No\0"),
            (
                Answer::InsertField { index: 2, name: b"X", value: b" y" },
                b"\0\0\0\x0ai\0\0\0\x02X\0 y\0",
            ),
            (
                Answer::Negotiate(Offer { version: 6, actions: 1, steps: 2 }, &[(5, "i")]),
                b"\0\0\0\x13O\0\0\0\x06\0\0\0\x01\0\0\0\x02\0\0\0\x05i\0",
            ),
        ];
        for (answer, expected) in cases {
            let mut out = Vec::new();
            answer.write_to(&mut out);
            assert_eq!(out, expected, "{answer:?}");
        }
    }
}
