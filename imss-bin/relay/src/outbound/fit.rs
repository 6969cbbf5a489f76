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

use super::session::Capabilities;
use super::{Failure, Scope};
use crate::spool::body::{Body, Content};

/// Octets of a message that is still encoded anew: it takes several times this much memory.
const MAX_RECODED: u64 = 128 << 20;

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

/// Looks at all octets of `content`.
///
/// # Errors
///
/// It cannot be read.
pub(super) async fn survey(content: &Content) -> Result<Survey, Failure> {
    let survey = match &content.body {
        // A small one is looked at faster than a thread is found.
        Body::Memory(_) => look(content),
        Body::File { .. } => {
            let content = content.clone();
            let work = tokio::task::spawn_blocking(move || look(&content));
            work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
    };
    survey.map_err(|error| unread(&error))
}

fn look(content: &Content) -> std::io::Result<Survey> {
    let mut survey = Survey::default();
    for chunk in content.chunks() {
        survey.push(&chunk?);
    }
    Ok(survey)
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
