//! Makes a message fit for the server it goes to: legal lines, and no octets that the server does not
//! take (RFC 5322 §2.1.1, RFC 6152 §3, RFC 6531 §3.2).
//!
//! In: a copy and what the server offers. Out: nothing to do, the copy encoded anew, or why it cannot
//! go. A copy is looked at in one pass, and held in memory only if it must change. All copies that are
//! encoded anew share [`MEMORY_BYTES`]; one that finds no room for a while is tried again later.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::edit::legal::{Legal, Survey, Wire, legal};
use imss_core::limits::Limits;
use imss_core::message::Message;
use memchr::memmem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::plan::TlsRequired;
use super::session::Capabilities;
use super::transaction::Mail;
use super::{Failure, Scope};
use crate::spool::body::{Body, Content};

/// Octets of a message that is still encoded anew.
const MAX_RECODED: u64 = MEMORY_BYTES / MEMORY_PER_OCTET;
/// Memory that encoding takes per octet of a message.
const MEMORY_PER_OCTET: u64 = 4;
/// Memory for all messages that are encoded anew.
const MEMORY_BYTES: u64 = 256 << 20;
/// Octets one permit stands for.
const PERMIT_BYTES: u64 = 64 << 10;
/// How long a message waits for memory, with a session open.
const PATIENCE: Duration = Duration::from_secs(30);
/// Fields that sign others.
const SIGNATURES: [&str; 2] = ["DKIM-Signature", "ARC-Seal"];
/// Octets of a header section that are searched.
const MAX_HEADER: usize = 64 << 10;

/// What is done with what should not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recode {
    /// It is encoded anew; what is signed passes as it is.
    PassSigned,
    /// It is encoded anew; what is signed goes back to its sender.
    RefuseSigned,
    /// It leaves as it is.
    Never,
}

/// What one pass over a message found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    pub(super) survey: Survey,
    /// Whether somebody has signed its fields.
    pub(super) signed: bool,
    /// What its sender thinks of TLS.
    pub(super) tls_required: TlsRequired,
}

/// Looks at all octets of `content`.
///
/// # Errors
///
/// It cannot be read.
pub(super) async fn look(content: &Content) -> Result<Looked, Failure> {
    let looked = match &content.body {
        // A small one is looked at faster than a thread is found.
        Body::Memory(_) => pass(content),
        Body::File { .. } => {
            let content = content.clone();
            let work = tokio::task::spawn_blocking(move || pass(&content));
            work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
    };
    looked.map_err(|error| unread(&error))
}

fn pass(content: &Content) -> std::io::Result<Looked> {
    let (mut survey, mut header) = (Survey::default(), Some(Vec::new()));
    let (mut tls_required, mut signed) = (TlsRequired::AsPolicies, false);
    for chunk in content.chunks() {
        let chunk = chunk?;
        survey.push(&chunk);
        let Some(start) = &mut header else { continue };
        let room = MAX_HEADER.saturating_sub(start.len());
        start.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if start.len() >= MAX_HEADER || memmem::find(start, b"\r\n\r\n").is_some() {
            (tls_required, signed) = (required_by(start), is_signed(start));
            header = None;
        }
    }
    if let Some(start) = header {
        (tls_required, signed) = (required_by(&start), is_signed(&start));
    }
    Ok(Looked { survey, signed, tls_required })
}

/// The lines of a header section.
fn lines_of(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = memmem::find(start, b"\r\n\r\n").unwrap_or(start.len());
    start.get(..end).unwrap_or_default().split(|octet| *octet == b'\n')
}

/// Whether there is a signature over fields (RFC 6376, RFC 8617).
fn is_signed(start: &[u8]) -> bool {
    lines_of(start).any(|line| {
        SIGNATURES.iter().any(|name| {
            let found = line.get(..name.len()).unwrap_or_default();
            let rest = line.get(name.len()..).unwrap_or_default();
            found.eq_ignore_ascii_case(name.as_bytes()) && rest.trim_ascii_start().starts_with(b":")
        })
    })
}

/// What `TLS-Required` says in a header section (RFC 8689 §4).
fn required_by(start: &[u8]) -> TlsRequired {
    let says_no = lines_of(start).any(|line| {
        let name = line.get(..13).unwrap_or_default();
        name.eq_ignore_ascii_case(b"TLS-Required:")
            && line.get(13..).unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"no")
    });
    if says_no { TlsRequired::No } else { TlsRequired::AsPolicies }
}

fn unread(error: &dyn std::error::Error) -> Failure {
    Failure::own((4, 3, 0), format!("cannot read the message: {error}"), Scope::Message)
}

/// Encodes messages anew.
#[derive(Debug)]
pub(super) struct Fitter {
    recode: Recode,
    memory: Arc<Semaphore>,
}

/// A message encoded anew, and the memory it takes.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) content: Content,
    _memory: OwnedSemaphorePermit,
}

impl Fitter {
    pub(super) fn new(recode: Recode) -> Self {
        Self { recode, memory: Arc::new(Semaphore::new(permits(MEMORY_BYTES))) }
    }

