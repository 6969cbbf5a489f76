//! Takes a message that comes in by another way than SMTP: octets of known length, in pieces.
//!
//! In: pieces of a message. Out: a [`Body`] within the size limit. What goes on to a mail server holds
//! what SMTP would have left of it (see [`super::content`]): every line end CRLF, nothing that looks
//! like an end elsewhere. What is only looked at stays as it is. Memory is bounded.

use imss_core::ids::QueueId;

use super::content::{Decoder, Framing, Piece};
use super::reply::{self, Reply};
use super::settings::{LineEnds, Settings};
use crate::spool::body::Body;
use crate::spool::writer::BodyWriter;

/// Small pieces are gathered up to this many octets.
const GATHERED_BYTES: usize = 8 << 10;

/// One message on its way in.
#[derive(Debug)]
pub struct Intake {
    id: QueueId,
    /// None leaves every octet as it is.
    decoder: Option<Decoder>,
    /// None once the message is refused.
    writer: Option<BodyWriter>,
    gathered: Vec<u8>,
    octets: u64,
    max_octets: u64,
    line_ends: LineEnds,
    refusal: Option<Reply>,
}

impl Intake {
    /// For message `id`, into `writer`, within what `settings` allow.
    #[must_use]
    pub fn new(id: QueueId, writer: BodyWriter, settings: &Settings) -> Self {
        Self {
            id,
            decoder: Some(Decoder::new(Framing::Counted)),
            writer: Some(writer),
            gathered: Vec::new(),
            octets: 0,
            max_octets: settings.limits.message_bytes,
            line_ends: settings.line_ends,
            refusal: None,
        }
    }

    /// The same for a message that stays as it is.
    #[must_use]
    pub fn verbatim(id: QueueId, writer: BodyWriter, settings: &Settings) -> Self {
        Self { decoder: None, ..Self::new(id, writer, settings) }
    }

    /// The message's name.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Whether it is refused already.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The next piece.
    pub async fn write(&mut self, piece: &[u8]) {
        let mut rest = piece;
        // Each turn takes an octet at least, or is followed by one that does.
        while !rest.is_empty() && self.refusal.is_none() {
            let Some(decoder) = &mut self.decoder else { return self.take(rest).await };
            let (used, piece) = decoder.read(rest);
            rest = rest.get(used..).unwrap_or_default();
            let Piece::Content(content) = piece else { continue };
            self.take(content).await;
        }
    }

    /// The whole message.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub async fn finish(mut self) -> Result<Body, Reply> {
        if let (Some(decoder), None) = (&mut self.decoder, &self.refusal) {
            let missing = decoder.finish();
            let defects = decoder.defects();
            self.take(missing).await;
            if defects.false_end {
                self.refuse(reply::false_end());
            } else if defects.bare_line_end && self.line_ends == LineEnds::Refuse {
                self.refuse(reply::bare_line_end());
            }
        }
        self.flush().await;
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let writer = self.writer.ok_or_else(reply::local_error)?;
        writer.finish().await.map_err(|error| reply::spool_failed(&error))
    }

    async fn take(&mut self, content: &[u8]) {
        let octets = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.octets = self.octets.saturating_add(octets);
        if self.octets > self.max_octets {
            self.refuse(reply::message_too_large());
            return;
        }
        self.gathered.extend_from_slice(content);
        if self.gathered.len() >= GATHERED_BYTES {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let written = writer.write(&self.gathered).await;
        self.gathered.clear();
        if let Err(error) = written {
            self.refuse(reply::spool_failed(&error));
        }
    }

    fn refuse(&mut self, reply: Reply) {
        self.refusal = Some(reply);
        self.writer = None;
        self.gathered = Vec::new();
    }
}
