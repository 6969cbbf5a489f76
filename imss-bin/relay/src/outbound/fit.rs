//! Makes a message fit for the server it goes to: legal lines, and no octets that the server does not
//! take (RFC 5322 §2.1.1, RFC 6152 §3).
//!
//! In: a copy and what the server offers. Out: nothing to do, the copy encoded anew, or why it cannot
//! go. A copy is looked at in one pass, and held in memory only if it must change.

use bytes::Bytes;
use imss_core::edit::Rope;
use imss_core::edit::legal::{Survey, Wire, legal};
use imss_core::limits::Limits;
use imss_core::message::Message;

use memchr::memmem;

use super::plan::TlsRequired;
use super::session::Capabilities;
use super::{Failure, Scope};
use crate::spool::body::{Body, Content};

/// Octets of a message that is still encoded anew: it takes several times this much memory.
const MAX_RECODED: u64 = 128 << 20;
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
    let mut tls_required = TlsRequired::AsPolicies;
    for chunk in content.chunks() {
        let chunk = chunk?;
        survey.push(&chunk);
        let Some(start) = &mut header else { continue };
        let room = MAX_HEADER.saturating_sub(start.len());
        start.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if start.len() >= MAX_HEADER || memmem::find(start, b"\r\n\r\n").is_some() {
            tls_required = required_by(start);
            header = None;
        }
    }
    if let Some(start) = header {
        tls_required = required_by(&start);
    }
    Ok(Looked { survey, tls_required })
}

/// What `TLS-Required` says in a header section (RFC 8689 §4).
fn required_by(start: &[u8]) -> TlsRequired {
    let end = memmem::find(start, b"\r\n\r\n").unwrap_or(start.len());
    let header = start.get(..end).unwrap_or_default();
    let says_no = header.split(|octet| *octet == b'\n').any(|line| {
        let name = line.get(..13).unwrap_or_default();
        name.eq_ignore_ascii_case(b"TLS-Required:")
            && line.get(13..).unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"no")
    });
    if says_no { TlsRequired::No } else { TlsRequired::AsPolicies }
}

fn unread(error: &dyn std::error::Error) -> Failure {
    Failure::own((4, 3, 0), format!("cannot read the message: {error}"), Scope::Message)
}

/// The copy as this server may have it; `None` if that is what it is.
///
/// # Errors
///
/// It cannot be made to fit, or cannot be read.
pub(super) async fn fit(
    content: &Content,
    survey: Survey,
    capabilities: Capabilities,
    recode: Recode,
) -> Result<Option<Content>, Failure> {
    let seven_bit = survey.is_eight_bit() && !capabilities.eight_bit_mime;
    if recode == Recode::Never || !(survey.has_long_lines() || seven_bit) {
        return Ok(None);
    }
    let never = |text: &str| Failure::own((5, 6, 3), text, Scope::Message);
    if content.len() > MAX_RECODED {
        return Err(never(
            "the message has lines that are too long, and is too large to be changed",
        ));
    }
    let wire = if seven_bit { Wire::SevenBit } else { Wire::EightBit };
    let content = content.clone();
    let work = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut raw = Vec::new();
        for chunk in content.chunks() {
            raw.extend_from_slice(&chunk?);
        }
        Ok(legal(&Message::parse(Bytes::from(raw), &Limits::default()), wire))
    });
    let legal = work.await.map_err(|error| unread(&error))?.map_err(|error| unread(&error))?;
    if legal.signed_is_not && recode == Recode::RefuseSigned {
        return Err(never("a signed part needs another encoding, which would break its signature"));
    }
    let octets = Bytes::from(legal.octets);
    let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
    Ok(Some(Content { body: Body::Memory(octets), rope: Rope::original(length) }))
}
