//! The content of one message, from DATA or over several BDAT chunks.

use super::super::content::{Decoder, Defects, Framing, Piece};
use super::super::reply::{self, Reply};
use super::super::settings::{LineEnds, Settings};
use super::{Complete, Event, Phase, Session, Step};
use imss_core::envelope::Envelope;

/// Octets of a refused message that are read and thrown away, so that the client reads our reply;
/// or as many as a message may have, if that is more. After that the connection is closed.
const MAX_SWALLOWED_BYTES: u64 = 64 << 20;

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Transfer {
    decoder: Decoder,
    /// The BDAT chunk; without one, content came by DATA.
    chunk: Option<Chunk>,
    /// Octets of content so far.
    octets: u64,
    max_octets: u64,
    line_ends: LineEnds,
    is_too_large: bool,
    /// Why it is refused, for other reasons than its content.
    refusal: Option<Reply>,
    /// Whether the driver knows that it is refused.
    is_told: bool,
    swallowed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    octets: u64,
    remaining: u64,
    is_last: bool,
}

impl Transfer {
    pub(super) fn by_data(settings: &Settings) -> Self {
        Self::new(settings, Framing::Dots)
    }

    pub(super) fn by_bdat(settings: &Settings) -> Self {
        Self::new(settings, Framing::Counted)
    }

    fn new(settings: &Settings, framing: Framing) -> Self {
        Self {
            decoder: Decoder::new(framing),
            chunk: None,
            octets: 0,
            max_octets: settings.limits.message_bytes,
            line_ends: settings.line_ends,
            is_too_large: false,
            refusal: None,
            is_told: false,
            swallowed: 0,
        }
    }

    /// From here the driver gets no more content, and has no body.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.is_told = true;
        self.refusal.get_or_insert(reply);
    }

    pub(super) fn begin_chunk(&mut self, octets: u64, is_last: bool) {
        self.chunk = Some(Chunk { octets, remaining: octets, is_last });
        self.is_too_large |= self.octets.saturating_add(octets) > self.max_octets;
    }

    /// The next piece of `input`, and how many octets it took.
    fn read<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        let Some(chunk) = &mut self.chunk else { return self.decoder.read(input) };
        let length = usize::try_from(chunk.remaining).unwrap_or(usize::MAX).min(input.len());
        let (used, piece) = self.decoder.read(input.get(..length).unwrap_or_default());
        chunk.remaining = chunk.remaining.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
        (used, piece)
    }

    fn count(&mut self, content: &[u8]) {
        let octets = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.octets = self.octets.saturating_add(octets);
        self.is_too_large |= self.octets > self.max_octets;
    }

    /// Why it is refused, if it is. The reason may still become a graver one, so that the reply
    /// does not depend on how the content was cut into packets.
    fn why_refused(&self) -> Option<Reply> {
        let Defects { bare_line_end, false_end } = self.decoder.defects();
        match &self.refusal {
            Some(refusal) => Some(refusal.clone()),
            None if false_end => Some(reply::false_end()),
            None if bare_line_end && self.line_ends == LineEnds::Refuse => {
                Some(reply::bare_line_end())
            }
            None if self.is_too_large => Some(reply::message_too_large()),
            None => None,
        }
    }

    fn is_refused(&self) -> bool {
        let Defects { bare_line_end, false_end } = self.decoder.defects();
        let is_bare = bare_line_end && self.line_ends == LineEnds::Refuse;
        self.refusal.is_some() || self.is_too_large || false_end || is_bare
    }

    /// Counts what is thrown away; whether it is too much.
    fn swallow(&mut self, octets: usize) -> bool {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        self.swallowed = self.swallowed.saturating_add(octets);
        self.swallowed > MAX_SWALLOWED_BYTES.max(self.max_octets)
    }
}

impl Session {
    /// One step inside a message.
    pub(super) fn read_content<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let Some(transfer) = &mut self.transfer else {
            self.phase = Phase::Command;
            return Step { consumed: 0, event: Event::Continue };
        };
        if transfer.is_refused() && !std::mem::replace(&mut transfer.is_told, true) {
            return Step { consumed: 0, event: Event::Abandon };
        }
        if transfer.chunk.is_some_and(|chunk| chunk.remaining == 0) {
            return Step { consumed: 0, event: self.end_chunk() };
        }
        if input.is_empty() {
            return Step { consumed: 0, event: Event::More };
        }
        let (consumed, piece) = transfer.read(input);
        let event = match piece {
            Piece::Content(content) => {
                transfer.count(content);
                match transfer.is_refused() {
                    false if content.is_empty() => Event::Continue,
                    false => Event::Content(content),
                    true if transfer.swallow(consumed) => self.give_up(),
                    true => Event::Continue,
                }
            }
            Piece::End => self.end_message(),
        };
        Step { consumed, event }
    }

    /// A chunk is complete.
    fn end_chunk(&mut self) -> Event<'static> {
        let Some(transfer) = &mut self.transfer else { return Event::Continue };
        let Some(chunk) = transfer.chunk else { return Event::Continue };
        if transfer.is_refused() {
            return self.end_message();
        }
        if !chunk.is_last {
            self.phase = Phase::Command;
            let octets = chunk.octets;
            return self.accept(&Reply::new(250, (2, 0, 0), format!("{octets} octets received")));
        }
        let missing = transfer.decoder.finish();
        transfer.count(missing);
        if missing.is_empty() || transfer.is_refused() {
            return self.end_message();
        }
        Event::Content(missing)
    }

    /// The message is over: hand it on, or say why not.
    fn end_message(&mut self) -> Event<'static> {
        let refusal = self
            .transfer
            .as_ref()
            .and_then(|transfer| transfer.why_refused().map(|refusal| (refusal, transfer.is_told)));
        self.phase = Phase::Command;
        if let Some((refusal, is_told)) = refusal {
            self.drop_transaction();
            let event = self.reject(&refusal);
            return if is_told || event != Event::Continue { event } else { Event::Abandon };
        }
        self.transfer = None;
        let Some(transaction) = self.transaction.take() else { return Event::Continue };
        let protocol = self.protocol(&transaction.parameters);
        self.phase = Phase::Answer;
        Event::End(Box::new(Complete {
            envelope: Envelope {
                client: self.author(),
                reverse_path: transaction.reverse_path,
                parameters: transaction.parameters,
                recipients: transaction.recipients,
            },
            protocol,
            mode: self.mode,
        }))
    }

    /// Too much was thrown away: the client hears why, and that it must come again.
    fn give_up(&mut self) -> Event<'static> {
        let refusal = self.transfer.as_ref().and_then(Transfer::why_refused);
        self.drop_transaction();
        self.close_with(&refusal.unwrap_or_else(reply::message_too_large));
        Event::Close
    }
}
