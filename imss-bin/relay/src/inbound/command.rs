//! Reads one command line (RFC 5321 §4.1.1).
//!
//! In: the line without its line end. Out: the command with its arguments, still as the client
//! wrote them, or why it is none.

/// Octets of the longest verb.
const LONGEST_VERB: usize = 8;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Helo(&'a str),
    Ehlo(&'a str),
    Mail(Path<'a>),
    Rcpt(Path<'a>),
    Data,
    Bdat { octets: u64, is_last: bool },
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth { mechanism: &'a str, initial: Option<&'a str> },
    Xclient(&'a str),
    Xforward(&'a str),
    Quit,
}

/// The argument of `MAIL FROM` and `RCPT TO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// What stands between `<` and `>`.
    pub(super) path: &'a str,
    /// What follows.
    pub(super) parameters: &'a str,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandError {
    /// No such command.
    Unknown,
    /// A command of RFC 5321 or an extension that we do not have.
    NotImplemented,
    /// Control characters, or not UTF-8.
    Octets,
    /// The arguments are wrong; this is how they look.
    Usage(&'static str),
    /// BDAT without a number: what follows cannot be told from commands.
    OutOfStep,
    /// Another protocol, such as HTTP.
    Foreign,
}

impl<'a> Command<'a> {
    /// Reads a line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        // Whatever is wrong with a BDAT line, we must not take its chunk for commands.
        let is_bdat = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
        let error = if is_bdat { CommandError::OutOfStep } else { CommandError::Octets };
        let text = std::str::from_utf8(line).map_err(|_| error)?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(error);
        }
        let text = text.trim_ascii_end();
        let (verb, arguments) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let arguments = arguments.trim_ascii_start();
        let mut upper = [0_u8; LONGEST_VERB];
        let Some(place) = upper.get_mut(..verb.len()) else {
            return Err(CommandError::Unknown);
        };
        place.copy_from_slice(verb.as_bytes());
        place.make_ascii_uppercase();
        if place == b"BDAT" {
            return bdat(arguments);
        }
        Self::with_arguments(place, arguments)
    }

    fn with_arguments(verb: &[u8], arguments: &'a str) -> Result<Self, CommandError> {
        let alone = |command: Self, usage: &'static str| {
            if arguments.is_empty() { Ok(command) } else { Err(CommandError::Usage(usage)) }
        };
        let name = || arguments.split_ascii_whitespace().next();
        match verb {
            b"HELO" => name().map(Self::Helo).ok_or(CommandError::Usage("HELO hostname")),
            b"EHLO" => name().map(Self::Ehlo).ok_or(CommandError::Usage("EHLO hostname")),
            b"MAIL" => path(arguments, "FROM:")
                .map(Self::Mail)
                .ok_or(CommandError::Usage("MAIL FROM:<address> [parameters]")),
            b"RCPT" => path(arguments, "TO:")
                .map(Self::Rcpt)
                .ok_or(CommandError::Usage("RCPT TO:<address> [parameters]")),
            b"DATA" => alone(Self::Data, "DATA"),
            b"RSET" => alone(Self::Rset, "RSET"),
            b"QUIT" => alone(Self::Quit, "QUIT"),
            b"STARTTLS" => alone(Self::StartTls, "STARTTLS"),
            b"NOOP" => Ok(Self::Noop),
            b"HELP" => Ok(Self::Help),
            b"VRFY" if arguments.is_empty() => Err(CommandError::Usage("VRFY address")),
            b"VRFY" => Ok(Self::Vrfy),
            b"EXPN" => Ok(Self::Expn),
            b"AUTH" => auth(arguments),
            b"ETRN" | b"TURN" | b"ATRN" | b"SEND" | b"SOML" | b"SAML" | b"BURL" | b"LHLO" => {
                Err(CommandError::NotImplemented)
            }
            b"XCLIENT" => Ok(Self::Xclient(arguments)),
            b"XFORWARD" => Ok(Self::Xforward(arguments)),
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"CONNECT" | b"OPTIONS" | b"DELETE" => {
                Err(CommandError::Foreign)
            }
            _ => Err(CommandError::Unknown),
        }
    }
}

/// `BDAT octets [LAST]` (RFC 3030 §2).
fn bdat<'a>(arguments: &str) -> Result<Command<'a>, CommandError> {
    let mut words = arguments.split_ascii_whitespace();
    let digits = words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()));
    let octets = digits.and_then(|word| word.parse().ok()).ok_or(CommandError::OutOfStep)?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CommandError::OutOfStep),
    };
    if words.next().is_some() {
        return Err(CommandError::OutOfStep);
    }
    Ok(Command::Bdat { octets, is_last })
}

