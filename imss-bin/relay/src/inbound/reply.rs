//! Replies (RFC 5321 §4.2), and the one place where errors become them.
//!
//! A reply's text is ours: nothing the client sent is repeated in it. Text that comes from
//! elsewhere (a policy, a next hop) loses its control characters and is cut into lines that fit
//! when it is written.

use std::borrow::Cow;

use imss_core::envelope::PathError;
use imss_core::envelope::params::ParameterError;

use super::command::CommandError;
use super::relaying::Denied;
use crate::spool::SpoolError;

/// One reply: code, enhanced status code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code.
    pub code: u16,
    /// The enhanced status code (RFC 3463), except in greetings and replies to EHLO, HELO and DATA.
    pub enhanced: Option<(u8, u16, u16)>,
    /// What a human reads. Line feeds in it make a multi-line reply.
    pub text: Cow<'static, str>,
}

/// Octets of text on one reply line: with code, enhanced code and CRLF it stays below 512
/// (RFC 5321 §4.5.3.1.5).
const MAX_TEXT_BYTES: usize = 480;
/// Lines of one reply; what exceeds them is cut.
const MAX_LINES: usize = 20;

impl Reply {
    /// A reply with an enhanced status code.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// A reply without an enhanced status code.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// Whether it is 2yz or 3yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Whether it is 4yz.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Whether the connection ends after it: 421 (RFC 5321 §3.8) and 521 (RFC 7504).
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(self.code, 421 | 521)
    }

    /// Appends the reply as it goes over the wire.
    pub fn write_to(&self, output: &mut Vec<u8>) {
        // A code outside 200..=599 would break the client's state machine: say "local error".
        let code = if (200..600).contains(&self.code) { self.code } else { 451 };
        let mut lines = self.lines().peekable();
        if lines.peek().is_none() {
            self.write_line(output, code, b' ', "");
        }
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { b'-' } else { b' ' };
            self.write_line(output, code, mark, &line);
        }
    }

    fn write_line(&self, output: &mut Vec<u8>, code: u16, mark: u8, line: &str) {
        push_number(output, code);
        output.push(mark);
        if let Some((class, subject, detail)) = self.enhanced {
            push_number(output, u16::from(class));
            output.push(b'.');
            push_number(output, subject);
            output.push(b'.');
            push_number(output, detail);
            output.push(b' ');
        }
        output.extend_from_slice(line.as_bytes());
        output.extend_from_slice(b"\r\n");
    }

    /// The text's lines, each clean and short enough.
    fn lines(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.text.split(['\n', '\r']).filter(|line| !line.is_empty()).take(MAX_LINES).map(clean)
    }
}

impl std::fmt::Display for Reply {
    /// `550 5.7.1 text`, on one line, for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        self.lines().try_for_each(|line| write!(f, " {line}"))
    }
}

/// Digits without the formatting machinery: replies are written for every command.
fn push_number(output: &mut Vec<u8>, number: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && number < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        output.push(b'0'.saturating_add(u8::try_from(number / divisor % 10).unwrap_or(0)));
        divisor /= 10;
    }
}

/// Printable ASCII of at most [`MAX_TEXT_BYTES`]; anything else becomes `?`.
fn clean(line: &str) -> Cow<'_, str> {
    let is_clean = line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_clean && line.len() <= MAX_TEXT_BYTES {
        return Cow::Borrowed(line);
    }
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    Cow::Owned(line.chars().take(MAX_TEXT_BYTES).map(printable).collect())
}

/// Reply to `MAIL FROM` with a path that is none.
#[must_use]
pub fn bad_reverse_path(error: PathError) -> Reply {
    match error {
        PathError::NeedsUtf8 => Reply::new(550, (5, 6, 7), "Address needs SMTPUTF8"),
        PathError::Dots => Reply::new(501, (5, 1, 7), "Misplaced dot in the local part"),
        PathError::TooLong => Reply::new(501, (5, 1, 7), "Path too long"),
        _ => Reply::new(501, (5, 1, 7), "Bad sender address syntax"),
    }
}

