//! One message → its [`Report`]: the judgement of the gateway. Nobody is asked about it but name servers, and
//! these only if a client is given.
//!
//! In: the bytes of a message and the envelope the user gave. Out: what was found and what the
//! policy would do. Any bytes will do.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::limits::StopFlag;
use imss_core::message::Message;
use imss_relay::judge::Judge;
use imss_relay::report::Report;
use imss_scan::Answers;

use super::senders::Senders;

/// Everything that is the same for all messages.
pub(crate) struct Bench {
    pub(crate) judge: Judge,
    /// Who answers who sent a message; nobody without a client.
    pub(crate) senders: Option<Senders>,
    pub(crate) client: Client,
    pub(crate) mail_from: Option<ReversePath>,
    pub(crate) recipients: Vec<ForwardPath>,
}

impl Bench {
    /// Scans one message and asks the policy.
    pub(crate) fn judge(&self, path: String, raw: Bytes, stop: &StopFlag) -> Report {
        let begin = Instant::now();
        let message = self.judge.parse(raw);
        let envelope = Arc::new(self.envelope(&message));
        let reading = self.judge.read(message, envelope, stop);
        let answers = match &self.senders {
            Some(senders) => senders.answer(&reading.questions),
            None => Answers::default(),
        };
        let judged = self.judge.decide(reading, &answers);
        let place = |entity| judged.entities.path(entity);
        Report {
            entities: judged.entities.len(),
            elapsed_us: u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..Report::new(path, &judged.decisions, &judged.scan.findings, &place)
        }
    }

    fn envelope(&self, message: &Message) -> Envelope {
        let reverse_path = self.mail_from.clone().or_else(|| return_path(message));
        let recipient = |path: &ForwardPath| Recipient {
            path: path.clone(),
            parameters: RcptParameters::default(),
        };
        Envelope {
            client: self.client.clone(),
            reverse_path: reverse_path.unwrap_or(ReversePath::Null),
            parameters: MailParameters::default(),
            recipients: self.recipients.iter().map(recipient).collect(),
        }
    }
}

/// What the last relay wrote down as the reverse-path (RFC 5321 §4.4).
fn return_path(message: &Message) -> Option<ReversePath> {
    let field = message.field("Return-Path")?;
    let inner = field.trim();
    let inner = inner.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(inner);
    ReversePath::parse(inner, Syntax::LAX).ok()
}
