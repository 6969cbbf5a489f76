//! Who shares a copy, and what is changed in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use imss_core::edit::{self, Edit, Piece, Rope};
use imss_core::entity::Entities;
use imss_core::envelope::{ForwardPath, Mailbox};
use imss_core::ids::EntityId;
use imss_core::message::Message;

use super::tokens::{Context, Tokens};
use super::{Copy, Stamp};
use crate::cleaning::{by_part, clean_parts};
use crate::decision::{Change, Decision, FinalAction, Monitor};

/// Recipients with equal results.
pub(super) struct Share<'a> {
    pub(super) decision: &'a Decision,
    pub(super) recipients: Vec<usize>,
}

/// Groups recipients whose copies are equal, in the order of their first recipient.
pub(super) fn shares(decisions: &[Decision]) -> Vec<Share<'_>> {
    let mut shares: Vec<Share<'_>> = Vec::new();
    let mut places: HashMap<(&FinalAction, &[Change]), usize> = HashMap::new();
    for (recipient, decision) in decisions.iter().enumerate() {
        let key = (&decision.action, decision.changes.as_slice());
        let place = *places.entry(key).or_insert_with(|| {
            shares.push(Share { decision, recipients: Vec::new() });
            shares.len().saturating_sub(1)
        });
        if let Some(share) = shares.get_mut(place) {
            share.recipients.push(recipient);
        }
    }
    shares
}

/// What edits need to read the message.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) message: &'a Message,
    pub(super) entities: &'a Entities,
}

/// One share's bytes, and why they are not changed if they are not.
pub(super) struct Made {
    pub(super) rope: Rope,
    pub(super) unproven: Option<String>,
}

/// The bytes of a share's copy. If its changes cannot be proven, the original with trace fields.
pub(super) fn make(
    source: Option<Source<'_>>,
    length: u64,
    share: &Share<'_>,
    tokens: &Tokens<'_>,
) -> Made {
    let trace = trace(tokens.stamp);
    let Some(source) = source else {
        return Made { rope: with_trace(tokens.stamp, Rope::original(length)), unproven: None };
    };
    let changes = edits_of(source.entities, share, tokens);
    let edits: Vec<Edit> = trace.iter().chain(&changes).cloned().collect();
    match edit::apply(source.message, source.entities, &edits) {
        Ok(rope) => Made { rope, unproven: None },
        Err(error) => {
            let rope = edit::apply(source.message, source.entities, &trace)
                .unwrap_or_else(|_| with_trace(tokens.stamp, Rope::original(length)));
            // Lines before the first one leave every byte of the original as it is.
            let unproven = Some(error.to_string()).filter(|_| !changes.is_empty());
            Made { rope, unproven }
        }
    }
}

/// Trace fields as edits: each is put before all others, so the last comes first.
fn trace(stamp: &Stamp) -> Vec<Edit> {
    let field = |(name, value): &(String, String)| Edit::PrependField {
        name: name.clone(),
        value: value.clone(),
    };
    stamp.trace.iter().rev().map(field).collect()
}

/// Trace fields put before bytes that nobody could read.
fn with_trace(stamp: &Stamp, mut rope: Rope) -> Rope {
    let lines: String =
        stamp.trace.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    if !lines.is_empty() {
        rope.pieces.insert(0, Piece::Inserted(Bytes::from(lines)));
    }
    rope
}