/// Reply to `RCPT TO` with a path that is none.
#[must_use]
pub fn bad_forward_path(error: PathError) -> Reply {
    match error {
        PathError::NeedsUtf8 => Reply::new(553, (5, 6, 7), "Address needs SMTPUTF8"),
        PathError::Dots => Reply::new(501, (5, 1, 3), "Misplaced dot in the local part"),
        PathError::TooLong => Reply::new(501, (5, 1, 3), "Path too long"),
        _ => Reply::new(501, (5, 1, 3), "Bad recipient address syntax"),
    }
}

/// Reply to `MAIL FROM` or `RCPT TO` with a parameter we cannot follow.
#[must_use]
pub fn bad_parameter(error: ParameterError) -> Reply {
    match error {
        ParameterError::Unknown => Reply::new(555, (5, 5, 4), "Unsupported parameter"),
        ParameterError::Unsupported => Reply::new(504, (5, 5, 4), "Parameter value not supported"),
        ParameterError::TooLarge => message_too_large(),
        ParameterError::Repeated => Reply::new(501, (5, 5, 4), "Parameter given twice"),
        _ => Reply::new(501, (5, 5, 4), "Bad parameter syntax"),
    }
}

/// Reply to `RCPT TO` with a forward-path that relay control refuses.
#[must_use]
pub fn denied(denied: Denied) -> Reply {
    match denied {
        Denied::Relay => Reply::new(550, (5, 7, 1), "Relay access denied"),
        Denied::SourceRoute => Reply::new(550, (5, 7, 1), "Source routes are not accepted"),
        Denied::Rewritten => Reply::new(550, (5, 1, 1), "No such rewritten address, or too old"),
    }
}

/// Too much is being scanned at once.
#[must_use]
pub fn overloaded() -> Reply {
    Reply::new(451, (4, 3, 2), "Too busy to check the message now; please try again later")
}

/// Reply when the spool could not take the message: it stays with the client.
#[must_use]
pub fn spool_failed(error: &SpoolError) -> Reply {
    match error {
        SpoolError::DiskFull(_) => Reply::new(452, (4, 3, 1), "Insufficient system storage"),
        SpoolError::TooLarge => message_too_large(),
        SpoolError::Closed => stopping(),
        _ => local_error(),
    }
}

/// Reply to a line that is no command.
pub(super) fn bad_command(error: CommandError) -> Reply {
    match error {
        CommandError::Unknown => Reply::new(500, (5, 5, 2), "Command unrecognized"),
        CommandError::NotImplemented => Reply::new(502, (5, 5, 1), "Command not implemented"),
        CommandError::Octets => Reply::new(500, (5, 5, 2), "Illegal octets in command"),
        CommandError::Usage(usage) => Reply::new(501, (5, 5, 4), format!("Syntax: {usage}")),
        CommandError::OutOfStep => Reply::new(521, (5, 5, 4), "Syntax: BDAT octets [LAST]"),
        CommandError::Foreign => Reply::new(521, (5, 7, 0), "This is a mail server"),
    }
}

/// Reply to STARTTLS where it is not offered.
pub(super) fn no_tls(is_secured: bool) -> Reply {
    if is_secured {
        Reply::new(503, (5, 5, 1), "TLS is on already")
    } else {
        Reply::new(502, (5, 5, 1), "TLS is not available")
    }
}