/// `AUTH mechanism [initial-response]` (RFC 4954 §4).
fn auth(arguments: &str) -> Result<Command<'_>, CommandError> {
    let usage = CommandError::Usage("AUTH mechanism [initial-response]");
    let mut words = arguments.split_ascii_whitespace();
    let mechanism = words.next().ok_or(usage)?;
    let initial = words.next();
    if words.next().is_some() {
        return Err(usage);
    }
    Ok(Command::Auth { mechanism, initial })
}

/// `FROM:<path> parameters`. Deviation: blanks around the colon are accepted, since printers and
/// scripts write them (RFC 5321 §3.3 forbids them).
fn path<'a>(arguments: &'a str, keyword: &str) -> Option<Path<'a>> {
    let (word, colon) = keyword.split_at_checked(keyword.len().checked_sub(1)?)?;
    let (written, rest) = arguments.split_at_checked(word.len())?;
    if !written.eq_ignore_ascii_case(word) {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(colon)?;
    let rest = rest.trim_ascii_start().strip_prefix('<')?;
    let end = end_of_path(rest)?;
    let (path, after) = rest.split_at_checked(end)?;
    let parameters = after.strip_prefix('>')?;
    let is_apart = parameters.is_empty() || parameters.starts_with([' ', '\t']);
    is_apart.then_some(Path { path, parameters })
}

/// Where the `>` stands that is not inside quotes.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mail = |path, parameters| Ok(Command::Mail(Path { path, parameters }));
        let mail_usage = Err(CommandError::Usage("MAIL FROM:<address> [parameters]"));
        let cases: [(&str, &[u8], Result<Command<'_>, CommandError>); 28] = [
            ("any case", b"qUiT", Ok(Command::Quit)),
            ("trailing blanks", b"DATA  ", Ok(Command::Data)),
            ("argument too many", b"DATA x", Err(CommandError::Usage("DATA"))),
            ("null path", b"MAIL FROM:<>", mail("", "")),
            ("parameters", b"mail from:<a@b> SIZE=1", mail("a@b", " SIZE=1")),
            ("blanks", b"MAIL  FROM : <a@b>", mail("a@b", "")),
            ("quoted bracket", b"MAIL FROM:<\"a> b\"@c>", mail("\"a> b\"@c", "")),
            ("escaped quote", b"MAIL FROM:<\"a\\\">\"@c>", mail("\"a\\\">\"@c", "")),
            ("no brackets", b"MAIL FROM:a@b", mail_usage),
            ("no end", b"MAIL FROM:<a@b", mail_usage),
            ("glued parameter", b"MAIL FROM:<a@b>SIZE=1", mail_usage),
            ("cut in UTF-8", "MAIL FRÖM:<a>".as_bytes(), mail_usage),
            ("no colon", b"MAIL FROM<a@b>", mail_usage),
            ("wrong word", b"MAIL TO:<a@b>", mail_usage),
            ("no UTF-8", b"MAIL FROM:<\xFF@b>", Err(CommandError::Octets)),
            ("CR inside", b"NOOP\rQUIT", Err(CommandError::Octets)),
            ("NUL", b"NOOP \0", Err(CommandError::Octets)),
            ("EHLO", b"EHLO mx.example trailing", Ok(Command::Ehlo("mx.example"))),
            ("EHLO alone", b"EHLO", Err(CommandError::Usage("EHLO hostname"))),
            ("BDAT", b"BDAT 10", Ok(Command::Bdat { octets: 10, is_last: false })),
            ("BDAT LAST", b"bdat 0 last", Ok(Command::Bdat { octets: 0, is_last: true })),
            ("BDAT alone", b"BDAT", Err(CommandError::OutOfStep)),
            ("BDAT negative", b"BDAT -1", Err(CommandError::OutOfStep)),
            ("BDAT huge", b"BDAT 99999999999999999999", Err(CommandError::OutOfStep)),
            ("BDAT and more", b"BDAT 1 LAST x", Err(CommandError::OutOfStep)),
            ("HTTP", b"GET / HTTP/1.1", Err(CommandError::Foreign)),
            ("unknown", b"MAKE MONEY FAST", Err(CommandError::Unknown)),
            ("empty", b"", Err(CommandError::Unknown)),
        ];
        for (name, line, expected) in cases {
            assert_eq!(Command::parse(line), expected, "{name}");
        }
        let auth = |mechanism, initial| Ok(Command::Auth { mechanism, initial });
        assert_eq!(Command::parse(b"auth LOGIN"), auth("LOGIN", None));
        assert_eq!(Command::parse(b"AUTH PLAIN ="), auth("PLAIN", Some("=")));
        assert!(matches!(Command::parse(b"AUTH a b c"), Err(CommandError::Usage(_))));
        assert_eq!(
            Command::parse(b"RCPT TO:<a@b>").map(|c| matches!(c, Command::Rcpt(_))),
            Ok(true)
        );
    }
}