    /// The copy as this server may have it; `None` if that is what it is.
    ///
    /// # Errors
    ///
    /// It cannot be made to fit, or cannot be read.
    pub(super) async fn fit(
        &self,
        mail: &Mail<'_>,
        capabilities: Capabilities,
        host: &str,
    ) -> Result<Option<Fitted>, Failure> {
        let (content, survey) = (mail.content, mail.survey);
        let wire = wire(mail, capabilities, host);
        if self.recode == Recode::Never || !(survey.has_long_lines() || wire != Wire::EightBit) {
            return Ok(None);
        }
        if content.len() > MAX_RECODED {
            if wire == Wire::AsciiHeader && !survey.has_long_lines() {
                tracing::warn!(host, "a message is too large to look for octets in its fields");
                return Ok(None);
            }
            return Err(never(
                (5, 6, 3),
                "the message has lines that are too long or octets that the server does not take, and \
                 is too large to be changed",
            ));
        }
        let mut memory = self.memory(content.len()).await?;
        let legal = recoded(content.clone(), wire).await.map_err(|error| unread(&error))?;
        let Some(Recoded { legal, breaks }) = legal else { return Ok(None) };
        if legal.signed_is_not && self.recode == Recode::RefuseSigned {
            let text = "a signed part needs another encoding, which would break its signature";
            return Err(never((5, 6, 3), text));
        }
        if legal.header_is_not && mail.parameters.smtputf8 {
            let text = "the header section is in UTF-8, the server does not offer SMTPUTF8";
            return Err(never((5, 6, 7), text));
        }
        let needs = (legal.signed_is_not, legal.header_is_not);
        if needs.0 || needs.1 || breaks {
            let (signed, header) = needs;
            tracing::warn!(host, breaks, signed, header, "a message was encoded anew for a server");
        }
        let octets = Bytes::from(legal.octets);
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        // What the work took is free again; the result stays until it is sent.
        let surplus = memory.num_permits().saturating_sub(permits(length));
        drop(memory.split(surplus));
        let content = Content { body: Body::Memory(octets), rope: Rope::original(length) };
        Ok(Some(Fitted { content, _memory: memory }))
    }

    /// Room for encoding so many octets.
    async fn memory(&self, octets: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let wanted = octets.saturating_mul(MEMORY_PER_OCTET).min(MEMORY_BYTES);
        let wanted = u32::try_from(permits(wanted)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.memory).acquire_many_owned(wanted);
        match timeout(PATIENCE, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => {
                let text = "too many messages are being encoded anew just now";
                Err(Failure::own((4, 3, 1), text, Scope::Message))
            }
        }
    }
}

/// Which octets a server may have of `mail`.
fn wire(mail: &Mail<'_>, capabilities: Capabilities, host: &str) -> Wire {
    let (survey, declared) = (mail.survey, mail.parameters.smtputf8);
    let wire = match (survey.is_eight_bit(), capabilities) {
        (true, Capabilities { eight_bit_mime: false, .. }) => Wire::SevenBit,
        // Fields of parts count only where somebody said that there may be such.
        (true, Capabilities { smtputf8: false, .. })
            if declared || survey.has_eight_bit_header() =>
        {
            Wire::AsciiHeader
        }
        _ => return Wire::EightBit,
    };
    // Fields that their sender did not declare pass nearly everywhere; a broken signature does not.
    let has_to_change = wire == Wire::SevenBit && survey.has_eight_bit_body();
    if mail.signed && !declared && !has_to_change {
        tracing::info!(host, "UTF-8 in signed header fields passes as it is");
        return Wire::EightBit;
    }
    wire
}

/// What came of encoding anew.
struct Recoded {
    legal: Legal,
    /// Whether there is a signature over the whole message that does not hold any more.
    breaks: bool,
}

/// `None` if nothing changes, and nothing is wrong.
async fn recoded(content: Content, wire: Wire) -> std::io::Result<Option<Recoded>> {
    let work = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut raw = Vec::new();
        for chunk in content.chunks() {
            raw.extend_from_slice(&chunk?);
        }
        let raw = Bytes::from(raw);
        let message = Message::parse(raw.clone(), &Limits::default());
        let legal = legal(&message, wire);
        let is_same = legal.octets == raw;
        if is_same && !legal.signed_is_not && !legal.header_is_not {
            return Ok(None);
        }
        let breaks = !is_same && SIGNATURES.iter().any(|name| message.field(name).is_some());
        Ok(Some(Recoded { legal, breaks }))
    });
    work.await.map_err(std::io::Error::other)?
}

fn never(enhanced: (u8, u16, u16), text: &str) -> Failure {
    Failure::own(enhanced, text, Scope::Message)
}