/// Declares functions that give one fixed reply each.
macro_rules! fixed {
    ($($(#[doc = $doc:literal])* $visibility:vis $name:ident = $code:literal $enhanced:tt $text:literal;)+) => {
        $($(#[doc = $doc])*
        #[must_use]
        $visibility fn $name() -> Reply {
            Reply::new($code, $enhanced, $text)
        })+
    };
}

fixed! {
    /// The message is, or would be, larger than we take (RFC 1870 §6).
    pub message_too_large = 552 (5, 3, 4) "Message size exceeds the limit";
    /// A fault of ours: the message stays with the client.
    pub local_error = 451 (4, 3, 0) "Local error in processing";
    /// We stop (RFC 5321 §3.8).
    pub stopping = 421 (4, 3, 2) "Service shutting down";
    /// The client is too slow.
    pub timed_out = 421 (4, 4, 2) "Timeout";
    /// All connections are taken.
    pub too_many_connections = 421 (4, 3, 2) "Too many connections, try again later";
    /// This client has all the connections it may have.
    pub too_many_from_client = 421 (4, 7, 0) "Too many connections from your address";
    /// The client talked before we greeted it.
    pub early_talker = 554 (5, 5, 1) "You spoke before the greeting";
    /// The recipient is accepted.
    pub(super) recipient_ok = 250 (2, 1, 5) "Recipient ok";
    /// A question about the client or the envelope was not answered in time.
    pub check_timed_out = 451 (4, 4, 3) "Temporary lookup failure, try again later";
    pub(super) logged_in = 235 (2, 7, 0) "Authentication successful";
    pub(super) login_failed = 535 (5, 7, 8) "Authentication credentials invalid";
    pub(super) login_cancelled = 501 (5, 7, 0) "Authentication cancelled";
    pub(super) login_unavailable = 454 (4, 7, 0) "Temporary authentication failure";
    pub(super) bad_response = 501 (5, 5, 2) "Cannot decode the response";
    pub(super) no_mechanism = 504 (5, 5, 4) "Mechanism not supported";
    pub(super) no_auth = 502 (5, 5, 1) "Authentication is not available";
    pub(super) logged_in_already = 503 (5, 5, 1) "You are authenticated already";
    pub(super) login_needs_tls = 538 (5, 7, 11) "Encryption required: send STARTTLS first";
    pub(super) login_first = 530 (5, 7, 0) "Authentication required";
    pub(super) tls_first = 530 (5, 7, 0) "Must issue a STARTTLS command first";
    pub(super) not_your_address = 553 (5, 7, 1) "Sender address is not yours";
    pub(super) too_many_logins = 421 (4, 7, 0) "Too many failures to authenticate";
    pub(super) no_others = 550 (5, 7, 0) "You may not speak for other clients";
    pub(super) bad_attributes = 501 (5, 5, 4) "Bad attributes";
    pub(super) bare_command_end = 500 (5, 5, 2) "Command lines end with CRLF";
    pub(super) line_too_long = 500 (5, 5, 2) "Line too long";
    pub(super) bad_name = 501 (5, 5, 4) "Invalid host name";
    pub(super) hello_first = 503 (5, 5, 1) "Send EHLO or HELO first";
    pub(super) mail_first = 503 (5, 5, 1) "Send MAIL FROM first";
    pub(super) nested_mail = 503 (5, 5, 1) "A transaction is open already";
    pub(super) chunks_first = 503 (5, 5, 1) "Message is coming by BDAT";
    pub(super) no_recipients = 554 (5, 5, 1) "No valid recipients";
    pub(super) cannot_verify = 252 (2, 1, 5) "Cannot verify; send mail and see";
    pub(super) help = 214 (2, 0, 0) "See RFC 5321";
    pub(super) no_lists = 502 (5, 5, 1) "Lists are not expanded";
    pub(super) too_many_recipients = 452 (4, 5, 3) "Too many recipients";
    pub(super) too_many_messages = 421 (4, 7, 0) "Too many messages on one connection";
    pub(super) too_many_errors = 421 (4, 7, 0) "Too many errors";
    pub(super) too_many_idle_commands = 421 (4, 7, 0) "Too many commands without mail";
    pub(super) out_of_step = 421 (4, 5, 0) "Content was sent before it was asked for";
    pub(super) bare_line_end = 550 (5, 6, 0) "Message contains bare CR or LF";
    pub(super) false_end = 550 (5, 6, 0) "Message contains a false end of data: a dot with bare CR, bare LF or NUL beside it";
}
