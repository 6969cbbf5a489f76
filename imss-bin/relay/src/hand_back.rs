//! A judged message goes back to the mail server that asked about it, as far as it can.
//!
//! In: the judgement, and a function that says how one copy is expressed to that server, or that it
//! cannot be. Out: [`HandedBack`]. The server keeps one message, so it keeps one copy: the one that
//! goes on to most recipients. Whatever else was decided (other copies, held and archived ones,
//! notices) is ours, in one commit, before the server hears anything; recipients of those copies are
//! taken off its message. If the commit fails, the whole message is refused for now.

use imss_core::envelope::{ForwardPath, Recipient};

use crate::dispatch::{
    Disposition, Plan, Traced, disposition, leaving, log_at_once, refuse, whole_refusal,
};
use crate::gateway::Gateway;
use crate::inbound::{Received, Reply};
use crate::pipeline::Outgoing;
use crate::spool::{CopyRecord, Destination};

/// What the mail server is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HandedBack<T> {
    /// Refuse it, for all recipients. Nothing was stored.
    Refused(Reply),
    /// Forget it: nobody receives it, or everybody from us.
    Ours,
    /// Let it go on like this.
    Goes(T),
}

/// The copy that the mail server may keep.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// Its bytes are a rope over the message that the server has.
    pub(crate) copy: &'a CopyRecord,
    /// Places in the envelope of recipients that it is not for.
    pub(crate) not_for: Vec<usize>,
    /// Recipients that are not in the envelope.
    pub(crate) also_for: Vec<&'a ForwardPath>,
    /// Why it waits for somebody's decision, if it does.
    pub(crate) hold: Option<&'a str>,
}

/// Takes responsibility for all but one copy; that one is what `express` makes of it, or ours too.
pub(crate) async fn hand_back<T>(
    received: &Received,
    outgoing: &Outgoing,
    gateway: &Gateway,
    express: impl FnOnce(&Kept<'_>) -> Option<T>,
) -> HandedBack<T> {
    let decisions = &outgoing.decisions;
    if let Some(reply) = whole_refusal(decisions) {
        let _ = refuse(received, gateway, &reply);
        return HandedBack::Refused(reply);
    }
    let mut plan = Plan::new(received, outgoing, gateway);
    let place = kept_place(&plan.copies, &received.envelope.recipients);
    let offered = place.and_then(|place| plan.copies.get(place)).cloned();
    let offered =
        leaving(received, outgoing, gateway, Vec::from_iter(offered), Traced::ByOther).await;
    let kept = place.and_then(|place| Some((place, offered.first()?)));
    let kept = kept.map(|(place, copy)| (place, Kept::new(copy, &received.envelope.recipients)));
    let mut dispositions: Vec<Disposition> =
        decisions.recipients.iter().map(|decision| disposition(&decision.action)).collect();
    let mut goes = None;
    if let Some((place, kept)) = kept
        && let Some(expressed) = express(&kept)
    {
        for (place, disposition) in dispositions.iter_mut().enumerate() {
            if !kept.not_for.contains(&place) {
                *disposition = Disposition::HandedBack;
            }
        }
        goes = Some(expressed);
        plan.copies.remove(place);
    }
    let dispositions = plan.store(received, outgoing, gateway, dispositions).await;
    let refused = dispositions.iter().find_map(|disposition| match disposition {
        Disposition::Deferred(reply) | Disposition::Rejected(reply) => Some(reply.clone()),
        _ => None,
    });
    if let Some(reply) = refused {
        return HandedBack::Refused(reply);
    }
    log_at_once(received, decisions, &dispositions, gateway);
    goes.map_or(HandedBack::Ours, HandedBack::Goes)
}

/// Of the copies that go on, the one for most recipients of the envelope; else the only one, if it
/// waits.
fn kept_place(copies: &[CopyRecord], envelope: &[Recipient]) -> Option<usize> {
    let goes_on = |copy: &CopyRecord| copy.destination == Destination::NextHop;
    let named = |copy: &CopyRecord| {
        copy.recipients.iter().filter(|one| is_among(&one.path, envelope)).count()
    };
    // Of equals, the first.
    let best = copies.iter().enumerate().rev().filter(|(_, copy)| goes_on(copy));
    if let Some((place, _)) = best.max_by_key(|(_, copy)| named(copy)) {
        return Some(place);
    }
    let waits = |copy: &CopyRecord| matches!(copy.destination, Destination::Hold { .. });
    let mut waiting = copies.iter().enumerate().filter(|(_, copy)| waits(copy));
    waiting.next().filter(|_| waiting.next().is_none()).map(|(place, _)| place)
}

fn is_among(path: &ForwardPath, recipients: &[Recipient]) -> bool {
    recipients.iter().any(|recipient| recipient.path == *path)
}

impl<'a> Kept<'a> {
    fn new(copy: &'a CopyRecord, envelope: &[Recipient]) -> Self {
        let missing = |(_, one): &(usize, &Recipient)| !is_among(&one.path, &copy.recipients);
        let paths = copy.recipients.iter().map(|recipient| &recipient.path);
        Self {
            copy,
            not_for: envelope.iter().enumerate().filter(missing).map(|(place, _)| place).collect(),
            also_for: paths.filter(|path| !is_among(path, envelope)).collect(),
            hold: match &copy.destination {
                Destination::Hold { reason } => Some(reason),
                _ => None,
            },
        }
    }
}