fn permits(octets: u64) -> usize {
    usize::try_from(octets.div_ceil(PERMIT_BYTES)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use imss_core::envelope::{MailParameters, ReversePath};

    use super::*;

    /// A message whose body alone has octets above 127 is not read again, and takes no room.
    #[tokio::test]
    async fn eight_bit_bodies_pass_at_once() {
        let fitter = Fitter::new(Recode::PassSigned);
        let _all = fitter.memory(MAX_RECODED).await.expect("room");
        let body = Body::Memory(Bytes::from_static("Subject: x\r\n\r\né\r\n".as_bytes()));
        let content = Content { rope: Rope::original(body.len()), body };
        let looked = look(&content).await.expect("a message");
        let mail = Mail {
            reverse_path: &ReversePath::Null,
            parameters: &MailParameters::default(),
            recipients: Vec::new(),
            content: &content,
            survey: looked.survey,
            signed: looked.signed,
        };
        let offers = Capabilities { eight_bit_mime: true, ..Capabilities::default() };
        let fits = fitter.fit(&mail, offers, "mx.example");
        tokio::pin!(fits);
        let at_once = tokio::select! {
            biased;
            fitted = &mut fits => fitted.is_ok_and(|fitted| fitted.is_none()),
            () = std::future::ready(()) => false,
        };
        assert!(at_once, "it waits for room");
    }

    /// The room is shared, a message larger than all of it takes all, and what is let go is there for
    /// whoever waits.
    #[tokio::test]
    async fn memory_is_shared() {
        let fitter = Fitter::new(Recode::PassSigned);
        let all = fitter.memory(MAX_RECODED).await.expect("room");
        assert_eq!(fitter.memory.available_permits(), 0);
        let waits = fitter.memory(u64::MAX);
        tokio::pin!(waits);
        let still = tokio::select! {
            biased;
            _ = &mut waits => false,
            () = std::future::ready(()) => true,
        };
        assert!(still, "nothing is left");
        drop(all);
        let all = waits.await.expect("room again");
        assert_eq!(all.num_permits(), permits(MEMORY_BYTES));
    }

    #[test]
    fn signatures_are_seen() {
        let cases = [
            ("DKIM", "Subject: x\r\nDKIM-Signature: v=1\r\n\r\n", true),
            ("ARC, oddly written", "arc-seal \t: i=1\r\n\r\n", true),
            ("longer name", "DKIM-Signature-Old: v=1\r\n\r\n", false),
            ("in the body", "Subject: x\r\n\r\nDKIM-Signature: v=1\r\n", false),
            ("folded", "Subject: x\r\n DKIM-Signature: v=1\r\n\r\n", false),
        ];
        for (name, text, expected) in cases {
            assert_eq!(is_signed(text.as_bytes()), expected, "{name}");
        }
    }

    /// What a message needs of a server, by where its octets above 127 are.
    #[test]
    fn what_has_to_change() {
        let all = Capabilities { eight_bit_mime: true, smtputf8: true, ..Capabilities::default() };
        let eight = Capabilities { smtputf8: false, ..all };
        let seven = Capabilities::default();
        let signed = "DKIM-Signature: v=1\r\nSubject: é\r\n\r\nx\r\n";
        let both = "DKIM-Signature: v=1\r\nSubject: é\r\n\r\né\r\n";
        let body = "Subject: x\r\n\r\né\r\n";
        let bare = "Subject: é\r\n\r\nx\r\n";
        let cases = [
            ("unsigned", bare, false, eight, Wire::AsciiHeader),
            ("a body alone", body, false, eight, Wire::EightBit),
            ("a body alone, for seven bits", body, false, seven, Wire::SevenBit),
            ("declared: fields of parts count", body, true, eight, Wire::AsciiHeader),
            ("signed", signed, false, eight, Wire::EightBit),
            ("signed, the body too", both, false, eight, Wire::EightBit),
            ("signed and declared", signed, true, eight, Wire::AsciiHeader),
            ("all is taken", signed, true, all, Wire::EightBit),
            ("fields only, for seven bits", signed, false, seven, Wire::EightBit),
            ("a body for seven bits breaks it anyway", both, false, seven, Wire::SevenBit),
        ];
        for (name, raw, smtputf8, capabilities, expected) in cases {
            let body = Body::Memory(Bytes::from_static(raw.as_bytes()));
            let content = Content { rope: Rope::original(body.len()), body };
            let looked = pass(&content).expect(name);
            let parameters = MailParameters { smtputf8, ..MailParameters::default() };
            let mail = Mail {
                reverse_path: &ReversePath::Null,
                parameters: &parameters,
                recipients: Vec::new(),
                content: &content,
                survey: looked.survey,
                signed: looked.signed,
            };
            assert_eq!(wire(&mail, capabilities, "mx.example"), expected, "{name}");
        }
    }

    #[test]
    fn what_senders_think_of_tls() {
        let cases = [
            ("said", "TLS-Required: No\r\nSubject: x\r\n\r\n", TlsRequired::No),
            ("in any case", "Subject: x\r\ntls-required:no\r\n\r\n", TlsRequired::No),
            ("something else", "TLS-Required: Yes\r\n\r\n", TlsRequired::AsPolicies),
            ("in the body", "Subject: x\r\n\r\nTLS-Required: No\r\n", TlsRequired::AsPolicies),
            ("not at all", "", TlsRequired::AsPolicies),
        ];
        for (name, text, expected) in cases {
            assert_eq!(required_by(text.as_bytes()), expected, "{name}");
        }
    }
}