fn edits_of(entities: &Entities, share: &Share<'_>, tokens: &Tokens<'_>) -> Vec<Edit> {
    // A field or a text in a copy is seen by all who share it, so it names nobody else.
    let alone = share.recipients.len() == 1;
    let recipients = if alone { share.recipients.as_slice() } else { &[] };
    let action = share.decision.action.as_str();
    let mut edits = Vec::new();
    let mut removed: BTreeMap<EntityId, Removal> = BTreeMap::new();
    for change in &share.decision.changes {
        let expand = |text: &str, rule: &str, matched: &[EntityId]| {
            tokens.expand(text, &Context { rule, action, matched, recipients })
        };
        match change {
            Change::TagSubject { tag, rule } => {
                edits.push(Edit::TagSubject { tag: expand(tag, rule, &[]) });
            }
            Change::AddField { name, value, rule } => {
                let value = expand(value, rule, &[]);
                edits.push(Edit::AddField { name: name.to_string(), value });
            }
            Change::RemoveField { name, .. } => {
                edits.push(Edit::RemoveField { name: name.to_string() });
            }
            Change::ReplaceField { name, value, rule } => {
                let value = expand(value, rule, &[]);
                edits.push(Edit::ReplaceField { name: name.to_string(), value });
            }
            Change::Clean { entities: matched, rule } => {
                // It was possible when it was decided; if it is not now, the part goes.
                let parts = clean_parts(entities, matched);
                let fallback = || {
                    by_part(entities, matched).into_keys().map(|entity| {
                        let (notice, reason) = (String::new(), rule.to_string());
                        Edit::ReplacePart { entity, notice, reason }
                    })
                };
                match parts {
                    Ok(parts) => edits.extend(parts.into_iter().map(|part| Edit::ReplaceContent {
                        entity: part.entity,
                        content: part.content,
                        reason: rule.to_string(),
                    })),
                    Err(_) => edits.extend(fallback()),
                }
            }
            Change::Stamp { text, html, position, signed, rule } => {
                let context = Context { rule, action, matched: &[], recipients };
                edits.push(Edit::StampBody {
                    text: tokens.expand(text, &context),
                    html: html.as_ref().map(|html| tokens.expand_markup(html, &context)),
                    position: *position,
                    signed: *signed,
                });
            }
            Change::RemoveAttachment { entities: matched, text, rule } => {
                for (part, inside) in by_part(entities, matched) {
                    let removal = removed.entry(part).or_default();
                    removal.notices.push(expand(text, rule, &inside));
                    removal.rules.insert(rule.to_string());
                }
            }
        }
    }
    edits.extend(removed.into_iter().map(|(entity, removal)| Edit::ReplacePart {
        entity,
        notice: removal.notices.join("\n\n"),
        reason: removal.rules.into_iter().collect::<Vec<_>>().join(", "),
    }));
    edits
}

/// One part's removal; several rules may ask for it.
#[derive(Default)]
struct Removal {
    notices: Vec<String>,
    rules: BTreeSet<String>,
}

/// The extra copies that a share's monitors ask for. A BCC target receives one copy of a message.
pub(super) fn monitored(
    share: &Share<'_>,
    decisions: &[Decision],
    copy: &mut Copy,
    original: &Rope,
    served: &mut BTreeSet<Mailbox>,
    archives: &mut BTreeMap<String, Vec<usize>>,
) -> Option<Copy> {
    let mut extra: Vec<ForwardPath> = Vec::new();
    for recipient in &share.recipients {
        let Some(decision) = decisions.get(*recipient) else { continue };
        for monitor in &decision.monitors {
            match monitor {
                Monitor::Bcc { to, .. } => {
                    for mailbox in to {
                        if served.insert(mailbox.clone()) {
                            extra.push(ForwardPath::Mailbox(mailbox.clone()));
                        }
                    }
                }
                Monitor::Archive { area, .. } => {
                    let kept_for = archives.entry(area.to_string()).or_default();
                    if kept_for.last() != Some(recipient) {
                        kept_for.push(*recipient);
                    }
                }
                Monitor::Notify { .. } => {}
            }
        }
    }
    if extra.is_empty() {
        return None;
    }
    if copy.action == FinalAction::Deliver {
        copy.extra_recipients.append(&mut extra);
        return None;
    }
    let rope = if copy.rope.is_empty() { original.clone() } else { copy.rope.clone() };
    Some(Copy {
        recipients: Vec::new(),
        extra_recipients: extra,
        action: FinalAction::Deliver,
        archive: None,
        rope,
        unproven: None,
    })
}
